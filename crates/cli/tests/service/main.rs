//! `myriad serve`, as its page describes it: with a real service, real proofs, and the shell.
//!
//! A target of its own, beside `cli`: it keeps all cores busy for minutes. The page's lines need
//! `curl` and `jq`. Where these are missing, the test of them is listed as ignored; if `CI` is set,
//! it fails then.

mod docs;
mod serve;

use std::{
    env,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use libtest_mimic::{Arguments, Trial};

/// The programs that the page's lines call.
const TOOLS: [&str; 2] = ["curl", "jq"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let marked = Trial::test("only_marked_blocks_are_run", || {
        docs::only_marked_blocks_are_run();
        Ok(())
    });
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| !is_there(tool)).collect();
    let lines = Trial::test("every_line_of_the_page_does_what_it_says", {
        let missing = missing.clone();
        move || {
            if !missing.is_empty() {
                return Err(format!("install {}: with CI set every test has to run", missing.join(" and ")).into());
            }
            let start = Instant::now();
            docs::every_line_of_the_page_does_what_it_says();
            println!(
                "\ntest every_line_of_the_page_does_what_it_says took <{:.3}s>",
                start.elapsed().as_secs_f64()
            );
            Ok(())
        }
    });
    let is_ignored = !missing.is_empty() && env::var_os("CI").is_none();
    let lines = if is_ignored {
        lines
            .with_kind(format!("needs {}", missing.join(" and ")))
            .with_ignored_flag(true)
    } else {
        lines
    };
    libtest_mimic::run(&arguments, vec![marked, lines]).exit_code()
}

fn is_there(tool: &str) -> bool {
    let mut command = Command::new(tool);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
