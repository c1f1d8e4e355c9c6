//! `myriad serve`: the HTTP service over a requester.

mod workshop;

use std::{future::pending, mem, sync::Arc, time::Duration};

use myriad_gateway::{Config, Gateway, Limits, TlsFiles, keys::cookie_path};
use myriad_net::peer_name;
use myriad_node::requester::{self, Service};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::workshop::OwnWorkshop;
use crate::{
    args::{Serve, ServeLayer},
    confinement::confinement,
    error::Error,
    interrupt, network,
    proving::quoted,
    settings::Settings,
    terminal,
};

/// The time from a signal to the end of the process: that of the requests that are being answered,
/// and that for telling the provers.
const FAREWELL: Duration = Duration::from_secs(20);

/// The open files that every Linux allows a process.
const OPEN_FILES: usize = 1024;

pub fn run(args: &Serve) -> Result<(), Error> {
    let mut settings = Settings::load(&ServeLayer {
        work: &args.work,
        net: &args.provers.net,
    })?;
    let engine = args.engine.name();
    settings.engines.get(engine)?;
    let mut provers = args.provers.clone();
    if provers.provers.is_none() {
        provers.network = true;
    } else {
        // Its own provers prove for this engine alone.
        settings.engines = settings.engines.only(&[engine])?;
    }
    if let Err(missing) = confinement()
        && !args.unconfined
    {
        return Err(Error::UnconfinedService { missing });
    }
    if let Some(tls) = tls(args) {
        // Before provers are started.
        tls.check().map_err(|e| Error::Gateway(e.into()))?;
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
    let mut limits = Limits::default();
    // The other half is for the network, journals, blobs and children.
    limits.connections = limits.connections.min(open_files() / 2);
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
        tls: tls(args),
        private: args.private,
        resume: !args.no_resume,
        limits,
    }
}

/// Allows this process as many open files as the system lets it, and returns how many these are.
fn open_files() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return OPEN_FILES;
    };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}

fn tls(args: &Serve) -> Option<TlsFiles> {
    let files = args.tls_cert.clone().zip(args.tls_key.clone())?;
    let (certificates, key) = files;
    Some(TlsFiles { certificates, key })
}
