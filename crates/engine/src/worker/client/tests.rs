//! Children that die, and the party to blame.

use super::*;
use crate::Input;

/// A child that is a shell with a command, and never answers.
fn shell(command: &str) -> Worker {
    let config = WorkerConfig {
        engine: EngineFacts::pretended(),
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
    while worker.process.lock().child.try_wait().unwrap().is_none() {
        std::thread::sleep(WAIT_STEP);
    }
    worker.stopper().stop();
    let death = death(&mut worker);
    assert!(death.out_of_memory && !death.stopped, "{death:?}");
}

/// The frame of an answer to any request: of so many bytes, all zero but those at its start.
fn padded(start: &[u8], bytes: usize) -> String {
    let octal = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("\\{byte:03o}")).collect() };
    format!(
        "printf '{}'; head -c {} /dev/zero; exec sleep 600",
        octal(&[&(bytes as u32).to_le_bytes(), start].concat()),
        bytes - start.len()
    )
}

/// A usage of nothing, and then what is answered.
const NO_USAGE: [u8; 8] = [0; 8];

#[test]
fn an_answer_is_as_long_as_what_was_asked_may_be_and_no_longer() {
    type Ask = fn(&mut Worker) -> Result<(), WorkerError>;
    let asked: [(Request, Ask); 5] = [
        (Request::Execute { instructions: 1 }, |w| w.execute(1).map(drop)),
        (Request::Verify(ProofOf::Node(Level::LEAF)), |w| {
            w.verify(ProofOf::Node(Level::LEAF), vec![1]).map(drop)
        }),
        (Request::PrepareVerifier, |w| w.prepare_verifier().map(drop)),
        (Request::Aggregate { level: Level::LEAF }, |w| {
            w.aggregate(Level::LEAF, vec![vec![1]]).map(drop)
        }),
        (Request::Boundaries(vec![Segment::only()]), |w| {
            w.boundaries(&[Segment::only()]).map(drop)
        }),
    ];
    for (request, ask) in asked {
        let most = request.answer_bytes_max();
        // Nothing is as long as a plan but a plan.
        assert!(most < 9 << 20, "{request:?}: {most}");
        for (bytes, is_refused) in [(most, false), (most + 1, true)] {
            let error = ask(&mut shell(&padded(&NO_USAGE, bytes))).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, WorkerError::Protocol(_)), "{text}");
            assert_eq!(
                text.contains(&format!("a frame of {bytes} bytes, and {most} are allowed")),
                is_refused,
                "{request:?}: {text}"
            );
        }
    }
}

#[test]
fn a_child_that_says_what_every_one_says_before_it_has_a_program_is_understood() {
    let response = |result: Result<Answer, Failure>| {
        let usage = Usage::default();
        postcard::to_stdvec(&Response { usage, result }).unwrap()
    };
    let greet = |answer: &[u8]| shell(&padded(answer, answer.len())).greet();
    let nothing = response(Err(Failure::NothingLoaded));
    greet(&nothing).unwrap();
    for other in [
        response(Err(Failure::NotItsTask)),
        response(Ok(Answer::Executed)),
        vec![0xff; 12],
    ] {
        greet(&other).unwrap_err();
    }
    let death = shell("echo of another build >&2; exit 1").greet().unwrap_err();
    assert!(death.to_string().contains("of another build"), "{death}");
}
