//! The engine child: on a machine that has too little for it, and its answers without proving.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Instant,
};

use myriad_engine::{
    AggregateError, Boundary, CONFIG_BYTES_MAX, ExecuteError, Filling, FinalForm, Input, Level, MemoryBudget,
    ProofOf, ProveError,
    worker::{Failure, Worker, WorkerError},
};
use myriad_evm::host::BlockFile;
use myriad_node::{KEYS_MEMORY_MIN, make_keys};
use myriad_openvm::{KeyCache, Program, Verifier, VmConfig};

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::common::{
    DONE, FAILED, data_dir, engine_child, finish, guest, myriad, plain_engine_child, run, worker_config,
};

/// Enough to start with, and far less than any segment takes; and so little that the memory of a
/// guest is not mapped twice.
const DATA_BYTES_MAX: [u64; 2] = [700 << 20, 560 << 20];

/// A caller can ask a child for an answer before there is work, and have it do some after that.
#[test]
fn a_child_greets_before_it_has_a_program() {
    let mut worker = engine_child(&data_dir().join("keys"), &[]);
    worker.greet().unwrap();
    let image = fs::read(guest("fibonacci")).unwrap();
    worker.load(image, None, Input::default()).unwrap();

    let mut other = worker_config(&data_dir().join("keys"), &[]);
    other.engine.id.fingerprint = [1; 32];
    let error = Worker::spawn(&other).unwrap().greet().unwrap_err().to_string();
    assert!(error.contains("the two are of different builds"), "{error}");
}

#[test]
fn a_child_without_memory_is_reported_and_not_waited_for() {
    let start = |more: &[&str]| {
        let mut worker = plain_engine_child(&data_dir().join("keys"), more);
        let image = fs::read(guest("fibonacci")).unwrap();
        let input = Input::from_bytes(1000u32.to_le_bytes().to_vec()).unwrap();
        worker.load(image, None, input).unwrap();
        worker
    };
    let (plan, _) = start(&[])
        .plan(MemoryBudget::from_bytes(4 << 30), 1_000_000)
        .unwrap();
    for bytes in DATA_BYTES_MAX {
        let mut worker = start(&["--data-bytes-max", &bytes.to_string()]);
        match worker.prove(&plan.segments[0]) {
            Err(WorkerError::Died(death)) => assert!(death.out_of_memory, "{bytes}: {death}"),
            // Too little memory for the guest's own is an error and no death.
            Err(other) => assert!(
                other.to_string().contains("Cannot allocate memory"),
                "{bytes}: {other}"
            ),
            Ok(_) => panic!("a segment was proven in {bytes} bytes"),
        }
        // A caller that asks again gets an answer too, from a dead child as well.
        assert!(worker.prove(&plan.segments[0]).is_err());
    }
}

/// The boundaries are compared with true proofs where a program is proven.
#[test]
fn the_boundaries_of_a_block_chain_from_the_programs_start_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.json");
    let file = path.to_str().unwrap();
    run(["block", "sample", "--txs", "1", "--seed", "1", "--out", file]).exits(DONE);
    let input = BlockFile::read(&path).unwrap().to_input().unwrap().encode();

    let image = fs::read(guest("evm-block")).unwrap();
    let toml = fs::read_to_string(guest("evm-block").replace(".elf", ".openvm.toml")).unwrap();
    let program = Program::load(&image, Some(&toml)).unwrap();
    let keys = data_dir().join("keys");
    make_keys(&worker_config(&keys, &[]), KEYS_MEMORY_MIN, Some(toml.clone())).unwrap();
    let mut worker = engine_child(&keys, &[]);
    worker
        .load(image, Some(toml), Input::from_bytes(input).unwrap())
        .unwrap();
    let (plan, _) = worker
        .plan(MemoryBudget::from_bytes(700 << 20), u64::MAX)
        .unwrap();
    let (boundaries, _) = worker.boundaries(&plan.segments).unwrap();

    assert!(plan.segments.len() > 1);
    assert_eq!(boundaries.len(), plan.segments.len());
    let verifier = Verifier::new(&program, &KeyCache::new(keys)).unwrap();
    verifier.statement().check_start(&boundaries[0]).unwrap();
    for pair in boundaries.windows(2) {
        pair[0].check_next(&pair[1]).unwrap();
        assert_ne!(pair[0].final_root, pair[0].initial_root);
    }
    let whole = Boundary::join(&boundaries[0], &boundaries[boundaries.len() - 1]);
    assert_eq!(whole.exit_code, Some(0));

    // Where segments are cut while the execution goes on, it is executed once for all of them.
    let (first, rest) = plan.segments.split_at(1);
    let (mut parts, _) = worker.boundaries(first).unwrap();
    assert!(worker.boundaries(&[]).is_ok_and(|(none, _)| none.is_empty()));
    parts.extend(worker.boundaries(rest).unwrap().0);
    assert_eq!(parts, boundaries);
    assert!(worker.boundaries(rest).is_err(), "they do not follow");

    // Segments that the execution does not have are named.
    let mut segments = plan.segments;
    segments[1].instret_start += 1;
    let refused = worker.boundaries(&segments);
    let expected = |error| {
        matches!(
            error,
            WorkerError::Failed(Failure::Prove(ProveError::Mismatch { segment: 1, .. }))
        )
    };
    assert!(refused.is_err_and(expected));
}

