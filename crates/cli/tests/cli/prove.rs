//! A program is proven, verified, and not proven twice; and blocks are proven side by side.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use myriad_engine::{Boundary, Input, Level, MemoryBudget, Plan};
use myriad_fuzz::Mutator;
use myriad_openvm::{KeyCache, Program, Verifier};
use serde_json::Value;

use crate::{
    bench::a_machine_is_measured,
    common::{DONE, FAILED, PROOF_INVALID, data_dir, finish, guest, myriad, plain_engine_child, run},
};

/// [`N`] as the guest reads it.
const INPUT: &str = "0x01a0860100";
/// So little that there is more than one segment; the tree needs nearly as much.
const MEMORY: &str = "512MiB";

const N: u64 = 100_000;

/// Held by the test that proves: each proof takes all cores.
static PROVING: Mutex<()> = Mutex::new(());

#[test]
#[expect(clippy::too_many_lines, reason = "one job, step by step")]
fn a_program_is_proven_and_verified_and_not_proven_again() {
    let _alone = PROVING.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let fibonacci = guest("fibonacci");
    reuse_keys(&dir.path().join("data"));
    // It had planned the job.
    interrupted(dir.path());

    let first = finish(prove(dir.path(), "first").args(["--json", "--deadline", "1"])).exits(DONE);
    let first = first.json();
    check_document(&first);
    assert_eq!(first["in_time"], false);
    assert_eq!(first["reused"], 0);
    let proof = path("first/fibonacci.stark.proof");
    assert_eq!(first["proof"], proof.as_str());
    let bytes = fs::read(&proof).unwrap();
    assert_eq!(first["proof_bytes"], bytes.len());
    assert!(Path::new(first["baseline"].as_str().unwrap()).is_file());

    // The same job in another folder: nothing is proven again, and the proof is the same.
    let second = finish(prove(dir.path(), "second").args(["--deadline", "1000"])).exits(DONE);
    assert!(second.stdout.contains("within the deadline"), "{}", second.stdout);
    assert!(
        second.stdout.contains("proven and verified") && second.stdout.contains("reused"),
        "{}",
        second.stdout
    );
    assert!(second.stderr.contains("used again"), "{}", second.stderr);
    assert!(!second.stderr.contains("proven:"), "{}", second.stderr);
    assert_eq!(fs::read(path("second/fibonacci.stark.proof")).unwrap(), bytes);

    let verify = |proof: &str, more: &[&str]| {
        run(["verify", proof, "--program", &fibonacci]
            .iter()
            .copied()
            .chain(more.iter().copied()))
    };
    let verified = verify(&proof, &["--json"]).exits(DONE).json();
    assert_eq!(
        (&verified["verified"], &verified["public_values"]),
        (&Value::Bool(true), &first["public_values"])
    );
    assert!(verified["program_commitment"].as_str().unwrap().starts_with("0x"));
    let values = first["public_values"].as_str().unwrap();
    verify(&proof, &["--public-values", values]).exits(DONE);

    // Everything but this proof of this program is invalid.
    verify(&proof, &["--public-values", &values.replace('6', "7")])
        .exits(PROOF_INVALID)
        .says("public values");
    let other = ["verify", &proof, "--program", &guest("misbehave"), "--json"];
    let refused = run(other).exits(PROOF_INVALID).says("another program").json();
    assert_eq!(refused["kind"], "proof-invalid");
    let mut copies: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), Vec::new()),
        ("truncated".into(), bytes[..bytes.len() / 2].to_vec()),
        ("longer".into(), [&bytes[..], b"\n"].concat()),
        ("input".into(), fs::read(&fibonacci).unwrap()),
    ];
    for (i, place) in [
        0,
        9,
        bytes.len() / 7,
        bytes.len() / 3,
        bytes.len() / 2,
        bytes.len() - 40,
    ]
    .iter()
    .enumerate()
    {
        let mut flipped = bytes.clone();
        flipped[*place] ^= 1 << i;
        copies.push((format!("flipped at {place}"), flipped));
    }
    for (name, copy) in copies {
        fs::write(path("copy"), copy).unwrap();
        let ended = verify(&path("copy"), &[]);
        assert_eq!(ended.code, Some(PROOF_INVALID), "{name}: {}", ended.stderr);
    }
    the_engine_knows_the_boundaries_beforehand(&fibonacci, &dir.path().join("data"));
    no_flipped_bit_goes_unnoticed(&bytes, &fibonacci, &dir.path().join("data"));
    stored_proofs_are_hostile_too(&fibonacci, &dir.path().join("data"));
    an_accepted_proof_that_has_rotted_is_made_anew(dir.path(), &bytes);
    // Nothing is left to prove without the last layer.
    let fast = finish(prove(dir.path(), "fast").args(["--proof", "fast", "--json"])).exits(DONE);
    let fast = fast.json();
    let count = |key: &str| first[key].as_u64().unwrap();
    assert_eq!(fast["reused"], count("segments") + count("nodes"));
    assert!(fast["proof_bytes"].as_u64().unwrap() > count("proof_bytes"));
    verify(&path("fast/fibonacci.stark.proof"), &["--public-values", values]).exits(DONE);
    fs::File::create(path("huge")).unwrap().set_len(1 << 30).unwrap();
    verify(&path("huge"), &[]).exits(PROOF_INVALID);
    verify(&path("missing"), &[]).exits(FAILED).says("No such file");
    a_machine_is_measured(&dir.path().join("data"));
}

