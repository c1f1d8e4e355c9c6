//! Anything may go wrong: no rule is broken, and every job gets done.

use myriad_sim::faults::{Scenario, run};

/// `cargo run --release -p myriad-sim -- --seeds A..B` runs more of them.
const SEEDS: u64 = 1000;

#[test]
fn whatever_goes_wrong_the_rules_hold_and_jobs_get_done() {
    let mut refuted = 0;
    for seed in 0..SEEDS {
        match run(&Scenario::random(seed)) {
            Ok(report) => refuted += report.refuted,
            Err(failure) => panic!(
                "seed {seed}: {failure}\nagain: cargo run --release -p myriad-sim -- --seeds {seed}..{} --log 1000",
                seed + 1
            ),
        }
    }
    assert!(
        refuted > SEEDS,
        "accepted proofs were poisoned, and found out: {refuted}"
    );
}

#[test]
fn the_same_seed_is_the_same_simulation() {
    for seed in [3, 14, 159] {
        let log = || run(&Scenario::random(seed)).unwrap().log;
        assert_eq!(log(), log(), "seed {seed}");
    }
    let of = |seed| run(&Scenario::random(seed)).unwrap().log;
    assert_ne!(of(3), of(14));
}

/// A simulation whose machines never deliver does not end, and says what is open.
#[test]
fn a_simulation_that_cannot_end_is_noticed() {
    let mut scenario = Scenario::random(1);
    scenario.classes.retain(|class| !class.habit.works());
    scenario.limit = std::time::Duration::from_secs(5000);
    let failure = run(&scenario).unwrap_err();
    assert!(failure.why.contains("jobs are not done"), "{failure}");
    assert!(!failure.log.is_empty());
}
