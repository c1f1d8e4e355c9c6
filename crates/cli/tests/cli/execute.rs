//! `myriad execute`, on programs that end well and on some that do not.

use crate::common::{DONE, FAILED, guest, run};

/// The first byte of the input decides what the guest `misbehave` does: see its source.
fn misbehave(behaviour: u8) -> [String; 4] {
    [
        "execute".into(),
        guest("misbehave"),
        "--input".into(),
        format!("0x01{behaviour:02x}"),
    ]
}

#[test]
fn fibonacci_is_executed() {
    let ended = run([
        "execute",
        &guest("fibonacci"),
        "--input",
        "0x0164000000",
        "--json",
    ])
    .exits(DONE);
    let json = ended.json();
    let expected = hex_of(100u64.to_le_bytes()) + &hex_of(fibonacci(100).to_le_bytes());
    assert_eq!(json["public_values"], format!("0x{expected}{}", "0".repeat(32)));
    let segments = json["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0]["instret_start"], 0);
    assert_eq!(segments[0]["num_insns"], json["instructions"]);
    assert!(segments[0]["peak_bytes"].as_u64().unwrap() > 100 << 20);
}

#[test]
fn the_forms_of_input_agree() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("json"), "{\"input\": [\"0x0164000000\"]}").unwrap();
    std::fs::write(path("hex"), "0164000000\n").unwrap();
    std::fs::write(path("raw"), 100u32.to_le_bytes()).unwrap();
    let outputs = [
        ("--input", path("json")),
        ("--input", path("hex")),
        ("--input-bytes", path("raw")),
    ]
    .map(|(flag, file)| {
        run(["execute", &guest("fibonacci"), flag, &file])
            .exits(DONE)
            .stdout
    });
    for output in outputs {
        assert!(
            output.contains("fibonacci: executed") && output.contains("0x6400000000000000"),
            "{output}"
        );
    }
}

#[test]
fn smaller_budgets_make_more_segments() {
    let segments = |memory: &str| {
        let args = [
            "execute",
            &guest("fibonacci"),
            "--input",
            "0x0100000200",
            "--memory",
            memory,
            "--json",
        ];
        let json = run(args).exits(DONE).json();
        let segments = json["segments"].as_array().unwrap().clone();
        let sum: u64 = segments.iter().map(|s| s["num_insns"].as_u64().unwrap()).sum();
        assert_eq!(json["instructions"], sum);
        let budget = json["memory_budget_bytes"].as_u64().unwrap();
        assert!(
            segments
                .iter()
                .all(|s| s["peak_bytes"].as_u64().unwrap() <= budget)
        );
        segments.len()
    };
    assert!(segments("512MiB") > segments("4GiB"));
}

#[test]
fn a_panic_is_shown() {
    run(misbehave(1))
        .exits(FAILED)
        .says("exit code 1")
        .says("misbehave was asked to panic");
}

#[test]
fn an_exit_code_is_shown() {
    run(misbehave(2)).exits(FAILED).says("exit code 42");
}

#[test]
fn an_endless_loop_is_ended() {
    let args = misbehave(3)
        .into_iter()
        .chain(["--max-instructions".into(), "5000000".into()]);
    run(args)
        .exits(FAILED)
        .says("did not end within 5000000 instructions, and has executed ")
        .says("--max-instructions");
}

#[test]
fn missing_input_is_named() {
    run(misbehave(4))
        .exits(FAILED)
        .says("more input than it was given")
        .says("--input");
    for command in ["execute", "prove"] {
        run([command, &guest("fibonacci")])
            .exits(FAILED)
            .says("more input than it was given");
    }
}

#[test]
fn a_program_that_takes_all_its_memory_is_ended() {
    // The guest's own allocator says it: this is not the memory of the machine.
    run(misbehave(5))
        .exits(FAILED)
        .says("exit code 1")
        .says("Maximum memory exceeded");
}

#[test]
fn proving_reports_the_same() {
    let args = ["prove", &guest("misbehave"), "--input", "0x0101", "--json"];
    let ended = run(args).exits(FAILED).says("misbehave was asked to panic");
    assert_eq!(ended.json()["kind"], "execution");
}

fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0u64, 1u64), |(a, b), _| (b, a.wrapping_add(b))).0
}

fn hex_of(bytes: [u8; 8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
