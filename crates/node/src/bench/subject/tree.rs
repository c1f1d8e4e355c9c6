//! Measures a small job whole: nodes of every arity, up to the final proof.

use std::{collections::BTreeSet, mem};

use myriad_core::Kind;
use myriad_engine::{FinalForm, Level, MemoryBudget, ProofOf, worker::Worker};

use super::{Bench, BenchError, Made, kind_of, on, plan, segment_sample};

/// Children of an internal-for-leaf node where nodes above it are measured, but for the narrow
/// ones. The proof of one over more children is larger and takes more to verify.
const PAIR: usize = 2;
/// Internal-for-leaf nodes of the tree that is made, so that there are internal-recursive ones of
/// every arity, and where one of each kind is enough.
const WIDTH: usize = 3;
const WIDTH_MIN: usize = 2;

impl Bench<'_> {
    /// Proves the short job whole: nodes of every arity with the first number of threads, some of
    /// each kind with others.
    pub(super) fn whole(&mut self, threads: usize, first: bool) -> Result<(), BenchError> {
        let budget = self.subject.whole_budget;
        let mut worker = self.worker(threads, false)?;
        let every = first && self.options.every_arity;
        let most = |level| self.loaded.children_max(level);
        let least = if self.options.every_arity {
            // As wide as nodes of the engine may be.
            PAIR.min(most(Level::INTERNAL_FOR_LEAF)) * WIDTH.min(most(Level::INTERNAL_RECURSIVE))
        } else {
            WIDTH_MIN
        };
        let plan = match plan(&mut worker, budget)? {
            Some((plan, _)) if plan.segments.len() >= least => plan,
            planned => {
                return Err(BenchError::TooShort {
                    name: self.subject.name.clone(),
                    actual: planned.map_or(0, |(plan, _)| plan.segments.len()),
                    least,
                    budget,
                });
            }
        };
        let mut proofs = Vec::new();
        for segment in &plan.segments {
            let what = format!("segment {} for the tree", segment.index);
            let cold = segment.index == 0;
            let made = self.prove(&mut worker, segment, &plan.public_values, &what, cold)?;
            let sample = segment_sample(budget, segment, made.measured(threads));
            self.profile.segments.push(sample);
            proofs.push(made.proof);
        }
        let last_segment = proofs[proofs.len() - 1].clone();
        let mut level = Level::LEAF;
        while level < Level::INTERNAL_RECURSIVE || proofs.len() > 1 {
            let below = proofs;
            proofs = self.level(&mut worker, level, &below, threads, every)?;
            if level == Level::INTERNAL_FOR_LEAF && self.options.every_arity {
                self.narrow(&mut worker, &below, threads)?;
            }
            level = level.above();
        }
        let top = Level::new(level.number() - 1).expect("it was made");
        let what = format!("final on {}", on(threads));
        self.begins(&what);
        let (proof, usage) = worker.finish(top, FinalForm::Small, proofs.swap_remove(0), last_segment)?;
        let whole = ProofOf::Final { public_values: None };
        let verify_s = self.verified(&what, whole, &proof)?;
        self.measured(&what, usage);
        let made = Made {
            proof,
            usage,
            cold: false,
            verify_s,
        };
        self.node(Kind::Final, 1, false, &made, threads);
        Ok(())
    }

    /// Makes internal-recursive nodes over internal-for-leaf ones of one leaf each: with the
    /// smallest proofs to verify that there are, more of them fit.
    fn narrow(&mut self, worker: &mut Worker, leaves: &[Vec<u8>], threads: usize) -> Result<(), BenchError> {
        let level = Level::INTERNAL_RECURSIVE;
        let nodes = &self.loaded.nodes;
        if nodes.internal_recursive == nodes.internal_recursive_over_ones {
            // The engine's nodes are all alike, and have been measured.
            return Ok(());
        }
        let fits = self.fits(level, 1);
        let most = self.loaded.children_max(level).min(leaves.len());
        let widths: Vec<usize> = (2..=most).filter(|&children| fits(children)).collect();
        let Some(&widest) = widths.last() else {
            return Ok(());
        };
        let ones = leaves[..widest].iter().map(|leaf| {
            let (proof, _) = worker.aggregate(Level::INTERNAL_FOR_LEAF, vec![leaf.clone()])?;
            Ok(proof)
        });
        let ones: Vec<Vec<u8>> = ones.collect::<Result<_, BenchError>>()?;
        // The widest once more, with keys that are loaded.
        for (cold, children) in [(true, widest)]
            .into_iter()
            .chain(widths.iter().map(|&width| (false, width)))
        {
            let below = &ones[..children];
            self.aggregate(worker, level, below, threads, true, cold)?;
        }
        Ok(())
    }

    /// Makes a level of the tree: leaves of one segment, internal-for-leaf nodes of a pair of them
    /// where that fits, and internal-recursive ones as wide as fits. It also makes one node of each
    /// other arity if `every` is set. For a quick look there are as few nodes as there can be.
    fn level(
        &mut self,
        worker: &mut Worker,
        level: Level,
        below: &[Vec<u8>],
        threads: usize,
        every: bool,
    ) -> Result<Vec<Vec<u8>>, BenchError> {
        let kind = kind_of(level);
        let fits = self.fits(level, PAIR);
        let least = if kind == Kind::InternalRecursive {
            2.min(below.len())
        } else {
            1
        };
        let most = self.loaded.children_max(level).min(below.len());
        if !fits(least) {
            return Err(BenchError::Memory {
                name: self.subject.name.clone(),
                needed: MemoryBudget::from_bytes(self.loaded.node_peak_bytes(level, least, PAIR)),
                allowed: self.options.memory,
            });
        }
        // The top node has to take all nodes that there are.
        let groups: Vec<usize> = match kind {
            Kind::InternalRecursive if fits(most) => split(below.len(), most),
            Kind::InternalRecursive => split(below.len(), least),
            _ if !self.options.every_arity => split_into(
                below.len(),
                WIDTH_MIN.min(below.len()).max(below.len().div_ceil(most)),
            ),
            Kind::InternalForLeaf if most >= PAIR && fits(PAIR) => split(below.len(), PAIR),
            _ => split(below.len(), 1),
        };
        // The first node of a kind also loads keys. Nodes that were measured only like that are
        // made again.
        let mut cold = true;
        let mut above = Vec::new();
        let mut warm = BTreeSet::new();
        let mut taken = 0;
        for &children in &groups {
            if !cold {
                warm.insert(children);
            }
            let below = &below[taken..taken + children];
            above.push(self.aggregate(worker, level, below, threads, false, mem::take(&mut cold))?);
            taken += children;
        }
        let others = 1..=most;
        let is_wanted = |children: &usize| every || *children == groups[0];
        for children in
            others.filter(|children| is_wanted(children) && !warm.contains(children) && fits(*children))
        {
            self.aggregate(worker, level, &below[..children], threads, false, false)?;
        }
        Ok(above)
    }

    fn aggregate(
        &mut self,
        worker: &mut Worker,
        level: Level,
        below: &[Vec<u8>],
        threads: usize,
        over_ones: bool,
        cold: bool,
    ) -> Result<Vec<u8>, BenchError> {
        let kind = kind_of(level);
        let over = if over_ones { " over nodes of one" } else { "" };
        let what = format!("{} of {}{over} on {}", kind.name(), below.len(), on(threads));
        self.begins(&what);
        let (proof, usage) = worker.aggregate(level, below.to_vec())?;
        let verify_s = self.verified(&what, ProofOf::Node(level), &proof)?;
        self.measured(&what, usage);
        let made = Made {
            proof,
            usage,
            cold,
            verify_s,
        };
        self.node(kind, below.len(), over_ones, &made, threads);
        Ok(made.proof)
    }

    /// Whether a child has memory for a node of this many children.
    fn fits(&self, level: Level, internal_for_leaf: usize) -> impl Fn(usize) -> bool + use<> {
        let (loaded, memory) = (self.loaded.clone(), self.options.memory.bytes());
        move |children| loaded.node_peak_bytes(level, children, internal_for_leaf) <= memory
    }
}

/// Groups of at most `most`, of nearly equal size.
fn split(count: usize, most: usize) -> Vec<usize> {
    split_into(count, count.div_ceil(most))
}

fn split_into(count: usize, groups: usize) -> Vec<usize> {
    (0..groups)
        .map(|group| (group + 1) * count / groups - group * count / groups)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_nearly_equal_and_take_all() {
        assert_eq!(split(7, 3), [2, 2, 3]);
        assert_eq!(split(3, 3), [3]);
        assert_eq!(split_into(4, 3), [1, 1, 2]);
        for count in 1..20 {
            for most in 1..5 {
                let groups = split(count, most);
                assert_eq!(groups.iter().sum::<usize>(), count);
                assert!(groups.iter().all(|&group| (1..=most).contains(&group)));
            }
        }
    }
}
