//! Checks that a context fits its key, before anything is computed.

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    StarkProtocolConfig, SystemParams,
    keygen::types::LinearConstraint,
    p3_matrix::{Matrix, dense::RowMajorMatrix},
    p3_util::log2_strict_usize,
    prover::{
        AirProvingContext, CommittedTraceData, DeviceMultiStarkProvingKey, DeviceStarkProvingKey,
        ProvingContext,
        stacked_pcs::{StackedLayout, StackedSlice},
    },
};

use crate::SwirlError;

/// Refuses a height that no trace can have: `what` says whose it is.
pub(crate) fn check_height(
    what: impl FnOnce() -> String,
    height: usize,
    log_max: usize,
) -> Result<(), SwirlError> {
    if height.is_power_of_two() && height <= 1 << log_max {
        return Ok(());
    }
    Err(SwirlError::Height {
        trace: what(),
        height,
        max: 1 << log_max,
    })
}

/// Refuses a context for which there can be no proof, whatever is in the cells of its traces.
pub(crate) fn check<SC: StarkProtocolConfig>(
    params: &SystemParams,
    mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>,
    ctx: &ProvingContext<CpuBackend<SC>>,
) -> Result<(), SwirlError> {
    if let Some(difference) = difference(&mpk.params, params) {
        return Err(SwirlError::Params(difference));
    }
    let mut present = vec![false; mpk.per_air.len()];
    for (air, trace) in &ctx.per_trace {
        let Some(key) = mpk.per_air.get(*air) else {
            return Err(SwirlError::Airs(format!(
                "there is a trace for AIR {air}, and there are {} AIRs",
                mpk.per_air.len()
            )));
        };
        if std::mem::replace(&mut present[*air], true) {
            return Err(SwirlError::Airs(format!(
                "there are two traces for {}",
                key.air_name
            )));
        }
        check_air::<SC>(params, key, trace)?;
    }
    if ctx.per_trace.is_empty() {
        return Err(SwirlError::Airs("there is no trace".into()));
    }
    let missing = mpk
        .per_air
        .iter()
        .zip(&present)
        .find(|(key, present)| key.vk.is_required && !**present);
    if let Some((key, _)) = missing {
        return Err(SwirlError::Airs(format!(
            "there is no trace for {}, which has to have one",
            key.air_name
        )));
    }
    let heights = ctx
        .per_trace
        .iter()
        .map(|(air, trace)| (*air, trace.common_main.height()));
    check_coordinates(
        params.l_skip,
        heights
            .clone()
            .map(|(air, height)| (height, mpk.per_air[air].vk.num_interactions())),
    )?;
    check_heights(&mpk.trace_height_constraints, params.l_skip, heights.clone())?;
    let common = heights
        .clone()
        .map(|(air, height)| (mpk.per_air[air].vk.params.width.common_main, height));
    let others = heights.flat_map(|(air, height)| {
        let width = &mpk.per_air[air].vk.params.width;
        let others = width.preprocessed.iter().chain(&width.cached_mains);
        others.map(move |&width| stacked_columns(params, [(width, height)]))
    });
    check_width(params, stacked_columns(params, common) + others.sum::<usize>())
}

/// A parameter of the key that is not the device's.
fn difference(key: &SystemParams, device: &SystemParams) -> Option<String> {
    let parts = |params: &SystemParams| {
        [
            ("l_skip", params.l_skip.to_string()),
            ("n_stack", params.n_stack.to_string()),
            ("w_stack", params.w_stack.to_string()),
            ("log_blowup", params.log_blowup.to_string()),
            ("max_constraint_degree", params.max_constraint_degree.to_string()),
            ("whir", format!("{:?}", params.whir)),
            ("logup", format!("{:?}", params.logup)),
        ]
    };
    let mut pairs = parts(key).into_iter().zip(parts(device));
    let (own, other) = pairs.find(|(own, other)| own != other)?;
    let (name, own, other) = (own.0, own.1, other.1);
    Some(format!("{name} is {own} for the key, and {other} for the device"))
}

/// Refuses traces whose proof would have no coordinate at all: OpenVM's device and verifier take
/// the first one and panic. `traces` has heights, and the number of interactions of a row.
pub(crate) fn check_coordinates(
    l_skip: usize,
    mut traces: impl Iterator<Item = (usize, usize)>,
) -> Result<(), SwirlError> {
    if l_skip == 0 && traces.all(|trace| trace == (1, 0)) {
        return Err(SwirlError::Airs(
            "all traces have one row and no interactions, and l_skip is 0; give one of them two rows".into(),
        ));
    }
    Ok(())
}

/// Refuses heights that pass a limit together. `heights` has the AIRs that are present, each with a
/// power of two.
pub(crate) fn check_heights(
    constraints: &[LinearConstraint],
    l_skip: usize,
    heights: impl Iterator<Item = (usize, usize)> + Clone,
) -> Result<(), SwirlError> {
    for constraint in constraints {
        let weighted = |(air, height): (usize, usize)| {
            let coefficient = constraint.coefficients.get(air).copied().unwrap_or(0);
            (height.max(1 << l_skip) as u64).saturating_mul(u64::from(coefficient))
        };
        let sum = heights.clone().map(weighted).fold(0, u64::saturating_add);
        if sum >= u64::from(constraint.threshold) {
            return Err(SwirlError::Heights {
                sum,
                limit: constraint.threshold,
            });
        }
    }
    Ok(())
}

