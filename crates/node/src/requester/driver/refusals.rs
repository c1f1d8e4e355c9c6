//! Words the refusals of the state machine for peers.

use myriad_core::Refusal;
use myriad_net::wire::{Refused, Response, Why, cut};

pub(super) fn refusal(why: &Refusal) -> Response {
    let reason = why.to_string();
    match why {
        Refusal::NoJob | Refusal::Waiting { .. } => refused(Why::NoWork, &reason, None),
        Refusal::Memory { .. } => refused(Why::Memory, &reason, None),
        Refusal::Crowded { .. } => refused(Why::NotNow, &reason, Some(30_000)),
        // Its first proof is being looked at.
        Refusal::TooManyLeases { .. } => refused(Why::NotNow, &reason, Some(500)),
        Refusal::Cooling { remaining, .. } => {
            refused(Why::NotNow, &reason, Some(remaining.as_millis() as u64 + 1))
        }
        Refusal::Banned { .. } => refused(Why::Banned, &reason, None),
        // Said twice, and heard once already.
        Refusal::Submitted => Response::Received,
        Refusal::NoSuchTask | Refusal::NotLeased | Refusal::Done => refused(Why::NotLeased, &reason, None),
    }
}

pub(super) fn refused(why: Why, reason: &str, retry_ms: Option<u64>) -> Response {
    Response::Refused(Refused {
        why,
        reason: cut(reason),
        retry_ms,
    })
}
