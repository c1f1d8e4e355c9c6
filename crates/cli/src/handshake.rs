//! Whether the binary of an engine is one that this program can talk to. It may be of another
//! build, or no engine at all.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use myriad_engine::{
    MemoryBudget,
    worker::{WorkerConfig, WorkerError},
};
use myriad_node::LimitedWorker;

/// A child answers at once. A machine that is busy may take seconds to start it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a child, and has it answer.
///
/// # Errors
/// The child's behaviour in place of an answer, in words that follow the path of its binary.
pub fn greet(config: &WorkerConfig, memory: MemoryBudget) -> Result<(), String> {
    greet_within(config, memory, PATIENCE)
}

fn greet_within(config: &WorkerConfig, memory: MemoryBudget, patience: Duration) -> Result<(), String> {
    let mut worker = LimitedWorker::spawn(config, memory).map_err(said)?;
    let stopper = worker.stopper();
    let (answered, answer) = mpsc::channel::<()>();
    let clock = thread::spawn(move || {
        if answer.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            stopper.stop();
        }
    });
    let greeted = worker.within(|child| child.greet());
    drop(answered);
    // It waits for nothing any more.
    let _ = clock.join();
    greeted.map_err(|error| match error {
        WorkerError::Died(death) if death.stopped => {
            format!("did not answer within {} s", patience.as_secs_f64())
        }
        error => said(error),
    })
}

fn said(error: WorkerError) -> String {
    format!("is of no use: {error}")
}

#[cfg(test)]
mod tests {
    use myriad_engine::known;

    use super::*;

    /// A shell with a command in place of an engine.
    fn greeted(command: &str, patience: Duration) -> Result<(), String> {
        let config = WorkerConfig {
            engine: known::risc0(),
            command: "/bin/sh".into(),
            args: vec!["-c".into(), command.into()],
            keys: "none".into(),
            threads: 1,
        };
        greet_within(&config, MemoryBudget::from_bytes(1 << 30), patience)
    }

    #[test]
    fn a_binary_that_never_answers_is_not_waited_for() {
        let error = greeted("exec sleep 600", Duration::from_millis(100)).unwrap_err();
        assert_eq!(error, "did not answer within 0.1 s");
    }

    #[test]
    fn what_a_binary_says_in_place_of_an_answer_is_told() {
        let error = greeted("echo of another build >&2; exit 3", PATIENCE).unwrap_err();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("of another build"), "{error}");
        let error = greeted("echo no frame; exec sleep 600", PATIENCE).unwrap_err();
        assert!(error.contains("do not understand each other"), "{error}");
        let config = WorkerConfig {
            engine: known::risc0(),
            command: "/nonexistent/engine".into(),
            args: Vec::new(),
            keys: "none".into(),
            threads: 1,
        };
        let error = greet(&config, MemoryBudget::from_bytes(1 << 30)).unwrap_err();
        assert!(error.contains("cannot start"), "{error}");
    }
}
