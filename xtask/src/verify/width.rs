//! The width of Markdown, in files of its own and in comments: the step that looks at it, and the
//! repair.

use std::{fs, path::Path};

use anyhow::Result;

use super::{
    Finding, comments,
    markdown::{self, LINE_CHARS_MAX},
    tree::{files, has_extension},
};

/// No line of text is longer than [`LINE_CHARS_MAX`]. Code, tables and links have the length that
/// they need.
pub fn width(repository: &Path) -> Result<Finding> {
    let mut problems = Vec::new();
    for file in files(repository)? {
        let Some(too_long) = language(&file).map(|language| language.too_long) else {
            continue;
        };
        let text = fs::read_to_string(repository.join(&file))?;
        let lines: Vec<&str> = text.lines().collect();
        problems.extend(too_long(&text).into_iter().map(|index| {
            let (line, chars) = (index + 1, lines[index].chars().count());
            let file = file.display();
            format!("{file}:{line}: {chars} characters, at most {LINE_CHARS_MAX}; `cargo xtask fix` wraps it")
        }));
    }
    Ok(Finding::from_problems(&problems))
}

/// Wraps the paragraphs that have a line which is too long.
pub fn wrap_all(repository: &Path) -> Result<()> {
    for file in files(repository)? {
        let Some(wrap) = language(&file).map(|language| language.wrap) else {
            continue;
        };
        let path = repository.join(&file);
        let text = fs::read_to_string(&path)?;
        let wrapped = wrap(&text);
        if wrapped != text {
            fs::write(path, wrapped)?;
        }
    }
    Ok(())
}

/// The text of one kind of file.
struct Language {
    /// The numbers of the lines that are too long, from 0.
    too_long: fn(&str) -> Vec<usize>,
    wrap: fn(&str) -> String,
}

fn language(file: &Path) -> Option<Language> {
    if has_extension(file, "rs") {
        return Some(Language {
            too_long: comments::too_long,
            wrap: comments::wrap,
        });
    }
    has_extension(file, "md").then_some(Language {
        too_long: |text| markdown::too_long(text, LINE_CHARS_MAX),
        wrap: |text| markdown::wrap(text, LINE_CHARS_MAX),
    })
}
