//! Scenario files: their keys, and the errors of a file that breaks a bound.
//!
//! Everything has a bound, and a key that is not known is an error: a misspelt one would otherwise
//! quietly be the default.

mod bounds;
mod defaults;
mod error;

use std::{fs::File, io::Read, path::Path};

use serde::{Deserialize, Serialize};

pub use error::ScenarioError;

use crate::peer::Habit;
use error::FILE_BYTES_MAX;

/// Bytes a second of a megabit a second.
pub(crate) const MBIT: f64 = 1e6 / 8.0;

/// A fleet and the requesters that have work for it: `myriad simulate` reads it from TOML.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// The first world's seed; each further world has the next one.
    #[serde(default = "defaults::one")]
    pub seed: u64,
    /// The number of worlds.
    #[serde(default = "defaults::one")]
    pub seeds: u64,
    /// The hours for which blocks come.
    #[serde(default)]
    pub hours: f64,
    /// The hours after that for which they are waited for.
    #[serde(default = "defaults::a_day")]
    pub patience_hours: f64,
    /// `"adaptive"`, or how many machines do each task.
    #[serde(default)]
    pub redundancy: Copies,
    /// Changes to the product's behaviour.
    #[serde(default)]
    pub what_if: WhatIf,
    #[serde(default)]
    pub requesters: Vec<RequesterTable>,
    #[serde(default)]
    pub machines: Vec<MachineTable>,
}

/// Switches for questions of the kind "how much is it worth?". The product has no such switches: it
/// does what `announced` and `streamed` say, and nothing of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhatIf {
    /// The most children of leaves, internal-for-leaf and internal-recursive nodes, in place of
    /// those that the planner chooses.
    pub arities: Option<[u8; 3]>,
    /// A block is announced when it comes. Machines fetch and execute it while the requester does,
    /// and have their keys loaded; a segment can be proven when it is cut. At best: every machine
    /// knows beforehand which one it will get.
    pub early: bool,
    /// A block is announced when its execution begins, and machines fetch program and input
    /// meanwhile, from each other. Segments are given out when it is executed. The product does so,
    /// and this is on unless a scenario turns it off: then machines fetch with their first lease.
    pub announced: bool,
    /// Segments are given out as they are cut, while the execution goes on, from when so many are
    /// known that the block is no small one (`STREAMED_FROM` in `fleet/world/streaming.rs`). Their
    /// true boundaries are known as soon.
    pub streamed: bool,
    /// A machine has its next lease when its last task ends, and hears at once of a lease that its
    /// own proof has made possible: offers, leases and wakes take no time. At best: none is given
    /// back.
    pub ahead: bool,
    /// A submission brings its proof: the bytes follow it at once, and nobody asks for them.
    pub pushed: bool,
    /// A machine has the proofs that a node takes when it gets the node. At best: links carry them
    /// then, and nobody waits for them.
    pub at_hand: bool,
    /// A machine has the keys of a task loaded when it gets the task. At best: it knew which.
    pub warm: bool,
    /// The requester sends eight copies of an input, and each machine that gets it passes it on to
    /// one more, piece by piece. Without this, those that have reported progress are named to
    /// others.
    pub swarm: bool,
    /// The requester neither fetches nor verifies segments and leaves: the machines that make the
    /// nodes above check them (`docs/DELEGATED_CHECKS.md`). At best: nobody lies.
    pub delegated: bool,
}

impl Default for WhatIf {
    fn default() -> Self {
        Self {
            arities: None,
            early: false,
            announced: true,
            streamed: false,
            ahead: false,
            pushed: false,
            at_hand: false,
            warm: false,
            swarm: false,
            delegated: false,
        }
    }
}

/// Requesters that are alike.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RequesterTable {
    pub name: String,
    #[serde(default = "defaults::one")]
    pub count: u64,
    /// A block every so often; without it there is one, at the start.
    pub every_s: Option<f64>,
    /// The work of each block. One of `gas` and `instructions` is given.
    pub gas: Option<f64>,
    pub instructions: Option<f64>,
    #[serde(default = "defaults::instructions_per_gas")]
    pub instructions_per_gas: f64,
    /// The program whose costs count, among those of the profiles.
    #[serde(default = "defaults::evm_block")]
    pub costs_of: String,
    /// The program, which every prover fetches once.
    #[serde(default = "defaults::program_mb")]
    pub program_mb: f64,
    /// The input of a block, which every prover of the block needs.
    #[serde(default = "defaults::input_mb")]
    pub input_mb: f64,
    /// Blocks that are proven at once; later ones wait.
    #[serde(default = "defaults::open_max")]
    pub open_max: u32,
    /// The time after its arrival within which a block should be proven.
    pub deadline_s: Option<f64>,
    /// The cores that execute and verify.
    #[serde(default = "defaults::requester_cores")]
    pub cores: u32,
    #[serde(default = "defaults::requester_up")]
    pub up_mbit: f64,
    #[serde(default = "defaults::requester_down")]
    pub down_mbit: f64,
    /// The time of one way.
    #[serde(default = "defaults::latency")]
    pub latency_ms: f64,
    /// The most machines that it is connected to; without it, all.
    pub connections: Option<u64>,
}

