//! One line for each milestone, for logs.

use std::time::{Duration, Instant};

use myriad_core::TaskId;
use myriad_node::Event;

use crate::terminal::{bytes, count, duration, plural};

/// Writes lines to stderr.
pub(super) struct Plain {
    start: Instant,
    /// Begins each line, if there are several jobs.
    name: String,
    segments: usize,
    nodes: usize,
    /// What follows the number of segments while there will be more.
    so_far: &'static str,
    segments_done: usize,
    nodes_done: usize,
}

impl Default for Plain {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            name: String::new(),
            segments: 0,
            nodes: 0,
            so_far: "",
            segments_done: 0,
            nodes_done: 0,
        }
    }
}

impl Plain {
    /// The lines of one of several jobs, which began at `start`.
    pub(super) fn of(name: &str, start: Instant) -> Self {
        Self {
            start,
            name: format!("{name}: "),
            ..Self::default()
        }
    }

    /// One of several jobs has ended.
    pub(super) fn ended(&self, ended: Result<Duration, &str>) {
        match ended {
            Ok(took) => self.line(&format!("done, in {}", duration(took))),
            Err(error) => self.line(&format!("failed: {error}")),
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Preparing => self.line("preparing keys"),
            Event::KeysReady { made: Some(took) } => self.line(&format!("keys made, in {}", duration(*took))),
            Event::KeysReady { made: None } => {}
            Event::Queued => self.line("waiting for its turn"),
            Event::Planning => self.line("executing the program"),
            Event::Cut { segments, .. } => self.cut(*segments),
            Event::Planned {
                instructions,
                segments,
                nodes,
                provers,
                reused,
                ..
            } => {
                (self.segments, self.nodes, self.so_far) = (*segments, *nodes, "");
                self.line(&format!(
                    "{} instructions in {}; {} of the aggregation tree; {}",
                    count(*instructions),
                    plural(*segments, "segment"),
                    plural(*nodes, "node"),
                    plural(*provers, "prover"),
                ));
                if *reused > 0 {
                    self.line(&format!(
                        "used again: {} from an earlier run",
                        plural(*reused, "proof")
                    ));
                }
            }
            Event::Started { .. } | Event::Idle { .. } | Event::Traffic { .. } => {}
            Event::Joined { prover, name, .. } => self.line(&format!("prover {} is {name}", prover + 1)),
            Event::Left { prover } => self.line(&format!("prover {} is gone", prover + 1)),
            Event::Notice { text } => self.line(text),
            Event::NoticeToAll { text, .. } => self.line_of("", text),
            Event::Done { task, usage, .. } => {
                let which = match task {
                    TaskId::Segment(_) => {
                        self.segments_done += 1;
                        let (done, all) = (self.segments_done, self.segments);
                        format!("{task} ({done} of {all}{})", self.so_far)
                    }
                    TaskId::Node(_) => {
                        self.nodes_done += 1;
                        format!("{} ({} of {})", task, self.nodes_done, self.nodes)
                    }
                    TaskId::Final => task.to_string(),
                };
                self.line(&format!(
                    "proven: {which}, in {}, peak {}",
                    duration(usage.wall),
                    bytes(usage.peak_bytes)
                ));
            }
            Event::Reopened { task, reason } => {
                match task {
                    TaskId::Segment(_) => self.segments_done = self.segments_done.saturating_sub(1),
                    TaskId::Node(_) => self.nodes_done = self.nodes_done.saturating_sub(1),
                    TaskId::Final => {}
                }
                self.line(&format!("proving {task} anew: {reason}"));
            }
            Event::Retrying { task, reason } => self.line(&format!("trying {task} again: {reason}")),
            Event::Finished => self.line("the final proof is verified"),
        }
    }

    fn cut(&mut self, segments: usize) {
        if self.segments == 0 {
            self.line(&format!(
                "{} so far, which are given out while the program is being executed",
                plural(segments, "segment")
            ));
        }
        (self.segments, self.so_far) = (segments, " so far");
    }

    fn line(&self, text: &str) {
        self.line_of(&self.name, text);
    }

    fn line_of(&self, name: &str, text: &str) {
        let at = self.start.elapsed().as_secs_f64();
        eprintln!("[{at:>6.1} s] {name}{text}");
    }
}
