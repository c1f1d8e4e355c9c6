//! The child that finds true boundaries may die, as any process may.

use std::{fs, path::Path};

use myriad_core::{Arities, Tree};
use myriad_engine::{Loaded, MemoryBudget, worker::WorkerConfig};

use super::*;
use crate::{
    job::Fleet,
    requester::queue::{Limits, Place, Queue},
};

const SEGMENTS: u32 = 2;
const ARITIES: Arities = Arities {
    leaf: 2,
    internal_for_leaf: 2,
    internal_recursive: 2,
};
const HANDS: Hands = Hands {
    children: 1,
    threads: 1,
    cores: 1,
};
/// Far more than a child takes to end, on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Two counters, two roots of eight words, and no exit code.
const BOUNDARY: [u8; 2 + 2 * 8 + 1] = [0; 2 + 2 * 8 + 1];
/// Bytes of the request to load: its length, the request, and the two files of a byte each.
const LOAD_BYTES: usize = 4 + 5 + 2;

/// The bytes with which a child answers: a frame with what it took, and the answer's encoding.
fn frame(result: &[u8]) -> Vec<u8> {
    let body = [&[0; 8], result].concat();
    [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat()
}

/// Children of which so many die when they are asked for boundaries.
fn options(dir: &Path, deaths: usize) -> Options {
    let loaded = postcard::to_stdvec(&Loaded::pretended()).unwrap();
    fs::write(dir.join("loaded"), frame(&[&[0, 1][..], &loaded].concat())).unwrap();
    let boundaries = [&[0, 4, SEGMENTS as u8][..], &BOUNDARY, &BOUNDARY].concat();
    fs::write(dir.join("boundaries"), frame(&boundaries)).unwrap();
    let script = format!(
        "cd {}
         echo >> started
         head -c {LOAD_BYTES} > /dev/null; cat loaded
         head -c 1 > /dev/null
         [ $(wc -l < started) -gt {deaths} ] || exit 1
         cat boundaries; cat > /dev/null",
        dir.display()
    );
    Options {
        data_dir: dir.join("data"),
        out_dir: dir.join("out"),
        memory: MemoryBudget::from_bytes(1 << 30),
        children: 1,
        max_instructions: 1000,
        final_form: FinalForm::Small,
        deadline: None,
        priority: 0,
        fleet: Fleet::Network { provers: 1 },
        keep_jobs: None,
        worker: WorkerConfig {
            engine: myriad_engine::EngineFacts::pretended(),
            command: "/bin/sh".into(),
            args: vec!["-c".into(), script],
            keys: "none".into(),
            threads: 1,
        },
    }
}

fn job() -> Job {
    Job {
        name: "job".into(),
        image: vec![1],
        program_config: None,
        input: myriad_engine::Input::default(),
        loaded: Loaded::pretended(),
        verify: String::new(),
    }
}

/// What is known of a job after its truth was looked for with children of which so many die, and
/// how many were started.
fn followed(deaths: usize) -> (Result<(), RunError>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), deaths);
    let job = job();
    let tree = Tree::new(SEGMENTS, ARITIES);
    let mut prepared = Prepared::without_program(dir.path(), tree, FinalForm::Small);
    let segment = |index| Segment {
        index,
        instret_start: u64::from(index),
        num_insns: 1,
        details: Vec::new(),
        last: index + 1 == SEGMENTS,
        cells: 1,
        interactions: 1,
        peak_bytes: 1,
    };
    prepared.plan.segments = (0..SEGMENTS).map(segment).collect();
    let store = Arc::clone(&prepared.store);
    let knowledge = Knowledge::new(Stage::Planned(Arc::new(prepared)));
    let children = Children::default();
    let beginning = Beginning {
        job: &job,
        options: &options,
        hands: HANDS,
        owns: false,
        children: &children,
    };
    let (_more, comes) = mpsc::channel();
    beginning.follow(&knowledge, &comes);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let known = runtime.block_on(knowledge.wait_to_judge(TaskId::Final));
    let kept = store.truth().unwrap().map_or(0, |truth| truth.len());
    assert_eq!(kept, if known.is_ok() { SEGMENTS as usize } else { 0 });
    let started = fs::read_to_string(dir.path().join("started")).unwrap();
    (known, started.lines().count())
}

#[test]
fn the_truth_is_found_though_children_die() {
    let (known, started) = followed(2);
    known.unwrap();
    assert_eq!(started, 3);
}

#[test]
fn children_that_all_die_are_not_started_without_end() {
    let (known, started) = followed(usize::MAX >> 1);
    assert!(matches!(known, Err(RunError::Truth { .. })), "{known:?}");
    assert_eq!(started, DEATHS_MAX as usize);
}

/// A job that is resumed has a plan, and perhaps no truth. A caller that gives it up does not wait
/// until the whole program has been executed.
#[test]
fn the_child_that_finds_the_truth_of_a_resumed_job_ends_when_that_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), 0);
    options.worker.args[1] = format!(
        "cd {}; head -c {LOAD_BYTES} > /dev/null; cat loaded; exec sleep 600",
        dir.path().display()
    );
    let (job, children) = (job(), Children::default());
    let beginning = Beginning {
        job: &job,
        options: &options,
        hands: HANDS,
        owns: false,
        children: &children,
    };
    let tree = Tree::new(SEGMENTS, ARITIES);
    let prepared = Prepared::without_program(dir.path(), tree, FinalForm::Small);
    let waiting = Queue::new(Limits::default()).enter(Place::new(0, None, 0));
    let (_in_work, planning) = waiting.wait(|| false, || {}).unwrap();
    let Begun::Open(open) = beginning.planned(prepared, None, planning).unwrap() else {
        panic!("there is no final proof");
    };
    let (_served, backend, truth) = open.served(None);
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        truth.expect("it is not known")();
        tell.send(()).unwrap();
    });
    children.stop();
    ended.recv_timeout(PATIENCE).expect("its child has ended");
    drop(backend);
}
