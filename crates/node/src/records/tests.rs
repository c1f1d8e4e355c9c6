//! Records are kept, resumed from, cleaned up, and read where they are damaged.

use myriad_core::{Arities, TaskId};
use myriad_engine::{
    FinalForm, Loaded, MemoryBudget,
    worker::{Usage, WorkerConfig},
};

use super::*;
use crate::{
    Event, Job, Observer, Options, open_blobs,
    store::{Accepted, TaskKey},
};

fn job(name: &str) -> Job {
    Job {
        name: name.into(),
        image: name.as_bytes().to_vec(),
        program_config: Some("[app_vm_config]".into()),
        input: Input::from_bytes(b"what it reads".to_vec()).unwrap(),
        loaded: Loaded::pretended(),
        verify: "--program p.elf".into(),
    }
}

fn options(dir: &Path) -> Options {
    Options {
        data_dir: dir.to_owned(),
        final_form: FinalForm::Small,
        out_dir: dir.join("out"),
        memory: MemoryBudget::from_bytes(4 << 30),
        children: 1,
        max_instructions: 1000,
        deadline: None,
        priority: 0,
        fleet: Fleet::Network { provers: 8 },
        keep_jobs: None,
        worker: WorkerConfig {
            engine: myriad_engine::EngineFacts::pretended(),
            command: "none".into(),
            args: Vec::new(),
            keys: "none".into(),
            threads: 1,
        },
    }
}

/// Begins a job as a driver does, and gives what keeps it locked.
fn begin(dir: &Path, id: JobId, name: &str, events: &[Event]) -> Store {
    let blobs = open_blobs(dir, u64::MAX).unwrap();
    let store = Store::open(dir, id, blobs.clone()).unwrap();
    let nobody = |_: &Event| {};
    let mut recorder = Recorder::begin(id, &job(name), &options(dir), &blobs, (false, nobody)).unwrap();
    events.iter().for_each(|event| recorder.event(event));
    store
}

fn planned() -> Event {
    Event::Planned {
        instructions: 10,
        segments: 2,
        nodes: 3,
        arities: Arities {
            leaf: 4,
            internal_for_leaf: 3,
            internal_recursive: 3,
        },
        provers: 1,
        reused: 1,
        kept: vec![TaskId::Segment(0)],
        public_values: Vec::new(),
    }
}

const FIRST: JobId = JobId([0x1a; 32]);
const SECOND: JobId = JobId([0x1b; 32]);

#[test]
fn a_job_is_found_while_it_runs_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    assert!(jobs.list().unwrap().is_empty());
    let store = begin(dir.path(), FIRST, "first", &[planned()]);
    let found = jobs.find("1A").unwrap();
    let record = found.record.unwrap();
    assert!(found.running);
    assert_eq!(
        (record.done, record.tasks, record.state),
        (1, Some(6), State::Open)
    );
    drop(store);
    assert!(!jobs.find("1a").unwrap().running);

    let blobs = open_blobs(dir.path(), u64::MAX).unwrap();
    let (loaded, record) = jobs.load(FIRST, &blobs).unwrap();
    assert_eq!(
        (loaded.image, loaded.input),
        (job("first").image, job("first").input)
    );
    assert_eq!(loaded.program_config, job("first").program_config);
    assert_eq!(record.fleet, Fleet::Network { provers: 8 });

    drop(begin(dir.path(), SECOND, "second", &[]));
    assert!(matches!(
        jobs.find("1"),
        Err(JobsError::Ambiguous { found: 2, .. })
    ));
    assert!(matches!(jobs.find("2"), Err(JobsError::None { .. })));
    assert!(matches!(jobs.find(""), Err(JobsError::None { .. })));
}

#[test]
fn a_job_can_be_cancelled_and_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    drop(begin(dir.path(), FIRST, "first", &[planned()]));
    jobs.cancel(FIRST, Duration::ZERO).unwrap();
    assert_eq!(jobs.record(FIRST).unwrap().state, State::Cancelled);
    drop(begin(dir.path(), FIRST, "first", &[planned(), Event::Finished]));
    assert_eq!(jobs.record(FIRST).unwrap().state, State::Done);
    jobs.cancel(FIRST, Duration::ZERO).unwrap();
    assert_eq!(jobs.record(FIRST).unwrap().state, State::Done, "it was too late");
}