/// A child that proves block after block keeps its tools for their program. It does not hand out an
/// invalid proof: two proofs that do not follow each other make a leaf that does not hold.
#[test]
fn a_child_proves_for_one_input_after_another() {
    let image = fs::read(guest("fibonacci")).unwrap();
    let program = Program::load(&image, None).unwrap();
    let keys = data_dir().join("keys");
    let verifier = Verifier::new(&program, &KeyCache::new(&keys)).unwrap();
    let mut planner = plain_engine_child(&keys, &[]);
    let mut prover = engine_child(&keys, &[]);
    let proven = [1000u32, 1001].map(|rounds| {
        let input = Input::from_bytes(rounds.to_le_bytes().to_vec()).unwrap();
        for child in [&mut planner, &mut prover] {
            child.load(image.clone(), None, input.clone()).unwrap();
        }
        let (plan, _) = planner
            .plan(MemoryBudget::from_bytes(2 << 30), 1_000_000)
            .unwrap();
        let (boundaries, _) = planner.boundaries(&plan.segments).unwrap();
        let (proof, _) = prover.prove(&plan.segments[0]).unwrap();
        let proven = verifier.segment(&proof, Some(&plan.public_values)).unwrap();
        proven.check_equals(&boundaries[0]).unwrap();
        (proven.final_root, proof)
    });
    let [(one_end, one), (other_end, other)] = proven;
    assert_ne!(one_end, other_end);
    let leaf = prover.aggregate(Level::LEAF, vec![one, other]);
    let error = leaf.expect_err("the program ends in both");
    let WorkerError::Failed(Failure::Aggregate(AggregateError::Failed { reason, .. })) = &error else {
        panic!("{error}");
    };
    // The device notices while it proves. A proof that does not hold would not be handed out
    // either.
    assert!(reason.contains("do not satisfy their constraints"), "{reason}");
}

