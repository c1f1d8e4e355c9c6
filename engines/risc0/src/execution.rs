//! Runs a program, and gives its segments as they are cut.
//!
//! A thread executes, and another one of RISC Zero's hashes the memory at each cut; both wait while
//! nobody takes the segments. So an execution can stop at any segment, and go on later.
//!
//! Work is counted in user cycles: one for each instruction, and those of the accelerators. How an
//! execution is cut does not change their number.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use anyhow::anyhow;
use myriad_engine::{ExecuteError, quoted};
use risc0_circuit_rv32im::{
    MAX_INSN_CYCLES,
    execute::{CycleLimit, Executor, Segment},
};

use crate::{
    host::{Host, Said},
    memory,
    pages::{self, Pages},
    program::Job,
    watch::{Waited, Watch},
};

/// From this size on, a segment leaves room for the longest instruction, which is one of big
/// integers. That is most of a segment of 2^15 rows, so smaller ones have room only for others.
const LONG_INSTRUCTIONS_PO2: u32 = 17;

/// The room of smaller segments. To read or hash takes up to two pages that are written, two that
/// are read, and one with the instruction. A page is 322 cycles and its way to the root 286, both
/// twice if it is written (`execute/pager.rs` of the circuit): 4,256, and up to 1,100 for the work
/// itself. RISC Zero's own 2,000 for segments below 2^15 are those of a store to one page.
const SHORT_INSTRUCTION_CYCLES: usize = 6_000;

/// What each step of [`CutFor::spare`] leaves besides: more than the cycles between a program's
/// output and its end, the pages that these touch included.
const SPARE_CYCLES: usize = 2_000;

/// What an execution is cut for. How it is cut follows from this, the program and its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CutFor {
    /// The most rows of a segment, as a power of two: one of [`memory::CUT_PO2`].
    pub po2: u32,
    /// How much earlier than it has to each segment ends, in steps, up to [`Self::SPARE_MAX`].
    pub spare: u8,
}

impl CutFor {
    /// About one execution of 2,000 is cut where no cut may be, whatever it is cut for: three tries
    /// more are enough.
    pub(crate) const SPARE_MAX: u8 = 3;

    /// The cycles that a segment leaves for an instruction.
    fn room(self) -> usize {
        let least = if self.po2 < LONG_INSTRUCTIONS_PO2 {
            SHORT_INSTRUCTION_CYCLES
        } else {
            MAX_INSN_CYCLES
        };
        least + SPARE_CYCLES * usize::from(self.spare)
    }
}

impl From<u32> for CutFor {
    fn from(po2: u32) -> Self {
        Self { po2, spare: 0 }
    }
}

/// An execution on its way.
pub(crate) struct Execution {
    /// None once it was told to stop.
    segments: Option<Receiver<Segment>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
    /// Is closed when the thread ends.
    ended: Receiver<()>,
    said: Arc<Mutex<Said>>,
    cut: CutFor,
    /// Whether a segment was taken.
    begun: bool,
    pages: Pages,
    /// Bytes of the job itself.
    held: u64,
    watch: Watch,
    give_up: fn(&str) -> !,
}

/// Why an execution did not come to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// An instruction does not fit what a segment of this size leaves for one.
    LongInstruction,
    /// A cut comes where none may be, so that other cuts may do.
    CutBeforeEnd(String),
    /// The program did what it may not.
    Trapped(String),
}

impl Execution {
    /// Executes from the start, and cuts. After `cycles_max` user cycles it stops: its last segment
    /// does not end the program then. The process may take `bytes_max` meanwhile.
    pub(crate) fn start(job: &Job, cut: impl Into<CutFor>, cycles_max: u64, bytes_max: u64) -> Self {
        let cut = cut.into();
        debug_assert!(memory::CUT_PO2.contains(&cut.po2), "2^{}", cut.po2);
        let said = Arc::<Mutex<Said>>::default();
        let host = Host::new(Arc::clone(&job.stdin), &job.seed(), Arc::clone(&said));
        let image = job.program.image.clone();
        let pages = Pages::of(&image);
        let (sender, segments) = sync_channel(0);
        let (ends, ended) = sync_channel(0);
        let run = move || {
            let _ends: SyncSender<()> = ends;
            let mut executor = Executor::new(image, &host, None, Vec::new(), None);
            let limit = CycleLimit::Soft(cycles_max);
            executor.run(cut.po2 as usize, cut.room(), limit, |segment| {
                sender
                    .send(segment)
                    .map_err(|_| anyhow!("nobody waits for its segments"))
            })?;
            Ok(())
        };
        let thread = std::thread::Builder::new()
            .name("execution".into())
            .spawn(run)
            .expect("the system has a thread for an execution");
        Self {
            segments: Some(segments),
            thread: Some(thread),
            ended,
            said,
            cut,
            begun: false,
            pages,
            held: job.held_bytes(),
            watch: Watch::of(cut.po2, bytes_max),
            give_up: end_the_process,
        }
    }

