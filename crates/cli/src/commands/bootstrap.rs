//! `myriad bootstrap`: a node through which other nodes find each other.

use myriad_net::{Event, Network, peer_name, wire::Role};

use crate::{
    args::Bootstrap,
    error::Error,
    network::{log, net_config, on_signal, runtime, wait_for_address},
    settings::Settings,
    terminal,
};

pub fn run(args: &Bootstrap) -> Result<(), Error> {
    #[derive(serde::Serialize)]
    struct Flags<'a> {
        #[serde(flatten)]
        net: &'a crate::args::NetFlags,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_dir: &'a Option<std::path::PathBuf>,
    }
    let settings = Settings::load(&Flags {
        net: &args.net,
        data_dir: &args.data_dir,
    })?;
    log("info");
    // It serves no blobs; the little that is there costs nothing.
    let config = net_config(
        &settings,
        &settings.data_dir.join("bootstrap"),
        Role::Bootstrap,
        0,
    )?;
    runtime()?.block_on(async {
        let (network, mut events) = Network::start(config)?;
        for address in wait_for_address(&network).await? {
            terminal::note(format_args!(
                "other nodes reach this one with --bootstrap {address}"
            ));
        }
        let mut stop = std::pin::pin!(on_signal());
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Greeted { peer, hello, .. }) => {
                        eprintln!("{} came ({:?}, {})", peer_name(peer), hello.role, hello.build);
                    }
                    Some(Event::Lost { peer }) => eprintln!("{} left", peer_name(peer)),
                    Some(_) => {}
                    None => return Ok(()),
                },
                () = &mut stop => return Ok(()),
            }
        }
    })
}
