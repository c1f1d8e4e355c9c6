//! What keys use, and what is refused when that is too much.

use super::*;
use crate::keys::{Quota, Role};

/// A moment of the day 20,000, an hour before its end.
const NOW: u64 = 20_000 * DAY_MS + 23 * 60 * 60 * 1000;

fn grant(quota: Quota) -> Grant {
    Grant {
        name: "rollup".into(),
        role: Role::Submit,
        quota,
        hash: blake3::Hash::from_bytes([0; 32]),
    }
}

fn bytes_a_day(bytes: u64) -> Grant {
    grant(Quota {
        upload_bytes_per_day: Some(bytes),
        ..Quota::default()
    })
}

fn quotas() -> (tempfile::TempDir, Quotas) {
    let dir = tempfile::tempdir().unwrap();
    let quotas = Quotas::new(dir.path().to_owned());
    (dir, quotas)
}

#[test]
fn jobs_that_are_being_made_take_places_too() {
    let (_dir, quotas) = quotas();
    let grant = grant(Quota {
        jobs: Some(3),
        ..Quota::default()
    });
    let one = quotas.admit(&grant, NOW, 1, None).unwrap();
    let two = quotas.admit(&grant, NOW, 1, None).unwrap();
    let refusal = quotas.admit(&grant, NOW, 1, None).err().unwrap();
    assert_eq!(refusal.problem.kind, Kind::QuotaExceeded);
    assert_eq!(refusal.retry_after_s, Some(30));
    assert!(
        refusal
            .problem
            .detail
            .contains("has 3 jobs that are not over, and may have 3")
    );
    drop(one);
    drop(quotas.admit(&grant, NOW, 1, None).unwrap());
    drop(two);
    assert!(quotas.admit(&grant, NOW, 3, None).is_err());
    assert!(quotas.admit(&grant, NOW, 2, None).is_ok());
}

#[test]
fn what_the_quota_of_bytes_refuses_gives_its_place_back() {
    let (_dir, quotas) = quotas();
    let grant = grant(Quota {
        jobs: Some(1),
        upload_bytes_per_day: Some(10),
        ..Quota::default()
    });
    for _ in 0..3 {
        let refusal = quotas.admit(&grant, NOW, 0, Some(11)).err().unwrap();
        assert!(
            refusal.problem.detail.contains("the upload has 11"),
            "{refusal:?}"
        );
    }
}

#[test]
fn the_bytes_of_a_day_outlast_the_process_and_end_with_the_day() {
    let (dir, quotas) = quotas();
    let grant = bytes_a_day(1_000);
    let mut admission = quotas.admit(&grant, NOW, 0, Some(600)).unwrap();
    admission.upload_at(600, NOW).unwrap();
    // The process is killed: nothing is dropped.
    std::mem::forget(admission);

    let again = Quotas::new(dir.path().to_owned());
    let refusal = again.admit(&grant, NOW, 0, Some(401)).err().unwrap();
    assert_eq!(refusal.retry_after_s, Some(60 * 60));
    let detail = refusal.problem.detail;
    assert!(
        detail.contains("401 more bytes") && detail.contains("400 are left"),
        "{detail}"
    );
    drop(again.admit(&grant, NOW, 0, Some(400)).unwrap());
    drop(again.admit(&grant, NOW + DAY_MS, 0, Some(1_000)).unwrap());
}

#[test]
fn bytes_that_never_came_are_given_back() {
    let (_dir, quotas) = quotas();
    let grant = bytes_a_day(1_000);
    let mut admission = quotas.admit(&grant, NOW, 0, Some(900)).unwrap();
    admission.upload_at(100, NOW).unwrap();
    assert!(quotas.admit(&grant, NOW, 0, Some(101)).is_err());
    drop(admission);
    assert!(quotas.admit(&grant, NOW, 0, Some(901)).is_err());
    drop(quotas.admit(&grant, NOW, 0, Some(900)).unwrap());
}

