//! Comments of Rust sources: each block of lines that begin alike is Markdown.

use super::markdown::{self, LINE_CHARS_MAX};

const MARKERS: [&str; 3] = ["//!", "///", "//"];

/// Neighbouring lines of a comment. A comment behind code on its line is none.
struct Block<'a> {
    /// The number of its first line, from 0.
    at: usize,
    /// The beginning of its lines: blanks and a marker.
    prefix: &'a str,
    lines: Vec<&'a str>,
}

impl Block<'_> {
    /// The text, without what its lines begin with.
    fn text(&self) -> String {
        let content = |line: &str| {
            let content = &line[self.prefix.len()..];
            content.strip_prefix(' ').unwrap_or(content).to_owned() + "\n"
        };
        self.lines.iter().map(|line| content(line)).collect()
    }

    fn chars_max(&self) -> usize {
        LINE_CHARS_MAX.saturating_sub(self.prefix.len() + 1)
    }
}

/// The numbers of the lines of comments that are too long, from 0.
pub fn too_long(source: &str) -> Vec<usize> {
    let of = |block: &Block| {
        let at = block.at;
        let inside = markdown::too_long(&block.text(), block.chars_max());
        inside.into_iter().map(move |index| at + index)
    };
    blocks(source).iter().flat_map(of).collect()
}

/// Wraps the paragraphs of comments that have a line which is too long.
pub fn wrap(source: &str) -> String {
    let mut wrapped = String::with_capacity(source.len());
    let mut lines = source.lines();
    let mut at = 0;
    let mut copy = |count: usize, into: &mut String| {
        for line in lines.by_ref().take(count) {
            *into += line;
            into.push('\n');
        }
    };
    for block in blocks(source) {
        copy(block.at - at, &mut wrapped);
        at = block.at + block.lines.len();
        let (text, chars_max) = (block.text(), block.chars_max());
        let filled = markdown::wrap(&text, chars_max);
        if filled == text {
            copy(block.lines.len(), &mut wrapped);
            continue;
        }
        copy(block.lines.len(), &mut String::new());
        for line in filled.lines() {
            wrapped += format!("{} {line}", block.prefix).trim_end();
            wrapped.push('\n');
        }
    }
    copy(usize::MAX, &mut wrapped);
    wrapped
}

fn blocks(source: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block> = Vec::new();
    for (at, line) in source.lines().enumerate() {
        let Some(prefix) = prefix(line) else { continue };
        match blocks.last_mut() {
            Some(block) if block.prefix == prefix && block.at + block.lines.len() == at => {
                block.lines.push(line);
            }
            _ => blocks.push(Block {
                at,
                prefix,
                lines: vec![line],
            }),
        }
    }
    blocks
}

fn prefix(line: &str) -> Option<&str> {
    let content = line.trim_start();
    let marker = MARKERS.iter().find(|marker| content.starts_with(**marker))?;
    Some(&line[..line.len() - content.len() + marker.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_wrapped_with_their_marker() {
        let (a, b) = ("a".repeat(60), "b".repeat(60));
        let source =
            format!("    /// {a} {b}\n    ///\n    /// c\n    // {a} {b}\n    let x = 1; // {a} {b}\n");
        let expected = format!(
            "    /// {a}\n    /// {b}\n    ///\n    /// c\n    // {a}\n    // {b}\n    let x = 1; // {a} {b}\n"
        );
        assert_eq!(too_long(&source), [0, 3]);
        assert_eq!(wrap(&source), expected);
        assert_eq!(wrap(&expected), expected);
    }

    #[test]
    fn what_has_its_own_lines_keeps_them() {
        let long = "a ".repeat(60);
        let source = format!("//! ```text\n//! {long}\n//! ```\n//! | {long} |\nfn f() {{}}\n");
        assert_eq!(too_long(&source), [0; 0]);
        assert_eq!(wrap(&source), source);
    }

    #[test]
    fn the_limit_counts_what_a_line_begins_with() {
        let fits = format!("    // {}", "a ".repeat(47)) + "a";
        assert_eq!(fits.chars().count(), LINE_CHARS_MAX + 2);
        assert_eq!(too_long(&fits), [0]);
        let fits = format!("    // {} aa", "a ".repeat(45));
        assert_eq!(fits.chars().count(), LINE_CHARS_MAX);
        assert_eq!(too_long(&fits), [0; 0]);
    }
}
