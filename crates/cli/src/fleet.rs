//! Joining the network, and starting provers on this machine: what `prove --network`, `prove --provers`,
//! `prover` and `bootstrap` share.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use myriad_core::Peer;
use myriad_net::{Address, Config, Identity, LISTEN, Limits, Network, StartError, peer_name, wire::Role};
use myriad_node::{Job, Machine, Observer, Options, Outcome, engine_fingerprint, open_blobs, requester};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tracing_subscriber::EnvFilter;

use crate::{
    args::FleetFlags,
    error::Error,
    settings::{NetSettings, Settings},
};

/// Where the provers of a cluster listen: nobody else is to reach them.
const LOOPBACK: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// How long to wait until the system gives an address to listen on.
const LISTENING_PATIENCE: Duration = Duration::from_secs(10);
/// The variable that says what is logged, as tracing's `EnvFilter` reads it.
const LOG_ENV: &str = "MYRIAD_LOG";

/// Logs to stderr, at this level unless `MYRIAD_LOG` says otherwise.
pub fn log(level: &str) {
    let filter = EnvFilter::try_from_env(LOG_ENV).unwrap_or_else(|_| {
        // Of libraries only what goes wrong.
        EnvFilter::new(format!(
            "error,myriad={level},myriad_net={level},myriad_node={level}"
        ))
    });
    // Where there is a logger already, it stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
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
            // Then the signal ends the process by itself.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

/// How this node joins, from the settings. `disk_bytes` is what its blobs may take.
pub fn net_config(settings: &Settings, role: Role, disk_bytes: u64) -> Result<Config, Error> {
    let identity = Identity::load_or_create(&settings.data_dir)?;
    config(&settings.data_dir, &settings.net, identity, role, disk_bytes)
}

fn config(
    data_dir: &Path,
    net: &NetSettings,
    identity: Identity,
    role: Role,
    disk_bytes: u64,
) -> Result<Config, Error> {
    let listen = if net.listen.is_empty() {
        LISTEN.map(str::to_owned).to_vec()
    } else {
        net.listen.clone()
    };
    Ok(Config {
        identity,
        role,
        build: concat!("myriad ", env!("CARGO_PKG_VERSION")).into(),
        engine: engine_fingerprint(),
        listen: addresses(&listen)?,
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

/// Where a node listens, once it does.
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

/// Proves with the provers of the network, or with some on this machine.
pub fn prove(
    job: &Job,
    options: &Options,
    settings: &Settings,
    flags: &FleetFlags,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    log("error");
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let provers = flags.provers.filter(|_| !flags.network);
    let (identity, net) = match provers {
        Some(_) => {
            let net = NetSettings {
                listen: vec![LOOPBACK.into()],
                ..NetSettings::default()
            };
            (Identity::ephemeral(), net)
        }
        None => (
            Identity::load_or_create(&settings.data_dir)?,
            settings.net.clone(),
        ),
    };
    // What a requester keeps is its own: only provers have a quota.
    let config = config(&settings.data_dir, &net, identity, Role::Requester, u64::MAX)?;
    let (network, events) = Network::start(config)?;
    let machine = Machine::detect();
    let (cluster, own, expected, threads) = match provers {
        Some(count) => {
            let address = runtime.block_on(wait_for_address(&network))?;
            let threads = settings.threads_each(count);
            let (cluster, own) = Cluster::start(count, &address[0], network.peer(), threads, settings)?;
            (Some(cluster), own, count, (machine.cores / count.max(1)).max(1))
        }
        None => (None, BTreeSet::new(), flags.fleet.get(), machine.cores),
    };
    let joined = requester::Joined {
        network,
        events,
        own,
        provers_expected: expected,
        threads_expected: threads,
    };
    let outcome = requester::run(job, options, joined, runtime.handle(), observer);
    drop(cluster);
    Ok(outcome?)
}

/// Provers on this machine, which end with this value, and with this process however that ends.
struct Cluster(Vec<Child>);

impl Cluster {
    fn start(
        count: usize,
        address: &str,
        requester: Peer,
        threads: usize,
        settings: &Settings,
    ) -> Result<(Self, BTreeSet<Peer>), Error> {
        let myriad = env::current_exe().map_err(Error::Cluster)?;
        let mut cluster = Self(Vec::new());
        let mut own = BTreeSet::new();
        for index in 0..count {
            let dir = settings.data_dir.join("cluster").join(index.to_string());
            // It takes the identity that is there.
            own.insert(Identity::load_or_create(&dir)?.peer());
            fs::create_dir_all(&dir).map_err(Error::Cluster)?;
            let log = File::create(dir.join("log")).map_err(Error::Cluster)?;
            let prover = Command::new(&myriad)
                .arg("prover")
                .args(["--no-mdns", "--until-stdin-ends", "--nice", "0"])
                .args(["--listen", LOOPBACK, "--bootstrap", address])
                .args(["--only", &peer_name(requester)])
                .args(["--memory", &settings.memory.bytes().to_string()])
                .args(["--threads", &threads.to_string()])
                .args(["--max-instructions", &settings.max_instructions.to_string()])
                .arg("--data-dir")
                .arg(&dir)
                .arg("--keys")
                .arg(settings.keys_dir())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .map_err(Error::Cluster)?;
            cluster.0.push(prover);
        }
        Ok((cluster, own))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // They end when stdin does, all at once; then they are waited for.
        for prover in &mut self.0 {
            drop(prover.stdin.take());
        }
        for prover in &mut self.0 {
            // Without waiting it would stay in the system's table as a zombie.
            let _ = prover.wait();
        }
    }
}
