//! Real proofs by provers on several hosts, in network namespaces that the test makes itself.
//!
//! A test of its own, beside those in `cli`: each of the two jobs keeps all cores busy for minutes.

#![cfg(target_os = "linux")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// Of the fibonacci guest: as little as can be proven.
const INPUT: &str = "0x0110000000";

fn myriad() -> &'static str {
    env!("CARGO_BIN_EXE_myriad")
}

fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("data")
}

fn program() -> String {
    format!("{}/../../guests/elf/fibonacci.elf", env!("CARGO_MANIFEST_DIR"))
}

/// The script in namespaces of its own, which end with it and take all its processes along.
fn hosts(mode: &str, dir: &Path) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network/hosts.sh");
    let mut command = Command::new("unshare");
    command
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args(["--mount-proc", "sh", script, mode])
        .env("MYRIAD", myriad())
        .env("KEYS", data_dir().join("keys"))
        .env("DIR", dir)
        .env("PROGRAM", program())
        .env("INPUT", INPUT);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MYRIAD_")) {
        command.env_remove(name);
    }
    command
}

fn prove(mode: &str) {
    let dir = tempfile::tempdir().unwrap();
    let probe = hosts("probe", dir.path()).output();
    match &probe {
        Ok(output) if output.status.success() => {}
        other => {
            eprintln!("skipped: no hosts can be made here: {other:?}");
            return;
        }
    }
    // Keys take seconds to make, and all nodes may share them.
    let made = Command::new(myriad())
        .args(["execute", &program(), "--input", INPUT, "--data-dir"])
        .arg(data_dir())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let keys = dir.path().join("1/keys");
    fs::create_dir_all(&keys).unwrap();
    for entry in fs::read_dir(data_dir().join("keys")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), keys.join(entry.file_name())).unwrap();
    }
    let output = hosts(mode, dir.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    eprintln!("{stderr}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["verified"], true);
    assert_eq!(json["segments"], 1);
    let proof = json["proof"].as_str().unwrap();
    let verified = Command::new(myriad())
        .args(["verify", proof, "--program", &program(), "--data-dir"])
        .arg(data_dir())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(verified.success());
}

/// One after the other: together they would take twice as long each.
#[test]
fn hosts_find_each_other_and_prove_together() {
    prove("lan");
    prove("routed");
}
