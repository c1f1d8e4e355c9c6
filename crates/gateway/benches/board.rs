//! The board with many jobs, tasks and readers: time and memory.
//!
//! ```text
//! cargo bench -p myriad-gateway --bench board
//! ```

use std::{
    fs,
    hint::black_box,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use myriad_core::{Arities, JobId, TaskId, Tree};
use myriad_gateway::board::{Board, Filter, NewEntry, Reporter, Stream};
use myriad_node::{Event, Observer};
use serde_json::json;

const JOBS: u16 = 1000;
const SEGMENTS: u32 = 3700;
const READERS: usize = 1000;
/// The ring of a job holds more than the first, and fewer than the second.
const EVENTS: u64 = 2000;
const TOO_MANY: u64 = 20_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    list(&board);
    let mut reporter = enter(&board, JOBS);
    tasks(&board, &mut reporter);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(readers(&board, reporter));
    drop(board);
    leave_records(dir.path());
    let since = Instant::now();
    let board = Board::open(dir.path()).unwrap();
    let took = since.elapsed();
    println!("opened with {} jobs on the disk: {took:?}", JOBS + 1);
    show_lists(&board, "on the disk");
}

fn id(number: u16) -> JobId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    JobId(id)
}

fn enter(board: &Board, number: u16) -> Reporter {
    let entry = NewEntry {
        name: format!("job-{number}"),
        engine: "pretended".into(),
        priority: 0,
        verify: "--program program.elf".into(),
        owner: Some("ann".into()),
        ..NewEntry::default()
    };
    board.enter(id(number), entry).unwrap()
}

fn list(board: &Board) {
    let since = Instant::now();
    for number in 0..JOBS {
        let mut reporter = enter(board, number);
        reporter.event(&planned(1));
    }
    let each = since.elapsed() / u32::from(JOBS);
    println!("a job entered, with a durable note: {each:?}");
    show_lists(board, "in mind");
}

fn show_lists(board: &Board, are: &str) {
    for limit in [50, 1000] {
        let filter = Filter {
            limit,
            ..Filter::default()
        };
        let (took, json) = best(|| serde_json::to_string(&board.list(&filter)).unwrap());
        println!(
            "{limit} of {JOBS} jobs {are} listed as JSON of {} KiB: {took:?}",
            json.len() >> 10
        );
    }
}

/// Leaves the records of the jobs, as the node does.
fn leave_records(dir: &Path) {
    for number in 0..=JOBS {
        let part = json!({ "blake3": "00".repeat(32), "bytes": 1 });
        let record = json!({
            "version": 1, "name": "block", "state": "open", "begun": 100, "updated": 100, "pid": 1,
            "out_dir": "out", "memory_bytes": 1, "max_instructions": 1,
            "fleet": { "kind": "network", "provers": 1 }, "engine": "pretended", "verify": "--program p",
            "program": part, "input": part, "done": 4, "tasks": 6,
        });
        let folder = dir.join("jobs").join(id(number).to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("job.json"), record.to_string()).unwrap();
    }
}

fn planned(segments: u32) -> Event {
    let arities = Arities {
        leaf: 4,
        internal_for_leaf: 3,
        internal_recursive: 3,
    };
    let tree = Tree::new(segments, arities);
    Event::Planned {
        instructions: 1 << 32,
        segments: segments as usize,
        nodes: tree.node_count(),
        arities,
        provers: 1000,
        reused: 0,
        kept: Vec::new(),
        public_values: vec![7; 32],
    }
}

fn all_tasks() -> Vec<TaskId> {
    let arities = Arities {
        leaf: 4,
        internal_for_leaf: 3,
        internal_recursive: 3,
    };
    Tree::new(SEGMENTS, arities).tasks().collect()
}

fn done(prover: usize, task: TaskId) -> Event {
    Event::Done {
        prover,
        task,
        usage: Default::default(),
        proof_bytes: 300_000,
    }
}

fn tasks(board: &Board, reporter: &mut Reporter) {
    reporter.event(&planned(SEGMENTS));
    let tasks = all_tasks();
    let memory = resident();
    let since = Instant::now();
    for (prover, &task) in tasks.iter().enumerate() {
        reporter.event(&Event::Started { prover, task });
        reporter.event(&done(prover, task));
    }
    let each = since.elapsed() / (2 * tasks.len() as u32);
    println!(
        "{} tasks started and done: {each:?} for an event, {} KiB more memory",
        tasks.len(),
        resident().saturating_sub(memory) >> 10
    );
    let (took, json) = best(|| serde_json::to_string(&board.tasks(id(JOBS)).unwrap()).unwrap());
    println!("their document as JSON of {} KiB: {took:?}", json.len() >> 10);
}

/// Half of the readers read all, and the others nothing.
async fn readers(board: &Board, reporter: Reporter) {
    let memory = resident();
    let read = Arc::new(AtomicU64::new(0));
    let of = Stream::Job(id(JOBS));
    let mut idle = Vec::new();
    let mut reading = Vec::new();
    for number in 0..READERS {
        let mut reader = board.subscribe(of, None).unwrap();
        reader.next().await;
        if number % 2 == 0 {
            idle.push(reader);
            continue;
        }
        let read = Arc::clone(&read);
        reading.push(tokio::spawn(async move {
            loop {
                let delivery = reader.next().await;
                black_box(delivery.data.len());
                read.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let subscribed = resident();
    println!(
        "{READERS} readers: {} KiB more memory",
        subscribed.saturating_sub(memory) >> 10
    );
    let all = EVENTS * reading.len() as u64;
    let since = Instant::now();
    let (reporter, told) = tell(reporter, EVENTS).await;
    while read.load(Ordering::Relaxed) < all {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!(
        "{EVENTS} events to {} that read and {} that do not: {:?} for an event to be told, all {all} read after {:?}",
        reading.len(),
        idle.len(),
        told / EVENTS as u32,
        since.elapsed(),
    );
    reading.iter().for_each(tokio::task::JoinHandle::abort);
    let (_, told) = tell(reporter, TOO_MANY).await;
    println!(
        "{TOO_MANY} events to those that do not: {:?} for an event to be told; {} KiB more memory after all",
        told / TOO_MANY as u32,
        resident().saturating_sub(subscribed) >> 10
    );
    let mut late = idle.pop().unwrap();
    println!("one that did not read gets: {}", late.next().await.name);
}

/// Has so many events happen, and says how long that took.
async fn tell(mut reporter: Reporter, events: u64) -> (Reporter, Duration) {
    let tasks = all_tasks();
    let told = tokio::task::spawn_blocking(move || {
        let since = Instant::now();
        for number in 0..events {
            reporter.event(&done(0, tasks[number as usize % tasks.len()]));
        }
        let took = since.elapsed();
        (reporter, took)
    });
    told.await.unwrap()
}

/// The shortest of several runs.
fn best<T>(mut run: impl FnMut() -> T) -> (Duration, T) {
    let runs = (0..20).map(|_| {
        let since = Instant::now();
        let value = run();
        (since.elapsed(), value)
    });
    runs.min_by_key(|(took, _)| *took).unwrap()
}

/// The resident bytes of this process.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}
