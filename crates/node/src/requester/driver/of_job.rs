//! What a driver keeps of one job.

use std::{collections::HashMap, sync::Arc, time::Duration};

use myriad_core::{JobId, JobSpec, Kind, TaskId};
use myriad_engine::worker::Usage;
use myriad_net::wire::Extent;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{growing::Unplanned, holders::Holders, journal_notes::JournalNotes, proofs::Proofs};
use crate::{
    Observer, RunError,
    requester::{Files, Growth, backend::JobBackend},
};

pub(super) struct OfJob<'a, J: JobBackend> {
    pub id: JobId,
    /// Until it is opened.
    pub spec: Option<JobSpec>,
    /// More of the plan, while it is being made.
    pub growth: Option<UnboundedReceiver<Growth>>,
    pub files: Files,
    pub extent: Extent,
    /// The expected cost of each task: time of a reference core, and bytes of memory.
    pub work: HashMap<TaskId, (Duration, u64)>,
    pub backend: Arc<J>,

    // Its knowledge.
    pub proofs: Proofs<J::Finding>,
    pub holders: Holders,
    pub notes: JournalNotes,

    pub observer: &'a mut dyn Observer,

    // The end.
    pub usages: Vec<(Kind, Usage)>,
    /// Proofs that are being examined or made durable.
    pub checks: usize,
    /// Why there will be no plan.
    pub unplanned: Option<Unplanned>,
    pub finished: bool,
    pub failed: Option<RunError>,
}
