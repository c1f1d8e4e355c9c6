//! Ctrl-C. The engine children get it too, and end at once. This process still says what it keeps,
//! and tells the provers of the network.

use std::{
    process,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use myriad_node::RunError;
use tokio::sync::Notify;

use crate::{
    error::{self, Exit},
    terminal,
};

/// The longest time for telling the provers, unless [`allow`] gave another one.
const FAREWELL: Duration = Duration::from_secs(5);
/// An error waits this long for a signal that may have caused it, and is still on its way.
const GRACE: Duration = Duration::from_millis(100);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// When the first signal came.
static AT: OnceLock<Instant> = OnceLock::new();
/// Whether a caller waits for [`STOP`] and ends by itself then.
static WAITED_FOR: AtomicBool = AtomicBool::new(false);
static STOP: Notify = Notify::const_new();
/// The time from the first signal to the end.
static ALLOWED: OnceLock<Duration> = OnceLock::new();

/// From now on, a caller that ends the process by itself after a signal has this much time for it.
pub fn allow(time: Duration) {
    ALLOWED.get_or_init(|| time);
}

/// Completes when the process is told to end. The caller then ends the process within [`FAREWELL`],
/// or the handler does.
pub async fn interrupted() {
    WAITED_FOR.store(true, Ordering::SeqCst);
    STOP.notified().await;
}

/// From now on, SIGINT, SIGTERM and SIGHUP end the process, with a line about what is kept. `tidy`
/// runs before, to take a progress display off the screen.
pub fn on_interrupt(json: bool, tidy: impl Fn() + Send + 'static) {
    let handler = move || {
        AT.get_or_init(Instant::now);
        let again = INTERRUPTED.swap(true, Ordering::SeqCst);
        tidy();
        if WAITED_FOR.load(Ordering::SeqCst) && !again {
            STOP.notify_one();
            thread::spawn(move || {
                thread::sleep(ALLOWED.get().copied().unwrap_or(FAREWELL));
                end(json);
            });
        } else {
            end(json);
        }
    };
    // Without a handler, the signal ends the process all the same, only without the line.
    let _ = ctrlc::set_handler(handler);
}

/// From now on, the caller ends the process within [`FAREWELL`] after a signal, or the handler
/// does.
pub fn will_end() {
    WAITED_FOR.store(true, Ordering::SeqCst);
}

/// Whether there was a signal.
pub fn has_come() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Whether what failed then may have failed because of the signal.
pub fn may_have_caused(failed: Instant) -> bool {
    AT.get().is_some_and(|at| is_by(failed, *at))
}

fn is_by(failed: Instant, signal: Instant) -> bool {
    failed + GRACE >= signal
}

fn end(json: bool) -> ! {
    let text = RunError::Interrupted.to_string();
    terminal::error(&text, None);
    if json {
        error::print_document(&text, "interrupted");
    }
    process::exit(i32::from(Exit::Interrupted as u8));
}

/// Whether a failure is the children's death by the same signal; called before the failure is
/// reported. If no caller waited for the signal, the handler has the last word, and this does not
/// return.
pub fn is_cause() -> bool {
    thread::sleep(GRACE);
    let interrupted = INTERRUPTED.load(Ordering::SeqCst);
    while interrupted && !WAITED_FOR.load(Ordering::SeqCst) {
        thread::park();
    }
    interrupted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_long_before_the_signal_failed_by_itself() {
        let signal = Instant::now() + 10 * GRACE;
        assert!(is_by(signal, signal) && is_by(signal - GRACE, signal));
        assert!(is_by(signal + 10 * GRACE, signal));
        assert!(!is_by(signal - 2 * GRACE, signal));
    }
}
