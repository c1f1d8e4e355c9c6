//! Streams of events: where they begin, go on and end.

use std::time::Duration;

use myriad_gateway::keys::{self, Quota, Role};

use crate::site::{Plan, Site, key};

#[test]
fn a_stream_begins_with_a_snapshot_and_goes_on_behind_the_last_event() {
    let site = Site::new();
    let id = site.job("a");
    let path = format!("/v1/jobs/{id}/events");
    let mut events = site.events(&path, &[]);
    let snapshot = events.next().unwrap();
    assert_eq!(snapshot.name, "snapshot");
    assert_eq!(snapshot.data["now"]["id"], *id);
    let last = snapshot.id.unwrap();
    site.delete(&id).is(202);
    events.until(|event| event.data["state"] == "cancelled");

    let mut resumed = site.events(&path, &[("last-event-id", &last)]);
    let mut state = resumed.next().unwrap();
    while state.data["state"] != "cancelled" {
        assert_ne!(state.name, "snapshot", "{state:?}");
        state = resumed.next().unwrap();
    }
    let mut behind = site.events(&path, &[("last-event-id", &state.id.unwrap())]);
    site.submit("a").is(202);
    let next = behind.next().unwrap();
    assert_eq!(next.data["now"]["state"], "cancelled", "{next:?}");
    let next = behind.next().unwrap();
    assert_eq!(next.data["now"]["state"], "queued", "{next:?}");
}

#[test]
fn an_event_that_is_not_known_gets_a_snapshot() {
    let site = Site::new();
    let id = site.job("a");
    let path = format!("/v1/jobs/{id}/events");
    let mut events = site.events(&path, &[]);
    let known = events.next().unwrap().id.unwrap();
    let start = known.split_once('-').unwrap().0;
    let later = format!("{start}-99999999");
    let other = format!("{}-1", start.parse::<u64>().unwrap() + 7);
    for unknown in ["", "x", "-1", "1-2-3", &later, &other] {
        let mut events = site.events(&path, &[("last-event-id", unknown)]);
        assert_eq!(events.next().unwrap().name, "snapshot", "{unknown}");
    }
}

#[test]
fn after_a_restart_a_stream_begins_anew() {
    let site = Site::new();
    let id = site.job("a");
    let path = format!("/v1/jobs/{id}/events");
    let last = site.events(&path, &[]).next().unwrap().id.unwrap();
    let site = Plan::of(site.stop()).start();
    let mut events = site.events(&path, &[("last-event-id", &last)]);
    let snapshot = events.next().unwrap();
    assert_eq!(snapshot.name, "snapshot");
    assert_eq!(snapshot.data["now"]["state"], "interrupted");
    assert_ne!(
        snapshot.id.unwrap().split_once('-').unwrap().0,
        last.split_once('-').unwrap().0
    );
}

#[test]
fn the_stream_of_all_tells_of_the_service_and_of_each_job() {
    let site = Site::new();
    let mut events = site.events("/v1/events", &[]);
    let service = events.until(|event| event.name == "service");
    assert_eq!(service.data["now"]["build"], "myriad 0.1.0");
    let id = site.job("a");
    let state = events.until(|event| event.name == "state" && event.data["job"] == *id);
    assert!(state.id.is_some());
    site.delete(&id).is(202);
    events.until(|event| event.data["state"] == "cancelled" && event.data["job"] == *id);
}

#[test]
fn a_silent_stream_says_that_it_lives() {
    let plan = Plan::new().limits(|limits| limits.keep_alive = Duration::from_millis(100));
    let site = plan.start();
    let id = site.job("a");
    let mut events = site.events(&format!("/v1/jobs/{id}/events"), &[]);
    while events.block().unwrap() != ": still here" {}
}

#[test]
fn streams_of_many_end_when_the_service_stops() {
    let mut site = Site::new();
    let id = site.job("a");
    let path = format!("/v1/jobs/{id}/events");
    let mut open: Vec<_> = (0..10).map(|_| site.events(&path, &[])).collect();
    open.push(site.events("/v1/events", &[]));
    site.begin_stop();
    for events in &mut open {
        events.until(|event| event.data["state"] == "interrupted");
        while events.block().is_some() {}
    }
    site.stop();
}

#[test]
fn a_stream_ends_when_its_key_is_revoked() {
    let plan = Plan::new().limits(|limits| limits.keep_alive = Duration::from_millis(100));
    let plan = plan.config(|config| config.private = true);
    let reader = key(plan.dir.path(), "reader", Role::Read, Quota::default());
    let site = plan.start();
    let bearer = format!("Bearer {reader}");
    let mut events = site.events("/v1/events", &[("authorization", &bearer)]);
    assert!(events.block().is_some());
    keys::revoke(site.dir.path(), "reader").unwrap();
    while events.block().is_some() {}
}
