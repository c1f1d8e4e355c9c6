//! The planner's answers.

use myriad_core::{Arities, Tree};
use serde::Serialize;

/// The best way to do a job, and its cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetPlan {
    /// The time from the request to the final proof.
    pub expected_s: f64,
    /// The parts of [`Self::expected_s`], which add up to it.
    pub parts: Parts,
    pub segment: SegmentSize,
    pub arities: TreeArities,
    /// Nodes on each level of the tree, leaves first.
    pub levels: Vec<u32>,
    pub stages: Vec<StageWork>,
    /// The bounds that no schedule is faster than.
    pub bounds: Bounds,
    pub binds: Binds,
    /// Machines that deliver, and all.
    pub machines_honest: u64,
    pub machines: u64,
    /// Jobs like it that the fleet can sustain, one after the other without a pause.
    pub jobs_per_h: f64,
    pub requester: Traffic,
    /// Working time of all machines that deliver.
    pub machine_s: f64,
    pub energy_kwh: f64,
    /// The cost of machines and energy, in the currency of the question.
    pub cost: f64,
}

/// The parts of the time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parts {
    /// The requester executes and cuts.
    pub execute_s: f64,
    /// Program and input reach the provers.
    pub distribute_s: f64,
    /// The time until the last segment is proven.
    pub segments_s: f64,
    /// The time from then until the top of the tree is.
    pub tree_s: f64,
    pub final_s: f64,
    /// Proofs queue at the requester's downlink or cores.
    pub requester_s: f64,
    /// Machines that waste time are found out.
    pub wasters_s: f64,
}

impl Parts {
    pub fn total_s(&self) -> f64 {
        self.execute_s
            + self.distribute_s
            + self.segments_s
            + self.tree_s
            + self.final_s
            + self.requester_s
            + self.wasters_s
    }
}

/// The segments that an execution is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SegmentSize {
    /// Budget that they are cut for.
    pub memory_bytes: u64,
    pub instructions: f64,
    pub segments: u64,
}

/// The most children of nodes of each stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TreeArities {
    pub leaf: u32,
    pub internal_for_leaf: u32,
    pub internal_recursive: u32,
}

impl From<Arities> for TreeArities {
    fn from(arities: Arities) -> Self {
        Self {
            leaf: arities.leaf,
            internal_for_leaf: arities.internal_for_leaf,
            internal_recursive: arities.internal_recursive,
        }
    }
}

/// The tasks of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StageWork {
    pub stage: &'static str,
    pub tasks: u64,
    /// Working time of machines.
    pub machine_s: f64,
}

/// The bounds that no schedule is faster than.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// The time of all work on all machines that deliver.
    pub machines_s: f64,
    /// The longest path from a segment to the final proof, on the fastest machines.
    pub path_s: f64,
    /// The bound from the two together, no less than either: towards the end of a tree there is
    /// less and less that can be done at once.
    pub earliest_s: f64,
    /// The time of all proofs over the requester's downlink.
    pub requester_down_s: f64,
    /// Verifying all proofs and finding all boundaries, on the requester's cores.
    pub requester_cpu_s: f64,
}

impl Bounds {
    pub(super) fn largest(&self) -> (f64, Binds) {
        [
            (self.machines_s, Binds::Machines),
            (self.path_s, Binds::Path),
            (self.requester_down_s, Binds::RequesterDownlink),
            (self.requester_cpu_s, Binds::RequesterCpu),
        ]
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .expect("there are four")
    }
}

/// The resource of which more would help most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binds {
    /// Work by machines.
    Machines,
    /// The longest path: more machines do not help, faster ones do.
    Path,
    RequesterDownlink,
    RequesterCpu,
    /// The steps before the first segment.
    Start,
}

/// The transfers over the requester's link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Traffic {
    /// Program and input, if every prover had them from the requester; they pass them on, so that
    /// it is less.
    pub up_bytes_max: f64,
    /// Proofs, to verify them.
    pub down_bytes: f64,
    /// The downlink that is taken while the job runs, on average.
    pub down_bytes_per_s: f64,
}

impl Binds {
    /// Its meaning for a reader who wants to be faster.
    pub const fn explained(self) -> &'static str {
        match self {
            Self::Machines => "the work binds: more machines, or faster ones, help",
            Self::Path => {
                "the longest path binds, a segment and the nodes above it one after the other: more machines do not help, faster ones do"
            }
            Self::RequesterDownlink => {
                "the requester's downlink binds: every proof is fetched to be verified"
            }
            Self::RequesterCpu => "the requester's cores bind: every proof is verified",
            Self::Start => {
                "the time before the first segment binds: the requester executes, and sends the program"
            }
        }
    }
}

impl FleetPlan {
    /// The most children of its nodes, as the state machine has it.
    pub fn arities(&self) -> Arities {
        let TreeArities {
            leaf,
            internal_for_leaf,
            internal_recursive,
        } = self.arities;
        Arities {
            leaf,
            internal_for_leaf,
            internal_recursive,
        }
    }

    /// Its tree, for callers that run it.
    pub fn tree(&self) -> Tree {
        Tree::new(self.segment.segments as u32, self.arities())
    }
}
