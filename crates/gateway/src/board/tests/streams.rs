//! Streams: resumed, run over, of another start, and of the whole service.

use std::time::Duration;

use myriad_api::{Event as ApiEvent, Service, Traffic};
use tokio::time::timeout;

use super::*;

/// Far more than it takes, on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(60);

const SMALL: Limits = Limits {
    events: 8,
    bytes: 1 << 20,
};

fn notice(number: usize) -> Event {
    Event::Notice {
        text: number.to_string(),
    }
}

fn all(reader: &mut Subscription) -> Vec<Delivery> {
    std::iter::from_fn(|| reader.try_next()).collect()
}

fn names(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.name).collect()
}

fn service() -> Service {
    Service {
        build: "test".into(),
        peer: String::new(),
        started_ms: 0,
        now_ms: 5,
        engines: Vec::new(),
        jobs: 0,
        jobs_max: 0,
        running: 0,
        accepted: 0,
        traffic: Traffic::default(),
        disk_free_bytes: 0,
        disk_bytes: 0,
    }
}

#[test]
fn a_stream_goes_on_where_its_reader_was_or_with_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::with_rings(dir.path(), [SMALL, SMALL]).unwrap();
    assert!(board.subscribe(Stream::Job(ID), None).is_none(), "no such job");
    let mut reporter = board.enter(ID, entry("block")).unwrap();
    let of = Stream::Job(ID);
    let mut reader = board.subscribe(of, None).unwrap();
    assert_eq!(names(&all(&mut reader)), ["snapshot"]);
    reporter.event(&notice(1));
    reporter.event(&notice(2));
    let read = all(&mut reader);
    assert_eq!(names(&read), ["notice", "notice"]);
    // Another connection of the same client.
    let mut resumed = board.subscribe(of, read[0].id).unwrap();
    assert_eq!(*all(&mut resumed)[0].data, *read[1].data);
    for id in [
        // Of another start, and of none that has happened.
        EventId { start: 9, count: 1 },
        EventId { start: 1, count: 99 },
    ] {
        let mut other = board.subscribe(of, Some(id)).unwrap();
        assert_eq!(names(&all(&mut other)), ["snapshot"]);
    }
    for number in 0..8 {
        reporter.event(&notice(number));
    }
    assert_eq!(names(&all(&mut reader)), ["notice"; 8], "it is just in time");
    assert_eq!(names(&all(&mut resumed)), ["notice"; 8]);
    for number in 0..9 {
        reporter.event(&notice(number));
    }
    let over = all(&mut reader);
    assert_eq!(names(&over), ["snapshot"], "the ring has run over its place");
    let mut old = board.subscribe(of, read[0].id).unwrap();
    let fresh = all(&mut old);
    assert!(Arc::ptr_eq(&fresh[0].data, &over[0].data), "it is made once");
    assert_eq!(board.counts().subscribers, 3);
    drop((reader, resumed, old));
    assert_eq!(board.counts().subscribers, 0);
}

#[test]
fn another_start_has_another_number() {
    let dir = tempfile::tempdir().unwrap();
    let first = {
        let board = Board::open(dir.path()).unwrap();
        assert!(Board::open(dir.path()).is_err(), "it is in use");
        drop(board.enter(ID, entry("block")).unwrap());
        board.ended(ID, failed("why"));
        let mut reader = board.subscribe(Stream::Job(ID), None).unwrap();
        reader.try_next().unwrap().id.unwrap()
    };
    let board = Board::open(dir.path()).unwrap();
    let mut reader = board.subscribe(Stream::Job(ID), Some(first)).unwrap();
    let snapshot = reader.try_next().unwrap();
    assert_eq!(snapshot.name, "snapshot");
    assert_eq!(snapshot.id.unwrap().start, first.start + 1);
    assert!(reader.try_next().is_none());
    let event: ApiEvent = serde_json::from_str(&snapshot.data).unwrap();
    let News::Snapshot { now } = event.news else {
        panic!("{event:?}")
    };
    assert_eq!(
        (now.state, now.error.unwrap().detail),
        (JobState::Failed, "why".into())
    );
    // It comes again, and its reader hears of it.
    let mut reporter = board.enter(ID, entry("block")).unwrap();
    reporter.event(&Event::Preparing);
    assert_eq!(names(&all(&mut reader)), ["snapshot", "state"]);
    drop((board, reader, reporter));
    std::fs::write(dir.path().join("gateway/start"), "1x").unwrap();
    let board = Board::open(dir.path()).unwrap();
    assert!(
        board.0.start > 1 << 40,
        "of the clock: above all that were counted"
    );
}

#[test]
fn the_stream_of_all_has_what_concerns_all() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::with_rings(dir.path(), [Limits::JOB, SMALL]).unwrap();
    let mut reader = board.subscribe(Stream::All, None).unwrap();
    assert!(all(&mut reader).is_empty() && board.has_listeners());
    let mut first = board.enter(id(1), entry("first")).unwrap();
    let mut second = board.enter(id(2), entry("second")).unwrap();
    assert_eq!(names(&all(&mut reader)), ["snapshot"; 2]);
    let to_all = Event::NoticeToAll {
        number: 0,
        text: "to all".into(),
    };
    for reporter in [&mut first, &mut second] {
        reporter.event(&Event::Started {
            prover: 0,
            task: TaskId::Final,
        });
        reporter.event(&to_all);
    }
    first.event(&planned(Vec::new(), vec![7; 2000]));
    board.publish(service());
    let read = all(&mut reader);
    assert_eq!(names(&read), ["notice", "state", "planned", "service"]);
    assert!(!read[0].data.contains("\"job\"") && read[1].data.contains("\"job\""));
    assert!(read[2].data.len() < 500, "without the public values");
    assert!(board.job(id(1)).unwrap().public_values.unwrap().len() > 4000);

    let before = read[0].id;
    for _ in 0..20 {
        board.publish(service());
    }
    let over = all(&mut reader);
    assert_eq!(names(&over), ["snapshot"; 2], "of each job");
    assert!(over.iter().all(|delivery| delivery.data.len() < 1000));
    assert_eq!(
        (over[0].id, over[1].id.is_some()),
        (None, true),
        "the last one makes it whole"
    );
    board.ended(id(1), failed("why"));
    board.ended(id(2), failed("why"));
    for _ in 0..20 {
        board.publish(service());
    }
    let mut resumed = board.subscribe(Stream::All, before).unwrap();
    assert_eq!(
        names(&all(&mut resumed)),
        ["snapshot"],
        "of the newest, if all are over"
    );
    drop((reader, resumed));
    assert!(!board.has_listeners());
}

#[tokio::test]
async fn readers_wait_and_lose_nothing_if_they_stop_to() {
    let dir = tempfile::tempdir().unwrap();
    let board = Board::open(dir.path()).unwrap();
    let mut reporter = board.enter(ID, entry("block")).unwrap();
    let mut reader = board.subscribe(Stream::Job(ID), None).unwrap();
    assert_eq!(reader.next().await.name, "snapshot");
    assert!(timeout(Duration::from_millis(20), reader.next()).await.is_err());
    let waits = tokio::spawn(async move {
        let first = reader.next().await;
        (first, reader.next().await)
    });
    tokio::task::yield_now().await;
    reporter.event(&notice(1));
    tokio::task::yield_now().await;
    reporter.event(&notice(2));
    let (first, second) = timeout(PATIENCE, waits).await.unwrap().unwrap();
    assert_eq!(first.id.unwrap().count + 1, second.id.unwrap().count);
}
