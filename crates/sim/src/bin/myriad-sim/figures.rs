//! The tables of `docs/SIMULATION.md`: the costs and gains of redundancy.

use std::time::Duration;

use clap::ValueEnum;
use myriad_core::{Arities, Redundancy};
use myriad_sim::{
    Habit,
    faults::{
        Report, Scenario, heft, run,
        scenario::{Class, Faults, GIB, Job},
    },
};

const ARITIES: Arities = Arities {
    leaf: 2,
    internal_for_leaf: 2,
    internal_recursive: 3,
};
const SEEDS: u64 = 5;

fn scenario(seed: u64, segments: u32, classes: Vec<Class>, redundancy: Redundancy) -> Scenario {
    Scenario {
        seed,
        redundancy,
        look_ahead: true,
        jobs: vec![Job {
            growth: None,
            segments,
            arities: ARITIES,
            priority: 0,
            opened: Duration::ZERO,
        }],
        classes,
        faults: Faults::NONE,
        limit: Duration::from_secs(100_000),
        settle_every: u32::MAX,
        lines_kept: 0,
    }
}

/// Means over several seeds.
struct Mean {
    makespan_s: f64,
    /// Work of honest machines beyond the accepted work, as a part of that.
    extra: f64,
    leases: f64,
}

fn mean(scenario: impl Fn(u64) -> Scenario) -> Mean {
    let reports: Vec<Report> = (0..SEEDS)
        .map(|seed| run(&scenario(seed)).unwrap_or_else(|failure| panic!("seed {seed}: {failure}")))
        .collect();
    let mean = |of: &dyn Fn(&Report) -> f64| reports.iter().map(of).sum::<f64>() / SEEDS as f64;
    Mean {
        makespan_s: mean(&|report| report.makespan.as_secs_f64()),
        extra: mean(&|report| report.worked.as_secs_f64() / report.accepted.as_secs_f64() - 1.0),
        leases: mean(&|report| report.leases as f64),
    }
}

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// Four of five peers waste time
    Wasters,
    /// One attacker has 10,000 identities
    Crowd,
    /// Nobody lies, but machines differ
    Unlike,
}

/// Prints these tables, or all.
pub fn print(tables: &[Table]) {
    let all = [Table::Wasters, Table::Crowd, Table::Unlike];
    for table in if tables.is_empty() { &all } else { tables } {
        match table {
            Table::Wasters => wasters(),
            Table::Crowd => crowd(),
            Table::Unlike => unlike(),
        }
    }
}

/// Four of five peers waste time: how much longer does it take than with the honest fifth alone?
fn wasters() {
    println!("| peers | segments | wasters | policy | s | honest alone s | ratio | leases |");
    println!("|---|---|---|---|---|---|---|---|");
    let kinds: [(&str, &[Habit]); 3] = [
        ("silent", &[Habit::Silent]),
        ("pretending", &[Habit::Pretends]),
        ("of all kinds", &Habit::HOSTILE),
    ];
    for peers in [840, 10_000] {
        // Five for each segment.
        let segments = peers as u32 / 5;
        let alone = mean(|seed| {
            let classes = vec![Class::honest(peers / 5)];
            scenario(seed, segments, classes, Redundancy::Fixed(1))
        });
        for (name, habits) in kinds {
            for redundancy in [Redundancy::default(), Redundancy::Fixed(5)] {
                let with = mean(|seed| {
                    let mut classes = vec![Class::honest(peers / 5)];
                    let each = peers * 4 / 5 / habits.len();
                    classes.extend(habits.iter().map(|&habit| Class {
                        habit,
                        ..Class::honest(each)
                    }));
                    scenario(seed, segments, classes, redundancy)
                });
                println!(
                    "| {peers} | {segments} | {name} | {} | {:.0} | {:.0} | {:.2} | {:.0} |",
                    policy(redundancy),
                    with.makespan_s,
                    alone.makespan_s,
                    with.makespan_s / alone.makespan_s,
                    with.leases,
                );
            }
        }
    }
    println!();
}

/// One attacker with 10,000 identities against a few honest machines.
fn crowd() {
    println!(
        "| honest | known from earlier jobs | identities | networks of the attacker | s | honest alone s | ratio |"
    );
    println!("|---|---|---|---|---|---|---|");
    const HONEST: usize = 50;
    const IDENTITIES: usize = 10_000;
    for known in [true, false] {
        for networks in [40, IDENTITIES] {
            let honest = Class {
                known,
                ..Class::honest(HONEST)
            };
            let alone = mean(|seed| scenario(seed, 100, vec![honest.clone()], Redundancy::default()));
            let with = mean(|seed| {
                let attacker = Class {
                    habit: Habit::Silent,
                    per_origin: Some((IDENTITIES / networks) as u64),
                    ..Class::honest(IDENTITIES)
                };
                scenario(seed, 100, vec![honest.clone(), attacker], Redundancy::default())
            });
            println!(
                "| {HONEST} | {} | {IDENTITIES} | {networks} | {:.0} | {:.0} | {:.2} |",
                if known { "yes" } else { "no" },
                with.makespan_s,
                alone.makespan_s,
                with.makespan_s / alone.makespan_s,
            );
        }
    }
    println!();
}

/// Nobody lies, but machines differ.
fn unlike() {
    println!("| peers | segments | policy | looks ahead | s | HEFT s | ratio | bound s | extra work |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let policies = [
        (Redundancy::default(), true),
        (Redundancy::default(), false),
        (Redundancy::Fixed(1), true),
        (Redundancy::Fixed(1), false),
        (Redundancy::Fixed(2), false),
    ];
    for (peers, segments) in [(100, 50), (100, 200), (100, 1000), (1000, 2000)] {
        let classes = vec![
            Class {
                speed: 1500..2500,
                memory: 8 * GIB,
                ..Class::honest(peers / 4)
            },
            Class {
                speed: 800..1200,
                ..Class::honest(peers / 2)
            },
            Class {
                speed: 400..700,
                ..Class::honest(peers / 4)
            },
        ];
        let of = |seed, redundancy| scenario(seed, segments, classes.clone(), redundancy);
        let job = of(0, Redundancy::Fixed(1)).jobs[0];
        let capacity = peers as f64 / 4.0 * (2.0 + 2.0 * 1.0 + 0.55);
        // The longest path at the speed of the fastest machines.
        let bound = (job.work().as_secs_f64() / capacity).max(job.critical_path().as_secs_f64() / 2.5);
        let heft = (0..SEEDS).map(|seed| heft::makespan(&of(seed, Redundancy::Fixed(1))));
        let heft = heft.sum::<Duration>().as_secs_f64() / SEEDS as f64;
        for (redundancy, look_ahead) in policies {
            let with = mean(|seed| Scenario {
                look_ahead,
                ..of(seed, redundancy)
            });
            println!(
                "| {peers} | {segments} | {} | {} | {:.0} | {heft:.0} | {:.2} | {bound:.0} | {:.0} % |",
                policy(redundancy),
                if look_ahead { "yes" } else { "no" },
                with.makespan_s,
                with.makespan_s / heft,
                100.0 * with.extra,
            );
        }
    }
    println!();
}

fn policy(redundancy: Redundancy) -> String {
    match redundancy {
        Redundancy::Adaptive(_) => "Adaptive".into(),
        Redundancy::Fixed(copies) => format!("Fixed({copies})"),
    }
}
