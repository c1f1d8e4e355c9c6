//! Processes of `myriad` with real proofs, and everything that can happen to them: [`kills`],
//! provers that hand in real proofs of something else ([`byzantine`]), requesters whose programs
//! are bombs ([`malicious`]), disks that are full or cannot be written ([`disks`]), control groups
//! ([`groups`]), networks of several hosts ([`hosts`]), and the confinement of their children
//! ([`confined`]).
//!
//! One test runs at a time: each has the machine to itself. A test that needs namespaces, or a
//! kernel that confines processes, is listed as ignored, with the reason, if the system gives none;
//! if `CI` is set, it fails then. Control groups depend on how a machine was started, so their test
//! is ignored wherever there are none.

mod byzantine;
mod confined;
mod disks;
mod groups;
mod hosts;
mod kills;
mod malicious;
mod peer;
mod process;
mod twice;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Trial};

use process::{Process, Said, myriad};

/// Longer than any silence of a job that goes on, on a machine that does other work too: a task
/// takes half a minute.
const SILENCE_MAX: Duration = Duration::from_secs(400);
/// The least that may be lent.
const MEMORY: &str = "512MiB";
/// Rounds of the fibonacci guest, about 15 instructions each: two segments at [`MEMORY`].
const ROUNDS: u64 = 70_000;
const LISTEN: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// A node logs these words before the address that it was given.
const LISTENING: &str = "listening on ";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let everywhere = || Ok(());
    let tests = vec![
        trial(
            "nodes_are_killed_and_the_job_is_done_and_nothing_accepted_is_proven_twice",
            everywhere(),
            kills::nodes_are_killed_and_the_job_is_done_and_nothing_accepted_is_proven_twice,
        ),
        trial(
            "a_requester_that_dies_while_its_plan_is_being_made_loses_no_accepted_proof",
            everywhere(),
            kills::a_requester_that_dies_while_its_plan_is_being_made_loses_no_accepted_proof,
        ),
        trial(
            "real_proofs_of_something_else_are_seen_through_and_their_makers_banned",
            everywhere(),
            byzantine::real_proofs_of_something_else_are_seen_through_and_their_makers_banned,
        ),
        trial(
            "engine_children_prove_and_verify_confined",
            confined::possible(),
            confined::engine_children_prove_and_verify_confined,
        ),
        trial(
            "bombs_are_given_back_and_the_next_job_is_done",
            everywhere(),
            malicious::bombs_are_given_back_and_the_next_job_is_done,
        ),
        trial(
            "a_full_disk_is_said_and_what_is_on_it_is_used_again",
            disks::possible(),
            disks::a_full_disk_is_said_and_what_is_on_it_is_used_again,
        ),
        trial(
            "full_and_read_only_disks_are_named",
            disks::possible(),
            disks::full_and_read_only_disks_are_named,
        ),
        trial(
            "a_read_only_data_folder_is_named",
            disks::possible(),
            disks::a_read_only_data_folder_is_named,
        ),
        trial(
            "two_requesters_with_one_data_folder_are_two_peers",
            everywhere(),
            twice::two_requesters_with_one_data_folder_are_two_peers,
        ),
        trial(
            "hosts_find_each_other_and_prove_together",
            hosts::possible(),
            hosts::hosts_find_each_other_and_prove_together,
        ),
        of_groups(
            "the_kernel_ends_what_takes_more_than_its_group_has",
            groups::the_kernel_ends_what_takes_more_than_its_group_has,
        ),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// A test that prints its time, and that runs where `possible` has no reason against it.
fn trial(name: &'static str, possible: Result<(), String>, run: fn()) -> Trial {
    match possible {
        Err(reason) if std::env::var_os("CI").is_some() => Trial::test(name, move || {
            Err(format!("where CI is set every test has to run, and this one cannot: {reason}").into())
        }),
        possible => trial_or_ignored(name, possible, run),
    }
}

/// A test that needs a control group of version 2. With CI set it fails where there can be none,
/// unless `MYRIAD_CI_NO_GROUPS` says that this is known: then it is listed as ignored there.
fn of_groups(name: &'static str, run: fn()) -> Trial {
    match std::env::var_os("MYRIAD_CI_NO_GROUPS").filter(|value| !value.is_empty()) {
        None => trial(name, groups::possible(), run),
        Some(_) => trial_or_ignored(name, groups::possible(), run),
    }
}

fn trial_or_ignored(name: &'static str, possible: Result<(), String>, run: fn()) -> Trial {
    let test = move || {
        let start = Instant::now();
        run();
        // The time has a line of its own: the runner has begun one with the name.
        println!("\ntest {name} took <{:.3}s>", start.elapsed().as_secs_f64());
        Ok(())
    };
    match possible {
        Ok(()) => Trial::test(name, test),
        Err(reason) => Trial::test(name, test).with_kind(reason).with_ignored_flag(true),
    }
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../guests/elf/{name}.elf"))
}

/// The keys, which are the same for all and from one run to the next.
fn keys() -> PathBuf {
    let keys = Path::new(env!("CARGO_TARGET_TMPDIR")).join("data/keys");
    fs::create_dir_all(&keys).unwrap();
    keys
}

/// A data folder with these keys.
fn with_keys(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    std::os::unix::fs::symlink(keys(), dir.join("keys")).unwrap();
}

/// A peer that helps others to find each other, and its address.
fn bootstrap(dir: &Path) -> (Process, String) {
    let (lines, heard) = channel();
    let mut command = myriad();
    command
        .args(["bootstrap", "--no-mdns", "--listen", LISTEN, "--data-dir"])
        .arg(dir.join("bootstrap"));
    let process = Process::start(0, command, &dir.join("bootstrap.log"), lines);
    let line = wait_for(&heard, "--bootstrap ");
    let (_, address) = line.split_once("--bootstrap ").unwrap();
    (process, address.trim().to_owned())
}

/// Waits until a process logs that this stage of a job has come.
fn wait_for_stage(heard: &Receiver<Said>, stage: &str) {
    wait_for(heard, &format!(" stage=\"{stage}\""));
}

/// The next line with this text that a process logs.
fn wait_for(heard: &Receiver<Said>, text: &str) -> String {
    loop {
        let (_, line) = heard.recv_timeout(SILENCE_MAX).unwrap();
        let line = line.unwrap_or_else(|| panic!("the process has ended without {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}
