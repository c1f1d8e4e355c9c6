//! The pauses between the tries of a call.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;

thread_local! {
    /// The pauses that a node of this thread has been given.
    static PAUSES: RefCell<Vec<Duration>> = const { RefCell::new(Vec::new()) };
}

/// Asks a node that answers in this way, one after the other, and then well. Gives whether it got
/// the answer, and the pauses in between.
fn pauses(options: &ImportOptions, replies: Vec<fn() -> Reply>) -> (bool, Vec<Duration>) {
    let asked = AtomicUsize::new(0);
    let url = serve(move |_, _| {
        let reply = replies.get(asked.fetch_add(1, Ordering::Relaxed));
        reply.map_or_else(|| Reply::Result(json!("0x1")), |reply| reply())
    });
    PAUSES.take();
    let node = Node::new(&url, options).unwrap();
    let node = node.with_wait(|pause| PAUSES.with_borrow_mut(|pauses| pauses.push(pause)));
    let answered = chain_id(&node).is_ok();
    (answered, PAUSES.take())
}

const fn seconds<const N: usize>(of: [u64; N]) -> [Duration; N] {
    let mut durations = [Duration::ZERO; N];
    let mut at = 0;
    while at < N {
        durations[at] = Duration::from_secs(of[at]);
        at += 1;
    }
    durations
}

fn busy() -> Reply {
    Reply::Http(503, Vec::new())
}

#[test]
fn each_pause_is_twice_as_long_as_the_one_before() {
    let options = ImportOptions::default();
    assert_eq!(
        pauses(&options, vec![busy as fn() -> Reply; 4]),
        (true, seconds([1, 2, 4, 8]).to_vec())
    );
    assert_eq!(
        pauses(&options, vec![busy as fn() -> Reply; 5]),
        (false, seconds([1, 2, 4, 8]).to_vec())
    );
    let longest = Retries {
        tries: 3,
        first_pause: Duration::MAX,
    };
    assert!(longest.pauses().eq([Duration::MAX; 2]));
    let once = Retries {
        tries: 0,
        first_pause: Duration::MAX,
    };
    assert_eq!(once.pauses().count(), 0);
}

#[test]
fn a_node_may_ask_for_longer_pauses_and_for_no_more_than_a_minute() {
    let replies: Vec<fn() -> Reply> = vec![
        || Reply::Later(429, "7"),
        || Reply::Later(503, "1"),
        || Reply::Later(429, "86400"),
        // A date is no number of seconds.
        || Reply::Later(429, "Wed, 21 Oct 2026 07:28:00 GMT"),
    ];
    assert_eq!(
        pauses(&ImportOptions::default(), replies),
        (true, seconds([7, 2, 60, 8]).to_vec())
    );
}
