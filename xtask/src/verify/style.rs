//! The steps that hold the sources to the house's taste: a head on every file, one style of
//! modules, short subjects of commits.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{
    Finding,
    tree::{files, has_extension},
};
use crate::output;

/// The characters of a subject that `git log --oneline` and the lists of web sites show.
const SUBJECT_CHARS_MAX: usize = 72;
/// The number of the last commits that are looked at. Older ones are part of the history, and stay
/// as they are.
const COMMITS_LOOKED_AT: usize = 40;

/// Every Rust file begins with `//!` and what it is.
pub fn heads(repository: &Path) -> Result<Finding> {
    let mut problems = Vec::new();
    for file in rust_files(repository)? {
        let text = fs::read_to_string(repository.join(&file))?;
        if !text.starts_with("//! ") {
            problems.push(format!("{}: begin it with `//!` and what it is", file.display()));
        }
    }
    Ok(Finding::from_problems(&problems))
}

/// The file of a module with parts is `x/mod.rs`: no `x.rs` lies beside a folder `x`.
pub fn modules(repository: &Path) -> Result<Finding> {
    Ok(Finding::from_problems(&beside_folders(&files(repository)?)))
}

fn beside_folders(files: &[PathBuf]) -> Vec<String> {
    let has_folder = |file: &&PathBuf| {
        let folder = file.with_extension("");
        has_extension(file, "rs") && files.iter().any(|other| other.starts_with(&folder))
    };
    let found = files.iter().filter(has_folder);
    found
        .map(|file| {
            // Cargo finds a target with parts by another name.
            let parent = file.parent().and_then(Path::file_name);
            let is_target = ["tests", "benches", "examples", "bin"]
                .map(OsStr::new)
                .map(Some)
                .contains(&parent);
            let name = if is_target { "main.rs" } else { "mod.rs" };
            let inside = file.with_extension("").join(name);
            format!("{}: move it to {}", file.display(), inside.display())
        })
        .collect()
}

/// The subjects of the last commits fit a line. A clone needs no remote for it.
pub fn subjects(repository: &Path) -> Result<Finding> {
    let mut git = Command::new("git");
    git.args(["log", "--format=%h %s", "-n", &COMMITS_LOOKED_AT.to_string()])
        .current_dir(repository);
    Ok(Finding::from_problems(&too_long(&output(&mut git)?)))
}

/// The lines whose subject is too long, of lines with a commit's hash and its subject.
fn too_long(log: &str) -> Vec<String> {
    let commits = log.lines().filter_map(|line| line.split_once(' '));
    commits
        .map(|(commit, subject)| (commit, subject, subject.chars().count()))
        .filter(|(_, _, chars)| *chars > SUBJECT_CHARS_MAX)
        .map(|(commit, subject, chars)| {
            format!(
                "{commit}: the subject has {chars} characters, at most {SUBJECT_CHARS_MAX}; put the rest into the \
                 body (`git commit --amend`, `git rebase --interactive`): {subject}"
            )
        })
        .collect()
}

fn rust_files(repository: &Path) -> Result<Vec<PathBuf>> {
    let files = files(repository)?.into_iter();
    Ok(files.filter(|file| has_extension(file, "rs")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_with_parts_lies_in_its_folder() {
        let files = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(PathBuf::from).collect() };
        let inside = files(&[
            "crates/a/src/lib.rs",
            "crates/a/src/x/mod.rs",
            "crates/a/src/x/tests.rs",
            "crates/a/src/x_y.rs",
            "crates/a/src/z.toml",
            "crates/a/src/z/mod.rs",
            "crates/a/tests/x.rs",
        ]);
        assert_eq!(beside_folders(&inside), [""; 0]);
        let beside = files(&[
            "guests/b/src/x.rs",
            "guests/b/src/x/tests.rs",
            "guests/b/src/y.rs",
            "guests/b/tests/x.rs",
            "guests/b/tests/x/part.rs",
        ]);
        assert_eq!(
            beside_folders(&[inside, beside].concat()),
            [
                "guests/b/src/x.rs: move it to guests/b/src/x/mod.rs",
                "guests/b/tests/x.rs: move it to guests/b/tests/x/main.rs",
            ]
        );
    }

    #[test]
    fn subjects_are_counted_in_characters() {
        let fits = "ä".repeat(SUBJECT_CHARS_MAX);
        let log = format!("1234567 {fits}\n89abcde {fits}x\n");
        let found = too_long(&log);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("89abcde: the subject has 73 characters"),
            "{found:?}"
        );
    }
}
