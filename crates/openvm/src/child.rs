//! The work of a child process: what [`myriad_engine::worker::serve`] asks of OpenVM's engine.

use std::io;

use myriad_core::{EngineId, EngineName};
use myriad_engine::{
    Account, AggregateError, Boundary, CHILDREN_MAX, EngineFacts, FinalForm, Input, KeyError, Level, Loaded,
    MemoryBudget, Plan, ProofOf, ProveError, Segment, Shown, Statement, VerifyError,
    worker::{self, Failure, GuestOutput, Reports, ServeError, ServeOptions},
};

use crate::{
    KeyCache, Program, Verifier, VmConfig, accounting,
    aggregate::Aggregator,
    circuit::Circuit,
    execute, final_proof, keys, memory,
    own_engine::planned_bytes,
    prove::SegmentProver,
    tools::Tools,
    truth::{self, Walk},
};

/// The name of this engine in jobs and greetings.
const NAME: &str = "openvm";

/// What others have to know of this engine before they ask it anything.
pub fn facts() -> EngineFacts {
    let name: EngineName = NAME.parse().expect("it is a name");
    EngineFacts {
        id: EngineId {
            name,
            fingerprint: *VmConfig::riscv32().fingerprint().as_bytes(),
        },
        proof_ending: "stark.proof",
        baseline_ending: Some("baseline.json"),
        segment_base_bytes: memory::BASE_BYTES,
        segment_bytes_per_input_byte: memory::BYTES_PER_INPUT_BYTE,
    }
}

/// Answers requests from stdin on stdout until stdin ends, confined from the start.
///
/// # Errors
/// See [`worker::serve`].
pub fn serve(options: &ServeOptions) -> Result<(), ServeError> {
    worker::serve(options, &facts().id, |output| {
        start_background_threads()?;
        Ok(Child {
            keys: KeyCache::new(&options.keys),
            job: None,
            tools: Tools::new(options.memory_max),
            walk: None,
            verifier: None,
            output,
        })
    })
}

/// From now on, a thread of the allocator gives freed memory back.
///
/// The allocator's settings could start that thread with the process, but then it would not be
/// confined.
#[expect(unsafe_code, reason = "the allocator is set by its C interface")]
fn start_background_threads() -> io::Result<()> {
    let mut on = true;
    // SAFETY: the name ends with a zero byte, the value is a bool of the allocator's size, and
    // nothing is read back.
    let code = unsafe {
        tikv_jemalloc_sys::mallctl(
            c"background_thread".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut on).cast(),
            size_of::<bool>(),
        )
    };
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

struct Child {
    keys: KeyCache,
    job: Option<Job>,
    tools: Tools,
    /// The execution whose boundaries were asked for last, which goes on if more are.
    walk: Option<Walk>,
    /// The verifier is made for the first own proof, since a proof that memory has spoilt is not
    /// handed out, or for the first proof of others.
    verifier: Option<Verifier>,
    output: GuestOutput,
}

struct Job {
    program: Program,
    input: Input,
    loaded: Loaded,
}

/// Children of the internal-for-leaf nodes of a tree that a child knows nothing of: those above
/// take most.
const INTERNAL_FOR_LEAF: usize = CHILDREN_MAX;
/// Work whose memory nobody predicts: beside it, no more is kept than the tools of the last task.
const UNKNOWN_BYTES: u64 = u64::MAX;

impl Program {
    /// What others have to know of a job of this program.
    pub fn loaded(&self, input: &Input) -> Loaded {
        let costs = if self.config().is_plain() {
            "plain"
        } else {
            "extended"
        };
        Loaded {
            program: self.hash(),
            input: input.hash(),
            engine: *self.config().fingerprint().as_bytes(),
            costs: costs.into(),
            held_bytes: self.held_bytes(input),
            nodes: memory::node_memory(self.config()),
        }
    }
}

/// The configuration that a text describes; the plain one without a text.
fn configured(config: Option<&str>) -> Result<VmConfig, Failure> {
    Ok(config.map_or_else(|| Ok(VmConfig::riscv32()), VmConfig::from_toml)?)
}

fn job(job: &Option<Job>) -> Result<&Job, Failure> {
    job.as_ref().ok_or(Failure::NothingLoaded)
}

impl Job {
    /// Expected peak memory, in bytes, of the process in a task that makes a proof of which
    /// `proving` bytes are expected. It verifies the proof, too.
    fn task_bytes(&self, proving: u64) -> u64 {
        proving.max(self.loaded.final_peak_bytes(FinalForm::Fast, INTERNAL_FOR_LEAF))
    }
}

impl Child {
    /// [`Job::task_bytes`] where a task leaves the execution that waits as it is.
    fn beside_walk(&self, job: &Job, proving: u64) -> u64 {
        match &self.walk {
            // It has the program's memory, which is in no expectation.
            Some(_) => UNKNOWN_BYTES,
            None => job.task_bytes(proving),
        }
    }
}

impl worker::Engine for Child {
    fn make_keys(&mut self, config: Option<&str>) -> Result<Vec<u8>, Failure> {
        Ok(keys::make(&configured(config)?)?)
    }

    fn load(&mut self, image: Vec<u8>, config: Option<&str>, encoded: Vec<u8>) -> Result<Loaded, Failure> {
        // The last job stays until this one is there, whose input is there twice.
        let held = self.job.as_ref().map_or(0, |job| job.loaded.held_bytes);
        let files = image.len() + 2 * encoded.len();
        self.tools
            .make_room(memory::BASE_BYTES + held.saturating_mul(2) + files as u64);
        let program = Program::load(&image, config)?;
        drop(image);
        let input = Input::decode(&encoded)?;
        drop(encoded);
        // Tools that are ready for a program are ready for its next input, too.
        let same = |old: &Job| old.program.hash() == program.hash();
        if !self.job.as_ref().is_some_and(same) {
            self.tools.clear();
            self.verifier = None;
        }
        self.walk = None;
        let loaded = program.loaded(&input);
        self.job = Some(Job {
            program,
            input,
            loaded: loaded.clone(),
        });
        Ok(loaded)
    }