/// Machines that are alike.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MachineTable {
    pub name: String,
    pub count: u64,
    /// A file of `myriad bench`, beside the scenario; without it they are like the reference
    /// machine.
    pub profile: Option<String>,
    /// The cores of each; without it those of its profile.
    pub threads: Option<u32>,
    #[serde(default = "defaults::memory")]
    pub memory_gib: f64,
    /// The speed of each beside its profile.
    #[serde(default = "defaults::same_speed")]
    pub speed: Spread,
    /// The part of the tasks that take twice as long, because the machine is used for something
    /// else.
    #[serde(default)]
    pub busy: f64,
    #[serde(default = "defaults::up")]
    pub up_mbit: Spread,
    #[serde(default = "defaults::down")]
    pub down_mbit: Spread,
    /// The time of one way.
    #[serde(default = "defaults::latencies")]
    pub latency_ms: Spread,
    /// The part that delivers.
    #[serde(default = "defaults::all")]
    pub honest: f64,
    /// The habits of the others, in turn.
    #[serde(default = "defaults::pretends")]
    pub wasters: Vec<Habit>,
    /// Whether requesters know the honest ones from earlier jobs.
    #[serde(default)]
    pub known: bool,
    /// The part behind a NAT: two of these cannot reach each other, and get each other's proofs
    /// from the requester.
    #[serde(default)]
    pub nat: f64,
    /// The hours that each stays, from nothing to twice this; without it, for ever.
    pub online_h: Option<f64>,
    /// The hours for which it is away then.
    #[serde(default = "defaults::quarter")]
    pub offline_h: f64,
    /// The part of leavings without a word. The others hand their tasks back.
    #[serde(default = "defaults::all")]
    pub vanishes: f64,
}

/// A number, or all between two.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Spread {
    One(f64),
    Between([f64; 2]),
}

/// The number of machines that get the same task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Copies {
    #[serde(serialize_with = "adaptive", deserialize_with = "is_adaptive")]
    #[default]
    Adaptive,
    Fixed(u32),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's")]
fn adaptive<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("adaptive")
}

fn is_adaptive<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "adaptive" => Ok(()),
        other => Err(serde::de::Error::custom(format!(
            "redundancy is {other:?}, and has to be \"adaptive\" or a number of copies"
        ))),
    }
}

impl ScenarioFile {
    /// # Errors
    /// See [`ScenarioError`].
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let read = |source| ScenarioError::Read {
            path: path.display().to_string(),
            source,
        };
        let mut text = Vec::new();
        let file = File::open(path).map_err(read)?;
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(read)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(ScenarioError::Long);
        }
        Self::parse(&String::from_utf8(text).map_err(|_| ScenarioError::Text)?)
    }

    /// # Errors
    /// [`ScenarioError::Toml`] or [`ScenarioError::Value`]
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(ScenarioError::Long);
        }
        let file: Self = toml::from_str(text).map_err(|e| ScenarioError::Toml(Box::new(e)))?;
        file.validate()?;
        Ok(file)
    }
}

impl RequesterTable {
    /// The work of each block.
    pub(in crate::fleet) fn work(&self) -> f64 {
        let of_gas = self.gas.map(|gas| gas * self.instructions_per_gas);
        self.instructions.or(of_gas).unwrap_or(0.0)
    }

    /// The number of blocks that come in this many hours.
    pub(in crate::fleet) fn blocks(&self, hours: f64) -> u64 {
        match self.every_s {
            None => 1,
            // A hair less than a whole number is that number.
            Some(every_s) => ((3600.0 * hours / every_s + 1e-9) as u64).max(1),
        }
    }
}

impl Spread {
    pub(in crate::fleet) const fn ends(self) -> (f64, f64) {
        match self {
            Self::One(value) => (value, value),
            Self::Between([from, to]) => (from, to),
        }
    }

    pub(in crate::fleet) fn mean(self) -> f64 {
        let (from, to) = self.ends();
        f64::midpoint(from, to)
    }

    /// The largest number of it.
    #[must_use]
    pub fn most(self) -> f64 {
        self.ends().1
    }

    /// All its numbers, multiplied.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        match self {
            Self::One(value) => Self::One(value * factor),
            Self::Between(ends) => Self::Between(ends.map(|end| end * factor)),
        }
    }
}

#[cfg(test)]
mod tests;
