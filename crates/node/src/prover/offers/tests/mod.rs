//! The order of requesters, whatever they announce, refuse and fail to pay for.

use std::collections::BTreeSet;

use myriad_engine::MemoryBudget;

use super::{
    fairness::{SERVED_HALF_LIFE, SETBACK_PAUSE_MAX},
    *,
};

mod vain;

fn limits() -> Limits {
    Limits {
        memory: MemoryBudget::from_bytes(4 << 30),
        threads: 2,
        max_instructions: 1000,
        max_input_bytes: 1000,
        only: BTreeSet::new(),
        never: BTreeSet::new(),
        prefer: BTreeSet::new(),
    }
}

/// A build of the one engine that everybody has.
fn engine(fingerprint: u8) -> EngineId {
    EngineId {
        name: "pretended".parse().unwrap(),
        fingerprint: [fingerprint; 32],
    }
}

fn job(requester: u8) -> Announcement {
    Announcement {
        version: 1,
        job: JobId([requester; 32]),
        requester: Peer([requester; 32]),
        sequence: 1,
        open: true,
        engine: engine(0),
        extent: Some(Extent {
            instructions: 10,
            memory_min: 1 << 30,
        }),
        bytes: 10,
        record: Vec::new(),
    }
}

/// The offers of a machine, and its clock.
struct Machine {
    offers: Offers,
    now: Instant,
}

impl Machine {
    fn new(requesters: &[u8]) -> Self {
        let now = Instant::now();
        let mut machine = Self {
            offers: Offers::new(vec![engine(7)], [], now),
            now,
        };
        requesters.iter().for_each(|&requester| machine.meets(requester));
        machine
    }

