//! The cost of any task on a machine, from measurements there: time by threads, memory, bytes,
//! verification.
//!
//! The drivers in `myriad-node` choose segment sizes and trees by it, and derive their claimed
//! speed from it. The planner and the simulator call it, too.
//!
//! The laws, whose coefficients are fitted to a [`Profile`] (`docs/PLANNING.md` has their sources):
//!
//! ```text
//! memory of a segment   m0 + m1 cells + m2 interactions  bytes; cells and interactions of the bus in all traces
//! work of a segment     w0 + w1 cells + w2 interactions  seconds on one thread
//! wall time             work (s + (1 - s) / threads)     Amdahl's law; s by stage
//! a node                what was measured for its stage and children, a line through them for others
//! ```

mod fit;
mod laws;
mod program;

pub use laws::Load;
pub use program::{Below, Estimate, FitError, ProgramModel};

use crate::profile::{Profile, Vm};
use laws::mean;

/// The costs of tasks on one machine.
#[derive(Clone, Debug)]
pub struct CostModel {
    /// Bytes that it hashes in a second.
    pub hash_bytes_per_s: f64,
    /// Bytes that it writes durably in a second.
    pub write_bytes_per_s: f64,
    programs: Vec<ProgramModel>,
}

/// The speed of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachineSpeed {
    /// Seconds of a reference core's work for each of one of its own.
    pub core_speed: f64,
    /// Seconds of a reference core's work that it does in a second with its threads.
    pub speed: f64,
}

impl CostModel {
    /// Fits a model to all programs of a profile.
    ///
    /// # Errors
    /// [`FitError::Missing`] where a program lacks a stage.
    pub fn fit(profile: &Profile) -> Result<Self, FitError> {
        Ok(Self {
            hash_bytes_per_s: profile.hash_bytes_per_s,
            write_bytes_per_s: profile.disk.write_bytes_per_s,
            programs: profile
                .programs
                .iter()
                .map(|program| ProgramModel::fit(program, profile.engine_name))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Adds the programs of another model, which was measured on a machine whose cores do the work
    /// of `core_speed` of this one's.
    #[must_use]
    pub fn with_programs_of(mut self, other: &Self, core_speed: f64) -> Self {
        let programs = other.programs.iter().map(|program| program.slowed(core_speed));
        self.programs.extend(programs);
        self
    }

    /// Completes the model from another machine's where a measurement is missing, scaled by the
    /// speed of the two at the measurements that both have. A quick look at a machine shows how
    /// fast it is, and the reference supplies the rest.
    #[must_use]
    pub fn completed_by(mut self, reference: &Self) -> Self {
        let own = self.clone();
        let speed = own.speed_beside(reference, 1);
        for other in &reference.programs {
            match self
                .programs
                .iter_mut()
                .find(|program| program.name == other.name)
            {
                Some(program) => {
                    let slower = own
                        .program(&other.name)
                        .map_or(1.0, |own| own.slower_than(other, 1));
                    for (&children, law) in &other.over_ones {
                        let missing = || law.slowed(slower);
                        program.over_ones.entry(children).or_insert_with(missing);
                    }
                    for (&shape, law) in &other.nodes {
                        program.nodes.entry(shape).or_insert_with(|| law.slowed(slower));
                    }
                    let known = program.cuts.last().map_or(0, |cut| cut.budget_bytes);
                    let larger = other.cuts.iter().filter(|cut| cut.budget_bytes > known);
                    program.cuts.extend(larger.cloned());
                }
                None => self.programs.push(other.slowed(1.0 / speed.core_speed)),
            }
        }
        self
    }

    /// The speed of this machine beside the reference, at the programs that both were measured
    /// with.
    pub fn speed_beside(&self, reference: &Self, threads: u32) -> MachineSpeed {
        let common: Vec<(&ProgramModel, &ProgramModel)> = self
            .programs
            .iter()
            .filter_map(|own| Some((own, reference.program(&own.name)?)))
            .collect();
        if common.is_empty() {
            return MachineSpeed {
                core_speed: 1.0,
                speed: f64::from(threads),
            };
        }
        let core_slower = mean(common.iter().map(|(own, other)| own.slower_than(other, 1)));
        // Work is counted in seconds of one core.
        let speeds = common
            .iter()
            .map(|(own, other)| other.work_s() / own.wall_s(other, threads));
        MachineSpeed {
            core_speed: 1.0 / core_slower,
            speed: mean(speeds),
        }
    }

    pub fn programs(&self) -> &[ProgramModel] {
        &self.programs
    }

    /// The program of this name.
    pub fn program(&self, name: &str) -> Option<&ProgramModel> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The first program that wants this virtual machine.
    pub fn of(&self, vm: Vm) -> Option<&ProgramModel> {
        self.programs.iter().find(|program| program.vm == vm)
    }
}

#[cfg(test)]
mod tests;
