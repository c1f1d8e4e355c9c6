//! The caller's side: starts a child, asks, and tells how it died if it did.

use std::{
    collections::VecDeque,
    fmt, io,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use thiserror::Error;

use super::{
    protocol::{Answer, Failure, Request, Response, read_frame, write_frame},
    usage::Usage,
};
use crate::{Boundary, Input, Level, MemoryBudget, Plan, Segment};

/// Lines of the child's stderr that are kept for the message about its death.
const STDERR_LINES_MAX: usize = 20;
/// Bytes of one such line.
const STDERR_LINE_BYTES_MAX: usize = 400;

/// How the child's allocator, jemalloc, is set: what one task has freed goes back to the system before the
/// next has built its tools. By default it stays for 10 s, and was seen on top of the next peak.
const MALLOC_CONF: &str = "background_thread:true,dirty_decay_ms:1000";

/// How often a child that is about to end is looked at.
const WAIT_STEP: Duration = Duration::from_millis(2);

/// How to start a child.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The binary, and the arguments with which it calls [`super::serve`].
    pub command: PathBuf,
    pub args: Vec<String>,
    /// Threads that it proves with.
    pub threads: usize,
}

/// A child process that executes, proves and aggregates.
///
/// Dropping it ends the child, in the middle of a task if need be.
pub struct Worker {
    process: Arc<Mutex<Process>>,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<VecDeque<String>>>,
}

/// The child, which a [`Worker`] and its [`Stopper`]s share.
#[derive(Debug)]
struct Process {
    child: Child,
    /// Whether a stopper has ended it. The system's out-of-memory killer uses the same signal.
    stopped: bool,
}

/// Ends the child of a [`Worker`] that another thread is waiting for.
///
/// The waiting thread then gets a [`Death`] that is `stopped`. Nothing happens when the child has ended already.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Mutex<Process>>);

impl Stopper {
    pub fn stop(&self) {
        let mut process = lock(&self.0);
        if matches!(process.child.try_wait(), Ok(None)) && process.child.kill().is_ok() {
            process.stopped = true;
        }
    }
}

/// Why a task was not done.
#[derive(Debug, Error)]
pub enum WorkerError {
    #[error("cannot start the engine child {}: {reason}", command.display())]
    Start { command: PathBuf, reason: io::Error },
    #[error("{0}")]
    Died(Death),
    #[error("the engine child and its caller do not understand each other: {0}")]
    Protocol(String),
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Whether memory is the likely cause: the system killed it, or refused it more.
    pub out_of_memory: bool,
    /// Whether it was ended by a [`Stopper`]: neither the task nor the machine is at fault.
    pub stopped: bool,
    /// Its exit code or signal, in words.
    pub status: String,
    /// The last lines that it wrote to stderr.
    pub stderr: String,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stopped {
            f.write_str("the engine child was stopped")?;
        } else if self.out_of_memory {
            write!(
                f,
                "the engine child ran out of memory ({}); lower --memory, or free some",
                self.status
            )?;
        } else {
            write!(f, "the engine child ended without an answer ({})", self.status)?;
        }
        match self.stderr.trim() {
            "" => Ok(()),
            text => write!(f, "; it said:\n{text}"),
        }
    }
}

impl Worker {
    /// Starts a child.
    ///
    /// # Errors
    /// [`WorkerError::Start`]
    pub fn spawn(config: &WorkerConfig) -> Result<Self, WorkerError> {
        let mut child = Command::new(&config.command)
            .args(&config.args)
            .env("RAYON_NUM_THREADS", config.threads.to_string())
            .env("_RJEM_MALLOC_CONF", MALLOC_CONF)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|reason| WorkerError::Start {
                command: config.command.clone(),
                reason,
            })?;
        let stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        let stderr = BufReader::new(child.stderr.take().expect("it was piped"));
        Ok(Self {
            stdin: child.stdin.take(),
            stdout,
            stderr: Some(std::thread::spawn(move || last_lines(stderr))),
            process: Arc::new(Mutex::new(Process {
                child,
                stopped: false,
            })),
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        lock(&self.process).child.id()
    }

    /// What ends the child from another thread, in the middle of a task if need be.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.process))
    }

