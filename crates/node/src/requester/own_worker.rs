//! The requester's own engine child, which makes a node or the final proof. It is watched, because
//! strangers have made its inputs.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use myriad_core::{Cost, TaskId};
use myriad_engine::{
    AggregateError, FinalForm, Level,
    worker::{Failure, Stopper, Usage, WorkerError},
};

use super::backend::Attempt;
use crate::{
    Machine,
    group::LimitedWorker,
    text::printable,
    verifier_pool::ProgramOnly,
    watchdog::{Bounds, guard},
};

/// A child's proof is refuted or doubted once a node has failed this often over that child alone:
/// this machine's memory may be bad, too, and it may have been short of memory or time for a
/// moment.
const FAILURES_NEEDED: usize = 2;
/// A child process may take this many times the expected memory of its task. It may also take this
/// many times the expected time, on top of starting and loading keys. Honest proofs take what was
/// measured, and this machine may be busy.
const MEMORY_FACTOR: f64 = 1.5;
/// The memory that a child may take in any case, in bytes.
const MEMORY_MIN: u64 = 2 << 30;
const TIME_FACTOR: u32 = 20;
const START_MAX: Duration = Duration::from_secs(120);

/// Starts the engine child that makes nodes here, and ends it when nobody needs it any more.
pub(super) struct OwnWorker {
    program: Arc<ProgramOnly>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    stopped: bool,
    stopper: Option<Stopper>,
}

/// The reason for which a child process has made nothing.
#[derive(Debug)]
enum Trouble {
    /// It has tried, and cannot make a proof from these children here.
    NoProof(String),
    /// It has tried and died, or was ended because it took too much.
    Died(String),
    /// It could not try.
    NoTry(String),
}

/// A proof, and the most memory that the process took for it, in bytes.
type Made = (Vec<u8>, u64);

/// The bounds of one piece of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// The memory that the task needs, in bytes.
    memory_needed: u64,
    bounds: Bounds,
}

impl Allowance {
    /// The bounds by the expected cost of the task.
    pub(super) fn of(cost: Cost) -> Self {
        Self {
            memory_needed: cost.memory,
            bounds: Bounds {
                memory_max: MEMORY_MIN.max((cost.memory as f64 * MEMORY_FACTOR) as u64),
                time_max: START_MAX + cost.work * TIME_FACTOR,
            },
        }
    }
}

impl OwnWorker {
    pub(super) fn new(program: Arc<ProgramOnly>) -> Self {
        Self {
            program,
            running: Mutex::default(),
        }
    }

