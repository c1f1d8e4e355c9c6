//! The control group of the engine child, made on the machine of the test. A process in it takes
//! more memory than is lent, and the kernel ends it.

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use myriad_engine::MemoryBudget;
use myriad_node::prover::Group;

/// The memory that is lent to the group.
const LENT: u64 = 64 << 20;
/// Takes all memory once a line has come; without a group it has 1 GiB, and then says that there is
/// no more.
const GREEDY: &str = "ulimit -v 1048576; read line; exec tail /dev/zero";
const PATIENCE: Duration = Duration::from_secs(120);
const SIGKILL: i32 = 9;

/// Whether this process may make such a group.
pub fn possible() -> Result<(), String> {
    match Group::make(MemoryBudget::from_bytes(LENT)) {
        Some(_) => Ok(()),
        None => Err(
            "no control group of version 2 that limits memory can be made: the kernel has none, or it takes root".into(),
        ),
    }
}

pub fn the_kernel_ends_what_takes_more_than_its_group_has() {
    let group = Group::make(MemoryBudget::from_bytes(LENT)).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", GREEDY])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    group.add(child.id()).unwrap();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on after {} s", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(50));
    };
    assert_eq!(status.signal(), Some(SIGKILL), "{status}");
}
