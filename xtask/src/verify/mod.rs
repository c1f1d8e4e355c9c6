//! `cargo xtask verify`: every check that a commit must pass besides the tests. It never writes to
//! the checkout. `cargo xtask fix` repairs what can be repaired without thinking.
//!
//! All cargo steps use the release profile, as the tests do, so that a step finds what another has
//! compiled.

mod borders;
mod circles;
mod comments;
mod map;
mod markdown;
mod security;
mod style;
mod tools;
mod tree;
mod width;

use std::{
    io::{self, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Result, bail};

use crate::guests;

/// The finding of a step. An `Err` of a step means that it could not do its work, and counts as a
/// failure.
pub enum Finding {
    Passed,
    /// The reason for which this machine cannot tell.
    Skipped(String),
    /// The faults, for a person to read.
    Failed(String),
}

impl Finding {
    /// One line for each problem; none means passed.
    fn from_problems(problems: &[String]) -> Self {
        if problems.is_empty() {
            Self::Passed
        } else {
            Self::Failed(problems.join("\n"))
        }
    }
}

struct Step {
    name: &'static str,
    run: fn(&Path) -> Result<Finding>,
}

/// Quick steps first: they tell most mistakes in a second.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        run: tools::format,
    },
    Step {
        name: "links",
        run: tree::links,
    },
    Step {
        name: "sizes",
        run: tree::sizes,
    },
    Step {
        name: "heads",
        run: style::heads,
    },
    Step {
        name: "modules",
        run: style::modules,
    },
    Step {
        name: "width",
        run: width::width,
    },
    Step {
        name: "subjects",
        run: style::subjects,
    },
    Step {
        name: "paths",
        run: tree::machine_paths,
    },
    Step {
        name: "borders",
        run: borders::borders,
    },
    Step {
        name: "circles",
        run: circles::circles,
    },
    Step {
        name: "security",
        run: security::security,
    },
    Step {
        name: "map",
        run: map::map,
    },
    Step {
        name: "guests",
        run: |repository| Ok(Finding::from_problems(&guests::problems(repository)?)),
    },
    Step {
        name: "dependencies",
        run: tools::unused_dependencies,
    },
    Step {
        name: "licences",
        run: tools::licences,
    },
    Step {
        name: "advisories",
        run: tools::advisories,
    },
    Step {
        name: "clippy",
        run: tools::clippy,
    },
    Step {
        name: "docs",
        run: tools::docs,
    },
];

/// Runs the steps named in `only`, or all of them. Returns whether none failed; a failure does not
/// keep the rest from running.
pub fn verify(repository: &Path, only: &[String]) -> Result<bool> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !STEPS.iter().any(|step| step.name == **name))
    {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`; the steps are {}", names.join(", "));
    }

    let mut failed = Vec::new();
    for step in STEPS
        .iter()
        .filter(|step| only.is_empty() || only.iter().any(|name| name == step.name))
    {
        print!("{:<13}", step.name);
        io::stdout().flush()?;
        let start = Instant::now();
        let finding = (step.run)(repository).unwrap_or_else(|error| Finding::Failed(format!("{error:#}")));
        let seconds = start.elapsed().as_secs_f64();
        match finding {
            Finding::Passed => println!("ok      {seconds:6.1} s"),
            Finding::Skipped(reason) => println!("skipped {seconds:6.1} s  {reason}"),
            Finding::Failed(output) => {
                println!("FAILED  {seconds:6.1} s\n{}\n", output.trim_end());
                failed.push(step.name);
            }
        }
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

pub fn fix(repository: &Path) -> Result<()> {
    width::wrap_all(repository)?;
    tools::fix(repository)
}
