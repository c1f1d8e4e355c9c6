//! Proofs of jobs that are done: whole, in parts, and again.

use std::{fs, path::PathBuf, time::Duration};

use myriad_core::JobId;
use myriad_gateway::board::{End, NewEntry};
use myriad_node::Outcome;

use crate::site::Site;

/// A job that is done, with a proof of these bytes.
fn done(site: &Site, byte: u8, proof: &[u8], baseline: Option<&[u8]>) -> String {
    let id = JobId([byte; 32]);
    let dir = site
        .dir
        .path()
        .join("gateway")
        .join("proofs")
        .join(id.to_string());
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = dir.join(name);
        // The service may just be removing the folder, which is empty and of no job of its own.
        while fs::create_dir_all(&dir)
            .and_then(|()| fs::write(&path, bytes))
            .is_err()
        {}
        path
    };
    let entry = NewEntry {
        name: "fib".into(),
        engine: "pretended".into(),
        priority: 0,
        verify: "--test".into(),
        owner: None,
        ..NewEntry::default()
    };
    drop(site.board.enter(id, entry).unwrap());
    let outcome = Outcome {
        instructions: 7,
        segments: 1,
        nodes: 1,
        public_values: vec![1, 2],
        proof_path: write("fib.proof", proof),
        baseline_path: baseline.map(|baseline| write("fib.baseline", baseline)),
        proof_bytes: proof.len(),
        reused: 0,
        wall: Duration::from_secs(1),
        in_time: None,
        peak_bytes: 0,
        verify: Duration::from_millis(3),
        stages: Vec::new(),
    };
    site.board.ended(id, End::Done(&outcome));
    id.to_string()
}

#[test]
fn a_proof_is_given_out_whole_and_in_parts() {
    let site = Site::new();
    let proof: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
    let id = done(&site, 1, &proof, Some(b"baseline"));
    let job = site.get(&format!("/v1/jobs/{id}")).is(200);
    assert_eq!(job["state"], "done");
    let path = job["proof"]["href"].as_str().unwrap();
    assert_eq!(path, format!("/v1/jobs/{id}/proof"));
    let whole = site.get(path);
    assert_eq!((whole.status, whole.body == proof), (200, true));
    assert_eq!(whole.header("content-type"), Some("application/octet-stream"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(
        whole.header("content-disposition"),
        Some("attachment; filename=\"fib.proof\"")
    );
    let tag = whole.header("etag").unwrap();
    assert_eq!(site.ask("GET", path, &[("if-none-match", tag)]).status, 304);
    let part = site.ask("GET", path, &[("range", "bytes=100000-"), ("if-range", tag)]);
    assert_eq!((part.status, part.body == proof[100_000..]), (206, true));
    assert_eq!(part.header("content-range"), Some("bytes 100000-199999/200000"));
    let other = site.ask(
        "GET",
        path,
        &[("range", "bytes=100000-"), ("if-range", "\"other\"")],
    );
    assert_eq!((other.status, other.body.len()), (200, 200_000));
    let none = site.ask("GET", path, &[("range", "bytes=200000-")]);
    none.is_problem(416, "range-not-satisfiable");
    assert_eq!(none.header("content-range"), Some("bytes */200000"));
    let head = site.ask("HEAD", path, &[]);
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("200000"))
    );
    let baseline = job["proof"]["baseline_href"].as_str().unwrap();
    assert_eq!(site.get(baseline).body, b"baseline");
}

#[test]
fn what_is_not_there_any_more_is_said() {
    let site = Site::new();
    let id = done(&site, 2, b"proof", None);
    site.get(&format!("/v1/jobs/{id}/baseline"))
        .is_problem(404, "not-found");
    site.delete(&id).is_problem(409, "conflict");
    let proofs = site.dir.path().join("gateway").join("proofs");
    fs::remove_dir_all(proofs).unwrap();
    site.get(&format!("/v1/jobs/{id}/proof"))
        .is_problem(404, "not-found");
}
