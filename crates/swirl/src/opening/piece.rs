//! The unit of the reduction: one column of one trace, where it lies among the stacked columns.

use openvm_stark_backend::prover::stacked_pcs::StackedSlice;

/// A column of some trace within the stacked columns.
pub(super) struct Piece<EF> {
    /// The stacked column, among those of all commitments.
    pub(super) column: usize,
    pub(super) slice: StackedSlice,
    pub(super) lambda_eq: EF,
    pub(super) lambda_rot: Option<EF>,
    /// `eq` of the bound variables past the piece's own height and the bits of its place.
    pub(super) place: EF,
}
