//! The profiles that are read, and the refusals of others.

use serde_json::{Value, json};

use super::*;
use crate::lawful::lawful;

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

/// Builds that had one engine refuse a field that they do not know.
#[test]
fn the_engine_is_named_where_it_is_not_that_of_older_builds() {
    let older = lawful().to_json();
    assert!(!older.contains("engine_name"), "{older}");
    let other = Profile {
        engine_name: "other".parse().unwrap(),
        ..lawful()
    };
    let read = Profile::parse(other.to_json().as_bytes()).unwrap();
    assert_eq!(read.engine_name, other.engine_name);
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

#[test]
fn a_name_of_costs_that_nobody_has_measured_is_that_of_the_costliest() {
    for vm in Vm::ALL {
        assert_eq!(Vm::of_costs(vm.name()), vm);
    }
    for unknown in ["", "Plain", "of nobody"] {
        assert_eq!(Vm::of_costs(unknown), Vm::COSTLIEST, "{unknown:?}");
    }
}

/// Where a virtual machine counts no interactions, cuts and samples say the same: none.
#[test]
fn no_interactions_are_none_wherever_they_stand() {
    for list in ["cuts", "segments"] {
        let read = altered(|v| v["programs"][0][list][0]["interactions"] = json!(0));
        assert!(read.is_ok(), "{list}: {}", read.unwrap_err());
        let text = refusal(|v| v["programs"][0][list][0]["interactions"] = json!(-1));
        assert!(
            text.contains("interactions") || text.contains("-1"),
            "{list}: {text}"
        );
    }
}