    /// Gives it the program and the input that all that follows is about.
    ///
    /// # Errors
    /// As all requests: the child's own [`Failure`], or its [`Death`].
    pub fn load(
        &mut self,
        image: Vec<u8>,
        openvm_toml: Option<String>,
        input: Input,
    ) -> Result<(), WorkerError> {
        match self.ask(&Request::Load {
            image,
            openvm_toml,
            input,
        })? {
            (Answer::Loaded, _) => Ok(()),
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
        match self.ask(&Request::Plan {
            budget,
            max_instructions,
        })? {
            (Answer::Plan(plan), usage) => Ok((plan, usage)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Executes the first `instructions` and nothing else: what it takes to reach the start of a segment.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn execute(&mut self, instructions: u64) -> Result<Usage, WorkerError> {
        match self.ask(&Request::Execute { instructions })? {
            (Answer::Executed, usage) => Ok(usage),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Executes again, and says where each of a plan's segments starts and ends: what a proof of it must
    /// say, if it is of this input.
    ///
    /// `segments` are all of the plan's, in order, and so are the boundaries. For what a proof of the
    /// aggregation tree must say, see [`Boundary::join`].
    ///
    /// # Errors
    /// See [`Worker::load`]; the failure is [`ProveError::Mismatch`](crate::ProveError::Mismatch) where the
    /// segments are not this execution's.
    pub fn boundaries(&mut self, segments: &[Segment]) -> Result<(Vec<Boundary>, Usage), WorkerError> {
        match self.ask(&Request::Boundaries(segments.to_vec()))? {
            (Answer::Boundaries(boundaries), usage) => Ok((boundaries, usage)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Proves one segment.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn prove(&mut self, segment: &Segment) -> Result<(Vec<u8>, Usage), WorkerError> {
        self.proof(&Request::Prove(segment.clone()))
    }

    /// Aggregates proofs of neighbouring pieces, in order, to one on `level`.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn aggregate(
        &mut self,
        level: Level,
        children: Vec<Vec<u8>>,
    ) -> Result<(Vec<u8>, Usage), WorkerError> {
        self.proof(&Request::Aggregate { level, children })
    }

    /// Makes the final proof from the tree's top node, on `level`, and the last segment's proof.
    ///
    /// # Errors
    /// See [`Worker::load`].
    pub fn finish(
        &mut self,
        level: Level,
        top: Vec<u8>,
        last_segment: Vec<u8>,
    ) -> Result<(Vec<u8>, Usage), WorkerError> {
        self.proof(&Request::Finish {
            level,
            top,
            last_segment,
        })
    }

    fn proof(&mut self, request: &Request) -> Result<(Vec<u8>, Usage), WorkerError> {
        match self.ask(request)? {
            (Answer::Proof(proof), usage) => Ok((proof, usage)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<(Answer, Usage), WorkerError> {
        let stdin = self
            .stdin
            .as_mut()
            .ok_or_else(|| WorkerError::Protocol("it has been ended".into()))?;
        let answer = write_frame(stdin, request).and_then(|()| read_frame::<Response>(&mut self.stdout));
        match answer {
            Ok(Some(Response { usage, result })) => Ok((result?, usage)),
            Ok(None) => Err(WorkerError::Died(self.bury())),
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
                Err(WorkerError::Died(self.bury()))
            }
            Err(e) => Err(WorkerError::Protocol(e.to_string())),
        }
    }

    /// Waits for a child that is about to end, and lets a [`Stopper`] in between.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = lock(&self.process).child.try_wait()? {
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
        let stopped = lock(&self.process).stopped;
        match status {
            Ok(status) => Death {
                out_of_memory: !stopped && is_out_of_memory(status, &stderr),
                stopped,
                status: status.to_string(),
                stderr,
            },
            Err(e) => Death {
                out_of_memory: false,
                stopped,
                status: e.to_string(),
                stderr,
            },
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stdin = None;
        self.stopper().stop();
        // Without waiting it would stay in the system's table as a zombie.
        let _ = self.wait();
    }
}

fn lock(process: &Mutex<Process>) -> MutexGuard<'_, Process> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Linux kills with SIGKILL what takes too much; a refused allocation makes Rust abort with a message.
fn is_out_of_memory(status: ExitStatus, stderr: &str) -> bool {
    const SIGKILL: i32 = 9;
    status.signal() == Some(SIGKILL) || stderr.contains("memory allocation of")
}

fn last_lines(mut stderr: impl BufRead) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = io::Read::take(&mut stderr, STDERR_LINE_BYTES_MAX as u64);
        match limited.read_until(b'\n', &mut line) {
            Ok(1..) => {
                if lines.len() == STDERR_LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            _ => return lines,
        }
    }
}

fn unexpected(answer: &Answer) -> WorkerError {
    let kind = match answer {
        Answer::Loaded => "that it has loaded",
        Answer::Plan(_) => "a plan",
        Answer::Executed => "that it has executed",
        Answer::Boundaries(_) => "boundaries",
        Answer::Proof(_) => "a proof",
    };
    WorkerError::Protocol(format!("the child answered with {kind} to another request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that is a shell with a command, and never answers.
    fn shell(command: &str) -> Worker {
        let config = WorkerConfig {
            command: "/bin/sh".into(),
            args: vec!["-c".into(), command.into()],
            threads: 1,
        };
        Worker::spawn(&config).unwrap()
    }

    fn death(worker: &mut Worker) -> Death {
        match worker.load(Vec::new(), None, Input::default()) {
            Err(WorkerError::Died(death)) => death,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_child_that_is_stopped_has_not_run_out_of_memory() {
        let mut worker = shell("exec sleep 600");
        let stopper = worker.stopper();
        std::thread::spawn(move || stopper.stop());
        let death = death(&mut worker);
        assert!(death.stopped && !death.out_of_memory, "{death:?}");
        assert_eq!(death.to_string(), "the engine child was stopped");
    }

    #[test]
    fn a_child_that_the_system_killed_has_and_no_stopper_takes_the_blame() {
        let mut worker = shell("kill -9 $$");
        while lock(&worker.process).child.try_wait().unwrap().is_none() {
            std::thread::sleep(WAIT_STEP);
        }
        worker.stopper().stop();
        let death = death(&mut worker);
        assert!(death.out_of_memory && !death.stopped, "{death:?}");
    }
}
