//! The prover's handling of its children. The children here are shells.

use std::{fs, path::Path, thread};

use myriad_core::Blob;
use myriad_engine::{
    EngineFacts,
    worker::{Engines, Worker, WorkerConfig},
};
use myriad_net::blob::BlobStore;

use super::*;

#[test]
fn a_child_that_one_requester_has_fed_proves_nothing_for_another() {
    let program = |byte| BlobRef {
        blob: Blob([byte; 32]),
        bytes: 1,
    };
    let own = Origin {
        requester: Peer([1; 32]),
        engine: engine(),
        job: JobId([1; 32]),
        program: (program(1), None),
    };
    let next_block = Origin {
        job: JobId([2; 32]),
        ..own.clone()
    };
    assert_eq!(own.serves(&own), Reuse::Job);
    assert_eq!(own.serves(&next_block), Reuse::Program);
    let other_program = Origin {
        program: (program(2), None),
        ..next_block.clone()
    };
    assert_eq!(own.serves(&other_program), Reuse::Nothing);
    // Another engine may give a job the same name: the name follows from what the engine says.
    for wanted in [&own, &next_block] {
        let other_engine = Origin {
            engine: EngineId {
                name: "other".parse().unwrap(),
                ..engine()
            },
            ..wanted.clone()
        };
        assert_eq!(own.serves(&other_engine), Reuse::Nothing);
        let other_build = Origin {
            engine: EngineId {
                fingerprint: [8; 32],
                ..engine()
            },
            ..wanted.clone()
        };
        assert_eq!(own.serves(&other_build), Reuse::Nothing);
    }
    for wanted in [&own, &next_block] {
        let of_another = Origin {
            requester: Peer([2; 32]),
            ..wanted.clone()
        };
        assert_eq!(own.serves(&of_another), Reuse::Nothing);
    }
}

/// The memory that is lent to a child.
const MEMORY: MemoryBudget = MemoryBudget::from_bytes(1 << 30);
/// First bytes of a key file.
const MAGIC: &[u8] = b"myriad keys v2\n\0";
/// The names of the job's program, input and engine.
const HASH: [u8; 32] = [7; 32];

fn key_file(body: &[u8]) -> Vec<u8> {
    [MAGIC, blake3::hash(body).as_bytes(), body].concat()
}

/// The bytes with which a child answers: a frame with what it took, and the answer's encoding.
fn frame(result: &[u8]) -> Vec<u8> {
    let body = [&[0; 8], result].concat();
    [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat()
}

fn engines(config: &WorkerConfig) -> Engines {
    [config.clone()].into_iter().collect()
}

/// The engine of a job: of the name that children here have, with the fingerprint of its program.
fn engine() -> EngineId {
    EngineId {
        fingerprint: HASH,
        ..EngineFacts::pretended().id
    }
}

fn config(dir: &Path, script: &str) -> WorkerConfig {
    WorkerConfig {
        engine: myriad_engine::EngineFacts::pretended(),
        command: "/bin/sh".into(),
        args: vec!["-c".into(), format!("cd {}\n{script}", dir.display())],
        keys: dir.join("keys"),
        threads: 1,
    }
}

/// A job with a segment, whose files are anything.
fn job(dir: &Path) -> (JobFiles, Piece) {
    let blobs = BlobStore::open(&dir.join("blobs"), 1 << 20).unwrap();
    let files = JobFiles {
        requester: Peer([1; 32]),
        job: job_id(&myriad_engine::Loaded::pretended()),
        program: blobs.put(b"program").unwrap(),
        program_config: None,
        input: blobs.put(b"input").unwrap(),
        blobs,
        engine: engine(),
        max_instructions: 1000,
    };
    let segment = Segment {
        index: 0,
        instret_start: 0,
        num_insns: 1,
        details: Vec::new(),
        last: true,
        cells: 0,
        interactions: 0,
        peak_bytes: 0,
    };
    (files, Piece::Segment(postcard::to_stdvec(&segment).unwrap()))
}

type Proven = Result<(Vec<u8>, Usage), EngineError>;

/// Writes what scripts in the place of children answer, each into a file of its name.
fn write_answers(dir: &Path) {
    let loaded = postcard::to_stdvec(&myriad_engine::Loaded::pretended()).unwrap();
    fs::write(dir.join("loaded"), frame(&[&[0, 1][..], &loaded].concat())).unwrap();
    let made = key_file(b"made");
    let keys = [&[0, 0, made.len() as u8][..], &made].concat();
    fs::write(dir.join("made"), frame(&keys)).unwrap();
    // A proof of one byte.
    fs::write(dir.join("proof"), frame(&[0, 5, 1, 42])).unwrap();
}

/// A task with keys that are whole and that the first child cannot read; `again` is what each
/// further one says. Gives what came of it, how many answers with keys were taken, and the file of
/// keys in the end.
fn with_rotten_keys(again: &str) -> (Proven, usize, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_answers(dir);
    // Keys that are missing, at a path of no characters.
    fs::write(dir.join("missing"), frame(&[1, 5, 0, 1, 0])).unwrap();
    let script = format!(
        "if [ $0 = --make-keys ]; then head -c 5 > asked; [ -s asked ] && echo >> made-keys; cat made
         elif [ -e worked ]; then cat loaded {again}
         else touch worked; cat loaded missing; fi
         exec sleep 600"
    );
    let config = config(dir, &script);
    let child = Child::new(engines(&config), MEMORY, None);
    let (files, piece) = job(dir);
    // As it is called that the first one leaves.
    let mut maker = Worker::spawn_for_keys(&config).unwrap();
    maker.make_keys(None, Filling::Missing).unwrap();
    drop(maker);
    fs::remove_file(dir.join("made-keys")).unwrap();
    let mut entries = fs::read_dir(&config.keys)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let path = entries
        .find(|path| path.extension().is_some_and(|extension| extension == "keys"))
        .unwrap();
    fs::write(&path, key_file(b"rot")).unwrap();
    let made = child.work(&files, &piece);
    let times = fs::read_to_string(dir.join("made-keys"))
        .unwrap_or_default()
        .lines()
        .count();
    (made, times, fs::read(path).unwrap())
}

#[test]
fn keys_that_cannot_be_read_are_made_anew_once() {
    let (made, times, keys) = with_rotten_keys("proof");
    assert_eq!(made.unwrap().0, [42]);
    assert_eq!((times, keys), (1, key_file(b"made")));
    // An attacker that has taken the child over can say so for ever.
    let (made, times, _) = with_rotten_keys("missing");
    assert!(matches!(&made, Err(EngineError::Failed(_))), "{made:?}");
    assert_eq!(times, 1);
}

#[test]
fn what_this_machine_lacks_is_no_requesters_fault() {
    let dir = tempfile::tempdir().unwrap();
    let (files, piece) = job(dir.path());
    // A file is where the folder of keys should be.
    let mut no_folder = config(dir.path(), "exec sleep 600");
    fs::write(&no_folder.keys, b"").unwrap();
    no_folder.keys.push("below");
    let mut no_program = config(dir.path(), "");
    no_program.command = dir.path().join("none");
    for (config, said) in [(no_folder, "key cache"), (no_program, "cannot start")] {
        let found = Child::new(engines(&config), MEMORY, None).work(&files, &piece);
        assert!(
            matches!(&found, Err(EngineError::Unable(why)) if why.contains(said)),
            "{found:?}"
        );
    }
}

/// A maker of keys that says that it is this machine's fault: it may be in a stranger's hands.
#[test]
fn no_child_is_believed_that_the_disk_is_to_blame() {
    let dir = tempfile::tempdir().unwrap();
    // Keys that cannot be read or written, at a path and for a reason of no characters.
    fs::write(dir.path().join("io"), frame(&[1, 3, 0, 0, 0])).unwrap();
    let child = Child::new(
        engines(&config(dir.path(), "cat io\nexec sleep 600")),
        MEMORY,
        None,
    );
    let (files, piece) = job(dir.path());
    let found = child.work(&files, &piece);
    assert!(matches!(&found, Err(EngineError::Failed(_))), "{found:?}");
}

#[test]
fn making_keys_is_no_progress_of_a_task() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "while :; do :; done");
    let worker = LimitedWorker::spawn(&config, MEMORY).unwrap();
    let child = Child::new(engines(&config), MEMORY, None);
    let more = |than: Duration| {
        while cpu_time(worker.pid()).unwrap() <= than {
            thread::sleep(Duration::from_millis(5));
        }
        cpu_time(worker.pid()).unwrap()
    };
    child.watch(&worker, ChildState::MakingKeys).unwrap();
    more(more(Duration::ZERO));
    let sample = child.sample();
    assert_eq!(sample.cpu, Duration::ZERO);
    assert!(sample.memory_bytes > 0);
    child.watch(&worker, ChildState::AtTask).unwrap();
    more(cpu_time(worker.pid()).unwrap() + Duration::from_millis(50));
    assert!(child.sample().cpu > Duration::ZERO);
}

