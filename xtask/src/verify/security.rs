//! The step that holds `docs/SECURITY.md` to the code: each defence names a test, and whatever file
//! or test the page names is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Finding, tree::files};

const PAGE: &str = "docs/SECURITY.md";
/// The head of the column of a table that says where a defence is.
const WHERE: &str = "where";

pub fn security(repository: &Path) -> Result<Finding> {
    let page = fs::read_to_string(repository.join(PAGE)).context(PAGE)?;
    let rust = files(repository)?.into_iter().filter(|file| {
        let is_rust = file.extension().is_some_and(|extension| extension == "rs");
        // This file names tests that are not there.
        is_rust && !file.ends_with("xtask/src/verify/security.rs")
    });
    let code = rust.map(|file| {
        let text = fs::read_to_string(repository.join(&file))?;
        Ok((file, text))
    });
    let code: Vec<(PathBuf, String)> = code.collect::<Result<_>>()?;
    Ok(Finding::from_problems(&problems(&page, &code)))
}

fn problems(page: &str, code: &[(PathBuf, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut in_table = false;
    for (number, line) in page.lines().enumerate() {
        let mut problem = |what: String| problems.push(format!("{PAGE}:{}: {what}", number + 1));
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            in_table = false;
        } else if cells.last() == Some(&WHERE) {
            in_table = true;
            continue;
        }
        let is_row = in_table && !line.starts_with("|---");
        // Outside of tables, the files that are named belong to the line.
        let text = if is_row { cells[cells.len() - 1] } else { line };
        let mut place: Option<Place> = None;
        let mut tests = 0;
        for name in text.split('`').skip(1).step_by(2) {
            if let Some(path) = path(name) {
                match find(path, place.as_ref(), code) {
                    Some(found) => place = Some(found),
                    None => problem(format!(
                        "there is no {name} in crates/ or beside what was named before it"
                    )),
                }
            } else if is_row && is_function(name) {
                match &place {
                    Some(place) if has_test(place, name, code) => tests += 1,
                    Some(place) => problem(format!("there is no test {name} in {}", place.shown())),
                    None => problem(format!("{name}: name its file before it")),
                }
            }
        }
        if is_row && tests == 0 {
            problem("name a test of this defence, behind its file: `net/src/wire`: `a_test`".into());
        }
    }
    problems
}

/// A file, or the folder of a module and its file.
struct Place(Vec<PathBuf>);

impl Place {
    fn shown(&self) -> String {
        let each = self.0.iter().map(|path| path.display().to_string());
        each.collect::<Vec<_>>().join(" and ")
    }

    fn has(&self, file: &Path) -> bool {
        self.0.iter().any(|path| file.starts_with(path))
    }
}

/// A path: a name with a slash, or of a Rust file.
pub(super) fn path(name: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    let is_path = (name.contains('/') || name.ends_with(".rs")) && !name.starts_with('/');
    (is_path && name.chars().all(is_plain)).then_some(name)
}

fn is_function(name: &str) -> bool {
    name.contains('_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Finds a path below `crates/`, of the repository, or beside the place that was named before.
fn find(name: &str, before: Option<&Place>, code: &[(PathBuf, String)]) -> Option<Place> {
    let beside = before.into_iter().flat_map(|place| &place.0);
    let beside = beside
        .filter_map(|path| path.parent())
        .map(|parent| parent.join(name));
    let roots = [Path::new("crates").join(name), PathBuf::from(name)];
    roots.into_iter().chain(beside).find_map(|path| {
        let forms = [path.clone(), path.with_extension("rs")];
        let there: Vec<PathBuf> = forms
            .into_iter()
            .filter(|form| code.iter().any(|(file, _)| file.starts_with(form)))
            .collect();
        (!there.is_empty()).then_some(Place(there))
    })
}

/// Whether the place has a test of this name, as a function or in a harness of its own.
fn has_test(place: &Place, name: &str, code: &[(PathBuf, String)]) -> bool {
    let (named, quoted) = (format!("fn {name}("), format!("\"{name}\""));
    code.iter().any(|(file, text)| {
        place.has(file)
            && (text.contains(&quoted)
                || text.match_indices(&named).any(|(at, _)| {
                    let before = &text[..at];
                    let head = before.rfind(['}', ';', '{']).map_or(before, |end| &before[end..]);
                    head.contains("#[test]") || head.contains("#[tokio::test")
                }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> Vec<(PathBuf, String)> {
        [
            ("crates/net/src/reach/gate.rs", "fn no_test_here() {}"),
            (
                "crates/net/src/reach/gate/tests.rs",
                "#[test]\nfn it_is_gated() {}",
            ),
            (
                "crates/net/src/reach/budget.rs",
                "}\n#[test]\nfn it_rests() {}\n\nfn it_does_not() {}",
            ),
            (
                "crates/engine/tests/confined.rs",
                "Trial::test(\"it_is_confined\", test)",
            ),
        ]
        .map(|(file, text)| (file.into(), text.into()))
        .into()
    }

    fn found(row: &str) -> Vec<String> {
        problems(
            &format!("| attack | defence | where |\n|---|---|---|\n| a | b | {row} |\n"),
            &code(),
        )
    }

    #[test]
    fn rows_name_tests_that_are_there() {
        assert_eq!(found("`net/src/reach/gate`: `it_is_gated`"), [""; 0]);
        assert_eq!(found("`net/src/reach/gate`; `budget.rs`: `it_rests`"), [""; 0]);
        assert_eq!(found("`engine/tests/confined.rs`: `it_is_confined`"), [""; 0]);
        assert_eq!(found("`net/src/reach`: `it_rests`, `it_is_gated`"), [""; 0]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        for (row, said) in [
            ("`net/src/reach`", "name a test"),
            (
                "`net/src/reach/gone.rs`: `it_rests`",
                "there is no net/src/reach/gone.rs",
            ),
            (
                "`net/src/reach/gate`: `it_rests`",
                "there is no test it_rests in crates/net/src/reach/gate",
            ),
            (
                "`net/src/reach/budget.rs`: `it_does_not`",
                "there is no test it_does_not",
            ),
            ("`it_rests`", "name its file before it"),
        ] {
            let problems = found(row);
            assert!(
                problems.iter().any(|problem| problem.contains(said)),
                "{row}: {problems:?}"
            );
        }
        let prose = problems("As `kills.rs` shows, and `budget`.\n", &code());
        assert_eq!(prose.len(), 1, "{prose:?}");
    }
}
