//! Children that die, and the party to blame.

use super::*;
use crate::Input;

/// A child that is a shell with a command, and never answers.
fn shell(command: &str) -> Worker {
    let config = WorkerConfig {
        command: "/bin/sh".into(),
        args: vec!["-c".into(), command.into()],
        keys: "none".into(),
        threads: 1,
    };
    Worker::spawn(&config).unwrap()
}

fn death(worker: &mut Worker) -> Death {
    match worker.load(Vec::<u8>::new(), None, Input::default()) {
        Err(WorkerError::Died(death)) => death,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_child_that_is_stopped_has_not_run_out_of_memory() {
    let mut worker = shell("exec sleep 600");
    let stopper = worker.stopper();
    std::thread::spawn(move || stopper.stop());
    let death = death(&mut worker);
    assert!(death.stopped && !death.out_of_memory, "{death:?}");
    assert_eq!(death.to_string(), "the engine child was stopped");
}

#[test]
fn a_child_that_the_system_killed_has_and_no_stopper_takes_the_blame() {
    let mut worker = shell("kill -9 $$");
    while lock(&worker.process).child.try_wait().unwrap().is_none() {
        std::thread::sleep(WAIT_STEP);
    }
    worker.stopper().stop();
    let death = death(&mut worker);
    assert!(death.out_of_memory && !death.stopped, "{death:?}");
}
