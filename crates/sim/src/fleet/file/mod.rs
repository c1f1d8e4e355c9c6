//! Scenario files: what may be written in one, and what is said of what may not.
//!
//! Everything has a bound, and a key that is not known is an error: a misspelt one would otherwise quietly be the default.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use myriad_cost::{
    model::FitError,
    planner::{PlanError, SEGMENTS_MAX},
    profile::ProfileError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::peer::Habit;

/// Most bytes of a scenario file. The longest here has under two thousand.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most machines of a scenario: each takes about 2 KiB, and as much again at each requester that it serves.
pub const FLEET_MAX: u64 = 200_000;
/// Most requesters.
pub const REQUESTERS_MAX: u64 = 1_000;
/// Most machines, counted once for each requester: what one knows of another takes about 2 KiB.
pub const PAIRS_MAX: u64 = 2_000_000;
/// Most blocks of all requesters together, over all worlds.
pub const BLOCKS_MAX: u64 = 1_000_000;
/// Most worlds of one scenario.
pub const SEEDS_MAX: u64 = 10_000;
/// Most hours for which blocks come, or are waited for: a year.
const HOURS_MAX: f64 = 24.0 * 366.0;
/// Copies of a task beyond which nothing is learned.
const COPIES_MAX: f64 = 100.0;
/// Most gas or instructions of a block. The planner says which it cannot cut.
const WORK_MAX: f64 = 1e15;
const INSTRUCTIONS_PER_GAS: [f64; 2] = [1e-3, 1e6];
const EVERY_S: [f64; 2] = [0.01, 1e7];
const DEADLINE_S: [f64; 2] = [0.1, 1e7];
const SHARED_MB_MAX: f64 = 1e5;
const OPEN_MAX: f64 = 1000.0;
const CORES_MAX: f64 = 4096.0;
const LINK_MBIT: [f64; 2] = [0.001, 1e7];
const LATENCY_MS_MAX: f64 = 1e6;
const MEMORY_GIB: [f64; 2] = [0.25, 65_536.0];
const SPEED: [f64; 2] = [1e-3, 1e3];
const STAY_H: [f64; 2] = [1e-3, 1e5];
/// Bytes a second of a megabit a second.
pub(crate) const MBIT: f64 = 1e6 / 8.0;

/// A fleet and who has work for it: `myriad simulate` reads it from TOML.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// The first world's seed; each further world has the next one.
    #[serde(default = "one")]
    pub seed: u64,
    /// How many worlds.
    #[serde(default = "one")]
    pub seeds: u64,
    /// For how long blocks come.
    #[serde(default)]
    pub hours: f64,
    /// For how long after that they are waited for.
    #[serde(default = "a_day")]
    pub patience_hours: f64,
    /// `"adaptive"`, or how many machines do each task.
    #[serde(default)]
    pub redundancy: Copies,
    #[serde(default)]
    pub requesters: Vec<RequesterTable>,
    #[serde(default)]
    pub machines: Vec<MachineTable>,
}

/// Requesters that are alike.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RequesterTable {
    pub name: String,
    #[serde(default = "one")]
    pub count: u64,
    /// A block every so often; without it there is one, at the start.
    pub every_s: Option<f64>,
    /// Of each block. One of `gas` and `instructions` is there.
    pub gas: Option<f64>,
    pub instructions: Option<f64>,
    #[serde(default = "instructions_per_gas")]
    pub instructions_per_gas: f64,
    /// Whose costs count, of the profiles' programs.
    #[serde(default = "evm_block")]
    pub costs_of: String,
    /// The program, which every prover fetches once.
    #[serde(default = "program_mb")]
    pub program_mb: f64,
    /// The input of a block, which every prover of the block needs.
    #[serde(default = "input_mb")]
    pub input_mb: f64,
    /// Blocks that are proven at once; later ones wait.
    #[serde(default = "open_max")]
    pub open_max: u32,
    /// By when after its arrival a block should be proven.
    pub deadline_s: Option<f64>,
    /// That execute and verify.
    #[serde(default = "requester_cores")]
    pub cores: u32,
    #[serde(default = "requester_up")]
    pub up_mbit: f64,
    #[serde(default = "requester_down")]
    pub down_mbit: f64,
    /// One way.
    #[serde(default = "latency")]
    pub latency_ms: f64,
}

