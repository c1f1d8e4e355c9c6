//! The kinds of proofs, and what a verified one shows.

use serde::{Deserialize, Serialize};

use crate::{Boundary, Level, Root, VerifyError};

/// The way in which the final proof is made from the top node of the aggregation tree. The
/// verifiers of an engine accept both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinalForm {
    /// One more layer above the top node, which only makes the proof smaller: of OpenVM, an
    /// internal-recursive one, as its own prover makes. An engine without such a layer makes both
    /// forms alike.
    #[default]
    Small,
    /// The proof of the top node as it is, without further proving.
    Fast,
}

/// The facts that a verified final proof shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalProof {
    /// The public values that the program revealed.
    pub public_values: Vec<u8>,
}

/// The kind of a proof, and the facts that it must show, beside the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProofOf {
    /// A segment. The last one, and no other, reveals these public values.
    Segment { public_values: Option<Vec<u8>> },
    /// A node of the aggregation tree on this level.
    Node(Level),
    /// The whole execution, which reveals these public values; without any, whatever it reveals.
    Final { public_values: Option<Vec<u8>> },
}

/// The statement of a verified proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// The proof of a segment or node says this of its piece.
    Piece(Boundary),
    /// The final proof says this of the whole execution.
    Whole(FinalProof),
}

impl Shown {
    /// The boundary of a piece; a final proof is of the whole.
    pub fn piece(self) -> Option<Boundary> {
        match self {
            Self::Piece(boundary) => Some(boundary),
            Self::Whole(_) => None,
        }
    }
}

/// The statement that proofs of a program must make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub start_pc: u32,
    pub start_root: Root,
    /// The commitment to the program, its initial memory and its start, as the engine's own tools
    /// print it.
    pub program_commitment: String,
    /// The file that the engine's own tool wants beside a final proof: of OpenVM,
    /// `NAME.baseline.json`. Empty where it wants none.
    pub baseline: Vec<u8>,
}

impl Statement {
    /// Checks that a piece starts where the program does.
    ///
    /// # Errors
    /// [`VerifyError::Boundary`]
    pub fn check_start(&self, first: &Boundary) -> Result<(), VerifyError> {
        if first.initial_pc != self.start_pc {
            return Err(VerifyError::boundary(
                "the starting pc",
                first.initial_pc,
                self.start_pc,
            ));
        }
        if first.initial_root != self.start_root {
            return Err(VerifyError::boundary(
                "the starting memory root",
                first.initial_root,
                self.start_root,
            ));
        }
        Ok(())
    }
}
