//! The loop of a local run. It carries out the state machine's outputs; its peers are the threads
//! beside the children.

use std::{
    collections::{BTreeMap, HashMap},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use myriad_core::{
    Blob, Event as CoreEvent, Input, Kind, Output, Peer, Requester, Return, TaskId, TaskRef, Time,
    TrialVerdict, Verdict,
};
use myriad_engine::{
    Boundary,
    worker::{Death, Usage, WorkerError},
};

use super::child::{Answer, Command, Shared};
use crate::{
    Event, Observer, RunError,
    group::LimitedWorker,
    job::{MISSED, child_of, child_offer, child_peer, one_machine},
    store::{Accepted, Entry},
};

/// The cost of each task, with its kind.
pub(super) type Usages = Vec<(Kind, Usage)>;

/// Works until the final proof is stored or something fails for good.
///
/// `planner` is a child that runs already, if there is one.
pub(super) fn drive(
    shared: &Shared<'_>,
    children: usize,
    planner: Option<LimitedWorker>,
    observer: &mut dyn Observer,
) -> Result<Usages, RunError> {
    thread::scope(|scope| {
        let (sender, answers) = mpsc::channel();
        let mut first = planner;
        let commands = (0..children).map(|child| {
            let (commands, received) = mpsc::channel();
            let (sender, worker) = (sender.clone(), first.take());
            scope.spawn(move || shared.serve(child, worker, &received, &sender));
            commands
        });
        let mut driver = Driver {
            shared,
            requester: Requester::new(one_machine()),
            start: Instant::now(),
            commands: commands.map(Some).collect(),
            idle: vec![true; children],
            boundaries: shared.prepared.done.iter().map(boundary_of).collect(),
            checked: HashMap::new(),
            usages: Vec::new(),
            observer,
        };
        let result = driver.run(&answers);
        if result.is_err() {
            // The work of the other children would be wasted.
            shared.stoppers.stop();
        }
        result.map(|()| driver.usages)
    })
}

struct Driver<'a, 's> {
    shared: &'a Shared<'s>,
    requester: Requester,
    start: Instant,
    /// The channel to each child's thread; none for a thread that was given up.
    commands: Vec<Option<Sender<Command>>>,
    /// Children without a task.
    idle: Vec<bool>,
    /// The boundaries of the accepted proofs. The final proof has none of its own.
    boundaries: BTreeMap<TaskId, Option<Boundary>>,
    /// Proofs on the way to the store.
    checked: HashMap<TaskId, Made>,
    usages: Usages,
    observer: &'a mut dyn Observer,
}

/// A proof, with all that is known of it.
struct Made {
    proof: Vec<u8>,
    usage: Usage,
    boundary: Option<Boundary>,
}

impl Driver<'_, '_> {
    fn run(&mut self, answers: &Receiver<(usize, TaskId, Answer)>) -> Result<(), RunError> {
        let spec = self.shared.prepared.spec(self.shared.options, Vec::new());
        let mut finished = self.input(Input::Open(Box::new(spec)))?;
        for child in 0..self.commands.len() {
            finished |= self.offer(child)?;
        }
        while !finished {
            // The only time that children's tasks know is the job's deadline.
            let patience = self
                .requester
                .poll_timeout()
                .map_or(Duration::MAX, |time| time - self.now());
            finished = match answers.recv_timeout(patience) {
                Ok((child, task, answer)) => self.answered(child, task, answer)?,
                Err(RecvTimeoutError::Timeout) => self.input(Input::Timeout)?,
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the threads end after the commands' senders, which are here")
                }
            };
        }
        Ok(())
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// Gives the state machine an input, and carries out its outputs. Returns whether the job is
    /// done.
    fn input(&mut self, input: Input) -> Result<bool, RunError> {
        let mut finished = false;
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.requester.handle_input(self.now(), input);
            while let Some(output) = self.requester.poll_output() {
                match output {
                    Output::Lease { peer, task, .. } => self.begin(peer, task.task),
                    Output::Wake { peer } => inputs.push(Input::Offer {
                        peer,
                        offer: child_offer(),
                    }),
                    Output::Check { peer, task, .. } => self.check(peer, task.task),
                    Output::Persist { peer, task, proof } => {
                        self.persist(peer, task.task)?;
                        inputs.push(Input::Persisted { task, proof });
                    }
                    Output::Event(CoreEvent::JobDone { .. }) => finished = true,
                    Output::Event(CoreEvent::JobFailed { task, failures, .. }) => {
                        return Err(RunError::Task {
                            task,
                            attempts: failures.len(),
                            last: failures.last().map(|(_, said)| said.clone()).unwrap_or_default(),
                        });
                    }
                    Output::Event(CoreEvent::TaskFailed { task, message, .. }) => {
                        self.observer.event(&Event::Retrying {
                            task: task.task,
                            reason: message,
                        });
                    }
                    Output::Event(CoreEvent::Reopened { task, reason, .. }) => {
                        self.observer.event(&Event::Reopened {
                            task: task.task,
                            reason,
                        });
                    }
                    Output::Event(CoreEvent::DeadlineMissed { .. }) => {
                        self.observer.event(&Event::Notice { text: MISSED.into() });
                    }
                    // All machines here are the requester's own, so a task that they fail at is the
                    // job's error.
                    Output::Try { task } => {
                        let outcome = TrialVerdict::Unable;
                        inputs.push(Input::Tried { task, outcome });
                    }
                    // Children need no word of why there is nothing to do, and nobody else listens.
                    // Obsolete proofs are kept: the same command finds them again, with other
                    // arities too.
                    Output::Refuse { .. }
                    | Output::Extended { .. }
                    | Output::Revoke { .. }
                    | Output::Announce { .. }
                    | Output::Obsolete { .. }
                    | Output::Learned { .. }
                    | Output::Event(
                        CoreEvent::TaskDone { .. }
                        | CoreEvent::Banned { .. }
                        | CoreEvent::Refuted { .. }
                        | CoreEvent::Pardoned { .. },
                    ) => {}
                }
            }
        }
        Ok(finished)
    }

    fn offer(&mut self, child: usize) -> Result<bool, RunError> {
        self.idle[child] = true;
        self.input(Input::Offer {
            peer: child_peer(child),
            offer: child_offer(),
        })
    }

    fn task(&self, task: TaskId) -> TaskRef {
        TaskRef {
            job: self.shared.prepared.id,
            task,
        }
    }

    fn send(&self, child: usize, command: Command) {
        if let Some(commands) = &self.commands[child] {
            // A thread that is gone has said so in its last answer.
            let _ = commands.send(command);
        }
    }

    fn begin(&mut self, peer: Peer, task: TaskId) {
        let child = child_of(peer);
        self.idle[child] = false;
        self.observer.event(&Event::Started { prover: child, task });
        self.send(child, Command::Do(task));
    }

    fn check(&mut self, peer: Peer, task: TaskId) {
        let made = self.checked.get_mut(&task).expect("it was made before");
        let proof = std::mem::take(&mut made.proof);
        self.send(child_of(peer), Command::Check(task, proof));
    }

    fn persist(&mut self, peer: Peer, task: TaskId) -> Result<(), RunError> {
        let Made {
            proof,
            usage,
            boundary,
        } = self.checked.remove(&task).expect("it was accepted before");
        let proof_bytes = proof.len();
        let boundary_or_whole = boundary.unwrap_or_else(|| self.whole());
        let prepared = self.shared.prepared;
        prepared.store.put(
            prepared.keys[&task],
            &Accepted {
                boundary: boundary_or_whole,
                proof,
            },
        )?;
        self.boundaries.insert(task, boundary);
        self.usages.push((task.kind(), usage));
        self.observer.event(&Event::Done {
            prover: child_of(peer),
            task,
            usage,
            proof_bytes,
        });
        Ok(())
    }

    fn answered(&mut self, child: usize, task: TaskId, answer: Answer) -> Result<bool, RunError> {
        let peer = child_peer(child);
        match answer {
            Answer::Done(Ok((proof, usage))) => {
                let blob = blob_of(&proof);
                let boundary = None;
                self.checked.insert(
                    task,
                    Made {
                        proof,
                        usage,
                        boundary,
                    },
                );
                return self.input(Input::Submitted {
                    peer,
                    task: self.task(task),
                    proof: blob,
                });
            }
            Answer::Done(Err(RunError::Worker(WorkerError::Died(death)))) => {
                return self.died(child, task, &death);
            }
            Answer::Done(Err(error)) => return Err(error),
            Answer::Lost(input) => {
                let input = self.task(input);
                if let Some(proof) = self.requester.proof(input) {
                    self.boundaries.remove(&input.task);
                    self.input(Input::Lost { task: input, proof })?;
                }
                // If another child has reported the loss already, only this task is given back.
                if self.requester.leases(input.job).contains(&(task, peer)) {
                    let (task, why) = (self.task(task), Return::Surplus);
                    self.input(Input::Returned { peer, task, why })?;
                }
            }
            Answer::Checked(proof, checked) => return self.checked(child, task, proof, checked),
        }
        self.offer(child)
    }

    fn died(&mut self, child: usize, task: TaskId, death: &Death) -> Result<bool, RunError> {
        let peer = child_peer(child);
        let others = self.idle.iter().filter(|idle| !**idle).count() > 1;
        let task = self.task(task);
        if death.out_of_memory && others {
            // The machine has no room for this many children: continue with one less. It is not the
            // task's fault.
            self.observer.event(&Event::Retrying {
                task: task.task,
                reason: death.to_string(),
            });
            self.idle[child] = true;
            self.commands[child] = None;
            return self.input(Input::PeerLost { peer });
        }
        let why = Return::Failed {
            message: death.to_string(),
        };
        self.input(Input::Returned { peer, task, why })?;
        self.offer(child)
    }

    /// The child's thread has had its proof verified, with this result.
    fn checked(
        &mut self,
        child: usize,
        task: TaskId,
        proof: Vec<u8>,
        checked: Result<Option<Boundary>, String>,
    ) -> Result<bool, RunError> {
        let checked = checked.and_then(|boundary| {
            boundary.map_or(Ok(()), |boundary| self.check_neighbours(task, &boundary))?;
            Ok(boundary)
        });
        let made = self.checked.get_mut(&task).expect("it was made before");
        let blob = blob_of(&proof);
        made.proof = proof;
        let verdict = match checked {
            Ok(boundary) => {
                made.boundary = boundary;
                Verdict::Accepted
            }
            Err(reason) => Verdict::Invalid { reason },
        };
        let ended = self.input(Input::Checked {
            peer: child_peer(child),
            task: self.task(task),
            proof: blob,
            verdict,
        })?;
        if ended { Ok(true) } else { self.offer(child) }
    }

    /// Checks that a piece starts where the one before it ends, and ends where the next one starts.
    fn check_neighbours(&self, task: TaskId, boundary: &Boundary) -> Result<(), String> {
        let start = self.shared.statement;
        let (before, after) = self.shared.prepared.tree.neighbours(task);
        let known =
            |task: Option<TaskId>| task.and_then(|task| self.boundaries.get(&task).copied().flatten());
        match before {
            None => start.check_start(boundary),
            Some(_) => known(before).map_or(Ok(()), |before| before.check_next(boundary)),
        }
        .and_then(|()| known(after).map_or(Ok(()), |after| boundary.check_next(&after)))
        .map_err(|e| e.to_string())
    }

    /// The boundary of the whole execution, which the tree's top node has.
    fn whole(&self) -> Boundary {
        let top = TaskId::Node(self.shared.prepared.tree.top());
        let boundary = self.boundaries.get(&top).copied().flatten();
        boundary.expect("the final proof is made after the top node")
    }
}

fn blob_of(proof: &[u8]) -> Blob {
    Blob(*blake3::hash(proof).as_bytes())
}

/// The boundary of a stored proof; the final one has none of its own.
fn boundary_of((&task, entry): (&TaskId, &Entry)) -> (TaskId, Option<Boundary>) {
    (task, (task != TaskId::Final).then_some(entry.boundary))
}
