//! What is left on the disk of jobs, whole, damaged and of other processes.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use serde_json::json;

use super::*;

/// Leaves the record of a job, as node does.
fn record(dir: &Path, id: JobId, state: &str, begun: u64) -> PathBuf {
    let part = json!({ "blake3": "00".repeat(32), "bytes": 1 });
    let record = json!({
        "version": 1, "name": "block", "state": state, "begun": begun, "updated": begun + 9, "pid": 1,
        "out_dir": dir.join("out"), "memory_bytes": 1, "max_instructions": 1,
        "fleet": { "kind": "network", "provers": 1 }, "engine": "pretended", "verify": "--program p",
        "program": part, "input": part, "done": 4, "tasks": 6,
        "endings": ["pretended.proof", "pretended.baseline"],
    });
    let folder = dir.join("jobs").join(id.to_string());
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("job.json");
    fs::write(&path, record.to_string()).unwrap();
    path
}

fn note_of(dir: &Path, id: JobId) -> PathBuf {
    dir.join("gateway/jobs").join(format!("{id}.json"))
}

/// Has a service do a job until it ends.
fn ends(dir: &Path, id: JobId, end: End<'_>) {
    let board = Board::open(dir).unwrap();
    let mut reporter = board.enter(id, entry("block")).unwrap();
    reporter.event(&planned(Vec::new(), vec![1]));
    board.ended(id, end);
}

/// Eight jobs of earlier starts and of others, the proof of the first, and what holds the last.
fn earlier(dir: &Path) -> (Outcome, File) {
    let done = outcome(dir, "block", vec![1]);
    for (number, state, end) in [
        (1, "done", End::Done(&done)),
        (2, "open", failed("why")),
        (3, "open", End::Cancelled),
        (4, "open", End::Interrupted),
        // The proof is not that of this block.
        (
            5,
            "done",
            End::OtherValues(Problem::new(Kind::Invalid, "another block")),
        ),
    ] {
        record(dir, id(number), state, 100 + u64::from(number));
        ends(dir, id(number), end);
    }
    // Others have begun these.
    record(dir, id(6), "open", 200);
    record(dir, id(7), "done", 201);
    record(dir, id(8), "open", 202);
    let journal = File::create(dir.join("jobs").join(id(8).to_string()).join("journal.redb")).unwrap();
    journal.lock().unwrap();
    (done, journal)
}

#[test]
fn jobs_of_earlier_starts_have_the_states_that_they_ended_in() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (_, _journal) = earlier(dir);
    let board = Board::open(dir).unwrap();
    let job = |number| board.job(id(number)).unwrap();
    let states = [1, 2, 3, 4, 5, 6, 7, 8].map(|number| job(number).state);
    use JobState::{Cancelled, Done, Failed, Interrupted, Proving};
    assert_eq!(
        states,
        [
            Done,
            Failed,
            Cancelled,
            Interrupted,
            Failed,
            Interrupted,
            Done,
            Proving
        ]
    );
    let listed = board.list(&Filter {
        limit: 100,
        ..Filter::default()
    });
    assert_eq!(listed.jobs.len(), 8);
    assert!(
        listed
            .jobs
            .iter()
            .all(|listed| listed.state == board.job(listed.id.parse_id()).unwrap().state)
    );
}

#[test]
fn jobs_of_earlier_starts_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (done, _journal) = earlier(dir);
    let board = Board::open(dir).unwrap();
    let job = |number| board.job(id(number)).unwrap();
    // When the record was begun counts where the service has not seen the job before.
    assert_eq!((job(1).submitted_ms, job(7).submitted_ms), (101_000, 201_000));
    let first = job(1);
    assert_eq!(
        (first.priority, first.public_values.as_deref()),
        (3, Some("0x01"))
    );
    let proof = first.proof.unwrap();
    assert_eq!((proof.bytes, proof.verify_ms, proof.wall_ms), (7, 16, Some(1500)));
    assert_eq!(job(7).proof.unwrap().verify_ms, 0);
    assert_eq!(
        board.files(id(1)).unwrap(),
        (done.proof_path.clone(), done.baseline_path.clone())
    );
    assert_eq!((board.files(id(5)), board.files(id(6))), (None, None));
    assert_eq!(job(2).error.unwrap().detail, "why");
    assert!(job(2).ended_ms.unwrap() > 1 << 40 && job(8).ended_ms.is_none());
    assert_eq!(board.interrupted(), [id(4)], "others are not the service's own");
    assert_eq!(
        (board.owner(id(1)).as_deref(), board.owner(id(7))),
        (Some("ann"), None)
    );
    // What was cancelled at the service is so for `myriad jobs`, too.
    let cancelled = myriad_node::records::Jobs::of(dir).record(id(3)).unwrap().state;
    assert_eq!(cancelled, myriad_node::records::State::Cancelled);

    fs::remove_file(&done.proof_path).unwrap();
    assert_eq!((board.files(id(1)), job(1).proof), (None, None));
    fs::remove_dir_all(dir.join("jobs").join(id(1).to_string())).unwrap();
    let listed = board.list(&Filter {
        limit: 100,
        ..Filter::default()
    });
    assert_eq!(listed.jobs.len(), 7, "one was cleaned away");
}

