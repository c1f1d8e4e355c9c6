//! The control group of an engine child, made on the machine of the test. A child takes more memory
//! than is lent to it, and the kernel ends it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use myriad_engine::{
    MemoryBudget,
    worker::{WorkerConfig, WorkerError},
};
use myriad_node::LimitedWorker;

/// The memory that is lent to the child.
const LENT: MemoryBudget = MemoryBudget::from_bytes(64 << 20);
/// Takes all memory once it is asked something; without a group it has 1 GiB, and then says that
/// there is no more.
const GREEDY: &str = "ulimit -v 1048576; head -c 1 > /dev/null; exec tail /dev/zero";

fn child() -> LimitedWorker {
    let config = WorkerConfig {
        engine: myriad_openvm::facts(),
        command: "/bin/sh".into(),
        args: vec!["-c".into(), GREEDY.into()],
        keys: "none".into(),
        threads: 1,
    };
    LimitedWorker::spawn(&config, LENT).unwrap()
}

/// The group that a child is in, as the hierarchy of version 2 names it.
fn group(child: &LimitedWorker) -> String {
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", child.pid())).unwrap();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    own.unwrap_or_default().to_owned()
}

/// Whether this process may make such a group. It looks for itself: if it asked the code that is
/// tested, and that made no groups any more, the test would be left out where it has to fail.
pub fn possible() -> Result<(), String> {
    let mut reason = "no hierarchy of version 2 is mounted, or this process is not in it".to_owned();
    for place in places() {
        match may_limit_below(&place) {
            Ok(()) => return Ok(()),
            Err(e) => reason = format!("below {}: {e}", place.display()),
        }
    }
    Err(format!(
        "no control group of version 2 that limits memory can be made: {reason}"
    ))
}

/// The folders of this process's group and of the one above it, in the hierarchy of version 2.
fn places() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mount = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find_map(|fields| {
            let kind = fields.iter().position(|field| *field == "-")? + 1;
            (*fields.get(kind)? == "cgroup2").then(|| (fields[3].to_owned(), PathBuf::from(fields[4])))
        });
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let Some(((shown, at), own)) = mount.zip(own) else {
        return Vec::new();
    };
    let below = own.strip_prefix(shown.trim_end_matches('/'));
    let Some(own) = below.map(|below| at.join(below.trim_start_matches('/'))) else {
        return Vec::new();
    };
    let above = own
        .parent()
        .filter(|above| above.starts_with(&at))
        .map(Into::into);
    above.into_iter().chain([own]).collect()
}

/// Makes a group in a folder, limits its memory, and removes it.
fn may_limit_below(place: &Path) -> io::Result<()> {
    // It may be on already, or be left to somebody else.
    let _ = fs::write(place.join("cgroup.subtree_control"), "+memory");
    let dir = place.join(format!("myriad-test-{}", std::process::id()));
    fs::create_dir(&dir)?;
    let limited = fs::write(dir.join("memory.max"), "1073741824");
    fs::remove_dir(&dir)?;
    limited
}

pub fn the_kernel_ends_what_takes_more_than_its_group_has() {
    let mut child = child();
    let group = group(&child);
    let name = group.rsplit('/').next().unwrap().to_owned();
    let asked = child.load(Vec::<u8>::new(), None, Vec::<u8>::new());
    let Err(WorkerError::Died(death)) = asked else {
        panic!("it goes on: {asked:?}");
    };
    assert!(death.status.contains("signal: 9"), "{death}");
    // The folder of the group goes with the child.
    let dir = find(&name);
    assert!(dir.exists());
    drop(child);
    assert!(!dir.exists(), "{} is left", dir.display());
}

/// The folder of this name among the control groups.
fn find(name: &str) -> PathBuf {
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        let below = fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name() == name {
                return entry.path();
            }
            folders.push(entry.path());
        }
    }
    panic!("there is no group {name} below /sys/fs/cgroup");
}
