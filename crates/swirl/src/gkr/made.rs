//! The lowest layers. They are too long to be kept, so they are made again for each round that
//! reads them.
//!
//! The input layer comes in groups of `G` packs of neighbours. A group determines its part of the
//! layers above, up to the layer where the group is a single pack. So the first rounds of the
//! sumchecks of the lowest layers can take groups as they come. Larger groups mean that less is
//! kept, and that leaves are made more often.

use openvm_stark_backend::p3_field::{ExtensionField, Field, PrimeCharacteristicRing};

use super::{
    eq::SplitEq,
    layer::{Layer, Nodes, denominators, sum},
    rows::{GRID, Pair, ROW, Row, Sums, add_grid, add_term, bind, layer_pair, packed_pair},
};
use crate::packed::{ExtPack, Pack, PackedField, split, split_ext};

/// Packs of the largest group.
const GROUP_MAX: usize = 16;

/// Numerators and denominators of a group.
pub(crate) type Group<F, EF, const G: usize> = ([Pack<F>; G], [ExtPack<F, EF>; G]);

/// `log2` of the packs of a group.
pub(crate) const fn log_group<const G: usize>() -> usize {
    assert!(G.is_power_of_two() && G >= 4 && G <= GROUP_MAX);
    G.trailing_zeros() as usize
}

/// The sums that a sink adds to: as many as it needs, the first ones.
pub(crate) type Added<T> = [T; GRID];

/// Takes groups in, in any order, and by parts that are taken in by several threads.
pub(crate) trait Sink<F: Field, EF: ExtensionField<F>, const G: usize>: Send + Sized {
    /// The part of the first groups, and that of the rest.
    fn split_at(self, groups: usize) -> (Self, Self);

    /// Takes in a group, by its number in this part, and adds its sums to `sums`.
    fn put(&mut self, sums: &mut Added<ExtPack<F, EF>>, group: usize, packs: &Group<F, EF, G>);
}

/// Bytes of the largest sink.
pub(crate) const SINK_BYTES: usize = 6 * size_of::<usize>();

/// Gives the groups of the input layer.
pub(crate) trait Leaves<F: PackedField, EF: ExtensionField<F>>: Sync {
    /// `log2` of the length of the input layer, at least one.
    fn log_len(&self) -> usize;

    /// The denominator of all that is not in any group, whose numerator is zero.
    fn pad(&self) -> EF;

    /// The groups of `G` packs that there are. A layer that is too short for one is
    /// [`Self::short`].
    fn groups<const G: usize>(&self) -> usize;

    /// The fractions of a layer that is too short for groups.
    fn short(&self) -> (Vec<F>, Vec<EF>);

    /// Gives all groups to `sink`, and returns the sums that it has added up.
    fn each<S: Sink<F, EF, G>, const G: usize>(&self, sink: S) -> Added<ExtPack<F, EF>>;
}

/// A layer this many above the input layer, at most as many as there are over a group.
pub(crate) fn layer<F, EF, L, const G: usize>(leaves: &L, above: usize) -> Layer<F, EF>
where
    F: PackedField,
    EF: ExtensionField<F>,
    L: Leaves<F, EF>,
{
    let pad = leaves.pad().exp_power_of_2(above);
    // The first round of a sumcheck takes four at a time.
    let packs = (leaves.groups::<G>() * (G >> above)).next_multiple_of(ROW);
    let mut p = ExtPack::<F, EF>::zero_vec(packs);
    let mut q = denominators::<F, EF>(pad, packs);
    leaves.each::<_, G>(Store {
        above,
        p: &mut p,
        q: &mut q,
    });
    Layer {
        log_len: leaves.log_len() - above,
        nodes: Nodes::Packed { p, q, phase: above },
        pad,
    }
}

/// The first rounds of the sumcheck of a layer that is made.
pub(crate) struct Rounds<EF, const G: usize> {
    pub above: usize,
    pub lambda: EF,
    /// The values that the variables of the rounds before are bound to.
    pub bound: Vec<EF>,
}

impl<EF: Field, const G: usize> Rounds<EF, G> {
    /// The number of rounds, after which no more is left than the layers above take.
    pub(crate) fn all(&self) -> usize {
        log_group::<G>() - 1 - self.above
    }

    /// Pairs of rows of a group in this round.
    pub(crate) fn pairs(&self) -> usize {
        G >> self.above >> 2 >> self.bound.len()
    }

    /// The phase of the rows of this round's pairs.
    pub(crate) fn phase(&self) -> usize {
        self.above + 2 + self.bound.len()
    }

