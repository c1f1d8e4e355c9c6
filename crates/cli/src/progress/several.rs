//! The display of several jobs that are proven side by side. On a terminal:
//!
//! ```text
//! ✓ block-7      proven and verified, in 41 s
//! ⠼ block-8      ━━━━━━━━━━━━╸───────────  14/20 tasks of 12 segments
//! ⠼ block-9      running the program
//!   block-10     waits for its turn
//!   prover 1     block-8: leaf (level 1) node 0 · 3.1 s
//!   prover 2     block-9: segment 0 · 1.2 s
//!                2 min 03 s so far · 3 peers, 1.0 MiB in, 2.0 MiB out
//! ```
//!
//! How long a job will take is not said: that depends on the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use myriad_core::TaskId;
use myriad_node::Event;

use super::{plain::Plain, prover_lines::ProverLines, spinner::TICK, styles::template};
use crate::terminal::{BOLD, DIM, GREEN, RED, YELLOW, bytes, duration, for_stderr, plural};

/// The width of the names of jobs and provers, in characters.
const NAME_WIDTH: usize = 12;

/// Shows the events of several jobs, each by its place among them.
pub struct Several {
    view: View,
    /// The provers that are known: each job hears of each of them.
    provers: BTreeMap<usize, String>,
    /// The notices to all that were shown: each job tells them.
    noticed: BTreeSet<u64>,
}

enum View {
    Lines(Box<Lines>),
    Plain(Vec<Plain>),
    Silent,
}

impl Several {
    /// The display that fits stderr, for jobs of these names.
    pub fn new(json: bool, names: &[String]) -> Self {
        let view = if io::stderr().is_terminal() {
            View::Lines(Box::new(Lines::new(names)))
        } else if json {
            View::Silent
        } else {
            let start = Instant::now();
            View::Plain(names.iter().map(|name| Plain::of(name, start)).collect())
        };
        Self {
            view,
            provers: BTreeMap::new(),
            noticed: BTreeSet::new(),
        }
    }

    /// Takes the display off the screen, from another thread too.
    pub fn clearer(&self) -> Box<dyn Fn() + Send> {
        match &self.view {
            View::Lines(lines) => lines.clearer(),
            View::Plain(_) | View::Silent => Box::new(|| {}),
        }
    }

    /// Shows an event of a job.
    pub fn event(&mut self, job: usize, event: &Event) {
        if self.is_known(event) {
            return;
        }
        match &mut self.view {
            View::Lines(lines) => lines.event(job, event),
            View::Plain(jobs) => jobs[job].event(event),
            View::Silent => {}
        }
    }

    /// Shows that a job has ended: with its proof after so long, or with an error.
    pub fn ended(&mut self, job: usize, ended: Result<Duration, &str>) {
        match &mut self.view {
            View::Lines(lines) => lines.ended(job, ended),
            View::Plain(jobs) => jobs[job].ended(ended),
            View::Silent => {}
        }
    }

    /// Whether another job has told the same of all of them.
    fn is_known(&mut self, event: &Event) -> bool {
        match event {
            Event::Joined { prover, name, .. } => {
                let before = self.provers.insert(*prover, name.clone());
                before.is_some_and(|before| before == *name)
            }
            Event::Left { prover } => self.provers.remove(prover).is_none(),
            Event::NoticeToAll { number, .. } => !self.noticed.insert(*number),
            _ => false,
        }
    }
}

/// The lines on a terminal.
struct Lines {
    screen: MultiProgress,
    jobs: Vec<Job>,
    provers: ProverLines,
    /// The job and the task that each prover works on.
    at: BTreeMap<usize, (usize, TaskId)>,
    footer: ProgressBar,
}

struct Job {
    name: String,
    line: ProgressBar,
    count: Count,
}

/// The tasks of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    segments: usize,
    /// The nodes and the final proof; none before the plan is there.
    nodes: Option<usize>,
    done: usize,
    /// Proofs that an earlier run has left.
    reused: usize,
}

