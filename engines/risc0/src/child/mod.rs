//! The work of a child process: what [`myriad_engine::worker::serve`] asks of RISC Zero's engine.

use myriad_engine::{
    Account, AggregateError, Boundary, FinalForm, Input, KeyFolder, Level, Loaded, MemoryBudget, Plan,
    ProofOf, ProveError, Segment, Shown, Statement, VerifyError, known,
    worker::{self, Engine, Failure, Reports, ServeError, ServeOptions},
};

use crate::{
    claims, memory,
    plan::{self, Walk},
    program::{Job, Program},
    prove, receipts, recursion,
};

/// Answers requests from stdin on stdout until stdin ends, confined from the start.
///
/// # Errors
/// See [`worker::serve`].
pub fn serve(options: &ServeOptions) -> Result<(), ServeError> {
    // What programs print does not come to stdout here.
    worker::serve(options, &known::risc0().id, |_output| Ok(Child::default()))
}

/// The engine. It has no keys and, between tasks, no tools: the recursion programs are part of the
/// binary.
#[derive(Default)]
pub struct Child {
    job: Option<Job>,
    /// The execution whose boundaries were asked for last, which goes on if more are.
    walk: Option<Walk>,
    planned: u64,
}

impl Child {
    fn job(&self) -> Result<&Job, Failure> {
        self.job.as_ref().ok_or(Failure::NothingLoaded)
    }

    fn planned(&mut self, bytes: u64) {
        self.planned = self.planned.max(bytes);
    }
}

/// Refuses a text that configures the virtual machine.
fn unconfigured(config: Option<&str>) -> Result<(), Failure> {
    match config {
        None => Ok(()),
        Some(_) => Err(Failure::Config(
            "programs of RISC Zero have no configuration, and one was given; leave it out".into(),
        )),
    }
}

impl Engine for Child {
    fn make_keys(&mut self, config: Option<&str>) -> Result<Vec<u8>, Failure> {
        unconfigured(config)?;
        Ok(KeyFolder::file_of(&[]))
    }

    fn load(&mut self, image: Vec<u8>, config: Option<&str>, encoded: Vec<u8>) -> Result<Loaded, Failure> {
        unconfigured(config)?;
        self.walk = None;
        self.job = None;
        let program = Program::load(&image)?;
        drop(image);
        let input = Input::decode(&encoded)?;
        drop(encoded);
        let job = Job::new(program, &input)?;
        Ok(self.job.insert(job).loaded())
    }

    fn plan(
        &mut self,
        budget: MemoryBudget,
        max_instructions: u64,
        reports: Option<Reports<'_>>,
    ) -> Result<Plan, Failure> {
        self.walk = None;
        Ok(plan::plan(self.job()?, budget, max_instructions, reports)?)
    }

    fn account(&mut self, _max_instructions: u64) -> Result<Account, Failure> {
        Err(Failure::Program(
            "RISC Zero's engine does not count the instructions of a program by marks; use OpenVM's for that"
                .into(),
        ))
    }

    fn execute(&mut self, instructions: u64) -> Result<(), Failure> {
        self.walk = None;
        Ok(plan::run(self.job()?, instructions)?)
    }

    fn boundaries(&mut self, segments: &[Segment]) -> Result<Vec<Boundary>, Failure> {
        let walk = self.walk.take();
        let (boundaries, walk) = plan::boundaries(self.job()?, segments, walk)?;
        self.walk = walk;
        Ok(boundaries)
    }

    fn prove(&mut self, segment: &Segment) -> Result<Vec<u8>, Failure> {
        self.walk = None;
        let executed = prove::reach(self.job()?, segment)?;
        self.planned(memory::segment_bytes(executed.po2()));
        let values = executed.public_values().map(<[u8]>::to_vec);
        let proof = prove::prove(segment.index, executed)?;
        receipts::segment(&proof, values.as_deref()).map_err(|e| ProveError::Unsound {
            segment: segment.index,
            reason: e.to_string(),
        })?;
        Ok(proof)
    }

    fn aggregate(&mut self, level: Level, children: &[Vec<u8>]) -> Result<Vec<u8>, Failure> {
        self.job()?;
        self.walk = None;
        if level == Level::LEAF || children.len() > 1 {
            self.planned(memory::recursion_bytes());
        }
        let proof = recursion::node(level, children)?;
        receipts::node(level, &proof).map_err(|e| unsound(level.to_string(), &e))?;
        Ok(proof)
    }

    /// Both forms are the receipt of the top: RISC Zero has no smaller one that is made without a
    /// trusted setup.
    fn finish(
        &mut self,
        level: Level,
        _form: FinalForm,
        top: &[u8],
        last_segment: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        self.walk = None;
        let program = &self.job()?.program;
        let file = recursion::finish(program, level, top, last_segment)?;
        let of = ProofOf::Final { public_values: None };
        receipts::verify(&program.image_id, &of, &file).map_err(|e| unsound("the final proof".into(), &e))?;
        Ok(file)
    }

    fn statement(&mut self) -> Result<Statement, Failure> {
        let image_id = self.job()?.program.image_id;
        Ok(Statement {
            start_pc: 0,
            start_root: claims::root(&image_id),
            program_commitment: image_id.to_string(),
            baseline: Vec::new(),
        })
    }

    fn verify(&mut self, of: &ProofOf, proof: &[u8]) -> Result<Shown, Failure> {
        // Its memory is in no prediction of a verification's.
        self.walk = None;
        Ok(receipts::verify(&self.job()?.program.image_id, of, proof)?)
    }

    fn planned_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.planned)
    }
}

fn unsound(level: String, reason: &VerifyError) -> AggregateError {
    AggregateError::Unsound {
        level,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests;
