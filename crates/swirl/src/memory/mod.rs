//! Predicts the memory that a proof takes.
//!
//! The model walks over the phases of a proof and adds up the allocations of each: from the widths,
//! interactions and compiled constraints of the key, from the heights, and from the number of
//! threads. The sum is never less than the real allocations, and hardly more (`tests/memory.rs`
//! compares each phase with a counting allocator).

mod fractions;
mod opening;
mod shape;
mod sumcheck;

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    SystemParams,
    keygen::types::LinearConstraint,
    p3_field::{ExtensionField, TwoAdicField},
    p3_util::log2_strict_usize,
    prover::{DeviceMultiStarkProvingKey, stacked_pcs::StackedLayout},
};

use self::shape::AirShape;
use crate::{PackedConfig, SwirlError, commit::encode, context, gkr::Kept, packed::Sizes};

/// An allowance for everything too small to be listed: the claims and polynomials of rounds, the
/// heads of lists of lists, the hasher's constants.
const UNLISTED: usize = 64 << 10;

/// An allowance for each thread of the pool: its queue of tasks, and the freed lists that other
/// threads may still read, which are given back later.
const UNLISTED_OF_THREAD: usize = 8 << 10;

/// The most bytes that a proof takes in each of its phases, beside those allocated when it began.
///
/// The common traces were allocated then, and are freed while the stacked columns are made; so
/// these are bytes beside the traces. The real memory of a process is more by [`Self::traces`]:
/// [`Self::with_traces`]. While traces are stacked, no page of the stacked columns is in real
/// memory before it is written. So this phase needs less than the commitment after it, and is not
/// listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// The common traces, which the proof takes over and gives back.
    pub traces: usize,
    /// The commitment to the common traces.
    pub commit: usize,
    /// The sums of the fractions of interactions.
    pub fractions: usize,
    /// The first round of the batch sumcheck, over the rows that are skipped at once.
    pub univariate: usize,
    /// The other rounds of the batch sumcheck, over folded columns.
    pub rounds: usize,
    /// The reduction of claims about columns to claims about stacked ones.
    pub reduction: usize,
    /// The opening of the stacked columns.
    pub whir: usize,
}

impl Peak {
    /// The most bytes of any phase, beside those allocated when the proof began.
    pub fn above_start(&self) -> usize {
        let phases = [
            self.commit,
            self.fractions,
            self.univariate,
            self.rounds,
            self.reduction,
            self.whir,
        ];
        phases.into_iter().max().unwrap_or(0)
    }

    /// The most bytes that the proof holds, the common traces included, as they were when it began.
    pub fn with_traces(&self) -> usize {
        self.traces + self.above_start()
    }
}

/// Says what proofs with a key take. Made once for a key, since its constraints have to be compiled
/// for it.
pub struct MemoryModel {
    params: SystemParams,
    height_constraints: Vec<LinearConstraint>,
    max_degree: usize,
    sizes: Sizes,
    airs: Vec<AirShape>,
}

impl MemoryModel {
    pub(crate) fn new<SC>(mpk: &DeviceMultiStarkProvingKey<CpuBackend<SC>>) -> Self
    where
        SC: PackedConfig,
        SC::EF: TwoAdicField + ExtensionField<SC::F>,
    {
        Self {
            params: mpk.params.clone(),
            height_constraints: mpk.trace_height_constraints.clone(),
            max_degree: mpk.max_constraint_degree,
            sizes: Sizes::of::<SC>(),
            airs: mpk
                .per_air
                .iter()
                .map(|key| AirShape::new::<SC>(&key.air_name, &key.vk, mpk.params.l_skip))
                .collect(),
        }
    }

    /// The peak of a proof on this many threads, where the AIRs of the key have traces of these
    /// heights: zero where an AIR has none. A height that is no power of two is rounded up to one.
    /// The device has no limit.
    ///
    /// # Errors
    /// [`SwirlError::Airs`], [`SwirlError::Height`], [`SwirlError::Heights`] or
    /// [`SwirlError::Width`] where no proof has traces of these heights.
    pub fn peak(&self, heights: &[usize], threads: usize) -> Result<Peak, SwirlError> {
        self.peak_keeping(heights, threads, Kept::DEFAULT)
    }

    /// [`Self::peak`] of a device with [this limit](crate::SwirlDevice::with_memory_limit): how
    /// much of it, in bytes, the proof takes.
    ///
    /// # Errors
    /// [`SwirlError::Memory`] with the least that the proof needs; the errors of [`Self::peak`].
    pub fn peak_within(&self, heights: &[usize], threads: usize, limit: usize) -> Result<Peak, SwirlError> {
        Ok(self.kept(heights, threads, limit)?.1)
    }

    /// The fastest choice that takes at most `limit` bytes, common traces included.
    pub(crate) fn kept(
        &self,
        heights: &[usize],
        threads: usize,
        limit: usize,
    ) -> Result<(Kept, Peak), SwirlError> {
        let mut needed = usize::MAX;
        for kept in Kept::ALL {
            let peak = self.peak_keeping(heights, threads, kept)?;
            if peak.with_traces() <= limit {
                return Ok((kept, peak));
            }
            needed = needed.min(peak.with_traces());
        }
        Err(SwirlError::Memory {
            needed,
            allowed: limit,
        })
    }

    fn peak_keeping(&self, heights: &[usize], threads: usize, kept: Kept) -> Result<Peak, SwirlError> {
        Ok(Walk::new(self, heights, threads.max(1), kept)?.peak())
    }
}

/// An AIR that is present.
struct Present<'a> {
    air: &'a AirShape,
    height: usize,
}