    /// The next segment, in order; none after the last.
    ///
    /// # Errors
    /// See [`Stopped`]. There are no more segments then.
    pub(crate) fn next(&mut self) -> Result<Option<Segment>, Stopped> {
        if let Some(segments) = &self.segments {
            match self.watch.wait(segments) {
                Waited::Received(segment) => return self.checked(segment).map(Some),
                Waited::TooMuch(reason) => (self.give_up)(&reason),
                Waited::Ended => {}
            }
        }
        match self.thread.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(None),
            Some(Ok(Err(error))) => Err(Stopped::Trapped(quoted(&format!("{error:#}")))),
            Some(Err(panic)) => Err(of_panic(&*panic)),
        }
    }

    /// The segment, with as many rows as lifts are made for at least.
    ///
    /// # Errors
    /// A segment before which no other one can end.
    fn checked(&mut self, mut segment: Segment) -> Result<Segment, Stopped> {
        let trapped = |error: anyhow::Error| Stopped::Trapped(format!("{error:#}"));
        let too_late = pages::starts_with_an_output(&mut segment).map_err(trapped)?;
        if too_late && std::mem::replace(&mut self.begun, true) {
            return Err(Stopped::CutBeforeEnd(format!(
                "a cut for 2^{} rows comes between its output and its end, where no segment can be joined; plan it \
                 with another --memory, or have it take some cycles more before it ends",
                self.cut.po2
            )));
        }
        self.begun = true;
        self.pages.touch(&segment);
        segment.po2 = segment.po2.max(*memory::SEGMENT_PO2.start());
        Ok(segment)
    }

    /// Bytes that a process holds that has come as far as this execution, without a proof.
    pub(crate) fn bytes(&self) -> u64 {
        // A segment without rows leaves the process.
        let looked_at = self.said.lock().unwrap_or_else(PoisonError::into_inner).pages();
        memory::segment_bytes(0) + self.pages.touched_bytes() + pages::bytes(looked_at) + self.held
    }

    /// Has the process take so many bytes from here on.
    pub(crate) fn allow(&mut self, bytes_max: u64) {
        self.watch.allow(bytes_max);
    }

    /// What the program has revealed: all of it, once its last segment is there.
    pub(crate) fn journal(&self) -> Vec<u8> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .journal
            .clone()
    }

    /// The end of what the program has printed.
    pub(crate) fn printed(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).printed()
    }

    /// The error of a plan that is made for so many bytes.
    pub(crate) fn failed(&self, stopped: Stopped, budget: u64) -> ExecuteError {
        let larger = (self.cut.po2 + 1).max(LONG_INSTRUCTIONS_PO2);
        match stopped {
            Stopped::LongInstruction if memory::CUT_PO2.contains(&larger) => ExecuteError::BudgetTooSmall {
                budget,
                needed: memory::segment_bytes(larger)
                    .saturating_add(self.held)
                    .max(budget),
            },
            Stopped::LongInstruction => ExecuteError::Indivisible {
                reason: format!(
                    "one instruction takes more cycles than a segment of 2^{} rows leaves for it",
                    self.cut.po2
                ),
            },
            Stopped::CutBeforeEnd(reason) | Stopped::Trapped(reason) => ExecuteError::Trapped {
                reason,
                output: self.printed(),
            },
        }
    }
}

impl Drop for Execution {
    /// Ends the execution at its next cut, and waits for that, so that its memory is free.
    fn drop(&mut self) {
        self.segments = None;
        // After a panic, there may be nothing to wait for.
        if std::thread::panicking() {
            return;
        }
        if let Waited::TooMuch(reason) = self.watch.wait(&self.ended) {
            (self.give_up)(&reason);
        }
        if let Some(thread) = self.thread.take() {
            // Its error is that nobody waits for its segments.
            drop(thread.join());
        }
    }
}

/// Ends the process, whose death counts against the program that it was about.
fn end_the_process(reason: &str) -> ! {
    eprintln!("myriad-engine-risc0: {reason}");
    std::process::exit(1)
}

