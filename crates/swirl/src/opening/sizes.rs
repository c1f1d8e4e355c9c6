//! Memory that the lists of an opening take, for [`crate::memory`].

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{batch, group, piece::Piece};
use crate::packed::Sizes;

/// Bytes of a piece of a stacked column. The VM's fields stand for all fields: none is larger.
pub(crate) const PIECE: usize = size_of::<Piece<EF>>();
/// Bytes of a column of a group.
pub(crate) const COLUMN: usize = size_of::<group::Column<'_, F, EF>>();
/// Bytes that are kept of a stacked column while it is not folded.
pub(crate) const FOLD: usize = size_of::<Option<Vec<EF>>>() + size_of::<usize>() + size_of::<EF>();
/// `log2` of the rows that a task batches, and bytes of the list of its parts.
pub(crate) const LOG_BATCH_ROWS: usize = batch::ROWS.ilog2() as usize;
pub(crate) const BATCH_TASK: usize =
    size_of::<Vec<&mut [F]>>() + (size_of::<EF>() / size_of::<F>()) * size_of::<&mut [F]>();

/// The working memory in which a thread batches rows.
pub(crate) fn thread(sizes: &Sizes) -> usize {
    2 * group::ROWS * sizes.ef
}
