//! Submissions: what they become, once or again.

use std::{fs, sync::atomic::Ordering, thread};

use myriad_gateway::keys::{Quota, Role};

use crate::{
    client::{self, FORM, form},
    site::{PROGRAM, Plan, Site, key, wait},
};

const KEY: &str = "idempotency-key";

#[test]
fn the_same_submission_is_the_same_job_and_one_that_has_ended_goes_on() {
    let site = Site::new();
    let first = site.submit("a");
    let id = first.is(201)["id"].as_str().unwrap().to_owned();
    let place = format!("/v1/jobs/{id}");
    assert_eq!(first.header("location"), Some(place.as_str()));
    assert_eq!(site.submit("a").is(200)["id"], *id);
    let name = [
        ("job", br#"{"name": "other", "priority": 3}"#.as_slice()),
        PROGRAM,
        ("input", b"a"),
    ];
    assert_eq!(
        site.submit_with(&name, &[]).is(200)["id"],
        *id,
        "a name makes no other job"
    );
    site.delete(&id).is(202);
    site.wait_for(&id, "cancelled");
    let again = site.submit("a");
    assert_eq!(again.is(202)["id"], *id);
    assert_ne!(again.json()["state"], "cancelled");
}

#[test]
fn a_job_has_what_its_submission_says() {
    let site = Site::new();
    let job = br#"{"name": "my-job", "priority": 7, "deadline_s": 100}"#;
    let job = site
        .submit_with(&[("job", job), PROGRAM, ("input", b"a")], &[])
        .is(201);
    assert_eq!(job["name"], "my-job");
    assert_eq!((&job["priority"], &job["deadline_s"]), (&7.into(), &100.into()));
    let block = [
        ("block; filename=\"../../b 1.json\"", b"block".as_slice()),
        ("block", b"2"),
    ];
    let job = site.submit_with(&block, &[]).is(201);
    assert_eq!(job["name"], "b-1");
}

#[test]
fn the_same_submission_from_many_at_once_is_one_job() {
    // A key has a quarter of the places.
    let site = Plan::new().limits(|limits| limits.uploads = 32).start();
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| site.submit("a"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1, "{answers:?}");
    assert!(
        answers.iter().all(|answer| [200, 201].contains(&answer.status)),
        "{answers:?}"
    );
    let jobs = site.get("/v1/jobs").is(200);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
    assert_ne!(jobs["jobs"][0]["state"], "failed");
}

#[test]
fn an_idempotency_key_is_one_submission_of_one_owner() {
    let plan = Plan::new();
    let other = key(plan.dir.path(), "other", Role::Submit, Quota::default());
    let mut site = plan.start();
    let parts = [PROGRAM, ("input", b"a".as_slice())];
    let id = site.submit_with(&parts, &[(KEY, "k1")]).is(201)["id"].clone();
    assert_eq!(site.submit_with(&parts, &[(KEY, "k1")]).is(200)["id"], id);
    assert_eq!(site.made.load(Ordering::SeqCst), 1, "it was not prepared again");
    let changed = [PROGRAM, ("input", b"b".as_slice())];
    let detail = site
        .submit_with(&changed, &[(KEY, "k1")])
        .is_problem(422, "key-reused");
    assert!(detail.contains(id.as_str().unwrap()), "{detail}");
    let named = [
        PROGRAM,
        ("input", b"a".as_slice()),
        ("job", br#"{"priority": 1}"#),
    ];
    site.submit_with(&named, &[(KEY, "k1")])
        .is_problem(422, "key-reused");
    // White space in the part `job` is no difference.
    let spaced = [("job", b" { } ".as_slice()), PROGRAM, ("input", b"a")];
    assert_eq!(site.submit_with(&spaced, &[(KEY, "k1")]).status, 200);
    site.key = other;
    site.submit_with(&changed, &[(KEY, "k1")]).is(201);
}

#[test]
fn an_idempotency_key_outlives_the_process() {
    let site = Site::new();
    let parts = [PROGRAM, ("input", b"a".as_slice())];
    let id = site.submit_with(&parts, &[(KEY, "k1")]).is(201)["id"].clone();
    let owner = site.key.clone();
    let dir = site.stop();
    let mut site = Plan::of(dir).start();
    site.key = owner;
    let interrupted = site.get(&format!("/v1/jobs/{}", id.as_str().unwrap())).json();
    assert_eq!(interrupted["state"], "interrupted");
    let continued = site.submit_with(&parts, &[(KEY, "k1")]).is(202);
    assert_eq!(continued["id"], id);
    let changed = [PROGRAM, ("input", b"b".as_slice())];
    site.submit_with(&changed, &[(KEY, "k1")])
        .is_problem(422, "key-reused");
    site.submit_with(&parts, &[]).is(200);
}

#[test]
fn idempotency_keys_that_are_none_are_refused() {
    let site = Site::new();
    let long = "k".repeat(256);
    for wrong in ["", "a b", "\u{fc}", &long] {
        site.submit_with(&[PROGRAM], &[(KEY, wrong)])
            .is_problem(400, "bad-request");
    }
    let twice = [(KEY, "a"), (KEY, "a")];
    site.submit_with(&[PROGRAM], &twice)
        .is_problem(400, "bad-request");
    let longest = "k".repeat(255);
    site.submit_with(&[PROGRAM], &[(KEY, &longest)]).is(201);
}

#[test]
fn submissions_with_the_same_key_at_once_are_one() {
    let site = Site::new();
    let parts = [PROGRAM, ("input", b"a".as_slice())];
    let statuses: Vec<_> = thread::scope(|scope| {
        let submit = || site.submit_with(&parts, &[(KEY, "k")]).status;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(submit)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(site.made.load(Ordering::SeqCst), 1);
}

#[test]
fn what_the_workshop_refuses_is_told_and_its_panic_ends_nothing() {
    let site = Site::new();
    let detail = site
        .submit_with(&[("program", b"refuse")], &[])
        .is_problem(422, "invalid");
    assert_eq!(detail, "the program is no program");
    site.submit_with(&[("program", b"panic")], &[])
        .is_problem(500, "internal");
    site.job("a");
    wait(|| site.uploads() == 0);
}

#[test]
fn preparations_are_bounded_and_others_are_answered_meanwhile() {
    let plan = Plan::new().limits(|limits| {
        limits.preparing = 1;
        limits.preparing_queue = 1;
    });
    let site = plan.start();
    let waits = site.dir.path().join("wait");
    fs::write(&waits, "").unwrap();
    thread::scope(|scope| {
        let slow = |input: &'static str| {
            let site = &site;
            move || {
                site.submit_with(&[("program", b"slow"), ("input", input.as_bytes())], &[])
                    .status
            }
        };
        let threads = [scope.spawn(slow("a")), scope.spawn(slow("b"))];
        // This one takes no place: it is refused for its type while there is one.
        let bearer = site.bearer();
        let headers = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
        wait(|| client::ask(site.address, "POST", "/v1/jobs", &headers, b"x").status == 503);
        let refused = site.submit("c");
        refused.is_problem(503, "unavailable");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(site.get("/v1/jobs").status, 200);
        fs::remove_file(&waits).unwrap();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 201);
        }
    });
    site.job("d");
}

#[test]
fn a_service_that_is_full_says_so_and_the_job_is_not_there() {
    let mut plan = Plan::new();
    plan.jobs.jobs = 1;
    let site = plan.start();
    site.job("a");
    let refused = site.submit("b");
    let detail = refused.is_problem(503, "unavailable");
    assert!(detail.contains("1 are allowed"), "{detail}");
    assert_eq!(site.get("/v1/jobs").is(200)["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_job_may_be_cancelled_by_many_at_once_and_while_it_is_submitted() {
    let site = Site::new();
    let id = site.job("a");
    let cancelled = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (site, id) = (&site, &id);
                scope.spawn(move || match number % 2 {
                    0 => site.delete(id).status,
                    _ => site.submit("a").status,
                })
            })
            .collect();
        let statuses = threads.into_iter().map(|thread| thread.join().unwrap());
        statuses.collect::<Vec<_>>()
    });
    assert!(
        cancelled.iter().all(|status| [200, 202, 409].contains(status)),
        "{cancelled:?}"
    );
    // Whatever came first, it ends in one state.
    let _ = site.delete(&id);
    site.wait_for(&id, "cancelled");
    site.submit("a").is(202);
}