    fn plan(
        &mut self,
        budget: MemoryBudget,
        max_instructions: u64,
        reports: Option<Reports<'_>>,
    ) -> Result<Plan, Failure> {
        self.tools.make_room(UNKNOWN_BYTES);
        let Job { program, input, .. } = job(&self.job)?;
        let taken = || self.output.take();
        let plan = execute::plan(
            program,
            &self.keys,
            input,
            budget,
            max_instructions,
            reports,
            &taken,
        );
        Ok(plan?)
    }

    fn account(&mut self, max_instructions: u64) -> Result<Account, Failure> {
        self.tools.make_room(UNKNOWN_BYTES);
        let Job { program, input, .. } = job(&self.job)?;
        let taken = || self.output.take();
        Ok(accounting::account(
            program,
            &self.keys,
            input,
            max_instructions,
            &taken,
        )?)
    }

    fn execute(&mut self, instructions: u64) -> Result<(), Failure> {
        self.tools.make_room(UNKNOWN_BYTES);
        let Job { program, input, .. } = job(&self.job)?;
        let executed = execute::run(program, input, instructions, &|| self.output.take());
        self.output.take();
        Ok(executed?)
    }

    fn boundaries(&mut self, segments: &[Segment]) -> Result<Vec<Boundary>, Failure> {
        let Job { program, input, .. } = job(&self.job)?;
        // It copies the program's memory, and a prover's tools are needed only for proving.
        self.tools.clear();
        let boundaries = truth::boundaries(program, input, segments, &mut self.walk);
        self.output.take();
        Ok(boundaries?)
    }

    fn prove(&mut self, segment: &Segment) -> Result<Vec<u8>, Failure> {
        let job = job(&self.job)?;
        let expected = job.task_bytes(segment.peak_bytes);
        let Job { program, input, .. } = job;
        self.walk = None;
        let Self {
            keys,
            tools,
            verifier,
            output,
            ..
        } = self;
        let prover = tools.prover(program, keys, expected)?;
        proven(prover, program, input, segment, || {
            // The guest prints the same text a second time; nobody wants to hear it twice.
            output.take();
            Ok(made_verifier(verifier, program, keys)?)
        })
    }

    fn aggregate(&mut self, level: Level, children: &[Vec<u8>]) -> Result<Vec<u8>, Failure> {
        let job = job(&self.job)?;
        let node = job
            .loaded
            .node_peak_bytes(level, children.len(), INTERNAL_FOR_LEAF);
        let expected = self.beside_walk(job, node);
        let (program, circuit) = (&job.program, Circuit::of(level));
        let aggregator = self.tools.aggregator(program, &self.keys, circuit, expected)?;
        aggregated(aggregator, level, children, || {
            Ok(made_verifier(&mut self.verifier, program, &self.keys)?)
        })
    }

    fn finish(
        &mut self,
        level: Level,
        form: FinalForm,
        top: &[u8],
        last_segment: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let job = job(&self.job)?;
        let top_node = job.loaded.final_peak_bytes(form, INTERNAL_FOR_LEAF);
        let expected = self.beside_walk(job, top_node);
        let program = &job.program;
        let circuit = Circuit::InternalRecursive;
        let aggregator = match form {
            FinalForm::Small => Some(self.tools.aggregator(program, &self.keys, circuit, expected)?),
            FinalForm::Fast => {
                self.tools.make_room(expected);
                None
            }
        };
        finished(aggregator, level, top, last_segment, || {
            Ok(made_verifier(&mut self.verifier, program, &self.keys)?)
        })
    }

    fn statement(&mut self) -> Result<Statement, Failure> {
        let job = job(&self.job)?;
        let expected = self.beside_walk(job, 0);
        self.tools.make_room(expected);
        Ok(made_verifier(&mut self.verifier, &job.program, &self.keys)?.statement())
    }

    fn verify(&mut self, of: &ProofOf, proof: &[u8]) -> Result<Shown, Failure> {
        let job = job(&self.job)?;
        let expected = self.beside_walk(job, 0);
        self.tools.make_room(expected);
        let verifier = made_verifier(&mut self.verifier, &job.program, &self.keys)?;
        Ok(verifier.verify(of, proof)?)
    }

    fn planned_bytes(&mut self) -> u64 {
        match planned_bytes() {
            0 => 0,
            proof => proof + self.tools.idle_bytes(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The program that validates blocks, on machines with little memory.
    #[test]
    fn one_gibibyte_holds_nodes_of_three() {
        let toml = include_str!("../../../guests/elf/evm-block.openvm.toml");
        let elf = include_bytes!("../../../guests/elf/evm-block.elf");
        let program = Program::load(elf, Some(toml)).unwrap();
        let most = |level, input_mib: usize, mib: u64| {
            let input = Input::from_bytes(vec![0; input_mib << 20]).unwrap();
            program.loaded(&input).most_children(level, 1, 2, mib << 20)
        };
        for level in [Level::LEAF, Level::INTERNAL_FOR_LEAF, Level::INTERNAL_RECURSIVE] {
            assert_eq!(most(level, 24, 1024), Ok(3), "{level}");
        }
        assert_eq!(most(Level::LEAF, 24, 1280), Ok(4));
        assert!(most(Level::LEAF, 1, 512).is_err());
        // A program and an input that leave no room for a node.
        assert!(most(Level::LEAF, 200, 700).is_err());
    }
}
