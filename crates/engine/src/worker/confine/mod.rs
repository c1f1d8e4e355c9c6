//! Confines an engine child: it may do next to nothing to the machine that it runs on.
//!
//! Programs, inputs and proofs of strangers are decoded, executed and proven in a child, by a large
//! library that was not written for hostile bytes. If one of them takes the child over, it finds
//!
//! - no file that it could write, and none to read but its keys (Landlock),
//! - no socket, no other program, no other process: system calls that proving does not need are
//!   forbidden, and end the child ([`filter`]),
//! - no more privileges than it had, whatever it starts (`no_new_privs`),
//! - no core file, no file that grows, few descriptors, and as much memory to map as its caller
//!   allows, which is several times what it lends (resource limits).
//!
//! Another child makes the keys. It sees no program, and has no file at all: its caller writes the
//! keys that it answers with.

mod filter;
mod trap;

use std::{fs, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::{
    libc,
    sys::resource::{Resource, setrlimit},
};
use thiserror::Error;

/// The newest version of Landlock whose restrictions are asked for; a kernel applies those that it
/// knows. The first already has all that is needed for files, and the network needs none: there are
/// no sockets.
const LANDLOCK: ABI = ABI::V7;

/// Open files of a child: three pipes, the guest's output, and a file of keys.
const FILES_MAX: u64 = 32;

/// The use that a child makes of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAccess {
    /// It works with the existing keys.
    Read,
    /// It makes keys and answers with them, and does nothing else. It opens no file.
    Make,
}

/// Why a process is not confined.
#[derive(Debug, Error)]
pub enum ConfineError {
    #[error(
        "it has {count} threads already, and 1 is allowed, since the others would not be confined; confine it before it \
         starts any, and name no library in LD_LIBRARY_PATH that does"
    )]
    Threads { count: usize },
    #[error(
        "the system refuses {what} as a limit ({reason}); raise its own hard limit, as `ulimit -H` shows it"
    )]
    Limit { what: String, reason: String },
    #[error(
        "the folder of keys {path} cannot be read ({reason}); let this user read it, or name another with --data-dir"
    )]
    Keys { path: String, reason: String },
    #[error(
        "{0}; Linux 5.13 or later is needed, with landlock among the modules in /sys/kernel/security/lsm; \
         --unconfined turns confinement off"
    )]
    Landlock(String),
    #[error(
        "the kernel takes no filter of system calls ({0}); it has to be built with CONFIG_SECCOMP_FILTER, and no \
         container may forbid seccomp; --unconfined turns confinement off"
    )]
    Filter(String),
}

/// Confines the calling process, which has one thread, for good. Descriptors that are open stay
/// open.
///
/// # Errors
/// See [`ConfineError`]. The process is then confined in part, or not at all.
pub fn confine(keys: &Path, access: KeyAccess) -> Result<(), ConfineError> {
    let count = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if count != 1 {
        return Err(ConfineError::Threads { count });
    }
    limit_resources()?;
    restrict_files(keys, access)?;
    trap::install();
    filter::apply().map_err(ConfineError::Filter)
}

/// Confines the process by all of [`confine`] that this kernel has.
pub(super) fn confine_as_far_as_possible(keys: &Path, access: KeyAccess) {
    let _ = limit_resources();
    let _ = restrict_files(keys, access);
    trap::install();
    let _ = filter::apply();
}

/// Whether this kernel has the features that [`confine`] needs.
///
/// # Errors
/// The missing part, in words.
pub fn can_confine() -> Result<(), String> {
    let landlock = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create);
    if landlock.is_err() {
        return Err("this kernel has no Landlock, or it is not turned on (Linux has it from 5.13 on)".into());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !status.lines().any(|line| line.starts_with("Seccomp:")) {
        return Err("this kernel has no seccomp".into());
    }
    Ok(())
}

/// Closes the files that the caller of this process has left open for it, beside stdin, stdout and
/// stderr.
///
/// A process calls this before it opens anything.
#[expect(unsafe_code, reason = "nix has no name for this system call")]
pub(super) fn close_inherited() {
    // SAFETY: nothing in this process has opened a descriptor yet, so that none is closed under its
    // owner. Kernels before 5.9 do not know the call, and change nothing.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

fn limit_resources() -> Result<(), ConfineError> {
    limit("bytes of a core file", Resource::RLIMIT_CORE, 0)?;
    limit("bytes of a file", Resource::RLIMIT_FSIZE, 0)?;
    limit("open files", Resource::RLIMIT_NOFILE, FILES_MAX)
}

/// Limits the bytes that the process may map for its data, from now on.
pub(super) fn limit_data(bytes: u64) -> Result<(), ConfineError> {
    limit("bytes of data", Resource::RLIMIT_DATA, bytes)
}

fn limit(what: &str, resource: Resource, max: u64) -> Result<(), ConfineError> {
    setrlimit(resource, max, max).map_err(|e| ConfineError::Limit {
        what: format!("{max} {what}"),
        reason: e.to_string(),
    })
}

fn restrict_files(keys: &Path, access: KeyAccess) -> Result<(), ConfineError> {
    // Without a folder there is nothing to read.
    let reads = access == KeyAccess::Read && keys.is_dir();
    let folder = reads.then(|| PathFd::new(keys)).transpose();
    let folder = folder.map_err(|e| ConfineError::Keys {
        path: keys.display().to_string(),
        reason: e.to_string(),
    })?;
    let restricted = || -> Result<RulesetStatus, RulesetError> {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?;
        if let Some(folder) = folder {
            rules = rules.add_rule(PathBeneath::new(folder, AccessFs::ReadFile | AccessFs::ReadDir))?;
        }
        Ok(rules.restrict_self()?.ruleset)
    };
    match restricted() {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Ok(RulesetStatus::NotEnforced) => Err(ConfineError::Landlock(
            "this kernel has no Landlock, or it is not turned on".into(),
        )),
        Err(e) => Err(ConfineError::Landlock(format!("Landlock refuses the rules: {e}"))),
    }
}
