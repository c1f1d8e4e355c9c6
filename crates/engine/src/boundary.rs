//! The boundary of a piece: the statement of its proof about the execution, in plain values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::VerifyError;

/// A digest of memory, as eight words: of OpenVM, a Merkle root of eight field elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Root(pub [u32; 8]);

/// The start and the end of a proven piece of an execution.
///
/// Pieces that follow each other agree on the pc and the memory root between them. The first one
/// starts at the program's own start. The last one, and no other, terminates. An engine whose
/// digest covers the pc has a pc of 0 everywhere.
///
/// The boundary of a piece that terminates has to commit to what the program reveals: a stranger's
/// node over the last segment is compared with the truth by its boundary alone. OpenVM's final
/// memory root does so. An engine whose state after the end is the same whatever was revealed folds
/// a digest of it into [`Self::final_root`], both where it finds the truth and where it verifies.
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
    /// Checks that `next` begins where this piece ends.
    ///
    /// # Errors
    /// [`VerifyError::Boundary`] with the first difference. It does not say which of the two lies.
    pub fn check_next(&self, next: &Boundary) -> Result<(), VerifyError> {
        if let Some(code) = self.exit_code {
            return Err(VerifyError::boundary(
                "what follows the end of the program",
                "a further piece",
                format!("nothing after exit code {code}"),
            ));
        }
        if next.initial_pc != self.final_pc {
            return Err(VerifyError::boundary(
                "the starting pc",
                next.initial_pc,
                self.final_pc,
            ));
        }
        if next.initial_root != self.final_root {
            return Err(VerifyError::boundary(
                "the starting memory root",
                next.initial_root,
                self.final_root,
            ));
        }
        Ok(())
    }

    /// The boundary that a proof of the neighbouring pieces from `first` to `last` must have, as a
    /// node of the aggregation tree does; a single piece is both.
    ///
    /// This does not check that the pieces meet: see [`Boundary::check_next`].
    pub fn join(first: &Boundary, last: &Boundary) -> Boundary {
        Boundary {
            initial_pc: first.initial_pc,
            initial_root: first.initial_root,
            ..*last
        }
    }

    /// Checks that a proof says the same as the execution on the job's own input.
    ///
    /// # Errors
    /// [`VerifyError::Boundary`] with the first difference. The proof is then of another input, or
    /// of another piece, however valid it is.
    pub fn check_equals(&self, expected: &Boundary) -> Result<(), VerifyError> {
        let exit_code = |boundary: &Boundary| {
            boundary
                .exit_code
                .map_or("none".to_owned(), |code| code.to_string())
        };
        for (what, actual, expected) in [
            ("the starting pc", self.initial_pc, expected.initial_pc),
            ("the final pc", self.final_pc, expected.final_pc),
        ] {
            if actual != expected {
                return Err(VerifyError::boundary(what, actual, expected));
            }
        }
        for (what, actual, expected) in [
            (
                "the starting memory root",
                self.initial_root,
                expected.initial_root,
            ),
            ("the final memory root", self.final_root, expected.final_root),
        ] {
            if actual != expected {
                return Err(VerifyError::boundary(what, actual, expected));
            }
        }
        if self.exit_code != expected.exit_code {
            return Err(VerifyError::boundary(
                "the exit code",
                exit_code(self),
                exit_code(expected),
            ));
        }
        Ok(())
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

    /// Two pieces, of which the second ends the program.
    fn pieces() -> [Boundary; 2] {
        let first = Boundary {
            initial_pc: 0,
            final_pc: 8,
            initial_root: Root([1; 8]),
            final_root: Root([2; 8]),
            exit_code: None,
        };
        let second = Boundary {
            initial_pc: 8,
            final_pc: 12,
            initial_root: Root([2; 8]),
            final_root: Root([3; 8]),
            exit_code: Some(0),
        };
        [first, second]
    }

    #[test]
    fn a_node_reaches_from_its_first_piece_to_its_last() {
        let [first, second] = pieces();
        let whole = Boundary {
            initial_pc: 0,
            final_pc: 12,
            initial_root: Root([1; 8]),
            final_root: Root([3; 8]),
            exit_code: Some(0),
        };
        assert_eq!(Boundary::join(&first, &second), whole);
        assert_eq!(Boundary::join(&first, &first), first);
    }

    #[test]
    fn every_difference_is_named() {
        let [piece, _] = pieces();
        assert_eq!(piece.check_equals(&piece), Ok(()));
        let other = Root([9; 8]);
        let others = [
            (
                "the starting pc",
                Boundary {
                    initial_pc: 1,
                    ..piece
                },
            ),
            ("the final pc", Boundary { final_pc: 1, ..piece }),
            (
                "the starting memory root",
                Boundary {
                    initial_root: other,
                    ..piece
                },
            ),
            (
                "the final memory root",
                Boundary {
                    final_root: other,
                    ..piece
                },
            ),
            (
                "the exit code",
                Boundary {
                    exit_code: Some(0),
                    ..piece
                },
            ),
        ];
        for (name, wrong) in others {
            let error = wrong.check_equals(&piece).unwrap_err();
            assert!(
                matches!(&error, VerifyError::Boundary { what, .. } if what == name),
                "{error}"
            );
        }
    }

    #[test]
    fn neighbours_must_meet() {
        let [first, second] = pieces();
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
