//! `myriad plan`, and the errors of `bench` and `plan`.

use std::fs;

use serde_json::{Value, json};

use crate::common::{DONE, FAILED, USAGE, guest, run};

/// The profile that the binary carries, altered.
fn profile(alter: impl FnOnce(&mut Value)) -> tempfile::NamedTempFile {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/report/profiles/epyc-2-cores.json"
    );
    let mut profile: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    alter(&mut profile);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), profile.to_string()).unwrap();
    file
}

fn plan(args: &[&str]) -> Value {
    let args = ["plan", "--json"].iter().chain(args).copied();
    run(args).exits(DONE).json()
}

fn parts_s(plan: &Value) -> f64 {
    let parts = plan["parts"].as_object().unwrap().values();
    parts.map(|part| part.as_f64().unwrap()).sum()
}

#[test]
fn a_block_on_a_fleet_is_planned_with_its_parts() {
    let plan = plan(&["--gas", "30000000", "--nodes", "1000"]);
    let expected_s = plan["expected_s"].as_f64().unwrap();
    assert!((parts_s(&plan) / expected_s - 1.0).abs() < 1e-6, "{plan}");
    assert_eq!(plan["machines"], 1000);
    assert_eq!(plan["costs_of"], "evm-block");
    assert!(plan["bounds"]["path_s"].as_f64().unwrap() <= expected_s);
    for key in [
        "segment",
        "arities",
        "levels",
        "stages",
        "binds",
        "jobs_per_h",
        "requester",
        "energy_kwh",
    ] {
        assert!(!plan[key].is_null(), "{key}");
    }
}

#[test]
fn a_deadline_gives_machines_and_these_keep_it() {
    let needed = plan(&["--instructions", "90000000", "--deadline", "400"]);
    assert_eq!(needed["in_time"], true);
    let machines = needed["nodes_needed"].as_u64().unwrap();
    assert_eq!(needed["machines"], machines);
    let with = |machines: u64| {
        let machines = machines.to_string();
        plan(&["--instructions", "90000000", "--nodes", &machines])["expected_s"]
            .as_f64()
            .unwrap()
    };
    assert!(with(machines) <= 400.0);
    assert!(with(machines / 2) > 400.0);
    run(["plan", "--instructions", "90e6", "--deadline", "5"])
        .exits(FAILED)
        .says("longest path");
}

#[test]
fn a_mixed_fleet_and_the_real_scheduler_agree() {
    let slow = profile(|v| {
        v["name"] = json!("attic");
        for program in v["programs"].as_array_mut().unwrap() {
            for list in ["segments", "nodes"] {
                for sample in program[list].as_array_mut().unwrap() {
                    let wall_s = sample["measured"]["wall_s"].as_f64().unwrap();
                    sample["measured"]["wall_s"] = json!(2.0 * wall_s);
                }
            }
        }
    });
    let same = profile(|_| ());
    let (slow, same) = (slow.path().to_str().unwrap(), same.path().to_str().unwrap());
    let mixed = plan(&[
        "--instructions",
        "20000000",
        "--profile",
        &format!("{same}:30"),
        "--profile",
        &format!("{slow}:20"),
        "--simulate",
    ]);
    assert_eq!(mixed["machines"], 50);
    assert_eq!(mixed["profiles"][1]["name"], "attic");
    let ratio = mixed["simulation"]["planned_to_simulated"].as_f64().unwrap();
    assert!((0.8..1.25).contains(&ratio), "{mixed}");
    let fast = plan(&["--instructions", "20000000", "--profile", &format!("{same}:50")]);
    assert!(fast["expected_s"].as_f64() <= mixed["expected_s"].as_f64());
}

#[test]
fn a_program_is_executed_for_its_instructions() {
    let elf = guest("fibonacci");
    let plan = plan(&[&elf, "--input", "0x01a086010000000000", "--nodes", "4"]);
    assert!(plan["instructions"].as_f64().unwrap() > 1e6);
    assert_eq!(plan["costs_of"], "fibonacci");
}

#[test]
fn profiles_that_are_none_are_named_with_what_is_wrong() {
    for (file, said) in [
        (profile(|v| v["version"] = json!(7)), "version 7"),
        (profile(|v| v["warp"] = json!(9)), "`warp`"),
        (
            profile(|v| v["machine"]["cores"] = json!(1_000_000)),
            "machine.cores is 1000000",
        ),
        (
            profile(|v| v["programs"][0]["boundary_s"] = json!(-3.0)),
            "programs[0].boundary_s is -3",
        ),
    ] {
        let path = file.path().to_str().unwrap();
        run(["plan", "--gas", "1000000", "--profile", path])
            .exits(FAILED)
            .says(path)
            .says(said);
    }
    run(["plan", "--gas", "1000000", "--profile", "/nonexistent.json"])
        .exits(FAILED)
        .says("/nonexistent.json");
}

#[test]
fn workloads_and_fleets_that_make_no_sense_are_named() {
    for (args, said) in [
        (&["--nodes", "5"][..], "required"),
        (&["--gas", "1", "--instructions", "1"], "cannot be used with"),
        (&["--gas", "1000000", "--honest", "1.5"], "honest"),
        (&["--gas", "1000000", "--nodes", "0"], "no machine"),
        (&["--gas", "1000000", "--costs-of", "doom"], "evm-block"),
        (&["--gas", "1000000", "--up", "0"], "uplink"),
        (&["--instructions", "0"], "instructions"),
    ] {
        run(["plan"].iter().chain(args).copied()).exits(USAGE).says(said);
    }
    run(["plan", "--gas", "1000000", "--nodes", "10", "--memory", "256MiB"])
        .exits(USAGE)
        .says("the least is 0.50 GiB");
    run(["bench", "--threads", "0"]).exits(USAGE).says("--threads");
    run(["bench", "--quick", "--only", "fibonacci"])
        .exits(USAGE)
        .says("cannot be used with");
}
