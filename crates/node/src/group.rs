//! Engine children that are held to their memory. If this process may make a control group, the
//! kernel itself limits the child, and ends it when it takes more. Otherwise this process watches
//! the child while it works.
//!
//! A group can be made as root, and under systemd with `Delegate=memory pids` and
//! `DelegateSubgroup=node`: the node is then in a group below one that is its own, and makes others
//! beside it.

use std::{
    fs, io,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use myriad_engine::{
    MemoryBudget,
    worker::{Death, Worker, WorkerConfig, WorkerError},
};

/// A child may never take more than this share above the lent memory. There is such a share because
/// expectations come from measurements, and allocators differ from machine to machine.
const MEMORY_HARD: f64 = 1.12;
/// Threads and processes in the group: more than a child has on any machine, and too few to leave
/// none for others.
const TASKS_MAX: usize = 1024;
/// The prefix of a group's name; the process id and a counter follow.
const PREFIX: &str = "myriad-engine-";

/// The groups that this process has tried to make.
static MADE: AtomicU32 = AtomicU32::new(0);

/// An engine child whose memory is limited: by the kernel, if this process can make a group.
pub struct LimitedWorker {
    // It ends before its group is removed.
    worker: Worker,
    group: Option<Group>,
    /// The most that it may take, in bytes.
    memory_max: u64,
    /// The reason for which this process has ended it, where it took too much.
    ended: Option<String>,
}

impl LimitedWorker {
    /// Starts a child with this much memory, as [`Worker::spawn_within`] does. The kernel ends it
    /// when it takes 12 % more, and gives it no swap.
    ///
    /// # Errors
    /// [`WorkerError::Start`], also where there is a group and the child cannot be put into it.
    pub fn spawn(config: &WorkerConfig, memory: MemoryBudget) -> Result<Self, WorkerError> {
        Self::spawn_expecting(config, memory, memory)
    }

    /// [`Self::spawn`] where tasks take more than is expected of them: this much memory is lent,
    /// and `expected` may be expected of a task.
    ///
    /// # Errors
    /// As [`Self::spawn`].
    pub(crate) fn spawn_expecting(
        config: &WorkerConfig,
        memory: MemoryBudget,
        expected: MemoryBudget,
    ) -> Result<Self, WorkerError> {
        let worker = Worker::spawn_within(config, expected)?;
        Self::begin(config, worker, memory, Path::new("/"))
    }

    /// Starts a child that makes keys, with this much memory.
    ///
    /// # Errors
    /// As [`Self::spawn`].
    pub fn spawn_for_keys(config: &WorkerConfig, memory: MemoryBudget) -> Result<Self, WorkerError> {
        Self::spawn_for_keys_below(config, memory, Path::new("/"))
    }

    /// [`Self::spawn_for_keys`] with the files of the machine below `root`.
    pub(crate) fn spawn_for_keys_below(
        config: &WorkerConfig,
        memory: MemoryBudget,
        root: &Path,
    ) -> Result<Self, WorkerError> {
        Self::begin(config, Worker::spawn_for_keys(config)?, memory, root)
    }

    /// Limits a child that has read nothing yet.
    pub(crate) fn begin(
        config: &WorkerConfig,
        worker: Worker,
        memory: MemoryBudget,
        root: &Path,
    ) -> Result<Self, WorkerError> {
        let memory_max = (memory.bytes() as f64 * MEMORY_HARD) as u64;
        let group = match Group::make(memory_max, root) {
            Ok(group) => Some(group),
            Err(e) => {
                tracing::debug!("the engine child's memory is limited without a control group: {e}");
                None
            }
        };
        let limited = Self {
            worker,
            group,
            memory_max,
            ended: None,
        };
        if let Some(group) = &limited.group {
            group.add(limited.worker.pid()).map_err(|e| WorkerError::Start {
                command: config.command.clone(),
                reason: io::Error::new(e.kind(), format!("it cannot be put into its control group: {e}")),
            })?;
        }
        Ok(limited)
    }

    /// The reason for which the child was ended, if it took too much. It was ended here, or by the
    /// kernel because its group was full.
    pub(crate) fn excess(&self) -> Option<String> {
        let is_full = self.group.as_ref().is_some_and(Group::was_full);
        let full = is_full.then(|| {
            format!(
                "the engine child took all of the {} bytes of memory that its control group allows",
                self.memory_max
            )
        });
        self.ended.clone().or(full)
    }

    /// Keeps the reason for which it was ended: its work may have come to an end just before, and
    /// only the next piece of work finds the child gone.
    pub(crate) fn note_ended(&mut self, reason: String) {
        self.ended = Some(reason);
    }

    /// The child for further work, unless it was ended when this piece came to its end.
    pub(crate) fn if_left(self) -> Option<Self> {
        self.excess().is_none().then_some(self)
    }

    /// An error of the child with the true cause of its death: a machine that is short of memory
    /// would have ended it in the same way.
    pub(crate) fn explain(&self, error: WorkerError) -> WorkerError {
        match (error, self.excess()) {
            (WorkerError::Died(death), Some(excess)) => WorkerError::Died(Death {
                out_of_memory: false,
                stopped: false,
                status: format!("{excess}; raise --memory: {}", death.status),
                ..death
            }),
            (error, _) => error,
        }
    }

    /// Whether the kernel holds the child to its memory.
    pub(crate) fn has_group(&self) -> bool {
        self.group.is_some()
    }

    /// The memory that is lent to the child, in bytes.
    pub(crate) fn memory_max(&self) -> u64 {
        self.memory_max
    }
}

impl Deref for LimitedWorker {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.worker
    }
}

