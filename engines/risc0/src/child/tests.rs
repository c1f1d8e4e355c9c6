//! What needs no proof: plans, boundaries, and the refusal of what is none.

use myriad_engine::{ExecuteError, PUBLIC_VALUES_BYTES_MAX, ProveError, VerifyError};
use risc0_zkvm::{ALLOWED_CONTROL_ROOT, ReceiptClaim, SegmentReceiptVerifierParameters, sha::Digestible};

use super::*;
use crate::samples;

const GIB: u64 = 1 << 30;

fn child(elf: &[u8], input: &[u8]) -> Child {
    let mut child = Child::default();
    let input = Input::from_bytes(input.to_vec()).unwrap().encode();
    child.load(elf.to_vec(), None, input).unwrap();
    child
}

fn counting(steps: u32) -> Child {
    child(&samples::elf(), &steps.to_le_bytes())
}

fn plan(child: &mut Child, bytes: u64) -> Result<Plan, Failure> {
    child.plan(MemoryBudget::from_bytes(bytes), u64::MAX, None)
}

#[test]
fn the_facts_are_those_of_this_build() {
    assert_eq!(ALLOWED_CONTROL_ROOT.to_string(), known::RISC0_CONTROL_ROOT);
    let loaded = counting(1).job.unwrap().loaded();
    assert_eq!(loaded.engine, known::risc0().id.fingerprint);
}

#[test]
fn a_plan_follows_from_the_program_its_input_and_the_memory() {
    let mut child = counting(40_000);
    let (small, large) = (
        plan(&mut child, GIB / 2).unwrap(),
        plan(&mut child, 4 * GIB).unwrap(),
    );
    assert_eq!(plan(&mut child, GIB / 2).unwrap(), small);
    assert!(small.segments.len() > large.segments.len());
    assert_eq!(small.instructions, large.instructions);
    for plan in [&small, &large] {
        assert_eq!(plan.public_values, samples::JOURNAL);
        let starts: u64 = plan.segments.iter().map(|segment| segment.num_insns).sum();
        assert_eq!(starts, plan.instructions);
        let last = plan.segments.iter().position(|segment| segment.last);
        assert_eq!(last, Some(plan.segments.len() - 1));
    }
    assert!(small.peak_bytes() <= GIB / 2);
    assert!(large.peak_bytes() <= 4 * GIB);
}

/// A program that RISC Zero's own toolchain and libraries made.
#[test]
fn a_guest_reads_its_input_and_reveals_its_journal() {
    let elf = include_bytes!("../../guests/elf/fibonacci-risc0.elf");
    let mut child = child(elf, &1000_u32.to_le_bytes());
    let plan = plan(&mut child, GIB).unwrap();
    println!("{} cycles in {} segments", plan.instructions, plan.segments.len());
    let words = plan.public_values.chunks(8).map(|word| word.try_into().unwrap());
    let words: Vec<u64> = words.map(u64::from_le_bytes).collect();
    let mut fibonacci = (0_u64, 1_u64);
    for _ in 0..1000 {
        fibonacci = (fibonacci.1, fibonacci.0.wrapping_add(fibonacci.1));
    }
    assert_eq!(words, [1000, fibonacci.0, 0, 0]);
    let boundaries = child.boundaries(&plan.segments).unwrap();
    assert_eq!(boundaries.last().unwrap().exit_code, Some(0));
    // Its panic is quoted.
    let refused = self::plan(&mut self::child(elf, b"short"), GIB).unwrap_err();
    assert!(refused.to_string().contains("it panicked: "), "{refused}");
    assert!(refused.to_string().contains("has 5 bytes"), "{refused}");
}

#[test]
fn segments_are_told_of_as_they_are_cut() {
    let mut child = counting(40_000);
    let whole = plan(&mut child, GIB / 2).unwrap();
    assert!(whole.segments.len() > 2, "{}", whole.segments.len());
    let mut told = Vec::new();
    let mut tell = |segments: &[Segment]| told.push(segments.to_vec());
    let reports = Reports {
        from: 1,
        tell: &mut tell,
    };
    let budget = MemoryBudget::from_bytes(GIB / 2);
    child.plan(budget, u64::MAX, Some(reports)).unwrap();
    assert_eq!(told[0].len(), 2, "those that were known");
    assert_eq!(told.concat(), whole.segments);
}

