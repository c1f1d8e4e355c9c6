//! Engines with binaries of their own: where they are found, and what is said where they are not.
//! The binaries are pretended. What a real one does is tested in its own workspace.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use myriad_engine::known;
use myriad_net::{Config, Event, Identity, Limits, Listen, Network, blob::BlobStore, wire::Role};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::common::{DONE, FAILED, Run, USAGE, binary, finish, guest, run};

const BUILD: &str = "cargo build --release --manifest-path engines/risc0/Cargo.toml";
const LISTEN: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// Longer than a prover takes to start and to greet, on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(120);

/// The binary in a folder of its own, where no other build has put an engine beside it.
struct Installed {
    dir: TempDir,
    /// A program that can only be RISC Zero's.
    program: String,
}

impl Installed {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::hard_link(env!("CARGO_BIN_EXE_myriad"), dir.path().join("myriad")).unwrap();
        let program = dir.path().join("program.bin");
        fs::write(&program, b"R0BF, and more").unwrap();
        Self {
            program: program.to_str().unwrap().into(),
            dir,
        }
    }

    /// A binary that says what it was called with, and ends.
    fn pretended(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\necho pretended with \"$@\" >&2\nexit 7\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = binary(&self.dir.path().join("myriad"), args);
        command
            .current_dir(self.dir.path())
            .env("MYRIAD_DATA_DIR", self.dir.path().join("data"));
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        finish(&mut self.command(args))
    }
}

#[test]
fn an_engine_that_is_not_there_is_named_with_the_way_to_get_it() {
    let myriad = Installed::new();
    let fibonacci = guest("fibonacci");
    for args in [
        vec!["execute", &myriad.program],
        vec!["execute", &fibonacci, "--engine", "risc0"],
        vec!["prove", &myriad.program, "--network"],
        vec!["plan", &myriad.program, "--nodes", "2"],
        vec!["verify", "no.risc0.receipt", "--program", &myriad.program],
        // The proof's name says whose it is.
        vec!["verify", "no.risc0.receipt", "--program", &fibonacci],
        vec!["bench", "--engine", "risc0", "--quick"],
        vec!["demo", "--engine", "risc0"],
        vec!["prover", "--engines", "openvm,risc0", "--unconfined"],
    ] {
        let ended = myriad.run(&args).exits(FAILED);
        ended
            .says("this machine has no engine `risc0`, but `openvm`")
            .says(BUILD)
            .says("--engine-risc0");
    }
    let json = myriad.run(&["execute", &myriad.program, "--json"]).json();
    assert_eq!(json["kind"], "engine");
    // A name in the settings may be of no engine at all.
    let mut prover = myriad.command(&["prover", "--unconfined"]);
    finish(prover.env("MYRIAD_ENGINES", "[openvm, frobnicate]"))
        .exits(FAILED)
        .says("no engine `frobnicate`");
}

#[test]
fn an_engine_is_found_beside_the_binary_or_where_the_user_says() {
    let myriad = Installed::new();
    let execute = ["execute", myriad.program.as_str()];
    let said = "pretended with --keys";
    myriad.run(&execute).exits(FAILED).says("no engine `risc0`");
    let elsewhere = myriad.pretended("elsewhere/worker");
    let path = elsewhere.to_str().unwrap();
    let named = [&execute[..], &["--engine-risc0", path]].concat();
    myriad.run(&named).exits(FAILED).says(said);
    let mut by_variable = myriad.command(&execute);
    finish(by_variable.env("MYRIAD_ENGINE_RISC0", "elsewhere/worker"))
        .exits(FAILED)
        .says(said);
    fs::write(
        myriad.dir.path().join("myriad.toml"),
        format!("engine_risc0 = {path:?}\n"),
    )
    .unwrap();
    myriad.run(&execute).exits(FAILED).says(said);
    fs::remove_file(myriad.dir.path().join("myriad.toml")).unwrap();

    myriad.pretended("myriad-engine-risc0");
    myriad.run(&execute).exits(FAILED).says(said);
    // An ELF may be for either, and is OpenVM's unless the user says otherwise.
    let fibonacci = guest("fibonacci");
    let elf = ["execute", fibonacci.as_str(), "--engine", "risc0"];
    myriad.run(&elf).exits(FAILED).says(said);
    let openvms = [&execute[..], &["--engine", "openvm"]].concat();
    myriad.run(&openvms).exits(FAILED).says("neither an ELF");
}

#[test]
fn a_path_that_leads_to_no_binary_is_wrong_usage() {
    let myriad = Installed::new();
    let no_binary = myriad.dir.path().join("program.bin");
    for wrong in ["nowhere/worker", no_binary.to_str().unwrap()] {
        myriad
            .run(&["execute", &myriad.program, "--engine-risc0", wrong])
            .exits(USAGE)
            .says(wrong)
            .says(BUILD);
    }
}