/// The execution's boundary of each segment is the one of its proof, and those of the nodes above
/// follow from them. On another input they differ.
fn the_engine_knows_the_boundaries_beforehand(program: &str, data: &Path) {
    /// The budgets in GiB that the driver tries for a small job, with [`MEMORY`] first. Less would
    /// not do for any segment.
    const BUDGETS: [f64; 1] = [0.5];
    let image = fs::read(program).unwrap();
    let keys = data.join("keys");
    let mut worker = plain_engine_child(&keys, &[]);
    let mut plans = |n: u64| -> Vec<(Plan, Vec<Boundary>)> {
        let input = Input::from_bytes((n as u32).to_le_bytes().to_vec()).unwrap();
        worker.load(image.clone(), None, input).unwrap();
        let plan = |gib| {
            let budget = MemoryBudget::from_bytes((gib * f64::from(1 << 30)) as u64);
            let (plan, _) = worker.plan(budget, u64::MAX).unwrap();
            let (boundaries, _) = worker.boundaries(&plan.segments).unwrap();
            (plan, boundaries)
        };
        BUDGETS.map(plan).into()
    };

    let program = Program::load(&image, None).unwrap();
    let verifier = Verifier::new(&program, &KeyCache::new(&keys)).unwrap();
    let candidates = plans(N);
    let public_values = &candidates[0].0.public_values;
    let segment = |proof: &Vec<u8>| {
        let inner = verifier.segment(proof, None);
        inner
            .or_else(|_| verifier.segment(proof, Some(public_values)))
            .ok()
    };
    let stored = stored_proofs(data);
    let proven: Vec<Boundary> = stored.iter().filter_map(segment).collect();
    let (_, known) = candidates
        .iter()
        .find(|(_, known)| {
            let is_proven = |known: &Boundary| proven.iter().any(|one| one.check_equals(known).is_ok());
            known.len() == proven.len() && known.iter().all(is_proven)
        })
        .unwrap_or_else(|| panic!("{candidates:?}\n{proven:?}"));

    let node = |proof: &Vec<u8>| (1..=4).find_map(|level| verifier.node(Level::new(level)?, proof).ok());
    let nodes: Vec<Boundary> = stored.iter().filter_map(node).collect();
    assert!(nodes.len() >= 3);
    for boundary in nodes {
        let joins = |first| known.iter().map(move |last| Boundary::join(first, last));
        assert!(
            known.iter().flat_map(joins).any(|joined| joined == boundary),
            "{boundary:?}"
        );
    }
    for (_, other) in plans(N + 1) {
        for one in &proven {
            assert!(
                other.iter().all(|other| one.check_equals(other).is_err()),
                "{one:?}"
            );
        }
    }
}

/// Flips a bit at 1,000 places of a final proof: the engine refuses each, and does not panic.
fn no_flipped_bit_goes_unnoticed(proof: &[u8], program: &str, data: &Path) {
    const FLIPS: usize = 1000;
    let program = Program::load(&fs::read(program).unwrap(), None).unwrap();
    let verifier = Verifier::new(&program, &KeyCache::new(data.join("keys"))).unwrap();
    assert!(verifier.final_proof(proof).is_ok());
    let mut flipped = proof.to_vec();
    for flip in 0..FLIPS {
        let place = flip * proof.len() / FLIPS;
        flipped[place] ^= 1 << (flip % 8);
        assert!(
            verifier.final_proof(&flipped).is_err(),
            "bit {} of byte {place}",
            flip % 8
        );
        flipped[place] = proof[place];
    }
}

