//! The typed client, as the service answers it.

use std::{fs, path::Path, thread, time::Duration};

use myriad_client::{
    Client, Error, Submission, Was,
    api::{JobRequest, JobState, Kind, News},
};
use myriad_gateway::{
    TlsFiles,
    keys::{self, Quota, Role},
};

use crate::site::{Plan, Site, key};

fn anonymous(site: &Site) -> Client {
    Client::new(&format!("http://{}", site.address)).unwrap()
}

/// A program, and an input of so many bytes.
fn submission(site: &Site, bytes: usize) -> Submission {
    let dir = site.dir.path();
    fs::write(dir.join("fib.vmexe"), "run").unwrap();
    let input = dir.join(format!("input of {bytes}"));
    fs::write(&input, vec![7; bytes]).unwrap();
    Submission::program(dir.join("fib.vmexe")).input(input)
}

fn kind(error: &Error) -> Option<Kind> {
    match error {
        Error::Refused(refusal) => refusal.kind,
        _ => None,
    }
}

#[test]
fn a_job_is_submitted_followed_cancelled_and_continued() {
    let site = Site::new();
    let client = anonymous(&site).key(&site.key).unwrap();
    let submission = submission(&site, 5_000_000).request(JobRequest {
        name: Some("typed".into()),
        priority: 3,
        ..JobRequest::default()
    });
    let submitted = client.submit(&submission).unwrap();
    assert_eq!((submitted.was, submitted.job.priority), (Was::New, 3));
    let id = submitted.job.id;
    assert_eq!(client.submit(&submission).unwrap().was, Was::There);
    assert_eq!(client.job(&id).unwrap().name, "typed");
    assert_eq!(client.tasks(&id).unwrap().segments, 0);

    let mut events = client.events(&id).unwrap();
    let first = events.next().unwrap().unwrap();
    assert!(matches!(&first.event.news, News::Snapshot { now } if now.id == id));
    client.cancel(&id).unwrap();
    let last = events.last().unwrap().unwrap();
    assert!(
        matches!(
            last.event.news,
            News::State {
                state: JobState::Cancelled,
                ..
            }
        ),
        "{last:?}"
    );
    assert_eq!(client.wait(&id).unwrap().state, JobState::Cancelled);
    assert_eq!(
        kind(&client.proof(&id, &mut Vec::new()).unwrap_err()),
        Some(Kind::Conflict)
    );
    assert_eq!(kind(&client.cancel(&id).unwrap_err()), Some(Kind::Conflict));
    assert_eq!(client.submit(&submission).unwrap().was, Was::Over);
}

#[test]
fn documents_of_the_service_are_those_that_the_client_reads() {
    let site = Site::new();
    let client = anonymous(&site).key(&site.key).unwrap();
    let ids: Vec<String> = (1..=103)
        .map(|bytes| client.submit(&submission(&site, bytes)).unwrap().job.id)
        .collect();
    let listed: Vec<String> = anonymous(&site).jobs(None).map(|job| job.unwrap().id).collect();
    assert_eq!(listed, ids.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(client.jobs(Some(JobState::Done)).count(), 0);
    assert_eq!(client.service().unwrap().jobs, 103);
    assert_eq!(client.peers().unwrap().connected, 0);
    let first = client.all_events().next().unwrap().unwrap();
    assert!(
        first.id.is_some() || matches!(first.event.news, News::Snapshot { .. }),
        "{first:?}"
    );
}

#[test]
fn what_the_service_refuses_is_an_error_with_its_words() {
    let site = Site::new();
    let client = anonymous(&site);
    let submission = submission(&site, 1);
    let error = client.submit(&submission).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::Unauthorized));
    assert!(error.to_string().contains("myriad keys add"), "{error}");
    let error = client.key("myr_wrong").unwrap().service().unwrap_err();
    assert_eq!(kind(&error), Some(Kind::Unauthorized));
    let none = "0".repeat(64);
    assert_eq!(
        kind(&anonymous(&site).job(&none).unwrap_err()),
        Some(Kind::NotFound)
    );
    let error = anonymous(&site)
        .events(&none)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert_eq!(kind(&error), Some(Kind::NotFound));
}

#[test]
fn an_upload_that_is_too_large_is_refused_before_it_is_sent() {
    let site = Plan::new().limits(|limits| limits.upload_bytes = 1 << 20).start();
    let client = anonymous(&site).key(&site.key).unwrap();
    let error = client.submit(&submission(&site, 50_000_000)).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::TooLarge), "{error}");
}

#[test]
fn keys_are_held_to_their_roles_quotas_and_revocation() {
    let plan = Plan::new().config(|config| config.private = true);
    let dir = plan.dir.clone();
    let reader = key(dir.path(), "reader", Role::Read, Quota::default());
    let quota = Quota {
        jobs: Some(1),
        upload_bytes_per_day: Some(100_000),
        ..Quota::default()
    };
    let small = key(dir.path(), "small", Role::Submit, quota);
    let site = plan.start();
    assert_eq!(
        kind(&anonymous(&site).service().unwrap_err()),
        Some(Kind::Unauthorized)
    );
    let reader = anonymous(&site).key(&reader).unwrap();
    reader.service().unwrap();
    let error = reader.submit(&submission(&site, 1)).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::Forbidden));

    let small = anonymous(&site).key(&small).unwrap();
    let error = small.submit(&submission(&site, 100_000)).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::QuotaExceeded));
    assert!(
        error
            .retry_after()
            .is_some_and(|wait| wait <= Duration::from_secs(24 * 3600))
    );
    let job = small.submit(&submission(&site, 1_000)).unwrap().job;
    let error = small.submit(&submission(&site, 1_001)).unwrap_err();
    assert_eq!(kind(&error), Some(Kind::QuotaExceeded));
    assert!(
        error.to_string().contains("has 1 jobs that are not over"),
        "{error}"
    );
    small.cancel(&job.id).unwrap();
    small.wait(&job.id).unwrap();
    small.submit(&submission(&site, 1_001)).unwrap();

    let cookie = fs::read_to_string(keys::cookie_path(dir.path())).unwrap();
    anonymous(&site).key(&cookie).unwrap().service().unwrap();

    keys::revoke(dir.path(), "reader").unwrap();
    let begun = std::time::Instant::now();
    while reader.service().is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(6), "it is still valid");
        thread::sleep(Duration::from_millis(100));
    }
    let error = reader.service().unwrap_err();
    assert!(error.to_string().contains("`reader` was revoked"), "{error}");
}

#[test]
fn a_certificate_is_believed_where_its_signer_is_named() {
    let file = |name| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/http/tls")
            .join(name)
    };
    let (certificates, key) = (file("certificate.pem"), file("key.pem"));
    let pem = fs::read(&certificates).unwrap();
    let plan = Plan::new().config(|config| config.tls = Some(TlsFiles { certificates, key }));
    let site = plan.start();
    let stranger = Client::new(&format!("https://localhost:{}", site.address.port())).unwrap();
    let error = stranger.service().unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error}");
    let client = stranger.certificates(&pem).unwrap().key(&site.key).unwrap();
    let id = client.submit(&submission(&site, 300_000)).unwrap().job.id;
    assert_eq!(
        client
            .events(&id)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .event
            .news
            .name(),
        "snapshot"
    );
    // The right signer, and another host.
    let other = Client::new(&format!("https://127.0.0.2:{}", site.address.port())).unwrap();
    assert!(other.certificates(&pem).unwrap().service().is_err());
}
