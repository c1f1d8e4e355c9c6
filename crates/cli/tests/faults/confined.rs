//! The engine child of the binary, while it proves and verifies: the rights that it has given up,
//! as seen from outside. The engine tests, as `confined`, what a confined process can still do.

use std::fs;

use myriad_engine::{Input, MemoryBudget, ProofOf, worker::can_confine};

use crate::{guest, peer::engine};

/// Why this cannot be tested here, if it cannot.
pub fn possible() -> Result<(), String> {
    can_confine().map_err(|missing| format!("this kernel confines no process: {missing}"))
}

pub fn engine_children_prove_and_verify_confined() {
    let image = fs::read(guest("fibonacci")).unwrap();
    let input = Input::from_bytes(1000u32.to_le_bytes().to_vec()).unwrap();
    let [mut prover, mut verifier] = [engine(), engine()];
    prover.load(image.clone(), None, input).unwrap();
    verifier.load(image, None, Input::default()).unwrap();
    let (plan, _) = prover.plan(MemoryBudget::from_bytes(2 << 30), 1_000_000).unwrap();
    let (proof, _) = prover.prove(&plan.segments[0]).unwrap();
    verifier.prepare_verifier().unwrap();
    let last = ProofOf::Segment {
        public_values: Some(plan.public_values),
    };
    verifier.verify(last, proof).unwrap();
    for child in [&prover, &verifier] {
        is_confined(child.pid());
    }
}

#[track_caller]
fn is_confined(pid: u32) {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let status = read("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {status}"))
            .trim()
            .to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    // 2 is a filter.
    assert_eq!(field("Seccomp:"), "2");
    let limits = read("limits");
    for limit in ["Max core file size", "Max file size"] {
        let line = limits.lines().find_map(|line| line.strip_prefix(limit)).unwrap();
        assert_eq!(line.split_whitespace().next(), Some("0"), "{limit}");
    }
    // Its threads, too: a thread inherits the confinement of files from the one that starts it.
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
    }
    let variables = read("environ");
    let of_caller = variables
        .split('\0')
        .filter(|variable| variable.starts_with("HOME="));
    assert_eq!(of_caller.count(), 0, "{variables}");
}
