//! Copies over slow links and fast ones, and peers that lie about theirs.

use std::collections::{BTreeSet, VecDeque};

use super::{link::time, *};

mod link;

const SECOND: Duration = Duration::from_secs(1);
const JOB: JobId = JobId([1; 32]);
const MB: u64 = 1_000_000;

fn peer(number: usize) -> Peer {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Peer(id)
}

fn wants(number: usize) -> Wants {
    Wants {
        peer: peer(number),
        bytes: MB,
        believed: true,
        origin: None,
    }
}

fn stranger(number: usize) -> Wants {
    Wants {
        believed: false,
        ..wants(number)
    }
}

fn spreading() -> Spreading {
    let mut spreading = Spreading::default();
    spreading.add(JOB, MB);
    spreading
}

fn is_empty(spreading: &Spreading) -> bool {
    let job = &spreading.jobs[&JOB];
    let none = [
        job.load(),
        job.sending,
        spreading.link.sending,
        job.fetching.len(),
    ];
    none == [0; 4] && job.waiting.is_empty()
}

impl OfJob {
    fn load(&self) -> usize {
        self.holders.values().map(|holder| holder.load).sum()
    }
}

/// Has peers fetch over a link of the requester that sends so many bytes a second to each of
/// them in turn, and of a home's from peers. Says how many copies the requester sends until a
/// hundred have the files.
fn copies_over(rate: u64) -> usize {
    let mut spreading = spreading();
    let (mut now, mut free) = (Time(0), Time(0));
    let mut coming: BTreeSet<(Time, usize)> = BTreeSet::new();
    let (mut asking, mut copies, mut here) = ((0..100).collect::<VecDeque<usize>>(), 0, 0);
    while here < 100 {
        while let Some(&number) = asking.front()
            && let Turn::From(from) = spreading.turn(now, JOB, wants(number))
        {
            asking.pop_front();
            let there = match from {
                Sender::Requester => {
                    copies += 1;
                    free = free.max(now) + time(MB, rate);
                    free
                }
                Sender::Peer(_) => now + time(MB, HOME_RATE),
            };
            coming.insert((there, number));
        }
        let (there, number) = coming.pop_first().expect("somebody fetches");
        now = there;
        spreading.has_all(now, JOB, peer(number), true);
        here += 1;
    }
    assert!(is_empty(&spreading));
    copies
}

#[test]
fn a_slow_link_sends_eight_copies_and_a_fast_one_more() {
    assert_eq!(copies_over(HOME_RATE), COPIES_PER_PLACE * AT_ONCE_MIN);
    let (faster, fast) = (copies_over(8 * HOME_RATE), copies_over(100 * HOME_RATE));
    assert!(
        faster > COPIES_PER_PLACE * AT_ONCE_MIN && fast > faster,
        "{faster} {fast}"
    );
    assert!(fast <= COPIES_PER_PLACE * AT_ONCE_MAX, "{fast}");
}

#[test]
fn hundreds_have_the_files_in_a_few_rounds_and_no_more_than_are_of_use() {
    let mut spreading = spreading();
    let (mut left, mut rounds) = ((0..ENOUGH).collect::<Vec<_>>(), 0);
    while !left.is_empty() {
        rounds += 1;
        assert!(rounds < 100, "{} are left", left.len());
        let now = Time(0) + SECOND * rounds;
        let turn = |number: &usize| spreading.turn(now, JOB, wants(*number));
        let turns: Vec<Turn> = left.iter().map(turn).collect();
        for (number, turn) in std::mem::take(&mut left).into_iter().zip(turns) {
            match turn {
                Turn::From(_) => spreading.has_all(now + SECOND, JOB, peer(number), true),
                Turn::Wait(_) => left.push(number),
            }
        }
    }
    assert!(rounds <= 10, "{rounds}: each that has them gives them to one");
    assert_eq!(spreading.holders(JOB).count(), ENOUGH);
    let late = Time(0) + SECOND * 100;
    assert!(matches!(spreading.turn(late, JOB, wants(ENOUGH)), Turn::Wait(_)));
    assert_eq!(spreading.jobs[&JOB].waiting.len(), 1);
    spreading.forget(peer(ENOUGH));
    assert!(is_empty(&spreading));
}

