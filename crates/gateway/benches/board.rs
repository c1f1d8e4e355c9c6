//! The board with many jobs, tasks and readers: time and memory.
//!
//! ```text
//! cargo bench -p myriad-gateway --bench board
//! ```

use std::{
    fs,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use myriad_core::{Arities, JobId, TaskId, Tree};
use myriad_gateway::board::{Board, Filter, NewEntry, Reporter, Stream};
use myriad_node::{Event, Observer};

const JOBS: u16 = 1000;
const SEGMENTS: u32 = 3700;
const READERS: usize = 1000;
const EVENTS: u64 = 20_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    list(&board);
    let mut reporter = enter(&board, JOBS);
    tasks(&board, &mut reporter);
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(readers(&board, reporter));
    drop(board);
    let since = Instant::now();
    let board = Board::open(dir.path()).unwrap();
    let took = since.elapsed();
    println!("opened with {} jobs on the disk: {took:?}", JOBS + 1);
    drop(board);
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
        deadline_s: None,
        block: None,
        verify: "--program program.elf".into(),
        owner: Some("ann".into()),
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
    for limit in [50, 1000] {
        let filter = Filter {
            limit,
            ..Filter::default()
        };
        let (took, json) = best(|| serde_json::to_string(&board.list(&filter)).unwrap());
        println!(
            "{limit} of {JOBS} jobs listed as JSON of {} KiB: {took:?}",
            json.len() >> 10
        );
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
async fn readers(board: &Board, mut reporter: Reporter) {
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
    let tasks = all_tasks();
    let since = Instant::now();
    let told = tokio::task::spawn_blocking(move || {
        for number in 0..EVENTS {
            let task = tasks[number as usize % tasks.len()];
            reporter.event(&done(0, task));
        }
        since.elapsed()
    });
    let told = told.await.unwrap();
    let all = EVENTS * reading.len() as u64;
    while read.load(Ordering::Relaxed) < all && since.elapsed() < told + Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!(
        "{EVENTS} events to {} that read and {} that do not: {:?} for an event to be told, {} events read by {:?}, {} KiB more memory",
        reading.len(),
        idle.len(),
        told / EVENTS as u32,
        read.load(Ordering::Relaxed),
        since.elapsed(),
        resident().saturating_sub(subscribed) >> 10
    );
    let mut late = idle.pop().unwrap();
    println!("one that did not read gets: {}", late.next().await.name);
    reading.iter().for_each(tokio::task::JoinHandle::abort);
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
