//! `myriad serve`: the HTTP service over a requester.

mod workshop;

use std::{future::pending, mem, sync::Arc, time::Duration};

use myriad_gateway::{Config, Gateway, Limits, TlsFiles, keys::cookie_path};
use myriad_net::peer_name;
use myriad_node::requester::{self, Service};

use self::workshop::OwnWorkshop;
use crate::{
    args::{ProveLayer, Serve},
    error::Error,
    interrupt, network,
    proving::quoted,
    settings::Settings,
    terminal,
};

/// The time from a signal to the end of the process: that of the requests that are being answered,
/// and that for telling the provers.
const FAREWELL: Duration = Duration::from_secs(20);

pub fn run(args: &Serve) -> Result<(), Error> {
    let mut settings = Settings::load(&ProveLayer::new(&args.work, &args.provers))?;
    let engine = args.engine.name();
    settings.engines.get(engine)?;
    let mut provers = args.provers.clone();
    if provers.provers.is_none() {
        provers.network = true;
    } else {
        // Its own provers prove for this engine alone.
        settings.engines = settings.engines.only(&[engine])?;
    }
    network::log("info");
    interrupt::allow(FAREWELL);
    interrupt::on_interrupt(false, || {});
    let workshop = Arc::new(OwnWorkshop::new(settings.clone(), provers.kind()));
    let (served, cluster) = network::with_provers(engine, &settings, &provers, |mut joined, runtime| {
        // The gateway stops first, and then the service.
        let stop = mem::replace(&mut joined.stop, Box::pin(pending()));
        let limits = requester::Limits::default();
        let config = config(args, &settings, peer_name(joined.network.peer()), limits);
        let service = Service::start(joined, &settings.data_dir, limits, runtime);
        runtime.block_on(async {
            let gateway = Gateway::open(config, service, workshop).await?;
            introduce(&gateway, args, &settings);
            gateway.run(stop).await
        })
    })?;
    drop(cluster);
    served.map_err(Error::Gateway)
}

/// Says where the service is, and how jobs are submitted.
fn introduce(gateway: &Gateway, args: &Serve, settings: &Settings) {
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", gateway.address());
    let cookie = cookie_path(&settings.data_dir);
    terminal::note(format_args!(
        "the page is {url}/, and {url}/docs describes the API"
    ));
    terminal::note(format_args!(
        "a key for you on this machine is in {}: curl -H \"Authorization: Bearer $(cat {})\" -F block=@block.json.gz {url}/v1/jobs",
        cookie.display(),
        quoted(&cookie)
    ));
}

fn config(args: &Serve, settings: &Settings, peer: String, jobs: requester::Limits) -> Config {
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let mut limits = Limits::default();
    if let Some(size) = args.max_upload {
        limits.upload_bytes = size.as_u64();
    }
    Config {
        data_dir: settings.data_dir.clone(),
        build: concat!("myriad ", env!("CARGO_PKG_VERSION")).into(),
        peer,
        jobs_max: jobs.jobs,
        listen: args.http,
        hosts: args.host.clone(),
        origins: args.allow_origin.clone(),
        tls: tls.map(|(certificates, key)| TlsFiles { certificates, key }),
        private: args.private,
        resume: !args.no_resume,
        limits,
    }
}
