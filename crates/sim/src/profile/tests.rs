use serde_json::{Value, json};

use super::*;

/// A machine that follows simple laws exactly, so that what a model makes of it can be told beforehand.
///
/// A segment takes 0.5 GiB, 20 bytes a cell and 160 a leaf of its tree; 1 s and 0.4 s for a million cells on one thread, of
/// which a fifth does not get faster with threads. A node takes 10 s and 5 for each child.
pub(crate) fn lawful() -> Profile {
    let measured = |work: f64, threads: u32, cold: bool, peak_bytes: u64| Measured {
        threads,
        cold,
        // Rounded, so that it is the same after it was written and read.
        wall_s: ((work * (0.2 + 0.8 / f64::from(threads)) + if cold { 2.0 } else { 0.0 }) * 1e6).round()
            / 1e6,
        cpu_s: work,
        waited_s: 0.0,
        peak_bytes,
        proof_bytes: 500_000,
        verify_s: 0.02,
    };
    let mut cuts = Vec::new();
    let mut segments = Vec::new();
    for step in 1..=6u64 {
        let instructions = 100_000 * step;
        let (cells, interactions) = (50 * instructions, 24 * instructions);
        let peak_bytes = (1 << 29) + 20 * cells + 160 * interactions;
        let budget_bytes = peak_bytes + (1 << 20);
        cuts.push(Cut {
            budget_bytes,
            segments: 10,
            instructions: instructions as f64,
            cells: cells as f64,
            interactions: interactions as f64,
            peak_bytes,
        });
        for (threads, cold) in [(1, false), (2, false), (2, true)] {
            segments.push(SegmentSample {
                budget_bytes,
                instructions_before: 0,
                instructions,
                cells,
                interactions,
                measured: measured(1.0 + 0.4e-6 * cells as f64, threads, cold, peak_bytes),
            });
        }
    }
    let mut nodes = Vec::new();
    for (stage, most) in [
        (Kind::Leaf, 4),
        (Kind::InternalForLeaf, 3),
        (Kind::InternalRecursive, 3),
        (Kind::Final, 1),
    ] {
        for children in 1..=most {
            for threads in [1, 2] {
                let peak_bytes = u64::from(1 + children) << 30;
                nodes.push(NodeSample {
                    stage,
                    children,
                    over_ones: false,
                    measured: measured(10.0 + 5.0 * f64::from(children), threads, false, peak_bytes),
                });
            }
        }
    }
    Profile {
        version: PROFILE_VERSION,
        name: "lawful".into(),
        build: "test".into(),
        engine: "ab".repeat(32),
        machine: Machine {
            cpu: "none".into(),
            cores: 2,
            memory_bytes: 16 << 30,
            system: "test".into(),
        },
        hash_bytes_per_s: 1e9,
        disk: Disk {
            write_bytes_per_s: 1e9,
            read_bytes_per_s: 1e9,
        },
        programs: vec![Program {
            name: "law".into(),
            vm: Vm::Plain,
            execute_instructions_per_s: 1e8,
            meter_instructions_per_s: 5e7,
            boundary_s: 0.1,
            cuts,
            segments,
            nodes,
        }],
    }
}

/// The same with nothing that takes time but the tasks: of machines that have done one of each kind before, and of proofs
/// that are verified in no time.
pub(crate) fn timeless() -> Profile {
    let mut profile = lawful();
    let program = &mut profile.programs[0];
    program.segments.retain(|segment| !segment.measured.cold);
    let segments = program.segments.iter_mut().map(|segment| &mut segment.measured);
    for measured in segments.chain(program.nodes.iter_mut().map(|node| &mut node.measured)) {
        measured.verify_s = 1e-9;
    }
    program.boundary_s = 1e-9;
    program.execute_instructions_per_s = 1e15;
    program.meter_instructions_per_s = 1e15;
    profile
}

fn altered(alter: impl FnOnce(&mut Value)) -> Result<Profile, ProfileError> {
    let mut value: Value = serde_json::from_str(&lawful().to_json()).unwrap();
    alter(&mut value);
    Profile::parse(value.to_string().as_bytes())
}

fn refusal(alter: impl FnOnce(&mut Value)) -> String {
    altered(alter).unwrap_err().to_string()
}

#[test]
fn a_profile_is_read_as_it_was_written() {
    let read = Profile::parse(lawful().to_json().as_bytes()).unwrap();
    assert!(read == lawful(), "{}", read.to_json());
}

#[test]
fn another_version_is_named_before_anything_else() {
    let text = refusal(|v| {
        v["version"] = json!(2);
        v["from_the_future"] = json!(true);
    });
    assert!(text.contains("version 2") && text.contains("reads 1"), "{text}");
}

#[test]
fn keys_that_nobody_knows_are_named() {
    for pointer in [
        "",
        "/machine",
        "/disk",
        "/programs/0",
        "/programs/0/cuts/0",
        "/programs/0/segments/0",
        "/programs/0/nodes/0/measured",
    ] {
        let text = refusal(|v| v.pointer_mut(pointer).unwrap()["warp"] = json!(9));
        assert!(text.contains("`warp`"), "{pointer}: {text}");
    }
}

#[test]
fn absurd_numbers_are_named_with_what_is_allowed() {
    for (pointer, value, said) in [
        ("/machine/cores", json!(0), "machine.cores is 0"),
        ("/machine/memory_bytes", json!(u64::MAX), "machine.memory_bytes"),
        ("/hash_bytes_per_s", json!(0.0), "hash_bytes_per_s is 0"),
        (
            "/programs/0/boundary_s",
            json!(-1.0),
            "programs[0].boundary_s is -1",
        ),
        (
            "/programs/0/segments/1/measured/wall_s",
            json!(1e9),
            "programs[0].segments[1].measured.wall_s is 1000000000",
        ),
        (
            "/programs/0/segments/0/cells",
            json!(0),
            "programs[0].segments[0].cells is 0",
        ),
        (
            "/programs/0/nodes/2/children",
            json!(65),
            "programs[0].nodes[2].children is 65",
        ),
        (
            "/programs/0/cuts/1/budget_bytes",
            json!(1),
            "more than that of the cut before",
        ),
        ("/engine", json!("xyz"), "64 digits of hex"),
        ("/name", json!("a\u{1b}[2Jb"), "without control characters"),
        ("/programs/0/nodes/0/stage", json!("segment"), "there is no stage"),
        ("/programs/0/cuts", json!([]), "programs[0].cuts is empty"),
        ("/programs", json!([]), "programs is empty"),
    ] {
        let text = refusal(|v| *v.pointer_mut(pointer).unwrap() = value);
        assert!(text.contains(said), "{pointer}: {text}");
    }
}

#[test]
fn bytes_that_are_no_profile_are_errors() {
    for bytes in [&b""[..], b"{", b"[]", b"{\"version\":\"one\"}", b"\xff"] {
        assert!(matches!(Profile::parse(bytes), Err(ProfileError::Syntax(_))));
    }
    let long = vec![b' '; PROFILE_BYTES_MAX as usize + 1];
    assert!(matches!(Profile::parse(&long), Err(ProfileError::TooLarge)));
    let missing = Profile::load(Path::new("/nonexistent/profile.json"));
    assert!(matches!(missing, Err(ProfileError::Read(_))));
}

#[test]
fn one_name_is_one_program() {
    let text = refusal(|v| {
        let again = v["programs"][0].clone();
        v["programs"].as_array_mut().unwrap().push(again);
    });
    assert!(text.contains("programs[1].name"), "{text}");
}
