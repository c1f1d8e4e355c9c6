//! What no schedule of a tree ends before.

use super::{
    list_schedule::Times,
    shape::{Level, Shape},
};

impl Times {
    /// What no schedule of a tree with these levels ends before, for all work, for the longest
    /// path, and for what the two have to do with each other: a tree tapers. Of a task that others
    /// wait for, `t` long, at most what the last `L` leave beside `t` can be done in the last `L`
    /// before the end; the rest of it, of all tasks, is work for the machines before, so that
    ///
    /// ```text
    ///   T  >=  L + W(L) / machines      for every L
    /// ```
    ///
    /// after Fernandez and Bussell (1973). `L` = 0 is all work, and the largest `L` the longest
    /// path. In between it is largest where a tree has about as many tasks beside each other as
    /// there are machines. As [`Self::work_us`] it is exact for machines of one class. Segments
    /// that differ end no earlier than such as are alike, of which more can be done late.
    pub(super) fn earliest_us(&self, levels: &[Level]) -> u64 {
        let fastest = |shape: &Shape| self.fastest(self.shapes[shape]).unwrap_or(0);
        // What follows on a task of each level at least, and what the task itself takes.
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