impl Count {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Cut { segments, reused, .. } => (self.segments, self.reused) = (*segments, *reused),
            Event::Planned {
                segments,
                nodes,
                reused,
                ..
            } => (self.segments, self.nodes, self.reused) = (*segments, Some(nodes + 1), *reused),
            Event::Done { .. } => self.done += 1,
            Event::Reopened { .. } => self.done = self.done.saturating_sub(1),
            _ => {}
        }
    }

    fn all(&self) -> usize {
        self.segments + self.nodes.unwrap_or_default()
    }

    fn done(&self) -> usize {
        (self.done + self.reused).min(self.all())
    }

    fn text(&self) -> String {
        let (done, all, segments) = (self.done(), self.all(), plural(self.segments, "segment"));
        match self.nodes {
            Some(_) => format!("{done}/{all} tasks of {segments}"),
            None => format!("{done}/{all} segments, and running the program"),
        }
    }
}

impl Lines {
    fn new(names: &[String]) -> Self {
        let screen = MultiProgress::new();
        let start = Instant::now();
        let line = |name: &String| {
            let line = screen.add(ProgressBar::new_spinner().with_style(waiting_style()));
            line.set_prefix(name.clone());
            line.set_message("begins");
            line.tick();
            Job {
                name: name.clone(),
                line,
                count: Count::default(),
            }
        };
        let jobs = names.iter().map(line).collect();
        let footer = screen.add(ProgressBar::new_spinner().with_style(footer_style(start)));
        footer.enable_steady_tick(TICK);
        Self {
            provers: ProverLines::above(&footer, &screen, NAME_WIDTH),
            at: BTreeMap::new(),
            screen,
            jobs,
            footer,
        }
    }

    fn clearer(&self) -> Box<dyn Fn() + Send> {
        let screen = self.screen.clone();
        Box::new(move || {
            // Lines that stay on the screen do no harm.
            let _ = screen.clear();
        })
    }

    fn event(&mut self, index: usize, event: &Event) {
        let job = &mut self.jobs[index];
        job.count.event(event);
        match event {
            Event::Queued => job.says("waits for its turn"),
            Event::Preparing => job.works("reading keys, or making them on the first run"),
            Event::Planning => job.works("running the program"),
            Event::Cut { provers, .. } | Event::Planned { provers, .. } => {
                job.counts();
                self.provers.ensure(*provers);
            }
            Event::Done { prover, task, .. } => {
                job.counts();
                self.leaves(*prover, (index, *task));
            }
            Event::Idle { prover, task } => self.leaves(*prover, (index, *task)),
            Event::Started { prover, task } => self.starts(*prover, (index, *task)),
            Event::Joined { prover, name, .. } => {
                self.at.remove(prover);
                self.provers.joined(*prover, name);
            }
            Event::Left { prover } => {
                self.at.remove(prover);
                self.provers.rest(*prover, "gone");
            }
            Event::Traffic {
                peers,
                bytes_in,
                bytes_out,
            } => self.footer.set_message(format!(
                "{}, {} in, {} out",
                plural(*peers, "peer"),
                bytes(*bytes_in),
                bytes(*bytes_out)
            )),
            Event::Notice { text } => self.warn_of(index, text),
            Event::NoticeToAll { text, .. } => self.warn(text),
            Event::Retrying { task, reason } => self.warn_of(index, &format!("{task} again: {reason}")),
            Event::Reopened { task, reason } => {
                job.counts();
                self.warn_of(index, &format!("{task} anew: {reason}"));
            }
            Event::KeysReady { .. } | Event::Finished => {}
        }
    }

    fn ended(&mut self, index: usize, ended: Result<Duration, &str>) {
        self.at.retain(|prover, (job, _)| {
            if *job == index {
                self.provers.rest(*prover, "idle");
            }
            *job != index
        });
        let job = &self.jobs[index];
        job.line.finish_and_clear();
        let name = &job.name;
        self.line(&match ended {
            Ok(took) => format!(
                "{GREEN}✓{GREEN:#} {BOLD}{name:12}{BOLD:#} proven and verified{DIM}, in {}{DIM:#}",
                duration(took)
            ),
            Err(error) => format!("{RED}✗{RED:#} {BOLD}{name:12}{BOLD:#} {error}"),
        });
        if self.jobs.iter().all(|job| job.line.is_finished()) {
            self.provers.clear();
            self.footer.finish_and_clear();
        }
    }

    fn starts(&mut self, prover: usize, at: (usize, TaskId)) {
        self.at.insert(prover, at);
        self.provers
            .start(prover, format!("{}: {}", self.jobs[at.0].name, at.1));
    }

