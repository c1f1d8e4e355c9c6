//! What a prover is doing, in words, for `prover` and `status`.

use myriad_node::prover::Activity;

/// One line on what a prover is doing, or why nothing.
pub fn activity(activity: &Activity) -> String {
    match activity {
        Activity::Idle { why } => format!("nothing to do: {why}"),
        Activity::Fetching { task, requester } => {
            format!("fetching what {task} for requester {requester} needs")
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
