//! The samples that the tests of the gateway's page are made with are documents of this API.

use std::{fmt::Debug, fs, path::PathBuf};

use myriad_api::{Event, Job, JobList, Peers, Service, Tasks};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn samples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../gateway/page/tests/samples")
}

/// What is decoded has all that the text has, and nothing else.
#[track_caller]
fn is_whole<T: DeserializeOwned + Serialize + Debug>(text: &str) {
    let decoded: T = serde_json::from_str(text).unwrap();
    let again = serde_json::to_value(&decoded).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
    assert!(!format!("{decoded:?}").contains("Unknown"), "{decoded:?}");
}

#[test]
fn documents_are_read_and_written_without_a_difference() {
    for file in fs::read_dir(samples()).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        match path.file_name().unwrap().to_str().unwrap() {
            "service.json" => is_whole::<Service>(&text),
            "job.json" | "job-failed.json" => is_whole::<Job>(&text),
            "list.json" => is_whole::<JobList>(&text),
            "peers.json" => is_whole::<Peers>(&text),
            "tasks.json" | "tasks-planning.json" => is_whole::<Tasks>(&text),
            "events.ndjson" => text.lines().for_each(is_whole::<Event>),
            name => panic!("{name}: say here which document it is"),
        }
    }
}

#[test]
fn events_of_each_kind_are_among_them() {
    let mut names: Vec<&str> = Vec::new();
    for line in fs::read_to_string(samples().join("events.ndjson"))
        .unwrap()
        .lines()
    {
        let event: Event = serde_json::from_str(line).unwrap();
        names.push(event.news.name());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 13, "{names:?}");
}
