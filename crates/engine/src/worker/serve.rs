//! The child's side: reads requests, has its engine work, answers, and ends when its caller does.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter},
    mem::ManuallyDrop,
    path::PathBuf,
    sync::mpsc,
};

use myriad_core::EngineId;
use thiserror::Error;

use super::{
    caller::{self, OtherBuild},
    confine::{self, ConfineError, KeyAccess},
    output::GuestOutput,
    protocol::{
        Answer, Failure, REQUEST_BYTES_MAX, Request, RequestHead, Response, read_files, read_frame,
        write_frame,
    },
    usage::{Meter, Usage},
};
use crate::{
    Account, Boundary, FinalForm, Level, Loaded, MemoryBudget, Plan, ProofOf, Segment, Shown, Statement,
};

/// The arguments of a child.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder of the key cache, which it reads if it works with keys.
    pub keys: PathBuf,
    /// Whether it makes keys, or works with them.
    pub access: KeyAccess,
    /// The most bytes that the process may map for its data. The system refuses more, and the
    /// process ends with a message, rather than pushing its neighbours out of memory.
    pub data_bytes_max: Option<u64>,
    /// Bytes of memory that a task may be expected to take, with all that the engine keeps for
    /// other kinds of tasks. Nobody enforces it: an engine keeps no more than fits. Without it, an
    /// engine keeps nothing that the task at hand does not need.
    pub memory_max: Option<u64>,
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
    #[error(transparent)]
    Caller(#[from] OtherBuild),
}

/// A listener that hears of segments while the engine cuts them.
pub struct Reports<'a> {
    /// The listener hears of segments once the execution has more than this many: first of all that
    /// are known, and then of each further one.
    pub from: usize,
    pub tell: &'a mut dyn FnMut(&[Segment]),
}

/// The work of an engine, in a child process that is confined already. This is all that an engine
/// has to bring.
///
/// All bytes that it gets may be a stranger's, and so may the program be: it bounds them before it
/// decodes them. Whatever goes wrong is a [`Failure`]; a panic ends the child, and the caller tells
/// its user so. Before it has a program, whatever needs one is a [`Failure::NothingLoaded`], by
/// which [`Worker::greet`](super::Worker::greet) knows an engine.
pub trait Engine {
    /// The [file](crate::KeyFolder::file_of) of the keys of the configuration that this text
    /// describes; without one, of the configuration that needs none. An engine without keys gives a
    /// file of nothing.
    ///
    /// # Errors
    /// A text that is refused, or a configuration that has no keys.
    fn make_keys(&mut self, config: Option<&str>) -> Result<Vec<u8>, Failure>;

    /// Works on this program and input from now on. The input is an encoded
    /// [`Input`](crate::Input). Decoded, it takes more memory, so the program comes first.
    ///
    /// # Errors
    /// A program, its configuration, or an input that is refused.
    fn load(&mut self, image: Vec<u8>, config: Option<&str>, input: Vec<u8>) -> Result<Loaded, Failure>;

    /// Executes the program, and cuts the execution into segments that can be proven within
    /// `budget`. The same program, input and budget give the same plan.
    ///
    /// # Errors
    /// A program that fails, that cannot be cut for the budget, or that reveals more than
    /// [`PUBLIC_VALUES_BYTES_MAX`](crate::PUBLIC_VALUES_BYTES_MAX) bytes: the caller refuses the
    /// plan otherwise, and the program would not be told why.
    fn plan(
        &mut self,
        budget: MemoryBudget,
        max_instructions: u64,
        reports: Option<Reports<'_>>,
    ) -> Result<Plan, Failure>;

    /// Executes the program, and counts by its marks.
    ///
    /// # Errors
    /// A program that fails.
    fn account(&mut self, max_instructions: u64) -> Result<Account, Failure>;

    /// Executes the first `instructions`, as it does to reach the start of a segment.
    ///
    /// # Errors
    /// A program that fails.
    fn execute(&mut self, instructions: u64) -> Result<(), Failure>;

    /// Executes, and finds the true boundary of each of these segments: the first of a plan, or
    /// those that follow the ones that were asked for last. What the last one's says has to depend
    /// on the public values: see [`Boundary`].
    ///
    /// # Errors
    /// Segments that the execution does not have.
    fn boundaries(&mut self, segments: &[Segment]) -> Result<Vec<Boundary>, Failure>;

    /// Proves a segment, and verifies the proof. That of the last segment carries whatever
    /// [`Self::finish`] needs of it to show the public values.
    ///
    /// # Errors
    /// A segment that the execution does not have, or a proof that does not verify.
    fn prove(&mut self, segment: &Segment) -> Result<Vec<u8>, Failure>;

    /// Makes one proof of those of neighbouring pieces, in order, and verifies it. A node over one
    /// child may be the child's proof with the level put before it: the bytes have to be others.
    ///
    /// # Errors
    /// Children that are no proofs of neighbours, or a proof that does not verify.
    fn aggregate(&mut self, level: Level, children: &[Vec<u8>]) -> Result<Vec<u8>, Failure>;

