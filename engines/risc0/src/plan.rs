//! Cuts an execution into segments, and finds the true boundary of each.

use myriad_engine::{
    Boundary, ExecuteError, MemoryBudget, Plan, ProveError, SEGMENTS_MAX, Segment, worker::Reports,
};
use risc0_circuit_rv32im::{Rv32imV2Claim, execute};
use risc0_zkvm::ExitCode;

use crate::{
    claims,
    execution::{CutFor, Execution, Stopped},
    memory::{self, CUT_PO2, SEGMENT_PO2},
    program::Job,
};

/// User cycles more than a segment's own for which an execution goes on to reach its end: a cut
/// comes sooner.
const CYCLES_OF_A_SEGMENT: u64 = 1 << *CUT_PO2.end();

/// What an execution is cut for where nobody will prove it.
const RUN_PO2: u32 = *CUT_PO2.end();

/// The most bytes that a process may hold where nobody will prove it, and so no plan bounds them.
const RUN_BYTES_MAX: u64 = 2 << 30;

/// What this engine finds in a segment of a plan again: two bytes, and a third one in the rare plan
/// that leaves spare cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Details {
    /// What the whole execution is cut for.
    pub cut: CutFor,
    /// The rows of this one, as a power of two: the last one may have less.
    po2: u32,
}

impl Details {
    fn encode(self) -> Vec<u8> {
        let mut bytes = vec![self.cut.po2 as u8, self.po2 as u8];
        bytes.extend(Some(self.cut.spare).filter(|spare| *spare > 0));
        bytes
    }

    /// # Errors
    /// Bytes that no plan has.
    pub(crate) fn of(segment: &Segment) -> Result<Self, String> {
        let bytes = match *segment.details {
            [cut_po2, po2] => Some((cut_po2, po2, 0)),
            [cut_po2, po2, spare @ 1..=CutFor::SPARE_MAX] => Some((cut_po2, po2, spare)),
            _ => None,
        };
        let details = bytes.map(|(cut_po2, po2, spare)| Self {
            cut: CutFor {
                po2: u32::from(cut_po2),
                spare,
            },
            po2: u32::from(po2),
        });
        details
            .filter(|Self { cut, po2 }| CUT_PO2.contains(&cut.po2) && SEGMENT_PO2.contains(po2))
            .ok_or_else(|| "its details are not those of a plan for RISC Zero".into())
    }
}

/// Executes, and cuts for as many rows as a process of `budget` can prove. Instructions are user
/// cycles. If a cut comes where none may be, it executes again, with other cuts.
///
/// # Errors
/// A program that fails, that is too long, or that no receipt could be made for.
pub(crate) fn plan(
    job: &Job,
    budget: MemoryBudget,
    max_instructions: u64,
    mut reports: Option<Reports<'_>>,
) -> Result<Plan, ExecuteError> {
    let (budget, held) = (budget.bytes(), job.held_bytes());
    let po2 =
        memory::cut_within(budget, held).map_err(|needed| ExecuteError::BudgetTooSmall { budget, needed })?;
    let mut spare = 0;
    loop {
        let cut = CutFor { po2, spare };
        if let Some(plan) = plan_for(job, cut, budget, max_instructions, &mut reports)? {
            return Ok(plan);
        }
        spare += 1;
    }
}

