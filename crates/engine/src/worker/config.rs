//! The command that starts a child.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::caller;
use crate::{EngineFacts, MemoryBudget};

/// The settings of the child's allocator, jemalloc: memory that one task has freed goes back to the
/// system before the next has built its tools. By default it stays for 10 s, and was seen on top of
/// the next peak. When nothing else runs, a thread that the child starts itself gives it back: see
/// [`super::confine()`].
const MALLOC_CONF: &str = "dirty_decay_ms:1000";

/// The environment variables that a child gets from its caller: the paths of programs and
/// libraries. The others may be secret.
const VARIABLES: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// The limit that the system enforces on virtual memory for the data of a child to which `memory`
/// is lent.
///
/// It is more than `memory`, which is the real memory. An address space of a guest is mapped whole,
/// 512 MiB of which few pages are touched, once for each state that is held; chips' records have
/// room for more rows than there are; and the allocator keeps addresses whose pages it has given
/// back. A child that took 3.5 GiB had mapped more than 12 GiB. Giving addresses back with the
/// pages would halve that, but would map most allocations separately. A thread has a stack of 2
/// MiB, and an arena of the allocator.
pub fn data_bytes_max(memory: MemoryBudget, threads: usize) -> u64 {
    const MAPS: u64 = 4 << 30;
    const THREAD: u64 = 64 << 20;
    4 * memory.bytes() + MAPS + THREAD * threads as u64
}

/// The command that starts a child.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The engine that the child has.
    pub engine: EngineFacts,
    /// The binary, and the arguments with which it calls [`super::serve`].
    pub command: PathBuf,
    pub args: Vec<String>,
    /// The folder of keys that these arguments name: the caller writes the keys that a child makes
    /// to it.
    pub keys: PathBuf,
    /// Threads that it proves with.
    pub threads: usize,
}

impl WorkerConfig {
    /// The command, with further arguments, pipes, and no more of this process's environment than
    /// it needs.
    pub(super) fn command(&self, more: &[&str]) -> Command {
        let variables = VARIABLES
            .iter()
            .filter_map(|name| Some((name, env::var_os(name)?)));
        let mut command = Command::new(&self.command);
        command
            .args(&self.args)
            .args(more)
            .env_clear()
            .envs(variables)
            .env("RAYON_NUM_THREADS", self.threads.to_string())
            .env(caller::VARIABLE, caller::expected(&self.engine.id))
            .env("_RJEM_MALLOC_CONF", MALLOC_CONF)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}
