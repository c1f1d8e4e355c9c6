//! What copies to strangers show of the requester's link, and what they cannot make it look like.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::link::Link, *};

/// Strangers, each from the network that it is given, fetch from the requester, have all after so
/// long, and leave. Those of one network come one after the other. Gives the rate of the link after
/// that.
fn rate_after(strangers: &[(u64, Duration)]) -> u64 {
    let mut spreading = spreading();
    let mut free = BTreeMap::new();
    let mut happens = BTreeSet::new();
    for (number, &(origin, took)) in strangers.iter().enumerate() {
        let begin = free.entry(origin).or_insert(Time(0));
        happens.insert((*begin, true, number));
        *begin = *begin + took;
        happens.insert((*begin, false, number));
    }
    for (now, begins, number) in happens {
        if begins {
            let origin = Some(strangers[number].0);
            let wants = Wants {
                origin,
                ..stranger(number)
            };
            let turn = spreading.turn(now, JOB, wants);
            assert_eq!(turn, Turn::From(Sender::Requester), "{number}");
        } else {
            spreading.has_all(now, JOB, peer(number), false);
            spreading.forget(peer(number));
        }
    }
    spreading.link.rate
}

#[test]
fn strangers_of_different_networks_show_a_fast_link() {
    let first = Link::new().rate;
    let fast = Duration::from_millis(200);
    let of = |tooks: &[Duration]| {
        let strangers = tooks
            .iter()
            .enumerate()
            .map(|(origin, took)| (origin as u64, *took));
        rate_after(&strangers.collect::<Vec<_>>())
    };
    assert_eq!(of(&[fast; AT_ONCE_MIN]), 2 * first);
    assert_eq!(of(&[fast; AT_ONCE_MIN - 1]), first, "too few");
    let mut tooks = [fast; AT_ONCE_MIN];
    tooks[0] = SECOND;
    assert_eq!(of(&tooks), first, "the slowest counts");
    let at_once = Duration::from_millis(1);
    assert_eq!(
        of(&[at_once; AT_ONCE_MIN]),
        4 * first,
        "and is not believed at once"
    );
}

#[test]
fn what_strangers_of_one_network_say_of_the_link_changes_nothing() {
    let strangers = [(7, Duration::from_millis(1)); 8];
    assert_eq!(rate_after(&strangers), Link::new().rate);
}

#[test]
fn what_strangers_near_by_say_of_the_link_changes_nothing() {
    let mut spreading = spreading();
    for number in 0..AT_ONCE_MIN {
        let turn = spreading.turn(Time(0), JOB, stranger(number));
        assert_eq!(turn, Turn::From(Sender::Requester));
    }
    for number in 0..AT_ONCE_MIN {
        spreading.has_all(Time(1000), JOB, peer(number), false);
    }
    assert_eq!(spreading.link.rate, Link::new().rate);
}

#[test]
fn what_strangers_with_leases_say_of_the_link_changes_nothing() {
    let mut spreading = spreading();
    for number in 0..AT_ONCE_MIN {
        assert_eq!(
            spreading.sources(Time(0), JOB, stranger(number), 3),
            [Sender::Requester]
        );
    }
    for number in 0..AT_ONCE_MIN {
        spreading.has_all(Time(1000), JOB, peer(number), false);
    }
    assert_eq!(spreading.link.rate, Link::new().rate);
}

#[test]
fn strangers_that_are_late_take_back_what_strangers_said_and_no_more() {
    let mut spreading = spreading();
    let first = spreading.link.rate;
    spreading.link.rate = 4 * first;
    for round in 1..20 {
        let began = Time(0) + SECOND * 60 * round;
        assert_eq!(
            spreading.turn(began, JOB, stranger(round as usize)),
            Turn::From(Sender::Requester)
        );
        let before = spreading.link.rate;
        spreading.turn(began + SECOND * 59, JOB, wants(1000));
        spreading.cannot_reach(began + SECOND * 59, JOB, peer(1000));
        assert!(spreading.link.rate < before || before == first, "{before}");
    }
    assert_eq!(spreading.link.rate, first);
}
