//! Watches from outside what an execution takes.
//!
//! An instruction of big integers runs a program of its own (`bibc` of the circuit's crate), whose
//! numbers can double at each step. No number of cycles says what it takes, and nothing but the
//! process can be stopped in it. So the thread that waits for an execution looks at the time and
//! the memory that the process takes. The time is that of cores: a process that is stopped does
//! nothing, and neither does one that others keep from its cores.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::memory;

/// The time of cores that an execution may take in all, and for each row of a segment a hundredth
/// of a millisecond more, of which it needs a hundredth.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_PER_ROW: Duration = Duration::from_micros(10);

/// How often the memory is looked at. Memory that is new is written at a few gigabytes a second.
const LOOK: Duration = Duration::from_millis(20);

/// The watch over an execution: the time of cores and the memory that it may take, and those that
/// it has taken.
pub(crate) struct Watch {
    /// For each segment.
    each: Duration,
    pub allowed: Duration,
    taken: Duration,
    /// The peak of the process before.
    before: u64,
    bytes: u64,
}

/// What came of waiting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    Received(T),
    /// Nothing comes any more.
    Ended,
    /// The process has to end, for this reason.
    TooMuch(String),
}

impl Watch {
    /// For an execution that is cut for 2^`cut_po2` rows, in a process of so many bytes.
    pub(crate) fn of(cut_po2: u32, bytes: u64) -> Self {
        let each = PATIENCE_PER_ROW * (1 << cut_po2);
        let mut watch = Self {
            each,
            allowed: PATIENCE + each,
            taken: Duration::ZERO,
            before: peak_bytes(),
            bytes: 0,
        };
        watch.allow(bytes);
        watch
    }

    /// Has the process take so many bytes, or those of a lift, if that is more: a process that
    /// executes can lift, too. What the process has taken before may still be there.
    pub(crate) fn allow(&mut self, bytes: u64) {
        self.bytes = bytes.max(memory::recursion_bytes());
    }

    /// Waits for what comes next.
    pub(crate) fn wait<T>(&mut self, receiver: &Receiver<T>) -> Waited<T> {
        let (start, before) = (cpu_time(), self.taken);
        loop {
            let left = self.allowed.saturating_sub(self.taken);
            let received = match receiver.recv_timeout(left.min(LOOK)) {
                Ok(received) => Some(received),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Waited::Ended,
            };
            self.taken = before + cpu_time().saturating_sub(start);
            if let Some(reason) = self.exceeded(peak_bytes()) {
                return Waited::TooMuch(reason);
            }
            if let Some(received) = received {
                self.allowed += self.each;
                return Waited::Received(received);
            }
        }
    }

    fn exceeded(&self, peak: u64) -> Option<String> {
        const WHY: &str = "its instructions do too much, as those of big integers can; have them compute \
                           with smaller numbers";
        if self.taken >= self.allowed {
            let (taken, allowed) = (self.taken.as_secs_f64(), self.allowed.as_secs_f64());
            return Some(format!(
                "executing the program took {taken:.1} s of CPU time without an end, and {allowed:.1} s are allowed for as many \
                 cuts: {WHY}"
            ));
        }
        let more = peak.saturating_sub(self.before);
        (more > self.bytes).then(|| {
            format!(
                "to execute the program takes {more} bytes of memory, and {} are allowed: {WHY}",
                self.bytes
            )
        })
    }
}

/// The time that this process has had cores for.
fn cpu_time() -> Duration {
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        let taken = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(taken.max(0) as u64)
    })
}

/// The largest resident set of this process, of late. It reads no files.
fn peak_bytes() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| (usage.max_rss() as u64) << 10)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Otherwise each segment of many could take as long as the longest one may.
    #[test]
    fn patience_is_for_the_whole_execution() {
        let mut watch = Watch::of(15, 0);
        assert_eq!(watch.allowed, PATIENCE + watch.each);
        let (sender, receiver) = sync_channel(1);
        for sent in 1..3 {
            sender.send(()).unwrap();
            watch.taken += PATIENCE / 3;
            assert_eq!(watch.wait(&receiver), Waited::Received(()));
            assert_eq!(watch.allowed, PATIENCE + watch.each * (sent + 1));
            assert!(watch.taken >= PATIENCE / 3 * sent, "{:?}", watch.taken);
        }
        watch.taken = watch.allowed;
        let Waited::TooMuch(reason) = watch.wait(&receiver) else {
            panic!("it waits on");
        };
        assert!(reason.contains("61.0 s are allowed for as many cuts"), "{reason}");
        drop(sender);
        assert_eq!(watch.wait(&receiver), Waited::Ended);
    }

    #[test]
    fn waiting_goes_on_between_two_looks_at_the_memory() {
        let mut watch = Watch::of(15, u64::MAX);
        let (sender, receiver) = sync_channel(0);
        let sent = std::thread::spawn(move || {
            std::thread::sleep(3 * LOOK);
            sender.send(7).unwrap();
        });
        assert_eq!(watch.wait(&receiver), Waited::Received(7));
        sent.join().unwrap();
    }

    #[test]
    fn a_wait_ends_when_the_process_has_computed_for_what_is_allowed() {
        let mut watch = Watch::of(15, u64::MAX);
        watch.allowed = LOOK;
        let (_sender, receiver) = sync_channel::<()>(0);
        let busy = std::thread::spawn(|| {
            let start = cpu_time();
            while cpu_time().saturating_sub(start) < 2 * LOOK {}
        });
        assert!(matches!(watch.wait(&receiver), Waited::TooMuch(_)));
        assert!(watch.taken >= LOOK, "{:?}", watch.taken);
        busy.join().unwrap();
    }

    /// Cuts that come in time do not hide the memory.
    #[test]
    fn what_comes_in_time_is_looked_at_too() {
        let mut watch = Watch::of(15, 0);
        let (sender, receiver) = sync_channel(1);
        sender.send(()).unwrap();
        (watch.before, watch.bytes) = (0, 1);
        assert!(matches!(watch.wait(&receiver), Waited::TooMuch(_)));
    }

    #[test]
    fn memory_beyond_what_is_allowed_ends_the_wait() {
        let mut watch = Watch::of(15, 0);
        assert_eq!(watch.bytes, memory::recursion_bytes());
        watch.bytes = 16 << 20;
        assert_eq!(watch.exceeded(watch.before + (16 << 20)), None);
        // The peak of this process is seen.
        let (_sender, receiver) = sync_channel::<()>(0);
        let taken = vec![1_u8; 64 << 20];
        watch.before = peak_bytes().saturating_sub(taken.len() as u64 / 2);
        assert!(peak_bytes() >= taken.len() as u64);
        let Waited::TooMuch(reason) = watch.wait(&receiver) else {
            panic!("it waits on");
        };
        assert!(
            reason.contains("bytes of memory, and 16777216 are allowed"),
            "{reason}"
        );
    }
}
