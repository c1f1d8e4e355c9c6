//! The client against a small server that says what each test wants, well-formed or not.

mod docs;
mod server;

use std::{
    fs,
    io::{self, Write},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use myriad_client::{
    Client, Error, Received, Submission, Was,
    api::{EventId, JobRequest, JobState, Kind, News, Problem},
};

use crate::server::{Request, Server, answer, json};

const ID: &str = "5f0c0e5e0c7e4d0f9a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071";

fn job(state: &str) -> String {
    format!(
        r#"{{"id":"{ID}","name":"block","engine":"openvm","state":"{state}","priority":0,"submitted_ms":1,"updated_ms":2,
            "progress":{{"done":0,"segments":0,"instructions":0,"reused":0,"running":0}},"later":true}}"#
    )
    .replace('\n', "")
}

fn event(id: &str, data: &str) -> String {
    format!("id: {id}\nevent: x\ndata: {data}\n\n")
}

fn state(id: &str, state: &str) -> String {
    event(id, &format!(r#"{{"at_ms":1,"type":"state","state":"{state}"}}"#))
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n";

#[test]
fn a_submission_is_streamed_with_its_key_and_length() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("block.json.gz");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(&file, &bytes).unwrap();
    let server = Server::start(move |request: &mut Request| {
        assert_eq!(request.line, "POST /v1/jobs HTTP/1.1");
        assert_eq!(request.header("authorization"), Some("Bearer myr_secret"));
        assert_eq!(request.header("idempotency-key"), Some("order-7"));
        assert_eq!(request.header("expect"), Some("100-continue"));
        assert_eq!(request.header("transfer-encoding"), None);
        let body = request.body();
        assert!(body.windows(bytes.len()).any(|window| window == bytes));
        let text = String::from_utf8_lossy(&body);
        assert!(
            text.contains("name=\"job\"") && text.contains("{\"deadline_s\":60,\"priority\":2}")
                || text.contains("{\"priority\":2,\"deadline_s\":60}"),
            "{}",
            &text[..300]
        );
        assert!(text.contains("name=\"block\"; filename=\"block.json.gz\""));
        json(202, &job("queued"))
    });
    let client = server.client().key("myr_secret\n").unwrap();
    let submission = Submission::block(&file)
        .idempotency_key("order-7")
        .request(JobRequest {
            priority: 2,
            deadline_s: Some(60),
            ..JobRequest::default()
        });
    let submitted = client.submit(&submission).unwrap();
    assert_eq!((submitted.was, submitted.job.id.as_str()), (Was::Over, ID));
    server.end();
}

#[test]
fn what_is_refused_by_its_head_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large");
    fs::File::create(&file).unwrap().set_len(1 << 30).unwrap();
    let problem = Problem::new(Kind::TooLarge, "the upload has 1 GiB; 8 MiB are allowed");
    let text = serde_json::to_string(&problem).unwrap();
    let server = Server::start(move |_: &mut Request| {
        answer(
            413,
            "application/problem+json",
            "retry-after: 7\r\n",
            text.as_bytes(),
        )
    });
    let begun = Instant::now();
    let error = server.client().submit(&Submission::program(&file)).unwrap_err();
    let Error::Refused(refusal) = &error else {
        panic!("{error}")
    };
    assert_eq!((refusal.status, refusal.kind), (413, Some(Kind::TooLarge)));
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(error.to_string(), problem.detail);
    assert!(!error.is_transient());
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.end();
}

#[test]
fn problems_keep_the_services_words_and_others_say_their_status() {
    for (status, kind, transient) in [(429, Kind::QuotaExceeded, true), (401, Kind::Unauthorized, false)] {
        let problem = Problem::new(kind, "in its own words");
        let text = serde_json::to_string(&problem).unwrap();
        let server = Server::start(move |_: &mut Request| {
            answer(status, "application/problem+json", "", text.as_bytes())
        });
        let error = server.client().job(ID).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.is_transient()),
            ("in its own words", transient)
        );
        server.end();
    }
    let server = Server::start(|_: &mut Request| {
        answer(302, "text/html", "location: http://127.0.0.1:1/\r\n", b"<html>")
    });
    let error = server.client().job(ID).unwrap_err();
    assert!(error.to_string().contains("status 302"), "{error}");
    server.end();
}

