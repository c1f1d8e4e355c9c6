//! The most memory that the process of a test has taken. A test that asks for it is in a binary of
//! its own: memory is the whole process's.

use std::fs;

/// Forgets what has been taken so far, and gives what is taken now, in bytes.
pub fn forget() -> u64 {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    bytes()
}

/// The most that was taken since it was last forgotten, in bytes.
pub fn bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}
