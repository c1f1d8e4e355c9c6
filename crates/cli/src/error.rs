//! The failure of a command: its text, its exit code, and its word in JSON. Commands make errors,
//! and `main` reports them.

use std::{
    error::Error as _,
    io,
    path::{Path, PathBuf},
};

use myriad_cost::{model::FitError, planner::PlanError, profile::ProfileError};
use myriad_engine::{
    ExecuteError, InputError,
    worker::{Failure, ServeError, WorkerError},
};
use myriad_evm::{
    BlockError,
    host::{BatchError, BlockFileError, import::ImportError, replay::ReplayError, sample::SampleError},
};
use myriad_gateway::keys::KeysError;
use myriad_net::{IdentityError, StartError};
use myriad_node::{NoVerifier, RunError, StoreError, bench::BenchError, records::JobsError};
use myriad_openvm::ProgramError;
use myriad_sim::{
    fleet::{RehearsalError, ScenarioError},
    plot::PlotError,
};
use serde::Serialize;
use thiserror::Error;

use crate::{engines::NoEngine, settings::SettingsError, terminal};

/// The process's exit codes, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    ProofInvalid = 3,
    /// The exit code that shells give for SIGINT.
    Interrupted = 130,
}

/// Why a command failed.
#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("cannot read {what} {}", path.display())]
    Read {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{what} {} has more than the {} bytes that are read", path.display(), terminal::count(*bytes_max as u64))]
    TooLarge {
        what: &'static str,
        path: PathBuf,
        bytes_max: usize,
    },
    #[error("cannot write {what} {}", path.display())]
    Write {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
    #[error("cannot use {}", path.display())]
    Program { path: PathBuf, source: ProgramError },
    #[error("cannot use the input {}", path.display())]
    Input { path: PathBuf, source: InputError },
    #[error("cannot use the value of --input")]
    InputText(#[source] InputError),
    #[error(transparent)]
    Engine(#[from] NoEngine),
    #[error("no engine is left to lend: {}", reasons.join("; "))]
    NoEngineLeft { reasons: Vec<String> },
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(
        "this machine cannot be lent safely: {missing}, so a stranger's program that takes over the engine child \
         could do anything that you can; update the kernel, turn on what is missing, or lend the machine all the same with \
         --unconfined"
    )]
    Unconfined { missing: &'static str },
    #[error(
        "this machine cannot serve jobs of others safely: {missing}, so a program that a client uploads and that takes \
         over the engine child could do anything that you can; update the kernel, turn on what is missing, or serve all \
         the same with --unconfined"
    )]
    UnconfinedService { missing: &'static str },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Jobs(#[from] JobsError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Gateway(myriad_gateway::ServeError),
    #[error(
        "{text:?} is not the name of a peer; a name looks like 12D3KooW..., and a node prints its own when it starts"
    )]
    PeerName { text: String },
    #[error("cannot start the runtime of the network: {0}")]
    Runtime(io::Error),
    #[error("this node does not listen on any address after {seconds} s; name one with --listen")]
    NotListening { seconds: u64 },
    #[error(
        "{max} commands that prove on the network already use {}, and no more are allowed; wait until one ends, or name \
         another folder with --data-dir",
        dir.display()
    )]
    Requesters { max: usize, dir: PathBuf },
    #[error("cannot start a prover on this machine: {0}")]
    Cluster(io::Error),
    #[error(
        "all provers on this machine have ended; their logs say why: {}",
        logs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    ClusterEnded { logs: Vec<PathBuf> },
    #[error("{} proves nothing: {reason}", path.display())]
    Proof { path: PathBuf, reason: String },

    #[error("cannot use {}", path.display())]
    BlockFile { path: PathBuf, source: BlockFileError },
    #[error("{} is refused", path.display())]
    Block { path: PathBuf, source: BlockError },
    #[error("the batch is refused")]
    Batch(#[source] BatchError),
    #[error(
        "{} cannot be proven: the header of its parent is not known, so these checks would be skipped: {}",
        path.display(), skipped.join(", ")
    )]
    ParentUnknown {
        path: PathBuf,
        skipped: Vec<&'static str>,
    },
    #[error("{} has no header of the block's parent, so no proof can be about it", path.display())]
    NoParent { path: PathBuf },
    #[error("the zkVM reveals {actual}, but the same block executed natively gives {expected}")]
    Disagreement { actual: String, expected: String },
    #[error(transparent)]
    Sample(#[from] SampleError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("cannot replay {}", path.display())]
    Replay { path: PathBuf, source: ReplayError },
    #[error("{} is neither geth's genesis file nor the `config` object of one", path.display())]
    ChainConfig {
        path: PathBuf,
        source: serde_json::Error,
    },

    #[error("cannot use the profile {}", path.display())]
    Profile { path: PathBuf, source: ProfileError },
    #[error(transparent)]
    Fit(#[from] FitError),
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("cannot simulate the plan: {0}")]
    Rehearsal(#[from] RehearsalError),
    #[error("cannot use the scenario {}", path.display())]
    Scenario { path: PathBuf, source: ScenarioError },
    #[error(transparent)]
    Plot(#[from] PlotError),
    #[error("{0}")]
    Usage(String),
    /// Each of them has been reported.
    #[error("{failed} of {all} were not proven")]
    Several { failed: usize, all: usize, exit: Exit },

    #[error("a bug in myriad: {0}")]
    Bug(String),
}

/// An error as the one JSON document on stdout.
#[derive(Serialize)]
struct Document<'a> {
    error: &'a str,
    kind: &'a str,
}

impl From<NoVerifier> for Error {
    fn from(error: NoVerifier) -> Self {
        Self::Run(error.into())
    }
}

impl Error {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Settings(
                SettingsError::Value { .. }
                | SettingsError::UnknownName { .. }
                | SettingsError::BinaryInFile { .. },
            )
            | Self::Engine(NoEngine::Binary(_))
            | Self::InputText(_)
            | Self::Start(StartError::Address { .. })
            | Self::Jobs(JobsError::None { .. } | JobsError::Ambiguous { .. })
            | Self::Keys(
                KeysError::Name { .. }
                | KeysError::Reserved
                | KeysError::Exists { .. }
                | KeysError::None { .. }
                | KeysError::Zero { .. },
            )
            | Self::PeerName { .. }
            | Self::Usage(_)
            | Self::Plan(PlanError::Value { .. } | PlanError::NoMachines) => Exit::Usage,
            Self::Sample(SampleError::OutOfBounds { .. })
            | Self::Import(ImportError::Url { .. } | ImportError::Header { .. }) => Exit::Usage,
            Self::Proof { .. } => Exit::ProofInvalid,
            Self::Run(RunError::Interrupted) => Exit::Interrupted,
            Self::Several { exit, .. } => *exit,
            _ => Exit::Failed,
        }
    }

    /// One word for scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Settings(_) => "settings",
            Self::Read { .. } | Self::TooLarge { .. } | Self::Write { .. } | Self::Stdout(_) => "file",
            Self::Program { .. } => "program",
            Self::Input { .. } | Self::InputText(_) => "input",
            Self::Worker(error) => worker_kind(error),
            Self::Engine(_)
            | Self::NoEngineLeft { .. }
            | Self::Serve(_)
            | Self::Unconfined { .. }
            | Self::UnconfinedService { .. } => "engine",
            Self::Run(error) => match error {
                RunError::Store(StoreError::Busy { .. }) => "busy",
                RunError::Store(_) => "store",
                RunError::Worker(error) => worker_kind(error),
                RunError::Memory { .. } => "memory",
                RunError::Truth { .. } => "engine",
                RunError::NetworkEnded => "network",
                RunError::Interrupted => "interrupted",
                RunError::Cancelled => "cancelled",
                RunError::Panicked { .. } => "bug",
                RunError::Task { .. } | RunError::Verifier(_) | RunError::Unsound { .. } => "engine",
            },
            Self::Start(_)
            | Self::Identity(_)
            | Self::Runtime(_)
            | Self::NotListening { .. }
            | Self::Requesters { .. }
            | Self::Cluster(_)
            | Self::ClusterEnded { .. } => "network",
            Self::PeerName { .. } | Self::Usage(_) => "usage",
            Self::Profile { .. } | Self::Fit(_) => "profile",
            Self::Bench(BenchError::Worker(error)) => worker_kind(error),
            Self::Bench(BenchError::Memory { .. }) => "memory",
            Self::Bench(_) => "bench",
            Self::Plan(_) | Self::Rehearsal(_) => "plan",
            Self::Scenario { .. } => "scenario",
            Self::Plot(_) => "plot",
            Self::Store(StoreError::InUse { .. }) => "busy",
            Self::Store(_) => "store",
            Self::Jobs(JobsError::NotStopped { .. }) => "busy",
            Self::Jobs(JobsError::None { .. } | JobsError::Ambiguous { .. }) => "usage",
            Self::Jobs(_) => "store",
            Self::Keys(error) => match error {
                KeysError::Read { .. } | KeysError::Write { .. } | KeysError::Random(_) => "store",
                _ => "api-keys",
            },
            Self::Gateway(_) => "service",
            Self::Proof { .. } => "proof-invalid",
            Self::BlockFile { .. } | Self::ChainConfig { .. } => "block-file",
            Self::Block { .. } | Self::Batch(_) => "block-invalid",
            Self::ParentUnknown { .. } | Self::NoParent { .. } => "parent-unknown",
            Self::Disagreement { .. } => "disagreement",
            Self::Sample(_) => "sample",
            Self::Import(_) => "import",
            Self::Replay { .. } => "replay",
            Self::Bug(_) => "bug",
            Self::Several { .. } => "several",
        }
    }

    /// The advice on what to do, if the error does not say so itself.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("check the path; it is relative to the working folder")
            }
            Self::Store(StoreError::Read { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => Some(
                "no prover has run on this data folder: start one with `myriad prover`, or name its folder with --data-dir",
            ),
            Self::InputText(InputError::Prefix { .. }) => {
                Some("put 01 before plain bytes, or write them to a file for --input-bytes")
            }
            Self::ParentUnknown { .. } => Some(
                "add the parent's header (RLP in hex) to the file as `parent`, or import the block again; \
                 `myriad block execute` runs the file as it is",
            ),
            Self::Disagreement { .. } | Self::Bug(_) | Self::Run(RunError::Panicked { .. }) => Some(
                "please report it, with the command and its files; RUST_BACKTRACE=1 shows where it happened",
            ),
            _ => None,
        }
    }

    /// The error and its causes in one text.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            // Some errors have their cause in their own text.
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }

    /// Tells the user, on stderr, why one of several jobs was not proven.
    pub fn report_of(&self, job: &str) {
        terminal::error(&format!("{job}: {}", self.chain()), self.hint());
    }

    /// Whether the user was told of each job already, and with `json` has the document.
    pub fn is_reported(&self) -> bool {
        matches!(self, Self::Several { .. })
    }

    /// Tells the user: text on stderr, and with `json` one document on stdout, unless that is there
    /// already.
    pub fn report(&self, json: bool) {
        let text = self.chain();
        terminal::error(&text, self.hint());
        if json && !self.is_reported() {
            print_document(&text, self.kind());
        }
    }
}

/// Prints the JSON document of a failure.
pub fn print_document(error: &str, kind: &str) {
    // Stderr has the message already if stdout is closed.
    let _ = terminal::print_json(&Document { error, kind });
}

/// Names the block file that cannot be used.
pub fn block_file(path: &Path) -> impl Fn(BlockFileError) -> Error {
    move |source| match source {
        BlockFileError::Read { path, source } => Error::Read {
            what: "the block file",
            path,
            source,
        },
        source => Error::BlockFile {
            path: path.to_owned(),
            source,
        },
    }
}

fn worker_kind(error: &WorkerError) -> &'static str {
    match error {
        WorkerError::Died(death) if death.out_of_memory => "out-of-memory",
        WorkerError::Failed(Failure::Program(_) | Failure::Config(_)) => "program",
        WorkerError::Failed(Failure::Keys(_) | Failure::Execute(ExecuteError::Keys(_))) => "keys",
        WorkerError::Failed(Failure::Execute(e)) if e.asks_for_memory() => "memory",
        WorkerError::Failed(Failure::Execute(_)) => "execution",
        _ => "engine",
    }
}
