//! The engine children that verify proofs. With `--proof fast` they also put the final proof
//! together, which then needs no proving. Strangers have made the proofs, so no proof is decoded in
//! the process that has the owner's files.
//!
//! They stay from one proof to the next, with the keys and the program ready. An attacker that
//! takes a child over with a proof can make it call any proof valid. That gains no more than making
//! such proofs: everybody that gets the final proof verifies it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use myriad_engine::{
    FinalForm, Input, Level, MemoryBudget, ProofOf, Shown, Statement, VerifyError,
    worker::{Failure, WorkerConfig, WorkerError},
};
use thiserror::Error;

use crate::{
    group::LimitedWorker,
    keys::{KEYS_MEMORY_MIN, with_readable_keys},
    text::printable,
    watchdog::{Bounds, guard},
};

/// The most children at once. One verifies 50 proofs in a second, which is what a thousand provers
/// make.
const CHILDREN_MAX: usize = 2;
/// Another child is started when more proofs than this wait. To make it ready takes seconds, and
/// some hundred MiB.
const WAITING_MAX: usize = 3;
/// A proof is refused once this many children have died over it: the machine may have been short of
/// memory for a moment. The second child is new, and making it ready has taken more memory than any
/// proof does.
const DEATHS_NEEDED: usize = 2;
/// Memory of a child, in bytes: the largest program that is allowed has 1.1 GB when it is loaded,
/// and is committed to.
const MEMORY_MAX: u64 = 4 << 30;
/// Bounds of making a child ready.
const READY: Bounds = Bounds {
    memory_max: MEMORY_MAX,
    time_max: Duration::from_secs(300),
};
/// Bounds of verifying one proof. It takes 20 ms and some MiB, but the machine may be busy.
const PROOF: Bounds = Bounds {
    memory_max: MEMORY_MAX,
    time_max: Duration::from_secs(60),
};

/// Why a proof does not count.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Objection {
    /// It is not the proof that it should be.
    #[error("{0}")]
    Invalid(String),
    /// It may be a valid proof, but of another program.
    #[error("{0}")]
    OtherProgram(String),
    /// This machine could not examine it.
    #[error("{0}")]
    Unable(String),
}

/// There is no child that could verify proofs of this program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("proofs cannot be verified: {reason}")]
pub struct NoVerifier {
    pub reason: String,
}

/// The program of a job, for children that need no input of it.
#[derive(Debug)]
pub struct ProgramOnly {
    pub image: Vec<u8>,
    /// The VM's extensions, if the program needs more than integers and input.
    pub program_config: Option<String>,
    pub config: WorkerConfig,
}

impl ProgramOnly {
    /// Starts a child that may take this many bytes of memory.
    pub(crate) fn spawn(&self, memory_max: u64) -> Result<LimitedWorker, WorkerError> {
        LimitedWorker::spawn(&self.config, MemoryBudget::from_bytes(memory_max))
    }

    pub(crate) fn load(&self, worker: &mut LimitedWorker) -> Result<(), WorkerError> {
        worker
            .load(&self.image[..], self.program_config.clone(), Input::default())
            .map(drop)
    }
}

/// The verifiers of one program's proofs, in children that the kernel confines.
#[derive(Clone)]
pub struct VerifierPool(Arc<Shared>);

struct Shared {
    program: Arc<ProgramOnly>,
    /// The statement that proofs must make. The first child gave it before it had seen any proof.
    statement: OnceLock<Result<Statement, String>>,
    children: Mutex<Children>,
    changed: Condvar,
}

#[derive(Default)]
struct Children {
    idle: Vec<LimitedWorker>,
    /// The children that are idle, at work, or being made ready.
    count: usize,
    waiting: usize,
}

/// A child at work. It goes back when this is dropped, if it is still alive.
struct AtWork<'a> {
    shared: &'a Shared,
    worker: Option<LimitedWorker>,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let left = self.worker.take().and_then(LimitedWorker::if_left);
        let mut children = self.shared.children();
        match left {
            Some(worker) => children.idle.push(worker),
            None => children.count -= 1,
        }
        self.shared.changed.notify_one();
    }
}

impl VerifierPool {
    /// A separate thread makes the first child ready. That takes seconds, in which tasks can be
    /// given out already.
    pub fn begin(program: Arc<ProgramOnly>) -> Self {
        let verifiers = Self(Arc::new(Shared {
            program,
            statement: OnceLock::new(),
            children: Mutex::default(),
            changed: Condvar::new(),
        }));
        let begun = verifiers.clone();
        thread::spawn(move || {
            let _ = begun.statement();
        });
        verifiers
    }

    /// The statement that proofs of the program must make. Waits until a child is ready.
    ///
    /// # Errors
    /// [`NoVerifier`], if the first child could not be made ready.
    pub fn statement(&self) -> Result<&Statement, NoVerifier> {
        let statement = self.0.statement.get_or_init(|| {
            let mut first = self.0.new_child();
            let (worker, statement) = self.0.ready()?;
            first.worker = Some(worker);
            Ok(statement)
        });
        statement.as_ref().map_err(|reason| NoVerifier {
            reason: reason.clone(),
        })
    }

