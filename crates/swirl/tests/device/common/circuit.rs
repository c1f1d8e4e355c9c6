//! Random circuits with traces that satisfy them.
//!
//! An AIR has free columns, whose values are random, and derived ones, each of which is constrained
//! to be some expression in the columns before it. It also has an accumulator over the rows that
//! starts and ends at public values, pairs of interactions that cancel out within a row, and
//! lookups from rows into tables of other AIRs.

#[path = "expr.rs"]
mod expr;

use std::sync::Arc;

use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    AirRef, BaseAirWithPublicValues, PartitionedBaseAir, SystemParams, WhirConfig, WhirParams,
    WhirProximityStrategy,
    air_builders::PartitionedAirBuilder,
    interaction::{InteractionBuilder, LogUpSecurityParameters},
    p3_air::{Air, AirBuilder, AirBuilderWithPublicValues, BaseAir, PairBuilder},
    p3_field::PrimeCharacteristicRing,
    p3_matrix::{Matrix, dense::RowMajorMatrix},
    prover::{AirProvingContext, CommittedTraceData, ProvingContext, TraceCommitter},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};

use expr::Expr;
pub use expr::Random;

#[derive(Clone, Debug)]
struct Lookup {
    bus: u16,
    enabled: usize,
    value: usize,
}

#[derive(Clone, Debug)]
struct Table {
    bus: u16,
    value: usize,
    uses: usize,
}

#[derive(Clone, Debug)]
pub struct RandomAir {
    preprocessed: Option<RowMajorMatrix<F>>,
    cached: Vec<usize>,
    common: usize,
    /// The derived columns, each with the expression that gives it.
    derived: Vec<(usize, Expr)>,
    /// The column that accumulates, and the expression that it adds from each row.
    accumulator: Option<(usize, Expr)>,
    /// Bus, message and count of pairs that cancel out.
    pairs: Vec<(u16, Vec<Expr>, Expr)>,
    lookups: Vec<Lookup>,
    table: Option<Table>,
    /// Whether a lookup also sends a second, derived field.
    squared: bool,
}

impl RandomAir {
    fn preprocessed_width(&self) -> usize {
        self.preprocessed.as_ref().map_or(0, |m| m.width)
    }
}

impl BaseAir<F> for RandomAir {
    fn width(&self) -> usize {
        self.cached.iter().sum::<usize>() + self.common
    }

    fn preprocessed_trace(&self) -> Option<RowMajorMatrix<F>> {
        self.preprocessed.clone()
    }
}

impl PartitionedBaseAir<F> for RandomAir {
    fn cached_main_widths(&self) -> Vec<usize> {
        self.cached.clone()
    }

    fn common_main_width(&self) -> usize {
        self.common
    }
}

impl BaseAirWithPublicValues<F> for RandomAir {
    fn num_public_values(&self) -> usize {
        if self.accumulator.is_some() { 2 } else { 0 }
    }
}

