//! The end of a proving command: a summary for people, or the JSON document for scripts.

use std::fmt::Write;

use myriad_engine::MemoryBudget;
use myriad_node::{Outcome, Stage};
use serde::Serialize;

use crate::{
    error::Error,
    terminal::{self, BOLD, CYAN, DIM, GREEN, bytes, count, duration, hex0x, plural},
};

/// The JSON document of `demo`, `prove` and `block prove`.
#[derive(Serialize)]
pub struct ProofReport<'a, B> {
    instructions: u64,
    segments: usize,
    /// Nodes of the aggregation tree, without the final proof.
    nodes: usize,
    public_values: String,
    proof: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<String>,
    proof_bytes: usize,
    /// No proof is reported that has not been verified.
    verified: bool,
    verify_ms: f64,
    /// Proofs of an earlier run that were used again.
    reused: usize,
    wall_s: f64,
    /// Whether that was within the deadline, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_time: Option<bool>,
    peak_memory_bytes: u64,
    stages: Vec<StageReport<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<B>,
}

#[derive(Serialize)]
struct StageReport<'a> {
    name: &'a str,
    tasks: usize,
    wall_s: f64,
    cpu_s: f64,
    peak_memory_bytes: u64,
}

/// The parts of a summary beside the outcome.
pub struct Context<'a, B> {
    pub json: bool,
    /// The title of the job, in a line.
    pub title: &'a str,
    pub memory: MemoryBudget,
    /// The command that verifies the proof.
    pub verify: &'a str,
    /// The facts about the block, for the JSON document.
    pub block: Option<B>,
}

/// Prints the result of a run.
///
/// # Errors
/// [`Error::Stdout`]
pub fn proof<B: Serialize>(outcome: &Outcome, context: Context<'_, B>) -> Result<(), Error> {
    let printed = if context.json {
        terminal::print_json(&document(outcome, context.block))
    } else {
        terminal::print(&summary(outcome, &context))
    };
    printed.map_err(Error::Stdout)
}

/// What a document says of a proof.
pub fn document<B>(outcome: &Outcome, block: Option<B>) -> ProofReport<'_, B> {
    ProofReport {
        instructions: outcome.instructions,
        segments: outcome.segments,
        nodes: outcome.nodes,
        public_values: hex0x(&outcome.public_values),
        proof: outcome.proof_path.display().to_string(),
        baseline: outcome
            .baseline_path
            .as_ref()
            .map(|path| path.display().to_string()),
        proof_bytes: outcome.proof_bytes,
        verified: true,
        verify_ms: outcome.verify.as_secs_f64() * 1e3,
        reused: outcome.reused,
        wall_s: outcome.wall.as_secs_f64(),
        in_time: outcome.in_time,
        peak_memory_bytes: outcome.peak_bytes,
        stages: outcome.stages.iter().map(StageReport::from).collect(),
        block,
    }
}

impl<'a> From<&'a Stage> for StageReport<'a> {
    fn from(stage: &'a Stage) -> Self {
        Self {
            name: stage.name,
            tasks: stage.tasks,
            wall_s: stage.wall.as_secs_f64(),
            cpu_s: stage.cpu.as_secs_f64(),
            peak_memory_bytes: stage.peak_bytes,
        }
    }
}

fn summary<B>(outcome: &Outcome, context: &Context<'_, B>) -> String {
    let mut rows = Rows::new(&format!("{}: proven and verified", context.title));
    rows.row(
        "instructions",
        &format!(
            "{} in {}",
            count(outcome.instructions),
            plural(outcome.segments, "segment")
        ),
    );
    rows.row("public values", &hex0x(&outcome.public_values));
    let size = bytes(outcome.proof_bytes as u64);
    let verify = duration(outcome.verify);
    rows.row(
        "proof",
        &format!(
            "{}  {DIM}{size}, verified in {verify}{DIM:#}",
            outcome.proof_path.display()
        ),
    );
    if let Some(path) = &outcome.baseline_path {
        rows.row("baseline", &path.display().to_string());
    }
    let judged = match outcome.in_time {
        Some(true) => ", within the deadline",
        Some(false) => ", later than the deadline",
        None => "",
    };
    rows.row("time", &format!("{}{judged}", duration(outcome.wall)));
    if outcome.reused > 0 {
        rows.row(
            "reused",
            &format!("{} from an earlier run", plural(outcome.reused, "proof")),
        );
    }
    let peak = bytes(outcome.peak_bytes);
    rows.row(
        "memory",
        &format!("{peak} at the peak of any child, {} allowed", context.memory),
    );
    let mut text = rows.text();
    text.push('\n');
    text.push_str(&stage_table(&outcome.stages));
    let _ = writeln!(
        text,
        "\n  Verify it anywhere:\n  {CYAN}{}{CYAN:#}",
        context.verify
    );
    text
}

/// The cost of each stage, one to a line.
fn stage_table(stages: &[Stage]) -> String {
    let mut text = String::new();
    let head = ("stage", "tasks", "time", "CPU time", "peak memory");
    let _ = writeln!(
        text,
        "  {DIM}{:20} {:>6} {:>14} {:>14} {:>13}{DIM:#}",
        head.0, head.1, head.2, head.3, head.4
    );
    for stage in stages {
        let (wall, cpu) = (duration(stage.wall), duration(stage.cpu));
        let peak = bytes(stage.peak_bytes);
        let _ = writeln!(
            text,
            "  {:20} {:>6} {wall:>14} {cpu:>14} {peak:>13}",
            stage.name, stage.tasks
        );
    }
    text
}

/// Named values below a title, aligned.
pub struct Rows {
    text: String,
}

impl Rows {
    /// Begins with a title with a tick: all is well.
    pub fn new(title: &str) -> Self {
        Self {
            text: format!("{GREEN}✓{GREEN:#} {BOLD}{title}{BOLD:#}\n\n"),
        }
    }

    /// Begins with a title that says nothing of good or bad.
    pub fn plain(title: &str) -> Self {
        Self {
            text: format!("{BOLD}{title}{BOLD:#}\n\n"),
        }
    }

    pub fn row(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "  {DIM}{name:16}{DIM:#} {value}");
    }

    pub fn text(self) -> String {
        self.text
    }

    /// Prints them to stdout.
    ///
    /// # Errors
    /// [`Error::Stdout`]
    pub fn print(self) -> Result<(), Error> {
        terminal::print(&self.text).map_err(Error::Stdout)
    }
}