#[test]
fn a_job_that_is_done_names_its_proof() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    drop(begin(dir.path(), FIRST, "first", &[planned()]));
    assert_eq!(jobs.record(FIRST).unwrap().proof_files(), None, "not done");
    drop(begin(dir.path(), FIRST, "first", &[planned(), Event::Finished]));
    let out = dir.path().join("out");
    let files = (
        out.join("first.pretended.proof"),
        Some(out.join("first.pretended.baseline")),
    );
    let mut record = jobs.record(FIRST).unwrap();
    assert_eq!(record.proof_files(), Some(files));
    record.name = "../first".into();
    assert_eq!(record.proof_files(), None, "it is not in that folder");
    record.name = "first".into();
    record.endings = None;
    assert_eq!(record.proof_files(), None, "an older build has made it");
}

#[test]
fn a_process_that_got_the_number_of_another_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    let store = begin(dir.path(), FIRST, "first", &[planned()]);
    // The process that holds the journal is this one; its record tells of one that had its number
    // before.
    let mut record = jobs.record(FIRST).unwrap();
    record.started = record.started.map(|started| started - 1);
    jobs.write(FIRST, &mut record).unwrap();
    let refused = jobs.cancel(FIRST, Duration::ZERO).unwrap_err();
    assert!(
        matches!(&refused, JobsError::NotStopped { reason, .. } if reason.contains("did not begin the job")),
        "{refused}"
    );
    drop(store);
    jobs.cancel(FIRST, Duration::ZERO).unwrap();
}

#[test]
fn cleaning_leaves_what_a_job_still_needs() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    let blobs = open_blobs(dir.path(), u64::MAX).unwrap();
    assert_eq!(jobs.clean(Keep::default()).unwrap(), Removed::default());
    drop(begin(dir.path(), FIRST, "first", &[planned()]));
    drop(begin(dir.path(), SECOND, "second", &[planned(), Event::Finished]));
    blobs.put(b"of no job").unwrap();
    // Everything but the program is the same in both.
    let removed = jobs.clean(Keep::default()).unwrap();
    assert_eq!((removed.jobs, removed.blobs), (1, 2));
    assert_eq!(removed.bytes, ("second".len() + "of no job".len()) as u64);
    assert_eq!(jobs.list().unwrap().len(), 1);
    jobs.load(FIRST, &blobs).unwrap();
    assert!(matches!(jobs.load(SECOND, &blobs), Err(JobsError::Record { .. })));
}

/// A proof that says nothing, of these bytes.
fn proof(text: &str) -> Accepted {
    let root = "[1,2,3,4,5,6,7,8]";
    let boundary = format!(
        r#"{{"initial_pc":0,"final_pc":4,"initial_root":{root},"final_root":{root},"exit_code":null}}"#
    );
    Accepted {
        boundary: serde_json::from_str(&boundary).unwrap(),
        proof: text.as_bytes().to_vec(),
    }
}

#[test]
fn cleaning_beside_jobs_takes_what_was_of_no_job_before_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    let blobs = open_blobs(dir.path(), u64::MAX).unwrap();
    let held = |text: &str| blobs.contains(&BlobRef::of(text.as_bytes()).blob);
    // It ran before, and its proof is from then.
    let first = begin(dir.path(), FIRST, "first", &[planned()]);
    first.put(TaskKey([1; 32]), &proof("proof of the first")).unwrap();
    drop(first);
    for text in ["before both", "accepted later"] {
        blobs.put(text.as_bytes()).unwrap();
    }
    let first = begin(dir.path(), FIRST, "first", &[planned()]);
    blobs.put(b"between").unwrap();
    let second = begin(dir.path(), SECOND, "second", &[planned()]);
    second
        .put(TaskKey([2; 32]), &proof("proof of the second"))
        .unwrap();
    blobs.put(b"after both").unwrap();
    let stays = [
        "first",
        "second",
        "proof of the first",
        "proof of the second",
        "between",
        "after both",
    ];
    let removed = jobs.clean(Keep::default()).unwrap();
    assert_eq!((removed.jobs, removed.blobs, removed.running), (0, 2, 2));
    assert!(stays.into_iter().all(held));
    assert!(!held("before both") && !held("accepted later"));

    // A job accepts what was of no job before it: its list does not serve any more.
    blobs.put(b"accepted later").unwrap();
    drop((first, second));
    let first = begin(dir.path(), FIRST, "first", &[planned()]);
    first.put(TaskKey([3; 32]), &proof("accepted later")).unwrap();
    assert_eq!(jobs.clean(Keep::default()).unwrap().blobs, 0);
    assert!(held("accepted later") && held("between"));
    // Nor does one that an earlier process has left.
    drop(first);
    let first = Store::open(dir.path(), FIRST, blobs.clone()).unwrap();
    assert!(first.get(TaskKey([3; 32])).unwrap().is_some());
    let removed = jobs.clean(Keep::default()).unwrap();
    assert_eq!((removed.blobs, held("accepted later")), (2, true));
}

