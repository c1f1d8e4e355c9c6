//! The death of a child, in words.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, BufRead, Read},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
};

use nix::sys::signal::Signal;

/// Lines of the child's stderr that are kept for the message about its death.
const STDERR_LINES_MAX: usize = 20;
/// Bytes of one such line.
const STDERR_LINE_BYTES_MAX: usize = 400;

/// The end of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Whether memory is the likely cause: the system killed it, or refused it more.
    pub out_of_memory: bool,
    /// Whether it was ended for a system call that proving does not need: some input has tried to
    /// take it over, or this machine's libraries are not those that the filter was made for.
    pub forbidden: bool,
    /// Whether it was ended by a [`Stopper`](super::Stopper): neither the task nor the machine is
    /// at fault.
    pub stopped: bool,
    /// Its exit code or signal, in words.
    pub status: String,
    /// The last lines that it wrote to stderr.
    pub stderr: String,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stopped {
            f.write_str("the engine child was stopped")?;
        } else if self.forbidden {
            write!(
                f,
                "the engine child tried a forbidden system call ({})",
                self.status
            )?;
        } else if self.out_of_memory {
            write!(
                f,
                "the engine child ran out of memory ({}); lower --memory, or free some",
                self.status
            )?;
        } else {
            write!(f, "the engine child ended without an answer ({})", self.status)?;
        }
        match self.stderr.trim() {
            "" => Ok(()),
            text => write!(f, "; it said:\n{text}"),
        }
    }
}

impl Death {
    /// The death of a child with this status and these last lines on stderr.
    pub(super) fn of(status: io::Result<ExitStatus>, stderr: String, stopped: bool) -> Self {
        let status = match status {
            Ok(status) => status,
            Err(e) => {
                return Self {
                    out_of_memory: false,
                    forbidden: false,
                    stopped,
                    status: e.to_string(),
                    stderr,
                };
            }
        };
        Self {
            out_of_memory: !stopped && is_out_of_memory(status, &stderr),
            forbidden: status.signal() == Some(Signal::SIGSYS as i32),
            stopped,
            status: status.to_string(),
            stderr,
        }
    }
}

/// Linux kills a process that takes too much with SIGKILL. A refused allocation makes Rust abort
/// with a message.
fn is_out_of_memory(status: ExitStatus, stderr: &str) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32) || stderr.contains("memory allocation of")
}

/// The last lines that a child writes to stderr, until it ends.
pub(super) fn last_lines(mut stderr: impl BufRead) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = Read::take(&mut stderr, STDERR_LINE_BYTES_MAX as u64);
        match limited.read_until(b'\n', &mut line) {
            Ok(1..) => {
                if lines.len() == STDERR_LINES_MAX {
                    lines.pop_front();
                }
                // A stranger's program may have written it, and it is shown to people.
                let text = String::from_utf8_lossy(&line);
                let shown = text
                    .trim_end()
                    .chars()
                    .map(|c| if c.is_control() { '?' } else { c });
                lines.push_back(shown.collect());
            }
            _ => return lines,
        }
    }
}