/// Proofs of segments and nodes, as they would come from a hostile peer: cut short, lengthened, of
/// another kind, with a bit flipped at each of many places, and changed as the fuzz targets change
/// bytes. None of it passes, and nothing panics.
fn stored_proofs_are_hostile_too(program: &str, data: &Path) {
    const FLIPS: usize = 60;
    const MUTATIONS: usize = 200;
    let program = Program::load(&fs::read(program).unwrap(), None).unwrap();
    let verifier = Verifier::new(&program, &KeyCache::new(data.join("keys"))).unwrap();
    // The one that ends the execution shows public values, which are not asked for here.
    let verify = |level: u8, proof: &[u8]| match level {
        0 => verifier.segment(proof, None),
        level => verifier.node(Level::new(level).unwrap(), proof),
    };
    let mut kinds = BTreeMap::new();
    for proof in stored_proofs(data) {
        if let Some(level) = (0..=3).find(|&level| verify(level, &proof).is_ok()) {
            kinds.insert(level, proof);
        }
    }
    assert_eq!(kinds.len(), 4, "a segment, and nodes of three levels");
    for (&level, proof) in &kinds {
        for other in (0..=3).filter(|&other| other != level) {
            assert!(verify(other, proof).is_err(), "level {level} as {other}");
        }
        for hostile in [
            &[],
            &proof[..proof.len() / 2],
            &proof[..proof.len() - 1],
            &[proof.as_slice(), &[0]].concat(),
            &vec![0xff; proof.len()],
            &vec![0; 64 << 20],
        ] {
            assert!(verify(level, hostile).is_err(), "{} bytes", hostile.len());
        }
        let mut flipped = proof.clone();
        for flip in 0..FLIPS {
            let place = flip * proof.len() / FLIPS;
            flipped[place] ^= 1 << (flip % 8);
            assert!(verify(level, &flipped).is_err(), "level {level}, byte {place}");
            flipped[place] = proof[place];
        }
    }
    let samples: Vec<Vec<u8>> = kinds.into_values().collect();
    let mut mutator = Mutator::new(1);
    for number in 0..MUTATIONS {
        let bytes = mutator.input(&samples);
        for level in (0..=3).filter(|_| !samples.contains(&bytes)) {
            assert!(
                verify(level, &bytes).is_err(),
                "mutation {number} as level {level}"
            );
        }
    }
}

/// The disk has lost the final proof of the job and has spoilt the node that it is made of: the
/// command makes both again, and nothing else.
fn an_accepted_proof_that_has_rotted_is_made_anew(dir: &Path, proof: &[u8]) {
    let mut blobs: Vec<_> = stored_blobs(&dir.join("data"))
        .map(|path| (fs::metadata(&path).unwrap().modified().unwrap(), path))
        .collect();
    // The last two that were made.
    blobs.sort();
    let (_, last) = blobs.pop().unwrap();
    assert_eq!(fs::read(&last).unwrap(), proof);
    fs::remove_file(&last).unwrap();
    let (_, top) = blobs.pop().unwrap();
    let mut rotten = fs::read(&top).unwrap();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    fs::write(&top, rotten).unwrap();

    let again = finish(&mut prove(dir, "third")).exits(DONE);
    let made: Vec<&str> = again
        .stderr
        .lines()
        .filter(|line| line.contains("] proven: "))
        .collect();
    assert_eq!(made.len(), 2, "{}", again.stderr);
    let anew = again.stderr.lines().filter(|line| line.contains(" anew: "));
    assert_eq!(anew.count(), 1, "{}", again.stderr);
    assert!(again.stderr.contains("damaged"), "{}", again.stderr);
    // The proof made here is another one, since the search for its proof of work ends where some
    // thread finds one. It is of the same program.
    let made = dir.join("third/fibonacci.stark.proof");
    let program = guest("fibonacci");
    run(["verify", made.to_str().unwrap(), "--program", &program]).exits(DONE);
}

/// The accepted proofs of a job, which are the blobs of a data folder that only proves.
fn stored_proofs(data: &Path) -> Vec<Vec<u8>> {
    stored_blobs(data).map(|path| fs::read(path).unwrap()).collect()
}

/// The files of a data folder's blobs.
fn stored_blobs(data: &Path) -> impl Iterator<Item = PathBuf> {
    let folders = fs::read_dir(data.join("blobs")).unwrap();
    let files = folders
        .filter_map(|folder| fs::read_dir(folder.unwrap().path()).ok())
        .flatten();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "blob"))
}

