//! What the service takes: 200 streams of events, 50 reads a second and 1,000 jobs in the list; and
//! an upload of 256 MiB.
//!
//! `cargo bench -p myriad-gateway --bench http`

#[path = "../tests/http/client.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod client;
#[path = "../tests/http/site.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod site;

use std::{
    fs,
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use myriad_core::JobId;
use myriad_gateway::board::NewEntry;

use crate::{
    client::{FORM, connect, head},
    site::{Plan, Site},
};

const JOBS: u64 = 1000;
const STREAMS: usize = 200;
const READS: usize = 1000;
const READS_PER_SECOND: u32 = 50;
const UPLOAD_BYTES: usize = 256 << 20;

fn main() {
    // `cargo test --benches` asks for tests, of which there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let plan = Plan::new().limits(|limits| {
        limits.streams_per_address = STREAMS;
        limits.connections_per_address = 4 * STREAMS;
    });
    let site = plan.start();
    for number in 0..JOBS {
        enter(&site, number);
    }
    let before = memory();
    let streams: Vec<_> = (0..STREAMS)
        .map(|number| {
            let path = match number % 2 {
                0 => "/v1/events".to_owned(),
                _ => format!("/v1/jobs/{}/events", job(number as u64)),
            };
            let mut stream = connect(site.address);
            stream.write_all(head("GET", &path, &[]).as_bytes()).unwrap();
            let mut reader = stream.try_clone().unwrap();
            // Half of them read.
            if number % 4 < 2 {
                thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {});
            }
            stream
        })
        .collect();
    let paths = ["/v1/jobs", "/v1/jobs?limit=1000", "/v1/service", "/v1/peers"];
    let detail = format!("/v1/jobs/{}", job(JOBS / 2));
    for path in paths.into_iter().chain([detail.as_str()]) {
        reads(&site, path);
    }
    println!(
        "memory: {before} MiB before the streams, {} MiB with {STREAMS} of them",
        memory()
    );
    drop(streams);
    upload(&site);
}

fn job(number: u64) -> JobId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    JobId(id)
}

fn enter(site: &Site, number: u64) {
    let entry = NewEntry {
        name: format!("job-{number}"),
        engine: "pretended".into(),
        priority: 0,
        verify: "--test".into(),
        owner: None,
        ..NewEntry::default()
    };
    drop(site.board.enter(job(number), entry).unwrap());
}

/// Reads at a steady pace, each over a connection of its own.
fn reads(site: &Site, path: &str) {
    let each = Duration::from_secs(1) / READS_PER_SECOND;
    let begun = Instant::now();
    let count = READS / 5;
    let mut times: Vec<_> = (0..count)
        .map(|number| {
            let due = each * u32::try_from(number).unwrap();
            thread::sleep(due.saturating_sub(begun.elapsed()));
            let asked = Instant::now();
            assert_eq!(site.get(path).status, 200);
            asked.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!(
        "{path}: {count} reads, {READS_PER_SECOND} a second: p50 {:.2?}, p99 {:.2?}",
        at(50),
        at(99)
    );
}

fn upload(site: &Site) {
    let before = memory();
    let bearer = site.bearer();
    let begin = b"--xYzZy\r\ncontent-disposition: form-data; name=program\r\n\r\n";
    let length = (begin.len() + UPLOAD_BYTES + 100).to_string();
    let headers = [
        ("authorization", bearer.as_str()),
        FORM,
        ("content-length", &length),
        ("connection", "close"),
    ];
    let mut stream = connect(site.address);
    let begun = Instant::now();
    stream
        .write_all(head("POST", "/v1/jobs", &headers).as_bytes())
        .unwrap();
    stream.write_all(begin).unwrap();
    let piece = vec![b'p'; 1 << 20];
    let mut most = before;
    for _ in 0..UPLOAD_BYTES >> 20 {
        stream.write_all(&piece).unwrap();
        most = most.max(memory());
    }
    let came = begun.elapsed();
    println!(
        "upload of {} MiB: {came:.2?}, memory {} MiB before and {most} MiB at most while it comes",
        UPLOAD_BYTES >> 20,
        before
    );
    // The job itself is no part of this: the body is left unfinished.
    drop(stream);
}

/// MiB of the process, clients of this benchmark included.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib >> 10
}
