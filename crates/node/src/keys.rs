//! Keys of the configurations of this machine's own jobs. `crate::prover` makes those of strangers'
//! jobs.

use std::path::Path;

use myriad_engine::{
    Description, Filling, KeyFolder, MemoryBudget,
    worker::{Failure, Stopper, Usage, WorkerConfig, WorkerError},
};

use crate::group::LimitedWorker;

/// The memory that is lent to a child that makes keys, if no more is: it makes them for machines of
/// any size. Keys of `evm-block` took 347 MiB (the largest process of `myriad execute` with a new
/// data folder); other extensions may take more.
pub const KEYS_MEMORY_MIN: MemoryBudget = MemoryBudget::from_bytes(2 << 30);

/// Has the keys of a configuration made, if none can be read. A child makes them, and ends then. It
/// is held to `memory`, or to [`KEYS_MEMORY_MIN`]. Gives the child's usage; none if the keys were
/// there.
///
/// # Errors
/// The child's own failure, or its death; and a text that is refused.
pub fn make_keys(
    config: &WorkerConfig,
    memory: MemoryBudget,
    program_config: Option<String>,
) -> Result<Option<Usage>, WorkerError> {
    make_keys_unless_stopped(config, memory, program_config, |_| {})
}

/// [`make_keys`] by a child that `began` can stop.
pub(crate) fn make_keys_unless_stopped(
    config: &WorkerConfig,
    memory: MemoryBudget,
    program_config: Option<String>,
    began: impl FnOnce(Stopper),
) -> Result<Option<Usage>, WorkerError> {
    let memory = memory.max(KEYS_MEMORY_MIN);
    make_keys_below(config, memory, program_config, Path::new("/"), began)
}

/// [`make_keys_unless_stopped`] with the files of the machine below `root`.
fn make_keys_below(
    config: &WorkerConfig,
    memory: MemoryBudget,
    program_config: Option<String>,
    root: &Path,
    began: impl FnOnce(Stopper),
) -> Result<Option<Usage>, WorkerError> {
    let name = Description::of(program_config.as_deref()).key_name(&config.engine.id.fingerprint);
    if KeyFolder::new(&config.keys).has(&name)? {
        // The file is whole. Whether it has keys, only the engine can say.
        let mut reader = LimitedWorker::spawn_below(config, memory, root)?;
        match reader.within(|reader| reader.read_keys(program_config.clone())) {
            Ok(()) => return Ok(None),
            Err(WorkerError::Failed(Failure::Keys(_))) => {}
            Err(e) => return Err(e),
        }
    }
    let mut maker = LimitedWorker::spawn_for_keys_below(config, memory, root)?;
    began(maker.stopper());
    maker
        .within(|maker| maker.make_keys(program_config, Filling::Rotten))
        .map(Some)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(dir: &Path, script: &str) -> WorkerConfig {
        WorkerConfig {
            engine: myriad_engine::EngineFacts::pretended(),
            command: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            keys: dir.join("keys"),
            threads: 1,
        }
    }

    const LENT: MemoryBudget = MemoryBudget::from_bytes(64 << 20);

    #[test]
    fn a_child_that_makes_keys_is_held_to_its_memory() {
        let dir = tempfile::tempdir().unwrap();
        // Four times what is lent, and then the child ends by itself.
        let greedy = "head -c 1 > /dev/null; x=$(head -c 268435456 /dev/zero | tr '\\0' x); sleep 10";
        let made = make_keys_below(&config(dir.path(), greedy), LENT, None, dir.path(), |_| {});
        let Err(WorkerError::Died(death)) = made else {
            panic!("it took all memory: {made:?}");
        };
        let text = death.to_string();
        assert!(text.contains("75161927 are allowed"), "{text}");
    }

    #[test]
    fn a_child_that_makes_keys_has_a_group() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for dir in ["proc/self", "sys/fs/cgroup"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        let mounts = "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        fs::write(at("proc/self/mountinfo"), mounts).unwrap();
        fs::write(at("proc/self/cgroup"), "0::/\n").unwrap();
        let made = make_keys_below(
            &config(root.path(), "head -c 1 > /dev/null"),
            LENT,
            None,
            root.path(),
            |_| {},
        );
        assert!(matches!(made, Err(WorkerError::Died(_))), "{made:?}");
        // These files are no kernel's, so that the folder stays.
        let groups = fs::read_dir(at("sys/fs/cgroup"))
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir());
        let limits: Vec<_> = groups
            .map(|group| fs::read_to_string(group.path().join("memory.max")).unwrap())
            .collect();
        assert_eq!(limits, ["75161927"]);
    }
}
