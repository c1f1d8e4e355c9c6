//! The step that finds circles among modules: siblings in a crate that use each other, at once or
//! through others. It reads `use` declarations, and paths in code that begin with `crate`, `super`
//! or `self`. Where a path leads to a re-export, it goes on to what is re-exported. Tests are left
//! out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, iter,
    path::Path,
};

use anyhow::Result;

use super::{
    Finding,
    tree::{files, product},
};

/// The place of a module in its crate: the names from below the root to its own.
type Module = Vec<String>;

/// The modules of a crate, each with its `use` declarations.
type Modules = BTreeMap<Module, Vec<Use>>;

/// For each module, the siblings that it or a module below it uses, each with an example.
type Siblings = BTreeMap<String, BTreeMap<String, Use>>;

/// A path in a `use` declaration, or in code.
#[derive(Clone, Debug)]
struct Use {
    file: String,
    path: Vec<String>,
    /// The name that a `use` declaration gives in its module.
    name: Option<String>,
}

/// The re-exports that one path may lead through. Only a circle of re-exports has more.
const RE_EXPORTS_MAX: usize = 16;

/// No module uses a sibling that uses it.
pub fn circles(repository: &Path) -> Result<Finding> {
    let mut crates: BTreeMap<String, Modules> = BTreeMap::new();
    for path in files(repository)? {
        let file = path.to_string_lossy();
        let Some((root, module)) = place(&file) else {
            continue;
        };
        let text = fs::read_to_string(repository.join(&path))?;
        let modules = crates.entry(root).or_default();
        modules
            .entry(module)
            .or_default()
            .extend(uses(&file, &product(&text)));
    }
    let problems: Vec<String> = crates.values().flat_map(circles_of_crate).collect();
    Ok(Finding::from_problems(&problems))
}

/// The root of the crate that a source file belongs to, and its module there. None for tests, and
/// for files that are no source of a crate.
fn place(file: &str) -> Option<(String, Module)> {
    let (package, inside) = file.strip_suffix(".rs")?.split_once("src/")?;
    let (root, inside) = match inside.strip_prefix("bin/") {
        Some(binary) => {
            let (name, inside) = binary.split_once('/')?;
            (format!("{package}src/bin/{name}"), inside)
        }
        None => (format!("{package}src"), inside),
    };
    let mut module: Module = inside.split('/').map(str::to_owned).collect();
    if module
        .iter()
        .any(|part| part == "tests" || part.ends_with("_tests"))
    {
        return None;
    }
    module.pop_if(|name| ["lib", "main", "mod"].contains(&name.as_str()));
    Some((root, module))
}

/// The paths that a file uses: those of all `use` declarations, and those in code.
fn uses(file: &str, text: &str) -> Vec<Use> {
    let mut uses = Vec::new();
    // The indentations of the modules written into the file that the line is in.
    let mut inline: Vec<usize> = Vec::new();
    let mut declaration = String::new();
    for line in text.lines() {
        let indentation = line.len() - line.trim_start().len();
        let code = line.split("//").next().unwrap_or_default().trim();
        let mut found = Vec::new();
        if !declaration.is_empty() {
            declaration += code;
        } else if let Some(tree) = declared(code) {
            tree.clone_into(&mut declaration);
        } else {
            found.extend(paths_in_code(code).into_iter().map(|path| (path, None)));
        }
        if let Some(tree) = declaration.strip_suffix(';') {
            expand(&[], tree, &mut found);
            declaration.clear();
        }
        let from_file = |(path, name)| Some((outside(path, inline.len())?, name));
        uses.extend(found.into_iter().filter_map(from_file).map(|(path, name)| Use {
            file: file.to_owned(),
            path,
            name,
        }));
        if code.ends_with('{') && words(code).any(|word| word == "mod") {
            inline.push(indentation);
        } else if code == "}" {
            inline.pop_if(|begun| *begun == indentation);
        }
    }
    uses
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !is_part_of_name(c))
        .filter(|word| !word.is_empty())
}

fn is_part_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The paths in a line of code that begin with `crate`, `super` or `self`.
fn paths_in_code(line: &str) -> Vec<Vec<String>> {
    let chains = line.split(|c: char| !is_part_of_name(c) && c != ':');
    let begins = |path: &Vec<String>| ["crate", "super", "self"].contains(&path[0].as_str());
    chains
        .filter(|chain| chain.contains("::"))
        .map(|chain| {
            let names = chain.trim_matches(':').split("::");
            names.map(str::to_owned).collect()
        })
        .filter(begins)
        .collect()
}