#[test]
fn peers_that_never_finish_lose_their_turn_for_good() {
    let mut spreading = spreading();
    for number in 0..AT_ONCE_MIN {
        assert_eq!(
            spreading.turn(Time(0), JOB, wants(number)),
            Turn::From(Sender::Requester)
        );
    }
    assert!(matches!(spreading.turn(Time(0), JOB, wants(9)), Turn::Wait(_)));
    let late = Time(0) + START + SECOND * 5;
    assert!(
        matches!(spreading.turn(late, JOB, wants(0)), Turn::Wait(_)),
        "it has had its turn"
    );
    assert_eq!(spreading.turn(late, JOB, wants(9)), Turn::From(Sender::Requester));
    spreading.has_all(late, JOB, peer(9), true);
    let from = Sender::Peer(peer(9));
    assert_eq!(spreading.turn(late, JOB, wants(0)), Turn::From(from));
}

/// One person has any number of names, and few networks.
#[test]
fn strangers_of_one_network_have_one_turn_at_a_time() {
    let mut spreading = spreading();
    let of_network = |number, origin| Wants {
        origin: Some(origin),
        ..stranger(number)
    };
    let requester = Turn::From(Sender::Requester);
    assert_eq!(spreading.turn(Time(0), JOB, of_network(1, 7)), requester);
    for number in 10..100 {
        let turn = spreading.turn(Time(0), JOB, of_network(number, 7));
        assert!(matches!(turn, Turn::Wait(_)), "{number}: {turn:?}");
    }
    let proven = Wants {
        believed: true,
        ..of_network(2, 7)
    };
    assert_eq!(spreading.turn(Time(0), JOB, proven), requester);
    assert_eq!(spreading.turn(Time(0), JOB, of_network(3, 8)), requester);
    assert_eq!(spreading.turn(Time(0), JOB, stranger(4)), requester);
    // Its turn ends, and then it is another one's.
    let late = Time(0) + START + SECOND * 5;
    assert_eq!(spreading.turn(late, JOB, of_network(10, 7)), requester);
    assert!(matches!(
        spreading.turn(late, JOB, of_network(11, 7)),
        Turn::Wait(_)
    ));
    (0..200).for_each(|number| spreading.forget(peer(number)));
    assert!(is_empty(&spreading) && spreading.jobs[&JOB].origins.is_empty());
}

#[test]
fn peers_that_only_say_that_they_have_the_files_keep_nobody_from_those_that_do() {
    let mut spreading = spreading();
    for number in 1000..1000 + ENOUGH {
        spreading.has_all(Time(0), JOB, peer(number), false);
    }
    let known: Vec<Sender> = (0..3).map(|number| Sender::Peer(peer(number))).collect();
    (0..3).for_each(|number| spreading.has_all(Time(0), JOB, peer(number), true));
    let sources = spreading.sources(Time(0), JOB, wants(100), 3);
    assert!(known.iter().all(|known| sources.contains(known)), "{sources:?}");
    for number in 101..104 {
        let turn = spreading.turn(Time(0), JOB, wants(number));
        assert!(known.iter().any(|known| turn == Turn::From(*known)), "{turn:?}");
    }
    let sources = spreading.sources(Time(0), JOB, wants(105), 3);
    let is_unknown = |source: &&Sender| matches!(source, Sender::Peer(peer) if *peer >= self::peer(1000));
    assert_eq!(sources.iter().filter(is_unknown).count(), 1, "{sources:?}");
    // One that has sent the files is known, and so is one that delivers later.
    spreading.has_all(Time(0), JOB, peer(1000), true);
    let Turn::From(from) = spreading.turn(Time(0), JOB, wants(106)) else {
        panic!("somebody has them");
    };
    assert_eq!(from, Sender::Peer(peer(1000)));
}

#[test]
fn one_that_sends_nothing_to_those_with_leases_is_named_no_more() {
    for (took, is_named) in [(SECOND, true), (START, false)] {
        let mut spreading = spreading();
        spreading.has_all(Time(0), JOB, peer(0), true);
        // The requester is a worse choice.
        spreading.link.sending = AT_ONCE_MAX;
        for number in 1..=VAIN_MAX {
            let sources = spreading.sources(Time(0), JOB, wants(number), 3);
            assert_eq!(sources[0], Sender::Peer(peer(0)));
            spreading.end(Time(0) + took, JOB, peer(number), Ended::Complete);
        }
        assert_eq!(spreading.holders(JOB).any(|holder| holder == peer(0)), is_named);
    }
}

