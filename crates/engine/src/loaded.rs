//! A job as its engine has read it: what the rest has to know of a program before there is a plan.

use myriad_core::EngineId;
use serde::{Deserialize, Serialize};

use crate::{CHILDREN_MAX, FinalForm, Level};

/// The most bytes of the name of a program's costs.
const COSTS_BYTES_MAX: usize = 32;

/// The job that an engine was given: hashes of its parts, and the memory of its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// BLAKE3 of the program and its configuration, made differently by each engine.
    pub program: [u8; 32],
    /// See [`Input::hash`](crate::Input::hash).
    pub input: [u8; 32],
    /// The fingerprint of what the keys of this configuration follow from.
    pub engine: [u8; 32],
    /// The name that profiles of machines have for the costs of such programs: of OpenVM, `plain`
    /// or `extended`.
    pub costs: String,
    /// Bytes that a process has in memory of the program and its input, whatever it does for them.
    pub held_bytes: u64,
    /// Memory of the tasks above the segments.
    pub nodes: NodeMemory,
}

/// Expected peak memory, in bytes, of the process that makes a node over 1, 2, ... children, for
/// each kind of node, without the parts of the job that it holds. There are as many numbers as a
/// node of the kind may have children.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMemory {
    pub leaf: Vec<u64>,
    pub internal_for_leaf: Vec<u64>,
    pub internal_recursive: Vec<u64>,
    /// [`Self::internal_recursive`] where the internal-for-leaf nodes of the tree have one child
    /// each: the proofs below are smaller.
    pub internal_recursive_over_ones: Vec<u64>,
    /// Expected peak memory of the process that makes a final proof of [`FinalForm::Fast`].
    pub fast_final: u64,
}

impl NodeMemory {
    fn of(&self, level: Level, internal_for_leaf: usize) -> &[u64] {
        match level {
            Level::LEAF => &self.leaf,
            Level::INTERNAL_FOR_LEAF => &self.internal_for_leaf,
            _ if internal_for_leaf <= 1 => &self.internal_recursive_over_ones,
            _ => &self.internal_recursive,
        }
    }
}

impl Loaded {
    /// The most children of a node of this level.
    pub fn children_max(&self, level: Level) -> usize {
        self.nodes.of(level, CHILDREN_MAX).len()
    }

    /// Expected peak memory, in bytes, of the process that aggregates `children` proofs to a node
    /// of this level, with the parts of the job that it holds. For more children than are allowed,
    /// it is the peak of the largest allowed number.
    ///
    /// `internal_for_leaf` is the number of children of the tree's internal-for-leaf nodes. The
    /// proof of one over more children is larger, and internal-recursive nodes above it take more.
    pub fn node_peak_bytes(&self, level: Level, children: usize, internal_for_leaf: usize) -> u64 {
        let peaks = self.nodes.of(level, internal_for_leaf);
        let peak = peaks[children.clamp(1, peaks.len()) - 1];
        self.held_bytes.saturating_add(peak)
    }

    /// Expected peak memory, in bytes, of the process that makes the final proof, with the parts of
    /// the job that it holds. `internal_for_leaf` is as for [`Self::node_peak_bytes`].
    pub fn final_peak_bytes(&self, form: FinalForm, internal_for_leaf: usize) -> u64 {
        match form {
            FinalForm::Small => self.node_peak_bytes(Level::INTERNAL_RECURSIVE, 1, internal_for_leaf),
            FinalForm::Fast => self.held_bytes.saturating_add(self.nodes.fast_final),
        }
    }

    /// The most children, `least` or more, of a node of this level that a process of so many bytes
    /// can make.
    ///
    /// # Errors
    /// The bytes that a node of `least` children takes.
    pub fn most_children(
        &self,
        level: Level,
        least: usize,
        internal_for_leaf: usize,
        bytes: u64,
    ) -> Result<usize, u64> {
        let peak_bytes = |children| self.node_peak_bytes(level, children, internal_for_leaf);
        (least..=self.children_max(level))
            .rev()
            .find(|&children| peak_bytes(children) <= bytes)
            .ok_or_else(|| peak_bytes(least))
    }

