//! Files of this machine and of its user: records, the journal, status, profiles, scenarios.

use std::{fs, path::Path};

use myriad_core::{Arities, Peer, Standing, TaskId};
use myriad_cost::profile::Profile;
use myriad_engine::{Boundary, Plan};
use myriad_node::{
    JournalEntry, JournalPlan,
    prover::{Status, StatusFile},
    records::Jobs,
};
use myriad_sim::fleet::ScenarioFile;

use super::{JOB, blob_ref, engine::a_segment, postcard_of, posted, scratch};

/// A row of each table that a requester keeps, with the number of its table before it.
pub(super) fn journal_rows() -> Vec<Vec<u8>> {
    // A root has no constructor outside the engine, and needs none: it decodes from what it encodes
    // to.
    let root = [1, 2, 3, 4, 5, 6, 7, 8];
    let boundary: Boundary = serde_json::from_value(serde_json::json!({
        "initial_pc": 0, "final_pc": 4, "initial_root": root, "final_root": root, "exit_code": 0,
    }))
    .expect("a boundary");
    let entry = JournalEntry {
        proof: blob_ref(),
        boundary,
    };
    let plan = JournalPlan {
        memory_bytes: 4 << 30,
        engine: [0xcc; 32],
        arities: Arities {
            leaf: 1,
            internal_for_leaf: 2,
            internal_recursive: 2,
        },
        plan: Plan {
            segments: vec![a_segment(); 2],
            public_values: vec![7; 32],
            instructions: 200_000,
        },
    };
    let standing = Standing {
        accepted: 3,
        banned: Some("it lied".into()),
        ..Standing::default()
    };
    let rows = [
        posted(&entry),
        posted(&plan),
        posted(&vec![boundary; 2]),
        posted(&(TaskId::Segment(3), Peer([7; 32]))),
        posted(&standing),
    ];
    let numbered = |(table, row): (u8, Vec<u8>)| [vec![table], row].concat();
    (0..).zip(rows).map(numbered).collect()
}

pub(super) fn journal_row(bytes: &[u8]) -> bool {
    let Some((table, row)) = bytes.split_first() else {
        return false;
    };
    match table {
        0 => postcard_of::<JournalEntry>(row),
        1 => postcard_of::<JournalPlan>(row),
        2 => postcard_of::<Vec<Boundary>>(row),
        3 => postcard_of::<(TaskId, Peer)>(row),
        4 => postcard_of::<Standing>(row),
        _ => false,
    }
}

pub(super) fn records() -> Vec<Vec<u8>> {
    let file = serde_json::json!({ "blake3": JOB.to_string(), "bytes": 7 });
    let record = serde_json::json!({
        "version": 1, "name": "fibonacci", "state": "open", "begun": 1, "updated": 2, "pid": 3,
        "out_dir": "/tmp", "memory_bytes": 4_294_967_296_u64, "max_instructions": 1000,
        "fleet": { "kind": "network", "provers": 8 }, "verify": "--program x.elf",
        "program": file, "openvm_toml": null, "input": file, "done": 1, "tasks": 6,
    });
    vec![serde_json::to_vec(&record).expect("plain data")]
}

pub(super) fn record(bytes: &[u8]) -> bool {
    let dir = scratch();
    let folder = dir.path().join("jobs").join(JOB.to_string());
    fs::create_dir_all(&folder).expect("there is room");
    fs::write(folder.join("job.json"), bytes).expect("there is room");
    let jobs = Jobs::of(dir.path());
    let found = jobs
        .list()
        .expect("one broken record is not the folder's failure");
    assert_eq!(found.len(), 1);
    found[0].record.is_some()
}

pub(super) fn statuses() -> Vec<Vec<u8>> {
    vec![serde_json::to_vec(&Status::default()).expect("plain data")]
}

pub(super) fn status(bytes: &[u8]) -> bool {
    let dir = scratch();
    fs::write(dir.path().join("status.json"), bytes).expect("there is room");
    StatusFile::read(dir.path()).is_ok()
}

pub(super) fn profiles() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/report/profiles/epyc-2-cores.json");
    vec![fs::read(path).expect("it is part of the report")]
}

/// A profile that is taken can be fitted to, and its numbers are numbers.
pub(super) fn profile(bytes: &[u8]) -> bool {
    Profile::parse(bytes).is_ok_and(|profile| profile.validate().is_ok())
}
/// The output of `myriad simulate --example`.
pub(super) fn scenarios() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/report/scenarios/ten-rollups.toml");
    vec![
        include_bytes!("../../../crates/cli/src/commands/simulate/example.toml").to_vec(),
        fs::read(path).expect("it is part of the report"),
    ]
}

pub(super) fn scenario(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| ScenarioFile::parse(text).is_ok())
}
