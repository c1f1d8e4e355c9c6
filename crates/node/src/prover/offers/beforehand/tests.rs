//! Requesters that execute jobs for days, and machines that fetch their files or not.

use std::collections::BTreeSet;

use myriad_core::EngineId;
use myriad_engine::MemoryBudget;
use myriad_net::wire::Announcement;

use super::{
    super::{Extent, fairness::SETBACK_PAUSE_MAX},
    *,
};

fn engine() -> EngineId {
    EngineId {
        name: "pretended".parse().unwrap(),
        fingerprint: [7; 32],
    }
}

fn limits() -> Limits {
    Limits {
        memory: MemoryBudget::from_bytes(4 << 30),
        threads: 2,
        max_instructions: 1000,
        max_input_bytes: 64 << 20,
        only: BTreeSet::new(),
        never: BTreeSet::new(),
        prefer: BTreeSet::new(),
    }
}

fn executed(requester: u8, job: u8, bytes: u64) -> Announcement {
    Announcement {
        version: 1,
        job: JobId([job; 32]),
        requester: Peer([requester; 32]),
        sequence: 1,
        open: true,
        engine: engine(),
        extent: None,
        bytes,
        record: Vec::new(),
    }
}

fn planned(requester: u8, job: u8, bytes: u64) -> Announcement {
    Announcement {
        extent: Some(Extent {
            instructions: 10,
            memory_min: 10,
        }),
        ..executed(requester, job, bytes)
    }
}

fn meets(offers: &mut Offers, requester: u8, job: u8, bytes: u64, now: Instant) {
    offers.greeted(Peer([requester; 32]), &[engine()], "myriad", now);
    offers.announced(&executed(requester, job, bytes), now);
}

/// How many prefetches of a day there are, and of how many bytes together, if each takes a
/// second and `meets` is called before.
fn day(offers: &mut Offers, start: Instant, mut meets: impl FnMut(&mut Offers, Instant)) -> (u32, u64) {
    let (mut count, mut bytes) = (0, 0);
    for second in 0..86_400 {
        let now = start + Duration::from_secs(second);
        meets(offers, now);
        if let Some(wanted) = offers.next_beforehand(&limits(), false, now) {
            offers.fetched(wanted, &Fetched::Here, now);
            count += 1;
            bytes += wanted.bytes;
        }
    }
    (count, bytes)
}

#[test]
fn files_are_fetched_once_while_a_job_has_no_tasks_and_tasks_are_asked_for_when_it_has() {
    let now = Instant::now();
    let mut offers = Offers::new(vec![engine()], [], now);
    meets(&mut offers, 1, 1, 1000, now);
    assert_eq!(offers.next(&limits(), now), None, "there are no tasks");
    let wanted = offers.next_beforehand(&limits(), false, now).unwrap();
    let expected = Wanted {
        requester: Peer([1; 32]),
        job: JobId([1; 32]),
        bytes: 1000,
    };
    assert_eq!(wanted, expected);
    let idle = |offers: &Offers| offers.why_idle(1, &limits(), now);
    assert!(
        idle(&offers).contains("being executed") && idle(&offers).contains("fetches its files meanwhile")
    );
    offers.fetched(wanted, &Fetched::Here, now);
    assert!(idle(&offers).contains("has its files already"));
    let later = now + SETBACK_PAUSE_MAX;
    assert_eq!(
        offers.next_beforehand(&limits(), false, later),
        None,
        "they are here"
    );

    offers.announced(&planned(1, 1, 1000), now);
    assert_eq!(offers.next(&limits(), now), Some(Peer([1; 32])));
}

