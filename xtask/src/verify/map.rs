//! The step that holds `docs/ARCHITECTURE.md` to the code: the files that the page names exist, and
//! so do the names of types, functions and fields.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Finding, security::path, tree::files};

const PAGE: &str = "docs/ARCHITECTURE.md";

pub fn map(repository: &Path) -> Result<Finding> {
    let page = fs::read_to_string(repository.join(PAGE)).context(PAGE)?;
    let files = files(repository)?;
    let mut words = HashSet::new();
    for file in &files {
        let extension = file.extension().and_then(|extension| extension.to_str());
        // This file has made-up names.
        if matches!(extension, Some("rs" | "toml")) && !file.ends_with("xtask/src/verify/map.rs") {
            let text = fs::read_to_string(repository.join(file))?;
            words.extend(words_of(&text).map(str::to_owned));
        }
    }
    Ok(Finding::from_problems(&problems(&page, &files, &words)))
}

fn problems(page: &str, files: &[PathBuf], words: &HashSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut in_code = false;
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for name in line.split('`').skip(1).step_by(2) {
            let missing = match path(name) {
                Some(path) => (!is_there(path, files)).then_some(path),
                None if is_name(name) => words_of(name).find(|word| !words.contains(*word)),
                None => None,
            };
            if let Some(missing) = missing {
                problems.push(format!("{PAGE}:{}: {name}: there is no {missing}", number + 1));
            }
        }
    }
    problems
}

/// Whether a file has this path, or a folder with files: from the root of the repository or from
/// any folder in it, as the page leaves out the beginnings of paths.
fn is_there(path: &str, files: &[PathBuf]) -> bool {
    let inner = format!("/{}/", path.trim_end_matches('/'));
    files
        .iter()
        .any(|file| format!("/{}/", file.display()).contains(&inner))
}

/// A name of code, such as `Offers::next` or `Announcement.extent`, and not a command or its flag.
fn is_name(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || "_:.".contains(c))
}

/// The words of a text that can be names in Rust.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        let files = ["crates/net/src/wire/task.rs", "guests/elf/MANIFEST.toml"].map(PathBuf::from);
        let code = "pub struct Offers { next: u64 } fn lease_length() {}";
        problems(line, &files, &words_of(code).map(str::to_owned).collect())
    }

    #[test]
    fn names_and_files_that_exist_are_no_problem() {
        for line in [
            "`lease_length` in `net/src/wire/task.rs`, and `Offers::next`",
            "`wire/task.rs` and `task.rs`, in `crates/net`; `guests/elf/`",
            "`myriad gone`, `--gone` and `internal-for-leaf` are no names of code",
            "```\n`gone`\n```",
        ] {
            assert_eq!(found(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn missing_names_and_files_are_told() {
        for (line, missing) in [
            ("`lease_len`", "lease_len: there is no lease_len"),
            ("`Offers::gone`", "Offers::gone: there is no gone"),
            (
                "first\n`net/src/wire/gone.rs`",
                ":2: net/src/wire/gone.rs: there is no",
            ),
            ("`ask.rs`", "there is no ask.rs"),
            ("`net/src/wi`", "there is no net/src/wi"),
        ] {
            let problems = found(line);
            assert!(
                problems.len() == 1 && problems[0].contains(missing),
                "{line}: {problems:?}"
            );
        }
    }
}
