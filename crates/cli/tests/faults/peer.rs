//! A peer of the test's own, which speaks the protocol and does what the test wants.

use std::{fs, future::Future, path::Path, time::Duration};

use myriad_core::Peer;
use myriad_engine::worker::{Worker, WorkerConfig};
use myriad_net::{
    Config, Event, Identity, Limits, Network,
    blob::BlobStore,
    wire::{Lease, OfferMessage, Request, Response, Role, Spent},
};
use myriad_node::{KEYS_MEMORY_MIN, make_keys};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

use crate::{LISTEN, SILENCE_MAX, keys};

/// Waits for an event in the network. The test fails if it never comes.
pub async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(SILENCE_MAX, work)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {SILENCE_MAX:?}"))
}

/// `first` are peers to begin with.
pub fn join(dir: &Path, role: Role, first: &[&str]) -> (Network, UnboundedReceiver<Event>) {
    fs::create_dir_all(dir).unwrap();
    let config = Config {
        identity: Identity::ephemeral(),
        role,
        build: "a stranger's".into(),
        engines: vec![myriad_openvm::facts().id],
        listen: myriad_net::Listen::At(vec![LISTEN.parse().unwrap()]),
        external: Vec::new(),
        bootstrap: first.iter().map(|address| address.parse().unwrap()).collect(),
        mdns: false,
        blobs: BlobStore::open(&dir.join("blobs"), 1 << 30).unwrap(),
        limits: Limits::default(),
    };
    Network::start(config).unwrap()
}

/// An engine of the test's own.
pub fn engine() -> Worker {
    let keys = keys().to_string_lossy().into_owned();
    let config = WorkerConfig {
        engine: myriad_openvm::facts(),
        command: env!("CARGO_BIN_EXE_myriad").into(),
        args: vec!["engine-worker".into(), "--keys".into(), keys.clone()],
        keys: keys.into(),
        threads: 2,
    };
    make_keys(&config, KEYS_MEMORY_MIN, None).unwrap();
    Worker::spawn(&config).unwrap()
}

/// A prover that may hand in anything.
pub struct Stranger {
    pub network: Network,
    requester: Peer,
}

impl Stranger {
    /// Joins by way of a requester, and waits until it has heard of a job.
    pub async fn join(dir: &Path, requester: &str) -> Self {
        let (network, mut events) = join(dir, Role::Prover, &[requester]);
        let heard = async {
            loop {
                match events.recv().await.expect("the network goes on") {
                    Event::Announced(job) if job.open => return job.requester,
                    _ => {}
                }
            }
        };
        let requester = patiently("a job is announced", heard).await;
        // It ignores everything that it is told from now on.
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::Request { reply, .. } = event {
                    reply.send(Response::Received);
                }
            }
        });
        Self { network, requester }
    }

    pub async fn offer(&self) -> Option<Response> {
        let offer = OfferMessage {
            memory: 4 << 30,
            threads: 1,
            speed: 1000,
            engines: vec![myriad_openvm::facts().id.name],
            holds: Vec::new(),
        };
        self.network.ask(self.requester, Request::Offer(offer)).await.ok()
    }

    pub async fn lease(&self) -> Lease {
        let leased = async {
            loop {
                if let Some(Response::Lease(lease)) = self.offer().await {
                    return *lease;
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        patiently("a task is given to the stranger", leased).await
    }

    /// Holds on to a lease for as long as this is polled.
    pub async fn renew(&self, lease: &Lease) {
        for progress in (0..1000).step_by(10) {
            let renew = Request::Renew {
                task: lease.task,
                progress,
            };
            let _ = self.network.ask(self.requester, renew).await;
            sleep(Duration::from_secs(1)).await;
        }
    }

    pub async fn fetch(&self, source: &myriad_net::wire::Source) -> Vec<u8> {
        self.network.fetch(source, self.requester, |_| ()).await.unwrap();
        self.network.blobs().get(source.blob).unwrap().unwrap()
    }

    /// Hands in these bytes as the proof of its task.
    pub async fn submit(&self, lease: &Lease, proof: &[u8]) {
        let submit = Request::Submit {
            task: lease.task,
            proof: self.network.blobs().put(proof).unwrap(),
            spent: Spent::default(),
        };
        let answer = self.network.ask(self.requester, submit).await.unwrap();
        assert_eq!(answer, Response::Received);
    }
}