/// A child reads keys whenever it makes tools. So without keys it does only what it has tools for.
#[test]
fn a_child_keeps_the_tools_of_other_tasks_as_long_as_memory_allows() {
    let image = fs::read(guest("fibonacci")).unwrap();
    let input = Input::from_bytes(1000u32.to_le_bytes().to_vec()).unwrap();
    let made = data_dir().join("keys");
    let mut planner = plain_engine_child(&made, &[]);
    let loaded = planner.load(image.clone(), None, input.clone()).unwrap();
    let (plan, _) = planner
        .plan(MemoryBudget::from_bytes(2 << 30), 1_000_000)
        .unwrap();
    let segment = &plan.segments[0];
    let dir = tempfile::tempdir().unwrap();
    let copy = || {
        for entry in fs::read_dir(&made).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "keys") {
                fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    let start = |memory: u64| {
        copy();
        let memory = MemoryBudget::from_bytes(memory);
        let mut worker = Worker::spawn_within(&worker_config(dir.path(), &[]), memory).unwrap();
        worker.load(image.clone(), None, input.clone()).unwrap();
        let (proof, first) = worker.prove(segment).unwrap();
        let (_, leaf) = worker.aggregate(Level::LEAF, vec![proof.clone()]).unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        (worker, proof, first.planned_bytes, leaf.planned_bytes)
    };

    let (mut worker, proof, first, leaf) = start(8 << 30);
    let (_, again) = worker.prove(segment).unwrap();
    assert!(again.planned_bytes > first, "{} > {first}", again.planned_bytes);
    let (_, second_leaf) = worker.aggregate(Level::LEAF, vec![proof]).unwrap();
    assert_eq!(
        second_leaf.planned_bytes, leaf,
        "both with the prover beside them"
    );

    // The leaf fits, and nothing beside it.
    let tight = loaded
        .node_peak_bytes(Level::LEAF, 1, 1)
        .max(loaded.final_peak_bytes(FinalForm::Fast, 1));
    let (mut worker, _, alone, leaf_alone) = start(tight);
    assert!(leaf_alone < leaf, "{leaf_alone} < {leaf}");
    match worker.prove(segment) {
        Err(WorkerError::Failed(failure)) => assert!(failure.is_of_keys(), "{failure}"),
        other => panic!("{other:?}"),
    }
    copy();
    let (_, again) = worker.prove(segment).unwrap();
    assert_eq!((alone, again.planned_bytes), (first, first));
}

/// A requester has strangers' proofs verified in this way: the child says what a proof shows, and
/// for any other bytes why they are no proof.
#[test]
fn a_child_verifies_and_says_why_not() {
    let image = fs::read(guest("fibonacci")).unwrap();
    let keys = data_dir().join("keys");
    let mut prover = plain_engine_child(&keys, &[]);
    let mut verifier = engine_child(&keys, &[]);
    let input = Input::from_bytes(1000u32.to_le_bytes().to_vec()).unwrap();
    prover.load(image.clone(), None, input).unwrap();
    verifier.load(image, None, Input::default()).unwrap();
    let (plan, _) = prover.plan(MemoryBudget::from_bytes(2 << 30), 1_000_000).unwrap();
    let (proof, _) = prover.prove(&plan.segments[0]).unwrap();
    let statement = verifier.prepare_verifier().unwrap();
    let last = ProofOf::Segment {
        public_values: Some(plan.public_values.clone()),
    };
    let start = Instant::now();
    let (shown, _) = verifier.verify(last.clone(), proof.clone()).unwrap();
    let boundary = shown.clone().piece().unwrap();
    eprintln!("verified in {:?}", start.elapsed());
    statement.check_start(&boundary).unwrap();
    assert_eq!(boundary.exit_code, Some(0));

    let mut flipped = proof.clone();
    flipped[proof.len() / 2] ^= 1;
    let not_last = ProofOf::Segment { public_values: None };
    let whole = ProofOf::Final {
        public_values: Some(plan.public_values),
    };
    for (of, bytes) in [
        (last.clone(), Vec::new()),
        (last.clone(), vec![7; proof.len()]),
        (last.clone(), flipped),
        (not_last, proof.clone()),
        (ProofOf::Node(Level::LEAF), proof.clone()),
        (whole, proof.clone()),
    ] {
        let refused = verifier.verify(of.clone(), bytes);
        assert!(
            matches!(refused, Err(WorkerError::Failed(Failure::Verify(_)))),
            "{of:?}: {refused:?}"
        );
    }
    // The same child goes on.
    assert_eq!(verifier.verify(last, proof).unwrap().0, shown);
}

#[test]
fn a_child_without_keys_names_them_and_makes_none() {
    let keys = tempfile::tempdir().unwrap();
    let mut worker = engine_child(keys.path(), &[]);
    worker
        .load(fs::read(guest("fibonacci")).unwrap(), None, Input::default())
        .unwrap();
    let refused = worker
        .plan(MemoryBudget::from_bytes(4 << 30), 1_000_000)
        .unwrap_err();
    let folder = keys.path().display().to_string();
    assert!(refused.to_string().contains(&folder), "{refused}");
    assert!(refused.to_string().contains("run the command again"), "{refused}");
    assert_eq!(fs::read_dir(keys.path()).unwrap().count(), 0);
}

#[test]
fn a_child_makes_keys_or_runs_programs_and_not_both() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let config = worker_config(&keys, &[]);
    let not_its_task = |error| matches!(error, WorkerError::Failed(Failure::NotItsTask));
    let mut maker = Worker::spawn_for_keys(&config).unwrap();
    let image = fs::read(guest("fibonacci")).unwrap();
    assert!(maker.load(image, None, Input::default()).is_err_and(not_its_task));
    let mut worker = Worker::spawn(&config).unwrap();
    assert!(worker.make_keys(None, Filling::Missing).is_err_and(not_its_task));
    // The `openvm.toml` of the keys may be a stranger's.
    let long = " ".repeat(CONFIG_BYTES_MAX + 1);
    let refused = maker.make_keys(Some(long), Filling::Missing).unwrap_err();
    assert!(
        refused.to_string().contains("65537 bytes, and 65536 are allowed"),
        "{refused}"
    );
    maker.make_keys(None, Filling::Missing).unwrap();
    assert!(KeyCache::new(keys).has(&VmConfig::riscv32()));
}