    pub(crate) fn sums<F, L>(&self, leaves: &L, eq: &SplitEq<F, EF>, at_one: bool) -> Sums<ExtPack<F, EF>>
    where
        F: PackedField,
        EF: ExtensionField<F>,
        L: Leaves<F, EF>,
    {
        let [at_zero, at_one, square, ..] = leaves.each(Add {
            rounds: self,
            eq,
            at_one,
            first: 0,
        });
        [at_zero, at_one, square]
    }

    /// Whether this round and the next one take groups as they come.
    pub(crate) fn are_two(&self) -> bool {
        self.bound.len() + 2 <= self.all()
    }

    /// The sums of this round and the next one; `eq` is that of the next one's pairs.
    pub(crate) fn grid<F, L>(&self, leaves: &L, eq: &SplitEq<F, EF>) -> [ExtPack<F, EF>; GRID]
    where
        F: PackedField,
        EF: ExtensionField<F>,
        L: Leaves<F, EF>,
    {
        leaves.each(AddTwo {
            rounds: self,
            eq,
            first: 0,
        })
    }

    /// The rows that are left when the last round's variable is bound to `r`: one of each group.
    pub(crate) fn rows<F, L>(&self, leaves: &L, r: EF) -> Vec<ExtPack<F, EF>>
    where
        F: PackedField,
        EF: ExtensionField<F>,
        L: Leaves<F, EF>,
    {
        debug_assert_eq!(self.pairs(), 1);
        // One may be added as padding.
        let mut rows = Vec::with_capacity(ROW * (leaves.groups::<G>() + 1));
        rows.resize(ROW * leaves.groups::<G>(), ExtPack::<F, EF>::ZERO);
        leaves.each(Keep {
            rounds: self,
            r,
            rows: &mut rows,
        });
        rows
    }

    /// Gives the pairs of a group's rows; as many as [`Self::pairs`] says.
    #[inline(always)]
    fn each_pair<F>(&self, packs: &Group<F, EF, G>, mut put: impl FnMut(usize, Pair<Row<ExtPack<F, EF>>>))
    where
        F: PackedField,
        EF: ExtensionField<F>,
    {
        let (p, q) = raised::<F, EF, G>(packs, self.above);
        let pair = |i: usize| layer_pair::<F, EF>(&p[ROW * i..], &q[ROW * i..], self.lambda, self.above);
        let mut pairs = G >> self.above >> 2;
        let Some((&first, later)) = self.bound.split_first() else {
            for i in 0..pairs {
                put(i, pair(i));
            }
            return;
        };
        let mut rows = [[ExtPack::<F, EF>::ZERO; ROW]; GROUP_MAX / 4];
        for (i, row) in rows.iter_mut().enumerate().take(pairs) {
            *row = bind::<F, EF>(pair(i), first);
        }
        let mut phase = self.above + 2;
        let two = |rows: &[Row<ExtPack<F, EF>>], i: usize, phase: usize| {
            packed_pair::<F, EF>(rows[2 * i..].as_flattened(), phase)
        };
        for &r in later {
            pairs /= 2;
            for i in 0..pairs {
                rows[i] = bind::<F, EF>(two(&rows, i, phase), r);
            }
            phase += 1;
        }
        for i in 0..pairs / 2 {
            put(i, two(&rows, i, phase));
        }
    }
}

/// Numerators and denominators of the packs of a layer; how many count depends on the layer.
type Raised<F, EF, const G: usize> = ([ExtPack<F, EF>; G], [ExtPack<F, EF>; G]);

/// The packs of the layer `above` that lie over a group: the first `G >> above` of the result.
#[inline(always)]
fn raised<F: PackedField, EF: ExtensionField<F>, const G: usize>(
    (base, q): &Group<F, EF, G>,
    above: usize,
) -> Raised<F, EF, G> {
    let mut q = *q;
    if above == 0 {
        return (base.map(Into::into), q);
    }
    let mut p = [ExtPack::<F, EF>::ZERO; G];
    for i in 0..G / 2 {
        let base = split::<F>(base[2 * i], base[2 * i + 1], 0);
        let split = split_ext::<F, EF>(q[2 * i], q[2 * i + 1], 0);
        (p[i], q[i]) = (split.1 * base.0 + split.0 * base.1, split.0 * split.1);
    }
    for phase in 1..above {
        for i in 0..G >> phase >> 1 {
            (p[i], q[i]) = sum::<F, EF>(
                split_ext::<F, EF>(p[2 * i], p[2 * i + 1], phase),
                split_ext::<F, EF>(q[2 * i], q[2 * i + 1], phase),
            );
        }
    }
    (p, q)
}

/// Stores the layer `above`.
struct Store<'a, F: Field, EF: ExtensionField<F>> {
    above: usize,
    p: &'a mut [ExtPack<F, EF>],
    q: &'a mut [ExtPack<F, EF>],
}

