//! Panics: each is a bug, of this program or of a library, and becomes one readable line.
//!
//! The engine catches the panics of OpenVM's decoders on hostile bytes and makes errors of them. So
//! the hook itself stays silent, and only keeps the message until a panic comes through.

use std::{
    cell::RefCell,
    env,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
};

use crate::error::Error;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics silent, unless `RUST_BACKTRACE` asks for them.
pub fn install_hook() {
    if env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        return;
    }
    panic::set_hook(Box::new(|info| {
        let text = describe(info);
        LAST.with_borrow_mut(|last| *last = Some(text));
    }));
}

/// Runs a command; a panic in it becomes [`Error::Bug`].
pub fn caught(run: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let text = LAST.take().unwrap_or_else(|| message(&*payload));
        Err(Error::Bug(text))
    })
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let text = message(info.payload());
    match info.location() {
        Some(place) => format!("{text} (at {}:{})", place.file(), place.line()),
        None => text,
    }
}

fn message(payload: &dyn std::any::Any) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    text.lines().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_one_line() {
        let error = caught(|| panic!("one\ntwo")).unwrap_err();
        assert!(matches!(error, Error::Bug(text) if text.starts_with("one two")));
    }
}
