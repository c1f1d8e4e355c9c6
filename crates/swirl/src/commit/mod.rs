//! Committing to traces.
//!
//! [`encode`] turns the stacked columns into messages, encodes them and hashes them, and never
//! keeps the codeword. The commitment's data hold the layout and the layers of the tree above the
//! rows of its leaves. [`open`] computes the queried rows of the codeword again. The committed
//! values are in memory once: as stacked columns if the prover may drop the traces, and else as
//! traces, which are stacked again when they are opened.

pub(crate) mod encode;
mod fft;
mod hash;
pub(crate) mod message;
pub(crate) mod open;
pub(crate) mod stack;

use std::borrow::Cow;

use openvm_cpu_backend::{CpuBackend, merkle::CpuMerkleTree};
use openvm_stark_backend::{
    StarkProtocolConfig,
    p3_field::PrimeCharacteristicRing,
    p3_matrix::dense::RowMajorMatrix,
    prover::{
        ColMajorMatrix, MatrixDimensions, ProverBackend, StackedPcsError,
        stacked_pcs::{StackedLayout, StackedPcsData},
    },
};
use tracing::info_span;

use crate::{SwirlError, packed::PackedConfig};

/// The data that a commitment holds beside its root: the layout, the stacked columns, the layers of
/// the tree.
pub(crate) type PcsData<SC> = <CpuBackend<SC> as ProverBackend>::PcsData;

/// The stacked columns of a commitment whose data have none; nothing if the data have them.
pub(crate) type Restacked<F> = Option<ColMajorMatrix<F>>;

/// Commits to traces that the caller keeps.
pub(crate) fn commit<SC: PackedConfig>(
    config: &SC,
    traces: &[&RowMajorMatrix<SC::F>],
) -> Result<(SC::Digest, PcsData<SC>), SwirlError> {
    let params = config.params();
    let layout = stack::layout(params.l_skip, params.n_stack, traces)?;
    let mut matrix =
        info_span!("stack").in_scope(|| stack::stack(&layout, traces.iter().copied().map(Cow::Borrowed)))?;
    let layers = encode_and_hash(config, &mut matrix);
    drop(matrix);
    let data = data_of::<SC>(layout, none(), layers, 1 << params.k_whir());
    Ok((data.tree.root()?, data))
}

/// Commits to traces, of which the data keep only the stacked columns. At most a part of one trace
/// is in memory in both forms at a time.
pub(crate) fn commit_owned<SC: PackedConfig>(
    config: &SC,
    traces: Vec<RowMajorMatrix<SC::F>>,
) -> Result<(SC::Digest, PcsData<SC>), SwirlError> {
    let params = config.params();
    let layout = stack::layout(params.l_skip, params.n_stack, &traces.iter().collect::<Vec<_>>())?;
    let mut matrix =
        info_span!("stack").in_scope(|| stack::stack(&layout, traces.into_iter().map(Cow::Owned)))?;
    let layers = encode_and_hash(config, &mut matrix);
    info_span!("from_message").in_scope(|| message::Chunks::new(params.l_skip).decode(&mut matrix.values));
    let data = data_of::<SC>(layout, matrix, layers, 1 << params.k_whir());
    Ok((data.tree.root()?, data))
}

/// Leaves the messages of the columns in their place.
fn encode_and_hash<SC: PackedConfig>(
    config: &SC,
    matrix: &mut ColMajorMatrix<SC::F>,
) -> Vec<Vec<SC::Digest>> {
    let params = config.params();
    info_span!("to_message").in_scope(|| message::Chunks::new(params.l_skip).encode(&mut matrix.values));
    let (hasher, rows) = (config.hasher(), 1 << params.k_whir());
    info_span!("encode_and_hash").in_scope(|| encode::tree(hasher, &columns(matrix), params.log_blowup, rows))
}

/// The data of a commitment of the reference backend, without the parts that are computed again
/// when it is opened.
pub(crate) fn lean<SC: StarkProtocolConfig>(data: &StackedPcsData<SC::F, SC::Digest>) -> PcsData<SC> {
    let layers = data.tree.digest_layers().clone();
    data_of::<SC>(data.layout.clone(), none(), layers, data.tree.rows_per_query())
}

/// The stacked columns of a commitment: those of its data, or, where these have none, of the traces
/// that it is of.
pub(crate) fn stacked<'a, 'b, SC: StarkProtocolConfig>(
    data: &'a PcsData<SC>,
    traces: impl IntoIterator<Item = Cow<'b, RowMajorMatrix<SC::F>>>,
) -> Result<Cow<'a, ColMajorMatrix<SC::F>>, StackedPcsError> {
    if is_stacked::<SC>(data) {
        Ok(Cow::Borrowed(&data.matrix))
    } else {
        Ok(Cow::Owned(stack::stack(&data.layout, traces)?))
    }
}

/// Whether the data hold their stacked columns.
fn is_stacked<SC: StarkProtocolConfig>(data: &PcsData<SC>) -> bool {
    (data.matrix.height(), data.matrix.width()) == (data.layout.height(), data.layout.width())
}

fn columns<F>(matrix: &ColMajorMatrix<F>) -> Vec<&[F]> {
    matrix.values.chunks_exact(matrix.height()).collect()
}

/// A placeholder for the stacked columns where the data have none. A matrix has at least one column
/// and row: this is one row of two columns. No stacked matrix is like it, since it has at least as
/// many rows as are skipped at once.
fn none<F: PrimeCharacteristicRing>() -> ColMajorMatrix<F> {
    ColMajorMatrix::new(vec![F::ZERO; 2], 2)
}

#[expect(unsafe_code, reason = "a tree without its matrix has no safe constructor")]
fn data_of<SC: StarkProtocolConfig>(
    layout: StackedLayout,
    stacked: ColMajorMatrix<SC::F>,
    layers: Vec<Vec<SC::Digest>>,
    rows_per_query: usize,
) -> PcsData<SC> {
    let codeword = RowMajorMatrix::new(Vec::new(), 0);
    // SAFETY: the constructor asks for a valid tree over the matrix, but reads neither memory nor
    // lengths on that promise. The layers are those of the codeword. The matrix is empty, so that
    // opening rows of it panics; code here that opens them computes them from the message.
    let tree = unsafe { CpuMerkleTree::from_raw_parts(codeword, layers, rows_per_query) };
    PcsData::<SC>::new(layout, stacked, tree)
}
