//! The child's side: reads requests, works, answers, and ends when its caller does.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter},
    mem::ManuallyDrop,
    path::PathBuf,
    sync::mpsc,
};

use thiserror::Error;

use super::{
    confine::{self, ConfineError, KeyAccess},
    output::GuestOutput,
    protocol::{
        ANSWER_BYTES_MAX, Answer, Failure, Loaded, REQUEST_BYTES_MAX, Request, RequestHead, Response,
        read_files, read_frame, write_frame,
    },
    usage::{Meter, Usage},
};
use crate::{
    AggregateError, FinalForm, Input, KeyCache, KeyError, Level, Program, ProveError, Segment, Verifier,
    VerifyError, VmConfig, accounting,
    aggregate::Aggregator,
    circuit::Circuit,
    execute, final_proof, keys,
    prove::SegmentProver,
    truth::{self, Walk},
};

/// The arguments of a child.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder of the key cache, which it reads if it works with keys.
    pub keys: PathBuf,
    /// Whether it makes keys, or works with them.
    pub access: KeyAccess,
    /// Most bytes that the process may map for its data. The system refuses more, and the process
    /// ends with a message, rather than pushing its neighbours out of memory.
    pub data_bytes_max: Option<u64>,
    /// Continue if the kernel cannot confine it, or only in part.
    pub unconfined: bool,
}

