//! The report on a run: counts by fork and folder, and each fault.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// Most faults that are printed; all are in the JSON.
const PRINTED_FAULTS_MAX: usize = 100;

/// How many tests and blocks there were, and what became of them. Each block is in exactly one of
/// `accepted`, `refused` and the faults.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    pub tests: u64,
    /// Valid blocks that were accepted, with all state and with the least witness.
    pub accepted: u64,
    /// Invalid blocks that were refused for a cause of the right kind.
    pub refused: u64,
    /// The refused blocks whose roots were mended first.
    pub mended: u64,
    /// Times that an accepted block was tried without one part of its least witness, and refused.
    pub taken_out: u64,
    /// Times that the part was the code of a call that cannot begin, and the block was rightly
    /// accepted without it.
    pub spare_codes: u64,
    pub wrong_accepts: u64,
    pub wrong_rejects: u64,
    pub wrong_causes: u64,
    pub panics: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.tests += other.tests;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.mended += other.mended;
        self.taken_out += other.taken_out;
        self.spare_codes += other.spare_codes;
        self.wrong_accepts += other.wrong_accepts;
        self.wrong_rejects += other.wrong_rejects;
        self.wrong_causes += other.wrong_causes;
        self.panics += other.panics;
    }

    fn row(&self, name: &str) -> String {
        format!(
            "{name:<58} {:>6} {:>8} {:>7} {:>6} {:>9} {:>6} {:>6} {:>6} {:>6} {:>6}",
            self.tests,
            self.accepted,
            self.refused,
            self.mended,
            self.taken_out,
            self.spare_codes,
            self.wrong_accepts,
            self.wrong_rejects,
            self.wrong_causes,
            self.panics,
        )
    }
}

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An invalid block, or one without a part of its witness, was accepted.
    WrongAccept,
    /// A valid block was refused.
    WrongReject,
    /// An invalid block was refused for another rule than the one that it breaks.
    WrongCause,
    Panic,
    /// The fixture cannot be used.
    Unusable,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    pub file: String,
    pub test: String,
    /// Place of the block in the test, from 0.
    pub block: usize,
    pub kind: Kind,
    pub message: String,
}

impl Fault {
    pub fn of_file(file: String, message: String) -> Self {
        Self {
            file,
            test: String::new(),
            block: 0,
            kind: Kind::Unusable,
            message,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}: {} {} block {}: {}",
            self.kind, self.file, self.test, self.block, self.message
        )
    }
}

/// The outcome of the mutations.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Mutations {
    pub seed: u64,
    pub tried: u64,
    /// Blocks that they were made of.
    pub blocks: usize,
    pub refused: u64,
    /// Accepted with the public values of the block that was mutated.
    pub same: u64,
    /// Accepted, and rightly: they differ in what a block may choose, such as the extra data or the
    /// index of a withdrawal, or in the rules, which the public values name.
    pub other_valid: u64,
    pub wrong_accepts: u64,
    pub panics: u64,
    /// How many of each kind there were.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// The faults: the number of the mutation, and its outcome.
    pub faults: Vec<(u64, String)>,
}

/// The outcome of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub total: Counts,
    /// The counts by fork.
    pub forks: BTreeMap<String, Counts>,
    /// The counts by folder.
    pub folders: BTreeMap<String, Counts>,
    /// Tests that were not run, or not to their end, by the reason.
    pub skipped: BTreeMap<String, u64>,
    pub faults: Vec<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutations: Option<Mutations>,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        let is_sound = |mutations: &Mutations| mutations.faults.is_empty();
        self.faults.is_empty() && self.mutations.as_ref().is_none_or(is_sound)
    }

    pub fn count(&mut self, fork: &str, folder: &str, counts: &Counts) {
        self.total.add(counts);
        self.forks.entry(fork.to_owned()).or_default().add(counts);
        self.folders.entry(folder.to_owned()).or_default().add(counts);
    }

    pub fn add(&mut self, other: Self) {
        self.total.add(&other.total);
        for (of, from) in [(&mut self.forks, other.forks), (&mut self.folders, other.folders)] {
            for (name, counts) in from {
                of.entry(name).or_default().add(&counts);
            }
        }
        for (reason, tests) in other.skipped {
            *self.skipped.entry(reason).or_default() += tests;
        }
        self.faults.extend(other.faults);
    }

    /// Into an order that does not depend on which thread was first.
    pub fn sort(&mut self) {
        self.faults.sort();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in self.faults.iter().take(PRINTED_FAULTS_MAX) {
            writeln!(f, "{fault}")?;
        }
        if self.faults.len() > PRINTED_FAULTS_MAX {
            writeln!(f, "... and {} more", self.faults.len() - PRINTED_FAULTS_MAX)?;
        }
        writeln!(
            f,
            "{:<58} {:>6} {:>8} {:>7} {:>6} {:>9} {:>6} {:>6} {:>6} {:>6} {:>6}",
            "",
            "tests",
            "accepted",
            "refused",
            "mended",
            "taken out",
            "spare",
            "accept",
            "reject",
            "cause",
            "panic"
        )?;
        for rows in [&self.forks, &self.folders] {
            for (name, counts) in rows {
                writeln!(f, "{}", counts.row(name))?;
            }
        }
        writeln!(f, "{}", self.total.row("all"))?;
        for (reason, tests) in &self.skipped {
            writeln!(f, "skipped {tests} tests: {reason}")?;
        }
        let Some(mutations) = &self.mutations else {
            return Ok(());
        };
        for (number, message) in mutations.faults.iter().take(PRINTED_FAULTS_MAX) {
            writeln!(f, "mutation {number}: {message}")?;
        }
        writeln!(
            f,
            "{} mutations of {} blocks, seed {}: {} refused, {} the same, {} other valid blocks, {} wrong accepts, {} panics",
            mutations.tried,
            mutations.blocks,
            mutations.seed,
            mutations.refused,
            mutations.same,
            mutations.other_valid,
            mutations.wrong_accepts,
            mutations.panics,
        )
    }
}
