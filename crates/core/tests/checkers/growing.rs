//! Made-up histories of jobs whose plan grows.

use super::*;

/// The job of [`open`], of which only the first segment is known.
fn open_growing() -> Input {
    let Input::Open(mut spec) = open() else {
        unreachable!("it opens a job")
    };
    spec.tree = Tree::growing(1);
    spec.costs.truncate(1);
    Input::Open(spec)
}

fn settle() -> Input {
    settle_after(1)
}

/// The plan is there, and so many of its segments were before.
fn settle_after(known: usize) -> Input {
    let Input::Open(spec) = open() else {
        unreachable!("it opens a job")
    };
    Input::Settle {
        job: JOB,
        tree: spec.tree,
        costs: spec.costs[known..].to_vec(),
        done: Vec::new(),
    }
}

fn grow() -> Input {
    let Input::Open(spec) = open() else {
        unreachable!("it opens a job")
    };
    Input::Grow {
        job: JOB,
        costs: spec.costs[1..2].to_vec(),
        done: Vec::new(),
    }
}

#[test]
fn a_task_that_the_plan_has_not_got_yet_is_noticed() {
    for (inputs, known) in [
        (vec![open_growing()], 1),
        (vec![open_growing(), grow()], 2),
        (vec![open_growing(), settle()], 2),
    ] {
        let inputs: Vec<Input> = inputs.into_iter().chain([offer(100)]).collect();
        for index in 0..2 {
            let leased = [lease(segment(index))];
            assert_eq!(last(Grown::default(), &inputs, &leased).is_ok(), index < known);
            assert_eq!(last(Fitting::default(), &inputs, &leased).is_ok(), index < known);
        }
        let is_settled = matches!(inputs[inputs.len() - 2], Input::Settle { .. });
        let node = [persist(leaf(), PROOF)];
        assert_eq!(last(Grown::default(), &inputs, &node).is_ok(), is_settled);
    }
    let done = Output::Event(Event::JobDone { job: JOB });
    let over = Output::Announce {
        job: JOB,
        open: false,
    };
    let ends = [over, done];
    assert!(last(Grown::default(), &[open_growing()], &ends).is_err());
    assert!(last(Grown::default(), &[open_growing(), settle()], &ends).is_ok());
}

#[test]
fn a_plan_that_takes_something_as_it_grows_is_noticed() {
    let revoked = Output::Revoke {
        peer: PEER,
        task: segment(0),
        why: Revocation::Lost,
    };
    let reopened = Output::Event(Event::Reopened {
        task: segment(0),
        proof: PROOF,
        reason: String::new(),
    });
    for taken in [revoked, reopened] {
        for grown in [grow(), settle()] {
            let inputs = [open_growing(), grown, offer(100)];
            assert!(last(Grown::default(), &inputs[..2], std::slice::from_ref(&taken)).is_err());
            // It is another matter afterwards.
            assert!(last(Grown::default(), &inputs, std::slice::from_ref(&taken)).is_ok());
        }
    }
    // A requester that forgets a lease as the plan is settled.
    let mut held = Requester::new(Policy::default());
    held.handle_input(NOW, open_growing());
    held.handle_input(NOW, offer(100));
    let mut forgetful = Requester::new(Policy::default());
    forgetful.handle_input(NOW, open_growing());
    let settled = |by: &mut Requester| {
        let mut grown = Grown::default();
        grown.input(NOW, &open_growing());
        grown.settled(&held).expect("nothing has grown");
        grown.input(NOW, &settle());
        by.handle_input(NOW, settle());
        grown.settled(by)
    };
    assert!(settled(&mut held.clone()).is_ok());
    assert!(settled(&mut forgetful).is_err());
    // A requester that has not heard of it.
    let mut unsettled = Grown::default();
    unsettled.input(NOW, &open_growing());
    unsettled.input(NOW, &settle());
    assert!(unsettled.settled(&held).is_err());
}

#[test]
fn a_proof_is_needed_while_what_takes_it_is_not_known() {
    let dropped = [Output::Obsolete { task: segment(0) }];
    assert!(last(Obsolete::default(), &[open_growing()], &dropped).is_err());
    // Segments are needed although there is no final proof yet.
    let announced = Output::Announce { job: JOB, open: true };
    let mut moving = Moving::default();
    moving.input(NOW, &open_growing());
    moving.input(NOW, &grow());
    moving.output(NOW, &announced).unwrap();
    let mut requester = Requester::new(Policy::default());
    requester.handle_input(NOW, open_growing());
    assert!(moving.settled(&requester).is_err(), "segment 1 is not there");
    requester.handle_input(NOW, grow());
    assert!(moving.settled(&requester).is_ok());
    moving.input(NOW, &settle_after(2));
    assert!(moving.settled(&requester).is_err(), "there is no final proof");
    requester.handle_input(NOW, settle_after(2));
    assert!(moving.settled(&requester).is_ok());
}
