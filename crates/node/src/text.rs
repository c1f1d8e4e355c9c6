//! Makes text harmless to show that a stranger may have had a hand in.

/// Most characters of it.
const CHARS_MAX: usize = 2000;

/// The beginning of a text, in one line and without what moves the cursor: a child may be in a stranger's hands, and quotes his
/// files.
pub(crate) fn printable(text: &str) -> String {
    let harmless = |char: char| match char {
        '\n' => ' ',
        char if char.is_control() => '?',
        char => char,
    };
    text.trim().chars().take(CHARS_MAX).map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_text_moves_no_cursor_and_makes_no_line() {
        let said = "it said:\n\u{1b}[2Jforged\r\n\u{9b}1m\n";
        assert_eq!(printable(said), "it said: ?[2Jforged? ?1m");
        assert_eq!(printable(&"x".repeat(CHARS_MAX + 1)).len(), CHARS_MAX);
    }
}
