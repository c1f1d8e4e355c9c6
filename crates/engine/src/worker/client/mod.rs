//! The caller's side: starts a child, sends it requests, and describes its death.

use std::{
    collections::VecDeque,
    io::{self, BufReader},
    process::{ChildStdin, ChildStdout, ExitStatus},
    thread::JoinHandle,
    time::Duration,
};

use super::{
    config::WorkerConfig,
    death::{Death, last_lines},
    error::WorkerError,
    protocol::{Answer, Failure, REQUEST_BYTES_MAX, Request, RequestHead, Response, read_frame, write_frame},
    reported::ReportedSegments,
    shared::{Shared, Stopper},
    source::{Source, send},
    usage::{Usage, Watch},
};
use crate::{
    Account, Boundary, Description, EngineFacts, Filling, FinalForm, KeyError, KeyFolder, Level, Loaded,
    MemoryBudget, Plan, ProofOf, Segment, Shown, Statement,
};

/// The argument, behind those of [`WorkerConfig`], that makes a child one that makes keys.
const MAKE_KEYS: &str = "--make-keys";
/// The argument, behind those of [`WorkerConfig`], before the memory of tasks.
const MEMORY_MAX: &str = "--memory-max";

/// The pause between looks at a child that is about to end.
const WAIT_STEP: Duration = Duration::from_millis(2);

/// A child process that executes, proves and aggregates.
///
/// Dropping it ends the child, in the middle of a task if need be.
pub struct Worker {
    process: Shared,
    engine: EngineFacts,
    keys: KeyFolder,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<VecDeque<String>>>,
}

impl Worker {
    /// Starts a child that knows no limit of memory. It keeps nothing that the task at hand does
    /// not need.
    ///
    /// # Errors
    /// [`WorkerError::Start`]
    pub fn spawn(config: &WorkerConfig) -> Result<Self, WorkerError> {
        Self::start(config, &[])
    }

    /// Starts a child whose tasks may be expected to take this much memory. It keeps what other
    /// kinds of tasks need, as long as that fits beside the task at hand.
    ///
    /// # Errors
    /// [`WorkerError::Start`]
    pub fn spawn_within(config: &WorkerConfig, memory: MemoryBudget) -> Result<Self, WorkerError> {
        Self::start(config, &[MEMORY_MAX, &memory.bytes().to_string()])
    }

    /// Starts a child that makes keys, and nothing else: [`Worker::make_keys`].
    ///
    /// # Errors
    /// [`WorkerError::Start`]
    pub fn spawn_for_keys(config: &WorkerConfig) -> Result<Self, WorkerError> {
        Self::start(config, &[MAKE_KEYS])
    }