/// What a child keeps for other tasks has to fit beside one that takes more than is expected of it.
#[test]
fn a_child_is_told_of_the_memory_that_tasks_may_be_expected_to_take() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_answers(dir);
    let script = "if [ $0 = --make-keys ]; then cat made
         else echo $0 $* > told; cat loaded proof; fi
         exec sleep 600";
    let half = Calibration {
        memory_share: 0.5,
        ..Calibration::unmeasured(1)
    };
    let (files, piece) = job(dir);
    for (calibration, told) in [(None, MEMORY.bytes()), (Some(half), MEMORY.bytes() / 2)] {
        let child = Child::new(engines(&config(dir, script)), MEMORY, calibration);
        child.work(&files, &piece).unwrap();
        let said = fs::read_to_string(dir.join("told")).unwrap();
        assert_eq!(said, format!("--memory-max {told}\n"));
    }
}

/// The task was over when it was told to stop, so that nothing of it is left for the next one.
#[test]
fn a_child_that_was_stopped_as_its_work_ended_is_not_given_the_next_task() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_answers(dir);
    let script = "if [ $0 = --make-keys ]; then cat made; else cat loaded proof proof; fi; exec sleep 600";
    let child = Child::new(engines(&config(dir, script)), MEMORY, None);
    let (files, piece) = job(dir);
    child.running().busy = true;
    assert_eq!(child.do_work(&files, &piece).unwrap().0, [42]);
    child.stop();
    child.end();
    let next = child.work(&files, &piece);
    assert!(matches!(&next, Ok((proof, _)) if *proof == [42]), "{next:?}");
    // One that was let alone goes on: it has another proof.
    assert_eq!(child.work(&files, &piece).unwrap().0, [42]);
}

#[test]
fn a_job_of_an_engine_that_is_not_there_is_given_back_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let child = Child::new(engines(&config(dir.path(), "exec sleep 600")), MEMORY, None);
    let (files, piece) = job(dir.path());
    let files = JobFiles {
        engine: EngineId {
            name: "other".parse().unwrap(),
            ..files.engine
        },
        ..files
    };
    let EngineError::Unwilling(why) = child.work(&files, &piece).unwrap_err() else {
        panic!("it has no such engine");
    };
    assert_eq!(
        why,
        "this machine has no engine `other`, but `pretended`: use a build of myriad that has it"
    );
    assert_eq!(child.facts(files.engine.name).unwrap_err().to_string(), why);
}
