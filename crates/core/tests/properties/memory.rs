//! A requester's memory does not grow with the identities that come.

use super::*;

/// Peers that failed at a task, and those that held a lease of it: see `FAILURES_MAX` and
/// `FORMER_MAX`.
const REMEMBERED_MAX: usize = 2 * 256;
/// Many more than that.
const STRANGERS: usize = 700;

fn stranger(index: usize) -> Peer {
    let mut peer = [7; 32];
    peer[..8].copy_from_slice(&(index as u64).to_be_bytes());
    Peer(peer)
}

/// A way in which a stranger gets rid of its task.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Fails,
    HandsBack,
    Vanishes,
    Lies,
    /// Its lease runs out.
    Silent,
}

fn leaves() -> impl Strategy<Value = Leaves> {
    prop_oneof![
        4 => Just(Leaves::Fails),
        2 => Just(Leaves::HandsBack),
        2 => Just(Leaves::Vanishes),
        1 => Just(Leaves::Lies),
        1 => Just(Leaves::Silent),
    ]
}

impl Harness {
    /// A stranger comes for the only task, and goes.
    fn comes_and_goes(&mut self, index: usize, leaves: Leaves) -> Result<(), Violation> {
        let peer = stranger(index);
        let offer = offer(2);
        self.input(Input::Offer { peer, offer })?;
        let Some(task) = self.leases.get_mut(&peer).and_then(Vec::pop) else {
            return Ok(());
        };
        match leaves {
            Leaves::Fails => {
                let why = Return::Failed {
                    message: "no luck".into(),
                };
                self.input(Input::Returned { peer, task, why })?;
            }
            Leaves::HandsBack => {
                let why = Return::Surplus;
                self.input(Input::Returned { peer, task, why })?;
            }
            Leaves::Vanishes => drop(self.input(Input::PeerLost { peer })?),
            Leaves::Lies => {
                self.submit(peer, task, BAD)?;
                self.check(false)?;
            }
            Leaves::Silent => self.step(&Step::Pass(100))?,
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn however_many_come_and_go_a_task_remembers_few_of_them(
        ways in prop::collection::vec(leaves(), STRANGERS..STRANGERS + 100),
    ) {
        let mut harness = Harness::new(ONCE);
        let task = TaskRef { job: job(0), task: TaskId::Segment(0) };
        let mut run = || -> Result<(), Violation> {
            harness.open(0, 1)?;
            for (index, leaves) in ways.iter().enumerate() {
                harness.comes_and_goes(index, *leaves)?;
                let remembered = harness.requester.remembered_for(task);
                assert!(remembered <= REMEMBERED_MAX, "{remembered} of {index}");
            }
            harness.recover()
        };
        if let Err(violation) = run() {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }
}

/// A peer that has delivered before and is late with this task is not pushed out by strangers.
#[test]
fn a_late_proof_of_a_proven_machine_is_heard_whoever_comes_meanwhile() {
    let mut harness = Harness::new(ONCE);
    harness.open(0, 2).unwrap();
    harness.step(&Step::Offer(1)).unwrap();
    harness.act(1, Habit::Honest).unwrap();
    harness.step(&Step::Check(true)).unwrap();
    harness.step(&Step::Persist).unwrap();
    harness.step(&Step::Offer(1)).unwrap();
    let task = harness.leases[&peer(1)][0];
    harness.step(&Step::Pass(1000)).unwrap();
    for index in 0..STRANGERS {
        harness.comes_and_goes(index, Leaves::HandsBack).unwrap();
    }
    assert!(harness.requester.may_submit(peer(1), task));
    assert!(
        !harness.requester.may_submit(stranger(0), task),
        "the first ones are forgotten"
    );
    assert!(harness.requester.may_submit(stranger(STRANGERS - 1), task));
}
