//! Tests of requesters that take time for nothing.

use super::*;

#[test]
fn tasks_that_come_to_nothing_keep_nobody_else_waiting() {
    let mut machine = Machine::new(&[1, 2]);
    let mut order = Vec::new();
    for _ in 0..2 {
        for _ in 0..2 {
            order.push(
                machine
                    .serves(&limits(), Duration::from_micros(1), Outcome::Nothing)
                    .0[0],
            );
        }
        machine.wait(Duration::from_secs(10));
    }
    assert_eq!(order, [1, 2, 1, 2]);
}

/// Asks one requester after the other until the honest one leases a task, or nobody is left; notes
/// the others, and when they were asked.
fn asks_until(honest: Peer, machine: &mut Machine, unanswered: &mut Vec<(Peer, Instant)>) -> bool {
    while let Some(peer) = machine.next(&limits()) {
        if peer == honest {
            machine.offers.granted(peer);
            return true;
        }
        unanswered.push((peer, machine.now));
    }
    false
}

/// Two requesters that announce and never answer, and one that has work: all day, the machine
/// works.
#[test]
fn silent_requesters_take_seconds_of_a_day() {
    const DAY: Duration = Duration::from_secs(86_400);
    const TASK: Duration = Duration::from_secs(30);
    /// The time that the transport allows for an answer.
    const UNANSWERED: Duration = Duration::from_secs(20);
    let honest = Peer([3; 32]);
    let mut machine = Machine::new(&[1, 2, 3]);
    let start = machine.now;
    let mut unanswered: Vec<(Peer, Instant)> = Vec::new();
    let mut worked = Duration::ZERO;
    while machine.now - start < DAY {
        let leased = asks_until(honest, &mut machine, &mut unanswered);
        let step = if leased { TASK } else { Duration::from_millis(250) };
        machine.wait(step);
        if leased {
            worked += TASK;
            machine.offers.worked(honest, TASK, Outcome::Proof, machine.now);
        }
        let now = machine.now;
        unanswered.retain(|&(peer, since)| {
            let waits = now - since < UNANSWERED;
            if !waits {
                machine.offers.refused(peer, None, now);
            }
            waits
        });
        [1, 2, 3].iter().for_each(|&requester| {
            machine.offers.announced(&job(requester), now);
        });
    }
    assert!(
        DAY - worked < Duration::from_secs(60),
        "idle for {:?}",
        DAY - worked
    );
    assert!(machine.why_idle(3, &limits()).contains("it does not answer"));
}

/// A hundred requesters that answer just in time, each time with the shortest pause that a machine
/// grants, and one that has work: the machine works.
#[test]
fn requesters_that_refuse_slowly_take_minutes_of_an_hour() {
    const HOUR: Duration = Duration::from_secs(3600);
    const TASK: Duration = Duration::from_secs(30);
    let slow: Vec<u8> = (1..=100).collect();
    let honest = Peer([200; 32]);
    let mut machine = Machine::new(&slow);
    machine.meets(200);
    let refused = Refused {
        why: Why::NotNow,
        retry_ms: Some(500),
        ..no_work()
    };
    let start = machine.now;
    let mut unanswered: Vec<(Peer, Instant)> = Vec::new();
    let mut worked = Duration::ZERO;
    let mut announced = start;
    while machine.now - start < HOUR {
        let leased = asks_until(honest, &mut machine, &mut unanswered);
        machine.wait(if leased { TASK } else { Duration::from_millis(50) });
        let now = machine.now;
        if leased {
            worked += TASK;
            machine.offers.worked(honest, TASK, Outcome::Proof, now);
        }
        unanswered.retain(|&(peer, since)| {
            let waits = now - since < PATIENCE - Duration::from_millis(50);
            if !waits {
                machine.offers.refused(peer, Some(&refused), now);
            }
            waits
        });
        if now - announced > Duration::from_secs(20) {
            announced = now;
            for &requester in slow.iter().chain([&200]) {
                machine.offers.announced(&job(requester), now);
            }
        }
    }
    let idle = HOUR - worked;
    assert!(idle < HOUR / 6, "idle for {idle:?}");
}