#[test]
fn a_strangers_complaint_that_comes_at_once_counts_for_nothing() {
    for (pause, is_named) in [(COMPLAINT_MIN / 2, true), (COMPLAINT_MIN, false)] {
        let mut spreading = spreading();
        spreading.has_all(Time(0), JOB, peer(0), false);
        for number in 1..=VAIN_MAX {
            let from = Turn::From(Sender::Peer(peer(0)));
            assert_eq!(spreading.turn(Time(0), JOB, stranger(number)), from);
            spreading.turn(Time(0) + pause, JOB, stranger(number));
            spreading.end(Time(0) + pause, JOB, peer(number), Ended::Otherwise);
        }
        assert_eq!(spreading.holders(JOB).count(), usize::from(is_named));
    }
}

#[test]
fn one_that_has_nothing_to_send_is_named_no_more() {
    let mut spreading = spreading();
    spreading.has_all(Time(0), JOB, peer(0), true);
    for number in 1..=VAIN_MAX {
        let from = Sender::Peer(peer(0));
        assert_eq!(spreading.turn(Time(0), JOB, wants(number)), Turn::From(from));
        // It asks again, and hears of nobody better.
        spreading.end(Time(0), JOB, peer(number), Ended::Failed);
        // To come again, as one that has lost the files, is no way out.
        spreading.turn(Time(0), JOB, wants(0));
        spreading.has_all(Time(0), JOB, peer(0), true);
    }
    assert_eq!(
        spreading.turn(Time(0), JOB, wants(9)),
        Turn::From(Sender::Requester)
    );
    assert_eq!(spreading.holders(JOB).count(), 0);
}

#[test]
fn a_stranger_that_asks_again_and_again_has_nobody_forgotten() {
    let mut spreading = spreading();
    for number in 0..5 {
        spreading.has_all(Time(0), JOB, peer(number), true);
    }
    for turn in 0..100 {
        spreading.turn(Time(0) + COMPLAINT_MIN * turn, JOB, stranger(9));
    }
    assert_eq!(spreading.holders(JOB).count(), 5);
}

#[test]
fn a_few_strangers_have_nobody_forgotten_that_has_sent_the_files() {
    let mut spreading = spreading();
    for number in 0..5 {
        spreading.has_all(Time(0), JOB, peer(number), true);
    }
    for number in 10..15 {
        let turn = spreading.turn(Time(0), JOB, wants(number));
        assert!(matches!(turn, Turn::From(Sender::Peer(_))), "{turn:?}");
        spreading.has_all(Time(0), JOB, peer(number), true);
        spreading.forget(peer(number));
    }
    for turn in 0..100 {
        let now = Time(0) + COMPLAINT_MIN * turn as u32;
        for number in 20..24 {
            spreading.turn(now, JOB, stranger(number));
        }
    }
    assert_eq!(spreading.holders(JOB).count(), 5);
}

#[test]
fn a_lease_names_no_more_senders_than_it_has_room_for() {
    for holders in 1..8 {
        let mut spreading = spreading();
        for number in 100..100 + holders {
            spreading.has_all(Time(0), JOB, peer(number), true);
        }
        let Turn::From(from) = spreading.turn(Time(0), JOB, wants(1)) else {
            panic!("somebody has them");
        };
        let sources = spreading.sources(Time(0), JOB, wants(1), 3);
        assert_eq!(
            (sources[0], sources.len()),
            (from, 4.min(holders + 1)),
            "{sources:?}"
        );
        assert!(sources.contains(&Sender::Requester), "{sources:?}");
    }
}

#[test]
fn however_many_come_and_go_few_are_remembered() {
    let mut spreading = spreading();
    for number in 0..3 * PEERS_MAX {
        let now = Time(0) + SECOND * (number as u32 / 8);
        spreading.turn(now, JOB, wants(number));
        spreading.sources(now, JOB, wants(number + PEERS_MAX), 3);
        if number % 3 == 0 {
            spreading.has_all(now, JOB, peer(number), true);
        }
    }
    let job = &spreading.jobs[&JOB];
    for remembered in [
        job.holders.len(),
        job.order.len(),
        job.fetching.len(),
        job.served.len(),
        job.waiting.len(),
        job.records.len(),
    ] {
        assert!(remembered <= PEERS_MAX, "{remembered}");
    }
    (0..4 * PEERS_MAX).for_each(|number| spreading.forget(peer(number)));
    assert!(is_empty(&spreading) && spreading.holders(JOB).count() == 0);
}

