//! A disk that is full at some moment: the error says so, and with more space the same command goes on where it stopped.
//!
//! The disk is a small file system in memory, in a mount namespace of the test's own.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{MEMORY, alone, guest, keys, process::myriad};

/// Mounts a disk on the folder `$1`, with the keys of `$2`, and runs the fourth argument and what follows with each of the sizes `$3`; says the exit
/// codes on stderr.
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
/// Too little for the journal; for the second proof, which has about 400 KiB; for the final proof beside the others; and enough.
const SIZES: &str = "8k 900k 2500k 16m";

fn run(dir: &Path) -> Output {
    let myriad = myriad();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", SCRIPT, "sh"])
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
    for (name, value) in myriad.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().unwrap()
}

#[test]
fn a_full_disk_is_said_and_what_is_on_it_is_used_again() {
    let _alone = alone();
    let allowed = Command::new("unshare").args(["--mount", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespace can be made here");
        return;
    }
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
    // Only what there was no room for was proven again: the last run had all but the final proof, or less to do.
    let reused = documents[3]["reused"].as_u64().unwrap();
    assert!(reused >= 4, "{}", documents[3]);
    assert!(
        fs::read_dir(dir.path()).unwrap().next().is_none(),
        "it was in the namespace alone"
    );
}
