//! Texts that are shown: of strangers, made harmless, and of panics.

use std::any::Any;

use myriad_net::text;

/// The most characters of it.
const CHARS_MAX: usize = 2000;

/// The beginning of a text, in one line and without anything that moves the cursor. A child may be
/// in a stranger's hands, and quotes the stranger's files.
pub(crate) fn printable(text: &str) -> String {
    text::printable(text.trim(), CHARS_MAX)
}

/// What a panic says.
pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_text_moves_no_cursor_and_makes_no_line() {
        let said = "it said:\n\u{1b}[2Jforged\r\n\u{9b}1m\u{202e}\n";
        assert_eq!(printable(said), "it said: ?[2Jforged? ?1m?");
        assert_eq!(printable(&"x".repeat(CHARS_MAX + 1)).len(), CHARS_MAX);
    }
}