#[test]
fn with_a_lease_the_one_that_is_sooner_is_named_first() {
    let mut spreading = spreading();
    let sources = |spreading: &mut Spreading, number| spreading.sources(Time(0), JOB, wants(number), 3);
    assert_eq!(
        sources(&mut spreading, 0),
        [Sender::Requester],
        "nobody else has them"
    );
    for number in 100..102 {
        spreading.has_all(Time(0), JOB, peer(number), true);
    }
    // As many as it sends at once as fast as a home, the next ones from peers, with the
    // requester to fall back on.
    let firsts: Vec<Sender> = (1..7).map(|number| sources(&mut spreading, number)[0]).collect();
    let from_here = |from: &&Sender| **from == Sender::Requester;
    assert_eq!(
        firsts.iter().filter(from_here).count(),
        AT_ONCE_MIN - 1,
        "{firsts:?}"
    );
    assert_eq!(spreading.jobs[&JOB].load(), 3);
    let last = sources(&mut spreading, 7);
    assert_eq!((last.len(), last[2]), (3, Sender::Requester));
    // One that has begun goes on there.
    assert_eq!(sources(&mut spreading, 1)[0], firsts[0]);
    assert_eq!(sources(&mut spreading, 6)[0], firsts[5]);
}

#[test]
fn a_full_link_is_queued_for_where_peers_take_twice_as_long() {
    let mut spreading = spreading();
    spreading.has_all(Time(0), JOB, peer(100), true);
    let firsts: Vec<Sender> = (0..24)
        .map(|number| spreading.sources(Time(0), JOB, wants(number), 3)[0])
        .collect();
    let from_here = firsts.iter().filter(|from| **from == Sender::Requester).count();
    // The link is four homes. One in eight of what it has in line would be as soon from the peer.
    assert!((AT_ONCE_MIN + 1..22).contains(&from_here), "{firsts:?}");
    let took = |copies: usize, rate| time(MB * copies as u64, rate);
    let (here, there) = (
        took(from_here, spreading.link.rate),
        took(24 - from_here, HOME_RATE),
    );
    assert!(
        there <= 2 * here + took(1, HOME_RATE),
        "{here:?} from the requester, {there:?} from the peer"
    );
}

#[test]
fn a_slow_copy_shows_that_the_link_is_slow_and_so_does_one_that_does_not_come() {
    let mut spreading = spreading();
    let first = spreading.takes(JOB);
    for number in 0..AT_ONCE_MIN {
        spreading.turn(Time(0), JOB, wants(number));
    }
    let late = Time(0) + START + SECOND * 5;
    spreading.has_all(late, JOB, peer(0), true);
    let slow = spreading.link.rate;
    assert!(slow < HOME_RATE * AT_ONCE_MIN as u64, "{slow}");
    spreading.turn(late + SECOND, JOB, wants(9));
    assert!(spreading.link.rate < slow && spreading.takes(JOB) > first);
}

#[test]
fn a_job_that_is_over_gives_the_link_back() {
    let mut spreading = spreading();
    spreading.turn(Time(0), JOB, wants(0));
    spreading.remove(JOB);
    assert_eq!((spreading.link.sending, spreading.jobs.len()), (0, 0));
    spreading.has_all(Time(0), JOB, peer(0), true);
    assert_eq!(spreading.holders(JOB).count(), 0);
}

#[test]
fn early_tasks_are_as_many_as_peers_with_the_files_or_all_if_half_have_them() {
    let mut spreading = spreading();
    assert_eq!(spreading.enough_for(JOB, 0), 0, "nobody is there");
    assert_eq!(spreading.enough_for(JOB, 1), 0);
    (0..3).for_each(|number| spreading.has_all(Time(0), JOB, peer(number), true));
    assert_eq!(spreading.enough_for(JOB, 7), 3);
    assert_eq!(spreading.enough_for(JOB, 6), usize::MAX);
    spreading.remove(JOB);
    assert_eq!(spreading.enough_for(JOB, 6), 0);
}

#[test]
fn peers_that_only_say_that_they_have_the_files_have_no_job_begin_early() {
    let mut spreading = spreading();
    (10..40).for_each(|number| spreading.has_all(Time(0), JOB, peer(number), false));
    assert_eq!(spreading.enough_for(JOB, 100), 30, "nobody else has them");
    (0..3).for_each(|number| spreading.has_all(Time(0), JOB, peer(number), true));
    assert_eq!(spreading.enough_for(JOB, 20), 3);
}

#[test]
fn others_go_first_for_a_part_of_the_execution_and_not_for_long() {
    assert_eq!(head_start(SECOND * 4), SECOND);
    assert_eq!(head_start(SECOND * 4000), HEAD_START_MAX);
}