impl DerefMut for LimitedWorker {
    fn deref_mut(&mut self) -> &mut Worker {
        &mut self.worker
    }
}

/// A control group (version 2) with a limit of memory and of threads, which is removed with this
/// value.
#[derive(Debug)]
struct Group {
    dir: PathBuf,
}

impl Group {
    /// Makes a group for a child that may take so many bytes of memory.
    ///
    /// # Errors
    /// There are no such groups, or this process may not make one.
    fn make(memory_max: u64, root: &Path) -> io::Result<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in places(root) {
            remove_left(&place, root);
            // systemd makes the controllers of a delegated group available, and leaves it to the
            // owner to turn them on for the groups below. If this process may not do that, they are
            // on already, or setting the limit below fails.
            for controller in ["+pids", "+memory"] {
                let _ = fs::write(place.join("cgroup.subtree_control"), controller);
            }
            let dir = place.join(&name);
            if let Err(e) = create(&dir) {
                last = e;
                continue;
            }
            // From here on it is removed if it turns out to be of no use.
            let group = Self { dir };
            match fs::write(group.dir.join("memory.max"), memory_max.to_string()) {
                Ok(()) => {
                    // The file is missing where there is no swap, or where this process may not
                    // limit tasks.
                    let _ = fs::write(group.dir.join("memory.swap.max"), "0");
                    let _ = fs::write(group.dir.join("pids.max"), TASKS_MAX.to_string());
                    return Ok(group);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Moves a process into the group. The processes that it starts are in it, too.
    ///
    /// # Errors
    /// A process that has ended, or that this one may not move.
    fn add(&self, pid: u32) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), pid.to_string())
    }

    /// Whether the kernel has ended a process of it because it was full.
    fn was_full(&self) -> bool {
        let events = fs::read_to_string(self.dir.join("memory.events")).unwrap_or_default();
        events
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|times| times != "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It stays, empty, where a process of it is still about to end.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Makes the folder of a group. An earlier process of the same number may have left one.
fn create(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_dir(dir)?;
            fs::create_dir(dir)
        }
        made => made,
    }
}

