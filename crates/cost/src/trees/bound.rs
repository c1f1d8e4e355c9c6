//! A lower bound on when any schedule of a tree can end.

use super::{
    list_schedule::Times,
    shape::{Level, Shape},
};

impl Times {
    /// The time before which no schedule of a tree with these levels ends: for all work, for the
    /// longest path, and for the two together, since a tree tapers.
    ///
    /// Take the last `L` before the end. A task of length `t`, on which others of length `s`
    /// follow, can have at most `L - s` of itself in there, and at most `t`. The rest of all tasks,
    /// `W(L)`, is work for the machines before that, so
    ///
    /// ```text
    ///   T  >=  L + W(L) / machines      for every L
    /// ```
    ///
    /// after Fernandez and Bussell (1973). `L` = 0 gives all work, and the largest `L` the longest
    /// path. In between, the bound is largest where a tree has about as many tasks beside each
    /// other as there are machines. It is exact for machines of one class, as [`Self::work_us`] is.
    /// Segments that differ end no earlier than equal ones, of which more can be done late.
    pub(super) fn earliest_us(&self, levels: &[Level]) -> u64 {
        let fastest = |shape: &Shape| self.fastest(self.shapes[shape]).unwrap_or(0);
        // The least time that follows on a task of each level, and the time of the task itself.
        let mut tail = 0;
        let mut tasks: Vec<(Shape, u64, u64, u64)> = Vec::new();
        for level in levels.iter().rev() {
            let there = || level.iter().filter(|(_, count)| *count > 0);
            tasks.extend(there().map(|(shape, count)| (*shape, *count, tail, fastest(shape))));
            tail += there().map(|(shape, _)| fastest(shape)).min().unwrap_or(0);
        }
        let earliest = |last: u64| {
            let before = tasks.iter().map(|&(shape, count, tail, takes)| {
                let within = last.saturating_sub(tail).min(takes);
                let part = 1.0 - within as f64 / takes.max(1) as f64;
                (shape, count as f64 * part)
            });
            self.elapsed_us(last, 1) + self.work_us(before)
        };
        // It is made of straight lines between these.
        let corners = tasks.iter().flat_map(|&(_, _, tail, takes)| [tail, tail + takes]);
        corners.map(earliest).max().unwrap_or(0)
    }
}