trait ParseId {
    fn parse_id(&self) -> JobId;
}

impl ParseId for String {
    fn parse_id(&self) -> JobId {
        let mut id = [0; 32];
        hex::decode_to_slice(self, &mut id).unwrap();
        JobId(id)
    }
}

#[test]
fn a_damaged_note_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    record(dir, ID, "open", 100);
    ends(dir, ID, failed("why"));
    let note = note_of(dir, ID);
    let whole = fs::read(&note).unwrap();
    let newer = String::from_utf8(whole.clone())
        .unwrap()
        .replace("\"version\":1", "\"version\":2");
    let damaged: [&[u8]; 5] = [b"", b"{", b"[]", newer.as_bytes(), &[b' '; (1 << 20) + 1]];
    for bytes in damaged {
        fs::write(&note, bytes).unwrap();
        let board = Board::open(dir).unwrap();
        let job = board.job(ID).unwrap();
        assert_eq!(
            (job.state, job.error, job.priority),
            (JobState::Interrupted, None, 0)
        );
        assert_eq!(job.submitted_ms, 100_000);
        assert!(
            board.interrupted().is_empty(),
            "nobody knows that it is the service's own"
        );
    }
    fs::write(&note, whole).unwrap();
    assert_eq!(Board::open(dir).unwrap().job(ID).unwrap().state, JobState::Failed);
}

#[test]
fn what_others_have_done_to_a_job_that_failed_counts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (number, state) in [(1, "done"), (2, "cancelled"), (3, "open")] {
        record(dir, id(number), state, 100);
        ends(dir, id(number), failed("why"));
    }
    let board = Board::open(dir).unwrap();
    let states = [1, 2, 3].map(|number| board.job(id(number)).unwrap().state);
    use JobState::{Cancelled, Done, Failed};
    assert_eq!(states, [Done, Cancelled, Failed]);
    let progress = board.job(id(1)).unwrap().progress;
    assert_eq!((progress.done, progress.tasks), (6, Some(6)));
}

#[test]
fn a_proof_whose_values_nobody_has_compared_is_none_yet() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    record(dir, ID, "done", 100);
    let asked = NewEntry {
        expected_public_values: Some(vec![1]),
        ..entry("block")
    };
    // The service is killed before it hears of the proof.
    drop(Board::open(dir).unwrap().enter(ID, asked).unwrap());
    let board = Board::open(dir).unwrap();
    assert_eq!(board.job(ID).unwrap().state, JobState::Interrupted);
    assert_eq!(board.interrupted(), [ID]);
    let note = board.note(ID).unwrap();
    assert_eq!(note.expected_public_values.as_deref(), Some("01"));
}

#[test]
fn a_cancel_is_durable_before_the_job_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for number in [1, 2] {
        record(dir, id(number), "open", 100);
    }
    let board = Board::open(dir).unwrap();
    drop(board.enter(id(1), entry("block")).unwrap());
    board.cancelling(id(1)).unwrap();
    assert_eq!(
        board.job(id(1)).unwrap().state,
        JobState::Queued,
        "it has to end first"
    );
    board.cancel_interrupted(id(2)).unwrap();
    assert_eq!(board.job(id(2)).unwrap().state, JobState::Cancelled);
    drop(board);
    let board = Board::open(dir).unwrap();
    let states = [1, 2].map(|number| board.job(id(number)).unwrap().state);
    assert_eq!(states, [JobState::Cancelled; 2]);
    assert!(board.interrupted().is_empty());
}

#[test]
fn a_job_that_failed_before_it_had_a_record_shows_why() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    ends(dir, id(1), failed("why"));
    ends(dir, id(2), End::Interrupted);
    fs::write(dir.join("gateway/jobs/.half-x"), "x").unwrap();
    fs::write(dir.join("gateway/jobs/of somebody"), "x").unwrap();
    let board = Board::open(dir).unwrap();
    assert_eq!(board.job(id(1)).unwrap().error.unwrap().detail, "why");
    assert!(board.job(id(2)).is_none(), "nothing of it is left to go on with");
    assert!(!note_of(dir, id(2)).exists());
    assert!(!dir.join("gateway/jobs/.half-x").exists() && dir.join("gateway/jobs/of somebody").exists());
}