impl<AB> Air<AB> for RandomAir
where
    AB: AirBuilder<F = F>
        + PartitionedAirBuilder
        + PairBuilder
        + InteractionBuilder
        + AirBuilderWithPublicValues,
{
    fn eval(&self, builder: &mut AB) {
        let mut rows: [Vec<AB::Var>; 2] = [vec![], vec![]];
        for (offset, row) in rows.iter_mut().enumerate() {
            if self.preprocessed.is_some() {
                row.extend(builder.preprocessed().row_slice(offset).unwrap().iter().copied());
            }
            for cached in builder.cached_mains() {
                row.extend(cached.row_slice(offset).unwrap().iter().copied());
            }
            row.extend(builder.common_main().row_slice(offset).unwrap().iter().copied());
        }
        let column = |index: usize, next: bool| rows[usize::from(next)][index];
        let constant = |value: u32| AB::Expr::from_u32(value);
        for (index, expr) in &self.derived {
            let value: AB::Expr = expr.eval(&column, &constant);
            builder.assert_eq(column(*index, false), value);
        }
        if let Some((index, expr)) = &self.accumulator {
            let [first, last]: [AB::Expr; 2] = [0, 1].map(|i| builder.public_values()[i].into());
            let taken: AB::Expr = expr.eval(&column, &constant);
            builder.when_first_row().assert_eq(column(*index, false), first);
            let local: AB::Expr = column(*index, false).into();
            builder
                .when_transition()
                .assert_eq(column(*index, true), local + taken);
            builder.when_last_row().assert_eq(column(*index, false), last);
        }
        for (bus, message, count) in &self.pairs {
            let fields: Vec<AB::Expr> = message.iter().map(|e| e.eval(&column, &constant)).collect();
            let count: AB::Expr = count.eval(&column, &constant);
            builder.push_interaction(*bus, fields.clone(), count.clone(), 1);
            builder.push_interaction(*bus, fields, -count, 0);
        }
        let message = |value: usize| {
            let value: AB::Expr = column(value, false).into();
            if self.squared {
                vec![value.clone(), value.clone() * value]
            } else {
                vec![value.clone(), value + AB::Expr::from_u32(7)]
            }
        };
        for lookup in &self.lookups {
            builder.push_interaction(
                lookup.bus,
                message(lookup.value),
                column(lookup.enabled, false),
                1,
            );
        }
        if let Some(table) = &self.table {
            let count: AB::Expr = column(table.uses, false).into();
            builder.push_interaction(table.bus, message(table.value), -count, 0);
        }
    }
}

/// An AIR with its trace: all columns of each row, and the public values.
struct Filled {
    /// Whether the trace is left out of the context. Then nothing is looked up in it, and its own
    /// lookups are not counted.
    absent: bool,
    air: RandomAir,
    rows: Vec<Vec<F>>,
    public_values: Vec<F>,
}

/// The limits of a random circuit.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub airs: usize,
    pub log_height_max: usize,
    pub degree_max: usize,
    pub columns_max: usize,
    pub interactions: bool,
    pub rotations: bool,
}

pub struct Circuit {
    airs: Vec<Filled>,
}