    /// Verifies a proof, which may be any bytes, and gives what it says. Blocks.
    ///
    /// # Errors
    /// See [`Objection`].
    pub fn verify(&self, of: &ProofOf, proof: &[u8]) -> Result<Shown, Objection> {
        self.0.verify(of, proof)
    }

    /// Makes the final proof of [`FinalForm::Fast`] of a tree whose top node is `top`, on `level`.
    /// Blocks.
    ///
    /// # Errors
    /// The reason for which there is none: the machine may be short of memory, or the proofs may be
    /// of another kind.
    pub fn finish(&self, level: Level, top: &[u8], last_segment: &[u8]) -> Result<Vec<u8>, String> {
        let mut at_work = self.0.take()?;
        let worker = at_work.worker.as_mut().expect("it was taken");
        let (made, excess) = guard(worker, PROOF, |worker| {
            worker.finish(level, FinalForm::Fast, top, last_segment)
        });
        made.map(|(proof, _)| proof).map_err(|error| {
            if !matches!(error, WorkerError::Failed(_)) {
                at_work.worker = None;
            }
            printable(&excess.unwrap_or_else(|| error.to_string()))
        })
    }
}

impl Shared {
    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verify(&self, of: &ProofOf, proof: &[u8]) -> Result<Shown, Objection> {
        let mut deaths = 0;
        loop {
            let mut at_work = self.take().map_err(Objection::Unable)?;
            let worker = at_work.worker.as_mut().expect("it was taken");
            let (verified, excess) = guard(worker, PROOF, |worker| worker.verify(of.clone(), proof));
            let error = match verified {
                Ok((shown, _)) => return Ok(shown),
                Err(WorkerError::Failed(Failure::Verify(reason))) => {
                    let text = printable(&reason.to_string());
                    return Err(match reason {
                        VerifyError::OtherProgram { .. } => Objection::OtherProgram(text),
                        _ => Objection::Invalid(text),
                    });
                }
                Err(error) => error,
            };
            // It has died, or nobody knows what it is doing.
            at_work.worker = None;
            let reason = printable(&excess.unwrap_or_else(|| error.to_string()));
            if !matches!(error, WorkerError::Died(_)) {
                return Err(Objection::Unable(reason));
            }
            deaths += 1;
            if deaths == DEATHS_NEEDED {
                let reason = format!("the child that verifies it has died {deaths} times: {reason}");
                return Err(Objection::Invalid(reason));
            }
            tracing::warn!("the engine child that verifies is started again: {reason}");
        }
    }