#[test]
fn a_plan_is_refused_with_what_it_would_take() {
    let mut child = counting(40_000);
    let too_small = plan(&mut child, GIB / 8).unwrap_err();
    assert!(
        matches!(too_small, Failure::Execute(ExecuteError::BudgetTooSmall { needed, .. }) if needed > GIB / 8),
        "{too_small}"
    );
    let too_long = child.plan(MemoryBudget::from_bytes(GIB), 1000, None).unwrap_err();
    assert!(
        matches!(too_long, Failure::Execute(ExecuteError::TooLong { max: 1000, actual, .. }) if actual >= 1000),
        "{too_long}"
    );
}

/// An execution that takes more memory than its plan says ends: here, that of the pages that the
/// program touches, one at each step.
#[test]
fn memory_that_a_program_touches_is_bounded_by_the_plan() {
    const PAGES: u64 = 300;
    let mut child = child(&samples::touching(), &(PAGES as u32).to_le_bytes());
    let segments = plan(&mut child, GIB / 2).unwrap().segments;
    let last = segments.len() - 1;
    assert!(last > 0);
    let held = child.job().unwrap().held_bytes();
    let mut small = segments.clone();
    // Of each, the process holds more than itself.
    small[last].peak_bytes = memory::segment_bytes(0) + held + PAGES * 2048;
    let reason = child.boundaries(&small).unwrap_err().to_string();
    assert!(reason.contains("the plan says"), "{reason}");
    let reason = child.prove(&small[last]).unwrap_err().to_string();
    assert!(reason.contains("the plan says"), "{reason}");
    assert!(child.boundaries(&segments).is_ok());
}

#[test]
fn programs_that_have_no_receipt_are_refused() {
    let failed = plan(&mut child(&samples::ending(3), b""), GIB).unwrap_err();
    let expected = ExecuteError::Failed {
        code: 3,
        output: String::new(),
    };
    assert_eq!(failed, Failure::Execute(expected));
    let longest = PUBLIC_VALUES_BYTES_MAX as u32;
    let wordy = plan(&mut child(&samples::revealing(longest + 1), b""), GIB).unwrap_err();
    assert!(wordy.to_string().contains("reveals 65537 bytes"), "{wordy}");
    // What it has written is not what it commits to.
    let other = plan(&mut child(&samples::revealing(1), b""), GIB).unwrap_err();
    assert!(other.to_string().contains("commits to"), "{other}");
}

#[test]
fn boundaries_begin_with_the_program_and_meet() {
    let mut child = counting(40_000);
    let segments = plan(&mut child, GIB / 2).unwrap().segments;
    let all = child.boundaries(&segments).unwrap();
    child.statement().unwrap().check_start(&all[0]).unwrap();
    for pair in all.windows(2) {
        pair[0].check_next(&pair[1]).unwrap();
    }
    assert_eq!(all.last().unwrap().exit_code, Some(0));
    // In two parts, the second of which goes on from the first.
    let (first, rest) = segments.split_at(2);
    let mut parts = child.boundaries(first).unwrap();
    parts.extend(child.boundaries(rest).unwrap());
    assert_eq!(parts, all);
    // Of another input, which only takes longer.
    let other = counting(40_001).boundaries(&segments).unwrap_err();
    assert!(
        matches!(other, Failure::Prove(ProveError::Mismatch { .. })),
        "{other}"
    );
}

#[test]
fn a_segment_of_another_plan_is_not_proven() {
    let mut child = counting(40_000);
    let segments = plan(&mut child, GIB / 2).unwrap().segments;
    let refused = |child: &mut Child, change: &dyn Fn(&mut Segment)| {
        let mut segment = segments[1].clone();
        change(&mut segment);
        match child.prove(&segment) {
            Err(Failure::Prove(ProveError::Mismatch { reason, .. })) => reason,
            other => panic!("{other:?}"),
        }
    };
    for (text, change) in [
        (
            "(start, cycles",
            &(|s: &mut Segment| s.instret_start += 1) as &dyn Fn(&mut Segment),
        ),
        ("(start, cycles", &|s| s.num_insns -= 1),
        ("(start, cycles", &|s| s.last = true),
        ("(start, cycles", &|s| s.details = vec![16, 16]),
        ("details", &|s| s.details = vec![23, 23]),
        ("details", &|s| s.details = Vec::new()),
        ("the execution has", &|s| s.index = 1000),
    ] {
        let reason = refused(&mut child, change);
        assert!(reason.contains(text), "{reason}");
    }
}

#[test]
fn the_engine_names_the_requests_that_it_does_not_serve() {
    let mut child = Child::default();
    assert_eq!(child.statement().unwrap_err(), Failure::NothingLoaded);
    assert!(matches!(child.make_keys(Some("text")), Err(Failure::Config(_))));
    assert!(child.make_keys(None).is_ok());
    let input = Input::default().encode();
    let configured = child.load(samples::elf(), Some("text"), input.clone());
    assert!(matches!(configured, Err(Failure::Config(_))));
    assert!(matches!(
        child.load(b"no program".to_vec(), None, input),
        Err(Failure::Program(_))
    ));
    assert!(matches!(counting(1).account(1), Err(Failure::Program(_))));
    counting(40_000).execute(1000).unwrap();
}