/// Machines that are alike.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MachineTable {
    pub name: String,
    pub count: u64,
    /// A file of `myriad bench`, beside the scenario; without it they are like the reference machine.
    pub profile: Option<String>,
    /// Of each; without it the cores of its profile.
    pub threads: Option<u32>,
    #[serde(default = "memory")]
    pub memory_gib: f64,
    /// How fast each is beside its profile.
    #[serde(default = "same_speed")]
    pub speed: Spread,
    /// The part of the tasks that take twice as long, because the machine is used for something else.
    #[serde(default)]
    pub busy: f64,
    #[serde(default = "up")]
    pub up_mbit: Spread,
    #[serde(default = "down")]
    pub down_mbit: Spread,
    /// One way.
    #[serde(default = "latencies")]
    pub latency_ms: Spread,
    /// The part that delivers.
    #[serde(default = "all")]
    pub honest: f64,
    /// What the others do, in turn.
    #[serde(default = "pretends")]
    pub wasters: Vec<Habit>,
    /// Whether requesters know the honest ones from earlier jobs.
    #[serde(default)]
    pub known: bool,
    /// The part behind a NAT: two of these cannot reach each other, and get from the requester what one has for the other.
    #[serde(default)]
    pub nat: f64,
    /// How long each stays, from nothing to twice this; without it, for ever.
    pub online_h: Option<f64>,
    /// How long it is away then.
    #[serde(default = "quarter")]
    pub offline_h: f64,
    /// The part of leavings without a word. Who says it hands its task back.
    #[serde(default = "all")]
    pub vanishes: f64,
}

/// A number, or all between two.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Spread {
    One(f64),
    Between([f64; 2]),
}

/// How often a task is given out.
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

fn one() -> u64 {
    1
}
fn a_day() -> f64 {
    24.0
}
fn instructions_per_gas() -> f64 {
    5.2
}
fn evm_block() -> String {
    "evm-block".into()
}
fn program_mb() -> f64 {
    2.9
}
fn input_mb() -> f64 {
    3.1
}
fn open_max() -> u32 {
    4
}
fn requester_cores() -> u32 {
    8
}
fn requester_up() -> f64 {
    1000.0
}
fn requester_down() -> f64 {
    1000.0
}
fn latency() -> f64 {
    30.0
}
fn memory() -> f64 {
    4.0
}
fn same_speed() -> Spread {
    Spread::One(1.0)
}
fn up() -> Spread {
    Spread::One(20.0)
}
fn down() -> Spread {
    Spread::One(100.0)
}
fn latencies() -> Spread {
    Spread::One(30.0)
}
fn all() -> f64 {
    1.0
}
fn quarter() -> f64 {
    0.25
}
fn pretends() -> Vec<Habit> {
    vec![Habit::Pretends]
}

/// Why a scenario is none.
#[derive(Debug, Error)]
pub enum ScenarioError {
    #[error("{path} cannot be read: {source}")]
    Read { path: String, source: io::Error },
    #[error(
        "the scenario has more than the {FILE_BYTES_MAX} bytes that one may have: machines that are alike are one table with a `count`"
    )]
    Long,
    #[error("the scenario is no text in UTF-8: `myriad simulate --example` prints one that is")]
    Text,
    /// With the line, and what may be there.
    #[error("{0}")]
    Toml(Box<toml::de::Error>),
    #[error("{place} is {actual}, and has to be {allowed}")]
    Value {
        place: String,
        actual: String,
        allowed: String,
    },
    #[error("the profile of machines {machines:?}: {source}")]
    Profile { machines: String, source: ProfileError },
    #[error("machines {machines:?} have a profile that no model can be made of: {source}")]
    Model { machines: String, source: FitError },
    #[error("no costs of {program:?} are known for machines {machines:?}; there are those of {known}")]
    Program {
        program: String,
        machines: String,
        known: String,
    },
    /// Nobody can do the blocks of a requester.
    #[error("the blocks of requester {requester:?} cannot be proven by this fleet: {source}")]
    Impossible { requester: String, source: PlanError },
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
        file.check()?;
        Ok(file)
    }

    /// Holds the numbers to their bounds; for whoever has changed one since it was read.
    ///
    /// # Errors
    /// [`ScenarioError::Value`]
    pub fn check(&self) -> Result<(), ScenarioError> {
        within("seeds", self.seeds as f64, [1.0, SEEDS_MAX as f64])?;
        within("hours", self.hours, [0.0, HOURS_MAX])?;
        within("patience_hours", self.patience_hours, [0.0, HOURS_MAX])?;
        if let Copies::Fixed(copies) = self.redundancy {
            within("redundancy", copies.into(), [1.0, COPIES_MAX])?;
        }
        let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0u64, u64::saturating_add);
        let requesters = sum(&mut self.requesters.iter().map(|table| table.count));
        within(
            "the number of requesters",
            requesters as f64,
            [1.0, REQUESTERS_MAX as f64],
        )?;
        let machines = sum(&mut self.machines.iter().map(|table| table.count));
        within("the number of machines", machines as f64, [1.0, FLEET_MAX as f64])?;
        within(
            "the number of machines times that of requesters",
            machines as f64 * requesters as f64,
            [1.0, PAIRS_MAX as f64],
        )?;
        for table in &self.requesters {
            table.check(&format!("requester {:?}", table.name))?;
        }
        for table in &self.machines {
            table.check(&format!("machines {:?}", table.name))?;
        }
        let blocks: f64 = self
            .requesters
            .iter()
            .map(|table| table.count as f64 * table.blocks(self.hours) as f64)
            .sum();
        within(
            "the number of blocks of all worlds",
            blocks * self.seeds as f64,
            [1.0, BLOCKS_MAX as f64],
        )
    }
}

