//! The system calls that an engine child needs, and no others.
//!
//! The lists have the calls of children that were seen to execute, cut, prove and aggregate, and
//! the calls that the C libraries and kernels of other machines use for the same: threads, memory,
//! time, pipes, and reading the files of keys.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Allowed with any arguments.
const FREE: &[libc::c_long] = &[
    // Pipes and open files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_ppoll,
    // Metadata of files. Landlock decides whether their content may be read.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    // Memory. Executable memory is not among it, see below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads.
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, randomness, and identity.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Answered with an error, see `REFUSED`.
    libc::SYS_clone3,
];

/// Older names for the same, which not every architecture has.
#[cfg(target_arch = "x86_64")]
const FREE_OF_ARCHITECTURE: &[libc::c_long] = &[
    libc::SYS_poll,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const FREE_OF_ARCHITECTURE: &[libc::c_long] = &[];

/// Answered as if the kernel did not know it. The C library then starts threads with `clone`, whose
/// flags can be looked at here; those of `clone3` are in memory.
const REFUSED: &[libc::c_long] = &[libc::SYS_clone3];

/// Flags of opening that make or change a file.
const WRITING: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND;

/// The kind of a mapping, and whether it grows downwards as a stack does. Neither shared mappings
/// nor such stacks count for the limit of data, so only private ones are allowed.
const MAPPING: i32 = libc::MAP_TYPE | libc::MAP_GROWSDOWN;

/// Allows the calling thread, and those that it starts, what [`allowed`] has.
pub(super) fn apply() -> Result<(), String> {
    let reason = |e: seccompiler::Error| e.to_string();
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
    let build = |rules: Rules, otherwise, then| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, otherwise, then, architecture)?.try_into()
    };
    let refused: Rules = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let refused = build(
        refused,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
    );
    let allowed = allowed()
        .and_then(|allowed| build(allowed, SeccompAction::Trap, SeccompAction::Allow))
        .map_err(|e| e.to_string())?;
    apply_filter(&refused.map_err(|e| e.to_string())?).map_err(reason)?;
    // The stricter of two filters' answers counts. After this one no other can be added.
    apply_filter(&allowed).map_err(reason)
}

fn allowed() -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let mut free = |calls: &[libc::c_long]| rules.extend(calls.iter().map(|&call| (call, Vec::new())));
    free(FREE);
    free(FREE_OF_ARCHITECTURE);
    rules.insert(libc::SYS_openat, vec![none_of(2, WRITING)?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![none_of(1, WRITING)?]);
    // Mapped memory is never executed, so no new code comes in.
    let mapped = SeccompRule::new(vec![
        masked(2, libc::PROT_EXEC, 0)?,
        masked(3, MAPPING, libc::MAP_PRIVATE)?,
    ])?;
    rules.insert(libc::SYS_mmap, vec![mapped]);
    rules.insert(libc::SYS_mprotect, vec![none_of(2, libc::PROT_EXEC)?]);
    // Threads, but no processes.
    rules.insert(libc::SYS_clone, vec![all_of(0, libc::CLONE_THREAD)?]);
    // Signals to itself, which is how a process aborts. The handler that names forbidden calls
    // stays.
    let own = std::process::id() as i32;
    rules.insert(libc::SYS_tgkill, vec![is(0, own)?]);
    rules.insert(libc::SYS_rt_sigaction, vec![is_not(0, libc::SIGSYS)?]);
    // The allocator places its threads.
    rules.insert(libc::SYS_sched_setaffinity, vec![is(0, 0)?]);
    // Names for threads and memory, as debuggers show them.
    rules.insert(
        libc::SYS_prctl,
        vec![
            is(0, libc::PR_SET_NAME)?,
            is(0, libc::PR_GET_NAME)?,
            is(0, libc::PR_SET_VMA)?,
        ],
    );
    // The allowed calls look at a descriptor or make it non-blocking; others have signals sent to
    // any process.
    let harmless = [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD_CLOEXEC,
    ];
    let harmless = harmless.map(|command| is(1, command)).into_iter();
    rules.insert(libc::SYS_fcntl, harmless.collect::<Result<_, _>>()?);
    // It may read its own limits, and not set them.
    let reads = SeccompRule::new(vec![equal(0, 0)?, equal64(2, 0)?])?;
    rules.insert(libc::SYS_prlimit64, vec![reads]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_getrlimit, Vec::new());
    Ok(rules)
}

fn equal(argument: u8, value: i32) -> Result<SeccompCondition, BackendError> {
    let value = u64::from(value as u32);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn equal64(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

fn is(argument: u8, value: i32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![equal(argument, value)?])
}

fn is_not(argument: u8, value: i32) -> Result<SeccompRule, BackendError> {
    let value = u64::from(value as u32);
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)?;
    SeccompRule::new(vec![condition])
}

fn all_of(argument: u8, bits: i32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![masked(argument, bits, bits)?])
}

fn none_of(argument: u8, bits: i32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![masked(argument, bits, 0)?])
}

fn masked(argument: u8, bits: i32, value: i32) -> Result<SeccompCondition, BackendError> {
    let mask = SeccompCmpOp::MaskedEq(u64::from(bits as u32));
    let value = u64::from(value as u32);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, mask, value)
}
