//! `myriad simulate`.

use std::{fs, path::Path};

use serde_json::Value;

use crate::common::{DONE, FAILED, run};

const SMALL: &str = r#"
    [[requesters]]
    name = "rollup"
    instructions = 2e6

    [[machines]]
    name = "home"
    count = 12
    honest = 0.75
    busy = 0.1
"#;

fn scenario(dir: &Path, text: &str) -> String {
    let path = dir.join("fleet.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_fleet_is_simulated_and_its_files_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = scenario(dir.path(), SMALL);
    let out = dir.path().join("out");
    let flags = ["--seeds", "3", "--json", "--out"];
    let args = ["simulate", &path].into_iter().chain(flags);
    let report = run(args.chain([out.to_str().unwrap()])).exits(DONE).json();
    assert_eq!(report["all_proven"], true);
    assert_eq!(report["makespan_s"]["count"], 3);
    assert_eq!(report["worlds"].as_array().unwrap().len(), 3);
    let mean = report["makespan_s"]["mean"].as_f64().unwrap();
    assert!(report["plans"][0]["bound_s"].as_f64().unwrap() < mean);
    let written = fs::read_to_string(out.join("outcome.json")).unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["makespan_s"], report["makespan_s"]);
    let blocks = fs::read_to_string(out.join("blocks.csv")).unwrap();
    assert_eq!(blocks.lines().count(), 1 + 3);
    assert!(blocks.starts_with("seed,requester,block,"));
    for name in ["timeline.csv", "utilisation.svg", "makespan.svg"] {
        assert!(out.join(name).exists(), "{name}");
    }
    // A second run gives the same.
    let again = run(["simulate", &path, "--seeds", "3", "--json"])
        .exits(DONE)
        .json();
    assert_eq!(again["worlds"], report["worlds"]);
}

#[test]
fn the_example_is_a_scenario_and_says_how_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let example = run(["simulate", "--example"]).exits(DONE).stdout;
    // The commented lines of the example have the default values.
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.split_whitespace().nth(1) == Some("=") && !key.starts_with("profile") => key,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let uncommented = uncommented.replace("deadline_s = 120", "");
    let [short, long] = [&example, &uncommented].map(|text| {
        let text = text.replace("hours = 0.5", "hours = 0.05");
        let path = scenario(dir.path(), &text);
        run(["simulate", &path, "--json"]).exits(DONE).json()
    });
    assert_eq!(short["worlds"], long["worlds"]);
    let path = scenario(dir.path(), &example.replace("hours = 0.5", "hours = 0.05"));
    let shown = run(["simulate", &path]).exits(DONE).stdout;
    for part in ["blocks proven by 300 machines", "rollup 1", "steady", "banned"] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
}

#[test]
fn what_is_wrong_with_a_scenario_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for (text, parts) in [
        (SMALL.replace("busy", "buzy"), ["unknown field `buzy`", "`busy`"]),
        (
            SMALL.replace("0.75", "7.5"),
            ["honest of machines \"home\" is 7.5", "from 0 to 1"],
        ),
        (
            SMALL.replace("busy = 0.1", "memory_gib = 0.45"),
            ["cannot be proven by this fleet", "memory"],
        ),
        (
            SMALL.replace("busy = 0.1", "profile = \"no.json\""),
            ["machines \"home\"", "cannot be read"],
        ),
        ("[[requesters".into(), ["TOML parse error", "line 1"]),
    ] {
        let path = scenario(dir.path(), &text);
        let error = run(["simulate", &path]).exits(FAILED).stderr;
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
    }
    let error = run(["simulate", "nowhere.toml"]).exits(FAILED).stderr;
    assert!(error.contains("nowhere.toml cannot be read"), "{error}");
}
