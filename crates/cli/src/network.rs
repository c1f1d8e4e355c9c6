//! Joins the network: the common part of `prove --network`, `prove --provers`, `prover` and
//! `bootstrap`.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, IsTerminal},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use myriad_core::{EngineId, EngineName};
use myriad_net::{Address, Config, Identity, Limits, Listen, Network, StartError, wire::Role};
use myriad_node::{Job, Machine, Observer, Options, Outcome, RunError, open_blobs, requester};
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tracing_subscriber::EnvFilter;

use crate::{
    args::ProverFlags,
    cluster::{Cluster, LOOPBACK},
    error::Error,
    interrupt,
    settings::{NetSettings, Settings},
};

/// Commands that prove on the network at once with one data folder: more than any machine executes
/// for.
const REQUESTERS_MAX: usize = 64;
/// The time to wait until the system gives an address to listen on.
const LISTENING_PATIENCE: Duration = Duration::from_secs(10);
/// The variable that filters the log, as tracing's `EnvFilter` reads it.
const LOG_ENV: &str = "MYRIAD_LOG";

/// Logs to stderr, at this level unless `MYRIAD_LOG` says otherwise.
pub fn log(level: &str) {
    let filter = EnvFilter::try_from_env(LOG_ENV).unwrap_or_else(|_| {
        // Libraries log only errors.
        EnvFilter::new(format!(
            "error,myriad={level},myriad_net={level},myriad_node={level}"
        ))
    });
    // If there is a logger already, it stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}

pub fn runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)
}

/// Ends when the process is told to: by Ctrl-C, or by the system.
pub async fn on_signal() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // Without a handler, the signal ends the process by itself.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

/// The network configuration of this node, from the settings. `disk_bytes` is the most that its
/// blobs may take. `dir` is the folder of its identity and blobs. No other node may use it: the two
/// would be one peer to the network.
pub fn net_config(settings: &Settings, dir: &Path, role: Role, disk_bytes: u64) -> Result<Config, Error> {
    let identity = Identity::load_or_create(dir)?;
    config(
        dir,
        &settings.net,
        settings.engines.ids(),
        identity,
        role,
        disk_bytes,
    )
}

fn config(
    data_dir: &Path,
    net: &NetSettings,
    engines: Vec<EngineId>,
    identity: Identity,
    role: Role,
    disk_bytes: u64,
) -> Result<Config, Error> {
    let listen = if net.listen.is_empty() {
        Listen::Anywhere
    } else {
        Listen::At(addresses(&net.listen)?)
    };
    Ok(Config {
        identity,
        role,
        build: concat!("myriad ", env!("CARGO_PKG_VERSION")).into(),
        engines,
        listen,
        external: addresses(&net.external)?,
        bootstrap: addresses(&net.bootstrap)?,
        mdns: net.mdns,
        blobs: open_blobs(data_dir, disk_bytes)?,
        limits: Limits::default(),
    })
}

fn addresses(texts: &[String]) -> Result<Vec<Address>, StartError> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Waits for the addresses where a node listens.
pub async fn wait_for_address(network: &Network) -> Result<Vec<String>, Error> {
    let step = Duration::from_millis(20);
    for _ in 0..LISTENING_PATIENCE.as_millis() / step.as_millis() {
        let listening = network.listening();
        if !listening.is_empty() {
            return Ok(listening);
        }
        sleep(step).await;
    }
    Err(Error::NotListening {
        seconds: LISTENING_PATIENCE.as_secs(),
    })
}

/// The folder of the identity that a requester has for as long as the lock lives. It is the data
/// folder itself, or a folder below for a command that runs beside another on the same one. Two
/// nodes with one identity would be one peer to all others.
fn claim_identity(data_dir: &Path) -> Result<(File, PathBuf), Error> {
    for number in 1..=REQUESTERS_MAX {
        let dir = match number {
            1 => data_dir.to_owned(),
            _ => data_dir.join("requesters").join(number.to_string()),
        };
        let path = dir.join("requester.lock");
        let open = || -> io::Result<File> {
            fs::create_dir_all(&dir)?;
            File::options().create(true).append(true).open(&path)
        };
        let write = |source| Error::Write {
            what: "the lock",
            path: path.clone(),
            source,
        };
        let lock = open().map_err(write)?;
        match lock.try_lock() {
            Ok(()) => return Ok((lock, dir)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(write(source)),
        }
    }
    Err(Error::Requesters {
        max: REQUESTERS_MAX,
        dir: data_dir.to_owned(),
    })
}

/// Proves with the provers of the network, or with some on this machine.
pub fn prove(
    job: &Arc<Job>,
    options: Options,
    settings: &Settings,
    flags: &ProverFlags,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let engine = options.worker.engine.id.name;
    let (outcome, cluster) = with_provers(engine, settings, flags, |joined, runtime| {
        requester::run(Arc::clone(job), options, joined, runtime, observer)
    })?;
    outcome.map_err(|e| failed(e, cluster.as_ref()))
}

/// The error of a job: if the network has ended because all provers of this machine have, their
/// logs say why.
pub fn failed(error: RunError, cluster: Option<&Cluster>) -> Error {
    match (error, cluster) {
        (RunError::NetworkEnded, Some(cluster)) => Error::ClusterEnded {
            logs: cluster.logs.clone(),
        },
        (error, _) => error.into(),
    }
}

/// Joins the network, or starts provers of an engine on this machine, and has `work` done with
/// them. Returns these provers, too, with the network behind them closed.
pub fn with_provers<T>(
    engine: EngineName,
    settings: &Settings,
    flags: &ProverFlags,
    work: impl FnOnce(requester::Joined, &Handle) -> T,
) -> Result<(T, Option<Cluster>), Error> {
    log("error");
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let provers = flags.provers.filter(|_| !flags.network).map(NonZeroUsize::get);
    let (_locked, identity, net) = match provers {
        Some(_) => {
            let net = NetSettings {
                listen: vec![LOOPBACK.into()],
                ..NetSettings::default()
            };
            (None, Identity::ephemeral(), net)
        }
        None => {
            let (lock, dir) = claim_identity(&settings.data_dir)?;
            (Some(lock), Identity::load_or_create(&dir)?, settings.net.clone())
        }
    };
    // A requester's blobs are its own: only provers have a quota.
    let engines = settings.engines.ids();
    let config = config(
        &settings.data_dir,
        &net,
        engines,
        identity,
        Role::Requester,
        u64::MAX,
    )?;
    let (network, events) = Network::start(config)?;
    let machine = Machine::detect();
    let (cluster, own, expected, threads) = match provers {
        Some(count) => {
            let address = runtime.block_on(wait_for_address(&network))?;
            let threads = settings.threads_each(count);
            let (cluster, own) =
                Cluster::start(engine, count, &address[0], network.peer(), threads, settings)?;
            runtime.spawn(cluster.watch(network.clone()));
            (Some(cluster), own, count, (machine.cores / count).max(1))
        }
        None => (None, BTreeSet::new(), flags.fleet.get(), machine.cores),
    };
    let joined = requester::Joined {
        network,
        events,
        own,
        provers_expected: expected,
        threads_expected: threads,
        stop: Box::pin(interrupt::interrupted()),
    };
    let done = work(joined, runtime.handle());
    Ok((done, cluster))
}