    fn new_child(&self) -> AtWork<'_> {
        self.children().count += 1;
        AtWork {
            shared: self,
            worker: None,
        }
    }

    /// A child that is ready: an idle one, or a new one if none is idle or if many proofs wait.
    fn take(&self) -> Result<AtWork<'_>, String> {
        let mut children = self.children();
        children.waiting += 1;
        let idle = loop {
            if let Some(worker) = children.idle.pop() {
                break Some(worker);
            }
            let many = children.waiting > WAITING_MAX && children.count < CHILDREN_MAX;
            if children.count == 0 || many {
                children.count += 1;
                break None;
            }
            children = self
                .changed
                .wait(children)
                .unwrap_or_else(PoisonError::into_inner);
        };
        children.waiting -= 1;
        drop(children);
        let mut at_work = AtWork {
            shared: self,
            worker: idle,
        };
        if at_work.worker.is_none() {
            at_work.worker = Some(self.ready()?.0);
        }
        Ok(at_work)
    }

    /// Starts a child and makes it ready, with keys made again if it cannot read those that are
    /// there.
    fn ready(&self) -> Result<(LimitedWorker, Statement), String> {
        let program = &*self.program;
        let mut excess = None;
        let made = with_readable_keys(
            &program.config,
            KEYS_MEMORY_MIN,
            program.program_config.as_deref(),
            || {
                let mut worker = program.spawn(MEMORY_MAX)?;
                let (made, exceeded) = guard(&mut worker, READY, |worker| {
                    program.load(worker)?;
                    worker.prepare_verifier()
                });
                excess = exceeded;
                Ok((worker, made?))
            },
        );
        made.map_err(|e| excess.unwrap_or_else(|| printable(&e.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use myriad_engine::{FinalProof, Loaded};

    use super::*;

    /// The bytes with which a child answers: a frame with what it took, and the answer's encoding.
    fn frame(result: &[u8]) -> Vec<u8> {
        // Wall time, CPU time and waiting of seconds and nanoseconds each, a peak of memory, and
        // what was planned of it.
        let body = [&[0; 8], result].concat();
        [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat()
    }

    /// Bytes of the requests to load, to make ready and to verify: of each the length, the request,
    /// and its files.
    const REQUESTS: [usize; 3] = [4 + 5 + 2, 4 + 2, 4 + 5 + PROOF_BYTES.len()];
    const PROOF_BYTES: &[u8] = b"proof";

    /// A child that answers to loading and making ready, and then does what `then` says. That finds
    /// the number of children that were started in `$count`, and waits with `next` until it is
    /// asked to verify.
    fn program(dir: &Path, then: &str) -> Arc<ProgramOnly> {
        let loaded = postcard::to_stdvec(&Loaded::pretended()).unwrap();
        // `Statement` has a pc, a root of eight words, an empty text and
        // a file without bytes.
        let loaded = frame(&[&[0, 1][..], &loaded].concat());
        let statement = frame(&[&[0, 6, 0][..], &[0; 8], &[0, 0]].concat());
        // It holds, and shows no public value.
        let holds = frame(&[0, 7, 1, 0]);
        // It was made by `x`, and is wanted of `y`.
        let version = frame(&[1, 7, 2, 1, b'x', 1, b'y']);
        for (name, bytes) in [
            ("loaded", loaded),
            ("statement", statement),
            ("holds", holds),
            ("version", version),
        ] {
            fs::write(dir.join(name), bytes).unwrap();
        }
        let [load, ready, verify] = REQUESTS;
        let script = format!(
            "cd {}
             echo >> started
             count=$(wc -l < started)
             next() {{ head -c {verify} > /dev/null; }}
             head -c {load} > /dev/null; cat loaded
             head -c {ready} > /dev/null; cat statement
             {then}",
            dir.display()
        );
        Arc::new(ProgramOnly {
            image: vec![1],
            program_config: None,
            config: WorkerConfig {
                engine: myriad_engine::EngineFacts::pretended(),
                command: "/bin/sh".into(),
                args: vec!["-c".into(), script],
                keys: "none".into(),
                threads: 1,
            },
        })
    }

    fn started(dir: &Path) -> usize {
        fs::read_to_string(dir.join("started")).unwrap().lines().count()
    }

    const FINAL: ProofOf = ProofOf::Final { public_values: None };

    fn holds() -> Result<Shown, Objection> {
        Ok(Shown::Whole(FinalProof {
            public_values: Vec::new(),
        }))
    }

    fn verify(then: &str, times: usize) -> (Vec<Result<Shown, Objection>>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let verifiers = VerifierPool::begin(program(dir.path(), then));
        verifiers.statement().unwrap();
        let results = (0..times).map(|_| verifiers.verify(&FINAL, PROOF_BYTES));
        (results.collect(), started(dir.path()))
    }

    #[test]
    fn one_child_verifies_one_proof_after_another() {
        let (results, started) = verify("for i in 1 2 3; do next; cat holds; done; exec sleep 600", 3);
        assert_eq!((results, started), (vec![holds(); 3], 1));
    }

    #[test]
    fn a_child_that_refuses_a_proof_blames_its_sender_and_goes_on() {
        let (results, started) = verify("next; cat version; next; cat holds; exec sleep 600", 2);
        let Err(Objection::Invalid(reason)) = &results[0] else {
            panic!("{results:?}");
        };
        assert!(reason.contains("was made by x"), "{reason}");
        assert_eq!((&results[1], started), (&holds(), 1));
    }

    /// This machine may have been short of memory for a moment.
    #[test]
    fn a_child_that_dies_is_replaced_and_nobody_is_to_blame() {
        let then = "next; [ $count = 1 ] && kill -9 $$
             cat holds; next; cat holds; exec sleep 600";
        let (results, started) = verify(then, 2);
        assert_eq!((results, started), (vec![holds(); 2], 2));
    }

    #[test]
    fn a_proof_that_children_die_of_again_and_again_is_refused() {
        let (results, started) = verify("next; echo dies >&2; exit 7", 1);
        let Err(Objection::Invalid(reason)) = &results[0] else {
            panic!("{results:?}");
        };
        assert!(reason.contains("2 times") && reason.contains("dies"), "{reason}");
        assert_eq!(started, DEATHS_NEEDED);
    }

    #[test]
    fn a_child_that_cannot_be_made_ready_is_no_proofs_fault() {
        let dir = tempfile::tempdir().unwrap();
        let program = program(dir.path(), "");
        fs::write(dir.path().join("statement"), b"").unwrap();
        let verifiers = VerifierPool::begin(program);
        let NoVerifier { reason } = verifiers.statement().unwrap_err();
        assert_ne!(reason, "");
        assert!(matches!(
            verifiers.verify(&FINAL, PROOF_BYTES),
            Err(Objection::Unable(_))
        ));
    }

    #[test]
    fn many_at_once_have_two_children() {
        let dir = tempfile::tempdir().unwrap();
        // Each answers after the time in which all have come.
        let answers = "for i in 1 2 3 4 5 6 7 8; do next; sleep 0.3; cat holds; done; exec sleep 600";
        let verifiers = VerifierPool::begin(program(dir.path(), answers));
        verifiers.statement().unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(verifiers.verify(&FINAL, PROOF_BYTES), holds()));
            }
        });
        assert_eq!(started(dir.path()), CHILDREN_MAX);
    }
}
