//! Panics, caught and put into words.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
};

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on a panic is kept for [`catch`], instead of being printed.
pub fn silence_panics() {
    panic::set_hook(Box::new(|info| {
        LAST.with_borrow_mut(|last| *last = info.to_string());
    }));
}

/// The result of `task`, or the message of its panic.
pub fn catch<T>(task: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(task)).map_err(|_| LAST.take())
}