#[test]
fn cleaning_beside_a_job_without_a_list_leaves_all_that_is_of_no_job() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    let blobs = open_blobs(dir.path(), u64::MAX).unwrap();
    blobs.put(b"of no job").unwrap();
    let running = begin(dir.path(), FIRST, "first", &[planned()]);
    let list = job_dir(dir.path(), FIRST).join("others");
    let whole = fs::read(&list).unwrap();
    // Cut off, as by another build.
    fs::write(&list, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(jobs.clean(Keep::default()).unwrap().blobs, 0);
    fs::remove_file(&list).unwrap();
    assert_eq!(jobs.clean(Keep::default()).unwrap().blobs, 0);
    fs::write(&list, &whole).unwrap();
    assert_eq!(jobs.clean(Keep::default()).unwrap().blobs, 1);
    drop(running);
}

#[test]
fn cleaning_beside_a_job_leaves_all_that_may_be_its() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    let blobs = open_blobs(dir.path(), u64::MAX).unwrap();
    let running = begin(dir.path(), FIRST, "first", &[planned()]);
    running
        .put(TaskKey([1; 32]), &proof("proof of the first"))
        .unwrap();
    // It ran before, and does so again: that it ended then is of no account.
    let mut record = jobs.record(FIRST).unwrap();
    record.state = State::Done;
    jobs.write(FIRST, &mut record).unwrap();
    let ended = begin(dir.path(), SECOND, "second", &[planned(), Event::Finished]);
    ended
        .put(TaskKey([1; 32]), &proof("proof of the second"))
        .unwrap();
    drop(ended);
    blobs.put(b"of no job that is known").unwrap();

    let removed = jobs.clean(Keep::default()).unwrap();
    let expected = Removed {
        jobs: 1,
        blobs: 2,
        bytes: ("second".len() + "proof of the second".len()) as u64,
        running: 1,
    };
    assert_eq!(removed, expected);
    let held = |text: &str| blobs.contains(&BlobRef::of(text.as_bytes()).blob);
    assert!(held("proof of the first") && held("first") && held("of no job that is known"));
    assert!(!held("proof of the second") && !held("second"));
    assert!(running.get(TaskKey([1; 32])).unwrap().is_some());
    jobs.load(FIRST, &blobs).unwrap();

    // When it has come to its end, nothing of it is needed.
    drop(running);
    assert_eq!(jobs.clean(Keep::default()).unwrap().jobs, 1);
    assert_eq!(open_blobs(dir.path(), u64::MAX).unwrap().used_bytes(), 0);
}

#[test]
fn nothing_is_removed_that_a_job_without_a_readable_record_may_need() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    let running = begin(dir.path(), FIRST, "first", &[planned()]);
    drop(begin(dir.path(), SECOND, "first", &[planned(), Event::Finished]));
    fs::write(jobs.path(FIRST), "{").unwrap();
    assert!(matches!(
        jobs.clean(Keep::default()),
        Err(JobsError::Record { .. })
    ));
    assert_eq!(jobs.list().unwrap().len(), 2);
    drop(running);
}

#[test]
fn no_job_begins_while_jobs_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(begin(dir.path(), FIRST, "first", &[planned(), Event::Finished]));
    let cleaning = crate::store::cleaning(dir.path()).unwrap();
    let began = std::thread::spawn({
        let dir = dir.path().to_owned();
        move || drop(begin(&dir, FIRST, "first", &[planned()]))
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!began.is_finished());
    drop(cleaning);
    began.join().unwrap();
    assert_eq!(Jobs::of(dir.path()).record(FIRST).unwrap().state, State::Open);
}