    pub(super) fn stop(&self) {
        let mut running = self.running();
        running.stopped = true;
        if let Some(stopper) = &running.stopper {
            stopper.stop();
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A child with the program loaded. Aggregating needs no input of the job.
    fn start(&self, allowance: Allowance) -> Result<LimitedWorker, String> {
        let spawned = self.program.spawn(allowance.bounds.memory_max);
        let mut worker = spawned.map_err(|e| e.to_string())?;
        {
            let mut running = self.running();
            if running.stopped {
                return Err("the job is over".into());
            }
            running.stopper = Some(worker.stopper());
        }
        let (loaded, excess) = guard(&mut worker, allowance.bounds, |worker| self.program.load(worker));
        loaded.map_err(|e| excess.unwrap_or_else(|| e.to_string()))?;
        Ok(worker)
    }

    /// Does a task whose children's proofs are `inputs`, each with the level that a node above it
    /// alone has; for the final proof the last segment's follows, which has none.
    ///
    /// The child verifies what it makes. `examine` has the last word.
    pub(super) fn attempt<F>(
        &self,
        allowance: Allowance,
        make: Make,
        inputs: &[(TaskId, Vec<u8>)],
        examine: impl Fn(&[u8]) -> Result<F, String>,
    ) -> Attempt<F> {
        if let Some(free) = Machine::detect().free_bytes
            && free < allowance.memory_needed
        {
            let needed = allowance.memory_needed;
            return Attempt::Unable(format!("it takes {needed} bytes of memory, and {free} are free"));
        }
        let mut worker = None;
        let attempt = search(inputs, &make, examine, |work| {
            self.carry_out(&mut worker, allowance, work)
        });
        self.running().stopper = None;
        attempt
    }

    /// Has the child do one piece of work. If the last child has died, another one does it.
    fn carry_out(
        &self,
        worker: &mut Option<LimitedWorker>,
        allowance: Allowance,
        work: Work<'_>,
    ) -> Result<Made, Trouble> {
        let mut started = match worker.take() {
            Some(worker) => worker,
            None => self.start(allowance).map_err(Trouble::NoTry)?,
        };
        let (made, excess) = guard(&mut started, allowance.bounds, |worker| ask(worker, work));
        match made {
            Ok((proof, usage)) => {
                *worker = started.if_left();
                Ok((proof, usage.peak_bytes))
            }
            Err(WorkerError::Failed(Failure::Aggregate(AggregateError::Keys(e)))) => {
                Err(Trouble::NoTry(printable(&e.to_string())))
            }
            Err(WorkerError::Failed(Failure::Aggregate(e))) => {
                *worker = started.if_left();
                Err(Trouble::NoProof(printable(&e.to_string())))
            }
            Err(WorkerError::Died(_)) if self.running().stopped => {
                Err(Trouble::NoTry("the job is over".into()))
            }
            Err(WorkerError::Died(death)) => {
                let why = excess.unwrap_or_else(|| death.to_string());
                Err(Trouble::Died(printable(&why)))
            }
            Err(e) => Err(Trouble::NoTry(printable(&e.to_string()))),
        }
    }
}

/// A task in the engine's terms.
#[derive(Clone, Copy)]
pub(super) enum Make {
    Node(Level),
    /// Over a top node of this level.
    Final(Level, FinalForm),
}

/// One thing that a child is asked to do.
#[derive(Clone)]
enum Work<'a> {
    Aggregate(Level, Vec<&'a [u8]>),
    Finish(Level, FinalForm, &'a [u8], &'a [u8]),
}

fn ask(worker: &mut LimitedWorker, work: Work<'_>) -> Result<(Vec<u8>, Usage), WorkerError> {
    match work {
        Work::Aggregate(level, children) => {
            worker.aggregate(level, children.into_iter().map(<[u8]>::to_vec).collect())
        }
        Work::Finish(level, form, top, last) => worker.finish(level, form, top.to_vec(), last.to_vec()),
    }
}

/// Does the task. If that fails, it tries each child alone, to find the one that is to blame.
fn search<F>(
    inputs: &[(TaskId, Vec<u8>)],
    make: &Make,
    examine: impl Fn(&[u8]) -> Result<F, String>,
    mut carry_out: impl FnMut(Work<'_>) -> Result<Made, Trouble>,
) -> Attempt<F> {
    let (whole, children, alone) = match (*make, inputs) {
        (Make::Node(level), children) => {
            let proofs: Vec<_> = children.iter().map(|(_, proof)| proof.as_slice()).collect();
            (Work::Aggregate(level, proofs), children, level)
        }
        (Make::Final(level, form), [top, last]) => (
            Work::Finish(level, form, &top.1, &last.1),
            std::slice::from_ref(top),
            level.above(),
        ),
        _ => return Attempt::Unable("the final proof is made of the top node and the last segment".into()),
    };
    let (failed, died) = match carry_out(whole.clone()) {
        Ok((proof, _)) => match examine(&proof) {
            Ok(finding) => return Attempt::Made { proof, finding },
            Err(reason) => (reason, false),
        },
        Err(Trouble::NoProof(reason)) => (reason, false),
        Err(Trouble::Died(reason)) => (reason, true),
        Err(Trouble::NoTry(reason)) => return Attempt::Unable(reason),
    };
    let mut costliest: Option<(u64, TaskId)> = None;
    for (child, proof) in children {
        let mut reasons = Vec::new();
        let mut dies = false;
        while reasons.len() < FAILURES_NEEDED {
            match carry_out(Work::Aggregate(alone, vec![proof.as_slice()])) {
                Ok((_, peak_bytes)) => {
                    if costliest.is_none_or(|(most, _)| peak_bytes > most) {
                        costliest = Some((peak_bytes, *child));
                    }
                    break;
                }
                Err(Trouble::NoProof(reason)) => reasons.push(reason),
                Err(Trouble::Died(reason)) => {
                    dies = true;
                    reasons.push(reason);
                }
                Err(Trouble::NoTry(reason)) => return Attempt::Unable(reason),
            }
        }
        if reasons.len() == FAILURES_NEEDED {
            let (child, reason) = (*child, reasons.swap_remove(0));
            return if dies {
                Attempt::Doubted { child, reason }
            } else {
                Attempt::Refuted { child, reason }
            };
        }
    }
    let nobody = Attempt::Unable(format!(
        "a node over each of its children alone can be made, and one over all of them cannot: {failed}"
    ));
    let Some((_, child)) = costliest.filter(|_| died) else {
        return nobody;
    };
    // Together they take too much. The one that takes most is made again; if that does not help,
    // the next one is.
    match carry_out(whole) {
        Ok((proof, _)) => match examine(&proof) {
            Ok(finding) => Attempt::Made { proof, finding },
            Err(_) => nobody,
        },
        Err(Trouble::Died(reason)) => Attempt::Doubted { child, reason },
        Err(Trouble::NoProof(_)) => nobody,
        Err(Trouble::NoTry(reason)) => Attempt::Unable(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use myriad_engine::worker::WorkerConfig;

    use super::*;

    const BAD: &[u8] = b"bad";
    const A: &[u8] = b"a";
    const B: &[u8] = b"b";

    fn inputs(proofs: &[&[u8]]) -> Vec<(TaskId, Vec<u8>)> {
        let proofs = proofs.iter().enumerate();
        proofs
            .map(|(index, proof)| (TaskId::Segment(index as u32), proof.to_vec()))
            .collect()
    }

    /// An engine that makes no node over [`BAD`], and fails the first so many times whatever it is
    /// asked.
    fn engine(mut slips: usize) -> impl FnMut(Work<'_>) -> Result<Made, Trouble> {
        move |work| {
            let bad = match work {
                Work::Aggregate(_, children) => children.contains(&BAD),
                Work::Finish(_, _, top, _) => top == BAD,
            };
            if bad || slips > 0 {
                slips = slips.saturating_sub(1);
                return Err(Trouble::NoProof("no".into()));
            }
            Ok((b"node".to_vec(), 1))
        }
    }

    /// An engine whose process dies over more rows than `rows`: [`BAD`] has three, and others have
    /// one.
    fn mortal(rows: u64) -> impl FnMut(Work<'_>) -> Result<Made, Trouble> {
        move |work| {
            let children = match work {
                Work::Aggregate(_, children) => children,
                Work::Finish(_, _, top, _) => vec![top],
            };
            let of = |child: &[u8]| if child == BAD { 3 } else { 1 };
            let needed = children.into_iter().map(of).sum();
            if needed > rows {
                return Err(Trouble::Died(format!("{needed} rows")));
            }
            Ok((b"node".to_vec(), needed))
        }
    }

    fn attempt(make: Make, proofs: &[&[u8]], slips: usize) -> Attempt<()> {
        search(&inputs(proofs), &make, |_| Ok(()), engine(slips))
    }

    #[test]
    fn the_child_is_found_that_no_node_can_be_made_over() {
        let leaf = Make::Node(Level::LEAF);
        assert!(matches!(attempt(leaf, &[A, B], 0), Attempt::Made { .. }));
        for (proofs, culprit) in [(vec![BAD, B], 0), (vec![A, BAD], 1), (vec![BAD], 0)] {
            let found = attempt(leaf, &proofs, 0);
            assert!(
                matches!(found, Attempt::Refuted { child: TaskId::Segment(index), .. } if index == culprit),
                "{found:?}"
            );
        }
        let last = Make::Final(Level::INTERNAL_RECURSIVE, FinalForm::Small);
        assert!(matches!(
            attempt(last, &[BAD, B], 0),
            Attempt::Refuted {
                child: TaskId::Segment(0),
                ..
            }
        ));
        assert!(matches!(attempt(last, &[A, B], 0), Attempt::Made { .. }));
    }

    /// A machine that fails once, and then does not, has bad memory or bad luck.
    #[test]
    fn what_fails_here_but_once_is_nobodys_fault() {
        let leaf = Make::Node(Level::LEAF);
        for slips in [1, 2] {
            let found = attempt(leaf, &[A, B], slips);
            assert!(matches!(found, Attempt::Unable(_)), "{slips}: {found:?}");
        }
    }

    #[test]
    fn a_child_that_could_not_try_refutes_nothing() {
        let found: Attempt<()> = search(
            &inputs(&[A]),
            &Make::Node(Level::LEAF),
            |_| Ok(()),
            |_| Err(Trouble::NoTry("no memory".into())),
        );
        assert!(matches!(found, Attempt::Unable(_)));
    }

    #[test]
    fn the_child_that_a_process_dies_of_is_doubted() {
        let search =
            |make: Make, proofs: &[&[u8]], rows| search(&inputs(proofs), &make, |_| Ok(()), mortal(rows));
        let leaf = Make::Node(Level::LEAF);
        let last = Make::Final(Level::INTERNAL_RECURSIVE, FinalForm::Small);
        let doubts = |found: &Attempt<()>, culprit| matches!(found, Attempt::Doubted { child: TaskId::Segment(index), .. } if *index == culprit);
        for (make, proofs, culprit) in [
            (leaf, vec![BAD, B], 0),
            (leaf, vec![A, BAD], 1),
            (last, vec![BAD, B], 0),
        ] {
            let found = search(make, &proofs, 2);
            assert!(doubts(&found, culprit), "{found:?}");
        }
        // Alone it goes, and together they take too much: the one that takes most is made again.
        let found = search(leaf, &[A, BAD, B], 4);
        assert!(doubts(&found, 1), "{found:?}");
        assert!(matches!(search(leaf, &[A, BAD, B], 5), Attempt::Made { .. }));
    }

    /// A machine that was short of memory for a moment.
    #[test]
    fn a_process_that_dies_once_casts_no_doubt() {
        let dies_at = |times: &'static [usize]| {
            let mut calls = 0;
            let engine = move |_: Work<'_>| {
                calls += 1;
                match times.contains(&calls) {
                    true => Err(Trouble::Died("killed".into())),
                    false => Ok((b"node".to_vec(), 1)),
                }
            };
            search(&inputs(&[A, B]), &Make::Node(Level::LEAF), |_| Ok(()), engine)
        };
        // The whole; a child; and the whole again.
        for times in [&[1][..], &[1, 2], &[1, 3], &[1, 2, 4]] {
            let found: Attempt<()> = dies_at(times);
            assert!(matches!(found, Attempt::Made { .. }), "{times:?}: {found:?}");
        }
    }

    /// A process of the system's instead of the engine, for which a node should take 64 MiB and may
    /// take 96.
    fn attempt_with(command: &str, time_max: Duration) -> (Attempt<()>, Duration) {
        let config = WorkerConfig {
            engine: myriad_engine::EngineFacts::pretended(),
            command: "/bin/sh".into(),
            args: vec!["-c".into(), command.into()],
            keys: "none".into(),
            threads: 1,
        };
        let allowance = Allowance {
            memory_needed: 64 << 20,
            bounds: Bounds {
                memory_max: 96 << 20,
                time_max,
            },
        };
        let program = ProgramOnly {
            image: vec![1],
            program_config: None,
            config,
        };
        let start = Instant::now();
        let own_worker = OwnWorker::new(Arc::new(program));
        let found = own_worker.attempt(allowance, Make::Node(Level::LEAF), &inputs(&[A]), |_| Ok(()));
        (found, start.elapsed())
    }

    #[test]
    fn a_process_that_hangs_or_takes_all_memory_is_ended() {
        let (found, took) = attempt_with("exec sleep 600", Duration::from_millis(500));
        assert!(
            matches!(&found, Attempt::Unable(reason) if reason.contains("took more than 0.5 s")),
            "{found:?}"
        );
        assert!(took < Duration::from_secs(60), "{took:?}");

        let greedy = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 600";
        let (found, took) = attempt_with(greedy, Duration::from_secs(300));
        assert!(
            matches!(&found, Attempt::Unable(reason) if ["and 100663296 are allowed", "its control group allows"].iter().any(|said| reason.contains(said))),
            "{found:?}"
        );
        assert!(took < Duration::from_secs(120), "{took:?}");
    }

    #[test]
    fn a_task_is_allowed_more_than_it_is_expected_to_take() {
        let cost = Cost {
            work: Duration::from_secs(30),
            memory: 2 << 30,
        };
        let allowance = Allowance::of(cost);
        assert_eq!(
            (allowance.memory_needed, allowance.bounds.memory_max),
            (2 << 30, 3 << 30)
        );
        assert_eq!(allowance.bounds.time_max, Duration::from_secs(720));
    }
}
