//! Real proofs by provers on several hosts, in network namespaces that the test makes itself.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{guest, keys, process::myriad, with_keys};

/// The fibonacci guest's input for as little as can be proven.
const INPUT: &str = "0x0110000000";

/// The script in namespaces of its own, which end with it and take all its processes along.
fn hosts(mode: &str, dir: &Path) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/hosts.sh");
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
        .env("MYRIAD", env!("CARGO_BIN_EXE_myriad"))
        .env("KEYS", keys())
        .env("DIR", dir)
        .env("PROGRAM", guest("fibonacci"))
        .env("INPUT", INPUT);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MYRIAD_")) {
        command.env_remove(name);
    }
    command
}

/// Whether hosts can be made here.
pub fn possible() -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    match hosts("probe", dir.path()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "no network namespaces: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("no unshare: {error}")),
    }
}

fn prove(mode: &str) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("1");
    with_keys(&data);
    let output = hosts(mode, dir.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    eprintln!("{stderr}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["verified"], true);
    assert_eq!(json["segments"], 1);
    let proof = json["proof"].as_str().unwrap();
    let verified = myriad()
        .args(["verify", proof, "--data-dir"])
        .arg(&data)
        .arg("--program")
        .arg(guest("fibonacci"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(verified.success());
}

/// The two networks follow each other: together they would take twice as long each.
pub fn hosts_find_each_other_and_prove_together() {
    prove("lan");
    prove("routed");
}
