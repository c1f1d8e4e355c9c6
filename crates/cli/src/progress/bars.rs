//! The display on a terminal:
//!
//! ```text
//! ✓ Keys       ready, in 84 ms
//! ✓ Execution  2,000,123 instructions in 7 segments, in 1.2 s
//! ⠼ Segments   ━━━━━━━━━━━━━━━━╸──────────────────  3/7
//! ⠼ Tree       ━━━━━━╸────────────────────────────  1/5
//!   prover 1   segment 4 · 12.3 s
//!   prover 2   leaf (level 1) node 0 · 3.1 s
//!              about 1 min 20 s left · 2 min 03 s so far · peak 3.12 GiB of 4.00 GiB per prover
//! ```

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use myriad_core::TaskId;
use myriad_engine::MemoryBudget;
use myriad_node::Event;

use super::{
    estimate::{Estimate, Kind},
    prover_lines::ProverLines,
    spinner::TICK,
    styles::{template, took},
};
use crate::terminal::{BOLD, DIM, GREEN, YELLOW, bytes, count, duration, for_stderr, plural};

/// The width of the names of phases and provers, in characters.
const NAME_WIDTH: usize = 10;

pub(super) struct Bars {
    screen: MultiProgress,
    memory: MemoryBudget,
    start: Instant,
    /// The start of the present phase: the phase before there are bars, then the proving.
    since: Instant,
    phase: ProgressBar,
    work: Option<Work>,
}

/// The lines while tasks are under way.
struct Work {
    estimate: Estimate,
    segments: ProgressBar,
    tree: ProgressBar,
    provers: ProverLines,
    footer: ProgressBar,
    /// When the work will be done, read whenever the footer is drawn.
    end: Arc<Mutex<Option<Instant>>>,
    memory: MemoryBudget,
    peak_bytes: u64,
    /// The state of the network, for the footer.
    network: String,
}

impl Bars {
    pub(super) fn new(memory: MemoryBudget) -> Self {
        let screen = MultiProgress::new();
        let phase = screen.add(ProgressBar::new_spinner().with_style(phase_style()));
        let now = Instant::now();
        Self {
            screen,
            memory,
            start: now,
            since: now,
            phase,
            work: None,
        }
    }