#[test]
fn old_jobs_go_when_another_begins() {
    const DAYS: u64 = 86_400;
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    for (id, name, age_days) in [(FIRST, "old", 31), (SECOND, "new", 29)] {
        drop(begin(dir.path(), id, name, &[planned(), Event::Finished]));
        let mut record = jobs.record(id).unwrap();
        record.updated = now_s() - age_days * DAYS;
        fs::write(jobs.path(id), serde_json::to_vec(&record).unwrap()).unwrap();
    }
    let again = |id, name: &str| {
        let options = Options {
            keep_jobs: Some(Duration::from_secs(30 * DAYS)),
            ..options(dir.path())
        };
        let blobs = open_blobs(dir.path(), u64::MAX).unwrap();
        let store = Store::open(dir.path(), id, blobs.clone()).unwrap();
        let nobody = |_: &Event| {};
        drop(Recorder::begin(id, &job(name), &options, &blobs, (false, nobody)).unwrap());
        drop(store);
        jobs.list()
            .unwrap()
            .into_iter()
            .map(|job| job.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(again(FIRST, "old").len(), 2, "the old one is wanted again");
    let mut record = jobs.record(FIRST).unwrap();
    (record.state, record.updated) = (State::Cancelled, now_s() - 31 * DAYS);
    fs::write(jobs.path(FIRST), serde_json::to_vec(&record).unwrap()).unwrap();
    assert_eq!(again(SECOND, "new"), [SECOND]);
}

#[test]
fn cleaning_keeps_what_is_new_and_fits() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    // Each ended a day before the next. Their programs have 3, 4 and 5 bytes, and the rest is the
    // same in all.
    let ids = [0x1a, 0x1b, 0x1c].map(|byte| JobId([byte; 32]));
    for (age_days, (id, name)) in (1..=3).rev().zip(ids.iter().zip(["one", "four", "fives"])) {
        drop(begin(dir.path(), *id, name, &[planned(), Event::Finished]));
        let mut record = jobs.record(*id).unwrap();
        record.updated = now_s() - age_days * 86_400 - 3600;
        let json = serde_json::to_vec(&record).unwrap();
        fs::write(jobs.path(*id), json).unwrap();
    }
    let left = || {
        let mut left: Vec<u8> = jobs.list().unwrap().iter().map(|job| job.id.0[0]).collect();
        left.sort_unstable();
        left
    };
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let keep = |newer_than, bytes| Keep { newer_than, bytes };
    assert_eq!(
        jobs.clean(keep(days(4), Some(u64::MAX))).unwrap(),
        Removed::default()
    );
    assert_eq!(jobs.clean(keep(days(3), None)).unwrap().jobs, 1);
    assert_eq!(left(), [0x1b, 0x1c], "the oldest is gone");
    let used = open_blobs(dir.path(), u64::MAX).unwrap().used_bytes();
    assert_eq!(jobs.clean(keep(None, Some(used))).unwrap(), Removed::default());
    assert_eq!(
        jobs.clean(keep(None, Some(used - 1))).unwrap().bytes,
        "four".len() as u64
    );
    assert_eq!(left(), [0x1c], "the newest stays");
    assert_eq!(jobs.clean(keep(days(4), Some(0))).unwrap().jobs, 1);
}

#[test]
fn a_record_that_is_none_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = Jobs::of(dir.path());
    drop(begin(dir.path(), FIRST, "first", &[]));
    let path = jobs.path(FIRST);
    let newer = fs::read_to_string(&path)
        .unwrap()
        .replace("\"version\": 1", "\"version\": 2");
    fs::write(&path, newer).unwrap();
    assert!(matches!(
        jobs.record(FIRST),
        Err(JobsError::Newer { found: 2, .. })
    ));
    for garbage in ["", "{", "[]", "{\"version\": 1}"] {
        fs::write(&path, garbage).unwrap();
        assert!(
            matches!(jobs.record(FIRST), Err(JobsError::Record { .. })),
            "{garbage}"
        );
        assert!(jobs.find("1a").unwrap().record.is_none());
    }
    fs::write(&path, vec![b' '; RECORD_BYTES_MAX as usize + 1]).unwrap();
    assert!(matches!(jobs.record(FIRST), Err(JobsError::Record { .. })));
}

#[test]
fn progress_counts_what_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let done = Event::Done {
        prover: 0,
        task: TaskId::Segment(0),
        usage: Usage::default(),
        proof_bytes: 1,
    };
    let finished = [planned(), done.clone(), done, Event::Finished];
    drop(begin(dir.path(), FIRST, "first", &finished));
    assert_eq!(Jobs::of(dir.path()).record(FIRST).unwrap().done, 3);
}

/// Records of builds that had one engine do not name it, and call the text that configures a
/// program by that engine's name for it.
#[test]
fn a_record_without_an_engine_is_of_the_one_that_there_was() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open_blobs(dir.path(), u64::MAX).unwrap();
    drop(begin(dir.path(), FIRST, "first", &[]));
    let jobs = Jobs::of(dir.path());
    let engine = options(dir.path()).worker.engine.id.name;
    assert_eq!(jobs.record(FIRST).unwrap().engine, engine);
    let path = jobs.path(FIRST);
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let fields = json.as_object_mut().unwrap();
    assert!(fields.contains_key("openvm_toml"));
    fields.remove("engine").unwrap();
    fs::write(&path, json.to_string()).unwrap();
    let (kept, record) = jobs.load(FIRST, &blobs).unwrap();
    assert_eq!(record.engine.as_str(), "openvm");
    assert_eq!(kept.program_config, job("first").program_config);
}