    /// Makes the file of the final proof of the tree's top node, on `level`, and verifies it.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    fn finish(
        &mut self,
        level: Level,
        form: FinalForm,
        top: &[u8],
        last_segment: &[u8],
    ) -> Result<Vec<u8>, Failure>;

    /// Makes ready to verify proofs, and says what proofs of the program must state.
    ///
    /// # Errors
    /// Keys that are missing.
    fn statement(&mut self) -> Result<Statement, Failure>;

    /// Verifies a proof of the program, and says what it shows. It accepts only proofs that another
    /// node can be made over. Of a piece that ends the execution, the boundary that it gives
    /// follows from the proof's own public values, as [`Boundary`] says: a [`ProofOf::Node`] comes
    /// without any to compare.
    ///
    /// # Errors
    /// [`Failure::Verify`] if the proof does not count.
    fn verify(&mut self, of: &ProofOf, proof: &[u8]) -> Result<Shown, Failure>;

    /// The most bytes that a proof was planned to take since the last call, with those of what the
    /// engine keeps for other kinds of tasks; zero if there was none.
    fn planned_bytes(&mut self) -> u64;
}

/// Answers requests from stdin on stdout until stdin ends, confined from the start. `id` is that of
/// the [`EngineFacts`](crate::EngineFacts) that callers have of this engine. `make` makes the
/// engine once the process is confined; it gets the text that programs print.
///
/// A process calls it before it has opened a file or started a thread.
///
/// # Errors
/// See [`ServeError`]. A request that fails is not an error: it is answered.
pub fn serve<E: Engine>(
    options: &ServeOptions,
    id: &EngineId,
    make: impl FnOnce(GuestOutput) -> io::Result<E>,
) -> Result<(), ServeError> {
    caller::check(id)?;
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
    let mut engine = make(output.clone())?;
    output.keep_empty()?;
    // Stdout stays open while a panic unwinds. Otherwise the caller would think that this child is
    // gone, and close its end; then the thread that waits for requests would end the process before
    // it has said why.
    let mut stdout = ManuallyDrop::new(BufWriter::new(File::from(stdout)));
    for (request, files) in requests()? {
        let bytes_max = request.answer_bytes_max();
        engine.planned_bytes();
        let meter = Meter::start();
        let mut tell = |segments: &[Segment]| {
            let response = Response {
                usage: Usage::default(),
                result: Ok(Answer::Cut(segments.to_vec())),
            };
            // A caller that is gone is noticed by the thread that waits for requests.
            let _ = write_frame(&mut *stdout, &response, bytes_max);
        };
        let result = answer(&mut engine, options.access, request, files, &mut tell);
        let response = Response {
            usage: meter.stop(engine.planned_bytes()),
            result: result.map_err(Failure::tellable),
        };
        write_frame(&mut *stdout, &response, bytes_max)?;
    }
    Ok(())
}

/// The requests that come, with their files. A thread reads them, and ends the process when there
/// are no more: its caller is gone or has given the task up, and nobody waits for the proof that
/// other threads make.
fn requests() -> io::Result<mpsc::Receiver<(Request, Vec<Vec<u8>>)>> {
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
                    std::process::exit(0);
                }
            }
        })?;
    Ok(requests)
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

fn answer(
    engine: &mut impl Engine,
    access: KeyAccess,
    request: Request,
    files: Vec<Vec<u8>>,
    tell: &mut dyn FnMut(&[Segment]),
) -> Result<Answer, Failure> {
    let wanted = match request {
        Request::MakeKeys { .. } => KeyAccess::Make,
        _ => KeyAccess::Read,
    };
    if wanted != access {
        return Err(Failure::NotItsTask);
    }
    Ok(match request {
        Request::MakeKeys { config } => Answer::Keys(engine.make_keys(config.as_deref())?),
        Request::Load { config } => {
            let [image, input] = exactly(files)?;
            Answer::Loaded(engine.load(image, config.as_deref(), input)?)
        }
        Request::Plan {
            budget,
            max_instructions,
            stream_from,
        } => {
            let reports = stream_from.map(|from| Reports {
                from: from as usize,
                tell,
            });
            Answer::Plan(engine.plan(budget, max_instructions, reports)?)
        }
        Request::Account { max_instructions } => Answer::Account(engine.account(max_instructions)?),
        Request::Execute { instructions } => {
            engine.execute(instructions)?;
            Answer::Executed
        }
        Request::Boundaries(segments) => Answer::Boundaries(engine.boundaries(&segments)?),
        Request::Prove(segment) => Answer::Proof(engine.prove(&segment)?),
        Request::Aggregate { level } => Answer::Proof(engine.aggregate(level, &files)?),
        Request::Finish { level, form } => {
            let [top, last_segment] = exactly(files)?;
            Answer::Proof(engine.finish(level, form, &top, &last_segment)?)
        }
        Request::PrepareVerifier => Answer::Statement(engine.statement()?),
        Request::Verify(of) => {
            let [proof] = exactly(files)?;
            Answer::Holds(engine.verify(&of, &proof)?)
        }
    })
}