    pub(super) fn clearer(&self) -> Box<dyn Fn() + Send> {
        let screen = self.screen.clone();
        Box::new(move || {
            // Lines that stay on the screen do no harm.
            let _ = screen.clear();
        })
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Preparing => self.begin("Keys", "reading, or making them on the first run"),
            Event::KeysReady { made } => {
                self.done("Keys", if made.is_some() { "made" } else { "ready" });
            }
            Event::Queued => self.begin("Waiting", "for its turn"),
            Event::Planning => {
                self.begin("Execution", "running the program, to cut it into segments");
            }
            Event::Cut {
                segments,
                provers,
                reused,
                ..
            } => self.cut(*segments, *provers, *reused),
            Event::Planned {
                instructions,
                segments,
                nodes,
                provers,
                reused,
                ..
            } => {
                let (instructions, pieces) = (count(*instructions), plural(*segments, "segment"));
                self.done("Execution", &format!("{instructions} instructions in {pieces}"));
                if *reused > 0 {
                    self.mark(
                        "Reused",
                        &format!("{} from an earlier run", plural(*reused, "proof")),
                    );
                }
                self.phase.finish_and_clear();
                // All of them, and the final proof.
                if *reused == segments + nodes + 1 {
                    return;
                }
                self.planned(*segments, *nodes, *provers, *reused);
            }
            Event::Joined { prover, name, .. } => self.work(|work| work.joined(*prover, name)),
            Event::Left { prover } => self.work(|work| work.left(*prover)),
            Event::Idle { prover, task } => self.work(|work| work.stopped(*prover, *task)),
            Event::Traffic {
                peers,
                bytes_in,
                bytes_out,
            } => self.work(|work| work.traffic(*peers, *bytes_in, *bytes_out)),
            Event::Notice { text } | Event::NoticeToAll { text, .. } => {
                self.line(&format!("{YELLOW}!{YELLOW:#} {text}"));
            }
            Event::Started { prover, task } => self.work(|work| work.started(*prover, *task)),
            Event::Done {
                prover, task, usage, ..
            } => self.work(|work| work.done(*prover, *task, usage.wall, usage.peak_bytes)),
            Event::Reopened { task, reason } => {
                self.work(|work| work.reopened(*task));
                self.warn("Proving", &format!("{task} anew: {reason}"));
            }
            Event::Retrying { task, reason } => self.warn("Retrying", &format!("{task} again: {reason}")),
            Event::Finished => {
                if let Some(work) = self.work.take() {
                    work.clear();
                }
                self.done("Proof", "aggregated and verified");
                self.line("");
            }
        }
    }

    /// The first segments are known, and more will be.
    fn cut(&mut self, segments: usize, provers: usize, reused: usize) {
        self.phase.set_message(format!(
            "running the program; {} so far",
            plural(segments, "segment")
        ));
        match &mut self.work {
            Some(work) => work.grow(segments, None, reused),
            None => self.begin_work(Estimate::growing(segments, provers, reused), provers),
        }
    }

    /// All of the work is known.
    fn planned(&mut self, segments: usize, nodes: usize, provers: usize, reused: usize) {
        match &mut self.work {
            Some(work) => work.grow(segments, Some(nodes), reused),
            None => self.begin_work(Estimate::planned(segments, nodes, provers, reused), provers),
        }
    }

    fn begin_work(&mut self, estimate: Estimate, provers: usize) {
        self.work = Some(Work::new(
            &self.screen,
            estimate,
            provers,
            self.start,
            self.memory,
        ));
    }

    /// Changes the lines of the work, if there are any yet.
    fn work(&mut self, update: impl FnOnce(&mut Work)) {
        if let Some(work) = &mut self.work {
            update(work);
        }
    }

    fn begin(&mut self, name: &'static str, text: &'static str) {
        self.since = Instant::now();
        self.phase.set_prefix(name);
        self.phase.set_message(text);
        self.phase.reset_elapsed();
        self.phase.enable_steady_tick(TICK);
    }

    /// A line that stays, for a phase that is over and took its time.
    fn done(&mut self, name: &str, text: &str) {
        let took = duration(self.since.elapsed());
        self.since = Instant::now();
        self.mark(name, &format!("{text}{DIM}, in {took}{DIM:#}"));
    }

    fn mark(&self, name: &str, text: &str) {
        self.line(&format!("{GREEN}✓{GREEN:#} {BOLD}{name:10}{BOLD:#} {text}"));
    }

    fn warn(&self, name: &str, text: &str) {
        self.line(&format!("{YELLOW}!{YELLOW:#} {BOLD}{name:10}{BOLD:#} {text}"));
    }

    fn line(&self, text: &str) {
        // The display is no reason to stop.
        let _ = self.screen.println(for_stderr(text));
    }
}

