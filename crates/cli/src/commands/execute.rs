//! `myriad execute`: runs a program without proving it.

use myriad_engine::Segment;
use serde::Serialize;

use crate::{
    args::Execute,
    engines::Signs,
    error::Error,
    execution,
    files::{self, ProgramFile},
    report::Rows,
    settings::Settings,
    terminal::{self, BOLD, DIM, bytes, count, duration, hex0x, plural},
};

/// Segments that the summary for people lists; the JSON document has all of them.
const SEGMENTS_SHOWN_MAX: usize = 16;

#[derive(Serialize)]
struct Report {
    instructions: u64,
    public_values: String,
    segments: Vec<SegmentReport>,
    /// The memory to prove the largest segment.
    peak_memory_bytes: u64,
    memory_budget_bytes: u64,
    wall_s: f64,
}

#[derive(Serialize)]
struct SegmentReport {
    instret_start: u64,
    num_insns: u64,
    peak_bytes: u64,
}

pub fn run(args: &Execute) -> Result<(), Error> {
    let settings = Settings::load(&args.run)?;
    let signs = Signs {
        named: args.engine,
        proof: None,
    };
    let program = ProgramFile::read(&args.program, args.config.as_deref(), signs)?;
    let input = files::read_input(&args.input)?;
    let (plan, usage) = execution::plan(&program, input, &settings)?;
    if args.run.data.json {
        let report = Report {
            instructions: plan.instructions,
            public_values: hex0x(&plan.public_values),
            segments: plan.segments.iter().map(SegmentReport::from).collect(),
            peak_memory_bytes: plan.peak_bytes(),
            memory_budget_bytes: settings.memory.bytes(),
            wall_s: usage.wall.as_secs_f64(),
        };
        return terminal::print_json(&report).map_err(Error::Stdout);
    }
    let mut rows = Rows::new(&format!("{}: executed", program.name));
    rows.row("instructions", &count(plan.instructions));
    rows.row("public values", &hex0x(&plan.public_values));
    rows.row(
        "segments",
        &format!("{} for {} per child", plan.segments.len(), settings.memory),
    );
    rows.row("time", &duration(usage.wall));
    let table = segment_table(&plan.segments);
    terminal::print(&format!("{}\n{table}", rows.text())).map_err(Error::Stdout)
}

fn segment_table(segments: &[Segment]) -> String {
    let mut text = format!(
        "  {DIM}{:>8} {:>18} {:>18} {:>14}{DIM:#}\n",
        "segment", "from instruction", "instructions", "peak memory"
    );
    for segment in segments.iter().take(SEGMENTS_SHOWN_MAX) {
        text += &format!(
            "  {BOLD}{:>8}{BOLD:#} {:>18} {:>18} {:>14}\n",
            segment.index,
            count(segment.instret_start),
            count(segment.num_insns),
            bytes(segment.peak_bytes)
        );
    }
    if let Some(more @ 1..) = segments.len().checked_sub(SEGMENTS_SHOWN_MAX) {
        text += &format!(
            "  {DIM}and {} more; --json lists all{DIM:#}\n",
            plural(more, "segment")
        );
    }
    text
}

impl From<&Segment> for SegmentReport {
    fn from(segment: &Segment) -> Self {
        Self {
            instret_start: segment.instret_start,
            num_insns: segment.num_insns,
            peak_bytes: segment.peak_bytes,
        }
    }
}
