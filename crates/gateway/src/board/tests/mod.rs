//! The board under jobs that come, go and come again, and under what is left of them on the disk.

mod disk;
mod model;
mod streams;

use std::{path::Path, time::Duration};

use myriad_api::{Kind, Problem};
use myriad_core::TaskId;
use myriad_node::{Event, Observer, Outcome};

use super::*;

const ID: JobId = JobId([0xab; 32]);

fn id(number: u16) -> JobId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    JobId(id)
}

fn entry(name: &str) -> NewEntry {
    NewEntry {
        name: name.into(),
        engine: "pretended".into(),
        priority: 3,
        deadline_s: Some(60),
        verify: "--program p".into(),
        owner: Some("ann".into()),
        ..NewEntry::default()
    }
}

fn outcome(dir: &Path, name: &str, public_values: Vec<u8>) -> Outcome {
    let out = dir.join("out");
    std::fs::create_dir_all(&out).unwrap();
    let proof_path = out.join(format!("{name}.pretended.proof"));
    std::fs::write(&proof_path, b"a proof").unwrap();
    Outcome {
        instructions: 1000,
        segments: 2,
        nodes: 3,
        public_values,
        proof_path,
        baseline_path: Some(out.join(format!("{name}.pretended.baseline"))),
        proof_bytes: 7,
        reused: 0,
        wall: Duration::from_millis(1500),
        in_time: Some(true),
        peak_bytes: 0,
        verify: Duration::from_millis(16),
        stages: Vec::new(),
    }
}

fn planned(kept: Vec<TaskId>, public_values: Vec<u8>) -> Event {
    Event::Planned {
        instructions: 1000,
        segments: 2,
        nodes: 3,
        arities: myriad_core::Arities {
            leaf: 4,
            internal_for_leaf: 3,
            internal_recursive: 3,
        },
        provers: 2,
        reused: kept.len(),
        kept,
        public_values,
    }
}

fn done(prover: usize, task: TaskId) -> Event {
    Event::Done {
        prover,
        task,
        usage: Default::default(),
        proof_bytes: 100,
    }
}

fn failed(why: &str) -> End<'static> {
    End::Failed(Problem::new(Kind::Internal, why))
}

#[test]
fn a_job_goes_through_its_states_and_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    assert!(board.job(ID).is_none() && board.tasks(ID).is_none());
    let mut reporter = board.enter(ID, entry("block")).unwrap();
    let again = board.enter(ID, entry("block")).map(drop);
    assert!(matches!(again, Err(NotEntered::There)), "{again:?}");
    let state = || board.job(ID).unwrap().state;
    assert_eq!(state(), JobState::Queued);
    reporter.event(&Event::Preparing);
    assert_eq!(state(), JobState::Planning);
    reporter.event(&planned(vec![TaskId::Segment(0)], vec![1, 2]));
    let prover = 0;
    let task = TaskId::Segment(1);
    reporter.event(&Event::Started { prover, task });
    let job = board.job(ID).unwrap();
    assert_eq!(
        (
            job.state,
            job.public_values.as_deref(),
            job.priority,
            job.deadline_s
        ),
        (JobState::Proving, Some("0x0102"), 3, Some(60))
    );
    let progress = job.progress;
    assert_eq!(
        (progress.done, progress.tasks, progress.reused, progress.running),
        (1, Some(6), 1, 1)
    );
    assert_eq!(board.counts().running, 1);
    assert_eq!(board.files(ID), None);

    let outcome = outcome(dir.path(), "block", vec![1, 2]);
    board.ended(ID, End::Done(&outcome));
    board.ended(ID, failed("too late"));
    reporter.event(&Event::Preparing);
    let job = board.job(ID).unwrap();
    let proof = job.proof.unwrap();
    assert_eq!(
        (job.state, job.progress.done, job.progress.running),
        (JobState::Done, 6, 0)
    );
    assert_eq!((proof.bytes, proof.verify_ms, proof.wall_ms), (7, 16, Some(1500)));
    assert_eq!(proof.href, format!("/v1/jobs/{ID}/proof"));
    let files = (outcome.proof_path.clone(), outcome.baseline_path.clone());
    assert_eq!(board.files(ID), Some(files));

    let again = board.enter(ID, entry("block")).unwrap();
    assert_eq!(state(), JobState::Queued);
    // The thread of the first submission has not ended.
    reporter.event(&Event::Planning);
    assert_eq!(state(), JobState::Queued);
    assert_eq!(board.job(ID).unwrap().submitted_ms, job.submitted_ms);
    drop(again);
    board.ended(ID, End::Cancelled);
    assert_eq!(state(), JobState::Cancelled);
}

#[test]
fn what_peers_say_is_short_and_moves_no_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    let mut reporter = board.enter(ID, entry("block")).unwrap();
    let hostile = format!("\u{1b}[2J\u{202e}{}", "é".repeat(1 << 20));
    let (task, reason, text) = (TaskId::Final, hostile.clone(), hostile.clone());
    let mut reader = board.subscribe(Stream::Job(ID), None).unwrap();
    reader.try_next().unwrap();
    reporter.event(&Event::Retrying {
        task,
        reason: reason.clone(),
    });
    reporter.event(&Event::Reopened { task, reason });
    reporter.event(&Event::Notice { text: text.clone() });
    reporter.event(&Event::NoticeToAll { number: 0, text });
    reporter.event(&Event::Joined {
        prover: 0,
        peer: myriad_core::Peer([1; 32]),
        name: hostile.clone(),
    });
    for _ in 0..5 {
        let data = reader.try_next().unwrap().data;
        assert!(data.len() < 1200 && data.contains("?[2J?é"), "{data}");
    }
    assert!(board.tasks(ID).unwrap().machines[0].name.chars().count() <= 500);
    board.ended(ID, failed(&hostile));
    let error = board.job(ID).unwrap().error.unwrap();
    assert!(error.detail.starts_with("?[2J?é") && error.detail.chars().count() <= 2000);
}

