//! A child of this engine, as a caller starts it.

use myriad_engine::{
    Input, MemoryBudget, known,
    worker::{Worker, WorkerConfig, data_bytes_max},
};

const MEMORY: MemoryBudget = MemoryBudget::from_bytes(4 << 30);

pub(crate) fn config() -> WorkerConfig {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let keys = env!("CARGO_TARGET_TMPDIR");
    let data_bytes_max = data_bytes_max(MEMORY, threads).to_string();
    WorkerConfig {
        engine: known::risc0(),
        command: env!("CARGO_BIN_EXE_myriad-engine-risc0").into(),
        args: ["--keys", keys, "--data-bytes-max", &data_bytes_max]
            .map(str::to_owned)
            .into(),
        keys: keys.into(),
        threads,
    }
}

/// A confined child that has a program, and an input of one number.
pub(crate) fn worker(elf: &[u8], input: u32) -> Worker {
    let mut worker = Worker::spawn_within(&config(), MEMORY).unwrap();
    let input = Input::from_bytes(input.to_le_bytes().to_vec()).unwrap();
    worker.load(elf, None, input).unwrap();
    worker
}

/// The largest resident set of a child so far.
pub(crate) fn peak_bytes(worker: &Worker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid())).unwrap();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
