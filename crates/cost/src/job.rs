//! The tree for a present job, whose segments and workers are known.
//!
//! A few large pieces cost least in total, but leave workers idle at the end, where one worker
//! alone walks the path from the last segment to the final proof. Called by the drivers in
//! `myriad-node`, which know which arities fit the memory.

use std::time::Duration;

use myriad_core::{Arities, Kind};

use crate::{
    model::{Below, Load, ProgramModel},
    trees::{self, Candidate, ClassTimes, KINDS, SharedCores, Times},
};

/// The workers of a job: engine children that share the cores of their machine, or provers with
/// this many cores each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hands {
    pub children: usize,
    /// Threads of each.
    pub threads: usize,
    /// The cores of all together.
    pub cores: usize,
}

/// The arities of the tree over segments with these loads that the hands finish soonest, and how
/// long that takes, from the first segment on. None where there is no segment, no hand, or no
/// arities whose nodes the model knows.
pub fn choose(
    model: &ProgramModel,
    segments: &[Load],
    arities: &[Arities],
    hands: Hands,
) -> Option<(Arities, Duration)> {
    let candidates = candidates(model, segments, arities, hands);
    let chosen = trees::choose(candidates, usize::MAX, |_, timeline| timeline.end_us as f64)?;
    let makespan = Duration::from_micros(chosen.timeline.end_us);
    Some((chosen.candidate.arities, makespan))
}

/// The trees of all arities whose nodes the model knows, in the order of the arities.
pub fn candidates(
    model: &ProgramModel,
    segments: &[Load],
    arities: &[Arities],
    hands: Hands,
) -> Vec<Candidate<()>> {
    if segments.is_empty() || hands.children == 0 {
        return Vec::new();
    }
    // Seconds of one core; there are as many cores as a machine has, however many threads.
    let each: Vec<f64> = segments
        .iter()
        .map(|load| model.segment(*load, 1).cpu_s)
        .collect();
    let mean_s = each.iter().sum::<f64>() / each.len() as f64;
    let parts: Vec<f64> = each.iter().map(|s| s / mean_s).collect();
    let candidate = |&arities: &Arities| {
        let below = Below::of(arities.internal_for_leaf);
        Candidate::new(segments.len() as u32, arities, (), |shapes| {
            let works = shapes.keys().map(|&(kind, children)| match kind {
                Kind::Segment => Some(mean_s),
                _ => Some(model.node(kind, children, below, 1)?.cpu_s),
            });
            Some(Times {
                classes: vec![ClassTimes {
                    machines: hands.children as u64,
                    tasks: works
                        .map(|s| Some(Some(microseconds(s?))))
                        .collect::<Option<_>>()?,
                    cold: [0; KINDS],
                }],
                shapes,
                segments: parts.clone(),
                shared: Some(SharedCores {
                    cores: hands.cores as u64,
                    threads: hands.threads as u64,
                }),
            })
        })
    };
    arities.iter().filter_map(candidate).collect()
}

fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}