    /// Meets a requester with a job.
    fn meets(&mut self, requester: u8) {
        self.offers
            .greeted(Peer([requester; 32]), &[engine(7)], "myriad", self.now);
        self.offers.announced(&job(requester), self.now);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn next(&mut self, limits: &Limits) -> Option<Peer> {
        self.offers.next(limits, self.now)
    }

    fn why_idle(&self, peers: usize, limits: &Limits) -> String {
        self.offers.why_idle(peers, limits, self.now)
    }

    fn refused(&mut self, peer: Peer, answer: Option<&Refused>) {
        self.offers.refused(peer, answer, self.now);
    }

    /// The requester that is asked next gives a task, and so long after the offer this came of it.
    fn serves(&mut self, limits: &Limits, time: Duration, outcome: Outcome) -> Peer {
        let peer = self.next(limits).unwrap();
        self.offers.granted(peer);
        self.wait(time);
        self.offers.worked(peer, time, outcome, self.now);
        peer
    }
}

fn no_work() -> Refused {
    Refused {
        why: Why::NoWork,
        reason: "all tasks wait".into(),
        retry_ms: None,
    }
}

#[test]
fn requesters_take_turns() {
    let mut machine = Machine::new(&[1, 2, 3]);
    let serve = |machine: &mut Machine| machine.serves(&limits(), Duration::ZERO, Outcome::Nothing).0[0];
    let order = |machine: &mut Machine, times| -> Vec<u8> {
        let order = (0..times).map(|_| {
            machine.wait(SETBACK_PAUSE_MAX);
            machine.meets(1);
            machine.meets(3);
            serve(machine)
        });
        order.collect()
    };
    assert_eq!(order(&mut machine, 3), [1, 2, 3]);
    let closed = Announcement {
        open: false,
        ..job(2)
    };
    assert!(machine.offers.announced(&closed, machine.now));
    assert_eq!(order(&mut machine, 4), [1, 3, 1, 3]);
}

#[test]
fn work_is_shared_evenly_whatever_a_task_takes() {
    let mut machine = Machine::new(&[1, 2]);
    let mut served = [0, 0];
    let (mut before, mut changes) = (None, 0);
    for _ in 0..120 {
        // The first one's tasks take four times as long.
        let peer = machine.next(&limits()).unwrap();
        machine.offers.granted(peer);
        let seconds = if peer.0[0] == 1 { 40 } else { 10 };
        served[usize::from(peer.0[0]) - 1] += seconds;
        // No time passes, so that nothing is reckoned down.
        let time = Duration::from_secs(seconds);
        machine.offers.worked(peer, time, Outcome::Proof, machine.now);
        changes += u32::from(before.replace(peer).is_some_and(|before| before != peer));
        let most = 40 + TURN.as_secs();
        assert!(served[0].abs_diff(served[1]) <= most, "{served:?}");
    }
    // One goes on until it is a minute ahead, and so for two from where the other was.
    assert!((12..=18).contains(&changes), "{changes} of 120");
    // Somebody new has one turn before the others, and not all until it has had as much.
    machine.meets(3);
    let mut turns = 0;
    for _ in 0..30 {
        let peer = machine.next(&limits()).unwrap();
        machine.offers.granted(peer);
        turns += u32::from(peer == Peer([3; 32]));
        let time = Duration::from_secs(10);
        machine.offers.worked(peer, time, Outcome::Proof, machine.now);
    }
    assert!((9..=12).contains(&turns), "{turns} of 30");
    machine.wait(20 * SERVED_HALF_LIFE);
    machine
        .offers
        .worked(Peer([1; 32]), Duration::ZERO, Outcome::Proof, machine.now);
    let served = machine
        .offers
        .requesters
        .values()
        .map(|requester| requester.served_s);
    assert!(served.into_iter().all(|served| served < 0.01));
}

#[test]
fn announcers_that_are_not_there_keep_nobody_out() {
    let mut machine = Machine::new(&[1]);
    for place in 0..2 * REQUESTERS_MAX as u32 {
        let mut id = [0xee; 32];
        id[..4].copy_from_slice(&place.to_be_bytes());
        let said = Announcement {
            requester: Peer(id),
            ..job(9)
        };
        machine.offers.announced(&said, machine.now);
    }
    assert!(machine.offers.requesters.len() <= REQUESTERS_MAX);
    machine.meets(2);
    let [first, second] = [1, 2].map(|byte| Peer([byte; 32]));
    assert!(machine.offers.has_job(first, job(1).job) && machine.offers.has_job(second, job(2).job));
}

#[test]
fn whom_the_owner_prefers_goes_first() {
    let mut machine = Machine::new(&[1, 2]);
    let prefer = Limits {
        prefer: [Peer([2; 32])].into(),
        ..limits()
    };
    let time = Duration::from_secs(1000);
    machine
        .offers
        .worked(Peer([2; 32]), time, Outcome::Proof, machine.now);
    assert_eq!(machine.next(&prefer), Some(Peer([2; 32])));
    machine.refused(Peer([2; 32]), Some(&no_work()));
    assert_eq!(
        machine.next(&prefer),
        Some(Peer([1; 32])),
        "nobody else is kept waiting"
    );
}

#[test]
fn a_requester_that_refuses_is_left_alone_until_it_wakes() {
    let mut machine = Machine::new(&[1]);
    let peer = Peer([1; 32]);
    assert_eq!(machine.next(&limits()), Some(peer));
    machine.refused(peer, Some(&no_work()));
    assert_eq!(machine.next(&limits()), None);
    assert!(machine.why_idle(1, &limits()).contains("all tasks wait"));
    machine.offers.woken(peer);
    assert_eq!(machine.next(&limits()), Some(peer));
    machine.offers.lost(peer);
    assert_eq!(machine.next(&limits()), None);
    assert!(machine.why_idle(1, &limits()).contains("cannot be reached"));
}

#[test]
fn a_requester_that_will_wake_this_machine_is_not_asked_for_another_job_of_it() {
    let mut machine = Machine::new(&[1]);
    let peer = Peer([1; 32]);
    let another = |byte| Announcement {
        job: JobId([byte; 32]),
        ..job(1)
    };
    // One that does not say so is asked when it has another job.
    assert_eq!(machine.next(&limits()), Some(peer));
    machine.refused(peer, Some(&no_work()));
    machine.offers.announced(&another(2), machine.now);
    assert_eq!(machine.next(&limits()), Some(peer));
    let waits = Refused {
        retry_ms: Some(300_000),
        ..no_work()
    };
    machine.refused(peer, Some(&waits));
    machine.offers.announced(&another(3), machine.now);
    machine.wait(2 * WAIT);
    assert_eq!(machine.next(&limits()), None);
    // Woken, it asks at once; and from then on other jobs are a reason again, until it is told to
    // wait once more.
    machine.offers.woken(peer);
    assert_eq!(machine.next(&limits()), Some(peer));
    machine.refused(peer, Some(&no_work()));
    machine.offers.announced(&another(4), machine.now);
    assert_eq!(machine.next(&limits()), Some(peer));
    // A wake may be lost, and so may the requester.
    machine.refused(peer, Some(&waits));
    machine.wait(Duration::from_millis(300_000));
    assert_eq!(machine.next(&limits()), Some(peer));
    machine.refused(peer, Some(&waits));
    machine.offers.lost(peer);
    machine.meets(1);
    assert_eq!(machine.next(&limits()), Some(peer));
}

#[test]
fn the_owner_decides() {
    let mut machine = Machine::new(&[1, 2]);
    let only = Limits {
        only: [Peer([2; 32])].into(),
        ..limits()
    };
    for _ in 0..2 {
        let served = machine.serves(&only, Duration::from_secs(1), Outcome::Proof);
        assert_eq!(served, Peer([2; 32]));
    }
    let never = Limits {
        never: [Peer([2; 32]), Peer([1; 32])].into(),
        ..limits()
    };
    assert_eq!(machine.next(&never), None);
    assert!(machine.why_idle(2, &never).contains("--never"));
    for (limits, flag) in [
        (
            Limits {
                max_instructions: 9,
                ..limits()
            },
            "--max-instructions",
        ),
        (
            Limits {
                memory: MemoryBudget::from_bytes(1 << 29),
                ..limits()
            },
            "--memory",
        ),
    ] {
        assert_eq!(machine.next(&limits), None);
        assert!(machine.why_idle(2, &limits).contains(flag));
    }
}

#[test]
fn another_engine_is_told_and_not_offered_to() {
    let mut machine = Machine::new(&[1]);
    machine
        .offers
        .greeted(Peer([1; 32]), &[engine(8)], "myriad 9", machine.now);
    assert_eq!(machine.next(&limits()), None);
    let why = machine.why_idle(1, &limits());
    assert!(
        why.contains("its engine `pretended` is that of another build (myriad 9)"),
        "{why}"
    );

    let other = EngineId {
        name: "other".parse().unwrap(),
        fingerprint: [7; 32],
    };
    machine
        .offers
        .greeted(Peer([1; 32]), &[other], "myriad 9", machine.now);
    assert_eq!(machine.next(&limits()), None);
    let why = machine.why_idle(1, &limits());
    assert!(
        why.contains("its engines are `other`, and this machine has `pretended`"),
        "{why}"
    );
    // It has an engine of this machine, too.
    machine
        .offers
        .greeted(Peer([1; 32]), &[other, engine(7)], "myriad 9", machine.now);
    assert_eq!(machine.next(&limits()), Some(Peer([1; 32])));
}

#[test]
fn a_job_of_an_engine_that_is_not_there_is_named_and_not_asked_for() {
    let mut machine = Machine::new(&[1]);
    let of_other = Announcement {
        engine: EngineId {
            name: "other".parse().unwrap(),
            fingerprint: [0; 32],
        },
        ..job(1)
    };
    machine.offers.announced(&of_other, machine.now);
    assert_eq!(machine.next(&limits()), None);
    let why = machine.why_idle(1, &limits());
    assert!(
        why.contains("its job is of the engine `other`, and this machine has `pretended`"),
        "{why}"
    );
    // A further job of the same requester is asked for.
    let another = Announcement {
        job: JobId([9; 32]),
        ..job(1)
    };
    machine.offers.announced(&another, machine.now);
    assert_eq!(machine.next(&limits()), Some(Peer([1; 32])));
}

/// Both machines have the same two engines, but one is of another build: only jobs of that one are
/// not asked for.
#[test]
fn a_job_of_another_build_of_one_engine_of_two_is_not_asked_for() {
    let second = EngineId {
        name: "second".parse().unwrap(),
        fingerprint: [1; 32],
    };
    let theirs = [engine(8), second];
    let meeting = |announced_first: bool| {
        let mut machine = Machine::new(&[]);
        machine.offers = Offers::new(vec![engine(7), second], [], machine.now);
        if announced_first {
            machine.offers.announced(&job(1), machine.now);
        }
        machine
            .offers
            .greeted(Peer([1; 32]), &theirs, "myriad 9", machine.now);
        machine.offers.announced(&job(1), machine.now);
        assert_eq!(machine.next(&limits()), None);
        let why = machine.why_idle(1, &limits());
        assert!(
            why.contains("of the engine `pretended`, and the requester's is that of another build"),
            "{why}"
        );
        machine
    };
    let mut machine = meeting(true);
    let of_second = Announcement {
        job: JobId([9; 32]),
        engine: second,
        ..job(1)
    };
    machine.offers.announced(&of_second, machine.now);
    assert_eq!(machine.next(&limits()), Some(Peer([1; 32])));
    // The requester is updated.
    let mut machine = meeting(false);
    machine
        .offers
        .greeted(Peer([1; 32]), &[engine(7)], "myriad 10", machine.now);
    assert_eq!(machine.next(&limits()), Some(Peer([1; 32])));
}

/// Its jobs are served like all others, and the owner is told whose clock it is.
#[test]
fn a_clock_that_is_hours_ahead_is_told_and_decides_nothing() {
    let mut machine = Machine::new(&[1, 2, 3]);
    let now = machine.now;
    machine.offers.has_clock(Peer([1; 32]), 3 * 3_600_000, now);
    machine.offers.has_clock(Peer([2; 32]), -61_000, now);
    machine.offers.has_clock(Peer([3; 32]), 20_000, now);
    let clocks = machine.offers.clocks(now + Duration::from_secs(125));
    assert_eq!(clocks.len(), 2, "{clocks:?}");
    assert!(
        clocks[0].contains("was 3 h 00 min ahead of this machine's when it greeted, 2 min ago"),
        "{clocks:?}"
    );
    assert!(
        clocks[1].contains("was 0 h 01 min behind this machine's"),
        "{clocks:?}"
    );
    // It greets again once its clock is right.
    machine.offers.has_clock(Peer([1; 32]), 500, now);
    assert_eq!(machine.offers.clocks(now).len(), 1);
    assert_eq!(machine.next(&limits()), Some(Peer([1; 32])));
}

#[test]
fn nothing_is_found_without_peers() {
    let machine = Machine::new(&[]);
    assert!(machine.why_idle(0, &limits()).contains("--bootstrap"));
    assert!(machine.why_idle(3, &limits()).contains("none of the 3"));
}
