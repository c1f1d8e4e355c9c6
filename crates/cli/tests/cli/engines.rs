//! Engines with binaries of their own: where they are found, and what is said where they are not.
//! The binaries are pretended. What a real one does is tested in its own workspace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use myriad_engine::{Input, MemoryBudget, known, worker::data_bytes_max};
use myriad_net::{Config, Event, Identity, Limits, Listen, Network, blob::BlobStore, wire::Role};
use myriad_node::{Machine, open_blobs};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::common::{DONE, FAILED, Run, USAGE, binary, data_dir, finish, guest, run};

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
        self.script(name, "echo pretended with \"$@\" >&2; exit 7")
    }

    /// A binary that gives the answer of every engine that has no program yet.
    fn answering(&self, name: &str) -> PathBuf {
        // A length of ten bytes, a usage of nothing, and the failure that nothing is loaded.
        let answer = [&10_u32.to_le_bytes()[..], &[0; 8], &[1, 8]].concat();
        let octal: String = answer.iter().map(|byte| format!("\\{byte:03o}")).collect();
        self.script(name, &format!("printf '{octal}'; exec cat > /dev/null"))
    }

    fn script(&self, name: &str, command: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = path.with_extension("text");
        fs::write(&text, format!("#!/bin/sh\n{command}\n")).unwrap();
        // A file that this process has open for writing cannot be executed, and a process that
        // another test forks meanwhile may have it open for longer.
        let mut install = std::process::Command::new("install");
        let installed = install.args(["-m", "755"]).args([&text, &path]).status();
        assert!(installed.unwrap().success());
        path
    }

    /// Puts the record of a job of an engine into the data folder, and returns the job's name.
    fn job(&self, engine: &str, state: &str, memory: MemoryBudget) -> String {
        let data = self.dir.path().join("data");
        let id = "ab".repeat(32);
        let blobs = open_blobs(&data, 1 << 30).unwrap();
        let part = |bytes: &[u8]| {
            let file = blobs.put(bytes).unwrap();
            json!({ "blake3": file.blob.to_string(), "bytes": file.bytes })
        };
        let record: Value = json!({
            "version": 1,
            "name": "kept",
            "state": state,
            "begun": 1,
            "updated": 1,
            "pid": 1,
            "out_dir": self.dir.path(),
            "memory_bytes": memory.bytes(),
            "max_instructions": 1000,
            "fleet": { "kind": "children" },
            "engine": engine,
            "verify": "--program kept.bin",
            "program": part(b"R0BF, and more"),
            "openvm_toml": null,
            "input": part(&Input::default().encode()),
            "done": 0,
            "tasks": null,
        });
        let dir = data.join("jobs").join(&id);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("job.json"), record.to_string()).unwrap();
        id
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
    myriad.pretended("myriad-engine-risc0");
    myriad.run(&execute).exits(FAILED).says(said);
    // An ELF may be for either, and is OpenVM's unless the user says otherwise.
    let fibonacci = guest("fibonacci");
    let elf = ["execute", fibonacci.as_str(), "--engine", "risc0"];
    myriad.run(&elf).exits(FAILED).says(said);
    let openvms = [&execute[..], &["--engine", "openvm"]].concat();
    myriad.run(&openvms).exits(FAILED).says("neither an ELF");
}

/// Otherwise a stranger that gives the user a folder to work in would have its own binary executed.
#[test]
fn the_file_of_the_working_folder_names_no_binary() {
    let myriad = Installed::new();
    let path = myriad.pretended("elsewhere/worker");
    let file = myriad.dir.path().join("myriad.toml");
    for value in [format!("{path:?}"), "7".into()] {
        fs::write(&file, format!("engine_risc0 = {value}\n")).unwrap();
        for args in [&["execute", myriad.program.as_str()][..], &["jobs", "list"]] {
            let ended = myriad.run(args).exits(USAGE);
            assert!(!ended.stderr.contains("pretended with"), "{}", ended.stderr);
            ended
                .says("myriad.toml in the working folder")
                .says("--engine-risc0 or MYRIAD_ENGINE_RISC0");
        }
    }
    fs::write(&file, "memory = \"1GiB\"\n").unwrap();
    myriad.run(&["jobs", "list"]).exits(DONE);
}

#[test]
fn a_path_that_leads_to_no_binary_is_wrong_usage_of_whatever_named_it() {
    let myriad = Installed::new();
    let no_binary = myriad.dir.path().join("program.bin");
    for wrong in ["nowhere/worker", no_binary.to_str().unwrap()] {
        let by_flag = ["execute", &myriad.program, "--engine-risc0", wrong];
        let mut by_variable = myriad.command(&by_flag[..2]);
        let by_variable = finish(by_variable.env("MYRIAD_ENGINE_RISC0", wrong));
        for (ended, named_by) in [
            (myriad.run(&by_flag), "--engine-risc0"),
            (by_variable, "MYRIAD_ENGINE_RISC0"),
        ] {
            ended
                .exits(USAGE)
                .says(&format!("{named_by} names {wrong}"))
                .says(BUILD);
        }
    }
}

