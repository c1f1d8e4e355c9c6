//! The main job, whole: a sample block, proven by provers on this machine, with the display on a
//! terminal recorded, and verified as that block.
//!
//! A test of its own, beside those in `cli`: it keeps all cores busy for minutes.

mod screen;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn myriad(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriad"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MYRIAD_")) {
        command.env_remove(name);
    }
    command.current_dir(dir);
    command
}

fn run(command: &mut Command, data: &Path) -> Output {
    command.arg("--data-dir").arg(data).output().unwrap()
}

/// The picture shows a prover at a task at nearly every moment. In this job some prover always
/// works, except while a message goes between two tasks.
fn workers_are_seen_at_work(pictures: &[String]) {
    let working: Vec<&String> = pictures
        .iter()
        .filter(|picture| picture.contains("Segments") && picture.contains("so far"))
        .collect();
    let at_a_task = |picture: &&&String| {
        let lines = picture.lines().map(str::trim_start);
        let mut provers = lines.filter(|line| line.starts_with("prover ") || line.starts_with('…'));
        provers.any(|line| {
            ["segment", "leaf", "internal", "final"]
                .iter()
                .any(|task| line.contains(task))
        })
    };
    let seen = working.iter().filter(at_a_task).count();
    let last = working.last().map_or("nothing", |picture| picture.as_str());
    assert!(
        working.len() > 100 && seen * 10 > working.len() * 8,
        "somebody is seen at work in {seen} of {} pictures, the last of which is:\n{last}",
        working.len()
    );
    let whole = pictures.join("\n");
    for done in ["✓ Keys", "✓ Execution", "✓ Proof"] {
        assert!(whole.contains(done), "no {done:?} on the screen:\n{last}");
    }
}

/// Some prover's line shows each task of the job at some moment. Each task takes seconds, and a
/// prover whose line says that it idles while it works hides the tasks that it does.
fn each_task_is_seen_on_a_provers_line(pictures: &[String], segments: u64, nodes: u64) {
    let lines = pictures.iter().flat_map(|picture| picture.lines());
    let seen: BTreeSet<String> = lines
        .filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("prover ").or_else(|| line.strip_prefix('…'))?;
            // The prover's name or number, the task, and how long it has taken.
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            match words[..] {
                ["segment", index, ..] => Some(format!("segment {index}")),
                [_, "node", index, "of", "level", level, ..] => {
                    Some(format!("node {index} of level {level}"))
                }
                ["the", "final", "proof", ..] => Some("final".into()),
                _ => None,
            }
        })
        .collect();
    for index in 0..segments {
        assert!(
            seen.contains(&format!("segment {index}")),
            "segment {index} is not in {seen:?}"
        );
    }
    let at_nodes = seen.iter().filter(|task| task.starts_with("node")).count();
    assert_eq!(at_nodes as u64, nodes, "{seen:?}");
    assert!(seen.contains("final"), "{seen:?}");
}

#[test]
fn a_sample_block_becomes_one_proof_of_that_block() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let keys = Path::new(env!("CARGO_TARGET_TMPDIR")).join("data/keys");
    // Other tests may have made some of them.
    fs::create_dir_all(&keys).unwrap();
    fs::create_dir_all(&data).unwrap();
    std::os::unix::fs::symlink(&keys, data.join("keys")).unwrap();

    let mut demo = myriad(dir.path());
    demo.args(["demo", "--txs", "1", "--json", "--data-dir"])
        .arg(&data);
    let (demo, pictures) = screen::run(&mut demo);
    assert!(demo.status.success(), "{}", pictures.join("\n---\n"));
    workers_are_seen_at_work(&pictures);
    let json: Value = serde_json::from_slice(&demo.stdout).unwrap();
    assert_eq!(json["verified"], true);
    let (segments, nodes) = (
        json["segments"].as_u64().unwrap(),
        json["nodes"].as_u64().unwrap(),
    );
    assert!(segments > 1, "{json}");
    each_task_is_seen_on_a_provers_line(&pictures, segments, nodes);
    assert!(json["instructions"].as_u64().unwrap() > 100_000, "{json}");
    assert!(json["public_values"].as_str().unwrap().starts_with("0x"));
    let allowed = 4 << 30;
    assert!(json["peak_memory_bytes"].as_u64().unwrap() < allowed, "{json}");
    let proof = json["proof"].as_str().unwrap();
    let bytes = fs::metadata(dir.path().join(proof)).unwrap().len();
    assert_eq!(json["proof_bytes"].as_u64(), Some(bytes));

    let verify = |block: &str| {
        let output = run(
            myriad(dir.path()).args(["verify", proof, "--block", block]),
            &data,
        );
        output.status.code()
    };
    assert_eq!(verify("sample-block.json.gz"), Some(0));
    let sample = [
        "block",
        "sample",
        "--txs",
        "1",
        "--seed",
        "1",
        "--out",
        "other.json.gz",
    ];
    assert!(myriad(dir.path()).args(sample).output().unwrap().status.success());
    assert_eq!(verify("other.json.gz"), Some(3), "it is of another block");
}