impl Present<'_> {
    fn log_blocks(&self, l_skip: usize) -> usize {
        log2_strict_usize(self.height).saturating_sub(l_skip)
    }

    fn units(&self, l_skip: usize, lanes: usize) -> usize {
        (1usize << self.log_blocks(l_skip)).div_ceil(lanes)
    }
}

/// A walk over the phases of one proof.
struct Walk<'a> {
    model: &'a MemoryModel,
    threads: usize,
    kept: Kept,
    /// The AIRs in the order of their traces: the highest first.
    present: Vec<Present<'a>>,
    common: StackedLayout,
    /// Stacked columns of the preprocessed and cached traces.
    others: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn new(
        model: &'a MemoryModel,
        heights: &[usize],
        threads: usize,
        kept: Kept,
    ) -> Result<Self, SwirlError> {
        if heights.len() != model.airs.len() {
            return Err(SwirlError::Airs(format!(
                "there are heights of {} AIRs, and {} AIRs",
                heights.len(),
                model.airs.len()
            )));
        }
        let (l_skip, log_height) = (model.params.l_skip, model.params.log_stacked_height());
        let mut present = Vec::new();
        let mut of_airs = Vec::with_capacity(heights.len());
        for (air, &height) in model.airs.iter().zip(heights) {
            if height > 1 << log_height {
                return Err(SwirlError::Height {
                    trace: air.name.clone(),
                    height,
                    max: 1 << log_height,
                });
            }
            let height = match height {
                0 => 0,
                _ => height.next_power_of_two(),
            };
            of_airs.push(height);
            if height > 0 {
                present.push(Present { air, height });
            }
        }
        present.sort_by_key(|present| std::cmp::Reverse(present.height));
        let shapes = present
            .iter()
            .map(|p| (p.air.common, log2_strict_usize(p.height)))
            .collect();
        let common = StackedLayout::new(l_skip, log_height, shapes)?;
        let others: Vec<usize> = present
            .iter()
            .flat_map(|p| {
                let stacked = |&width: &usize| context::stacked_columns(&model.params, [(width, p.height)]);
                p.air.others.iter().map(stacked)
            })
            .collect();
        let rows = of_airs.iter().enumerate().filter(|(_, height)| **height > 0);
        context::check_coordinates(l_skip, present.iter().map(|p| (p.height, p.air.interactions)))?;
        context::check_heights(
            &model.height_constraints,
            l_skip,
            rows.map(|(air, height)| (air, *height)),
        )?;
        context::check_width(&model.params, common.width() + others.iter().sum::<usize>())?;
        Ok(Self {
            model,
            threads,
            kept,
            present,
            common,
            others,
        })
    }

    fn peak(&self) -> Peak {
        let base = self.base();
        let tree = self.commitment_tree();
        let with_others = base
            + self
                .others
                .iter()
                .map(|&width| self.stacked(width))
                .sum::<usize>();
        let constraints = with_others + tree.kept + self.compiled();
        let opening = with_others + tree.kept + self.column_openings();
        let unlisted = UNLISTED + self.threads * UNLISTED_OF_THREAD;
        let above = |bytes: usize| bytes - self.traces() + unlisted;
        Peak {
            traces: self.traces(),
            commit: above(base + tree.peak),
            fractions: above(constraints + self.fractions()),
            univariate: above(constraints + self.weights() + self.univariate()),
            rounds: above(constraints + self.weights() + self.univariate_kept() + self.rounds()),
            reduction: above(opening + self.reduction()),
            whir: above(opening + self.whir()),
        }
    }

    fn traces(&self) -> usize {
        let cells = self.present.iter().map(|p| p.air.common * p.height);
        self.model.sizes.f * cells.sum::<usize>()
    }

    /// Stacked columns.
    fn stacked(&self, width: usize) -> usize {
        (self.model.sizes.f * width) << self.model.params.log_stacked_height()
    }

    /// The stacked columns of the common traces and how they are laid out.
    fn base(&self) -> usize {
        let columns = pushed(self.common.sorted_cols.len(), self.present.len());
        self.stacked(self.common.width()) + columns * size_of::<(usize, usize, [usize; 3])>()
    }

    fn commitment_tree(&self) -> encode::Bytes {
        let params = &self.model.params;
        encode::bytes(
            &self.model.sizes,
            self.common.width(),
            params.log_stacked_height(),
            params.log_blowup,
            1 << params.k_whir(),
            self.threads,
        )
    }

    /// The values of all columns at a point, which are part of the proof.
    fn column_openings(&self) -> usize {
        let values = self
            .present
            .iter()
            .map(|p| p.air.width() * (1 + usize::from(p.air.needs_next)));
        self.model.sizes.ef * values.sum::<usize>()
    }

    /// The sum of `of` over the AIRs that as many threads as there are can work on at once, where
    /// `parts` says how many can work on one.
    fn at_once(&self, of: impl Fn(&Present<'_>) -> usize, parts: impl Fn(&Present<'_>) -> usize) -> usize {
        let mut all: Vec<(usize, usize)> = self.present.iter().map(|p| (of(p), parts(p))).collect();
        all.sort_unstable_by_key(|&(bytes, _)| std::cmp::Reverse(bytes));
        let mut threads = self.threads;
        let mut sum = 0;
        for (bytes, parts) in all {
            let working = parts.min(threads);
            sum += bytes * working;
            threads -= working;
        }
        sum
    }
}

/// The elements that a list has room for after `len` were pushed, one after the other; it had room
/// for `first`.
fn pushed(len: usize, first: usize) -> usize {
    /// Room for the first elements of a list that had none, as the standard library makes it.
    const LEAST: usize = 4;
    let mut room = first;
    while room < len {
        room = (2 * room).max(LEAST);
    }
    room
}