/// A path that stands in so many modules written into a file, seen from the file's own module. None
/// where it does not leave them.
fn outside(path: Vec<String>, inline: usize) -> Option<Vec<String>> {
    if inline == 0 || path.first().is_some_and(|first| first == "crate") {
        return Some(path);
    }
    let supers = path.iter().take_while(|name| *name == "super").count();
    let own = || iter::once("self".to_owned());
    (supers >= inline).then(|| own().chain(path.into_iter().skip(inline)).collect())
}

/// The beginning of the tree that a line declares, if it begins a `use` declaration.
fn declared(line: &str) -> Option<&str> {
    let private = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    private.strip_prefix("use ")
}

/// Adds the paths of a tree, such as `a::{b, c::d}`, each behind `stem` and with the name that it
/// gives.
fn expand(stem: &[&str], tree: &str, paths: &mut Vec<(Vec<String>, Option<String>)>) {
    for branch in branches(tree) {
        let (path, inner) = match branch.split_once('{') {
            Some((path, rest)) => (path, rest.trim_end().strip_suffix('}')),
            None => (branch.split(" as ").next().unwrap_or_default(), None),
        };
        let names = path.split("::").map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<&str> = stem.iter().copied().chain(names).collect();
        match inner {
            Some(inner) => expand(&names, inner, paths),
            None => {
                let last = names.iter().rev().find(|name| **name != "self").copied();
                let name = branch.split(" as ").nth(1).or(last);
                paths.push((
                    names.iter().map(|&name| name.to_owned()).collect(),
                    name.map(|name| name.trim().to_owned()),
                ));
            }
        }
    }
}

/// The parts between the commas that are in no braces.
fn branches(tree: &str) -> Vec<&str> {
    let mut depth = 0;
    let between = |char: char| {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        char == ',' && depth == 0
    };
    let parts = tree.split(between).map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

/// The module of the crate that a path leads to, or into. None where it leads out of the crate.
fn target(from: &Module, path: &[String], modules: &Modules) -> Option<Module> {
    target_through(from, path, modules, RE_EXPORTS_MAX)
}

/// [`target`] through at most this many re-exports.
fn target_through(from: &Module, path: &[String], modules: &Modules, re_exports: usize) -> Option<Module> {
    let mut at = from.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            at.clear();
            rest = &rest[1..];
        }
        "self" | "super" => {
            while let Some(name @ ("self" | "super")) = rest.first().map(String::as_str) {
                if name == "super" {
                    at.pop();
                }
                rest = &rest[1..];
            }
        }
        child => {
            at.push(child.to_owned());
            if !modules.contains_key(&at) {
                return None;
            }
            rest = &rest[1..];
        }
    }
    while let [name, inner @ ..] = rest {
        at.push(name.clone());
        if !modules.contains_key(&at) {
            at.pop();
            break;
        }
        rest = inner;
    }
    let origin = re_exported(&at, rest, modules)
        .filter(|_| re_exports > 0)
        .and_then(|path| target_through(&at, &path, modules, re_exports - 1));
    Some(origin.unwrap_or(at))
}

/// The path, seen from a module, that the first of these names stands for there by a `use`.
fn re_exported(module: &Module, names: &[String], modules: &Modules) -> Option<Vec<String>> {
    let (first, rest) = names.split_first()?;
    let used = modules
        .get(module)?
        .iter()
        .find(|used| used.name.as_ref() == Some(first))?;
    Some(used.path.iter().chain(rest).cloned().collect())
}

fn circles_of_crate(modules: &Modules) -> Vec<String> {
    let mut families: BTreeMap<&[String], Siblings> = BTreeMap::new();
    for (from, uses) in modules {
        for used in uses {
            let Some(to) = target(from, &used.path, modules) else {
                continue;
            };
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // A module and those below it may use each other.
            let (Some(user), Some(sibling)) = (from.get(shared), to.get(shared)) else {
                continue;
            };
            let siblings = families.entry(&from[..shared]).or_default();
            let of_user = siblings.entry(user.clone()).or_default();
            of_user.entry(sibling.clone()).or_insert_with(|| used.clone());
        }
    }
    families.values().flat_map(circles_among).collect()
}

/// A description of each circle. Only the first of several that share a module is described.
fn circles_among(siblings: &Siblings) -> Vec<String> {
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for start in siblings.keys() {
        let Some(circle) = shortest_circle(start, siblings) else {
            continue;
        };
        if circle.iter().any(|module| named.contains(module)) {
            continue;
        }
        named.extend(&circle);
        let next = circle.iter().cycle().skip(1);
        let uses: Vec<String> = circle
            .iter()
            .zip(next)
            .map(|(&user, &used)| {
                let Use { file, path, .. } = &siblings[user][used];
                format!("`{user}` uses `{used}` ({file}: `{}`)", path.join("::"))
            })
            .collect();
        found.push(format!(
            "a circle of modules: {}; move what they share below all of them",
            uses.join(", ")
        ));
    }
    found
}