/// An error of the input would hide that of the program.
#[test]
fn a_program_is_refused_before_its_input_is_read() {
    let mut worker = plain_engine_child(&data_dir().join("keys"), &[]);
    let refused = |worker: &mut Worker, image: Vec<u8>| match worker.load(image, None, vec![0xff_u8]) {
        Err(WorkerError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    };
    let failure = refused(&mut worker, b"no program".to_vec());
    assert!(matches!(failure, Failure::Program(_)), "{failure}");
    let failure = refused(&mut worker, fs::read(guest("fibonacci")).unwrap());
    assert!(matches!(failure, Failure::Input(_)), "{failure}");
}

/// The sender is to blame, however long the texts are that the proof has the child quote.
#[test]
fn a_false_proof_with_a_long_text_is_a_false_proof() {
    let mut worker = plain_engine_child(&data_dir().join("keys"), &[]);
    worker
        .load(fs::read(guest("fibonacci")).unwrap(), None, Input::default())
        .unwrap();
    let long = "x".repeat(100 << 10);
    let of_version = format!(r#"{{"version": "{long}", "proof": "00", "user_pvs_proof": "00"}}"#);
    for file in [of_version, format!("{long:?}")] {
        let of = ProofOf::Final { public_values: None };
        let refused = worker.verify(of, file.into_bytes());
        assert!(
            matches!(refused, Err(WorkerError::Failed(Failure::Verify(_)))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_child_of_another_build_ends_with_a_sentence() {
    let mut config = worker_config(&data_dir().join("keys"), &[]);
    config.engine.id.fingerprint = [7; 32];
    let mut worker = Worker::spawn(&config).unwrap();
    let died = worker.load(Vec::<u8>::new(), None, Input::default()).unwrap_err();
    assert!(matches!(died, WorkerError::Died(_)), "{died}");
    let text = died.to_string();
    assert!(text.contains("the two are of different builds"), "{text}");
    assert!(text.contains(&hex::encode([7; 32])), "{text}");
}

/// A command under a filter that answers for Landlock as a kernel does that has none.
#[expect(unsafe_code, reason = "what runs between fork and exec is unsafe to choose")]
fn without_landlock(mut command: Command) -> Command {
    let rules = [(libc::SYS_landlock_create_ruleset, Vec::new())]
        .into_iter()
        .collect();
    let answer = SeccompAction::Errno(libc::ENOSYS as u32);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    // SAFETY: it makes two system calls, and nothing else.
    unsafe {
        command.pre_exec(move || apply_filter(&filter).map_err(|_| std::io::ErrorKind::Unsupported.into()));
    }
    command
}

#[test]
fn without_landlock_a_machine_is_lent_only_when_its_owner_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let lend = |more: &[&str]| {
        let mut command = myriad([
            "prover",
            "--no-mdns",
            "--until-stdin-ends",
            "--listen",
            "/ip4/127.0.0.1/udp/0/quic-v1",
        ]);
        command
            .args(more)
            .arg("--data-dir")
            .arg(dir.path())
            .stdin(Stdio::null());
        finish(&mut without_landlock(command))
    };
    lend(&[]).exits(FAILED).says("no Landlock").says("--unconfined");
    lend(&["--unconfined"])
        .exits(DONE)
        .says("engine children are not confined");
    // The user's own program runs, and a note says so once.
    let fibonacci = guest("fibonacci");
    let executed = finish(&mut without_landlock(myriad([
        "execute",
        &fibonacci,
        "--input",
        "0x01e8030000",
    ])));
    let warned = executed
        .exits(DONE)
        .stderr
        .matches("engine children are not confined")
        .count();
    assert_eq!(warned, 1);
}

#[test]
fn executing_alone_ends_where_it_is_told_or_where_the_program_does() {
    let mut worker = plain_engine_child(&data_dir().join("keys"), &[]);
    let mut load = |behaviour: u8| {
        let image = fs::read(guest("misbehave")).unwrap();
        let input = Input::from_bytes(vec![behaviour]).unwrap();
        worker.load(image, None, input).unwrap();
        worker.execute(5_000_000)
    };
    // An endless loop, of which 5,000,000 instructions are executed; then an exit code that is not
    // 0.
    assert!(load(3).is_ok());
    assert!(matches!(
        load(2),
        Err(WorkerError::Failed(Failure::Execute(ExecuteError::Failed {
            code: 42,
            ..
        })))
    ));
}
