//! The part of the journal about a job's plan: how the execution was cut, or is being cut, and what
//! is true of its segments.

use myriad_core::Arities;
use myriad_engine::{Boundary, Plan};
use serde::{Deserialize, Serialize};

use super::{LEASES, PLANNED, Store, StoreError};

/// Postcard of [`Planned`].
const PLAN_KEY: &str = "plan";
/// Postcard of the [`Boundary`] of each of its segments.
const TRUTH_KEY: &str = "truth";
/// Postcard of [`Growing`]. Builds that do not know it plan as if it was not there.
const GROWING_KEY: &str = "growing";

/// The plan of a job, which its tasks follow from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The memory that the user allowed each engine child, in bytes. Another amount makes another
    /// plan.
    pub memory_bytes: u64,
    /// The engine that cut it. Other engines may cut elsewhere.
    pub engine: [u8; 32],
    pub arities: Arities,
    pub plan: Plan,
}

/// The way in which a plan is being made whose first segments are given out already. Another run
/// that makes it in the same way finds the same segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Growing {
    /// As in [`Planned`].
    pub memory_bytes: u64,
    pub engine: [u8; 32],
    /// Segments were given out when there were more than this many.
    pub from: u32,
}

impl Store {
    /// The earlier plan of the job; none if there was none, or if it cannot be read any more.
    pub(crate) fn planned(&self) -> Result<Option<Planned>, StoreError> {
        self.decoded(PLAN_KEY)
    }

    /// The true boundaries of that plan's segments.
    pub(crate) fn truth(&self) -> Result<Option<Vec<Boundary>>, StoreError> {
        self.decoded(TRUTH_KEY)
    }

    fn decoded<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.read(|transaction| {
            let planned = transaction.open_table(PLANNED)?;
            let bytes = planned.get(key)?;
            Ok(bytes.and_then(|bytes| postcard::from_bytes(bytes.value()).ok()))
        })
    }

    /// Keeps a new plan. The truth about the old one, and the holders of its tasks, are forgotten;
    /// its proofs stay.
    pub(crate) fn set_planned(&self, planned: &Planned) -> Result<(), StoreError> {
        self.put_planned(planned, false)
    }

    /// Keeps the plan of a job whose first segments have holders already, who stay.
    pub(crate) fn settle_planned(&self, planned: &Planned) -> Result<(), StoreError> {
        self.put_planned(planned, true)
    }

    fn put_planned(&self, planned: &Planned, has_holders: bool) -> Result<(), StoreError> {
        let bytes = postcard::to_stdvec(planned).expect("a plan is plain data");
        self.write(|transaction| {
            let mut table = transaction.open_table(PLANNED)?;
            table.insert(PLAN_KEY, bytes.as_slice())?;
            table.remove(TRUTH_KEY)?;
            table.remove(GROWING_KEY)?;
            if !has_holders {
                transaction.open_table(LEASES)?.retain(|_, ()| false)?;
            }
            Ok(())
        })
    }

    /// How an earlier run was making a plan whose segments it gave out, if it did not come to its
    /// end.
    pub(crate) fn growing(&self) -> Result<Option<Growing>, StoreError> {
        self.decoded(GROWING_KEY)
    }

    /// [`Self::growing`], if it was making the plan of this much memory and this engine.
    pub(crate) fn growing_for(
        &self,
        memory_bytes: u64,
        engine: [u8; 32],
    ) -> Result<Option<Growing>, StoreError> {
        let is_same = |growing: &Growing| (growing.memory_bytes, growing.engine) == (memory_bytes, engine);
        Ok(self.growing()?.filter(is_same))
    }

    /// Notes that segments are given out of a plan that is being made. Proofs stay, and so does the
    /// plan that was there before, until this one takes its place. If an earlier run was not making
    /// the same one, the holders of its tasks are forgotten.
    pub(crate) fn set_growing(&self, growing: Growing) -> Result<(), StoreError> {
        if self.growing()? == Some(growing) {
            return Ok(());
        }
        let bytes = postcard::to_stdvec(&growing).expect("these are plain data");
        self.write(|transaction| {
            let mut table = transaction.open_table(PLANNED)?;
            table.insert(GROWING_KEY, bytes.as_slice())?;
            transaction.open_table(LEASES)?.retain(|_, ()| false)?;
            Ok(())
        })
    }

    /// Notes that the plan that is there is the job's again. If an earlier run was making another
    /// one, the holders are of tasks of that.
    pub(crate) fn forget_growing(&self) -> Result<(), StoreError> {
        if self.growing()?.is_none() {
            return Ok(());
        }
        self.write(|transaction| {
            transaction.open_table(PLANNED)?.remove(GROWING_KEY)?;
            transaction.open_table(LEASES)?.retain(|_, ()| false)?;
            Ok(())
        })
    }

    /// Keeps the true boundaries of the plan's segments.
    pub(crate) fn set_truth(&self, truth: &[Boundary]) -> Result<(), StoreError> {
        let bytes = postcard::to_stdvec(truth).expect("boundaries are plain data");
        self.write(|transaction| {
            transaction
                .open_table(PLANNED)?
                .insert(TRUTH_KEY, bytes.as_slice())?;
            Ok(())
        })
    }
}
