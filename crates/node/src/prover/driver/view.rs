//! The status that the owner of the machine sees.

use std::time::{Duration, Instant};

use myriad_core::Peer;
use myriad_net::short_name;

use super::Driver;
use crate::prover::{
    Activity, Engine, StatusFile,
    status::{Status, now_s},
};

/// The requesters that the status shows with their receipts.
const EARNED_SHOWN: usize = 32;
/// The log names this many peers of other versions. Anybody can be one, again and again.
const OTHER_VERSIONS_TOLD: u32 = 16;
/// The status mentions a suspension for this long.
const RESUMED_SHOWN: Duration = Duration::from_secs(900);

impl<E: Engine> Driver<E> {
    /// A peer speaks another version of the protocol.
    pub(super) fn tell_version(&mut self, peer: Peer, theirs: u32, build: &str) {
        if self.other_versions >= OTHER_VERSIONS_TOLD {
            return;
        }
        self.other_versions += 1;
        tracing::warn!(
            "peer {} ({build}) speaks version {theirs} of the protocol: one of the two has to be updated",
            short_name(peer)
        );
        if self.other_versions == OTHER_VERSIONS_TOLD {
            tracing::warn!("further peers of other versions are not named");
        }
    }

    pub(super) fn write(&mut self, file: &StatusFile, observe: &impl Fn(&Status)) {
        self.written = Instant::now();
        let traffic = self.network.traffic();
        let peers = self.network.peers().len();
        let (jobs, requesters) = self.offers.counts();
        let status = &mut self.status;
        status.listening = self.network.listening();
        (status.peers, status.jobs, status.requesters) = (peers, jobs, requesters);
        status.updated = now_s();
        status.submitted = self.finished.submitted() as u64;
        status.blob_bytes_in = traffic.blob_bytes_in;
        status.blob_bytes_out = traffic.blob_bytes_out;
        status.earned = self.receipts.earned(EARNED_SHOWN);
        status.disk_used_bytes = self.network.blobs().used_bytes();
        status.disk_lent_bytes = self.network.blobs().quota_bytes();
        status.remarks = self.offers.clocks(Instant::now());
        status.remarks.extend(self.disk.remark(status.disk_lent_bytes));
        if let Some((time, since)) = self.resumed
            && since.elapsed() < RESUMED_SHOWN
        {
            status.remarks.push(format!(
                "this machine was suspended for {} s, until {} s ago: its task may have gone to others",
                time.as_secs(),
                since.elapsed().as_secs()
            ));
        }
        status.activity = match &self.current {
            _ if self.stopping.is_some() => Activity::Stopping,
            Some(current) => current.activity(),
            None => Activity::Idle {
                why: match self.disk.why_not(self.written) {
                    Some(why) => why,
                    None => self.offers.why_idle(peers, &self.limits, self.written),
                },
            },
        };
        observe(&self.status);
        if let Err(e) = file.write(&self.status) {
            // Only somebody that asks for the status misses it.
            tracing::warn!("{e}");
        }
    }
}
