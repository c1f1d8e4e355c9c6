//! What a proof says of the execution it is a piece of, in plain values.

use std::fmt;

use openvm_sdk::F;
use openvm_stark_backend::p3_field::PrimeField32;
use serde::{Deserialize, Serialize};

use crate::error::VerifyError;

/// A Merkle root of memory: eight field elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Root([u32; 8]);

/// Where a proven piece of an execution starts and ends.
///
/// Pieces that follow each other agree on the pc and the memory root between them; the first one
/// starts at the program's own start, and the last one, and no other, terminates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    pub initial_pc: u32,
    pub final_pc: u32,
    pub initial_root: Root,
    pub final_root: Root,
    /// The exit code, if the program ends in this piece.
    pub exit_code: Option<u32>,
}

impl Boundary {
    /// Checks that `next` goes on where this piece ends.
    ///
    /// # Errors
    /// [`VerifyError::Boundary`] with the first difference. It does not say which of the two lies.
    pub fn check_next(&self, next: &Boundary) -> Result<(), VerifyError> {
        if let Some(code) = self.exit_code {
            return Err(differs(
                "what follows the end of the program",
                "a further piece",
                format!("nothing after exit code {code}"),
            ));
        }
        if next.initial_pc != self.final_pc {
            return Err(differs("the starting pc", next.initial_pc, self.final_pc));
        }
        if next.initial_root != self.final_root {
            return Err(differs(
                "the starting memory root",
                next.initial_root,
                self.final_root,
            ));
        }
        Ok(())
    }
}

pub(crate) fn differs(what: &str, actual: impl ToString, expected: impl ToString) -> VerifyError {
    VerifyError::Boundary {
        what: what.into(),
        actual: actual.to_string(),
        expected: expected.to_string(),
    }
}

impl From<[F; 8]> for Root {
    fn from(digest: [F; 8]) -> Self {
        Self(digest.map(|f| f.as_canonical_u32()))
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:08x}"))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_must_meet() {
        let first = Boundary {
            initial_pc: 0,
            final_pc: 8,
            initial_root: Root([1; 8]),
            final_root: Root([2; 8]),
            exit_code: None,
        };
        let second = Boundary {
            initial_pc: 8,
            initial_root: Root([2; 8]),
            exit_code: Some(0),
            ..first
        };
        assert_eq!(first.check_next(&second), Ok(()));
        assert!(
            first
                .check_next(&Boundary {
                    initial_pc: 4,
                    ..second
                })
                .is_err()
        );
        assert!(
            first
                .check_next(&Boundary {
                    initial_root: Root([3; 8]),
                    ..second
                })
                .is_err()
        );
        assert!(second.check_next(&first).is_err());
    }
}
