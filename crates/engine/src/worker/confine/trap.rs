//! Says which forbidden system call ended the process.

#![expect(unsafe_code, reason = "a signal handler may make bare system calls alone")]

use nix::{
    libc::{self, c_int, c_long, c_void, siginfo_t},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

/// The calls that strangers' code would most likely try, by name.
const NAMES: [(c_long, &str); 17] = [
    (libc::SYS_socket, "socket"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_execveat, "execveat"),
    (libc::SYS_clone, "clone"),
    (libc::SYS_kill, "kill"),
    (libc::SYS_tgkill, "tgkill"),
    (libc::SYS_ptrace, "ptrace"),
    (libc::SYS_process_vm_readv, "process_vm_readv"),
    (libc::SYS_process_vm_writev, "process_vm_writev"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_io_uring_setup, "io_uring_setup"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_mprotect, "mprotect"),
    (libc::SYS_memfd_create, "memfd_create"),
    (libc::SYS_shmget, "shmget"),
    (libc::SYS_prctl, "prctl"),
];

/// The place, in integers, of the call's number in Linux's description of the signal. Before it are
/// the signal's number, its error and its code, which are padded to 16 bytes, and the address of
/// the call.
const NUMBER_AT: usize = 6;

/// Handles the signal that the filter sends, from now on.
pub(super) fn install() {
    let action = SigAction::new(SigHandler::SigAction(trapped), SaFlags::SA_ONSTACK, SigSet::all());
    // SAFETY: the handler allocates nothing, takes no lock, and does not return. If it cannot be
    // installed, the process ends all the same, without a word.
    let _ = unsafe { sigaction(Signal::SIGSYS, &action) };
}

extern "C" fn trapped(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a whole description, which has 128 bytes.
    let number = c_long::from(unsafe { info.cast::<c_int>().add(NUMBER_AT).read() });
    let name = NAMES.iter().find(|(of, _)| *of == number);
    let mut digits = [0; 10];
    let parts: [&[u8]; 6] = [
        b"myriad engine-worker: system call ",
        decimal(number.unsigned_abs(), &mut digits),
        if name.is_some() { b" (" } else { b"" },
        name.map_or(b"", |(_, name)| name.as_bytes()),
        if name.is_some() { b")" } else { b"" },
        b" is forbidden\n",
    ];
    for part in parts {
        // SAFETY: the bytes are there as long as the call lasts.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    // This is forbidden too, and while its signal is being handled the system ends the process at
    // once, and says that it was this signal. SAFETY: it does nothing else.
    unsafe { libc::syscall(libc::SYS_ptrace, 0, 0, 0, 0) };
}

/// Writes a number without an allocation: the forbidden call may have been in the middle of one.
fn decimal(mut number: u64, digits: &mut [u8; 10]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || start == 0 {
            return &digits[start..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written() {
        let mut digits = [0; 10];
        assert_eq!(decimal(0, &mut digits), b"0");
        assert_eq!(decimal(41, &mut digits), b"41");
        assert_eq!(decimal(1_073_742_335, &mut digits), b"1073742335");
    }
}
