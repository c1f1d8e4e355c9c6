//! Keys of the configurations of this machine's own jobs. `crate::prover` makes those of strangers'
//! jobs.

use std::path::Path;

use myriad_engine::{
    Description, Filling, KeyFolder, MemoryBudget,
    worker::{Stopper, Usage, WorkerConfig, WorkerError},
};

use crate::{group::LimitedWorker, text::printable};

/// The memory that is lent to a child that makes keys, if no more is: it makes them for machines of
/// any size. Keys of `evm-block` took 347 MiB (the largest process of `myriad execute` with a new
/// data folder); other extensions may take more.
pub const KEYS_MEMORY_MIN: MemoryBudget = MemoryBudget::from_bytes(2 << 30);

/// Has the keys of a configuration made, if there is no whole file of them. A child makes them, and
/// ends then. It is held to `memory`, or to [`KEYS_MEMORY_MIN`]. Gives the child's usage; none if
/// the file was there. Only a child that works with it can say whether it has keys:
/// [`with_readable_keys`].
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
    let name = Description::of(program_config.as_deref()).key_name(&config.engine.id.fingerprint);
    if KeyFolder::new(&config.keys).has(&name)? {
        return Ok(None);
    }
    let memory = memory.max(KEYS_MEMORY_MIN);
    let missing = Filling::Missing;
    make_keys_below(config, memory, program_config, missing, Path::new("/"), began).map(Some)
}

/// Does work that needs keys. If a child says that it could not read them, they are made again, by
/// a child that is held to `memory`, or to [`KEYS_MEMORY_MIN`], and the work is done again. A
/// second time it is not believed: its program may have taken it over.
///
/// # Errors
/// The errors of the work, and of [`make_keys`].
pub fn with_readable_keys<T>(
    config: &WorkerConfig,
    memory: MemoryBudget,
    program_config: Option<&str>,
    mut work: impl FnMut() -> Result<T, WorkerError>,
) -> Result<T, WorkerError> {
    match work() {
        Err(WorkerError::Failed(e)) if e.is_of_keys() => {
            tracing::warn!("keys are made again: {}", printable(&e.to_string()));
            let memory = memory.max(KEYS_MEMORY_MIN);
            let program_config = program_config.map(str::to_owned);
            let rotten = Filling::Rotten;
            make_keys_below(config, memory, program_config, rotten, Path::new("/"), |_| {})?;
            work()
        }
        done => done,
    }
}

/// Has a child make keys, with the files of the machine below `root`.
fn make_keys_below(
    config: &WorkerConfig,
    memory: MemoryBudget,
    program_config: Option<String>,
    filling: Filling,
    root: &Path,
    began: impl FnOnce(Stopper),
) -> Result<Usage, WorkerError> {
    let mut maker = LimitedWorker::spawn_for_keys_below(config, memory, root)?;
    began(maker.stopper());
    maker.within(|maker| maker.make_keys(program_config, filling))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use myriad_engine::{ExecuteError, KeyError, worker::Failure};

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
        let made = make_keys_below(
            &config(dir.path(), greedy),
            LENT,
            None,
            Filling::Missing,
            dir.path(),
            |_| {},
        );
        let Err(WorkerError::Died(death)) = made else {
            panic!("it took all memory: {made:?}");
        };
        let text = death.to_string();
        assert!(text.contains("75161927 are allowed"), "{text}");
    }

    /// The file is whole, so that only those that work with it find out.
    #[test]
    fn keys_that_work_cannot_read_are_made_anew_once() {
        let dir = tempfile::tempdir().unwrap();
        let body = b"keys";
        let file = [&b"myriad keys v2\n\0"[..], blake3::hash(body).as_bytes(), body].concat();
        // What it took, and the answer that has the file.
        let answer = [&[0; 8][..], &[0, 0, file.len() as u8], &file].concat();
        let frame = [&(answer.len() as u32).to_le_bytes(), answer.as_slice()].concat();
        fs::write(dir.path().join("answer"), frame).unwrap();
        let script = format!(
            "cd {}; head -c 5 > asked; [ -s asked ] && echo >> made; cat answer; exec sleep 600",
            dir.path().display()
        );
        let config = config(dir.path(), &script);
        let made = || {
            let made = fs::read_to_string(dir.path().join("made"));
            made.unwrap_or_default().lines().count()
        };
        assert!(make_keys(&config, LENT, None).unwrap().is_some());
        assert_eq!(made(), 1);
        // No child looks at them, where nothing is done with them.
        assert!(make_keys(&config, LENT, None).unwrap().is_none());
        assert_eq!(made(), 1);

        let missing = || {
            WorkerError::Failed(Failure::Execute(ExecuteError::Keys(KeyError::Missing {
                path: "keys".into(),
            })))
        };
        let work = |fails: usize, error: &dyn Fn() -> WorkerError| {
            let mut times = 0;
            let done = with_readable_keys(&config, LENT, None, || {
                times += 1;
                if times > fails { Ok(()) } else { Err(error()) }
            });
            (done.is_ok(), times)
        };
        assert_eq!(work(0, &missing), (true, 1));
        assert_eq!(made(), 1);
        assert_eq!(work(1, &missing), (true, 2));
        assert_eq!(made(), 2);
        // An attacker that has taken the child over can say so for ever.
        assert_eq!(work(9, &missing), (false, 2));
        assert_eq!(made(), 3);
        let other = || WorkerError::Failed(Failure::NothingLoaded);
        assert_eq!(work(1, &other), (false, 1));
        assert_eq!(made(), 3);
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
            Filling::Missing,
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
