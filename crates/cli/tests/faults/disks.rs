//! Disks that are full at some moment, or cannot be written: the error says so, and with more space
//! the same command continues where it stopped.
//!
//! The disk is a small file system in memory, in namespaces of the test's own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{MEMORY, guest, keys, process::myriad};

/// Mounts a disk on the folder `$1`, with the keys of `$2`, and runs the fourth argument and those
/// after it with each of the sizes `$3`; prints the exit codes on stderr.
const SCRIPT: &str = r#"
dir=$1 keys=$2 sizes=$3; shift 3
mount -t tmpfs -o size=1m none "$dir" && ln -s "$keys" "$dir/keys" || exit 99
for size in $sizes; do
    mount -o remount,size="$size" "$dir" || exit 99
    "$@" || code=$?
    echo "exit ${code:-0}" >&2
    unset code
done
"#;
/// Too little for the journal; for the second proof, which has about 400 KiB; for the final proof
/// beside the others; and enough.
const SIZES: &str = "8k 900k 2500k 16m";

/// Makes namespaces in which any user can mount file systems.
const NAMESPACES: [&str; 3] = ["--user", "--map-root-user", "--mount"];
/// The input for [`execute`]: the fibonacci guest for 100 rounds.
const INPUT: &str = "0x0164000000";

/// Whether file systems can be mounted here.
pub fn possible() -> Result<(), String> {
    match Command::new("unshare").args(NAMESPACES).arg("true").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "no mount namespaces: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("no unshare: {error}")),
    }
}

/// `outer`, with the environment of `inner`.
fn with_environment_of(inner: &Command, mut outer: Command) -> Command {
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

fn run(dir: &Path) -> Output {
    let myriad = myriad();
    let mut command = Command::new("unshare");
    command
        .args(NAMESPACES)
        .args(["sh", "-c", SCRIPT, "sh"])
        .args([dir, &keys()])
        .arg(SIZES)
        .arg(myriad.get_program())
        .arg("prove")
        .arg(guest("fibonacci"))
        .args(["--input", "0x01e803000000000000", "--memory", MEMORY, "--json"])
        .args([
            "--data-dir",
            &dir.to_string_lossy(),
            "--out",
            &dir.to_string_lossy(),
        ]);
    with_environment_of(&myriad, command).output().unwrap()
}

pub fn a_full_disk_is_said_and_what_is_on_it_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let codes: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("exit "))
        .collect();
    assert_eq!(codes, ["1", "1", "1", "0"], "{stderr}");
    let documents: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(documents.len(), 4);
    for failed in &documents[..3] {
        let text = failed.to_string();
        assert!(
            text.contains("No space left on device") && text.contains("free some space"),
            "{text}"
        );
    }
    // Only what there was no room for was proven again: the last run had all but the final proof,
    // or less to do.
    let reused = documents[3]["reused"].as_u64().unwrap();
    assert!(reused >= 4, "{}", documents[3]);
    assert!(
        fs::read_dir(dir.path()).unwrap().next().is_none(),
        "it was in the namespace alone"
    );
}

/// The arguments of a short execution with this data folder.
fn execute(dir: &Path) -> Vec<String> {
    let program = guest("fibonacci").to_string_lossy().into_owned();
    let dir = dir.to_string_lossy().into_owned();
    ["execute", &program, "--input", INPUT, "--data-dir", &dir]
        .map(str::to_owned)
        .into()
}

/// Runs `myriad` where `dir` is a file system with these options, and returns its error.
fn fails_on_file_system(options: &str, dir: &Path, args: &[String]) -> String {
    let script = format!("mount -t tmpfs -o {options} none \"$0\" && exec \"$@\"");
    let myriad = myriad();
    let mut command = Command::new("unshare");
    command.args(NAMESPACES).args(["sh", "-c", &script]).arg(dir);
    command.arg(myriad.get_program()).args(args);
    fails(with_environment_of(&myriad, command))
}

/// The error of a command that failed as commands do.
fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    stderr
}

pub fn full_and_read_only_disks_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let block = dir.join("block.json.gz").to_string_lossy().into_owned();
    // A block of many transactions has more than 64 KiB.
    let sample = ["block", "sample", "--txs", "200", "--out", &block].map(str::to_owned);
    for (options, text) in [
        ("size=64k", "No space left on device"),
        ("ro", "Read-only file system"),
    ] {
        let said = fails_on_file_system(options, dir, &execute(dir));
        for part in ["key cache", text, "--data-dir"] {
            assert!(said.contains(part), "{options}: {said}");
        }
        let said = fails_on_file_system(options, dir, &sample);
        for part in [text, "block.json.gz"] {
            assert!(said.contains(part), "{options}: {said}");
        }
    }
}

/// This user owns the folder in a user namespace without a map, and has no rights beyond the
/// owner's; nor has root.
pub fn a_read_only_data_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let myriad = myriad();
    let mut command = Command::new("unshare");
    command
        .arg("--user")
        .arg(myriad.get_program())
        .args(execute(dir.path()));
    let said = fails(with_environment_of(&myriad, command));
    for part in ["key cache", "Permission denied", "--data-dir"] {
        assert!(said.contains(part), "{said}");
    }
}
