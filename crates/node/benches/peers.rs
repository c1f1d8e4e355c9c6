//! A requester with hundreds of provers on one machine, over real connections on loopback; only
//! proving is pretended, by `tests/jobs_over_network/testbed`.
//!
//! ```text
//! cargo bench --workspace --bench peers -- [--provers 300] [--segments 2180] [--task-ms 2000]
//! ```

#[path = "../tests/jobs_over_network/testbed/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
mod testbed;

use std::{collections::BTreeSet, fs, time::Duration};

use myriad_net::wire::Role;
use testbed::{Fault, PROOF_BYTES, Pretender, Prover, Request, address, request, start, tree};

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (mut provers, mut segments, mut task_ms) = (300, 2180, 2000);
    while let Some(arg) = args.next() {
        let value = args.next().and_then(|text| text.parse().ok());
        match (arg.as_str(), value) {
            ("--provers", Some(value)) => provers = value,
            ("--segments", Some(value)) => segments = value,
            ("--task-ms", Some(value)) => task_ms = value,
            _ => panic!("{arg}: --provers, --segments and --task-ms take a number each"),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Each prover waits for its pretended engine in a thread.
        .max_blocking_threads(2 * provers as usize + 64)
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let (network, events) = start(dir.path(), Role::Requester, &[]);
        let at = vec![address(&network).await];
        let task = Duration::from_millis(task_ms.into());
        let provers: Vec<Prover> = (0..provers)
            .map(|_| Prover::start(&at, Pretender::new(task, Fault::None)))
            .collect();
        let wanted = Request {
            seed: 1,
            segments,
            task,
            own: BTreeSet::new(),
            redundancy: myriad_core::Redundancy::default(),
            leases: testbed::Journal::default(),
            owed: testbed::Owed::default(),
            own_final: false,
            stop: Box::pin(std::future::pending()),
            execution: None,
            growth: None,
            priority: 0,
            due: None,
            files_of: None,
            kept: testbed::Kept::default(),
        };
        let before = cpu_s();
        let outcome = request(network.clone(), events, wanted).await;
        outcome.result.unwrap();
        let tasks = tree(segments).task_count();
        let (cpu, wall) = (cpu_s() - before, outcome.took.as_secs_f64());
        let peers = provers.len();
        let ideal = tasks as f64 * task.as_secs_f64() / peers as f64;
        let busy = provers.iter().filter(|prover| prover.begun() > 0).count();
        let received: u64 = provers.iter().map(|prover| prover.network.traffic().blob_bytes_in).sum();
        println!("| provers | tasks | wall s | tasks / provers x task s | CPU s of all nodes | CPU ms per task | peak MiB of all nodes | requester's messages per task | its proof bytes in / needed | its bytes out MB | provers' bytes in MB |");
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        println!(
            "| {peers} ({busy} worked) | {tasks} | {wall:.1} | {ideal:.1} | {cpu:.1} | {:.1} | {} | {:.1} | {:.3} | {:.1} | {:.1} |",
            1e3 * cpu / tasks as f64,
            peak_mib(),
            outcome.traffic.messages as f64 / tasks as f64,
            outcome.traffic.blob_bytes_in as f64 / (tasks * PROOF_BYTES) as f64,
            outcome.traffic.blob_bytes_out as f64 / 1e6,
            received as f64 / 1e6,
        );
        provers.into_iter().for_each(Prover::kill);
    });
    runtime.shutdown_background();
}

/// CPU time of this process, with all nodes in it. Linux counts in hundredths of a second.
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
}