/// Removes the groups of processes that were killed before they could. Nothing removes a group that
/// has a process.
fn remove_left(place: &Path, root: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let maker = maker.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let is_left =
            |&maker: &u32| maker != process::id() && !root.join("proc").join(maker.to_string()).exists();
        if maker.filter(is_left).is_some() {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The folders in which a group may be made: beside this process's own group, or below it.
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

    /// The files of a machine with such groups, in which nothing acts.
    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for dir in ["proc/self", GROUPS] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        let mounts = "31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        fs::write(at("proc/self/mountinfo"), mounts).unwrap();
        fs::write(at("proc/self/cgroup"), "0::/\n").unwrap();
        root
    }

    const GROUPS: &str = "sys/fs/cgroup";
    const LENT: MemoryBudget = MemoryBudget::from_bytes(1 << 30);
    const MAX: u64 = 1_202_590_842;

    fn number(group: &Group, name: &str) -> u64 {
        let text = fs::read_to_string(group.dir.join(name)).unwrap();
        text.parse().unwrap()
    }

    /// A child that waits for what it is asked.
    fn started(root: &Path) -> LimitedWorker {
        child("exec sleep 600", LENT, root)
    }

    fn child(script: &str, lent: MemoryBudget, root: &Path) -> LimitedWorker {
        let config = WorkerConfig {
            engine: myriad_engine::EngineFacts::pretended(),
            command: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            keys: "none".into(),
            threads: 1,
        };
        let worker = Worker::spawn(&config).unwrap();
        LimitedWorker::begin(&config, worker, lent, root).unwrap()
    }

    fn ask(child: &mut LimitedWorker) -> WorkerError {
        let loaded = child.within(|child| child.load(Vec::<u8>::new(), None, Vec::<u8>::new()));
        loaded.unwrap_err()
    }

    #[test]
    fn a_group_limits_memory_swap_and_threads() {
        let root = machine();
        let group = Group::make(MAX, root.path()).unwrap();
        let control = root.path().join(GROUPS).join("cgroup.subtree_control");
        assert_eq!(fs::read_to_string(control).unwrap(), "+memory");
        assert_eq!(number(&group, "memory.max"), MAX);
        assert_eq!(number(&group, "memory.swap.max"), 0);
        assert_eq!(number(&group, "pids.max"), TASKS_MAX as u64);
    }

    #[test]
    fn each_child_has_a_group_as_long_as_it_lives() {
        let root = machine();
        let children = [started(root.path()), started(root.path())];
        let dirs = children.each_ref().map(|child| {
            let group = child.group.as_ref().unwrap();
            assert_eq!(number(group, "cgroup.procs"), u64::from(child.pid()));
            // The kernel has its files go with the folder.
            for file in ["cgroup.procs", "memory.max", "memory.swap.max", "pids.max"] {
                fs::remove_file(group.dir.join(file)).unwrap();
            }
            group.dir.clone()
        });
        assert_ne!(dirs[0], dirs[1]);
        assert!(dirs.iter().all(|dir| dir.exists()));
        drop(children);
        assert!(!dirs.iter().any(|dir| dir.exists()));
    }

    #[test]
    fn where_no_group_can_be_made_a_child_is_used_without() {
        let root = machine();
        // Nobody is to make folders here.
        fs::remove_dir(root.path().join(GROUPS)).unwrap();
        assert!(started(root.path()).group.is_none());
    }

    #[test]
    fn a_child_whose_group_was_full_has_taken_too_much_itself() {
        let root = machine();
        let mut child = started(root.path());
        let events = |times: u32| {
            let dir = &child.group.as_ref().unwrap().dir;
            let text = format!("low 0\nmax 9\noom {times}\noom_kill {times}\noom_group_kill 0\n");
            fs::write(dir.join("memory.events"), text).unwrap();
        };
        events(0);
        assert_eq!(child.excess(), None);
        events(1);
        assert!(child.excess().unwrap().contains("1202590842 bytes"));
        child.stopper().stop();
        let WorkerError::Died(death) = ask(&mut child) else {
            panic!("it was stopped");
        };
        assert!(!death.out_of_memory && !death.stopped, "{death:?}");
        assert!(death.to_string().contains("raise --memory"), "{death}");
    }

    #[test]
    fn a_child_without_a_group_that_takes_too_much_is_ended_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        // It takes four times what is lent, and keeps it until somebody ends it.
        let greedy = "head -c 1 > /dev/null; x=$(head -c 268435456 /dev/zero | tr '\\0' x); kill -STOP $$";
        let mut child = child(greedy, MemoryBudget::from_bytes(64 << 20), root.path());
        assert!(child.group.is_none());
        let WorkerError::Died(death) = ask(&mut child) else {
            panic!("it took all memory");
        };
        assert!(!death.out_of_memory && !death.stopped, "{death:?}");
        let text = death.to_string();
        assert!(text.contains("75161927 are allowed"), "{text}");
        assert!(text.contains("raise --memory"), "{text}");
    }

    #[test]
    fn groups_that_were_left_are_removed_and_those_of_others_stay() {
        let root = machine();
        let at = |name: &str| root.path().join(GROUPS).join(name);
        let own = format!("{PREFIX}{}-999999", process::id());
        let [gone, full, running, other] = [
            "myriad-engine-11-3",
            "myriad-engine-11-4",
            "myriad-engine-12-0",
            "somebody-11-3",
        ];
        for name in [gone, full, running, other, &own] {
            fs::create_dir(at(name)).unwrap();
        }
        // A process is in it.
        fs::write(at(full).join("cgroup.procs"), "13").unwrap();
        fs::create_dir(root.path().join("proc/12")).unwrap();
        let group = Group::make(MAX, root.path()).unwrap();
        assert!(!at(gone).exists());
        assert!([full, running, other, &own].iter().all(|name| at(name).exists()));

        // A process with this one's number was there before.
        drop(group);
        create(&at(&own)).unwrap();
        assert!(create(&at(full)).is_err());
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
