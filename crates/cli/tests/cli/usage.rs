//! Help, usage errors, settings.

use std::fs;

use crate::common::{DONE, FAILED, USAGE, finish, guest, myriad, run};

const COMMANDS: [&[&str]; 29] = [
    &["demo"],
    &["prove"],
    &["verify"],
    &["execute"],
    &["block"],
    &["block", "sample"],
    &["block", "import"],
    &["block", "replay"],
    &["block", "inspect"],
    &["block", "execute"],
    &["block", "prove"],
    &["jobs"],
    &["jobs", "list"],
    &["jobs", "show"],
    &["jobs", "cancel"],
    &["jobs", "resume"],
    &["jobs", "gc"],
    &["keys"],
    &["keys", "add"],
    &["keys", "list"],
    &["keys", "revoke"],
    &["serve"],
    &["prover"],
    &["status"],
    &["bootstrap"],
    &["bench"],
    &["plan"],
    &["simulate"],
    &["completions"],
];

#[test]
fn every_command_has_help_with_examples() {
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let help = run(command.iter().copied().chain([flag])).exits(DONE).stdout;
            let example = format!("\nExamples:\n  myriad {}", command.join(" "));
            assert!(help.contains(&example), "{help}");
            let too_long = help.lines().find(|line| line.len() > 120);
            assert!(too_long.is_none(), "{too_long:?}");
        }
    }
}

#[test]
fn without_a_command_it_shows_help() {
    let shown = run::<&str>([]).exits(USAGE);
    for command in COMMANDS {
        assert!(
            shown.stderr.contains(&format!("\n  {} ", command[0])),
            "{}",
            shown.stderr
        );
    }
    assert!(
        !shown.stderr.contains("engine-worker"),
        "it is for the other commands only"
    );
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]).exits(DONE).stdout;
        assert!(script.contains("max-instructions"), "{shell}");
    }
    run(["completions", "csh"]).exits(USAGE);
}

#[test]
fn wrong_usage_is_named() {
    let fibonacci = guest("fibonacci");
    for (args, text) in [
        (vec!["frobnicate"], "frobnicate"),
        (vec!["execute"], "<PROGRAM>"),
        (vec!["execute", &fibonacci, "--frobnicate"], "--frobnicate"),
        (vec!["execute", &fibonacci, "--memory", "2GB2"], "unknown unit"),
        (vec!["execute", &fibonacci, "--memory", "1MiB"], "the least is"),
        (vec!["prove", &fibonacci, "--children", "0"], "--children"),
        (
            vec!["prove", &fibonacci, "--max-instructions", "many"],
            "max-instructions",
        ),
        (
            vec!["execute", &fibonacci, "--input", "0x0101", "--input-bytes", "x"],
            "cannot be used with",
        ),
        (vec!["execute", &fibonacci, "--input", "0x99"], "starts with 99"),
        (vec!["execute", &fibonacci, "--input", "0x012"], "not hex"),
        (vec!["verify", "x.stark.proof"], "--program"),
        (
            vec!["verify", "x", "--program", &fibonacci, "--public-values", "0xzz"],
            "not hex",
        ),
        (
            vec!["block", "sample", "--out", "x.json.gz", "--txs", "1000000"],
            "out of bounds",
        ),
        (
            vec![
                "block", "import", "--rpc", "http://[", "--block", "1", "--out", "x",
            ],
            "no address of a node",
        ),
        (
            vec![
                "block",
                "import",
                "--rpc",
                "http://localhost",
                "--block",
                "-",
                "--out",
                "x",
            ],
            "--block",
        ),
    ] {
        run(&args).exits(USAGE).says(text);
    }
}

#[test]
fn wrong_usage_is_one_json_document_too() {
    let json = run(["execute", "--json", "--frobnicate"]).exits(USAGE).json();
    assert_eq!(json["kind"], "usage");
    assert!(
        json["error"]
            .as_str()
            .is_some_and(|text| text.contains("--frobnicate"))
    );
}

#[test]
fn settings_come_in_layers() {
    let dir = tempfile::tempdir().unwrap();
    let input = "0x0164000000";
    let mut execute = myriad(["execute", &guest("fibonacci"), "--input", input, "--json"]);
    execute.current_dir(dir.path());
    let budget =
        |run: crate::common::Run| run.exits(DONE).json()["memory_budget_bytes"].as_u64().unwrap() >> 30;

    assert_eq!(budget(finish(&mut execute)), 4);
    fs::write(dir.path().join("myriad.toml"), "memory = \"5GiB\"\n").unwrap();
    assert_eq!(budget(finish(&mut execute)), 5);
    execute.env("MYRIAD_MEMORY", "6GiB");
    assert_eq!(budget(finish(&mut execute)), 6);
    execute.args(["--memory", "7GiB"]);
    assert_eq!(budget(finish(&mut execute)), 7);
}

#[test]
fn bad_settings_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (text, said) in [
        ("memroy = \"4GiB\"", "memroy"),
        ("memory = \"4 GiBs\"", "unknown unit"),
        ("memory = true", "an amount of memory"),
        ("children = 0", "children"),
        ("children = ", "myriad.toml"),
    ] {
        fs::write(dir.path().join("myriad.toml"), text).unwrap();
        let mut execute = myriad(["execute", &guest("fibonacci")]);
        finish(execute.current_dir(dir.path()))
            .exits(USAGE)
            .says(said)
            .says("myriad.toml");
    }
    let mut execute = myriad(["execute", &guest("fibonacci")]);
    finish(execute.env("MYRIAD_THREADS", "many"))
        .exits(USAGE)
        .says("threads")
        .says("MYRIAD_");
}

#[test]
fn a_data_folder_that_is_none_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("below");
    let below = below.to_str().unwrap();
    for command in ["execute", "prove"] {
        run([
            command,
            &guest("fibonacci"),
            "--input",
            "0x0164000000",
            "--data-dir",
            below,
        ])
        .exits(FAILED)
        .says(below)
        .says("--data-dir");
    }
}