/// None if a cut comes where none may be, and others can be tried: somebody may be at a segment
/// that was told of.
fn plan_for(
    job: &Job,
    cut_for: CutFor,
    budget: u64,
    max_instructions: u64,
    reports: &mut Option<Reports<'_>>,
) -> Result<Option<Plan>, ExecuteError> {
    let held = job.held_bytes();
    let mut execution = Execution::start(job, cut_for, max_instructions, budget);
    let (mut segments, mut instructions, mut told) = (Vec::new(), 0, 0);
    let mut end = None;
    loop {
        let cut = match execution.next() {
            Ok(Some(cut)) => cut,
            Ok(None) => break,
            Err(Stopped::CutBeforeEnd(_)) if told == 0 && cut_for.spare < CutFor::SPARE_MAX => {
                return Ok(None);
            }
            Err(stopped) => return Err(execution.failed(stopped, budget)),
        };
        if segments.len() == SEGMENTS_MAX {
            return Err(ExecuteError::TooManySegments {
                budget,
                max: SEGMENTS_MAX,
            });
        }
        let num_insns = u64::from(cut.suspend_cycle);
        let last = cut.claim.terminate_state.is_some();
        let before = instructions;
        instructions += num_insns;
        // Where the execution was stopped, the segment is none of a plan.
        if instructions > max_instructions || (!last && instructions == max_instructions) {
            return Err(ExecuteError::TooLong {
                max: max_instructions,
                actual: instructions,
                output: execution.printed(),
            });
        }
        let details = Details {
            cut: cut_for,
            po2: cut.po2,
        };
        let proof_bytes = memory::segment_bytes(cut.po2).saturating_add(held);
        let peak_bytes = peak_within(budget, execution.bytes(), proof_bytes)?;
        segments.push(Segment {
            index: segments.len() as u32,
            instret_start: before,
            num_insns,
            details: details.encode(),
            last,
            cells: memory::segment_cells(cut.po2),
            interactions: 0,
            peak_bytes,
        });
        end = Some(cut.claim);
        if let Some(Reports { from, tell }) = reports
            && segments.len() > *from
        {
            tell(&segments[told..]);
            told = segments.len();
        }
    }
    let end = end.expect("an execution has a last segment, which ends it");
    Ok(Some(Plan {
        segments,
        public_values: revealed(&execution, &end)?,
        instructions,
    }))
}

/// The peak of a process that first executes, and then proves.
fn peak_within(budget: u64, execution_bytes: u64, proof_bytes: u64) -> Result<u64, ExecuteError> {
    let needed = execution_bytes.max(proof_bytes);
    if needed > budget {
        return Err(ExecuteError::BudgetTooSmall { budget, needed });
    }
    Ok(needed)
}

/// What a program that has ended reveals, if a receipt can be made of it.
fn revealed(execution: &Execution, end: &Rv32imV2Claim) -> Result<Vec<u8>, ExecuteError> {
    let output = || execution.printed();
    let trapped = |reason: String| ExecuteError::Trapped {
        reason,
        output: output(),
    };
    match claims::exit_code(end.terminate_state).map_err(trapped)? {
        ExitCode::Halted(0) => {}
        ExitCode::Halted(code) => {
            let output = output();
            return Err(ExecuteError::Failed { code, output });
        }
        other => {
            return Err(trapped(format!(
                "it ends with {other:?}, and has to end with Halted(0)"
            )));
        }
    }
    let public_values = execution.journal();
    if end.output != Some(claims::output_digest(&public_values)) {
        let reason = "the output that it commits to is not what it has written to its journal; end it as \
                      risc0_zkvm::guest::entry! does";
        return Err(trapped(reason.into()));
    }
    Ok(public_values)
}

