//! The tables of a profile for people.

use std::{fmt::Write, time::Duration};

use myriad_cost::profile::{Measured, Program};

use super::{ProgramAccuracy, Report};
use crate::{
    report::Rows,
    terminal::{BOLD, DIM, bytes, count, duration},
};

pub fn text(report: &Report<'_>) -> String {
    let profile = report.profile;
    let mut rows = Rows::new(&profile.name);
    rows.row("profile", &report.path.display().to_string());
    for plot in &report.plots {
        rows.row("plot", &plot.display().to_string());
    }
    let rate = |per_s: f64| format!("{} a second", bytes(per_s as u64));
    rows.row("hashing", &rate(profile.hash_bytes_per_s));
    rows.row(
        "disk",
        &format!(
            "{} written, {} read",
            rate(profile.disk.write_bytes_per_s),
            rate(profile.disk.read_bytes_per_s)
        ),
    );
    let mut text = rows.text();
    for (program, accuracy) in profile.programs.iter().zip(&report.accuracy) {
        of_program(&mut text, program, accuracy);
    }
    text
}

// Writing to a text does not fail.
fn of_program(text: &mut String, program: &Program, accuracy: &ProgramAccuracy) {
    let _ = writeln!(text, "\n{BOLD}{}{BOLD:#}\n", program.name);
    let _ = writeln!(
        text,
        "  executes {} instructions a second, {} with metering; a boundary takes {}\n",
        count(program.execute_instructions_per_s as u64),
        count(program.meter_instructions_per_s as u64),
        seconds(program.boundary_s)
    );
    let _ = writeln!(
        text,
        "  {DIM}{:>10} {:>10} {:>20} {:>12}{DIM:#}",
        "budget", "segments", "mean instructions", "expected"
    );
    for cut in &program.cuts {
        let _ = writeln!(
            text,
            "  {:>10} {:>10} {:>20} {:>12}",
            bytes(cut.budget_bytes),
            cut.segments,
            count(cut.instructions as u64),
            bytes(cut.peak_bytes)
        );
    }
    let _ = writeln!(
        text,
        "\n  {DIM}{:34} {:>7} {:>12} {:>11} {:>10} {:>10} {:>10} {:>8}{DIM:#}",
        "task", "threads", "instructions", "peak", "time", "CPU time", "proof", "verify"
    );
    for sample in &program.segments {
        let name = format!("segment for {}", bytes(sample.budget_bytes));
        task(text, &name, &count(sample.instructions), &sample.measured);
    }
    for node in &program.nodes {
        let name = format!("{} of {}", node.stage.name(), node.children);
        task(text, &name, "", &node.measured);
    }
    let _ = match &accuracy.accuracy {
        Some(found) => writeln!(
            text,
            "\n  A model of the other budgets is off by {:.1} % of a held-out segment's time and {:.1} % of its memory, on \
             average of {}\n  ({:.1} % and {:.1} % at most).",
            100.0 * found.wall_mean,
            100.0 * found.peak_mean,
            found.segments,
            100.0 * found.wall_max,
            100.0 * found.peak_max,
        ),
        None => writeln!(text, "\n  {DIM}too few budgets to hold one out{DIM:#}"),
    };
}

fn task(text: &mut String, name: &str, instructions: &str, measured: &Measured) {
    let cold = if measured.cold { ", keys not loaded" } else { "" };
    let _ = writeln!(
        text,
        "  {:34} {:>7} {instructions:>12} {:>11} {:>10} {:>10} {:>10} {:>8}",
        format!("{name}{cold}"),
        measured.threads,
        bytes(measured.peak_bytes),
        seconds(measured.wall_s),
        seconds(measured.cpu_s),
        bytes(measured.proof_bytes),
        seconds(measured.verify_s),
    );
}

fn seconds(seconds: f64) -> String {
    duration(Duration::from_secs_f64(seconds))
}