/// The first tasks of a job may be few, as long as it is being cut.
#[test]
fn files_are_fetched_on_when_there_are_tasks_until_this_machine_has_one() {
    let now = Instant::now();
    let job = JobId([1; 32]);
    let mut offers = Offers::new(vec![engine()], [], now);
    meets(&mut offers, 1, 1, 1000, now);
    offers.announced(&planned(1, 1, 1000), now);
    let wanted = offers.next_beforehand(&limits(), false, now).unwrap();
    offers.fetched(wanted, &Fetched::Later(Duration::from_secs(1)), now);
    let later = now + Duration::from_secs(1);
    let wanted = offers.next_beforehand(&limits(), false, later).unwrap();
    assert_eq!(wanted.job, job);
    offers.fetched(wanted, &Fetched::Later(Duration::from_secs(1)), later);
    offers.leased(Peer([1; 32]), job);
    let far = now + 10 * LATER.1;
    assert_eq!(offers.next_beforehand(&limits(), false, far), None);
    // Its execution was over when this one was heard of.
    offers.announced(&planned(1, 2, 1000), now);
    assert_eq!(offers.next_beforehand(&limits(), false, far), None);
}

#[test]
fn holders_of_the_files_ask_for_the_first_tasks() {
    let start = Instant::now();
    let asks_after = |executed_s: u64, has_files: bool| {
        let mut offers = Offers::new(vec![engine()], [], start);
        meets(&mut offers, 1, 1, 1000, start);
        let wanted = offers.next_beforehand(&limits(), false, start).unwrap();
        if has_files {
            offers.fetched(wanted, &Fetched::Here, start);
        }
        let (said, now) = (planned(1, 1, 1000), start + Duration::from_secs(executed_s));
        offers.announced(&executed(1, 1, 1000), now);
        offers.announced(&said, now);
        // It is announced again and again.
        offers.announced(&said, now + PAUSE);
        let tenths = (0..100).map(|tenths| Duration::from_millis(100 * tenths));
        let mut asked = tenths.filter(|&waited| offers.next(&limits(), now + waited).is_some());
        asked.next().unwrap()
    };
    assert_eq!(asks_after(8, true), Duration::ZERO);
    assert_eq!(asks_after(8, false), Duration::from_secs(2));
    assert_eq!(asks_after(100, false), Duration::from_secs(3));
    assert_eq!(asks_after(0, false), Duration::ZERO);

    // One that is woken is waited for.
    let mut offers = Offers::new(vec![engine()], [], start);
    meets(&mut offers, 1, 1, 1000, start);
    let now = start + Duration::from_secs(8);
    offers.announced(&planned(1, 1, 1000), now);
    assert_eq!(offers.next(&limits(), now), None);
    offers.woken(Peer([1; 32]));
    assert_eq!(offers.next(&limits(), now), Some(Peer([1; 32])));
}

#[test]
fn a_machine_at_a_task_lets_free_ones_fetch_first() {
    let now = Instant::now();
    let mut offers = Offers::new(vec![engine()], [], now);
    meets(&mut offers, 1, 1, 1000, now);
    assert_eq!(offers.next_beforehand(&limits(), true, now), None);
    let later = now + AT_TASK_LATER;
    assert!(offers.next_beforehand(&limits(), true, later).is_some());
}

#[test]
fn what_its_owner_does_not_lend_for_is_not_fetched() {
    let now = Instant::now();
    let mut offers = Offers::new(vec![engine()], [], now);
    let huge = limits().max_input_bytes + myriad_engine::PROGRAM_BYTES_MAX as u64 + 1;
    meets(&mut offers, 1, 1, huge, now);
    assert_eq!(offers.next_beforehand(&limits(), false, now), None);
    meets(&mut offers, 2, 1, 1000, now);
    let never = Limits {
        never: BTreeSet::from([Peer([2; 32])]),
        ..limits()
    };
    assert_eq!(offers.next_beforehand(&never, false, now), None);
    let only = Limits {
        only: BTreeSet::from([Peer([3; 32])]),
        ..limits()
    };
    assert_eq!(offers.next_beforehand(&only, false, now), None);
    offers.lost(Peer([2; 32]));
    assert_eq!(
        offers.next_beforehand(&limits(), false, now),
        None,
        "it is not there"
    );
    meets(&mut offers, 2, 1, 1000, now);
    assert!(offers.next_beforehand(&limits(), false, now).is_some());
}