impl<F: PackedField, EF: ExtensionField<F>, const G: usize> Sink<F, EF, G> for Store<'_, F, EF> {
    fn split_at(self, groups: usize) -> (Self, Self) {
        let above = self.above;
        let packs = groups * (G >> above);
        let ((p, rest_p), (q, rest_q)) = (self.p.split_at_mut(packs), self.q.split_at_mut(packs));
        let rest = Self {
            above,
            p: rest_p,
            q: rest_q,
        };
        (Self { above, p, q }, rest)
    }

    #[inline]
    fn put(&mut self, _: &mut Added<ExtPack<F, EF>>, group: usize, packs: &Group<F, EF, G>) {
        let (p, q) = raised::<F, EF, G>(packs, self.above);
        let packs = G >> self.above;
        self.p[packs * group..][..packs].copy_from_slice(&p[..packs]);
        self.q[packs * group..][..packs].copy_from_slice(&q[..packs]);
    }
}

/// Adds up a round's sums.
struct Add<'a, F: Field, EF: ExtensionField<F>, const G: usize> {
    rounds: &'a Rounds<EF, G>,
    eq: &'a SplitEq<F, EF>,
    at_one: bool,
    /// The number of the part's first group among all.
    first: usize,
}

impl<F: PackedField, EF: ExtensionField<F>, const G: usize> Sink<F, EF, G> for Add<'_, F, EF, G> {
    fn split_at(self, groups: usize) -> (Self, Self) {
        let rest = Self {
            first: self.first + groups,
            ..self
        };
        (self, rest)
    }

    #[inline]
    fn put(&mut self, sums: &mut Added<ExtPack<F, EF>>, group: usize, packs: &Group<F, EF, G>) {
        let pairs = self.rounds.pairs();
        let (first, eq, at_one) = ((self.first + group) * pairs, self.eq, self.at_one);
        self.rounds.each_pair::<F>(packs, |i, (even, odd)| {
            let sums = sums.first_chunk_mut().expect("there are more than three");
            add_term(sums, even, odd, eq.of_pack(first + i), at_one);
        });
    }
}

/// Adds up the sums of two rounds.
struct AddTwo<'a, F: Field, EF: ExtensionField<F>, const G: usize> {
    rounds: &'a Rounds<EF, G>,
    eq: &'a SplitEq<F, EF>,
    /// The number of the part's first group among all.
    first: usize,
}

impl<F: PackedField, EF: ExtensionField<F>, const G: usize> Sink<F, EF, G> for AddTwo<'_, F, EF, G> {
    fn split_at(self, groups: usize) -> (Self, Self) {
        let rest = Self {
            first: self.first + groups,
            ..self
        };
        (self, rest)
    }

    #[inline]
    fn put(&mut self, sums: &mut Added<ExtPack<F, EF>>, group: usize, packs: &Group<F, EF, G>) {
        let (eq, phase) = (self.eq, self.rounds.phase());
        let first = (self.first + group) * self.rounds.pairs() / 2;
        let mut before = None;
        self.rounds.each_pair::<F>(packs, |i, pair| match before.take() {
            None => before = Some(pair),
            Some((even, odd)) => {
                let split =
                    |a: Row<_>, b: Row<_>| <[_; 2]>::from(packed_pair::<F, EF>([a, b].as_flattened(), phase));
                let rows = [split(even, pair.0), split(odd, pair.1)];
                add_grid(sums, rows, eq.of_pack(first + i / 2));
            }
        });
    }
}

/// Keeps the row of each group that is left behind the last round.
struct Keep<'a, F: Field, EF: ExtensionField<F>, const G: usize> {
    rounds: &'a Rounds<EF, G>,
    r: EF,
    rows: &'a mut [ExtPack<F, EF>],
}

impl<F: PackedField, EF: ExtensionField<F>, const G: usize> Sink<F, EF, G> for Keep<'_, F, EF, G> {
    fn split_at(self, groups: usize) -> (Self, Self) {
        let (rows, rest) = self.rows.split_at_mut(ROW * groups);
        let (rounds, r) = (self.rounds, self.r);
        (
            Self { rounds, r, rows },
            Self {
                rounds,
                r,
                rows: rest,
            },
        )
    }

    #[inline]
    fn put(&mut self, _: &mut Added<ExtPack<F, EF>>, group: usize, packs: &Group<F, EF, G>) {
        let (rows, r) = (&mut self.rows[ROW * group..][..ROW], self.r);
        self.rounds
            .each_pair::<F>(packs, |_, pair| rows.copy_from_slice(&bind::<F, EF>(pair, r)));
    }
}
