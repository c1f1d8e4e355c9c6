//! `myriad serve`, as its page describes it: with a real service, real proofs, and the shell.
//!
//! A target of its own, beside `cli`: it keeps all cores busy for minutes. The page's lines need
//! `curl` and `jq`, and the example Python with `requests`. Where these are missing, the test of
//! them is listed as ignored; if `CI` is set, it fails then.

mod docs;
mod example;
mod serve;

use std::{
    env,
    process::{Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use libtest_mimic::{Arguments, Trial};

/// The programs that the page's lines call.
const TOOLS: [&str; 2] = ["curl", "jq"];

/// One service at a time: two would share the cores, and the limits of time with them.
static ONE: Mutex<()> = Mutex::new(());

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let marked = Trial::test("only_marked_blocks_are_run", || {
        docs::only_marked_blocks_are_run();
        Ok(())
    });
    let tools = TOOLS.into_iter().filter(|tool| !is_there(tool)).collect();
    let python = if example::is_runnable() {
        Vec::new()
    } else {
        vec!["python3", "python3-requests"]
    };
    let trials = vec![
        marked,
        with_service(
            "every_line_of_the_page_does_what_it_says",
            tools,
            docs::every_line_of_the_page_does_what_it_says,
        ),
        with_service(
            "the_example_submits_follows_and_downloads",
            python,
            example::the_example_submits_follows_and_downloads,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that needs programs, of which some may be missing.
fn with_service(name: &'static str, missing: Vec<&'static str>, test: fn()) -> Trial {
    let needs = missing.join(" and ");
    let is_ignored = !missing.is_empty() && env::var_os("CI").is_none();
    let trial = Trial::test(name, {
        let needs = needs.clone();
        move || {
            if !needs.is_empty() {
                return Err(format!("install {needs}: with CI set every test has to run").into());
            }
            // One that has failed has ended its service.
            let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
            let start = Instant::now();
            test();
            println!("\ntest {name} took <{:.3}s>", start.elapsed().as_secs_f64());
            Ok(())
        }
    });
    if is_ignored {
        trial.with_kind(format!("needs {needs}")).with_ignored_flag(true)
    } else {
        trial
    }
}

fn is_there(tool: &str) -> bool {
    let mut command = Command::new(tool);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