impl RequesterTable {
    fn check(&self, of: &str) -> Result<(), ScenarioError> {
        let within = |key: &str, actual, bounds| within(&format!("{key} of {of}"), actual, bounds);
        match (self.gas, self.instructions) {
            (Some(gas), None) => within("gas", gas, [1.0, WORK_MAX])?,
            (None, Some(instructions)) => within("instructions", instructions, [1.0, WORK_MAX])?,
            (gas, _) => {
                return Err(ScenarioError::Value {
                    place: format!("the work of {of}"),
                    actual: if gas.is_some() { "said twice" } else { "not said" }.into(),
                    allowed: "either `gas` or `instructions`".into(),
                });
            }
        }
        if let Some(every_s) = self.every_s {
            within("every_s", every_s, EVERY_S)?;
        }
        if let Some(deadline_s) = self.deadline_s {
            within("deadline_s", deadline_s, DEADLINE_S)?;
        }
        within(
            "instructions_per_gas",
            self.instructions_per_gas,
            INSTRUCTIONS_PER_GAS,
        )?;
        within("program_mb", self.program_mb, [0.0, SHARED_MB_MAX])?;
        within("input_mb", self.input_mb, [0.0, SHARED_MB_MAX])?;
        within("open_max", self.open_max.into(), [1.0, OPEN_MAX])?;
        within("cores", self.cores.into(), [1.0, CORES_MAX])?;
        within("up_mbit", self.up_mbit, LINK_MBIT)?;
        within("down_mbit", self.down_mbit, LINK_MBIT)?;
        within("latency_ms", self.latency_ms, [0.0, LATENCY_MS_MAX])
    }

    /// Of each block.
    pub(super) fn work(&self) -> f64 {
        let of_gas = self.gas.map(|gas| gas * self.instructions_per_gas);
        self.instructions.or(of_gas).unwrap_or(0.0)
    }

    /// How many come in so many hours.
    pub(super) fn blocks(&self, hours: f64) -> u64 {
        match self.every_s {
            None => 1,
            // A hair less than a whole number is that number.
            Some(every_s) => ((3600.0 * hours / every_s + 1e-9) as u64).max(1),
        }
    }
}

impl MachineTable {
    fn check(&self, of: &str) -> Result<(), ScenarioError> {
        let within = |key: &str, actual, bounds| within(&format!("{key} of {of}"), actual, bounds);
        let spread = |key: &str, spread: Spread, [least, most]: [f64; 2]| {
            let (from, to) = spread.ends();
            within(key, from, [least, most])?;
            within(key, to, [from, most])
        };
        if let Some(threads) = self.threads {
            within("threads", threads.into(), [1.0, CORES_MAX])?;
        }
        within("memory_gib", self.memory_gib, MEMORY_GIB)?;
        spread("speed", self.speed, SPEED)?;
        spread("up_mbit", self.up_mbit, LINK_MBIT)?;
        spread("down_mbit", self.down_mbit, LINK_MBIT)?;
        spread("latency_ms", self.latency_ms, [0.0, LATENCY_MS_MAX])?;
        for (key, part) in [
            ("busy", self.busy),
            ("honest", self.honest),
            ("nat", self.nat),
            ("vanishes", self.vanishes),
        ] {
            within(key, part, [0.0, 1.0])?;
        }
        if let Some(online_h) = self.online_h {
            within("online_h", online_h, STAY_H)?;
        }
        within("offline_h", self.offline_h, STAY_H)?;
        if self.wasters.is_empty() && self.honest < 1.0 {
            return Err(ScenarioError::Value {
                place: format!("wasters of {of}"),
                actual: "empty".into(),
                allowed: "what those do that are not honest, such as [\"pretends\"]".into(),
            });
        }
        Ok(())
    }
}

