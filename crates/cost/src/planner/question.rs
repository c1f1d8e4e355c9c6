//! The planner's questions: a workload, a fleet, and the requester's own means.

use serde::Serialize;
use thiserror::Error;

use crate::model::ProgramModel;

/// The most machines of a class. There are not as many home computers.
pub const MACHINES_MAX: u64 = 1_000_000_000;
/// The most segments of a job. A hundred blocks of 30 M gas in one have fewer.
pub const SEGMENTS_MAX: u64 = 200_000;

/// The work that is to be proven.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// Instructions of one execution.
    pub instructions: f64,
    /// Program and input, which every prover needs.
    pub shared_bytes: u64,
}

/// The connections of machines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Link {
    pub up_bytes_per_s: f64,
    pub down_bytes_per_s: f64,
    /// The time of one way, to the requester or to another prover.
    pub latency_s: f64,
}

/// Machines that are alike.
#[derive(Clone, Debug)]
pub struct Class {
    pub name: String,
    /// Honest or not.
    pub machines: u64,
    pub threads: u32,
    /// Memory for one task.
    pub memory_bytes: u64,
    pub link: Link,
    /// The costs of tasks on one machine.
    pub model: ProgramModel,
    /// Power that one machine takes from the socket while it works.
    pub watts: f64,
    /// The price of one machine for an hour of work, in whatever currency.
    pub price_per_h: f64,
}

/// The requester.
#[derive(Clone, Debug)]
pub struct RequesterSide {
    /// Cores that verify.
    pub cores: u32,
    pub link: Link,
    /// The costs of executing and verifying there.
    pub model: ProgramModel,
}

/// A question to the planner.
#[derive(Clone, Debug)]
pub struct Question {
    pub workload: Workload,
    pub classes: Vec<Class>,
    /// The part of the machines that deliver; the others take tasks and waste time.
    pub honest: f64,
    pub requester: RequesterSide,
    /// The price of a kilowatt-hour, in the currency of [`Class::price_per_h`].
    pub price_per_kwh: f64,
}

/// Why there is no plan.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PlanError {
    #[error("{what} is {actual}, and has to be {allowed}")]
    Value {
        what: &'static str,
        actual: String,
        allowed: String,
    },
    #[error("there is no machine: name some with --nodes")]
    NoMachines,
    #[error(
        "a part of {honest} of {machines} machines is less than one honest machine: name more with --nodes, or a \
         larger part with --honest"
    )]
    NobodyHonest { machines: u64, honest: f64 },
    #[error(
        "no tree can be made on machines with {actual} bytes of memory; it takes {needed}: name more with --memory"
    )]
    Memory { actual: u64, needed: u64 },
    #[error(
        "{segments} segments are more than the {SEGMENTS_MAX} that are planned for: name more memory, or fewer instructions"
    )]
    Segments { segments: u64 },
    #[error("{most} machines, the most that are tried, would take {best_s:.1} s: {why}")]
    Deadline { most: u64, best_s: f64, why: String },
}

impl Question {
    /// Holds the numbers to their limits.
    ///
    /// # Errors
    /// [`PlanError::Value`], [`PlanError::NoMachines`] or [`PlanError::NobodyHonest`]
    pub fn validate(&self) -> Result<(), PlanError> {
        let within = |what, actual: f64, least: f64, most: f64| {
            if (least..=most).contains(&actual) {
                return Ok(());
            }
            Err(PlanError::Value {
                what,
                actual: actual.to_string(),
                allowed: format!("{least} to {most}"),
            })
        };
        within(
            "the number of instructions",
            self.workload.instructions,
            1.0,
            1e15,
        )?;
        within("the honest part", self.honest, 1e-6, 1.0)?;
        within("the price of a kilowatt-hour", self.price_per_kwh, 0.0, 1e9)?;
        within(
            "the number of the requester's cores",
            self.requester.cores.into(),
            1.0,
            4096.0,
        )?;
        let links = self.classes.iter().map(|class| class.link);
        for link in links.chain([self.requester.link]) {
            within("the uplink in bytes a second", link.up_bytes_per_s, 1.0, 1e15)?;
            within("the downlink in bytes a second", link.down_bytes_per_s, 1.0, 1e15)?;
            within("the latency in seconds", link.latency_s, 0.0, 3600.0)?;
        }
        for class in &self.classes {
            within(
                "the number of machines",
                class.machines as f64,
                0.0,
                MACHINES_MAX as f64,
            )?;
            within("the number of threads", class.threads.into(), 1.0, 4096.0)?;
            within("the power in watts", class.watts, 0.0, 1e6)?;
            within("the price of an hour", class.price_per_h, 0.0, 1e9)?;
        }
        let machines = self.classes.iter().map(|class| class.machines).sum();
        if machines == 0 {
            return Err(PlanError::NoMachines);
        }
        if self.classes.iter().all(|class| self.honest_of(class) == 0) {
            return Err(PlanError::NobodyHonest {
                machines,
                honest: self.honest,
            });
        }
        Ok(())
    }

    /// The classes with machines that deliver.
    pub(super) fn present(&self) -> impl Iterator<Item = &Class> {
        self.classes.iter().filter(|class| self.honest_of(class) > 0)
    }

    /// All machines that deliver.
    pub(super) fn delivering(&self) -> u64 {
        self.classes.iter().map(|class| self.honest_of(class)).sum()
    }

    /// The machines of a class that deliver.
    pub fn honest_of(&self, class: &Class) -> u64 {
        // A hair more than the product, which may be a hair below a whole number.
        (class.machines as f64 * self.honest + 1e-9) as u64
    }
}
