//! Makes text that a stranger may have influenced safe to show to people. All code that shows such
//! text calls this: for messages as they are decoded, for the words of an engine child, for errors
//! and files on the terminal.

/// The character that is shown in place of `c`: a space for the end of a line and a tab, and a
/// question mark for all else that is not printed. Otherwise a stranger could move the cursor of a
/// terminal, change its title, put lines of its own into a log, or turn the direction of the text
/// that follows. No character becomes longer.
pub const fn shown(c: char) -> char {
    match c {
        '\n' | '\t' => ' ',
        // Control characters of ASCII and of Latin-1, which terminals obey.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => '?',
        // Marks of direction, embeddings and overrides, isolates; and the ends of lines and
        // paragraphs among them.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        c => c,
    }
}

/// The first `chars_max` characters of a text as they are shown, in one line.
pub fn printable(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_ends_the_line_or_turns_its_direction() {
        let controls = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
        let directions = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter();
        let directions = directions
            .chain('\u{2028}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}');
        for hostile in controls.chain(directions) {
            assert!(matches!(shown(hostile), ' ' | '?'), "{hostile:?}");
        }
        for harmless in [
            ' ',
            '~',
            '\u{a0}',
            'é',
            '\u{5d0}',
            '\u{627}',
            '\u{200d}',
            '\u{2027}',
            '\u{1f600}',
        ] {
            assert_eq!(shown(harmless), harmless);
        }
        let hostile = "a\u{1b}[2Jb\r\nc\u{202e}d";
        assert_eq!(printable(hostile, 100), "a?[2Jb? c?d");
        assert_eq!(printable(hostile, 3), "a?[");
    }
}
