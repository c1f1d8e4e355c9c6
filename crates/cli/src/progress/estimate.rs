//! Estimates when a run will be done, from what its tasks have taken so far.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use myriad_core::TaskId;

/// The time of a node of the tree, in segments that fill their memory, until one has been measured.
const NODE_PER_SEGMENT: f64 = 1.2;
/// The least that a node takes, in seconds of two cores of a 2023 server, however small its
/// segments.
const NODE_S_MIN: f64 = 10.0;
/// Levels that every tree has, and whose nodes wait for each other.
const LEVELS_MIN: usize = 3;
/// The time of the final proof, in nodes.
const FINAL_PER_NODE: f64 = 0.6;

/// Counts and times the tasks of a run.
#[derive(Default)]
pub(super) struct Estimate {
    provers: usize,
    /// More segments will be known, and nothing of the tree is.
    growing: bool,
    /// Proofs that were there before.
    reused: usize,
    segments: Kind,
    nodes: Kind,
    /// The task of each prover, and since when.
    running: HashMap<usize, (TaskId, Instant)>,
}

/// The tasks of one kind.
#[derive(Default)]
pub(super) struct Kind {
    pub total: usize,
    /// Done, in an earlier run too.
    pub done: usize,
    measured: u32,
    wall: Duration,
}

impl Kind {
    fn mean_s(&self) -> Option<f64> {
        (self.measured > 0).then(|| self.wall.as_secs_f64() / f64::from(self.measured))
    }

    fn left(&self) -> usize {
        self.total.saturating_sub(self.done)
    }
}

impl Estimate {
    /// Starts with the first segments known.
    pub(super) fn growing(segments: usize, provers: usize, reused: usize) -> Self {
        Self {
            growing: true,
            ..Self::planned(segments, 0, provers, reused)
        }
    }

    /// Notes the number of segments known so far, and the number of nodes once the tree is settled.
    /// `reused` proofs of all these were there before; those that come with the tree are counted as
    /// segments first.
    pub(super) fn grow(&mut self, segments: usize, nodes: Option<usize>, reused: usize) {
        let more = reused.saturating_sub(self.reused);
        let of_segments = more.min(segments.saturating_sub(self.segments.total));
        self.reused += more;
        self.segments.total = segments;
        self.segments.done += of_segments;
        self.nodes.total = nodes.unwrap_or_default();
        self.nodes.done += (more - of_segments).min(self.nodes.left());
        self.growing = nodes.is_none();
    }

    /// Starts with the work known. Reused proofs are counted as segments first.
    pub(super) fn planned(segments: usize, nodes: usize, provers: usize, reused: usize) -> Self {
        let segments_done = reused.min(segments);
        let nodes_done = (reused - segments_done).min(nodes);
        Self {
            provers,
            growing: false,
            reused,
            segments: Kind {
                total: segments,
                done: segments_done,
                ..Kind::default()
            },
            nodes: Kind {
                total: nodes,
                done: nodes_done,
                ..Kind::default()
            },
            running: HashMap::new(),
        }
    }

    pub(super) fn segments(&self) -> &Kind {
        &self.segments
    }

    pub(super) fn nodes(&self) -> &Kind {
        &self.nodes
    }

    pub(super) fn started(&mut self, prover: usize, task: TaskId) {
        self.running.insert(prover, (task, Instant::now()));
    }

    /// The prover is gone.
    pub(super) fn left_by(&mut self, prover: usize) {
        self.running.remove(&prover);
    }

    /// A task that was done is open again.
    pub(super) fn reopened(&mut self, task: TaskId) {
        let kind = match task {
            TaskId::Segment(_) => &mut self.segments,
            TaskId::Node(_) => &mut self.nodes,
            TaskId::Final => return,
        };
        kind.done = kind.done.saturating_sub(1);
    }

    /// The prover has left this task. Returns whether it was working on the task, and so is idle
    /// now: while a proof is verified, its maker may have begun the next task.
    pub(super) fn stopped(&mut self, prover: usize, task: TaskId) -> bool {
        let was = self.running.get(&prover).is_some_and(|(at, _)| *at == task);
        if was {
            self.running.remove(&prover);
        }
        was
    }

