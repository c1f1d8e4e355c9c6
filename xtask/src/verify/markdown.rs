//! The width of Markdown: finds lines that are too long, and wraps paragraphs.

/// Two of them fit side by side on a screen.
pub const LINE_CHARS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    /// Code, tables, headings, HTML, and targets of links: each line stands for itself.
    Verbatim,
    Empty,
}

/// The kind of each line.
fn kinds(text: &str) -> Vec<Kind> {
    let mut in_code = false;
    let of = |line: &str| {
        let content = line.trim_start();
        let is_fence = content.starts_with("```");
        in_code ^= is_fence;
        let is_target = content.starts_with('[') && content.contains("]: ");
        if in_code || is_fence || is_target || content.starts_with(['|', '#', '<']) {
            Kind::Verbatim
        } else if content.is_empty() {
            Kind::Empty
        } else {
            Kind::Text
        }
    };
    text.lines().map(of).collect()
}

/// The numbers of the lines of text that have more than `chars_max` characters, from 0.
pub fn too_long(text: &str, chars_max: usize) -> Vec<usize> {
    let lines = text.lines().zip(kinds(text)).enumerate();
    let long = lines.filter(|(_, (line, kind))| *kind == Kind::Text && is_too_long(line, chars_max));
    long.map(|(index, _)| index).collect()
}

/// Whether the line is too long and has a place before the limit where it can end.
fn is_too_long(line: &str, chars_max: usize) -> bool {
    let begin = indent(line) + marker(line);
    line.chars().count() > chars_max
        && line
            .chars()
            .take(chars_max + 1)
            .skip(begin)
            .any(|char| char == ' ')
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Characters of `- ` or `1. ` at the beginning of an item.
fn marker(line: &str) -> usize {
    let content = line.trim_start();
    let (first, _) = content.split_once(' ').unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_marker = ["-", "*", "+", ">"].contains(&first) || first.strip_suffix('.').is_some_and(is_number);
    if is_marker { first.len() + 1 } else { 0 }
}

/// Wraps the paragraphs that have a line of more than `chars_max` characters.
pub fn wrap(text: &str, chars_max: usize) -> String {
    let (lines, kinds): (Vec<&str>, Vec<Kind>) = (text.lines().collect(), kinds(text));
    let mut wrapped = String::new();
    let mut at = 0;
    while at < lines.len() {
        // An item begins a paragraph of its own, and two spaces at the end of a line end one.
        let goes_on = |next: usize| {
            kinds.get(next) == Some(&Kind::Text)
                && marker(lines[next]) == 0
                && !lines[next - 1].ends_with("  ")
        };
        let mut end = at + 1;
        while kinds[at] == Kind::Text && goes_on(end) {
            end += 1;
        }
        let paragraph = &lines[at..end];
        if kinds[at] == Kind::Text && paragraph.iter().any(|line| is_too_long(line, chars_max)) {
            fill(paragraph, chars_max, &mut wrapped);
        } else {
            for line in paragraph {
                wrapped += line;
                wrapped.push('\n');
            }
        }
        at = end;
    }
    wrapped
}

/// As many words to a line as fit.
fn fill(paragraph: &[&str], chars_max: usize, wrapped: &mut String) {
    let first = paragraph[0];
    let begin = indent(first) + marker(first);
    // Quotes have their mark on every line.
    let rest = if first.trim_start().starts_with("> ") {
        first[..begin].to_owned()
    } else {
        " ".repeat(begin)
    };
    let mut line = first[..begin].to_owned();
    let mut is_begin = true;
    let words: Vec<&str> = paragraph
        .iter()
        .flat_map(|line| line.split_whitespace())
        .collect();
    let skipped = usize::from(marker(first) > 0);
    let mut words = words[skipped..].iter().peekable();
    while let Some(word) = words.next() {
        // A word that would begin an item or a heading must not begin a line.
        let follower = words.peek().filter(|next| begins_a_block(next));
        let needed = word.chars().count() + follower.map_or(0, |next| 1 + next.chars().count());
        if !is_begin && line.chars().count() + 1 + needed > chars_max {
            wrapped.push_str(line.trim_end());
            wrapped.push('\n');
            line.clone_from(&rest);
            is_begin = true;
        }
        if !is_begin {
            line.push(' ');
        }
        line += word;
        is_begin = false;
    }
    wrapped.push_str(&line);
    wrapped.push('\n');
}

fn begins_a_block(word: &str) -> bool {
    marker(&format!("{word} x")) > 0 || word.starts_with(['#', '|', '<']) || word.starts_with("```")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_can_be_broken_is_too_long() {
        let long = "word ".repeat(21);
        let link = format!("- [link]({})", "x".repeat(100));
        for (line, is_text) in [
            (long.clone(), true),
            (format!("| {long} |"), false),
            (format!("# {long}"), false),
            (format!("[name]: https://{long}"), false),
        ] {
            assert!(is_too_long(&line, LINE_CHARS_MAX));
            assert_eq!(kinds(&line) == [Kind::Text], is_text, "{line}");
        }
        assert!(!is_too_long(&link, LINE_CHARS_MAX));
        assert!(!is_too_long(&"ä".repeat(100), LINE_CHARS_MAX));
        assert_eq!(
            kinds(&format!("```\n{long}\n```\n\n{long}\n")),
            [
                Kind::Verbatim,
                Kind::Verbatim,
                Kind::Verbatim,
                Kind::Empty,
                Kind::Text
            ]
        );
    }

    #[test]
    fn a_long_paragraph_is_filled_and_others_stay() {
        let (a, b) = ("a".repeat(60), "b".repeat(60));
        let text = format!("short\nlines\n\n  1. {a} {b}\n     c\n- d\n> {a} {b}\n");
        let expected = format!("short\nlines\n\n  1. {a}\n     {b} c\n- d\n> {a}\n> {b}\n");
        assert_eq!(wrap(&text, LINE_CHARS_MAX), expected);
        assert_eq!(wrap(&expected, LINE_CHARS_MAX), expected);
    }

    #[test]
    fn no_line_becomes_an_item() {
        let a = "a".repeat(96);
        let text = format!("{a} bb - c\n");
        assert_eq!(wrap(&text, LINE_CHARS_MAX), format!("{a}\nbb - c\n"));
        let text = format!("{a} b 1. c\n");
        assert_eq!(wrap(&text, LINE_CHARS_MAX), format!("{a}\nb 1. c\n"));
    }
}
