//! The activity of a prover, in words, for `prover` and `status`.

use myriad_node::prover::Activity;

/// One line on the task that a prover is doing, or on why it has none.
pub fn activity(activity: &Activity) -> String {
    match activity {
        Activity::Idle { why } => format!("nothing to do: {why}"),
        Activity::Fetching { task, requester } => {
            format!("fetching the inputs of {task} for requester {requester}")
        }
        Activity::Proving {
            task,
            requester,
            progress,
            seconds,
        } => format!(
            "proving {task} for requester {requester}: {} %, {seconds} s",
            progress / 10
        ),
        Activity::Stopping => "stopping".into(),
    }
}
