//! The steps that hold the sources to the house's taste: a head on every file, one style of modules
//! in each crate, short subjects of commits.

use std::{
    collections::BTreeMap,
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

/// The file of a module that has others below it is `x/mod.rs` or `x.rs`, the same in all of a
/// crate.
pub fn modules(repository: &Path) -> Result<Finding> {
    Ok(Finding::from_problems(&mixed(&rust_files(repository)?)))
}

fn mixed(files: &[PathBuf]) -> Vec<String> {
    let mut crates: BTreeMap<&Path, [Vec<&Path>; 2]> = BTreeMap::new();
    for file in files {
        let Some(root) = crate_of(file) else { continue };
        let [inside, beside] = crates.entry(root).or_default();
        let below = file.with_extension("");
        if file.ends_with("mod.rs") {
            inside.push(file);
        } else if files.iter().any(|other| other.starts_with(&below)) {
            beside.push(file);
        }
    }
    let mut problems = Vec::new();
    for [inside, beside] in crates.values() {
        if inside.is_empty() || beside.is_empty() {
            continue;
        }
        let (odd, usual) = if inside.len() < beside.len() {
            (inside, beside)
        } else {
            (beside, inside)
        };
        for file in odd {
            problems.push(format!(
                "{}: the crate's other modules are files like {}",
                file.display(),
                usual[0].display()
            ));
        }
    }
    problems
}

/// The folder of the crate: what stands before `src`, `tests` or `benches`.
fn crate_of(file: &Path) -> Option<&Path> {
    let is_part = |folder: &&Path| {
        let part = |name: &str| folder.ends_with(name);
        part("src") || part("tests") || part("benches")
    };
    file.ancestors().filter(is_part).last()?.parent()
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
    fn a_crate_has_one_style_of_modules() {
        let files = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(PathBuf::from).collect() };
        let one = files(&[
            "crates/a/src/lib.rs",
            "crates/a/src/x/mod.rs",
            "crates/a/src/x/tests.rs",
        ]);
        assert_eq!(mixed(&one), [""; 0]);
        let other = files(&[
            "guests/b/src/x.rs",
            "guests/b/src/x/tests.rs",
            "guests/b/src/y.rs",
        ]);
        assert_eq!(mixed(&other), [""; 0]);
        assert_eq!(mixed(&[one.clone(), other].concat()), [""; 0]);
        let both = files(&[
            "crates/a/src/y.rs",
            "crates/a/src/y/tests.rs",
            "crates/a/src/z/mod.rs",
        ]);
        let found = mixed(&[one, both].concat());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/a/src/y.rs"), "{found:?}");
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