impl Circuit {
    #[expect(clippy::too_many_lines, reason = "an AIR from its first column to its last")]
    pub fn random(random: &mut Random, shape: &Shape) -> Self {
        // Tables come first, so that the others can look up.
        let squared = shape.degree_max > 1 && random.chance(50);
        let mut airs: Vec<Filled> = Vec::new();
        let mut tables: Vec<usize> = Vec::new();
        for index in 0..shape.airs {
            let absent = index > 0 && random.chance(20);
            let height = 1usize << random.below(shape.log_height_max + 1);
            let is_table = shape.interactions && random.chance(35);
            let free = 2 + random.below(shape.columns_max);
            let preprocessed = if random.chance(25) { 1 + random.below(2) } else { 0 };
            let derived = random.below(shape.columns_max);
            let rotates = shape.rotations && random.chance(60);
            let mut width = preprocessed + free;
            let derived: Vec<(usize, Expr)> = (0..derived)
                .map(|_| {
                    let degree = 1 + random.below(shape.degree_max);
                    width += 1;
                    (width - 1, Expr::random(random, width - 1, degree, 4, rotates))
                })
                .collect();
            let accumulator = (rotates && shape.degree_max > 1).then(|| {
                let expr = Expr::random(random, width, shape.degree_max - 1, 3, false);
                width += 1;
                (width - 1, expr)
            });
            let mut air = RandomAir {
                preprocessed: None,
                cached: vec![],
                common: 0,
                derived,
                accumulator,
                pairs: vec![],
                lookups: vec![],
                table: None,
                squared,
            };
            if shape.interactions {
                for _ in 0..random.below(4) {
                    let length = 1 + random.below(6);
                    let mut expr = |degree| Expr::random(random, width, degree, 3, rotates);
                    let fields = (0..length).map(|_| expr(shape.degree_max)).collect();
                    let count = expr(shape.degree_max);
                    air.pairs.push((random.below(5) as u16, fields, count));
                }
            }
            let mut rows: Vec<Vec<F>> = (0..height)
                .map(|_| (0..width).map(|_| random.element()).collect())
                .collect();
            // Columns of their own for lookups: the value to look up, and whether to look.
            for &table in &tables {
                if !random.chance(60) {
                    continue;
                }
                let bus = airs[table].air.table.as_ref().expect("it is a table").bus;
                air.lookups.push(Lookup {
                    bus,
                    enabled: width,
                    value: width + 1,
                });
                width += 2;
                for row in &mut rows {
                    let target = random.below(airs[table].rows.len());
                    let Table { value, uses, .. } = *airs[table].air.table.as_ref().expect("it is a table");
                    let entry = &mut airs[table].rows[target];
                    let enabled = random.chance(70);
                    row.extend([F::from_bool(enabled), entry[value]]);
                    if enabled && !absent {
                        entry[uses] += F::ONE;
                    }
                }
            }
            if is_table {
                air.table = Some(Table {
                    bus: 10 + index as u16,
                    value: preprocessed,
                    uses: width,
                });
                width += 1;
                rows.iter_mut().for_each(|row| row.push(F::ZERO));
                if !absent {
                    tables.push(index);
                }
            }
            let first_derived = preprocessed + free;
            // A table's last column changes with each lookup, so it is in the common part: cached
            // are only free ones.
            let mut left = free.saturating_sub(1);
            while left > 0 && random.chance(30) {
                let cached = 1 + random.below(left);
                air.cached.push(cached);
                left -= cached;
            }
            air.common = width - preprocessed - air.cached.iter().sum::<usize>();
            debug_assert!(first_derived <= width);
            let public_values = fill(&air, &mut rows);
            if preprocessed > 0 {
                let values = rows.iter().flat_map(|row| row[..preprocessed].iter().copied());
                air.preprocessed = Some(RowMajorMatrix::new(values.collect(), preprocessed));
            }
            let idle = air.derived.is_empty()
                && air.accumulator.is_none()
                && air.pairs.is_empty()
                && air.lookups.is_empty()
                && air.table.is_none();
            if idle {
                // Keys are made only of AIRs that constrain something.
                let column = preprocessed;
                let expr = Expr::Column { column, next: false };
                air.derived.push((column, expr));
            }
            airs.push(Filled {
                absent,
                air,
                rows,
                public_values,
            });
        }
        Self { airs }
    }

    pub fn airs(&self) -> Vec<AirRef<SC>> {
        self.airs
            .iter()
            .map(|filled| Arc::new(filled.air.clone()) as AirRef<SC>)
            .collect()
    }

    /// Whether all traces have one row and no interactions.
    #[allow(dead_code, reason = "not all test binaries prove circuits")]
    pub fn is_rows(&self) -> bool {
        self.airs.iter().filter(|filled| !filled.absent).all(|filled| {
            let air = &filled.air;
            let interactions = air.pairs.len() + air.lookups.len() + usize::from(air.table.is_some());
            filled.rows.len() == 1 && interactions == 0
        })
    }

