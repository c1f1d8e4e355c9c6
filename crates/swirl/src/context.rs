//! Checks that a context fits its key, before anything is computed.

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    StarkProtocolConfig,
    p3_matrix::{Matrix, dense::RowMajorMatrix},
    prover::{AirProvingContext, DeviceMultiStarkProvingKey, DeviceStarkProvingKey, ProvingContext},
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
    mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>,
    ctx: &ProvingContext<CpuBackend<SC>>,
) -> Result<(), SwirlError> {
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
        check_air::<SC>(key, trace, mpk.params.log_stacked_height())?;
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
    let lifted =
        |trace: &AirProvingContext<CpuBackend<SC>>| trace.common_main.height().max(1 << mpk.params.l_skip);
    for constraint in &mpk.trace_height_constraints {
        let weighted = |(air, trace): &(usize, AirProvingContext<CpuBackend<SC>>)| {
            let coefficient = constraint.coefficients.get(*air).copied().unwrap_or(0);
            (lifted(trace) as u64).saturating_mul(u64::from(coefficient))
        };
        let sum = ctx.per_trace.iter().map(weighted).fold(0, u64::saturating_add);
        if sum >= u64::from(constraint.threshold) {
            return Err(SwirlError::Heights {
                sum,
                limit: constraint.threshold,
            });
        }
    }
    Ok(())
}

fn check_air<SC: StarkProtocolConfig>(
    key: &DeviceStarkProvingKey<CpuBackend<SC>>,
    trace: &AirProvingContext<CpuBackend<SC>>,
    log_max: usize,
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
        log_max,
    )?;
    let params = &key.vk.params;
    let (given, wanted) = (trace.cached_mains.len(), params.width.cached_mains.len());
    if given != wanted {
        return misfit(format!("it has {given} cached traces, and {wanted} are needed"));
    }
    let (given, wanted) = (trace.public_values.len(), params.num_public_values);
    if given != wanted {
        return misfit(format!("it has {given} public values, and {wanted} are needed"));
    }
    let preprocessed = key.preprocessed_data.iter().map(|data| &data.trace);
    let cached = trace.cached_mains.iter().map(|data| &data.trace);
    let others: Vec<(&RowMajorMatrix<SC::F>, usize)> = preprocessed
        .zip(params.width.preprocessed)
        .chain(cached.zip(params.width.cached_mains.iter().copied()))
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
        .chain([(&trace.common_main, params.width.common_main)])
    {
        let cells = matrix.values.len();
        if matrix.width != wanted || cells != wanted * height {
            return misfit(format!(
                "a trace has {} columns and {cells} cells, and {wanted} columns of {height} rows are needed",
                matrix.width
            ));
        }
    }
    Ok(())
}
