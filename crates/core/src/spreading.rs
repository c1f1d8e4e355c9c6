//! The rules by which a job's files go from machine to machine before there are tasks: how many
//! copies the requester sends, and how long machines without them let others go first.

use std::time::Duration;

/// Machines that one that has the files sends them to at once: at home it sends slower than it
/// fetches, and two at once would both have them when the second one of two in turn has them.
pub const FETCHING_AT_ONCE: usize = 1;
/// Machines that are known to have the files, to be named to others. Enough that one of them has
/// time, where all that begin at once fetch.
pub const HOLDERS_NAMED_FROM: usize = 256;

/// How long a machine that is at a task lets free ones fetch first: it will not be the one that
/// begins with the job.
pub const AT_TASK_LATER: Duration = Duration::from_secs(2);

/// Machines that the requester sends to at once in the beginning, and copies that it sends then.
/// With more, each of them would have the files later, and with it those that wait for them.
const AT_ONCE_MIN: usize = 4;
const COPIES_PER_PLACE: usize = 2;
/// Machines that a requester with a fast link sends to at once.
const AT_ONCE_MAX: usize = 32;
/// A copy comes as fast as the fastest one if it takes no longer than that by this part.
const AS_FAST_PART: u32 = 2;

/// A machine without the files leaves a job's first tasks to those that have them, for this part of
/// the time that the execution took, and no longer than [`HEAD_START_MAX`]: what it would fetch is
/// on its way to many others then.
const HEAD_START_PART: u32 = 4;
const HEAD_START_MAX: Duration = Duration::from_secs(3);

/// How long machines without a job's files leave its first tasks to others, if the job was executed
/// for so long.
pub fn head_start(executed_for: Duration) -> Duration {
    (executed_for / HEAD_START_PART).min(HEAD_START_MAX)
}

/// The copies of a job's files that its requester sends itself: four at once and eight in all. Each
/// that comes as fast as the fastest one shows that the requester's link has room, and then one
/// more goes out at once, and two more in all, up to eight times as many.
#[derive(Clone, Copy, Debug)]
pub struct Copies {
    at_once: usize,
    sending: usize,
    sent: usize,
    fastest: Duration,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            at_once: AT_ONCE_MIN,
            sending: 0,
            sent: 0,
            fastest: Duration::MAX,
        }
    }
}

impl Copies {
    /// Whether one more is sent now. While `nobody_else` has the files, there is no end to them.
    pub fn may_begin(&self, nobody_else: bool) -> bool {
        let is_one_of_all = nobody_else || self.sent < COPIES_PER_PLACE * self.at_once;
        self.sending < self.at_once && is_one_of_all
    }

    /// One is sent from now on.
    pub fn begins(&mut self) {
        self.sending += 1;
        self.sent += 1;
    }

    /// One of them is there, after so long.
    pub fn has_come(&mut self, took: Duration) {
        self.sending = self.sending.saturating_sub(1);
        // The first one says nothing: it may have had the link for itself.
        let is_first = self.fastest == Duration::MAX;
        self.fastest = self.fastest.min(took);
        if !is_first && took <= self.fastest.saturating_add(self.fastest / AS_FAST_PART) {
            self.at_once = (self.at_once + 1).min(AT_ONCE_MAX);
        }
    }

    /// One of them has come to nothing.
    pub fn has_failed(&mut self) {
        self.sending = self.sending.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// How many copies are sent over a link that takes so long for each, one after the other, to
    /// machines that need a second for it.
    fn sent(each: Duration) -> usize {
        let mut copies = Copies::default();
        let (mut now, mut free) = (Duration::ZERO, Duration::ZERO);
        let mut coming: VecDeque<(Duration, Duration)> = VecDeque::new();
        loop {
            while copies.may_begin(false) {
                copies.begins();
                free = free.max(now) + each;
                coming.push_back((now, free.max(now + Duration::from_secs(1))));
            }
            let Some((since, there)) = coming.pop_front() else {
                return copies.sent;
            };
            now = there;
            copies.has_come(there - since);
        }
    }

    #[test]
    fn a_fast_link_sends_more_copies_and_a_slow_one_eight() {
        let millis = Duration::from_millis;
        assert_eq!(sent(millis(1)), COPIES_PER_PLACE * AT_ONCE_MAX);
        assert!(sent(millis(500)) < sent(millis(100)), "{}", sent(millis(500)));
        assert_eq!(sent(millis(1000)), 8);
    }

    #[test]
    fn copies_go_on_while_nobody_else_can_send_them() {
        let mut copies = Copies::default();
        for _ in 0..20 {
            assert!(copies.may_begin(true));
            copies.begins();
            copies.has_failed();
        }
        assert!(!copies.may_begin(false));
    }

    #[test]
    fn others_go_first_for_a_part_of_the_execution_and_not_for_long() {
        assert_eq!(head_start(Duration::from_secs(4)), Duration::from_secs(1));
        assert_eq!(head_start(Duration::from_secs(4000)), HEAD_START_MAX);
    }
}