    /// The context of the AIRs that are present; cached traces are committed to by `committer`.
    pub fn context<D>(&self, committer: &D) -> ProvingContext<CpuBackend<SC>>
    where
        D: TraceCommitter<CpuBackend<SC>>,
    {
        let present = self.airs.iter().enumerate().filter(|(_, filled)| !filled.absent);
        let per_trace = present.map(|(index, filled)| {
            let mut start = filled.air.preprocessed_width();
            let mut part = |width: usize| {
                let range = start..start + width;
                start += width;
                let values = filled
                    .rows
                    .iter()
                    .flat_map(|row| row[range.clone()].iter().copied());
                RowMajorMatrix::new(values.collect(), width)
            };
            let cached_mains = filled
                .air
                .cached
                .iter()
                .map(|&width| {
                    let trace = part(width);
                    let (commitment, data) = committer.commit(&[&trace]).unwrap();
                    CommittedTraceData {
                        commitment,
                        trace,
                        data: Arc::new(data),
                    }
                })
                .collect();
            let common_main = part(filled.air.common);
            let context = AirProvingContext::new(cached_mains, common_main, filled.public_values.clone());
            (index, context)
        });
        ProvingContext::new(per_trace.collect())
    }

    /// Adds one to a random cell of a derived column, so that the trace no longer satisfies its
    /// constraint.
    #[allow(dead_code, reason = "not all test binaries spoil circuits")]
    pub fn break_constraint(&mut self, random: &mut Random) -> bool {
        // An idle AIR's constraint says that a column is itself, which cannot be broken.
        let idle = |(column, expr): &(usize, Expr)| matches!(expr, Expr::Column { column: c, next: false } if c == column);
        let derived = |f: &&mut Filled| !f.absent && f.air.derived.first().is_some_and(|first| !idle(first));
        let Some(filled) = self.airs.iter_mut().find(derived) else {
            return false;
        };
        let row = random.below(filled.rows.len());
        let column = filled.air.derived[0].0;
        filled.rows[row][column] += F::ONE;
        true
    }

    /// Takes back one use of a table entry, so that the buses no longer balance.
    #[allow(dead_code, reason = "not all test binaries spoil circuits")]
    pub fn break_balance(&mut self) -> bool {
        let Some((filled, uses)) = self
            .airs
            .iter_mut()
            .filter(|f| !f.absent)
            .find_map(|f| f.air.table.as_ref().map(|t| t.uses).map(|uses| (f, uses)))
        else {
            return false;
        };
        filled.rows[0][uses] += F::ONE;
        true
    }
}

/// Computes the derived columns and the accumulator; gives the public values.
fn fill(air: &RandomAir, rows: &mut [Vec<F>]) -> Vec<F> {
    let height = rows.len();
    let constant = |value: u32| F::from_u32(value);
    // A column may depend on earlier ones of the next row, so whole columns are computed one after
    // the other.
    for (index, expr) in &air.derived {
        for y in 0..height {
            let column = |column: usize, next: bool| rows[(y + usize::from(next)) % height][column];
            let value: F = expr.eval(&column, &constant);
            rows[y][*index] = value;
        }
    }
    let Some((index, expr)) = &air.accumulator else {
        return vec![];
    };
    for y in 1..height {
        let column = |column: usize, _: bool| rows[y - 1][column];
        let taken: F = expr.eval(&column, &constant);
        rows[y][*index] = rows[y - 1][*index] + taken;
    }
    vec![rows[0][*index], rows[height - 1][*index]]
}

/// Parameters with little grinding and few queries. Sound they are not.
pub fn params(l_skip: usize, n_stack: usize, log_blowup: usize, degree_max: usize) -> SystemParams {
    let k = 3;
    let whir = WhirParams {
        k,
        log_final_poly_len: (n_stack + l_skip) % k,
        query_phase_pow_bits: 1,
        folding_pow_bits: 2,
        mu_pow_bits: 3,
        proximity: WhirProximityStrategy::SplitUniqueList {
            m: 3,
            list_start_round: 1,
        },
    };
    SystemParams {
        l_skip,
        n_stack,
        w_stack: 1 << 12,
        log_blowup,
        whir: WhirConfig::new(log_blowup, l_skip + n_stack, whir, 5),
        logup: LogUpSecurityParameters {
            max_interaction_count: 1 << 30,
            log_max_message_length: 7,
            pow_bits: 2,
        },
        max_constraint_degree: degree_max,
    }
}