impl Spread {
    pub(super) const fn ends(self) -> (f64, f64) {
        match self {
            Self::One(value) => (value, value),
            Self::Between([from, to]) => (from, to),
        }
    }

    pub(super) fn mean(self) -> f64 {
        let (from, to) = self.ends();
        f64::midpoint(from, to)
    }
}

fn within(place: &str, actual: f64, [least, most]: [f64; 2]) -> Result<(), ScenarioError> {
    if (least..=most).contains(&actual) {
        return Ok(());
    }
    Err(ScenarioError::Value {
        place: place.into(),
        actual: actual.to_string(),
        allowed: format!("from {least} to {most}"),
    })
}

/// Segments are bounded by the planner; what is left is that all fits.
const _: () = assert!(SEGMENTS_MAX * 2 < u32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        [[requesters]]
        name = "rollup"
        gas = 1e6

        [[machines]]
        name = "home"
        count = 10
    "#;

    fn error(text: &str) -> String {
        ScenarioFile::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_said_is_as_documented() {
        let file = ScenarioFile::parse(SMALL).unwrap();
        assert_eq!(file.redundancy, Copies::Adaptive);
        assert_eq!(file.machines[0].up_mbit, Spread::One(20.0));
        assert_eq!(file.requesters[0].work(), 5.2e6);
        assert_eq!(file.requesters[0].blocks(0.0), 1);
        // It is the same when it is written down and read again.
        let written = toml::to_string(&file).unwrap();
        assert_eq!(ScenarioFile::parse(&written).unwrap(), file);
    }

    #[test]
    fn numbers_and_ranges_are_both_read() {
        let text = format!("redundancy = 5\n{SMALL}\nspeed = [0.5, 2]\nwasters = [\"silent\", \"garbage\"]");
        let file = ScenarioFile::parse(&text).unwrap();
        assert_eq!(file.redundancy, Copies::Fixed(5));
        assert_eq!(file.machines[0].speed, Spread::Between([0.5, 2.0]));
        assert_eq!(file.machines[0].wasters, [Habit::Silent, Habit::Garbage]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_end_is_not_read_to_it() {
        let endless = ScenarioFile::load(Path::new("/dev/zero"));
        assert!(matches!(endless, Err(ScenarioError::Long)), "{endless:?}");
    }

    #[test]
    fn errors_name_the_place_and_what_is_allowed() {
        for (text, parts) in [
            (format!("{SMALL}\nspeeed = 1"), ["speeed", "speed"]),
            (
                format!("{SMALL}\nhonest = 1.5"),
                ["honest of machines \"home\" is 1.5", "from 0 to 1"],
            ),
            (
                format!("{SMALL}\nspeed = [2, 1]"),
                ["speed of machines \"home\" is 1", "from 2"],
            ),
            (format!("{SMALL}\nwasters = [\"idle\"]"), ["idle", "pretends"]),
            (
                format!("{SMALL}\nhonest = 0.5\nwasters = []"),
                ["wasters", "empty"],
            ),
            (format!("seeds = 0\n{SMALL}"), ["seeds is 0", "10000"]),
            (
                SMALL
                    .replace("count = 10", "count = 200000")
                    .replace("gas", "count = 11\n        gas"),
                ["machines times that of requesters is 2200000", "to 2000000"],
            ),
            (
                format!(
                    "seeds = 10000\n{}",
                    SMALL.replace("gas", "count = 101\n        gas")
                ),
                ["blocks of all worlds is 1010000", "to 1000000"],
            ),
            (format!("redundancy = \"much\"\n{SMALL}"), ["redundancy", ""]),
            (
                SMALL.replace("gas = 1e6", ""),
                ["not said", "`gas` or `instructions`"],
            ),
            (
                SMALL.replace("gas = 1e6", "gas = 1e6\ninstructions = 5"),
                ["said twice", "either"],
            ),
            (
                SMALL.replace("count = 10", "count = 0"),
                ["the number of machines is 0", "200000"],
            ),
            (SMALL.replace("count = 10", "count = -1"), ["-1", "u64"]),
            (
                "[[machines]]\nname = \"a\"\ncount = 1".into(),
                ["the number of requesters is 0", "1000"],
            ),
            (
                format!(
                    "hours = 8000\n{}",
                    SMALL.replace("gas = 1e6", "gas = 1e6\nevery_s = 0.01")
                ),
                ["the number of blocks", "1000000"],
            ),
            (format!("hours = nan\n{SMALL}"), ["hours is NaN", "from 0"]),
            ("requesters = 7".into(), ["requesters", "sequence"]),
        ] {
            let error = error(&text);
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }
}
