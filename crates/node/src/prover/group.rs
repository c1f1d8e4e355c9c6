//! The control group of the engine child. Where this process may make one, the kernel itself holds
//! the child to its memory, and ends it when it takes more.
//!
//! That is so as root, and under systemd with `Delegate=memory pids` and `DelegateSubgroup=node`:
//! the node is then in a group below one that is its own, and makes another one beside it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use myriad_engine::MemoryBudget;

use super::MEMORY_HARD;

/// Threads and processes in the group: more than a child has on any machine, and fewer than it
/// takes to leave none for others.
const TASKS_MAX: usize = 1024;

/// A control group (version 2) with a limit of memory and of threads, which is removed with this
/// value.
#[derive(Debug)]
pub struct Group {
    dir: PathBuf,
}

impl Group {
    /// Makes a group for an engine child to which so much memory is lent, that ends it before it
    /// takes much more, and gives it no swap. None where there are no such groups, or this process
    /// may not make one.
    pub fn make(memory: MemoryBudget) -> Option<Self> {
        match Self::try_make(memory, Path::new("/")) {
            Ok(group) => Some(group),
            Err(e) => {
                tracing::debug!("the engine child's memory is limited without a control group: {e}");
                None
            }
        }
    }

    fn try_make(memory: MemoryBudget, root: &Path) -> io::Result<Self> {
        let bytes = (memory.bytes() as f64 * MEMORY_HARD) as u64;
        let name = format!("myriad-engine-{}", std::process::id());
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in places(root) {
            // systemd makes the controllers of a delegated group available, and leaves it to its
            // owner to turn them on for the groups below. Where that is not this process's to do,
            // they are on already or the limit below fails.
            for controller in ["+pids", "+memory"] {
                let _ = fs::write(place.join("cgroup.subtree_control"), controller);
            }
            let dir = place.join(&name);
            if let Err(e) = fs::create_dir(&dir) {
                last = e;
                continue;
            }
            // From here on it is removed if it does not serve.
            let group = Self { dir };
            match fs::write(group.dir.join("memory.max"), bytes.to_string()) {
                Ok(()) => {
                    // Where there is no swap there is no such file; nor where tasks are not this
                    // process's to limit.
                    let _ = fs::write(group.dir.join("memory.swap.max"), "0");
                    let _ = fs::write(group.dir.join("pids.max"), TASKS_MAX.to_string());
                    return Ok(group);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Moves a process into the group. What it starts is there, too.
    ///
    /// # Errors
    /// A process that has ended, or that this one may not move.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It stays, empty, where a process of it is still about to end.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Where a group may be made: beside the one that this process is in, or below it.
fn places(root: &Path) -> Vec<PathBuf> {
    let read = |path| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (mounts, groups) = (read("proc/self/mountinfo"), read("proc/self/cgroup"));
    // Version 2 has one hierarchy, without number and name.
    let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::")) else {
        return Vec::new();
    };
    let mount = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (shown, at) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some((shown, at))
    });
    let Some((shown, at)) = mount else {
        return Vec::new();
    };
    let Ok(below) = Path::new(own).strip_prefix(shown) else {
        return Vec::new();
    };
    let top = root.join(at.trim_start_matches('/'));
    let own = top.join(below);
    let beside = own.parent().filter(|_| own != top).map(Path::to_owned);
    beside.into_iter().chain([own]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_limits_memory_swap_and_threads() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for dir in ["proc/self", "sys/fs/cgroup"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        let mounts = "31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        fs::write(at("proc/self/mountinfo"), mounts).unwrap();
        fs::write(at("proc/self/cgroup"), "0::/\n").unwrap();
        let memory = MemoryBudget::from_bytes(1 << 30);
        let group = Group::try_make(memory, root.path()).unwrap();
        let turned_on = fs::read_to_string(at("sys/fs/cgroup/cgroup.subtree_control")).unwrap();
        assert_eq!(turned_on, "+memory");
        let limit = |name: &str| -> u64 {
            let text = fs::read_to_string(group.dir.join(name)).unwrap();
            text.parse().unwrap()
        };
        assert!((1 << 30..2 << 30).contains(&limit("memory.max")));
        assert_eq!(limit("memory.swap.max"), 0);
        assert_eq!(limit("pids.max"), TASKS_MAX as u64);
        group.add(7).unwrap();
        assert_eq!(limit("cgroup.procs"), 7);
    }

    #[test]
    fn groups_are_made_beside_or_below_that_of_the_process() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("proc/self");
        fs::create_dir_all(&own).unwrap();
        let places = |mounts: &str, groups: &str| {
            fs::write(own.join("mountinfo"), mounts).unwrap();
            fs::write(own.join("cgroup"), groups).unwrap();
            let short = |place: PathBuf| place.strip_prefix(root.path()).unwrap().display().to_string();
            places(root.path()).into_iter().map(short).collect::<Vec<_>>()
        };
        let mounts = "25 30 0:23 / /proc rw - proc proc rw\n\
                      31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            places(mounts, "0::/system.slice/myriad.service/node\n"),
            [
                "sys/fs/cgroup/system.slice/myriad.service",
                "sys/fs/cgroup/system.slice/myriad.service/node"
            ]
        );
        // A container sees nothing above its own group.
        assert_eq!(places(mounts, "0::/\n"), ["sys/fs/cgroup"]);
        let nested = "31 30 0:27 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(
            places(nested, "0::/docker/1/a\n"),
            ["sys/fs/cgroup", "sys/fs/cgroup/a"]
        );
        // Version 1 alone, and none.
        assert!(places(mounts, "4:memory:/x\n").is_empty());
        assert!(places("", "0::/x\n").is_empty());
    }
}
