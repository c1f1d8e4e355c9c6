//! The knowledge of a job before it has a plan, and how it comes to one.

use std::{sync::Arc, time::Instant};

use myriad_core::{Arities, Cost, JobId};
use myriad_cost::job::Hands;
use myriad_engine::{
    FinalForm, Loaded, Segment,
    worker::{Stopper, Usage, WorkerError},
};

use super::{
    Event, Job, Observer, Options, RunError,
    prepare::{Opened, Prepared, choose, keys, start_child, stream_from},
    tree_choice::{allowed, best_arities, segment_cost, tree},
};
use crate::{
    Store,
    group::LimitedWorker,
    keys::{make_keys_unless_stopped, with_readable_keys},
    store::Planned,
    verifier_pool::{ProgramOnly, VerifierPool},
};

/// The knowledge of a job before it has a plan. Clones share the journal and the verifiers.
#[derive(Clone)]
pub(crate) struct Outset {
    pub id: JobId,
    pub program: Arc<ProgramOnly>,
    pub verifying: VerifierPool,
    pub store: Arc<Store>,
    pub loaded: Loaded,
    pub final_form: FinalForm,
    allowed: Vec<Arities>,
    start: Instant,
}

impl Outset {
    /// Makes the keys and the first verifier ready. `began` can stop the child that makes keys.
    pub(crate) fn new(
        opened: Opened,
        job: &Job,
        options: &Options,
        began: impl FnOnce(Stopper),
        observer: &mut dyn Observer,
    ) -> Result<Self, RunError> {
        let Opened {
            id,
            loaded,
            store,
            start,
        } = opened;
        let allowed = allowed(&loaded, options.memory)?;
        observer.event(&Event::Preparing);
        // A separate child makes the keys: children that run programs cannot write them.
        let config = job.program_config.clone();
        let made = make_keys_unless_stopped(&options.worker, options.memory, config, began)?;
        observer.event(&Event::KeysReady {
            made: made.map(|usage| usage.wall),
        });
        let program_only = Arc::new(ProgramOnly {
            image: job.image.clone(),
            program_config: job.program_config.clone(),
            config: options.worker.clone(),
        });
        Ok(Self {
            id,
            verifying: VerifierPool::begin(Arc::clone(&program_only)),
            program: program_only,
            store: Arc::new(store),
            loaded,
            final_form: options.final_form,
            allowed,
            start,
        })
    }

    pub(crate) fn engine(&self) -> [u8; 32] {
        self.loaded.engine
    }

    /// Executes in this child, and cuts. `cut` gets the segments of a job that has more than `from`
    /// of them, as soon as they are known.
    pub(crate) fn choose(
        &self,
        child: &mut LimitedWorker,
        options: &Options,
        hands: Hands,
        from: u32,
        cut: &mut dyn FnMut(Vec<Segment>),
    ) -> Result<(Planned, Usage), WorkerError> {
        choose(child, options, &self.loaded, from, cut, |plan| {
            best_arities(&self.loaded, plan, &self.allowed, hands)
        })
    }

    /// The job with its plan, and what an earlier run has left of it.
    pub(crate) fn planned(&self, planned: Planned, executed: Usage) -> Result<Prepared, RunError> {
        let Planned { plan, arities, .. } = planned;
        let (tree, costs) = tree(&self.loaded, &plan, arities, self.final_form);
        let keys = keys(&tree, &plan, self.final_form);
        let done = self.store.entries(keys.iter().map(|(&task, &key)| (task, key)))?;
        Ok(Prepared {
            id: self.id,
            program: Arc::clone(&self.program),
            verifying: self.verifying.clone(),
            store: Arc::clone(&self.store),
            plan,
            tree,
            arities,
            costs,
            keys,
            final_form: self.final_form,
            done,
            leased: self.store.leases()?,
            start: self.start,
            executed,
        })
    }

    /// What a segment costs, whatever the plan turns out to be.
    pub(crate) fn segment_cost(&self, segment: &Segment) -> Cost {
        segment_cost(&self.loaded, segment)
    }
}

/// Takes the plan of an earlier run, or executes, cuts, and chooses the tree that `hands` finish
/// soonest. In the second case it also returns the child that executed, with the job loaded.
pub(crate) fn prepare(
    opened: Opened,
    job: &Job,
    options: &Options,
    hands: Hands,
    observer: &mut dyn Observer,
) -> Result<(Prepared, Option<LimitedWorker>), RunError> {
    let earlier = opened.earlier(options)?;
    let outset = Outset::new(opened, job, options, |_| {}, observer)?;
    if let Some(planned) = earlier {
        // The children prove at once. If the keys that are there cannot be read, the verifier has
        // them made again.
        outset.verifying.statement()?;
        let prepared = outset.planned(planned, Usage::default())?;
        observer.event(&prepared.planned_event(hands));
        return Ok((prepared, None));
    }
    observer.event(&Event::Planning);
    let from = stream_from(hands);
    let config = job.program_config.as_deref();
    let (planned, usage, child) = with_readable_keys(&options.worker, options.memory, config, || {
        let mut child = start_child(job, options, |_| ())?;
        let (planned, usage) = outset.choose(&mut child, options, hands, from, &mut |_| {})?;
        Ok((planned, usage, child))
    })?;
    outset.store.set_planned(&planned)?;
    let prepared = outset.planned(planned, usage)?;
    observer.event(&prepared.planned_event(hands));
    Ok((prepared, Some(child)))
}
