//! AIRs of any shape whose columns are bits: making tall traces of them takes hardly any time.

use std::sync::Arc;

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    AirRef, BaseAirWithPublicValues, PartitionedBaseAir,
    air_builders::PartitionedAirBuilder,
    interaction::InteractionBuilder,
    p3_air::{Air, AirBuilder, BaseAir, PairBuilder},
    p3_field::PrimeCharacteristicRing,
    p3_matrix::{Matrix, dense::RowMajorMatrix},
    prover::{AirProvingContext, CommittedTraceData, ProvingContext, TraceCommitter},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};

/// An AIR with its trace.
#[derive(Clone, Debug, Default)]
pub struct Booleans {
    pub log_height: usize,
    /// Columns of the common trace, at least one.
    pub common: usize,
    pub cached: Vec<usize>,
    pub preprocessed: usize,
    /// Pairs of interactions that cancel out.
    pub pairs: usize,
    /// Whether constraints read the next row.
    pub next: bool,
    /// The degree of constraints, two or more.
    pub degree: usize,
}

impl Booleans {
    fn bits(&self, seed: usize, width: usize) -> RowMajorMatrix<F> {
        let bit = |i: usize| (i.wrapping_mul(0x9e37_79b9).wrapping_add(seed) >> 7) & 1 == 1;
        RowMajorMatrix::new(
            (0..width << self.log_height)
                .map(|i| F::from_bool(bit(i)))
                .collect(),
            width,
        )
    }
}

impl BaseAir<F> for Booleans {
    fn width(&self) -> usize {
        self.common + self.cached.iter().sum::<usize>()
    }

    fn preprocessed_trace(&self) -> Option<RowMajorMatrix<F>> {
        (self.preprocessed > 0).then(|| self.bits(3, self.preprocessed))
    }
}

impl PartitionedBaseAir<F> for Booleans {
    fn cached_main_widths(&self) -> Vec<usize> {
        self.cached.clone()
    }

    fn common_main_width(&self) -> usize {
        self.common
    }
}

impl BaseAirWithPublicValues<F> for Booleans {}

impl<AB> Air<AB> for Booleans
where
    AB: AirBuilder<F = F> + PartitionedAirBuilder + PairBuilder + InteractionBuilder,
{
    fn eval(&self, builder: &mut AB) {
        let mut rows: [Vec<AB::Var>; 2] = [vec![], vec![]];
        for (offset, row) in rows.iter_mut().enumerate() {
            if self.preprocessed > 0 {
                row.extend(builder.preprocessed().row_slice(offset).unwrap().iter().copied());
            }
            for cached in builder.cached_mains() {
                row.extend(cached.row_slice(offset).unwrap().iter().copied());
            }
            row.extend(builder.common_main().row_slice(offset).unwrap().iter().copied());
        }
        let columns = rows[0].len();
        for (i, &bit) in rows[usize::from(self.next)].iter().enumerate() {
            let mut product: AB::Expr = bit * (AB::Expr::ONE - bit);
            for other in 2..self.degree {
                product *= rows[0][(i + other) % columns].into();
            }
            builder.assert_zero(product);
        }
        for pair in 0..self.pairs {
            let column = |offset: usize| -> AB::Expr { rows[0][(pair + offset) % columns].into() };
            let message: Vec<AB::Expr> = (0..1 + pair % 4).map(column).collect();
            builder.push_interaction(pair as u16, message.clone(), column(1), 1);
            builder.push_interaction(pair as u16, message, -column(1), 1);
        }
    }
}

pub fn airs(all: &[Booleans]) -> Vec<AirRef<SC>> {
    all.iter()
        .map(|air| Arc::new(air.clone()) as AirRef<SC>)
        .collect()
}

/// The context; cached traces are committed to by `committer`.
pub fn context<D>(all: &[Booleans], committer: &D) -> ProvingContext<CpuBackend<SC>>
where
    D: TraceCommitter<CpuBackend<SC>>,
{
    let of = |air: &Booleans| {
        let cached = air.cached.iter().map(|&width| {
            let trace = air.bits(5, width);
            let (commitment, data) = committer.commit(&[&trace]).unwrap();
            CommittedTraceData {
                commitment,
                trace,
                data: Arc::new(data),
            }
        });
        AirProvingContext::new(cached.collect(), air.bits(11, air.common), vec![])
    };
    ProvingContext::new(all.iter().map(of).enumerate().collect())
}