#[test]
fn jobs_are_listed_in_parts_and_by_state_without_large_values() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    for number in 0..10 {
        let mut reporter = board.enter(id(number), entry("block")).unwrap();
        reporter.event(&planned(Vec::new(), vec![7; 1025 - usize::from(number % 2)]));
        if number % 5 == 0 {
            board.ended(id(number), failed("no"));
        }
    }
    let filter = |state, before, limit| Filter { state, before, limit };
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let part = board.list(&filter(None, before, 3));
        assert!(part.jobs.len() <= 3);
        found.extend(part.jobs);
        before = part.next;
        if before.is_none() {
            break;
        }
    }
    let times: Vec<u64> = found.iter().map(|job| job.submitted_ms).collect();
    assert!(found.len() == 10 && times.is_sorted_by(|one, next| one >= next));
    let shown = found.iter().filter(|job| job.public_values.is_some()).count();
    assert_eq!(shown, 5, "a list shows values of at most 1 KiB");
    assert!(board.job(id(0)).unwrap().public_values.is_some());

    let exact = board.list(&filter(Some(JobState::Failed), None, 2));
    assert_eq!((exact.jobs.len(), exact.next), (2, None), "there are no more");
    let proving = board.list(&filter(Some(JobState::Proving), None, 7));
    assert_eq!(proving.jobs.len(), 7);
    assert!(Board::is_cursor(&proving.next.unwrap()));
    for text in ["", "1", "-", "x-00", "01-00", "../x"] {
        assert!(!Board::is_cursor(text), "{text}");
        let part = board.list(&filter(None, Some(text.into()), 7));
        assert!(part.jobs.is_empty() && part.next.is_none());
    }
    let counts = board.counts().jobs;
    assert_eq!(
        (
            counts[JobState::Failed as usize],
            counts[JobState::Proving as usize]
        ),
        (2, 8)
    );
}

#[test]
fn a_job_that_was_not_taken_is_what_it_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    drop(board.enter(ID, entry("block")).unwrap());
    board.not_taken(ID);
    assert!(board.job(ID).is_none() && board.list(&Filter::default()).jobs.is_empty());
    assert_eq!(lock(&board.0.index).slots.len(), 0, "it is not in mind");
    drop(board.enter(ID, entry("block")).unwrap());
    board.ended(ID, failed("why"));
    let before = board.job(ID).unwrap();
    drop(board.enter(ID, entry("block")).unwrap());
    board.not_taken(ID);
    let after = board.job(ID).unwrap();
    assert_eq!(after, before);
    assert_eq!(lock(&board.0.index).slots.len(), 1, "its earlier run is in mind");
}

#[test]
fn a_job_that_was_not_taken_keeps_the_tasks_of_its_earlier_run() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    let mut reporter = board.enter(ID, entry("block")).unwrap();
    let task = TaskId::Segment(0);
    reporter.event(&Event::Started { prover: 0, task });
    board.ended(ID, failed("why"));
    drop(board.enter(ID, entry("again")).unwrap());
    assert!(board.tasks(ID).unwrap().attempts.is_empty());
    board.not_taken(ID);
    assert_eq!(board.tasks(ID).unwrap().attempts.len(), 1);
    let job = board.job(ID).unwrap();
    assert_eq!((job.state, job.name.as_str()), (JobState::Failed, "block"));
}

#[test]
fn no_event_of_a_ring_that_is_gone_is_one_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    drop(board.enter(ID, entry("block")).unwrap());
    let mut reader = board.subscribe(Stream::Job(ID), None).unwrap();
    let last = reader.try_next().unwrap().id;
    drop(reader);
    board.not_taken(ID);
    assert!(lock(&board.0.index).slots.is_empty());
    drop(board.enter(ID, entry("block")).unwrap());
    let mut reader = board.subscribe(Stream::Job(ID), last).unwrap();
    let next = reader.try_next().unwrap();
    assert!(next.name == "snapshot" && next.id.unwrap().count > last.unwrap().count);
}

#[test]
fn of_jobs_that_ended_long_ago_only_the_disk_tells() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    let jobs = OVER_MAX as u16 + 3;
    let reader = board
        .enter(id(0), entry("0"))
        .map(|_| board.subscribe(Stream::Job(id(0)), None));
    for number in 0..jobs {
        let Ok(mut reporter) = board.enter(id(number), entry("block")) else {
            continue;
        };
        let task = TaskId::Segment(0);
        reporter.event(&Event::Started { prover: 0, task });
    }
    for number in 0..jobs {
        board.ended(id(number), failed("why"));
    }
    // The first one has a reader, and keeps its place for it.
    assert_eq!(lock(&board.0.index).slots.len(), OVER_MAX + 1);
    assert!(board.tasks(id(1)).unwrap().attempts.is_empty());
    assert_eq!(board.tasks(id(jobs - 1)).unwrap().attempts.len(), 1);
    assert_eq!(board.job(id(1)).unwrap().state, JobState::Failed);
    drop(reader);
    assert_eq!(lock(&board.0.index).slots.len(), OVER_MAX);
}