/// Why a child could not go on.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("the engine child cannot use its stdin and stdout: {0}")]
    Io(#[from] io::Error),
    #[error("the engine child is not confined, and does not run a program that may be a stranger's: {0}")]
    Confine(#[from] ConfineError),
}

/// Answers requests from stdin on stdout until stdin ends, confined from the start.
///
/// A process calls it before it has opened a file or started a thread.
///
/// # Errors
/// See [`ServeError`]. A request that fails is not an error: it is answered.
pub fn serve(options: &ServeOptions) -> Result<(), ServeError> {
    confine::close_inherited();
    let (output, stdout) = GuestOutput::capture()?;
    if let Some(bytes) = options.data_bytes_max {
        confine::limit_data(bytes)?;
    }
    if options.unconfined {
        confine::confine_as_far_as_possible(&options.keys, options.access);
    } else {
        confine::confine(&options.keys, options.access)?;
    }
    confine::start_background_threads()?;
    output.keep_empty()?;
    // Stdout stays open while a panic unwinds. Otherwise the caller would think that this child is
    // gone, and close its end; then the thread that waits for requests would end the process before
    // it has said why.
    let mut stdout = ManuallyDrop::new(BufWriter::new(File::from(stdout)));
    let (sender, requests) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("requests".into())
        .spawn(move || {
            let mut stdin = BufReader::new(io::stdin());
            loop {
                let more = match receive(&mut stdin) {
                    Ok(Some(received)) => sender.send(received).is_ok(),
                    Ok(None) => false,
                    Err(error) => {
                        eprintln!("myriad engine-worker: cannot read a request: {error}");
                        std::process::exit(1);
                    }
                };
                if !more {
                    // The caller is gone or has given the task up: nobody waits for the proof that
                    // the other threads make.
                    std::process::exit(0);
                }
            }
        })?;
    let mut state = State {
        keys: KeyCache::new(&options.keys),
        access: options.access,
        job: None,
        tools: Tools::None,
        walk: None,
        verifier: None,
        output,
    };
    for (request, files) in requests {
        let meter = Meter::start();
        let mut tell = |segments: &[Segment]| {
            let response = Response {
                usage: Usage::default(),
                result: Ok(Answer::Cut(segments.to_vec())),
            };
            write_frame(&mut *stdout, &response, ANSWER_BYTES_MAX)
        };
        let result = state.answer(request, files, &mut tell);
        let response = Response {
            usage: meter.stop(),
            result,
        };
        write_frame(&mut *stdout, &response, ANSWER_BYTES_MAX)?;
    }
    Ok(())
}

/// The next request, with its files.
fn receive(stdin: &mut impl io::Read) -> io::Result<Option<(Request, Vec<Vec<u8>>)>> {
    let Some(RequestHead { request, files }) = read_frame(stdin, REQUEST_BYTES_MAX)? else {
        return Ok(None);
    };
    let files = read_files(stdin, &files)?;
    Ok(Some((request, files)))
}

/// Exactly this many files.
fn exactly<const N: usize>(files: Vec<Vec<u8>>) -> Result<[Vec<u8>; N], Failure> {
    files.try_into().map_err(|files: Vec<_>| Failure::Files {
        actual: files.len(),
        expected: N,
    })
}

struct State {
    keys: KeyCache,
    access: KeyAccess,
    job: Option<(Program, Input)>,
    tools: Tools,
    /// The execution whose boundaries were asked for last, which goes on if more are.
    walk: Option<Walk>,
    /// The verifier is made for the first own proof, since a proof that memory has spoilt is not
    /// handed out, or for the first proof of others.
    verifier: Option<Verifier>,
    output: GuestOutput,
}

/// The tools that the last task left ready for the next of its kind. Only one kind is kept:
/// together they would not fit a small machine.
enum Tools {
    None,
    Prover(Box<SegmentProver>),
    Aggregator(Box<Aggregator>),
}

impl State {
    fn load(&mut self, openvm_toml: Option<&str>, files: Vec<Vec<u8>>) -> Result<Loaded, Failure> {
        let [image, input] = exactly(files)?;
        let program = Program::load(&image, openvm_toml)?;
        drop(image);
        let input = Input::decode(&input)?;
        let loaded = Loaded {
            program: program.hash(),
            input: input.hash(),
            engine: *program.config().fingerprint().as_bytes(),
        };
        // Tools that are ready for a program are ready for its next input, too.
        let same = |(old, _): &(Program, Input)| old.hash() == program.hash();
        if !self.job.as_ref().is_some_and(same) {
            self.tools = Tools::None;
            self.verifier = None;
        }
        self.walk = None;
        self.job = Some((program, input));
        Ok(loaded)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each request")]
    fn answer(
        &mut self,
        request: Request,
        files: Vec<Vec<u8>>,
        tell: &mut dyn FnMut(&[Segment]) -> io::Result<()>,
    ) -> Result<Answer, Failure> {
        let wanted = match request {
            Request::MakeKeys { .. } => KeyAccess::Make,
            _ => KeyAccess::Read,
        };
        if wanted != self.access {
            return Err(Failure::NotItsTask);
        }
        if let Request::MakeKeys { openvm_toml } = request {
            let config =
                openvm_toml.map_or_else(|| Ok(VmConfig::riscv32()), |text| VmConfig::from_toml(&text))?;
            return Ok(Answer::Keys(keys::make(&config)?));
        }
        if let Request::Load { openvm_toml } = request {
            return Ok(Answer::Loaded(self.load(openvm_toml.as_deref(), files)?));
        }
        let Self {
            keys,
            job,
            tools,
            walk,
            verifier,
            output,
            ..
        } = self;
        let (program, input) = job.as_ref().ok_or(Failure::NothingLoaded)?;
        match request {
            Request::MakeKeys { .. } | Request::Load { .. } => unreachable!("answered above"),
            Request::Plan {
                budget,
                max_instructions,
                stream_from,
            } => {
                let mut tell = |segments: &[Segment]| {
                    // A caller that is gone is noticed by the thread that waits for requests.
                    let _ = tell(segments);
                };
                let reports = stream_from.map(|from| execute::Reports {
                    from: from as usize,
                    tell: &mut tell,
                });
                let taken = || output.take();
                let plan = execute::plan(program, keys, input, budget, max_instructions, reports, &taken)?;
                Ok(Answer::Plan(plan))
            }
            Request::Account { max_instructions } => {
                let account = accounting::account(program, keys, input, max_instructions, &|| output.take())?;
                Ok(Answer::Account(account))
            }
            Request::Execute { instructions } => {
                let executed = execute::run(program, input, instructions, &|| output.take());
                output.take();
                executed?;
                Ok(Answer::Executed)
            }
            Request::Boundaries(segments) => {
                // It copies the program's memory, and a prover's tools are needed only for proving.
                *tools = Tools::None;
                let boundaries = truth::boundaries(program, input, &segments, walk);
                output.take();
                Ok(Answer::Boundaries(boundaries?))
            }
            Request::Prove(segment) => {
                *walk = None;
                let prover = tools.prover(program, keys)?;
                let proven = proven(prover, program, input, &segment, || {
                    // The guest prints the same text a second time; nobody wants to hear it twice.
                    output.take();
                    Ok(made_verifier(verifier, program, keys)?)
                });
                proven.map(Answer::Proof)
            }
            Request::Aggregate { level } => {
                let aggregator = tools.aggregator(program, keys, level.circuit())?;
                let proof = aggregated(aggregator, level, &files, || {
                    Ok(made_verifier(verifier, program, keys)?)
                });
                proof.map(Answer::Proof)
            }
            Request::PrepareVerifier => Ok(Answer::Statement(
                made_verifier(verifier, program, keys)?.statement(),
            )),
            Request::Verify(of) => {
                let [proof] = exactly(files)?;
                let verifier = made_verifier(verifier, program, keys)?;
                Ok(Answer::Holds(verifier.verify(&of, &proof)?))
            }
            Request::Finish { level, form } => {
                let [top, last_segment] = exactly(files)?;
                let aggregator = match form {
                    FinalForm::Small => {
                        Some(tools.aggregator(program, keys, Level::INTERNAL_RECURSIVE.circuit())?)
                    }
                    FinalForm::Fast => None,
                };
                let proof = finished(aggregator, level, &top, &last_segment, || {
                    Ok(made_verifier(verifier, program, keys)?)
                });
                proof.map(Answer::Proof)
            }
        }
    }
}

/// Proves a segment, and hands the proof out only if it is valid: memory may have spoilt it. The
/// verifier is made when the memory of proving is free again.
pub(crate) fn proven<'a>(
    prover: &mut SegmentProver,
    program: &Program,
    input: &Input,
    segment: &Segment,
    verifier: impl FnOnce() -> Result<&'a Verifier, Failure>,
) -> Result<Vec<u8>, Failure> {
    let proof = prover.prove(program, input, segment);
    let verifier = verifier();
    let proof = proof?;
    verifier?.own_segment(&proof).map_err(|e| ProveError::Unsound {
        segment: segment.index,
        reason: e.to_string(),
    })?;
    Ok(proof)
}

/// Makes a node, and hands it out as [`proven`] does a segment's proof.
pub(crate) fn aggregated<'a>(
    aggregator: &Aggregator,
    level: Level,
    children: &[Vec<u8>],
    verifier: impl FnOnce() -> Result<&'a Verifier, Failure>,
) -> Result<Vec<u8>, Failure> {
    let proof = aggregator.aggregate(level, children)?;
    let verified = verifier()?.node(level, &proof);
    verified.map_err(|e| unsound(level.to_string(), &e))?;
    Ok(proof)
}

