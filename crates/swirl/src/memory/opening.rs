//! [`crate::opening`]: the reduction to stacked columns, and WHIR.

use openvm_stark_backend::p3_util::log2_strict_usize;

use super::{Walk, pushed};
use crate::{
    commit::encode,
    opening::{OPENED_AT_ONCE, sizes},
};

/// Pieces of one height that follow each other.
struct Group {
    log_height: usize,
    pieces: usize,
    rotated: bool,
}

impl Walk<'_> {
    fn groups(&self) -> Vec<Group> {
        let others = self
            .present
            .iter()
            .flat_map(|p| p.air.others.iter().map(move |&width| (p, width)));
        let mut groups: Vec<Group> = Vec::new();
        for (p, width) in self.present.iter().map(|p| (p, p.air.common)).chain(others) {
            if width == 0 {
                continue;
            }
            let (log_height, rotated) = (log2_strict_usize(p.height), p.air.needs_next);
            match groups.last_mut() {
                Some(group) if group.log_height == log_height => {
                    group.pieces += width;
                    group.rotated |= rotated;
                }
                _ => groups.push(Group {
                    log_height,
                    pieces: width,
                    rotated,
                }),
            }
        }
        groups
    }

    /// For each stacked column, the number of variables of the cube that its shortest piece depends
    /// on.
    fn shortest(&self) -> Vec<usize> {
        let params = &self.model.params;
        let n_lift = |log_height: usize| log_height.saturating_sub(params.l_skip);
        let mut shortest = vec![params.n_stack; self.common.width()];
        for (_, _, slice) in &self.common.sorted_cols {
            let least = &mut shortest[slice.col_idx];
            *least = (*least).min(n_lift(slice.log_height()));
        }
        let others = self
            .present
            .iter()
            .flat_map(|p| p.air.others.iter().map(|_| n_lift(log2_strict_usize(p.height))));
        for (n_lift, &width) in others.zip(&self.others) {
            shortest.extend(std::iter::repeat_n(n_lift, width));
        }
        shortest
    }

    fn stacked_columns(&self) -> usize {
        self.common.width() + self.others.iter().sum::<usize>()
    }

    pub(super) fn reduction(&self) -> usize {
        let sizes = &self.model.sizes;
        let params = &self.model.params;
        let groups = self.groups();
        let pieces: usize = groups.iter().map(|group| group.pieces).sum();
        // `eq`, the kernel of rotations, and the batched columns.
        let cubes: usize = groups
            .iter()
            .map(|group| {
                let cube = sizes.ef << group.log_height.saturating_sub(params.l_skip);
                (3 + usize::from(group.rotated)) * cube
            })
            .sum();
        let longest = groups.iter().map(|group| group.pieces).max().unwrap_or(0);
        let batching = longest * sizes::COLUMN + self.threads * sizes::thread(sizes);
        // Columns are folded as soon as their shortest piece is, and all that are left at the end.
        let folded: usize = self
            .shortest()
            .into_iter()
            .filter(|&n_lift| n_lift < params.n_stack)
            .map(|n_lift| sizes.ef << (params.n_stack - n_lift))
            .sum();
        let folding = folded + (sizes.ef << params.n_stack);
        pushed(pieces, 0) * sizes::PIECE
            + cubes
            + batching.max(folding)
            + self.stacked_columns() * (2 * size_of::<&[u8]>() + sizes::FOLD)
    }

    pub(super) fn whir(&self) -> usize {
        let sizes = &self.model.sizes;
        let params = &self.model.params;
        let (k, log_height) = (params.whir.k, params.log_stacked_height());
        let rows = 1usize << k;
        let columns = self.stacked_columns();
        let lists = columns * (size_of::<&[u8]>() + sizes.ef);
        // The batched column by its basis coefficients and packed, or packed with the weights.
        let mut peak = lists
            + ((2 * sizes.ef) << log_height)
            + (sizes::BATCH_TASK << log_height >> sizes::LOG_BATCH_ROWS);
        let mut proof = 0;
        let mut previous = 0;
        let mut log_domain = log_height + params.log_blowup;
        let mut m = log_height;
        for (round, config) in params.whir.rounds.iter().enumerate() {
            let queries = config.num_queries;
            m -= k;
            let pair = (2 * sizes.ef) << m;
            let messages = sizes.ef << m;
            peak = peak.max(lists + pair + 2 * messages + previous + proof);
            let dimension = sizes.ef / sizes.f;
            let mut next = messages;
            if round + 1 < params.whir.rounds.len() {
                let tree = encode::bytes(sizes, dimension, m, log_domain - 1 - m, rows, self.threads);
                peak = peak.max(lists + pair + messages + tree.peak + previous + proof);
                next += tree.kept;
            } else {
                proof += messages;
            }
            // Values of queried rows by column, then by row; and the paths.
            let path = size_of::<Vec<u8>>() + (log_domain - k) * sizes.digest;
            let by_column = size_of::<Vec<u8>>() + rows * sizes.f;
            let opened = |width: usize, log_height: usize, element: usize| {
                let at_once = self.threads.min(OPENED_AT_ONCE).min(width);
                let working = at_once * ((2 * sizes.f) << log_height);
                let by_columns = width * queries * by_column;
                let by_rows = queries * rows * (size_of::<Vec<u8>>() + width * element);
                (by_columns + working.max(by_rows), by_rows)
            };
            let mut opening = 0;
            if round == 0 {
                for &width in std::iter::once(&self.common.width()).chain(&self.others) {
                    let (most, kept) = opened(width, log_height, sizes.f);
                    opening = opening.max(proof + most);
                    proof += kept + queries * path;
                }
            } else {
                let by_rows = queries * (size_of::<Vec<u8>>() + rows * sizes.ef);
                let (most, _) = opened(dimension, m + k, 0);
                opening = proof + most + by_rows;
                proof += by_rows + queries * path;
            }
            peak = peak.max(lists + pair + next + previous + opening.max(proof));
            let weights = queries * (sizes.f << m.div_ceil(2).max(sizes.log_lanes))
                + queries * (sizes.ef << m.div_ceil(2));
            peak = peak.max(lists + pair + next + proof + weights);
            previous = next;
            log_domain -= 1;
        }
        peak
    }
}
