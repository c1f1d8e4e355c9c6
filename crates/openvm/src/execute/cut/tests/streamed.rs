//! Executions whose segments are reported as they are cut.

use std::cell::Cell;

use super::*;

fn peaks(segments: &[Segment]) -> Vec<u64> {
    segments.iter().map(|segment| segment.peak_bytes).collect()
}

/// What was told of is the plan, in a long execution; in a short one nothing is told, and the plan
/// is the one that it would be without.
#[test]
fn segments_that_were_told_of_stay_as_they_are() {
    let (mut long, mut again) = (0, 0);
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let execution = Execution::random(&mut random);
        let budget = execution.least + 1 + random.below(1500);
        let within = budget - budget / MARGIN_SHARE;
        let from = random.below(12) as usize;
        let possible = execution.least <= within && execution.fitting(execution.least, within).is_some();
        let (mut told, mut runs) = (Vec::new(), 0);
        let reports = Reports {
            from,
            tell: &mut |segments| told.extend(peaks(segments)),
        };
        let limits = limits(budget, execution.least, ALL);
        let result = super::super::within(limits, Some(reports), |sums, max, seen| {
            runs += 1;
            Ok(execution.run_for(sums, max, seen))
        });
        assert!(runs <= 2 * RUNS_MAX, "seed {seed}: {runs} executions");
        let result = result.unwrap();
        if told.is_empty() {
            let (without, _) = cut(&execution, budget, ALL);
            let of = |cut: &Result<Plan, Refusal>| cut.as_ref().ok().map(|plan| peaks(&plan.segments));
            assert_eq!(of(&result), of(&without), "seed {seed}");
            continue;
        }
        long += 1;
        again += u32::from(runs > LOOKS_MAX + 1);
        assert!(told.len() > from, "seed {seed}");
        assert!(told.iter().all(|peak| *peak <= within), "seed {seed}");
        match result {
            Ok(plan) => assert_eq!(peaks(&plan.segments), told, "seed {seed}"),
            Err(refusal) => assert!(!possible, "seed {seed}: {refusal:?}"),
        }
    }
    assert!(long > 1000 && again > 100, "{long} long ones, {again} cut again");
}

#[test]
fn no_more_segments_are_told_of_than_a_plan_may_have() {
    const MAX: usize = LOOK_SEGMENTS + 2;
    let mut told = 0;
    let reports = Reports {
        from: 2,
        tell: &mut |segments| told += segments.len(),
    };
    let run = |sums: &[(usize, u64)], max: usize, seen: Seen<'_>| {
        let segments = vec![sums[0].1; max];
        let plan = plan(&segments);
        plan.segments.iter().all(seen);
        Ok(Segmented { plan, whole: false })
    };
    let refused = super::super::within(limits(10_000, 0, MAX), Some(reports), run).unwrap();
    assert_eq!((refused.unwrap_err(), told), (Refusal::Segments, MAX));
}

#[test]
fn what_does_not_fit_after_others_were_told_of_is_cut_for_less_from_there_on() {
    let (mut told, mut asked) = (Vec::new(), Vec::new());
    let reports = Reports {
        from: 2,
        tell: &mut |segments| told.push(peaks(segments)),
    };
    // The last segment takes 100 more than it is cut for.
    let run = |sums: &[(usize, u64)], max: usize, seen: &mut dyn FnMut(&Segment) -> bool| {
        asked.push((sums.to_vec(), max));
        let mut segments = Vec::new();
        for place in 0..LOOK_SEGMENTS + 4 {
            let (_, bytes) = *sums.iter().rfind(|(from, _)| *from <= place).unwrap();
            let excess = if place == 4 + LOOK_SEGMENTS - 1 { 100 } else { 0 };
            segments.push(bytes + excess);
            let is_last = segments.len() == max;
            if !seen(&plan(&segments[place..]).segments[0]) || is_last {
                break;
            }
        }
        let whole = segments.len() == LOOK_SEGMENTS + 4;
        let plan = plan(&segments);
        Ok(Segmented { plan, whole })
    };
    let cut = super::super::within(limits(10_000, 0, ALL), Some(reports), run)
        .unwrap()
        .unwrap();
    let last = LOOK_SEGMENTS + 3;
    assert_eq!(asked[0], (vec![(0, WITHIN)], LOOK_SEGMENTS));
    assert_eq!(
        asked[1..],
        [
            (vec![(0, WITHIN)], ALL),
            (vec![(0, WITHIN), (last, WITHIN - 100)], ALL)
        ]
    );
    let expected: Vec<u64> = vec![WITHIN; last + 1];
    assert_eq!(peaks(&cut.segments), expected);
    assert_eq!(told.concat(), expected);
    assert_eq!(told[0].len(), 3, "once there are more than two");
    assert!(told[1..].iter().all(|segments| segments.len() == 1));
}

/// Nobody can begin with a segment that was not told of, and a long execution may take hours.
#[test]
fn a_long_execution_of_whose_first_segments_one_does_not_fit_begins_anew() {
    const FROM: usize = 2 * LOOK_SEGMENTS;
    const COUNT: usize = 50;
    // One that was looked at, and the first one that was not.
    for misfit in [1, LOOK_SEGMENTS] {
        let (executed, untold) = (Cell::new(0), Cell::new(None));
        let mut told = Vec::new();
        let reports = Reports {
            from: FROM,
            tell: &mut |segments| {
                untold.set(untold.get().or(Some(executed.get())));
                told.extend(peaks(segments));
            },
        };
        let run = |sums: &[(usize, u64)], max: usize, seen: &mut dyn FnMut(&Segment) -> bool| {
            let (_, bytes) = sums[0];
            let mut segments = Vec::new();
            for place in 0..COUNT.min(max) {
                executed.set(executed.get() + 1);
                let is_too_large = place == misfit && bytes == WITHIN && max != LOOK_SEGMENTS;
                segments.push(bytes + if is_too_large { 10 } else { 0 });
                if !seen(&plan(&segments[place..]).segments[0]) {
                    break;
                }
            }
            let whole = segments.len() == COUNT;
            let plan = plan(&segments);
            Ok(Segmented { plan, whole })
        };
        let cut = super::super::within(limits(10_000, 0, ALL), Some(reports), run);
        let expected = vec![WITHIN - 10; COUNT];
        assert_eq!(peaks(&cut.unwrap().unwrap().segments), expected);
        assert_eq!(told, expected);
        assert_eq!(untold.get(), Some(LOOK_SEGMENTS + 2 * (FROM + 1)));
    }
}