#[test]
fn commands_that_need_no_other_engine_go_on_without_its_binary() {
    let myriad = Installed::new();
    let fibonacci = guest("fibonacci");
    for args in [
        vec!["jobs", "list"],
        vec!["execute", &fibonacci, "--input", "0x010a00000000000000"],
    ] {
        let mut command = myriad.command(&args);
        command
            .env("MYRIAD_DATA_DIR", data_dir())
            .env("MYRIAD_ENGINE_RISC0", "nowhere/worker");
        finish(&mut command).exits(DONE);
    }
}

#[test]
fn what_says_nothing_to_an_engine_is_refused() {
    let myriad = Installed::new();
    for args in [
        ["demo", "--engine", "risc0", "--txs", "3"],
        ["demo", "--engine", "risc0", "--seed", "0"],
        ["bench", "--engine", "risc0", "--only", "fibonacci"],
    ] {
        myriad
            .run(&args)
            .exits(USAGE)
            .says(args[3])
            .says("--engine risc0");
    }
}

/// The engine reads the program in a child that has the limits of the job, as the one had that
/// began it.
#[test]
fn a_resumed_job_has_the_memory_that_it_had_from_the_start() {
    let myriad = Installed::new();
    let path = myriad.pretended("myriad-engine-risc0");
    let memory = MemoryBudget::from_bytes(5 << 28);
    let job = myriad.job("risc0", "open", memory);
    let limit = data_bytes_max(memory, Machine::detect().cores);
    myriad
        .run(&["jobs", "resume", &job])
        .exits(FAILED)
        .says("pretended with")
        .says(&format!("--data-bytes-max {limit}"));
    fs::remove_file(path).unwrap();
    let missing = myriad.run(&["jobs", "resume", &job]).exits(FAILED);
    missing.says("no engine `risc0`");
}

#[test]
fn no_command_is_shown_for_the_proof_of_an_engine_that_is_unknown() {
    let myriad = Installed::new();
    let memory = MemoryBudget::from_bytes(1 << 30);
    let shown = |engine| {
        let job = myriad.job(engine, "done", memory);
        myriad.run(&["jobs", "show", &job]).exits(DONE).stdout
    };
    let known = shown("risc0");
    assert!(
        known.contains("myriad verify") && known.contains("kept.risc0.receipt"),
        "{known}"
    );
    let unknown = shown("other");
    assert!(!unknown.contains("myriad verify"), "{unknown}");
    assert!(unknown.contains("the engine `other`"), "{unknown}");
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

/// A prover that is being started, of its own data folder.
fn prover(myriad: &Installed, place: usize, address: &str, more: &[&str]) -> std::process::Command {
    let mut prover = myriad.command(&["prover", "--no-mdns", "--until-stdin-ends", "--unconfined"]);
    prover
        .args(["--listen", LISTEN, "--bootstrap", address])
        .args(more)
        .env("MYRIAD_DATA_DIR", myriad.dir.path().join(place.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    prover
}

/// The engines that a prover greets with once it is started, and what it has said until its end.
async fn greeted(
    mut prover: std::process::Command,
    myriad: &Installed,
    events: &mut tokio::sync::mpsc::UnboundedReceiver<Event>,
) -> (Vec<String>, String) {
    let log = myriad.dir.path().join("log");
    let mut prover = prover.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
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
    let log = fs::read_to_string(&log).unwrap();
    let greeted = greeted.unwrap_or_else(|_| panic!("no greeting:\n{log}"));
    (greeted.iter().map(|id| id.name.to_string()).collect(), log)
}

/// A job of an engine goes to provers that greet with it, and to no others. A binary that answers
/// nothing, such as one of another build, would fail each lease.
#[test]
fn a_prover_greets_with_the_engines_that_it_lends_and_that_answer() {
    let myriad = Installed::new();
    let beside = "myriad-engine-risc0";
    let left_out = format!(
        "an engine is left out: `risc0`: {}",
        myriad.dir.path().join(beside).display()
    );
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
        let answering = |name: &str| myriad.answering(name);
        let broken = |name: &str| myriad.pretended(name);
        type Make<'a> = &'a dyn Fn(&str) -> PathBuf;
        for (place, (make, args, expected, said)) in [
            (
                &answering as Make<'_>,
                &["--engines", "openvm"][..],
                &["openvm"][..],
                &[][..],
            ),
            (&answering, &["--engines", "risc0"], &["risc0"], &[]),
            (&answering, &[], &["openvm", "risc0"], &[]),
            (
                &broken,
                &[],
                &["openvm"],
                &[left_out.as_str(), "pretended with", "exit status: 7", BUILD],
            ),
            (
                &answering,
                &["--engine-risc0", "nowhere/worker"],
                &["openvm"],
                &["an engine is left out: --engine-risc0 names nowhere/worker"],
            ),
        ]
        .into_iter()
        .enumerate()
        {
            make(beside);
            let (names, log) = greeted(prover(&myriad, place, &address, args), &myriad, &mut events).await;
            assert_eq!(names, expected, "{log}");
            assert_eq!(log.contains("left out"), !said.is_empty(), "{log}");
            for said in said {
                assert!(log.contains(said), "no {said:?} in {log}");
            }
        }
        // With no engine left, there is nothing to lend.
        broken(beside);
        let mut alone = prover(&myriad, 9, &address, &["--engines", "risc0"]);
        finish(alone.stdin(Stdio::null()))
            .exits(FAILED)
            .says("no engine is left to lend")
            .says("pretended with");
    });
}
