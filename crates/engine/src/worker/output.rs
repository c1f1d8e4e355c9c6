//! Keeps the text that the guest program prints apart from the frames.
//!
//! An engine prints it to the process's stdout. A pipe stands there instead; a thread empties it,
//! so that the guest never waits, and keeps the end, which is where a panic says why.

use std::{
    collections::VecDeque,
    io::{self, PipeReader, Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{dup, dup2_stdout},
};

/// Bytes of output that are kept.
const TAIL_BYTES_MAX: usize = 8 << 10;

/// The text that programs print in this process.
#[derive(Clone)]
pub struct GuestOutput {
    inner: Arc<Mutex<Tail>>,
}

struct Tail {
    pipe: PipeReader,
    bytes: VecDeque<u8>,
}

impl GuestOutput {
    /// Puts a pipe in the place of stdout, and returns the stdout that was there.
    /// [`Self::keep_empty`] comes next.
    pub(super) fn capture() -> io::Result<(Self, OwnedFd)> {
        let stdout = dup(io::stdout().as_fd())?;
        let (pipe, writer) = io::pipe()?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        dup2_stdout(&writer)?;
        drop(writer);
        let inner = Arc::new(Mutex::new(Tail {
            pipe,
            bytes: VecDeque::new(),
        }));
        Ok((Self { inner }, stdout))
    }

    /// Starts the thread that empties the pipe.
    pub(super) fn keep_empty(&self) -> io::Result<()> {
        let watched = self.lock().pipe.try_clone()?;
        let emptied = self.clone();
        std::thread::Builder::new()
            .name("guest-output".into())
            .spawn(move || {
                loop {
                    let mut ready = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
                    if poll(&mut ready, PollTimeout::NONE).is_ok() {
                        emptied.lock().drain();
                    }
                }
            })?;
        Ok(())
    }

    /// The text that was printed since the last call, or the end of it.
    pub fn take(&self) -> String {
        // Rust keeps an unfinished line in a buffer of its own.
        let _ = io::stdout().flush();
        let mut tail = self.lock();
        tail.drain();
        let bytes: Vec<u8> = tail.bytes.drain(..).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    fn drain(&mut self) {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = self.pipe.read(&mut chunk) {
            self.bytes.extend(&chunk[..count]);
            let excess = self.bytes.len().saturating_sub(TAIL_BYTES_MAX);
            self.bytes.drain(..excess);
        }
    }
}