impl Work {
    fn new(
        screen: &MultiProgress,
        estimate: Estimate,
        provers: usize,
        start: Instant,
        memory: MemoryBudget,
    ) -> Self {
        let bar = |name: &'static str, kind: &Kind| {
            // Added first: a bar that is not on the screen draws itself elsewhere.
            let bar = screen.add(ProgressBar::new(kind.total as u64));
            bar.set_style(bar_style());
            bar.set_prefix(name);
            bar.set_position(kind.done as u64);
            bar.enable_steady_tick(TICK);
            bar
        };
        let segments = bar("Segments", estimate.segments());
        let tree = bar("Tree", estimate.nodes());
        let end = Arc::new(Mutex::new(None));
        let footer = screen.add(ProgressBar::new_spinner().with_style(footer_style(end.clone(), start)));
        footer.set_message(format!("at most {memory} per prover"));
        footer.enable_steady_tick(TICK);
        let mut work = Self {
            estimate,
            segments,
            tree,
            provers: ProverLines::above(&footer, screen, NAME_WIDTH),
            footer,
            end,
            memory,
            peak_bytes: 0,
            network: String::new(),
        };
        work.provers.ensure(provers);
        work
    }

    fn joined(&mut self, prover: usize, name: &str) {
        self.provers.joined(prover, name);
    }

    fn left(&mut self, prover: usize) {
        self.estimate.left_by(prover);
        self.provers.rest(prover, "gone");
    }

    fn traffic(&mut self, peers: usize, bytes_in: u64, bytes_out: u64) {
        self.network = format!(
            " · {}, {} in, {} out",
            plural(peers, "peer"),
            bytes(bytes_in),
            bytes(bytes_out)
        );
        self.show_footer();
    }

    fn show_footer(&self) {
        let peak = match self.peak_bytes {
            0 => format!("at most {} per prover", self.memory),
            peak => format!("peak {} of {} per prover", bytes(peak), self.memory),
        };
        self.footer.set_message(format!("{peak}{}", self.network));
    }

    /// The prover has left this task.
    fn stopped(&mut self, prover: usize, task: TaskId) {
        if self.estimate.stopped(prover, task) {
            self.provers.rest(prover, "idle");
        }
    }

    fn started(&mut self, prover: usize, task: TaskId) {
        self.estimate.started(prover, task);
        self.provers.start(prover, task.to_string());
    }

    /// More of the work is known.
    fn grow(&mut self, segments: usize, nodes: Option<usize>, reused: usize) {
        self.estimate.grow(segments, nodes, reused);
        let (segments, nodes) = (self.estimate.segments(), self.estimate.nodes());
        self.segments.set_length(segments.total as u64);
        self.segments.set_position(segments.done as u64);
        self.tree.set_length(nodes.total as u64);
        self.tree.set_position(nodes.done as u64);
    }

    fn reopened(&mut self, task: TaskId) {
        self.estimate.reopened(task);
        self.segments.set_position(self.estimate.segments().done as u64);
        self.tree.set_position(self.estimate.nodes().done as u64);
    }

    fn done(&mut self, prover: usize, task: TaskId, wall: Duration, peak_bytes: u64) {
        self.estimate.done(task, wall);
        self.segments.set_position(self.estimate.segments().done as u64);
        self.tree.set_position(self.estimate.nodes().done as u64);
        self.stopped(prover, task);
        self.peak_bytes = self.peak_bytes.max(peak_bytes);
        self.show_footer();
        let end = self.estimate.left().map(|left| Instant::now() + left);
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    fn clear(self) {
        for line in [&self.segments, &self.tree, &self.footer] {
            line.finish_and_clear();
        }
        self.provers.clear();
    }
}

fn phase_style() -> ProgressStyle {
    template("{spinner:.cyan} {prefix:10.bold} {msg} {took:.dim}").with_key("took", took)
}

fn bar_style() -> ProgressStyle {
    template("{spinner:.cyan} {prefix:10.bold} {bar:36.green/dim}  {pos}/{len}").progress_chars("━╸─")
}

fn footer_style(end: Arc<Mutex<Option<Instant>>>, start: Instant) -> ProgressStyle {
    let left = move |_: &ProgressState, out: &mut dyn Write| {
        let end = *end.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => "time left is known after the first proof".into(),
            Some(Duration::ZERO) => "nearly done".into(),
            Some(left) if left.as_secs() < 60 => format!("about {} s left", left.as_secs().max(1)),
            Some(left) => format!("about {} left", duration(left)),
        };
        // Writing to memory does not fail.
        let _ = out.write_str(&text);
    };
    let so_far = move |_: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{} so far", duration(start.elapsed()));
    };
    template("             {left} {dot:.dim} {so_far} {dot:.dim} {wide_msg}")
        .with_key("left", left)
        .with_key("so_far", so_far)
        .with_key("dot", |_: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str("·");
        })
}
