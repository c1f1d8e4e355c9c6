//! The list schedule beside the state machine that it stands for. The same tasks, given out by
//! [`Requester`] to children that share cores, end when the schedule says. The choice passes over
//! no tree that the state machine would finish sooner.

use std::{collections::HashMap, time::Duration};

use myriad_core::{
    Arities, Blob, Cost, Input, JobId, JobSpec, Offer, Output, Peer, Policy, Redundancy, Requester,
    SPEED_ONE, TaskId, TaskRef, Time, Tree, Trust, Verdict,
};
use myriad_cost::{
    job::{Hands, candidates, choose},
    model::{Below, Load, ProgramModel},
    profile::Vm,
    reference,
    trees::{arities_up_to, shape},
};

const HANDS: [Hands; 8] = [
    hands(1, 1, 1),
    hands(2, 1, 2),
    hands(2, 2, 2),
    hands(3, 2, 4),
    hands(4, 3, 8),
    hands(7, 7, 7),
    hands(16, 2, 32),
    hands(100, 1, 100),
];

const fn hands(children: usize, threads: usize, cores: usize) -> Hands {
    Hands {
        children,
        threads,
        cores,
    }
}

fn program(vm: Vm) -> &'static ProgramModel {
    reference::model().of(vm).unwrap()
}

/// Segments of the size that a budget gives, the last one short, and some harder than others; or
/// all alike.
fn segments(program: &ProgramModel, count: usize, differ: bool) -> Vec<Load> {
    let mean = program.load(program.instructions_for(2 << 30).unwrap());
    let mut state = count as u64;
    let mut part = |index: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let noise = 0.8 + 0.4 * (state >> 40) as f64 / (1u64 << 24) as f64;
        match differ {
            false => 1.0,
            true if index + 1 == count => 0.4 * noise,
            true => noise,
        }
    };
    (0..count)
        .map(|index| {
            let part = part(index);
            Load {
                cells: mean.cells * part,
                interactions: mean.interactions * part,
            }
        })
        .collect()
}

/// Seconds of a core for each task, in the order of [`Tree::tasks`].
fn works(program: &ProgramModel, segments: &[Load], tree: &Tree, arities: Arities) -> Vec<f64> {
    let below = Below::of(arities.internal_for_leaf);
    tree.tasks()
        .map(|task| match task {
            TaskId::Segment(index) => program.segment(segments[index as usize], 1).cpu_s,
            _ => {
                let (kind, children) = shape(tree, task);
                program.node(kind, children, below, 1).unwrap().cpu_s
            }
        })
        .collect()
}

/// Seconds until the final proof when children do the tasks that the state machine gives them, and
/// share the cores evenly meanwhile.
fn makespan_s(tree: &Tree, works: &[f64], hands: Hands) -> f64 {
    let work: HashMap<TaskId, f64> = tree.tasks().zip(works.iter().copied()).collect();
    let mut requester = Requester::new(Policy {
        redundancy: Redundancy::Fixed(1),
        look_ahead: false,
        ..Policy::default()
    });
    let cost = |work: &f64| Cost {
        work: Duration::from_secs_f64(*work),
        memory: 0,
    };
    let spec = JobSpec {
        id: JobId([0; 32]),
        tree: tree.clone(),
        costs: works.iter().map(cost).collect(),
        priority: 0,
        deadline: None,
        own_final: false,
        leased: Vec::new(),
        done: Vec::new(),
    };
    let offer = |peer| Input::Offer {
        peer,
        offer: Offer {
            memory: u64::MAX,
            speed: SPEED_ONE,
            trust: Trust::Own,
            origin: None,
        },
    };
    let mut inputs = vec![Input::Open(Box::new(spec))];
    inputs.extend((0..hands.children).map(|child| offer(Peer([child as u8; 32]))));
    let (mut elapsed, mut running) = (0.0, Vec::<(f64, Peer, TaskRef)>::new());
    loop {
        let now = Time::default() + Duration::from_secs_f64(elapsed);
        for input in inputs.drain(..) {
            requester.handle_input(now, input);
        }
        while let Some(output) = requester.poll_output() {
            match output {
                Output::Lease { peer, task, .. } => running.push((work[&task.task], peer, task)),
                Output::Wake { peer } => inputs.push(offer(peer)),
                _ => {}
            }
        }
        if !inputs.is_empty() {
            continue;
        }
        let first = (0..running.len()).min_by(|&a, &b| running[a].0.total_cmp(&running[b].0));
        let Some(first) = first else {
            return elapsed;
        };
        let rate = (hands.cores as f64 / running.len() as f64).min(hands.threads as f64);
        let (least, peer, task) = running.remove(first);
        running.iter_mut().for_each(|(left, ..)| *left -= least);
        elapsed += least / rate;
        let proof = Blob([0; 32]);
        inputs.extend([
            Input::Submitted { peer, task, proof },
            Input::Checked {
                peer,
                task,
                proof,
                verdict: Verdict::Accepted,
            },
            Input::Persisted { task, proof },
            offer(peer),
        ]);
    }
}

/// The differences, as parts, of the schedule of any tree, and of the chosen tree, from the state
/// machine's result.
fn differences(differ: bool) -> (f64, f64) {
    let (mut schedules, mut choices) = (0.0f64, 0.0f64);
    for vm in [Vm::Plain, Vm::Extended] {
        let program = program(vm);
        let all = arities_up_to(4, &[3, 3, 3]);
        for count in [1, 2, 3, 5, 9, 16, 17, 40, 61] {
            let segments = segments(program, count, differ);
            for hands in HANDS {
                let mut least_s = f64::INFINITY;
                let mut of_chosen_s = f64::INFINITY;
                let (chosen, chosen_for) = choose(program, &segments, &all, hands).unwrap();
                for candidate in candidates(program, &segments, &all, hands) {
                    let works = works(program, &segments, &candidate.tree, candidate.arities);
                    let machine_s = makespan_s(&candidate.tree, &works, hands);
                    let scheduled_s = candidate.times.schedule(&candidate.tree).end_us as f64 / 1e6;
                    assert!(
                        candidate.earliest_us as f64 <= 1e6 * machine_s + 100.0,
                        "{vm:?} {count} {hands:?} {:?}",
                        candidate.arities
                    );
                    schedules = schedules.max((scheduled_s / machine_s - 1.0).abs());
                    least_s = least_s.min(machine_s);
                    if candidate.arities == chosen {
                        assert!((chosen_for.as_secs_f64() - scheduled_s).abs() < 1e-9);
                        of_chosen_s = machine_s;
                    }
                }
                choices = choices.max(of_chosen_s / least_s - 1.0);
            }
        }
    }
    (schedules, choices)
}

#[test]
fn a_schedule_ends_when_the_state_machine_does_and_the_tree_is_the_best() {
    // Many segments that are alike end at the same moment.
    for differ in [true, false] {
        let (schedules, choices) = differences(differ);
        assert!(schedules < 1e-5 && choices < 1e-5, "{schedules} {choices}");
    }
}