#[test]
fn an_upload_of_unknown_length_is_counted_before_it_is_taken() {
    let (dir, quotas) = quotas();
    let grant = bytes_a_day(STEP + 10);
    let mut admission = quotas.admit(&grant, NOW, 0, None).unwrap();
    admission.upload_at(1, NOW).unwrap();
    let on_disk = || read(&dir.path().join("rollup.json")).unwrap().bytes;
    assert_eq!(on_disk(), STEP);
    admission.upload_at(STEP - 1, NOW).unwrap();
    assert_eq!(on_disk(), STEP);
    // Less than a step is left.
    admission.upload_at(10, NOW).unwrap();
    assert_eq!(on_disk(), STEP + 10);
    let refusal = admission.upload_at(1, NOW).unwrap_err();
    assert_eq!(refusal.problem.status, 429);
}

#[test]
fn an_upload_from_yesterday_leaves_the_quota_of_today_alone() {
    let (_dir, quotas) = quotas();
    let grant = bytes_a_day(STEP);
    let tomorrow = NOW + DAY_MS;
    let mut late = quotas.admit(&grant, NOW, 0, None).unwrap();
    let mut today = quotas.admit(&grant, tomorrow, 0, Some(STEP)).unwrap();
    today.upload_at(STEP, tomorrow).unwrap();
    late.upload_at(1, tomorrow).unwrap();
    drop(late);
    assert!(quotas.admit(&grant, tomorrow, 0, Some(1)).is_err());
}

#[test]
fn a_damaged_file_of_usage_is_no_new_quota() {
    let (dir, quotas) = quotas();
    let grant = bytes_a_day(1_000);
    for damage in [
        "",
        "{}",
        r#"{"day":1,"bytes":0,"x":0}"#,
        &format!("{}1", " ".repeat(300)),
    ] {
        fs::write(dir.path().join("rollup.json"), damage).unwrap();
        let refusal = quotas.admit(&grant, NOW, 0, Some(1)).err().unwrap();
        assert_eq!(refusal.problem.kind, Kind::Internal, "{damage}");
        assert!(!refusal.problem.detail.contains(dir.path().to_str().unwrap()));
    }
}

#[test]
fn a_disk_that_takes_nothing_takes_no_upload() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let quotas = Quotas::new(file.join("usage"));
    assert!(quotas.admit(&bytes_a_day(9), NOW, 0, Some(1)).is_err());
    assert!(quotas.admit(&bytes_a_day(9), NOW, 0, None).is_ok());
}

#[test]
fn requests_beyond_the_quota_wait() {
    let (_dir, quotas) = quotas();
    let with = |requests| {
        grant(Quota {
            requests_per_minute: Some(requests),
            ..Quota::default()
        })
    };
    for _ in 0..5 {
        quotas.request(&with(5)).unwrap();
    }
    let refusal = quotas.request(&with(5)).unwrap_err();
    let wait = refusal.retry_after_s.unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    let said = format!("5 requests per minute that it may send: wait {wait} s");
    assert!(refusal.problem.detail.contains(&said), "{refusal:?}");
    // The operator has raised the quota.
    quotas.request(&with(50)).unwrap();
    for _ in 0..1_000 {
        quotas.request(&grant(Quota::default())).unwrap();
    }
}

#[test]
fn keys_that_are_gone_are_forgotten_unless_they_upload() {
    let (_dir, quotas) = quotas();
    let admission = quotas.admit(&bytes_a_day(9), NOW, 0, None).unwrap();
    quotas.retain(|_| false);
    assert_eq!(locked(&quotas.holders).len(), 1);
    drop(admission);
    quotas.retain(|name| name == "rollup");
    assert_eq!(locked(&quotas.holders).len(), 1);
    quotas.retain(|_| false);
    assert!(locked(&quotas.holders).is_empty());
}