    /// A prover has left this task, and may be at another one already.
    fn leaves(&mut self, prover: usize, at: (usize, TaskId)) {
        if self.at.get(&prover) == Some(&at) {
            self.at.remove(&prover);
            self.provers.rest(prover, "idle");
        }
    }

    fn warn_of(&self, job: usize, text: &str) {
        self.warn(&format!("{}: {text}", self.jobs[job].name));
    }

    fn warn(&self, text: &str) {
        self.line(&format!("{YELLOW}!{YELLOW:#} {text}"));
    }

    fn line(&self, text: &str) {
        // The display is no reason to stop.
        let _ = self.screen.println(for_stderr(text));
    }
}

impl Job {
    fn says(&self, text: &'static str) {
        self.line.set_style(waiting_style());
        self.line.set_message(text);
    }

    fn works(&self, text: &'static str) {
        self.line.set_style(phase_style());
        self.line.set_message(text);
        self.line.enable_steady_tick(TICK);
    }

    fn counts(&self) {
        self.line.set_style(bar_style());
        self.line.set_length(self.count.all() as u64);
        self.line.set_position(self.count.done() as u64);
        self.line.set_message(self.count.text());
    }
}

fn waiting_style() -> ProgressStyle {
    template("  {prefix:12.dim} {msg:.dim}")
}

fn phase_style() -> ProgressStyle {
    template("{spinner:.cyan} {prefix:12.bold} {msg}")
}

fn bar_style() -> ProgressStyle {
    template("{spinner:.cyan} {prefix:12.bold} {bar:24.green/dim}  {msg}").progress_chars("━╸─")
}

fn footer_style(start: Instant) -> ProgressStyle {
    template("               {so_far} · {wide_msg:.dim}").with_key(
        "so_far",
        move |_: &ProgressState, out: &mut dyn Write| {
            let _ = write!(out, "{} so far", duration(start.elapsed()));
        },
    )
}

#[cfg(test)]
mod tests {
    use myriad_core::{Arities, Peer};
    use myriad_engine::worker::Usage;

    use super::*;

    fn silent() -> Several {
        Several {
            view: View::Silent,
            provers: BTreeMap::new(),
            noticed: BTreeSet::new(),
        }
    }

    #[test]
    fn what_all_jobs_tell_is_shown_once() {
        let mut several = silent();
        let joined = |name: &str| Event::Joined {
            prover: 0,
            peer: Peer([0; 32]),
            name: name.into(),
        };
        let text = || "suspended".to_owned();
        let to_all = |number| Event::NoticeToAll { number, text: text() };
        let missed = Event::Notice { text: text() };
        let left = Event::Left { prover: 0 };
        let mut shown = |event: &Event| !several.is_known(event);
        assert!(shown(&joined("a")) && !shown(&joined("a")));
        assert!(shown(&left) && !shown(&left));
        assert!(shown(&joined("b")) && shown(&joined("c")), "others at its place");
        assert!(shown(&to_all(1)) && !shown(&to_all(1)));
        assert!(shown(&to_all(0)), "a job that was busy tells it late");
        assert!(shown(&to_all(2)), "once more");
        assert!(shown(&missed) && shown(&missed), "each job has a deadline");
    }

    #[test]
    fn tasks_are_counted_as_they_are_known() {
        let mut count = Count::default();
        let cut = |segments| Event::Cut {
            segments,
            provers: 2,
            reused: 1,
            kept: Vec::new(),
        };
        let done = |task| Event::Done {
            prover: 0,
            task,
            usage: Usage::default(),
            proof_bytes: 1,
        };
        count.event(&cut(4));
        count.event(&done(TaskId::Segment(2)));
        assert_eq!(count.text(), "2/4 segments, and running the program");
        count.event(&Event::Planned {
            instructions: 1,
            segments: 6,
            nodes: 3,
            arities: Arities {
                leaf: 4,
                internal_for_leaf: 3,
                internal_recursive: 3,
            },
            provers: 2,
            reused: 2,
            kept: Vec::new(),
            public_values: Vec::new(),
        });
        assert_eq!(count.text(), "3/10 tasks of 6 segments");
        let reason = String::new();
        count.event(&Event::Reopened {
            task: TaskId::Segment(2),
            reason,
        });
        assert_eq!(count.text(), "2/10 tasks of 6 segments");
        count.event(&done(TaskId::Final));
        assert_eq!((count.done(), count.all()), (3, 10));
    }
}