    fn start(config: &WorkerConfig, more: &[&str]) -> Result<Self, WorkerError> {
        let mut child = config
            .command(more)
            .spawn()
            .map_err(|reason| WorkerError::Start {
                command: config.command.clone(),
                reason,
            })?;
        let stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        let stderr = BufReader::new(child.stderr.take().expect("it was piped"));
        Ok(Self {
            engine: config.engine.clone(),
            keys: KeyFolder::new(&config.keys),
            stdin: child.stdin.take(),
            stdout,
            stderr: Some(std::thread::spawn(move || last_lines(stderr))),
            process: Shared::new(child),
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.lock().child.id()
    }

    /// Returns a [`Stopper`], which ends the child from another thread, in the middle of a task if
    /// need be.
    pub fn stopper(&self) -> Stopper {
        self.process.stopper()
    }

    /// Sends the child a request that needs a program, before the child has one. Its refusal shows
    /// that the two understand each other: a child of another build would have ended.
    ///
    /// # Errors
    /// A child that ends, or that answers anything else.
    pub fn greet(&mut self) -> Result<(), WorkerError> {
        match self.ask(Request::PrepareVerifier) {
            Err(WorkerError::Failed(Failure::NothingLoaded)) => Ok(()),
            Ok((other, _)) => Err(unexpected(&other)),
            Err(e) => Err(e),
        }
    }

    /// Has it make the keys of the configuration that a text describes, as `filling` says; without
    /// one, those of the configuration that needs none. The caller writes them, under the name of
    /// that text. Returns the cost.
    ///
    /// # Errors
    /// The errors of all requests: the child's own [`Failure`], or its [`Death`]. [`KeyError::Io`]
    /// is the caller's: of a folder that cannot be read or written.
    pub fn make_keys(&mut self, config: Option<String>, filling: Filling) -> Result<Usage, WorkerError> {
        let keys = self.keys.clone();
        let process = self.process.clone();
        let goes_on = || matches!(process.lock().child.try_wait(), Ok(None));
        let name = Description::of(config.as_deref()).key_name(&self.engine.id.fingerprint);
        let mut took = Usage::default();
        keys.fill(&name, filling, goes_on, || {
            match self.ask(Request::MakeKeys { config }) {
                Ok((Answer::Keys(file), usage)) => {
                    took = usage;
                    Ok(file)
                }
                Ok((other, _)) => Err(unexpected(&other)),
                // The child has no file, so its error must not pass for one of its caller's disk.
                Err(WorkerError::Failed(Failure::Keys(
                    e @ (KeyError::Io { .. } | KeyError::Missing { .. }),
                ))) => Err(WorkerError::Protocol(e.to_string())),
                Err(e) => Err(e),
            }
        })?;
        Ok(took)
    }

    /// Gives it the program and the input for all requests that follow: the bytes of the program's
    /// file, the text that configures it, and an encoded [`Input`](crate::Input). The child decodes
    /// them, and says what they are.
    ///
    /// # Errors
    /// The errors of all requests: the child's own [`Failure`], or its [`Death`]. An answer that is
    /// longer than its request allows, or that nothing can be made of, is
    /// [`WorkerError::Protocol`]; then the child must not be used again.
    pub fn load<'a>(
        &mut self,
        image: impl Into<Source<'a>>,
        config: Option<String>,
        input: impl Into<Source<'a>>,
    ) -> Result<Loaded, WorkerError> {
        let files = vec![image.into(), input.into()];
        match self.ask_with(Request::Load { config }, files, &mut unasked)? {
            (Answer::Loaded(loaded), _) => match loaded.check() {
                Ok(()) => Ok(loaded),
                Err(reason) => Err(WorkerError::Protocol(format!("of the program, {reason}"))),
            },
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Executes, and cuts into segments that can be proven within `budget`.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn plan(
        &mut self,
        budget: MemoryBudget,
        max_instructions: u64,
    ) -> Result<(Plan, Usage), WorkerError> {
        match self.ask(Request::Plan {
            budget,
            max_instructions,
            stream_from: None,
        })? {
            (Answer::Plan(plan), usage) => {
                ReportedSegments::default().check(&plan, max_instructions)?;
                Ok((plan, usage))
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// [`Self::plan`], which tells of segments before it ends. Once an execution has shown to have
    /// more than `from` segments, `cut` gets all that are known so far, and then the others as they
    /// are cut: the plan begins with them.
    ///
    /// # Errors
    /// See [`Worker::load`]. Segments out of order, more than a plan may have, and a plan that
    /// begins with others are [`WorkerError::Protocol`]; then the child must not be used again.
    pub fn plan_streamed(
        &mut self,
        budget: MemoryBudget,
        max_instructions: u64,
        from: u32,
        cut: &mut dyn FnMut(Vec<Segment>),
    ) -> Result<(Plan, Usage), WorkerError> {
        let request = Request::Plan {
            budget,
            max_instructions,
            stream_from: Some(from),
        };
        let mut told = ReportedSegments::default();
        let answer = self.ask_with(request, Vec::new(), &mut |segments| {
            told.add(&segments, max_instructions)?;
            cut(segments);
            Ok(())
        })?;
        match answer {
            (Answer::Plan(plan), usage) => told.check(&plan, max_instructions).map(|()| (plan, usage)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Executes, and accounts for the work by the marks in the program's ELF, a section
    /// `.myriad.marks`. `crates/evm/src/accounting.rs` describes its format.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn account(&mut self, max_instructions: u64) -> Result<(Account, Usage), WorkerError> {
        match self.ask(Request::Account { max_instructions })? {
            (Answer::Account(account), usage) => Ok((account, usage)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Executes the first `instructions` and nothing else. Reaching the start of a segment costs
    /// this much.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn execute(&mut self, instructions: u64) -> Result<Usage, WorkerError> {
        match self.ask(Request::Execute { instructions })? {
            (Answer::Executed, usage) => Ok(usage),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Executes again, and returns the start and the end of each of a plan's segments. A proof must
    /// say the same, if it is of this input.
    ///
    /// `segments` are the first of the plan, or all of them, in order, and so are the boundaries.
    /// Or they follow those that were asked for last: then the child goes on where it stopped. For
    /// the boundary of a proof of the aggregation tree, see [`Boundary::join`].
    ///
    /// # Errors
    /// See [`Worker::load`]; the failure is [`ProveError::Mismatch`](crate::ProveError::Mismatch)
    /// where the segments are not this execution's.
    pub fn boundaries(&mut self, segments: &[Segment]) -> Result<(Vec<Boundary>, Usage), WorkerError> {
        match self.ask(Request::Boundaries(segments.to_vec()))? {
            (Answer::Boundaries(boundaries), usage) => Ok((boundaries, usage)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Proves one segment.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn prove(&mut self, segment: &Segment) -> Result<(Vec<u8>, Usage), WorkerError> {
        self.proof(Request::Prove(segment.clone()), Vec::new())
    }

    /// Aggregates proofs of neighbouring pieces, in order, to one on `level`.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn aggregate<'a>(
        &mut self,
        level: Level,
        children: Vec<impl Into<Source<'a>>>,
    ) -> Result<(Vec<u8>, Usage), WorkerError> {
        let files = children.into_iter().map(Into::into).collect();
        self.proof(Request::Aggregate { level }, files)
    }

    /// Makes the final proof of a form from the tree's top node, on `level`, and the last segment's
    /// proof.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn finish<'a>(
        &mut self,
        level: Level,
        form: FinalForm,
        top: impl Into<Source<'a>>,
        last_segment: impl Into<Source<'a>>,
    ) -> Result<(Vec<u8>, Usage), WorkerError> {
        self.proof(
            Request::Finish { level, form },
            vec![top.into(), last_segment.into()],
        )
    }

    /// Has it prepare to verify proofs of the program. Returns the statement that such proofs must
    /// make.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn prepare_verifier(&mut self) -> Result<Statement, WorkerError> {
        match self.ask(Request::PrepareVerifier)? {
            (Answer::Statement(statement), _) => Ok(statement),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Verifies a proof of the program, which may be any bytes, and returns the facts that it
    /// shows.
    ///
    /// # Errors
    /// See [`Worker::load`]. A proof that is refused is a [`Failure::Verify`].
    pub fn verify<'a>(
        &mut self,
        of: ProofOf,
        proof: impl Into<Source<'a>>,
    ) -> Result<(Shown, Usage), WorkerError> {
        match self.ask_with(Request::Verify(of), vec![proof.into()], &mut unasked)? {
            (Answer::Holds(shown), usage) => Ok((shown, usage)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    fn proof(&mut self, request: Request, files: Vec<Source<'_>>) -> Result<(Vec<u8>, Usage), WorkerError> {
        match self.ask_with(request, files, &mut unasked)? {
            (Answer::Proof(proof), usage) => Ok((proof, usage)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    fn ask(&mut self, request: Request) -> Result<(Answer, Usage), WorkerError> {
        self.ask_with(request, Vec::new(), &mut unasked)
    }

    /// Asks, and waits for the answer; `cut` gets segments that come before it.
    fn ask_with(
        &mut self,
        request: Request,
        files: Vec<Source<'_>>,
        cut: &mut dyn FnMut(Vec<Segment>) -> Result<(), WorkerError>,
    ) -> Result<(Answer, Usage), WorkerError> {
        let stdin = self
            .stdin
            .as_mut()
            .ok_or_else(|| WorkerError::Protocol("it has been ended".into()))?;
        let watch = Watch::start(self.process.lock().child.id());
        let bytes_max = request.answer_bytes_max();
        let head = RequestHead {
            request,
            files: files.iter().map(|file| file.bytes).collect(),
        };
        let mut sent = write_frame(stdin, &head, REQUEST_BYTES_MAX);
        for file in files {
            sent = match sent {
                Ok(()) => send(stdin, file)?,
                Err(e) => Err(e),
            };
        }
        loop {
            let answer = match sent {
                Ok(()) => read_frame::<Response>(&mut self.stdout, bytes_max),
                Err(e) => Err(e),
            };
            return match answer {
                Ok(Some(Response {
                    result: Ok(Answer::Cut(segments)),
                    ..
                })) => {
                    cut(segments)?;
                    sent = Ok(());
                    continue;
                }
                Ok(Some(Response { usage, result })) => Ok((result?, watch.stop(usage))),
                Ok(None) => Err(WorkerError::Died(self.bury())),
                Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
                    Err(WorkerError::Died(self.bury()))
                }
                Err(e) => Err(WorkerError::Protocol(e.to_string())),
            };
        }
    }

    /// Waits for a child that is about to end, and lets a [`Stopper`] in between.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.process.lock().child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(WAIT_STEP);
        }
    }

    /// Waits for the child, which has closed its pipes, and says how it ended.
    fn bury(&mut self) -> Death {
        self.stdin = None;
        let status = self.wait();
        let lines = self
            .stderr
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        let stderr = Vec::from(lines).join("\n");
        let stopped = self.process.lock().stopped;
        Death::of(status, stderr, stopped)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stdin = None;
        self.stopper().stop();
        // The child would stay in the system's table as a zombie without the wait.
        let _ = self.wait();
    }
}

fn unexpected(answer: &Answer) -> WorkerError {
    let kind = match answer {
        Answer::Keys(_) => "keys",
        Answer::Loaded(_) => "that it has loaded",
        Answer::Plan(_) => "a plan",
        Answer::Account(_) => "an account",
        Answer::Executed => "that it has executed",
        Answer::Boundaries(_) => "boundaries",
        Answer::Proof(_) => "a proof",
        Answer::Statement(_) => "the statement of proofs",
        Answer::Holds(_) => "that a proof holds",
        Answer::Cut(_) => "segments",
    };
    WorkerError::Protocol(format!("the child answered with {kind} to another request"))
}

/// Segments come before the answer to a request that they are no part of.
fn unasked(segments: Vec<Segment>) -> Result<(), WorkerError> {
    Err(unexpected(&Answer::Cut(segments)))
}

#[cfg(test)]
mod tests;
