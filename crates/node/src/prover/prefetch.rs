//! Fetches the files of a job that is being executed, so that they are on the disk when there is a
//! task to be done with them. It runs beside the driver, and beside a task of another job.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use myriad_core::{Blob, JobId, Peer};
use myriad_net::{
    FetchFailed, Network,
    wire::{Refused, Request, Response, Sources, Why},
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{
    Limits,
    offers::{Fetched, Wanted},
    task::files_within,
    tenure::too_slow,
};

/// The time after which a source that has sent nothing is given up: another prover, or none, is a
/// better one.
const GRACE: Duration = Duration::from_secs(10);
/// The interval at which the prover checks that enough bytes have come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The files may take one part in this many of the room on the disk: the rest is for tasks.
const PART_OF_ROOM: u64 = 4;
/// The pause before a requester is asked again that has named no pause itself.
const LATER: Duration = Duration::from_secs(5);

/// The files of a job that are on their way.
pub(super) struct Prefetch {
    pub wanted: Wanted,
    handle: JoinHandle<Fetched>,
}

impl Prefetch {
    /// Asks the requester for the files; `holds` are blobs that are here.
    pub(super) fn begin(network: Network, limits: Limits, wanted: Wanted, holds: Vec<Blob>) -> Self {
        let fetch = async move {
            let fetched = prefetch(&network, &limits, wanted, holds).await;
            fetched.unwrap_or_else(|end| end)
        };
        Self {
            wanted,
            handle: tokio::spawn(fetch),
        }
    }

    pub(super) fn is_of(&self, job: JobId, requester: Peer) -> bool {
        self.wanted.job == job && self.wanted.requester == requester
    }

    /// How it ends. May be dropped and called again until it has.
    pub(super) async fn end(&mut self) -> Fetched {
        (&mut self.handle).await.unwrap_or(Fetched::Failed)
    }

    /// Ends the fetching. The bytes that have come stay, for the next time.
    pub(super) fn stop(self) {
        self.handle.abort();
    }
}

async fn prefetch(
    network: &Network,
    limits: &Limits,
    wanted: Wanted,
    holds: Vec<Blob>,
) -> Result<Fetched, Fetched> {
    let Wanted {
        requester,
        job,
        bytes,
    } = wanted;
    let sources = match network.ask(requester, Request::Prepare { job, holds }).await {
        Ok(Response::Files(sources)) => sources,
        Ok(Response::Received) => return Ok(Fetched::Had),
        Ok(Response::Refused(Refused {
            why: Why::NotNow | Why::TooFast,
            retry_ms,
            ..
        })) => return Err(Fetched::Later(retry_ms.map_or(LATER, Duration::from_millis))),
        Ok(Response::Refused(refused)) => {
            tracing::debug!("the files of a job are not given: {:?}", refused.reason);
            return Err(Fetched::Unwilling);
        }
        Ok(Response::Lease(_) | Response::Extended { .. }) | Err(_) => return Err(Fetched::Failed),
    };
    fits(network, limits, &sources, bytes).map_err(|why| {
        tracing::warn!("the files of a job are not fetched: {why}");
        Fetched::Unwilling
    })?;
    fetch(network, requester, &sources).await?;
    let holds = sources.all().map(|source| source.blob.blob).collect();
    // If it is not heard, others fetch them elsewhere.
    let _ = network.ask(requester, Request::Prepare { job, holds }).await;
    Ok(Fetched::Here)
}

/// Holds the files to what was announced, to the owner's limits, and to the room on the disk.
fn fits(network: &Network, limits: &Limits, sources: &Sources, announced: u64) -> Result<(), String> {
    let bytes = |missing: bool| {
        let blobs = sources.all().map(|source| source.blob);
        let counted = blobs.filter(|blob| !missing || !network.blobs().contains(&blob.blob));
        counted.map(|blob| blob.bytes).sum::<u64>()
    };
    if bytes(false) > announced {
        return Err(format!(
            "they have {} bytes, and {announced} were announced",
            bytes(false)
        ));
    }
    files_within(sources, limits)?;
    let allowed = network.blobs().room_bytes() / PART_OF_ROOM;
    if bytes(true) > allowed {
        return Err(format!(
            "{} bytes are missing, and there is room for {allowed} beside tasks; see --disk",
            bytes(true)
        ));
    }
    Ok(())
}

/// Fetches what is missing, as long as it comes at a useful pace. It stays unpinned: a task that
/// needs the room has it.
async fn fetch(network: &Network, requester: Peer, sources: &Sources) -> Result<(), Fetched> {
    let (came, since) = (AtomicU64::new(0), Instant::now());
    let each = sources.all().map(|source| {
        let more = |bytes| {
            came.fetch_add(bytes, Ordering::Relaxed);
        };
        network.fetch(source, requester, more)
    });
    let watch = async {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            if let Some(why) = too_slow(came.load(Ordering::Relaxed), since.elapsed(), GRACE) {
                return why;
            }
        }
    };
    let why = tokio::select! {
        fetched = futures::future::try_join_all(each) => match fetched {
            Ok(_) => return Ok(()),
            Err(FetchFailed::Disk(e)) => {
                tracing::warn!("the files of a job are not fetched: {e}");
                return Err(Fetched::Unwilling);
            }
            Err(e) => e.to_string(),
        },
        why = watch => why,
    };
    tracing::debug!("the files of a job have not come: {why}");
    Err(Fetched::Failed)
}