    /// Checks that a tree can be made of what a child has answered.
    pub(crate) fn check(&self) -> Result<(), String> {
        let NodeMemory {
            leaf,
            internal_for_leaf,
            internal_recursive,
            internal_recursive_over_ones: over_ones,
            fast_final: _,
        } = &self.nodes;
        let counts = [
            ("leaves", leaf.len(), 1),
            ("internal-for-leaf nodes", internal_for_leaf.len(), 1),
            ("internal-recursive nodes", internal_recursive.len(), 2),
            (
                "internal-recursive nodes over ones",
                over_ones.len(),
                internal_recursive.len(),
            ),
        ];
        for (what, actual, least) in counts {
            if !(least..=CHILDREN_MAX).contains(&actual) {
                return Err(format!(
                    "{what} may have {actual} children, and {least} to {CHILDREN_MAX} are allowed"
                ));
            }
        }
        if self.costs.len() > COSTS_BYTES_MAX {
            return Err(format!(
                "the name of its costs has {} bytes, and {COSTS_BYTES_MAX} are allowed",
                self.costs.len()
            ));
        }
        Ok(())
    }
}

/// What is known of an engine without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    pub id: EngineId,
    /// The ending of the name of a final proof's file, and below, of the file that its tool wants
    /// beside it. No child chooses the name of a file.
    pub proof_ending: &'static str,
    /// None for an engine whose tool needs no more than the proof.
    pub baseline_ending: Option<&'static str>,
    /// The least memory, in bytes, of a process that proves a segment; and for each byte of the
    /// encoded input.
    pub segment_base_bytes: u64,
    pub segment_bytes_per_input_byte: u64,
}

impl EngineFacts {
    /// The least memory, in bytes, of a process that proves any segment of a job whose encoded
    /// input has this many bytes.
    pub fn segment_least_bytes(&self, input_bytes: u64) -> u64 {
        let of_input = self.segment_bytes_per_input_byte.saturating_mul(input_bytes);
        self.segment_base_bytes.saturating_add(of_input)
    }

    /// An engine that only tests have.
    #[doc(hidden)]
    pub fn pretended() -> Self {
        Self {
            id: EngineId {
                name: "pretended".parse().expect("it is a name"),
                fingerprint: [0xe1; 32],
            },
            proof_ending: "pretended.proof",
            baseline_ending: Some("pretended.baseline"),
            segment_base_bytes: 104 << 20,
            segment_bytes_per_input_byte: 6,
        }
    }
}

impl Loaded {
    /// What only tests have: a small program of the pretended engine.
    #[doc(hidden)]
    pub fn pretended() -> Self {
        let mib = |peaks: &[u64]| peaks.iter().map(|peak| peak << 20).collect();
        Self {
            program: [7; 32],
            input: [7; 32],
            engine: [7; 32],
            costs: "plain".into(),
            held_bytes: 0,
            nodes: NodeMemory {
                leaf: mib(&[280, 360, 520, 560]),
                internal_for_leaf: mib(&[360, 620, 830]),
                internal_recursive: mib(&[270, 400, 520]),
                internal_recursive_over_ones: mib(&[260, 370, 420]),
                fast_final: 320 << 20,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_node_has_as_many_children_as_fit() {
        let loaded = Loaded {
            held_bytes: 100 * MIB,
            ..Loaded::pretended()
        };
        let most = |level, least, mib| loaded.most_children(level, least, 2, mib * MIB);
        assert_eq!(most(Level::LEAF, 1, 660), Ok(4));
        assert_eq!(most(Level::LEAF, 1, 659), Ok(3));
        assert_eq!(most(Level::LEAF, 1, 379), Err(380 * MIB));
        assert_eq!(most(Level::INTERNAL_RECURSIVE, 2, 499), Err(500 * MIB));
        let over_ones = loaded.most_children(Level::INTERNAL_RECURSIVE, 2, 1, 499 * MIB);
        assert_eq!(over_ones, Ok(2));
        assert_eq!(loaded.final_peak_bytes(FinalForm::Small, 2), 370 * MIB);
        assert_eq!(loaded.final_peak_bytes(FinalForm::Fast, 2), 420 * MIB);
    }

    #[test]
    fn answers_that_make_no_tree_are_refused() {
        assert_eq!(Loaded::pretended().check(), Ok(()));
        let refused = |change: &dyn Fn(&mut Loaded)| {
            let mut loaded = Loaded::pretended();
            change(&mut loaded);
            loaded.check().unwrap_err()
        };
        for (text, change) in [
            (
                "leaves may have 0",
                &(|l: &mut Loaded| l.nodes.leaf.clear()) as &dyn Fn(&mut Loaded),
            ),
            ("for-leaf nodes may have 9", &|l| {
                l.nodes.internal_for_leaf = vec![1; 9];
            }),
            ("recursive nodes may have 1", &|l| {
                l.nodes.internal_recursive.truncate(1);
            }),
            ("over ones may have 2", &|l| {
                l.nodes.internal_recursive_over_ones.truncate(2);
            }),
            ("33 bytes", &|l| l.costs = "x".repeat(33)),
        ] {
            let error = refused(change);
            assert!(error.contains(text), "{error}");
        }
    }
}