/// RISC Zero's executor panics at some things that a program can do.
fn of_panic(panic: &(dyn Any + Send)) -> Stopped {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it made the executor panic");
    if text.contains("too small for instruction") {
        return Stopped::LongInstruction;
    }
    Stopped::Trapped(quoted(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn segments(job: &Job, cut_po2: u32, cycles_max: u64) -> Vec<Segment> {
        let mut execution = Execution::start(job, cut_po2, cycles_max, u64::MAX);
        let mut segments = Vec::new();
        while let Some(segment) = execution.next().unwrap() {
            segments.push(segment);
        }
        segments
    }

    #[test]
    fn cuts_do_not_change_the_number_of_cycles() {
        let job = Job::counting(40_000);
        let cycles = |segments: &[Segment]| segments.iter().map(|s| u64::from(s.suspend_cycle)).sum::<u64>();
        let (small, large) = (segments(&job, 15, u64::MAX), segments(&job, 18, u64::MAX));
        assert!(
            small.len() > large.len() && large.len() == 1,
            "{} {}",
            small.len(),
            large.len()
        );
        assert_eq!(cycles(&small), cycles(&large));
        let again = segments(&job, 15, u64::MAX);
        assert!(
            small
                .iter()
                .zip(&again)
                .all(|(one, other)| one.claim == other.claim)
        );
    }

    #[test]
    fn an_execution_that_is_too_long_does_not_end_the_program() {
        let all = segments(&Job::counting(40_000), 16, 10_000);
        assert!(all.last().unwrap().claim.terminate_state.is_none());
    }

    #[test]
    fn an_execution_stops_where_nobody_goes_on() {
        let mut execution = Execution::start(&Job::counting(0), 15, u64::MAX, u64::MAX);
        assert!(execution.next().unwrap().is_some());
        drop(execution);
    }

    /// An execution that takes longer than it may.
    fn slow() -> Execution {
        // Its first cut is far.
        let mut execution = Execution::start(&Job::counting(100_000_000), 22, u64::MAX, u64::MAX);
        execution.watch.allowed = std::time::Duration::from_nanos(1);
        execution.give_up = |reason| panic!("{reason}");
        execution
    }

    #[test]
    #[should_panic(expected = "0.0 s are allowed for as many cuts")]
    fn an_execution_that_comes_to_no_cut_is_given_up() {
        let _ = slow().next();
    }

    #[test]
    #[should_panic(expected = "0.0 s are allowed for as many cuts")]
    fn an_execution_that_does_not_stop_is_given_up() {
        drop(slow());
    }

    #[test]
    fn a_long_instruction_needs_the_next_size() {
        for (po2, needed) in [(15, 17), (16, 17), (17, 18), (21, 22)] {
            let job = Job::counting(0);
            let execution = Execution::start(&job, po2, u64::MAX, u64::MAX);
            let held = job.held_bytes();
            let budget = memory::segment_bytes(po2) + held;
            let needed = memory::segment_bytes(needed) + held;
            let error = execution.failed(Stopped::LongInstruction, budget);
            assert_eq!(error, ExecuteError::BudgetTooSmall { budget, needed });
        }
        let error = Execution::start(&Job::counting(0), 22, u64::MAX, u64::MAX)
            .failed(Stopped::LongInstruction, u64::MAX);
        assert!(error.to_string().contains("2^22 rows"), "{error}");
        assert!(!error.asks_for_memory());
    }

    /// The kernel writes the output in some cycles before the end; some cut comes in between.
    #[test]
    fn a_cut_between_the_output_and_the_end_is_refused() {
        let refused = |steps: u32| {
            let mut execution = Execution::start(&Job::counting(steps), 15, u64::MAX, u64::MAX);
            loop {
                match execution.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(Stopped::CutBeforeEnd(reason)) => return Some(reason),
                    Err(other) => panic!("{other:?}"),
                }
            }
        };
        // From 5,341 steps on, the cut comes before the output.
        let reason = (5_330..5_341).find_map(refused).expect("a cut comes there");
        assert!(reason.contains("between its output and its end"), "{reason}");
    }

    #[test]
    fn forbidden_calls_are_named() {
        for (name, text) in [
            ("SYS_KECCAK", "keccak coprocessor"),
            ("SYS_VERIFY_INTEGRITY", "env::verify"),
            ("SYS_VERIFY_INTEGRITY2", "env::verify"),
            ("SYS_FORK", "SYS_FORK"),
        ] {
            let mut execution =
                Execution::start(&Job::of_elf(&samples::calling(name), b""), 15, u64::MAX, u64::MAX);
            let Err(Stopped::Trapped(reason)) = execution.next() else {
                panic!("{name} is not refused");
            };
            assert!(reason.contains(text), "{name}: {reason}");
        }
    }
}
