//! The tasks of a job: the tree of its proofs, and who made them when.

use serde::{Deserialize, Serialize};

use crate::names::names;

/// The tasks of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tasks {
    /// The id of the last event of the job's stream that this document has in it: a reader of the
    /// stream passes over those up to it. None for a job of an earlier start of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Segments, as far as the execution is cut.
    pub segments: u32,
    /// The shape of the tree above them; none while the execution goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arities: Option<Arities>,
    /// The tasks of which more is known than that they wait for others: all others are `waiting`.
    pub tasks: Vec<Task>,
    /// The machines that took part, by their numbers in this job.
    pub machines: Vec<Machine>,
    /// Every attempt at a task, in the order of their starts; the last 20,000.
    pub attempts: Vec<Attempt>,
    /// When the first attempt may have begun: the zero of the attempts' times.
    pub origin_ms: u64,
}

/// How many children a node has, at most, by the level of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Arities {
    pub leaf: u32,
    pub internal_for_leaf: u32,
    pub internal: u32,
}

/// The name of a task: `s3` is the segment 3, `n2.5` the node 5 of level 2, counted from 0 where
/// leaves have level 1, and `final` the final proof.
pub type TaskName = String;

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Task {
    pub task: TaskName,
    pub state: TaskState,
    /// The machines that are at it, or the one whose proof was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<u32>,
    /// Bytes of its proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// For its children, or for a machine.
    Waiting,
    Running,
    Done,
    /// An earlier run has left its proof.
    Reused,
    /// One of a later release. No service sends it.
    #[serde(skip_deserializing)]
    Unknown,
}

names!(TaskState {
    Waiting = "waiting",
    Running = "running",
    Done = "done",
    Reused = "reused",
});

/// A machine of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Machine {
    /// Its number in this job. A machine that comes after another one has left may get its number.
    pub machine: u32,
    pub name: String,
    /// Whether it is gone.
    pub left: bool,
}

/// A machine's attempt at a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attempt {
    pub machine: u32,
    pub task: TaskName,
    /// After the origin of the tasks' document.
    pub start_ms: u64,
    /// None while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<AttemptEnd>,
}

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// Its proof was accepted.
    Accepted,
    /// The task was taken from the machine, or given back.
    Revoked,
    /// The machine is gone.
    Left,
    /// One of a later release. No service sends it.
    #[serde(skip_deserializing)]
    Unknown,
}

names!(AttemptEnd {
    Accepted = "accepted",
    Revoked = "revoked",
    Left = "left",
});