#[test]
fn jobs_of_the_last_process_are_continued_where_that_is_wanted() {
    let site = Site::new();
    let id = site.job("a");
    let cancelled = site.job("b");
    site.delete(&cancelled).is(202);
    site.wait_for(&cancelled, "cancelled");
    let dir = site.stop();
    let site = Plan::of(dir).start();
    assert_eq!(site.get(&format!("/v1/jobs/{id}")).json()["state"], "interrupted");
    let dir = site.stop();
    let site = Plan::of(dir).config(|config| config.resume = true).start();
    let is_live = || {
        let job = site.get(&format!("/v1/jobs/{id}")).json();
        ["queued", "planning"].contains(&job["state"].as_str().unwrap())
    };
    wait(is_live);
    let job = site.get(&format!("/v1/jobs/{cancelled}")).json();
    assert_eq!(job["state"], "cancelled");
}

#[test]
fn a_job_that_was_answered_has_its_record_and_is_what_it_was_after_a_restart() {
    let site = Site::new();
    let job = br#"{"name": "my-job", "priority": 7, "deadline_s": 10000}"#;
    let parts = [("job", job.as_slice()), PROGRAM, ("input", b"a")];
    let before = site.submit_with(&parts, &[]).is(201);
    let id = before["id"].as_str().unwrap().to_owned();
    let record = site.dir.path().join("jobs").join(&id).join("job.json");
    assert!(record.is_file(), "a crash would lose the job");
    let dir = site.stop();
    let site = Plan::of(dir).config(|config| config.resume = true).start();
    let path = format!("/v1/jobs/{id}");
    wait(|| site.get(&path).json()["state"] != "interrupted");
    let after = site.get(&path).json();
    for field in ["priority", "deadline_s", "block", "submitted_ms"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

#[test]
fn an_interrupted_job_may_be_cancelled_and_stays_so() {
    let site = Site::new();
    let id = site.job("a");
    let owner = site.key.clone();
    let mut site = Plan::of(site.stop()).start();
    site.key = owner;
    assert_eq!(site.delete(&id).is(202)["state"], "cancelled");
    site.delete(&id).is_problem(409, "conflict");
    let site = Plan::of(site.stop())
        .config(|config| config.resume = true)
        .start();
    let job = site.get(&format!("/v1/jobs/{id}")).json();
    assert_eq!(job["state"], "cancelled");
}

#[test]
fn what_another_process_works_on_is_a_conflict_and_does_not_fail() {
    let site = Site::new();
    let id = site.job("a");
    let owner = site.key.clone();
    let mut site = Plan::of(site.stop()).start();
    site.key = owner;
    let journal = site.dir.path().join("jobs").join(&id).join("journal.redb");
    let held = fs::File::open(journal).unwrap();
    held.lock().unwrap();
    let detail = site.submit("a").is_problem(409, "conflict");
    assert!(detail.contains("another process"), "{detail}");
    drop(held);
    assert_eq!(site.submit("a").is(202)["id"], *id);
}

#[test]
fn a_service_that_stops_takes_no_more_jobs() {
    let mut site = Site::new();
    let id = site.job("a");
    let mut events = site.events(&format!("/v1/jobs/{id}/events"), &[]);
    // This connection is there before the service closes its door.
    let mut waiting = client::connect(site.address);
    site.begin_stop();
    let ended = events.until(|event| event.data["state"] == "interrupted");
    assert_eq!(ended.name, "state");
    while let Some(event) = events.next() {
        assert_eq!(event.data["now"]["state"], "interrupted", "{event:?}");
    }
    let bearer = site.bearer();
    let mut bytes = client::head("POST", "/v1/jobs", &[("authorization", &bearer), FORM]).into_bytes();
    bytes.extend(form(&[PROGRAM]));
    // It is closed, or refuses.
    use std::io::{Read, Write};
    let _ = waiting.write_all(&bytes);
    let mut answer = Vec::new();
    let _ = waiting.read_to_end(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 503"),
        "{answer:?}"
    );
    let begun = std::time::Instant::now();
    site.stop();
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
}