/// Two blocks by one command, with provers on this machine. These are at the second one before the
/// first has its proof.
#[test]
fn blocks_are_proven_side_by_side() {
    let _alone = PROVING.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let blocks = ["one", "two"].map(|name| at(&format!("{name}.json.gz")));
    for (seed, block) in ["1", "2"].iter().zip(&blocks) {
        run(["block", "sample", "--txs", "1", "--seed", seed, "--out", block]).exits(DONE);
    }
    let data = at("data");
    reuse_keys(Path::new(&data));
    let prove = || {
        let mut command = myriad(["block", "prove", "--each", &blocks[0], &blocks[1]]);
        command.args(["--provers", "2", "--memory", "768MiB", "--priority", "1,0"]);
        command.args(["--data-dir", &data, "--out", &at("blocks")]);
        command
    };
    let ended = finish(&mut prove()).exits(DONE);
    let line = |of: &str| {
        let place = ended.stderr.lines().position(|line| line.contains(of));
        place.unwrap_or_else(|| panic!("no {of:?} in:\n{}", ended.stderr))
    };
    assert!(
        line("two: proven: segment") < line("one: done"),
        "{}",
        ended.stderr
    );
    assert!(
        line("one: executing") < line("two: executing"),
        "{}",
        ended.stderr
    );
    for (name, block) in ["one", "two"].iter().zip(&blocks) {
        let proof = at(&format!("blocks/{name}.stark.proof"));
        assert!(ended.stdout.contains(&proof), "{}", ended.stdout);
        run(["verify", &proof, "--block", block]).exits(DONE);
    }
    let jobs = run(["jobs", "list", "--json", "--data-dir", &data])
        .exits(DONE)
        .json();
    let of_blocks = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|job| (job["state"] == "done") && ["one", "two"].iter().any(|name| job["name"] == *name));
    assert_eq!(of_blocks.count(), 2, "{jobs}");

    // Nothing is left to prove.
    let again = finish(prove().arg("--json")).exits(DONE).json();
    for (proof, block) in again["proofs"].as_array().unwrap().iter().zip(&blocks) {
        let count = |key: &str| proof[key].as_u64().unwrap();
        assert_eq!(proof["file"], block.as_str());
        assert_eq!(count("reused"), count("segments") + count("nodes") + 1);
        assert_eq!(proof["verified"], true);
    }
}

/// The command of this test's job, which keeps all cores at work in the tasks that run alone, too.
fn prove(dir: &Path, out: &str) -> Command {
    let threads = thread::available_parallelism().map_or(1, usize::from).to_string();
    let program = guest("fibonacci");
    let args = [
        "prove",
        &program,
        "--input",
        INPUT,
        "--memory",
        MEMORY,
        "--threads",
        &threads,
    ];
    let mut command = myriad(args);
    command
        .arg("--data-dir")
        .arg(dir.join("data"))
        .arg("--out")
        .arg(dir.join(out));
    command
}

/// Ctrl-C ends a run with a line on what is kept.
fn interrupted(dir: &Path) {
    let mut command = prove(dir, "interrupted");
    let prove = command
        .arg("--json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Long enough to have begun, and much shorter than it takes.
    thread::sleep(Duration::from_secs(2));
    let killed = Command::new("kill")
        .args(["-INT", &prove.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = prove.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("accepted proofs are kept"), "{stderr}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["kind"], "interrupted");
}

/// Keys take seconds to make and are the same for all tests; proofs are not to be found, though.
fn reuse_keys(data: &Path) {
    run(["execute", &guest("fibonacci"), "--input", "0x0101000000"]).exits(DONE);
    let keys = data.join("keys");
    fs::create_dir_all(&keys).unwrap();
    for entry in fs::read_dir(data_dir().join("keys")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), keys.join(entry.file_name())).unwrap();
    }
}

fn check_document(json: &Value) {
    assert!(json["instructions"].as_u64().unwrap() > N);
    assert!(json["segments"].as_u64().unwrap() >= 2);
    let fib = (0..N).fold((0u64, 1u64), |(a, b), _| (b, a.wrapping_add(b))).0;
    let expected: Vec<u8> = [N.to_le_bytes(), fib.to_le_bytes(), [0; 8], [0; 8]].concat();
    let expected: String = expected.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(json["public_values"], format!("0x{expected}"));
    assert_eq!(json["verified"], true);
    assert!(json["wall_s"].as_f64().unwrap() > 1.0);
    assert!(json["verify_ms"].as_f64().unwrap() > 1.0);
    assert!(json["peak_memory_bytes"].as_u64().unwrap() <= 3 << 30);
    let stages = json["stages"].as_array().unwrap();
    let names: Vec<_> = stages
        .iter()
        .map(|stage| stage["name"].as_str().unwrap())
        .collect();
    assert!(
        !names.contains(&"execute"),
        "the plan is that of the run before: {names:?}"
    );
    for name in [
        "segment",
        "leaf",
        "internal-for-leaf",
        "internal-recursive",
        "final",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(stages.iter().all(|stage| stage["tasks"].as_u64().unwrap() >= 1));
    assert!(stages.iter().all(|stage| stage["cpu_s"].as_f64().unwrap() > 0.0));
}
