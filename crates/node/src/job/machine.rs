//! The memory and the cores that this machine can spare.

use std::{fs, path::Path, thread};

/// Cores and free memory, as the operating system tells them now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub cores: usize,
    /// Memory that can be used without pushing anything else out, in bytes; none if the system does
    /// not say.
    pub free_bytes: Option<u64>,
    /// All memory, in bytes; none if the system does not say.
    pub total_bytes: Option<u64>,
}

impl Machine {
    pub fn detect() -> Self {
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            free_bytes: free_bytes(Path::new("/")),
            total_bytes: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| field(&text, "MemTotal:")),
        }
    }

    /// The number of children of `child_bytes` each that fit into the free memory: at least one.
    pub fn fitting(&self, child_bytes: u64) -> usize {
        self.free_bytes
            .map_or(1, |free| (free / child_bytes.max(1)) as usize)
            .max(1)
    }
}

/// The memory that the system has to spare, or that the limit of this process's group leaves.
fn free_bytes(root: &Path) -> Option<u64> {
    let read = |path| fs::read_to_string(root.join(path)).ok();
    let system = read("proc/meminfo").and_then(|text| field(&text, "MemAvailable:"))?;
    // In a container, these files are the container's own. Without a limit, the first one says
    // `max`.
    let number = |path| read(path)?.trim().parse::<u64>().ok();
    let of_group = number("sys/fs/cgroup/memory.max")
        .and_then(|max| Some(max.saturating_sub(number("sys/fs/cgroup/memory.current")?)));
    Some(of_group.map_or(system, |group| group.min(system)))
}

/// A field of Linux's `meminfo`, in bytes.
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let kib = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
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
        let text = "MemTotal: 10 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(field(text, "MemTotal:"), Some(10 << 10));
        assert_eq!(field(text, "SwapTotal:"), None);
    }

    #[test]
    fn a_groups_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(free_bytes(root.path()), None);
        write("proc/meminfo", "MemAvailable:   2048 kB\n");
        assert_eq!(free_bytes(root.path()), Some(2 << 20));
        write("sys/fs/cgroup/memory.max", "max\n");
        write("sys/fs/cgroup/memory.current", "1048576\n");
        assert_eq!(free_bytes(root.path()), Some(2 << 20));
        write("sys/fs/cgroup/memory.max", "1572864\n");
        assert_eq!(free_bytes(root.path()), Some(1 << 19));
    }

    #[test]
    fn at_least_one_child_fits() {
        let machine = Machine {
            cores: 2,
            free_bytes: Some(9),
            total_bytes: Some(16),
        };
        assert_eq!((machine.fitting(4), machine.fitting(10)), (2, 1));
    }
}