/// The modules on the shortest way from `start` back to it, `start` first.
fn shortest_circle<'a>(start: &'a str, siblings: &'a Siblings) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(user) = queue.pop_front() {
        for used in siblings.get(user).into_iter().flat_map(BTreeMap::keys) {
            if used == start {
                let mut way = vec![user];
                while way[way.len() - 1] != start {
                    way.push(came_from[way[way.len() - 1]]);
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(used.as_str()) {
                came_from.insert(used, user);
                queue.push_back(used);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let mut modules = Modules::new();
        for (file, text) in sources {
            let (_, module) = place(file).expect("it is a source");
            modules
                .entry(module)
                .or_default()
                .extend(uses(file, &product(text)));
        }
        circles_of_crate(&modules)
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        for (a, b) in [
            ("use crate::b::B;", "use crate::a::A;"),
            ("pub(crate) use super::b;", "use super::{C, a::{self, A}};"),
            (
                "use super::{\n    C, // of all\n    b::{\n        B,\n    },\n};",
                "use crate::a as other;",
            ),
        ] {
            let circles = found(&[("x/src/lib.rs", ""), ("x/src/a.rs", a), ("x/src/b/mod.rs", b)]);
            assert_eq!(circles.len(), 1, "{a}, {b}");
            assert!(
                circles[0].contains("`b` uses `a` (x/src/b/mod.rs: `"),
                "{circles:?}"
            );
        }
    }

    #[test]
    fn a_circle_may_lead_through_others_and_begin_deep_below() {
        let sources = [
            ("x/src/main.rs", "use a::A;"),
            ("x/src/a/mod.rs", "use self::deep::Deep;"),
            ("x/src/a/deep.rs", "use crate::b::B;"),
            ("x/src/b.rs", "use super::c::deeper::C;"),
            ("x/src/c/mod.rs", ""),
            ("x/src/c/deeper.rs", "use super::super::a::A;"),
        ];
        let circles = found(&sources);
        assert_eq!(circles.len(), 1, "{circles:?}");
        for part in ["`a` uses `b`", "`b` uses `c`", "`c` uses `a`"] {
            assert!(circles[0].contains(part), "{circles:?}");
        }
        assert_eq!(found(&sources[..5]), [""; 0]);
    }

    #[test]
    fn a_circle_may_hide_behind_a_re_export() {
        for (root, b) in [
            ("pub use a::A;", "use crate::A;"),
            ("pub use a::{B, A as Other};", "use crate::{Other, x::Y};"),
            ("pub(crate) use self::a::A;", "fn f() -> super::A {}"),
            ("use a;", "impl crate::a::A for B {}"),
            ("mod a;", "mod inner {\n    fn f() -> super::super::a::A {}\n}"),
        ] {
            let sources = [
                ("x/src/lib.rs", root),
                ("x/src/a/mod.rs", "pub use inner::A;"),
                ("x/src/a/inner.rs", "use crate::b::B;"),
                ("x/src/b.rs", b),
            ];
            let circles = found(&sources);
            assert_eq!(circles.len(), 1, "{root}, {b}: {circles:?}");
            assert!(circles[0].contains("`b` uses `a` (x/src/b.rs: `"), "{circles:?}");
        }
    }

    #[test]
    fn re_exports_of_others_and_in_a_circle_lead_nowhere() {
        let root = "pub use a::A;\npub use std::b::C;";
        let a = "pub use crate::A;";
        let b = "use crate::{A, C};\nmod inner {\n    use super::C;\n    fn f() { self::a::b() }\n}\n// crate::a::A";
        assert_eq!(
            found(&[("x/src/lib.rs", root), ("x/src/a.rs", a), ("x/src/b.rs", b)]),
            [""; 0]
        );
    }

    #[test]
    fn parents_others_and_tests_make_no_circle() {
        let a = "use super::b::B;\nuse b::Other;\nuse std::b::C;\nuse crate::Root;";
        let b = "#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}\n";
        let root = "mod a;\nmod b;\nuse a::A;\nuse crate::b::B;";
        assert_eq!(
            found(&[("x/src/lib.rs", root), ("x/src/a.rs", a), ("x/src/b.rs", b)]),
            [""; 0]
        );
        for file in [
            "x/src/a/tests.rs",
            "x/src/a/tests/mod.rs",
            "x/tests/a.rs",
            "x/src/bin/a.rs",
        ] {
            assert_eq!(place(file), None, "{file}");
        }
        let binary = place("x/src/bin/y/a/mod.rs").unwrap();
        assert_eq!(binary, ("x/src/bin/y".to_owned(), vec!["a".to_owned()]));
    }
}
