//! Ctrl-C: the engine children get it too and end at once; what is left is to say what is kept.

use std::{
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{error, terminal};

/// Exit code after any of the signals: the one that shells give for SIGINT.
const EXIT_INTERRUPTED: i32 = 130;
/// How long an error waits for a signal that may have caused it, and is still on its way.
const GRACE: Duration = Duration::from_millis(100);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on, SIGINT, SIGTERM and SIGHUP end the process with a line on what is kept. `tidy`
/// runs before, to take a progress display off the screen.
pub fn on_interrupt(json: bool, tidy: impl Fn() + Send + 'static) {
    let handler = move || {
        INTERRUPTED.store(true, Ordering::SeqCst);
        tidy();
        let text = "interrupted; accepted proofs are kept, and the same command goes on from there";
        terminal::error(text, None);
        if json {
            error::print_document(text, "interrupted");
        }
        process::exit(EXIT_INTERRUPTED);
    };
    // Without a handler, the signal ends the process all the same, only without the line.
    let _ = ctrlc::set_handler(handler);
}

/// Called before a failure is reported: if it is the children's death by the same signal, the
/// handler has the last word, and this does not return.
pub fn yield_to_handler() {
    thread::sleep(GRACE);
    if INTERRUPTED.load(Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
}