/// It leases, sends nothing, takes the lease back and has the next one at once.
#[test]
fn a_turn_ends_with_a_lease_that_is_taken_back() {
    let mut machine = Machine::new(&[1, 2]);
    let mut order = Vec::new();
    for outcome in [
        Outcome::Blameless,
        Outcome::Proof,
        Outcome::Blameless,
        Outcome::Nothing,
    ] {
        order.push(machine.serves(&limits(), Duration::from_secs(5), outcome).0[0]);
    }
    assert_eq!(order, [1, 2, 2, 1]);
}

#[test]
fn a_hundred_silent_requesters_keep_the_machine_for_seconds_once() {
    let silent: Vec<u8> = (1..=100).collect();
    let mut machine = Machine::new(&silent);
    machine.meets(200);
    let mut waited = Duration::ZERO;
    let found = loop {
        while let Some(peer) = machine.next(&limits()) {
            if peer == Peer([200; 32]) {
                break;
            }
        }
        if machine.offers.requesters[&Peer([200; 32])]
            .unanswered_since
            .is_some()
        {
            break waited;
        }
        assert!(waited < Duration::from_secs(60), "it is never asked");
        machine.wait(PATIENCE / 4);
        waited += PATIENCE / 4;
    };
    assert!(found <= 7 * PATIENCE, "{found:?}");
}

#[test]
fn a_requester_that_takes_time_for_nothing_is_left_alone_for_longer_each_time() {
    let mut machine = Machine::new(&[1]);
    let peer = Peer([1; 32]);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let mut pause = Duration::ZERO;
        while machine.next(&limits()).is_none() {
            machine.wait(Duration::from_secs(1));
            pause += Duration::from_secs(1);
            // It announces all the time, wakes this machine, and comes and goes.
            machine.meets(1);
            machine.offers.woken(peer);
        }
        pauses.push(pause);
        machine.refused(peer, None);
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert_eq!(pauses[1], Duration::from_secs(2));
    assert_eq!(pauses[11], SETBACK_PAUSE_MAX);
    // One proof ends it.
    let owner_reads = |machine: &Machine| machine.why_idle(1, &limits());
    assert!(owner_reads(&machine).contains("12 times in a row, and is asked again in 600 s"));
    machine.wait(SETBACK_PAUSE_MAX);
    assert!(owner_reads(&machine).ends_with("12 times in a row"));
    machine.serves(&limits(), Duration::from_secs(1), Outcome::Proof);
    assert!(!owner_reads(&machine).contains("in a row"));
    assert_eq!(machine.next(&limits()), Some(peer));
}

#[test]
fn waiting_is_charged_like_work() {
    let mut machine = Machine::new(&[1, 2]);
    assert_eq!(machine.next(&limits()), Some(Peer([1; 32])));
    machine.wait(Duration::from_secs(20));
    machine.refused(Peer([1; 32]), Some(&no_work()));
    assert!(machine.offers.requesters[&Peer([1; 32])].served_s > 19.0);
    assert_eq!(
        machine.offers.requesters[&Peer([1; 32])].setbacks.count,
        1,
        "so late an answer is none"
    );
}

/// Two were asked, because the first one was slow, and both give a task.
#[test]
fn the_second_lease_is_no_setback() {
    let mut machine = Machine::new(&[1, 2]);
    let [first, second] = [1, 2].map(|byte| Peer([byte; 32]));
    assert_eq!(machine.next(&limits()), Some(first));
    assert_eq!(machine.next(&limits()), None, "one is asked at a time");
    machine.wait(PATIENCE);
    assert_eq!(machine.next(&limits()), Some(second));
    machine.offers.granted(second);
    machine.offers.too_late(first, machine.now);
    assert_eq!(machine.offers.requesters[&first].setbacks.count, 0);
    machine.offers.lost(second);
    assert_eq!(machine.next(&limits()), None, "not at once");
    machine.wait(RETRY);
    assert_eq!(machine.next(&limits()), Some(first));
}