/// A segment's receipt whose seal is of this many words, all alike but for those that are looked at
/// first.
fn receipt(words: usize, rows: u32) -> Vec<u8> {
    let mut seal = vec![7_u32; words];
    for (at, word) in [(0, 2), (91, rows)] {
        if let Some(place) = seal.get_mut(at) {
            *place = word;
        }
    }
    let parameters = SegmentReceiptVerifierParameters::default().digest();
    let claim = ReceiptClaim::ok(ALLOWED_CONTROL_ROOT, samples::JOURNAL.to_vec());
    let receipt = (seal, 0_u32, "poseidon2", parameters, claim);
    bincode::serialize(&receipt).unwrap()
}

fn of_segment(child: &mut Child, proof: &[u8]) -> VerifyError {
    let of = ProofOf::Segment {
        public_values: Some(samples::JOURNAL.to_vec()),
    };
    match child.verify(&of, proof) {
        Err(Failure::Verify(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_that_are_no_segment_proof_are_refused() {
    let mut child = counting(1);
    let mut refused = |proof: &[u8]| of_segment(&mut child, proof);
    let whole = receipt(50_000, 16);
    assert!(matches!(refused(&whole), VerifyError::Invalid { .. }));
    for length in [0, 1, 8, 100, whole.len() - 1] {
        assert!(
            matches!(refused(&whole[..length]), VerifyError::Malformed { .. }),
            "{length}"
        );
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(matches!(refused(&longer), VerifyError::Malformed { .. }));
    // More words than there are bytes for.
    let mut announced = whole.clone();
    announced[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(refused(&announced), VerifyError::Malformed { .. }));
    assert!(matches!(refused(&vec![0; 1 << 20]), VerifyError::TooLarge { .. }));
    assert!(matches!(refused(&receipt(91, 16)), VerifyError::Malformed { .. }));
    assert!(matches!(refused(&receipt(92, 16)), VerifyError::Invalid { .. }));
    for rows in [0, 13, 23, u32::MAX] {
        assert!(
            matches!(refused(&receipt(50_000, rows)), VerifyError::Unusable { .. }),
            "{rows}"
        );
    }
    assert!(matches!(refused(&receipt(0, 16)), VerifyError::Version { .. }));
}

#[test]
fn bytes_that_are_no_node_and_no_receipt_are_refused() {
    let mut child = counting(1);
    let mut refused = |of: ProofOf, proof: &[u8]| match child.verify(&of, proof) {
        Err(Failure::Verify(error)) => error,
        other => panic!("{other:?}"),
    };
    let node = || ProofOf::Node(Level::LEAF);
    assert!(matches!(refused(node(), b""), VerifyError::Malformed { .. }));
    assert!(matches!(refused(node(), b"\x02"), VerifyError::OtherKeys { .. }));
    assert!(matches!(
        refused(node(), &[1; 100]),
        VerifyError::Malformed { .. }
    ));
    assert!(matches!(
        refused(node(), &[1; 1 << 20]),
        VerifyError::TooLarge { .. }
    ));
    let last = || ProofOf::Final { public_values: None };
    // A composite receipt, of which others may be parts, and a fake one.
    for kind in [0, 3] {
        let error = refused(last(), &[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert!(error.to_string().contains("succinct"), "{error}");
    }
    for bytes in [
        &b""[..],
        b"\x01\0\0\0",
        &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert!(
            matches!(refused(last(), bytes), VerifyError::Malformed { .. }),
            "{bytes:?}"
        );
    }
}

#[test]
fn nodes_are_made_of_as_many_children_as_they_take() {
    let mut child = counting(1);
    for (level, children) in [(1, 0), (1, 2), (2, 0), (2, 3)] {
        let level = Level::new(level).unwrap();
        let refused = child.aggregate(level, &vec![Vec::new(); children]);
        assert!(
            matches!(refused, Err(Failure::Aggregate(AggregateError::Arity { .. }))),
            "{level}: {refused:?}"
        );
    }
    let one = child.aggregate(Level::LEAF, &[receipt(50_000, 16)]);
    assert!(
        matches!(
            one,
            Err(Failure::Aggregate(AggregateError::Child { child: 0, .. }))
        ),
        "{one:?}"
    );
}
