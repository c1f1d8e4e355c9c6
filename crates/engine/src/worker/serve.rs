//! The child's side: reads requests, works, answers, and ends when its caller does.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter},
    path::PathBuf,
    sync::mpsc,
};

use nix::sys::resource::{Resource, setrlimit};
use thiserror::Error;

use super::{
    output::GuestOutput,
    protocol::{Answer, Failure, Request, Response, read_frame, write_frame},
    usage::Meter,
};
use crate::{
    Input, KeyCache, Level, Program,
    aggregate::{Aggregator, Circuit},
    execute,
    prove::SegmentProver,
    truth,
};

/// How a child is to run.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder of the key cache.
    pub keys: PathBuf,
    /// Most bytes that the process may map for its data. The system refuses more, and the process
    /// ends with a message, rather than pushing its neighbours out of memory.
    pub data_bytes_max: Option<u64>,
}

/// Why a child could not go on.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("the engine child cannot use its stdin and stdout: {0}")]
    Io(#[from] io::Error),
    #[error("the system refuses a limit of {bytes} bytes of data: {reason}")]
    Limit { bytes: u64, reason: String },
}

/// Answers requests from stdin on stdout until stdin ends.
///
/// # Errors
/// See [`ServeError`]. A request that fails is no error: it is answered.
pub fn serve(options: &ServeOptions) -> Result<(), ServeError> {
    if let Some(bytes) = options.data_bytes_max {
        setrlimit(Resource::RLIMIT_DATA, bytes, bytes).map_err(|e| ServeError::Limit {
            bytes,
            reason: e.to_string(),
        })?;
    }
    let (output, stdout) = GuestOutput::capture()?;
    let mut stdout = BufWriter::new(File::from(stdout));
    let (sender, requests) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("requests".into())
        .spawn(move || {
            let mut stdin = BufReader::new(io::stdin());
            loop {
                let more = match read_frame::<Request>(&mut stdin) {
                    Ok(Some(request)) => sender.send(request).is_ok(),
                    Ok(None) => false,
                    Err(error) => {
                        eprintln!("myriad engine-worker: cannot read a request: {error}");
                        std::process::exit(1);
                    }
                };
                if !more {
                    // The caller is gone or has given the task up: nobody waits for the proof that the
                    // other threads are at.
                    std::process::exit(0);
                }
            }
        })?;
    let mut state = State {
        keys: KeyCache::new(&options.keys),
        job: None,
        tools: Tools::None,
        output,
    };
    for request in requests {
        let meter = Meter::start();
        let result = state.answer(request);
        write_frame(
            &mut stdout,
            &Response {
                usage: meter.stop(),
                result,
            },
        )?;
    }
    Ok(())
}

struct State {
    keys: KeyCache,
    job: Option<(Program, Input)>,
    tools: Tools,
    output: GuestOutput,
}

/// What the last task left ready for the next of its kind. Only one kind is kept: together they would
/// not fit a small machine.
enum Tools {
    None,
    Prover(Box<SegmentProver>),
    Aggregator(Box<Aggregator>),
}

impl State {
    fn answer(&mut self, request: Request) -> Result<Answer, Failure> {
        if let Request::Load {
            image,
            openvm_toml,
            input,
        } = request
        {
            let program = Program::load(&image, openvm_toml.as_deref())?;
            // What is ready for a program is ready for its next input, too.
            let same = |(old, _): &(Program, Input)| old.hash() == program.hash();
            if !self.job.as_ref().is_some_and(same) {
                self.tools = Tools::None;
            }
            self.job = Some((program, input));
            return Ok(Answer::Loaded);
        }
        let Self {
            keys,
            job,
            tools,
            output,
        } = self;
        let (program, input) = job.as_ref().ok_or(Failure::NothingLoaded)?;
        match request {
            Request::Load { .. } => unreachable!("answered above"),
            Request::Plan {
                budget,
                max_instructions,
            } => {
                let plan = execute::plan(program, keys, input, budget, max_instructions, &|| output.take())?;
                Ok(Answer::Plan(plan))
            }
            Request::Execute { instructions } => {
                let executed = execute::run(program, input, instructions, &|| output.take());
                output.take();
                executed?;
                Ok(Answer::Executed)
            }
            Request::Boundaries(segments) => {
                // It copies the program's memory, and what a prover holds is needed for proving only.
                *tools = Tools::None;
                let boundaries = truth::boundaries(program, input, &segments);
                output.take();
                Ok(Answer::Boundaries(boundaries?))
            }
            Request::Prove(segment) => {
                let prover = tools.prover(program, keys)?;
                let proof = prover.prove(program, input, &segment);
                // The guest prints again what it printed before; nobody wants to hear it twice.
                output.take();
                Ok(Answer::Proof(proof?))
            }
            Request::Aggregate { level, children } => {
                let proof = tools
                    .aggregator(program, keys, level.circuit())?
                    .aggregate(level, &children)?;
                Ok(Answer::Proof(proof))
            }
            Request::Finish {
                level,
                top,
                last_segment,
            } => {
                let circuit = Level::INTERNAL_RECURSIVE.circuit();
                let proof = tools
                    .aggregator(program, keys, circuit)?
                    .finish(level, &top, &last_segment)?;
                Ok(Answer::Proof(proof))
            }
        }
    }
}

impl Tools {
    fn prover(&mut self, program: &Program, keys: &KeyCache) -> Result<&mut SegmentProver, Failure> {
        if !matches!(self, Self::Prover(_)) {
            *self = Self::None;
            *self = Self::Prover(Box::new(SegmentProver::new(program, keys)?));
        }
        match self {
            Self::Prover(prover) => Ok(prover),
            _ => unreachable!("made above"),
        }
    }

    fn aggregator(
        &mut self,
        program: &Program,
        keys: &KeyCache,
        circuit: Circuit,
    ) -> Result<&Aggregator, Failure> {
        if !matches!(self, Self::Aggregator(a) if a.circuit() == circuit) {
            *self = Self::None;
            *self = Self::Aggregator(Box::new(Aggregator::new(program, keys, circuit)?));
        }
        match self {
            Self::Aggregator(aggregator) => Ok(aggregator),
            _ => unreachable!("made above"),
        }
    }
}
