//! The engine child when its machine has too little for it.

use std::fs;

use myriad_engine::{
    Input, MemoryBudget,
    worker::{Worker, WorkerConfig, WorkerError},
};

use crate::common::{data_dir, guest};

/// Enough to start with, and far less than any segment takes.
const DATA_BYTES_MAX: u64 = 700 << 20;

#[test]
fn a_child_without_memory_is_reported_and_not_waited_for() {
    let start = |more: &[&str]| {
        let keys = data_dir().join("keys").to_str().unwrap().to_owned();
        let args = [&["engine-worker", "--keys", &keys], more].concat();
        let config = WorkerConfig {
            command: env!("CARGO_BIN_EXE_myriad").into(),
            args: args.into_iter().map(str::to_owned).collect(),
            threads: 1,
        };
        let mut worker = Worker::spawn(&config).unwrap();
        let image = fs::read(guest("fibonacci")).unwrap();
        let input = Input::from_bytes(1000u32.to_le_bytes().to_vec()).unwrap();
        worker.load(image, None, input).unwrap();
        worker
    };
    let (plan, _) = start(&[])
        .plan(MemoryBudget::from_bytes(4 << 30), 1_000_000)
        .unwrap();
    let mut worker = start(&["--data-bytes-max", &DATA_BYTES_MAX.to_string()]);
    match worker.prove(&plan.segments[0]) {
        Err(WorkerError::Died(death)) => assert!(death.out_of_memory, "{death}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a segment was proven in {DATA_BYTES_MAX} bytes"),
    }
    // Whoever asks a dead child gets an answer too.
    assert!(worker.prove(&plan.segments[0]).is_err());
}