#[test]
fn answers_are_bounded_and_have_to_be_documents() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let server = Server::start(move |request: &mut Request| {
        let mut to = request.stream();
        let _ = to.write_all(endless.as_bytes());
        while to.write_all(&[b' '; 1 << 16]).is_ok() {}
        Vec::new()
    });
    let error = server.client().service().unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    server.end();
    for (kind, body) in [
        ("application/json", "{\"id\":1}"),
        ("text/html", "<html>"),
        ("application/json", "[[[["),
    ] {
        let server = Server::start(move |_: &mut Request| answer(200, kind, "", body.as_bytes()));
        let error = server.client().job(ID).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        server.end();
    }
    // Fewer bytes than were announced.
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{";
    let server = Server::start(move |_: &mut Request| cut.as_bytes().to_vec());
    let error = server.client().peers().unwrap_err();
    assert!(
        matches!(error, Error::Transport { .. }) && error.is_transient(),
        "{error}"
    );
    server.end();
}

#[test]
fn nobody_there_is_a_transport_error() {
    let server = Server::start(|_: &mut Request| Vec::new());
    let client = server.client();
    server.end();
    let error = client.service().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error}");
    assert!(error.to_string().contains(client.url()), "{error}");
}

#[test]
fn the_list_is_walked_page_by_page() {
    let server = Server::start(|request: &mut Request| {
        let body = match request.line.as_str() {
            "GET /v1/jobs?limit=100&state=done HTTP/1.1" => {
                format!(r#"{{"jobs":[{0},{0}],"next":"7&x"}}"#, job("done"))
            }
            "GET /v1/jobs?limit=100&state=done&before=7%26x HTTP/1.1" => {
                format!(r#"{{"jobs":[{}]}}"#, job("done"))
            }
            line => panic!("{line}"),
        };
        json(200, &body)
    });
    let jobs: Result<Vec<_>, _> = server.client().jobs(Some(JobState::Done)).collect();
    assert_eq!(jobs.unwrap().len(), 3);
    server.end();
    for page in [
        r#"{"jobs":[],"next":"1"}"#.to_owned(),
        format!(r#"{{"jobs":[{}],"next":"1"}}"#, job("done")),
    ] {
        let server = Server::start(move |_: &mut Request| json(200, &page));
        let jobs: Vec<_> = server.client().jobs(None).take(100).collect();
        assert!(
            matches!(jobs.last(), Some(Err(Error::Malformed { .. }))) && jobs.len() <= 3,
            "{jobs:?}"
        );
        server.end();
    }
}

#[test]
fn a_proof_is_written_as_it_comes() {
    let proof: Vec<u8> = (0..600_000_u32).map(|n| (n % 253) as u8).collect();
    let sent = proof.clone();
    let server = Server::start(move |request: &mut Request| {
        assert_eq!(request.line, format!("GET /v1/jobs/{ID}/proof HTTP/1.1"));
        answer(200, "application/octet-stream", "", &sent)
    });
    let mut got = Vec::new();
    assert_eq!(server.client().proof(ID, &mut got).unwrap(), proof.len() as u64);
    assert_eq!(got, proof);
    server.end();

    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = Server::start(move |_: &mut Request| answer(200, "application/octet-stream", "", &[1, 2]));
    let error = server.client().proof(ID, &mut Full).unwrap_err();
    assert!(matches!(error, Error::Write(_)), "{error}");
    server.end();
}

#[test]
fn events_come_back_after_what_was_lost_and_end_with_the_job() {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(|request: &mut Request| {
        let last = request.header("last-event-id").map(str::to_owned);
        let text = match (CONNECTIONS.fetch_add(1, Ordering::SeqCst), last.as_deref()) {
            (0, None) => {
                let snapshot = format!(r#"{{"at_ms":1,"type":"snapshot","now":{}}}"#, job("queued"));
                format!(
                    "retry: 100\n\n{}{}id: 1-9\ndata: {{\"at_ms\"",
                    event("1-1", &snapshot),
                    state("1-2", "planning")
                )
            }
            (1, Some("1-2")) => return answer(503, "application/problem+json", "retry-after: 0\r\n", b"{}"),
            (2, Some("1-2")) => state("1-3", "proving"),
            (3, Some("1-3")) => state("2-1", "done") + &state("2-2", "queued"),
            other => panic!("{other:?}"),
        };
        [STREAM.as_bytes(), text.as_bytes()].concat()
    });
    let events: Result<Vec<Received>, Error> = server.client().events(ID).unwrap().collect();
    let events = events.unwrap();
    let ids: Vec<String> = events
        .iter()
        .filter_map(|event| Some(event.id?.to_string()))
        .collect();
    assert_eq!(ids, ["1-1", "1-2", "1-3", "2-1"]);
    assert!(matches!(events[0].event.news, News::Snapshot { .. }));
    server.end();
}

#[test]
fn events_that_will_never_come_are_an_error() {
    let problem = serde_json::to_string(&Problem::new(Kind::NotFound, "there is no such job")).unwrap();
    let server =
        Server::start(move |_: &mut Request| answer(404, "application/problem+json", "", problem.as_bytes()));
    let mut events = server.client().events(ID).unwrap();
    assert_eq!(
        events.next().unwrap().unwrap_err().to_string(),
        "there is no such job"
    );
    assert!(events.next().is_none());
    server.end();

    let server = Server::start(|_: &mut Request| Vec::new());
    let mut events = server.client().all_events().patience(Duration::ZERO);
    let error = events.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error}");
    server.end();
}

#[test]
fn an_event_without_end_is_an_error_and_takes_no_memory_without_end() {
    let server = Server::start(|request: &mut Request| {
        let mut to = request.stream();
        let _ = to.write_all(STREAM.as_bytes());
        let _ = to.write_all(b"data: ");
        while to.write_all(&[b'a'; 1 << 16]).is_ok() {}
        Vec::new()
    });
    let mut events = server.client().all_events().after(EventId { start: 1, count: 1 });
    let error = events.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    drop(events);
    server.end();
}

/// A service that stops says so, and continues the job at its next start.
#[test]
fn an_interrupted_job_is_waited_for() {
    static STREAMS: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(
        |request: &mut Request| match request.line.split(' ').nth(1).unwrap() {
            path if path.ends_with("/events") => {
                let text = match STREAMS.fetch_add(1, Ordering::SeqCst) {
                    0 => {
                        "retry: 100\n\n".to_owned() + &state("1-1", "proving") + &state("1-2", "interrupted")
                    }
                    1 => {
                        assert_eq!(request.header("last-event-id"), Some("1-2"));
                        let now = job("interrupted");
                        event("2-1", &format!(r#"{{"at_ms":1,"type":"snapshot","now":{now}}}"#))
                    }
                    _ => state("2-2", "proving") + &state("2-3", "done"),
                };
                [STREAM.as_bytes(), text.as_bytes()].concat()
            }
            _ => json(200, &job("done")),
        },
    );
    assert_eq!(server.client().wait(ID).unwrap().state, JobState::Done);
    assert_eq!(STREAMS.load(Ordering::SeqCst), 3);
    server.end();
}

/// What a later release may say.
#[test]
fn a_state_of_a_later_release_is_unknown_and_no_end() {
    let server = Server::start(
        |request: &mut Request| match request.line.split(' ').nth(1).unwrap() {
            path if path.ends_with("/events") => {
                let text = state("1-1", "hibernating") + &state("1-2", "cancelled");
                [STREAM.as_bytes(), text.as_bytes()].concat()
            }
            _ => json(200, &job("hibernating")),
        },
    );
    let events: Result<Vec<Received>, Error> = server.client().events(ID).unwrap().collect();
    let state = |at: usize| match &events.as_ref().unwrap()[at].event.news {
        News::State { state, .. } => *state,
        news => panic!("{news:?}"),
    };
    assert_eq!([state(0), state(1)], [JobState::Unknown, JobState::Cancelled]);
    assert_eq!(server.client().job(ID).unwrap().state, JobState::Unknown);
    server.end();
}

#[test]
fn waiting_ends_with_the_job() {
    let server = Server::start(
        |request: &mut Request| match request.line.split(' ').nth(1).unwrap() {
            path if path.ends_with("/events") => [STREAM, &state("1-1", "failed")].concat().into_bytes(),
            _ => json(200, &job("failed")),
        },
    );
    assert_eq!(server.client().wait(ID).unwrap().state, JobState::Failed);
    server.end();
}

#[test]
fn cancelling_asks_for_the_job_to_end() {
    let server = Server::start(|request: &mut Request| {
        assert_eq!(request.line, format!("DELETE /v1/jobs/{ID} HTTP/1.1"));
        assert_eq!(request.header("authorization"), Some("Bearer k"));
        json(202, &job("proving"))
    });
    let client: Client = server.client().key("k").unwrap();
    assert_eq!(client.cancel(ID).unwrap().id, ID);
    server.end();
}