#[test]
fn strangers_take_little_of_a_day_together_however_many_they_are() {
    let start = Instant::now();
    let mut offers = Offers::new(vec![engine()], [], start);
    let mut next = 0_u32;
    let (count, bytes) = day(&mut offers, start, |offers, now| {
        // Each comes with a new name when its last one is of no more use.
        let said = |number: u32, open: bool| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            Announcement {
                requester: Peer(id),
                open,
                ..executed(0, 1, STRANGERS_BYTES_MAX)
            }
        };
        let (old, new) = (said(next, false), said(next + 1, true));
        next += 1;
        offers.announced(&old, now);
        offers.lost(old.requester);
        offers.greeted(new.requester, &[engine()], "myriad", now);
        offers.announced(&new, now);
    });
    assert!(count < 10 + 86_400 / 600, "{count}");
    assert!(bytes / 86_400 < 100_000, "{bytes} bytes");
    let mut offers = Offers::new(vec![engine()], [], start);
    meets(&mut offers, 1, 1, STRANGERS_BYTES_MAX + 1, start);
    assert_eq!(offers.next_beforehand(&limits(), false, start), None);
}

#[test]
fn a_small_receipt_ends_no_pause_of_others() {
    let now = Instant::now();
    let mut offers = Offers::new(vec![engine()], [], now);
    let has_turn = |offers: &mut Offers, requester| {
        meets(offers, requester, 1, 1000, now);
        let wanted = offers.next_beforehand(&limits(), false, now);
        wanted.is_some_and(|wanted| {
            offers.fetched(wanted, &Fetched::Here, now);
            true
        })
    };
    assert!(has_turn(&mut offers, 1));
    offers.paid(Peer([1; 32]));
    assert!(!has_turn(&mut offers, 2), "it has signed for next to nothing");
    offers.is_useful(Peer([1; 32]));
    assert!(has_turn(&mut offers, 2));
    offers.is_useful(Peer([1; 32]));
    assert!(!has_turn(&mut offers, 3), "once");
}

#[test]
fn a_requester_that_pays_has_each_of_its_jobs_fetched_and_one_that_stops_paying_has_not() {
    let start = Instant::now();
    let payer = Peer([1; 32]);
    let blocks = |pays: bool| {
        let mut offers = Offers::new(vec![engine()], [payer], start);
        let mut second = 0_u32;
        let (count, _) = day(&mut offers, start, |offers, now| {
            // A block every 12 s, of more bytes than a stranger's may have.
            if second.is_multiple_of(12) {
                let closed = Announcement {
                    open: false,
                    ..executed(1, 1, 0)
                };
                offers.announced(&closed, now);
                meets(offers, 1, 1, 2 * STRANGERS_BYTES_MAX, now);
                if pays {
                    offers.paid(payer);
                }
            }
            second += 1;
        });
        count
    };
    assert_eq!(blocks(true), 7200);
    assert!(blocks(false) < 10 + 86_400 / 600, "{}", blocks(false));
}

#[test]
fn a_requester_that_gives_nothing_is_asked_three_times_and_one_that_names_a_time_then() {
    let mut now = Instant::now();
    let mut offers = Offers::new(vec![engine()], [], now);
    meets(&mut offers, 1, 1, 1000, now);
    for _ in 0..10 {
        let wanted = offers.next_beforehand(&limits(), false, now).unwrap();
        offers.fetched(wanted, &Fetched::Later(Duration::from_secs(3)), now);
        assert_eq!(offers.next_beforehand(&limits(), false, now), None);
        now += Duration::from_secs(3);
    }
    let mut tries = 0;
    for _ in 0..100 {
        if let Some(wanted) = offers.next_beforehand(&limits(), false, now) {
            offers.fetched(wanted, &Fetched::Failed, now);
            tries += 1;
        }
        now += PAUSE;
    }
    assert_eq!(tries, TRIES);
}