    /// A task is done, and took so long.
    pub(super) fn done(&mut self, task: TaskId, wall: Duration) {
        let kind = match task {
            TaskId::Segment(_) => &mut self.segments,
            TaskId::Node(_) => &mut self.nodes,
            TaskId::Final => return,
        };
        kind.done = (kind.done + 1).min(kind.total);
        kind.measured += 1;
        kind.wall += wall;
    }

    /// Time that is left, once a task has been measured and all tasks are known.
    pub(super) fn left(&self) -> Option<Duration> {
        if self.growing {
            return None;
        }
        let (segment, node) = match (self.segments.mean_s(), self.nodes.mean_s()) {
            (None, None) => return None,
            (Some(segment), node) => (
                segment,
                node.unwrap_or((segment * NODE_PER_SEGMENT).max(NODE_S_MIN)),
            ),
            (None, Some(node)) => (node / NODE_PER_SEGMENT, node),
        };
        let last = node * FINAL_PER_NODE;
        let expected = |task: TaskId| match task {
            TaskId::Segment(_) => segment,
            TaskId::Node(_) => node,
            TaskId::Final => last,
        };
        let under_way: f64 = self
            .running
            .values()
            .map(|(task, since)| since.elapsed().as_secs_f64().min(expected(*task)))
            .sum();
        let shared = self.segments.left() as f64 * segment + self.nodes.left() as f64 * node - under_way;
        let shared = shared.max(0.0) / self.provers.max(1) as f64;
        // One prover alone walks the way from the last segment to the final proof.
        let path = self.nodes.left().min(LEVELS_MIN) as f64 * node;
        let seconds = shared.max(path) + last;
        Some(Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_what_was_measured() {
        let mut estimate = Estimate::planned(4, 0, 2, 1);
        assert_eq!(estimate.left(), None);
        estimate.done(TaskId::Segment(1), Duration::from_secs(100));
        assert_eq!(estimate.segments().done, 2);
        let left = Some(Duration::from_secs(100 + 72));
        assert_eq!(
            estimate.left(),
            left,
            "2 segments by 2 provers, and the final proof"
        );
    }

    #[test]
    fn no_time_is_told_before_the_tree_is_settled() {
        let mut estimate = Estimate::growing(2, 2, 1);
        estimate.grow(4, None, 1);
        estimate.done(TaskId::Segment(1), Duration::from_secs(100));
        assert_eq!(estimate.left(), None);
        assert_eq!((estimate.segments().done, estimate.segments().total), (2, 4));
        estimate.grow(4, Some(0), 1);
        assert_eq!(estimate.left(), Some(Duration::from_secs(100 + 72)));
    }

    #[test]
    fn proofs_of_an_earlier_run_count_as_their_segments_become_known() {
        let mut estimate = Estimate::growing(2, 1, 1);
        let done = |estimate: &Estimate| (estimate.segments().done, estimate.nodes().done);
        estimate.grow(5, None, 3);
        assert_eq!(done(&estimate), (3, 0));
        estimate.done(TaskId::Segment(4), Duration::from_secs(1));
        estimate.grow(5, None, 3);
        assert_eq!(done(&estimate), (4, 0));
        // One is of a further segment, and two are of nodes.
        estimate.grow(6, Some(4), 6);
        assert_eq!(done(&estimate), (5, 2));
    }

    #[test]
    fn the_last_nodes_are_made_one_after_the_other() {
        let mut estimate = Estimate::planned(1, 3, 8, 0);
        estimate.done(TaskId::Segment(0), Duration::from_secs(100));
        assert_eq!(estimate.left(), Some(Duration::from_secs(3 * 120 + 72)));
    }

    #[test]
    fn a_prover_that_has_begun_the_next_task_is_not_idle() {
        let mut estimate = Estimate::planned(2, 0, 1, 0);
        estimate.started(0, TaskId::Segment(0));
        estimate.started(0, TaskId::Segment(1));
        assert!(!estimate.stopped(0, TaskId::Segment(0)));
        assert_eq!(estimate.running.len(), 1, "what is under way counts");
        assert!(estimate.stopped(0, TaskId::Segment(1)));
        assert!(!estimate.stopped(0, TaskId::Segment(1)));
    }

    #[test]
    fn reused_proofs_are_no_more_than_there_are() {
        let estimate = Estimate::planned(2, 3, 1, 6);
        assert_eq!((estimate.segments().done, estimate.nodes().done), (2, 3));
    }
}
