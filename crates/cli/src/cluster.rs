//! Starts provers on this machine, which join over loopback and end with the command: a cluster.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use myriad_core::{EngineName, Peer};
use myriad_net::{Identity, Network, peer_name};
use myriad_node::prover::StatusFile;
use tokio::time::sleep;

use crate::{
    confinement::{UNCONFINED, confinement},
    error::Error,
    settings::Settings,
};

/// The provers of a cluster listen here, where no other machine reaches them.
pub const LOOPBACK: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// The pause between looks at whether the provers of a cluster are running.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Provers on this machine, which end with this value, and with this process however that ends.
pub struct Cluster {
    provers: Arc<Mutex<Vec<Child>>>,
    /// The logs of the provers.
    pub logs: Vec<PathBuf>,
}

impl Cluster {
    /// Starts this many provers of an engine, which look for their requester at `address`. Returns
    /// them, and their names.
    pub fn start(
        engine: EngineName,
        count: usize,
        address: &str,
        requester: Peer,
        threads: usize,
        settings: &Settings,
    ) -> Result<(Self, BTreeSet<Peer>), Error> {
        let myriad = env::current_exe().map_err(Error::Cluster)?;
        let mut cluster = Self {
            provers: Arc::default(),
            logs: Vec::new(),
        };
        let engine_binary = settings.engines.risc0_binary();
        let engine_binary = engine_binary.map(|path| [OsStr::new("--engine-risc0"), path.as_os_str()]);
        let mut own = BTreeSet::new();
        let folders = (0..).map(|index: u32| settings.data_dir.join("cluster").join(index.to_string()));
        // The provers of another running command are its own.
        let first = |dir: &Path| StatusFile::folder(dir, 1);
        for dir in folders
            .filter(|dir| !StatusFile::is_running(&first(dir)))
            .take(count)
        {
            // It takes the identity that is there.
            own.insert(Identity::load_or_create(&first(&dir))?.peer());
            let path = dir.join("log");
            let log = File::create(&path).map_err(Error::Cluster)?;
            cluster.logs.push(path);
            let prover = Command::new(&myriad)
                .arg("prover")
                .args(["--no-mdns", "--until-stdin-ends", "--nice", "0"])
                .args(["--listen", LOOPBACK, "--bootstrap", address])
                .args(["--only", &peer_name(requester)])
                .args(["--memory", &settings.memory.bytes().to_string()])
                .args(["--threads", &threads.to_string()])
                .args(["--max-instructions", &settings.max_instructions.to_string()])
                .args(["--engines", engine.as_str()])
                .args(engine_binary.iter().flatten())
                .arg("--data-dir")
                .arg(&dir)
                .arg("--keys")
                .arg(settings.keys_dir())
                // The provers serve only this command.
                .args(confinement().is_err().then_some(UNCONFINED))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .map_err(Error::Cluster)?;
            cluster.lock().push(prover);
        }
        Ok((cluster, own))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Child>> {
        lock(&self.provers)
    }

    /// Leaves the network when no prover is left: nobody else can join it.
    pub fn watch(&self, network: Network) -> impl Future<Output = ()> + Send + 'static {
        let provers = Arc::clone(&self.provers);
        async move {
            let ended = |prover: &mut Child| !matches!(prover.try_wait(), Ok(None));
            while !lock(&provers).iter_mut().all(ended) {
                sleep(WATCH_EVERY).await;
            }
            network.close();
        }
    }
}

fn lock(provers: &Mutex<Vec<Child>>) -> MutexGuard<'_, Vec<Child>> {
    provers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut provers = self.lock();
        // The provers end when their stdin does, all at once; then they are waited for.
        for prover in provers.iter_mut() {
            drop(prover.stdin.take());
        }
        for prover in provers.iter_mut() {
            // The prover would stay in the system's table as a zombie without the wait.
            let _ = prover.wait();
        }
    }
}