/// Makes the final proof, of [`FinalForm::Fast`] where there is no aggregator, and hands it out as
/// [`proven`] does a segment's proof.
pub(crate) fn finished<'a>(
    aggregator: Option<&Aggregator>,
    level: Level,
    top: &[u8],
    last_segment: &[u8],
    verifier: impl FnOnce() -> Result<&'a Verifier, Failure>,
) -> Result<Vec<u8>, Failure> {
    let proof = match aggregator {
        Some(aggregator) => aggregator.finish(level, top, last_segment)?,
        None => final_proof::of_top(top, last_segment)?,
    };
    let verified = verifier()?.final_proof(&proof);
    verified.map_err(|e| unsound("the final proof".into(), &e))?;
    Ok(proof)
}

/// The verifier of the program, made when it is first needed.
fn made_verifier<'a>(
    verifier: &'a mut Option<Verifier>,
    program: &Program,
    keys: &KeyCache,
) -> Result<&'a Verifier, KeyError> {
    if verifier.is_none() {
        *verifier = Some(Verifier::of_keys(program, keys.get(program.config())?)?);
    }
    Ok(verifier.as_ref().expect("made above"))
}

fn unsound(level: String, reason: &VerifyError) -> AggregateError {
    AggregateError::Unsound {
        level,
        reason: reason.to_string(),
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