/// Executes the first `instructions` user cycles.
///
/// # Errors
/// A program that fails before.
pub(crate) fn run(job: &Job, instructions: u64) -> Result<(), ExecuteError> {
    let mut execution = Execution::start(job, RUN_PO2, instructions, RUN_BYTES_MAX);
    loop {
        match execution.next() {
            Ok(Some(_)) if execution.bytes() > RUN_BYTES_MAX => {
                return Err(ExecuteError::Trapped {
                    reason: format!(
                        "it takes {} bytes of memory to execute, and {RUN_BYTES_MAX} are allowed; have it touch less of \
                         its memory",
                        execution.bytes()
                    ),
                    output: execution.printed(),
                });
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(stopped) => return Err(execution.failed(stopped, 0)),
        }
    }
}

/// An execution that has come to the end of a segment, and goes on when there are more.
pub(crate) struct Walk {
    execution: Execution,
    cut: CutFor,
    segments: u32,
    instructions: u64,
    /// The most bytes that the process may hold, by the plan.
    bytes_max: u64,
}

impl Walk {
    /// Starts an execution that will come to `segment`, at least.
    pub(crate) fn start(job: &Job, cut: CutFor, segment: &Segment) -> Self {
        let end = segment.instret_start.saturating_add(segment.num_insns);
        let end = end.saturating_add(CYCLES_OF_A_SEGMENT);
        Self {
            execution: Execution::start(job, cut, end, segment.peak_bytes),
            cut,
            segments: 0,
            instructions: 0,
            bytes_max: segment.peak_bytes,
        }
    }

    /// Segments that were executed.
    pub(crate) fn segments(&self) -> u32 {
        self.segments
    }

    /// What the program has revealed, after its end.
    pub(crate) fn journal(&self) -> Vec<u8> {
        self.execution.journal()
    }

    /// Executes the next segment.
    ///
    /// # Errors
    /// An execution that has ended, that fails, or that holds more memory than the plan says.
    pub(crate) fn skip(&mut self) -> Result<execute::Segment, String> {
        let cut = self
            .execution
            .next()?
            .ok_or_else(|| format!("the execution has {} segments", self.segments))?;
        let bytes = self.execution.bytes();
        if bytes > self.bytes_max {
            return Err(format!(
                "to execute it takes {bytes} bytes of memory, and the plan says {}",
                self.bytes_max
            ));
        }
        self.segments += 1;
        self.instructions += u64::from(cut.suspend_cycle);
        Ok(cut)
    }

    /// Executes the next segment, which has to be this one.
    ///
    /// # Errors
    /// Another segment. It does not end the program as a receipt has to, if it ends it.
    pub(crate) fn follow(&mut self, segment: &Segment) -> Result<execute::Segment, String> {
        if segment.index != self.segments {
            return Err(format!(
                "it is segment {}, and {} were executed before it",
                segment.index, self.segments
            ));
        }
        let details = Details::of(segment)?;
        if details.cut != self.cut {
            return Err(format!(
                "(rows as a power of two, spare cycles in steps) are {:?} in the cut of the execution, and {:?} in its own",
                (self.cut.po2, self.cut.spare),
                (details.cut.po2, details.cut.spare)
            ));
        }
        let start = self.instructions;
        self.bytes_max = segment.peak_bytes;
        self.execution.allow(segment.peak_bytes);
        let cut = self.skip()?;
        let last = cut.claim.terminate_state.is_some();
        let executed = (start, u64::from(cut.suspend_cycle), cut.po2, last);
        let planned = (
            segment.instret_start,
            segment.num_insns,
            details.po2,
            segment.last,
        );
        if executed != planned {
            return Err(format!(
                "(start, cycles, rows as a power of two, last) are {executed:?} in the execution, and {planned:?} in the plan"
            ));
        }
        Ok(cut)
    }
}

/// Executes, and finds the true boundary of each of these segments: the first of a plan, or those
/// that follow the ones of `walk`, which then goes on from there. What it has left is in the walk
/// that it gives.
///
/// # Errors
/// [`ProveError::Mismatch`] with the first segment that the execution does not have.
pub(crate) fn boundaries(
    job: &Job,
    segments: &[Segment],
    walk: Option<Walk>,
) -> Result<(Vec<Boundary>, Option<Walk>), ProveError> {
    let Some(first) = segments.first() else {
        return Ok((Vec::new(), walk));
    };
    let mut before = walk.filter(|walk| first.index > 0 && walk.segments == first.index);
    let mut boundaries = Vec::with_capacity(segments.len());
    for segment in segments {
        let mismatch = |reason: String| ProveError::Mismatch {
            segment: segment.index,
            reason,
        };
        let walk = match &mut before {
            Some(walk) => walk,
            none => {
                let details = Details::of(segment).map_err(mismatch)?;
                // How far it will have to go is not known: more segments may be asked for.
                none.insert(Walk {
                    execution: Execution::start(job, details.cut, u64::MAX, segment.peak_bytes),
                    cut: details.cut,
                    segments: 0,
                    instructions: 0,
                    bytes_max: segment.peak_bytes,
                })
            }
        };
        let cut = walk.follow(segment).map_err(mismatch)?;
        let claim = claims::of_segment(&cut.claim).map_err(mismatch)?;
        boundaries.push(claims::boundary(&claim).map_err(|e| mismatch(e.to_string()))?);
    }
    Ok((boundaries, before))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job that is cut between its output and its end, as far as the first cut goes.
    fn badly_cut() -> (Job, MemoryBudget) {
        let po2 = *CUT_PO2.start();
        let is_cut_badly = |job: &Job| {
            let mut execution = Execution::start(job, po2, u64::MAX, u64::MAX);
            loop {
                match execution.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => return false,
                    Err(stopped) => return matches!(stopped, Stopped::CutBeforeEnd(_)),
                }
            }
        };
        let job = (5_330..5_341).map(Job::counting).find(is_cut_badly);
        let job = job.expect("a cut comes there");
        let budget = MemoryBudget::from_bytes(memory::segment_bytes(po2) + job.held_bytes());
        (job, budget)
    }

    #[test]
    fn an_execution_that_is_cut_where_no_cut_may_be_is_cut_elsewhere() {
        let (job, budget) = badly_cut();
        let plan = plan(&job, budget, u64::MAX, None).unwrap();
        assert_eq!(plan.public_values, crate::samples::JOURNAL);
        let details = |segment| Details::of(segment).unwrap();
        assert!(
            plan.segments
                .iter()
                .all(|segment| details(segment).cut.spare == 1)
        );
        let walked: u64 = plan.segments.iter().map(|segment| segment.num_insns).sum();
        assert_eq!(walked, plan.instructions);
        // Provers find the same segments, and each begins where the one before it ends.
        let (boundaries, _) = boundaries(&job, &plan.segments, None).unwrap();
        assert_eq!(boundaries.len(), plan.segments.len());
        for segment in &plan.segments {
            crate::prove::reach(&job, segment).unwrap();
        }
        let other = Segment {
            details: vec![15, details(&plan.segments[0]).po2 as u8],
            ..plan.segments[0].clone()
        };
        assert!(crate::prove::reach(&job, &other).is_err(), "it is cut otherwise");
    }

    #[test]
    fn an_execution_of_which_segments_were_told_is_not_cut_elsewhere() {
        let (job, budget) = badly_cut();
        let mut told = 0;
        let reports = Reports {
            from: 0,
            tell: &mut |segments| told += segments.len(),
        };
        let error = plan(&job, budget, u64::MAX, Some(reports)).unwrap_err();
        assert!(
            error.to_string().contains("between its output and its end"),
            "{error}"
        );
        assert!(told > 0);
    }

    #[test]
    fn details_are_those_of_a_plan() {
        let of = |details: &[u8]| {
            Details::of(&Segment {
                index: 0,
                instret_start: 0,
                num_insns: 1,
                details: details.to_vec(),
                last: true,
                cells: 1,
                interactions: 0,
                peak_bytes: 1,
            })
        };
        for bytes in [
            &[15, 14][..],
            &[22, 22],
            &[17, 15, 1],
            &[17, 17, CutFor::SPARE_MAX],
        ] {
            assert_eq!(of(bytes).unwrap().encode(), bytes);
        }
        let refused: [&[u8]; 7] = [
            &[],
            &[15],
            &[14, 14],
            &[15, 13],
            &[17, 15, 0],
            &[17, 15, CutFor::SPARE_MAX + 1],
            &[17, 15, 1, 0],
        ];
        for bytes in refused {
            assert!(of(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_plan_has_the_memory_of_its_execution() {
        assert_eq!(peak_within(5, 2, 3), Ok(3));
        assert_eq!(peak_within(5, 4, 3), Ok(4));
        let needed = 6;
        for (execution, proof) in [(6, 3), (3, 6)] {
            let refused = peak_within(5, execution, proof);
            assert_eq!(refused, Err(ExecuteError::BudgetTooSmall { budget: 5, needed }));
        }
    }
}
