//! What this machine has to spare.

use std::{fs, thread};

/// Cores and free memory, as the operating system tells them now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub cores: usize,
    /// Memory that can be used without pushing anything else out, in bytes; none where the system
    /// does not say.
    pub free_bytes: Option<u64>,
}

impl Machine {
    pub fn detect() -> Self {
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            free_bytes: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| available(&text)),
        }
    }

    /// How many children of `child_bytes` each fit into the free memory: at least one.
    pub fn fitting(&self, child_bytes: u64) -> usize {
        self.free_bytes
            .map_or(1, |free| (free / child_bytes.max(1)) as usize)
            .max(1)
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    kib.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        assert_eq!(
            available("MemTotal: 10 kB\nMemAvailable:   2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(available("MemTotal: 10 kB\n"), None);
    }

    #[test]
    fn at_least_one_child_fits() {
        let machine = Machine {
            cores: 2,
            free_bytes: Some(9),
        };
        assert_eq!((machine.fitting(4), machine.fitting(10)), (2, 1));
    }
}