/// The stacked columns that traces of these widths and heights fill. Heights are powers of two, so
/// that no column has a gap.
pub(crate) fn stacked_columns(
    params: &SystemParams,
    shapes: impl IntoIterator<Item = (usize, usize)>,
) -> usize {
    let lifted = |(width, height): (usize, usize)| width * height.max(1 << params.l_skip);
    let cells: usize = shapes.into_iter().map(lifted).sum();
    cells.div_ceil(1 << params.log_stacked_height())
}

/// Refuses more stacked columns, of all commitments together, than a verifier allows.
pub(crate) fn check_width(params: &SystemParams, columns: usize) -> Result<(), SwirlError> {
    if columns > params.w_stack {
        return Err(SwirlError::Width {
            columns,
            max: params.w_stack,
        });
    }
    Ok(())
}

fn check_air<SC: StarkProtocolConfig>(
    params: &SystemParams,
    key: &DeviceStarkProvingKey<CpuBackend<SC>>,
    trace: &AirProvingContext<CpuBackend<SC>>,
) -> Result<(), SwirlError> {
    let misfit = |reason: String| {
        Err(SwirlError::Context {
            air: key.air_name.clone(),
            reason,
        })
    };
    let height = trace.common_main.height();
    check_height(
        || format!("the common trace of {}", key.air_name),
        height,
        params.log_stacked_height(),
    )?;
    let of_air = &key.vk.params;
    let (given, wanted) = (trace.cached_mains.len(), of_air.width.cached_mains.len());
    if given != wanted {
        return misfit(format!("it has {given} cached traces, and {wanted} are needed"));
    }
    let (given, wanted) = (trace.public_values.len(), of_air.num_public_values);
    if given != wanted {
        return misfit(format!("it has {given} public values, and {wanted} are needed"));
    }
    let committed = || key.preprocessed_data.iter().chain(&trace.cached_mains);
    let widths = of_air.width.preprocessed.iter().chain(&of_air.width.cached_mains);
    let others: Vec<(&RowMajorMatrix<SC::F>, usize)> = committed()
        .map(|committed| &committed.trace)
        .zip(widths.copied())
        .collect();
    for (other, _) in &others {
        if other.height() != height {
            return misfit(format!(
                "a preprocessed or cached trace has {} rows, the common one has {height}",
                other.height()
            ));
        }
    }
    for (matrix, wanted) in others
        .into_iter()
        .chain([(&trace.common_main, of_air.width.common_main)])
    {
        let cells = matrix.values.len();
        if matrix.width != wanted || cells != wanted * height {
            return misfit(format!(
                "a trace has {} columns and {cells} cells, and {wanted} columns of {height} rows are needed",
                matrix.width
            ));
        }
    }
    for committed in committed() {
        if let Err(reason) = check_committed::<SC>(params, committed) {
            return misfit(format!(
                "the commitment to a preprocessed or cached trace {reason}; commit to it with this device"
            ));
        }
    }
    Ok(())
}

/// Refuses the data of a commitment that another layout, other parameters or another root made. The
/// trace fits the key. Whether the data's cells are those of the trace is not looked at.
fn check_committed<SC: StarkProtocolConfig>(
    params: &SystemParams,
    committed: &CommittedTraceData<CpuBackend<SC>>,
) -> Result<(), String> {
    let (layout, tree) = (&committed.data.layout, &committed.data.tree);
    let shape = (committed.trace.width, log2_strict_usize(committed.trace.height()));
    let wanted = StackedLayout::new(params.l_skip, params.log_stacked_height(), vec![shape])
        .map_err(|e| format!("has no layout: {e}"))?;
    let outer = |layout: &StackedLayout| (layout.l_skip(), layout.height(), layout.width());
    let (given, needed) = (outer(layout), outer(&wanted));
    if given != needed {
        return Err(format!(
            "skips 2^{} rows at once and has {} stacked rows and {} columns, and 2^{}, {} and {} are needed",
            given.0, given.1, given.2, needed.0, needed.1, needed.2
        ));
    }
    let places = |layout: &StackedLayout| -> Vec<_> {
        let place = |&(matrix, column, slice): &(usize, usize, StackedSlice)| {
            (matrix, column, slice.col_idx, slice.row_idx, slice.log_height())
        };
        layout.sorted_cols.iter().map(place).collect()
    };
    if layout.mat_starts != wanted.mat_starts || places(layout) != places(&wanted) {
        return Err("has its columns at other places than the trace's".into());
    }
    let rows = 1usize << params.k_whir();
    if tree.rows_per_query() != rows {
        return Err(format!(
            "opens {} rows at once, and {rows} are needed",
            tree.rows_per_query()
        ));
    }
    let leaves = (layout.height() << params.log_blowup) / rows;
    let layers: Vec<usize> = tree.digest_layers().iter().map(Vec::len).collect();
    let halves = (0..=log2_strict_usize(leaves)).map(|layer| leaves >> layer);
    if !layers.iter().copied().eq(halves) {
        return Err(format!(
            "has a tree with layers of {layers:?} digests, and one over {leaves} leaves is needed"
        ));
    }
    if tree.root().ok() != Some(committed.commitment) {
        return Err("has a tree with another root than the commitment says".into());
    }
    Ok(())
}
