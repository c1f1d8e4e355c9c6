//! The steps that look at the files of the checkout: those that git tracks or would track.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::Finding;
use crate::output;

/// A file that is longer holds more than one thing.
const RUST_FILE_LINES_MAX: usize = 500;
/// Every clone carries every version of every file for ever.
const FILE_BYTES_MAX: u64 = 3 * 1024 * 1024;

/// Relative links and images of Markdown files lead to something.
pub fn links(repository: &Path) -> Result<Finding> {
    let mut problems = Vec::new();
    for file in files(repository)?.iter().filter(|file| has_extension(file, "md")) {
        let path = repository.join(file);
        let text = fs::read_to_string(&path)?;
        for link in relative_links(&text) {
            if !path.with_file_name("").join(link).exists() {
                problems.push(format!("{}: there is no {link}", file.display()));
            }
        }
    }
    Ok(Finding::from_problems(&problems))
}

pub fn sizes(repository: &Path) -> Result<Finding> {
    let mut problems = Vec::new();
    for file in files(repository)? {
        let path = repository.join(&file);
        let bytes = path.metadata()?.len();
        if bytes > FILE_BYTES_MAX {
            problems.push(format!(
                "{}: {bytes} bytes, at most {FILE_BYTES_MAX}",
                file.display()
            ));
        }
        if has_extension(&file, "rs") {
            let lines = fs::read_to_string(&path)?.lines().count();
            if lines > RUST_FILE_LINES_MAX {
                problems.push(format!(
                    "{}: {lines} lines, at most {RUST_FILE_LINES_MAX}",
                    file.display()
                ));
            }
        }
    }
    Ok(Finding::from_problems(&problems))
}

/// No file, text or binary, names a folder of the machine that made it.
pub fn machine_paths(repository: &Path) -> Result<Finding> {
    let home = std::env::home_dir();
    let folders: Vec<String> = [Some(repository), repository.parent(), home.as_deref()]
        .into_iter()
        .flatten()
        .filter(|folder| folder.parent().is_some() && *folder != std::env::temp_dir())
        .map(|folder| format!("{}/", folder.display()))
        .collect();

    let mut problems = Vec::new();
    for file in files(repository)? {
        let bytes = fs::read(repository.join(&file))?;
        for folder in folders
            .iter()
            .filter(|folder| names_folder(&bytes, folder.as_bytes()))
        {
            problems.push(format!(
                "{}: names {folder}, a folder of this machine",
                file.display()
            ));
        }
    }
    Ok(Finding::from_problems(&problems))
}

/// Regular files, relative to the repository.
pub(super) fn files(repository: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository);
    let names = output(&mut git).context("the files of the checkout are those that git lists")?;
    let files = names.split_terminator('\0').map(PathBuf::from);
    Ok(files.filter(|file| repository.join(file).is_file()).collect())
}

pub(super) fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

/// A Rust file without its modules for tests.
pub fn product(text: &str) -> String {
    let mut parts = text.split("#[cfg(test)]\nmod ");
    let mut product = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_once('\n').unwrap_or((part, ""));
        let rest = if first.ends_with('{') {
            rest.split_once("\n}\n").map_or("", |(_, rest)| rest)
        } else {
            rest
        };
        product.push_str(rest);
    }
    product
}

/// The files that a Markdown text links to, in the forms that we use: `[text](file#anchor
/// "title")`, and `[name]: file` on a line of its own. Code does not count.
fn relative_links(markdown: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut links = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let outside_code = line.split('`').step_by(2);
            links.extend(outside_code.flat_map(|text| text.split("](").skip(1)));
            links.extend(
                line.strip_prefix('[')
                    .and_then(|line| Some(line.split_once("]: ")?.1)),
            );
        }
    }
    links.into_iter().filter_map(relative_file).collect()
}

/// The file at the start of what follows `](`. `None` for a URL and for an anchor in the same file.
fn relative_file(rest: &str) -> Option<&str> {
    let target = rest.split([')', ' ']).next()?;
    let file = target.split('#').next()?;
    let is_url = file
        .split_once(':')
        .is_some_and(|(scheme, _)| !scheme.contains('/'));
    (!file.is_empty() && !is_url).then_some(file)
}

/// Whether `folder` occurs in `bytes` as the beginning of a path, not in the middle of one
/// (`src/home/`).
fn names_folder(bytes: &[u8], folder: &[u8]) -> bool {
    let continues_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/~}>".contains(&byte);
    let mut windows = bytes.windows(folder.len()).enumerate();
    windows.any(|(at, window)| window == folder && (at == 0 || !continues_path(bytes[at - 1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_those_of_markdown_not_of_its_code() {
        let markdown = "[a](docs/a.md#part) ![b](b.png \"title\") [`c`](c.md)\n\
                        [d](https://example.org) [e](#here) `[f](f.md)` [g]\n\
                        ```\n[h](h.md)\n```\n\
                        [g]: ../g.md\n";
        assert_eq!(
            relative_links(markdown),
            ["docs/a.md", "b.png", "c.md", "../g.md"]
        );
    }

    #[test]
    fn a_folder_is_named_only_at_the_start_of_a_path() {
        assert!(names_folder(b"/build/x", b"/build/"));
        assert!(names_folder(b"see `/build/x`", b"/build/"));
        assert!(!names_folder(b"target/build/x and /buildings/", b"/build/"));
    }
}
