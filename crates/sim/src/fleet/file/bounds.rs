//! The bounds of a scenario's numbers.

use myriad_cost::planner::SEGMENTS_MAX;

use super::{Copies, MachineTable, RequesterTable, ScenarioError, ScenarioFile, Spread};

/// The most machines of a scenario: each takes about 0.5 KiB, and 0.8 KiB at each requester that it
/// is connected to.
const FLEET_MAX: u64 = 200_000;
/// The most requesters.
const REQUESTERS_MAX: u64 = 1_000;
/// The most machines, counted once for each requester that they are connected to: 4 GB together.
const PAIRS_MAX: u64 = 5_000_000;
/// The most blocks of all requesters together, over all worlds.
const BLOCKS_MAX: u64 = 1_000_000;
/// The most worlds of one scenario.
const SEEDS_MAX: u64 = 10_000;
/// The most hours for which blocks come, or are waited for: a year.
const HOURS_MAX: f64 = 24.0 * 366.0;
/// Copies of a task beyond which nothing is learned.
const COPIES_MAX: f64 = 100.0;
/// Children of a node beyond which no profile has measured anything.
const ARITY_MAX: f64 = 8.0;
/// The most gas or instructions of a block. The planner says which it cannot cut.
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
/// Segments are bounded by the planner; here it only remains that all fits.
const _: () = assert!(SEGMENTS_MAX * 2 < u32::MAX as u64);

impl ScenarioFile {
    /// Holds the numbers to their bounds; for callers that have changed one since it was read.
    ///
    /// # Errors
    /// [`ScenarioError::Value`]
    pub fn validate(&self) -> Result<(), ScenarioError> {
        within("seeds", self.seeds as f64, [1.0, SEEDS_MAX as f64])?;
        within("hours", self.hours, [0.0, HOURS_MAX])?;
        within("patience_hours", self.patience_hours, [0.0, HOURS_MAX])?;
        if let Copies::Fixed(copies) = self.redundancy {
            within("redundancy", copies.into(), [1.0, COPIES_MAX])?;
        }
        for most in self.what_if.arities.into_iter().flatten() {
            within("arities", most.into(), [1.0, ARITY_MAX])?;
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
        let connected = |table: &RequesterTable| {
            let each = table.connections.unwrap_or(u64::MAX).min(machines);
            table.count as f64 * each as f64
        };
        within(
            "the number of machines that each requester is connected to, summed over requesters,",
            self.requesters.iter().map(connected).sum(),
            [1.0, PAIRS_MAX as f64],
        )?;
        for table in &self.requesters {
            table.validate(&format!("requester {:?}", table.name))?;
        }
        for table in &self.machines {
            table.validate(&format!("machines {:?}", table.name))?;
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
    fn validate(&self, of: &str) -> Result<(), ScenarioError> {
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
        within("latency_ms", self.latency_ms, [0.0, LATENCY_MS_MAX])?;
        match self.connections {
            Some(connections) => within("connections", connections as f64, [1.0, FLEET_MAX as f64]),
            None => Ok(()),
        }
    }
}

impl MachineTable {
    fn validate(&self, of: &str) -> Result<(), ScenarioError> {
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
                allowed: "the habits of the machines that are not honest, such as [\"pretends\"]".into(),
            });
        }
        Ok(())
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