#[test]
fn the_engines_that_can_be_named_are_listed() {
    let fibonacci = guest("fibonacci");
    for args in [
        vec!["execute", &fibonacci, "--engine", "frobnicate"],
        vec!["prover", "--engines", "openvm,frobnicate"],
        vec!["demo", "--engine", "frobnicate"],
    ] {
        run(&args).exits(USAGE).says("openvm, risc0");
    }
}

/// RISC Zero's costs are part of the build: a fleet is sized without its engine.
#[test]
fn a_fleet_is_planned_for_either_engine() {
    let myriad = Installed::new();
    let expected_s = |more: &[&str]| {
        let args = [
            &["plan", "--instructions", "90e6", "--nodes", "840", "--json"],
            more,
        ]
        .concat();
        let plan = myriad.run(&args).exits(DONE).json();
        let arities = ["leaf", "internal_recursive"].map(|kind| plan["arities"][kind].as_u64().unwrap());
        (
            plan["expected_s"].as_f64().unwrap(),
            plan["costs_of"].clone(),
            arities,
        )
    };
    let (openvm_s, ..) = expected_s(&[]);
    let (risc0_s, costs_of, arities) = expected_s(&["--engine", "risc0"]);
    assert_eq!(costs_of, "fibonacci-risc0");
    assert_eq!(arities, [1, 2]);
    assert!(risc0_s > openvm_s, "{risc0_s} s and {openvm_s} s");
    // How many cycles a gas takes depends on the guest.
    let by_gas = ["plan", "--gas", "1e6", "--engine", "risc0"];
    myriad.run(&by_gas).exits(USAGE).says("--instructions-per-gas");
    let named = ["--costs-of", "fibonacci-risc0", "--shared", "6MB"];
    let by_name = expected_s(&[&["--engine", "risc0"], &named[..]].concat());
    assert_eq!(by_name.0, risc0_s);
    // The costs of one engine's program say nothing of another engine's work.
    myriad
        .run(&[&["plan", "--instructions", "90e6"], &named[..]].concat())
        .exits(USAGE)
        .says("are those of the engine `risc0`, and the work is for `openvm`");
}

/// A node that hears provers greet.
fn requester(dir: &Path) -> (Network, tokio::sync::mpsc::UnboundedReceiver<Event>) {
    let config = Config {
        identity: Identity::ephemeral(),
        role: Role::Requester,
        build: "a test's".into(),
        engines: vec![known::risc0().id],
        listen: Listen::At(vec![LISTEN.parse().unwrap()]),
        external: Vec::new(),
        bootstrap: Vec::new(),
        mdns: false,
        blobs: BlobStore::open(&dir.join("blobs"), 1 << 30).unwrap(),
        limits: Limits::default(),
    };
    Network::start(config).unwrap()
}

/// A job of an engine goes to provers that greet with it, and to no others.
#[test]
fn a_prover_greets_with_the_engines_that_it_lends() {
    let myriad = Installed::new();
    myriad.pretended("myriad-engine-risc0");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (network, mut events) = requester(&myriad.dir.path().join("requester"));
        let listening = async {
            while network.listening().is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, listening).await.unwrap();
        let address = network.listening().swap_remove(0);
        for (place, (engines, expected)) in [
            (&["--engines", "openvm"][..], &["openvm"][..]),
            (&["--engines", "risc0"], &["risc0"]),
            (&[], &["openvm", "risc0"]),
        ]
        .into_iter()
        .enumerate()
        {
            let dir = myriad.dir.path().join(place.to_string());
            let log = fs::File::create(myriad.dir.path().join("log")).unwrap();
            let mut prover = myriad.command(&["prover", "--no-mdns", "--until-stdin-ends", "--unconfined"]);
            prover
                .args(["--listen", LISTEN, "--bootstrap", &address])
                .args(engines)
                .env("MYRIAD_DATA_DIR", dir)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(log);
            let mut prover = prover.spawn().unwrap();
            let greeted = async {
                loop {
                    if let Event::Greeted { hello, .. } = events.recv().await.unwrap() {
                        return hello.engines;
                    }
                }
            };
            let greeted = timeout(PATIENCE, greeted).await;
            drop(prover.stdin.take());
            prover.wait().unwrap();
            let log = fs::read_to_string(myriad.dir.path().join("log")).unwrap();
            let names: Vec<String> = greeted
                .unwrap_or_else(|_| panic!("no greeting:\n{log}"))
                .iter()
                .map(|id| id.name.to_string())
                .collect();
            assert_eq!(names, expected, "{log}");
        }
    });
}
