//! The sums of fractions: [`crate::gkr`] over [`crate::constraints`]' leaves.

use openvm_stark_backend::calculate_n_logup;

use super::{Present, Walk, pushed};
use crate::{constraints::GROUPS, gkr};

impl Walk<'_> {
    /// Compiled constraints, and the columns that they read: those of traces with fewer rows than
    /// are skipped at once are copies.
    pub(super) fn compiled(&self) -> usize {
        let l_skip = self.model.params.l_skip;
        let of = |p: &Present<'_>| {
            let copied = if p.height < 1 << l_skip { p.height } else { 0 };
            let column = size_of::<std::borrow::Cow<'_, [u8]>>() + self.model.sizes.f * copied;
            p.air.compiled.programs + p.air.width() * column
        };
        self.present.iter().map(of).sum()
    }

    /// Rows of fractions, as they are repeated.
    fn lifted(&self, p: &Present<'_>) -> usize {
        p.height.max(1 << self.model.params.l_skip)
    }

    fn is_long(&self, p: &Present<'_>) -> bool {
        p.height >= self.kept.group << self.model.sizes.log_lanes && p.height == self.lifted(p)
    }

    pub(super) fn fractions(&self) -> usize {
        let sizes = &self.model.sizes;
        let total: usize = self
            .present
            .iter()
            .map(|p| p.air.interactions * self.lifted(p))
            .sum();
        if total == 0 {
            return 0;
        }
        let l_skip = self.model.params.l_skip;
        let log_len = l_skip + calculate_n_logup(l_skip, total as u64);
        let programs: usize = self.present.iter().map(|p| p.air.compiled.fractions).sum();
        let tree = if gkr::made_layers(self.kept, log_len, sizes.log_lanes) == 0 {
            self.short_tree(log_len)
        } else {
            self.long_tree(total, log_len)
        };
        programs + tree
    }

    /// A tree that is too short for groups: its leaves, one by one, and all that is made of them.
    fn short_tree(&self, log_len: usize) -> usize {
        let sizes = &self.model.sizes;
        let leaf = sizes.f + sizes.ef;
        let scalars = self.scalars(0);
        scalars + ((leaf + 4 * sizes.ef) << log_len) + 8 * sizes.ext_pack
    }

    fn long_tree(&self, total: usize, log_len: usize) -> usize {
        let sizes = &self.model.sizes;
        let group = self.kept.group;
        let groups = total.div_ceil(group << sizes.log_lanes);
        let making = self.making();
        // Numerators and denominators; behind the latter there is room for a row of padding.
        let layer = |packs: usize| (2 * packs + gkr::ROW) * sizes.ext_pack;
        let mut packs = groups.next_multiple_of(gkr::ROW);
        let lowest = layer(packs) + making;
        let mut layers = layer(packs);
        let mut log_above = log_len - gkr::made_layers(self.kept, log_len, sizes.log_lanes);
        while log_above > sizes.log_lanes {
            log_above -= 1;
            packs = (packs / 2)
                .next_multiple_of(gkr::ROW)
                .min(1 << (log_above - sizes.log_lanes));
            layers += layer(packs);
        }
        // Tables of `eq`, which are of square-root size in effect.
        let eq = sizes.ef
            * ((1usize << log_len >> sizes.log_lanes >> gkr::LOG_BLOCK_MAX) + (1 << gkr::LOG_BLOCK_MAX));
        // The layer below the lowest one that is kept with the tree, and the rest of each group in
        // the lowest layers.
        let below = layer((2 * groups).next_multiple_of(gkr::ROW)) + making;
        let rows = gkr::ROW * (groups + 1) * sizes.ext_pack + making.max(eq);
        lowest.max(layers + eq).max(below).max(rows)
    }

    /// The memory for making the leaves, beside the place where they go.
    fn making(&self) -> usize {
        let sizes = &self.model.sizes;
        let long = self.present.partition_point(|p| self.is_long(p));
        let of = |p: &Present<'_>| {
            let groups = p.height / (self.kept.group << sizes.log_lanes);
            let chunks = groups / GROUPS.min(groups);
            let parts = chunks * (size_of::<Vec<u8>>() + p.air.interactions * gkr::SINK_BYTES);
            let scratch = self.kept.group * p.air.interactions * (sizes.pack + sizes.ext_pack);
            let of_thread = scratch + p.air.compiled.fraction_packs * sizes.pack;
            parts + self.threads.min(chunks) * of_thread
        };
        let with_interactions = self.present[..long].iter().filter(|p| p.air.interactions > 0);
        let of_long = with_interactions.map(of).max().unwrap_or(0);
        of_long.max(self.scalars(long))
    }

    /// The fractions of the AIRs from this one on, one by one.
    fn scalars(&self, first: usize) -> usize {
        let sizes = &self.model.sizes;
        let short = &self.present[first..];
        let count = short.iter().map(|p| p.air.interactions * self.lifted(p)).sum();
        let packs = |p: &Present<'_>| {
            let rows = p.height.div_ceil(sizes.lanes());
            rows * p.air.interactions * (sizes.pack + sizes.ext_pack)
                + pushed(rows, 0) * size_of::<Vec<u8>>()
                + p.air.compiled.fraction_packs * sizes.pack
        };
        pushed(count, 0) * (sizes.f + sizes.ef) + short.iter().map(packs).max().unwrap_or(0)
    }
}
