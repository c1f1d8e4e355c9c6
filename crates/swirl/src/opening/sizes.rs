//! Memory that the lists of an opening take, for [`crate::memory`].

use openvm_stark_backend::p3_field::{ExtensionField, Field};

use super::{batch, group, piece::Piece};
use crate::packed::Sizes;

/// `log2` of the rows that a task batches.
pub(crate) const LOG_BATCH_ROWS: usize = batch::ROWS.ilog2() as usize;

/// Bytes of the elements of lists.
pub(crate) struct Lists {
    /// A piece of a stacked column.
    pub piece: usize,
    /// A column of a group.
    pub column: usize,
    /// What is kept of a stacked column while it is not folded.
    pub fold: usize,
    /// The parts of a task that batches rows.
    pub batch_task: usize,
}

impl Lists {
    pub(crate) fn of<F: Field, EF: ExtensionField<F>>() -> Self {
        Self {
            piece: size_of::<Piece<EF>>(),
            column: size_of::<group::Column<'_, F, EF>>(),
            fold: size_of::<Option<Vec<EF>>>() + size_of::<usize>() + size_of::<EF>(),
            batch_task: size_of::<Vec<&mut [F]>>() + EF::DIMENSION * size_of::<&mut [F]>(),
        }
    }
}

/// The working memory in which a thread batches rows.
pub(crate) fn thread(sizes: &Sizes) -> usize {
    2 * group::ROWS * sizes.ef
}
