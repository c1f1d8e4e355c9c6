//! Words the refusals of the state machine for peers.

use std::time::Duration;

use myriad_core::{EngineId, EngineName, Refusal};
use myriad_net::wire::{Refused, Response, Why, shortened};

/// The time after which a peer that waits to be woken asks all the same: a wake may be lost
/// although the connection stays.
const WOKEN_BY: Duration = Duration::from_secs(300);
/// A network with too many strangers at work has room again when one of their tasks ends.
const CROWDED_RETRY: Duration = Duration::from_secs(30);
/// The first proof of a stranger is checked within moments, and then it may hold more leases.
const UNCHECKED_RETRY: Duration = Duration::from_millis(500);

/// The reason for which a peer does not hear where a job's files are.
pub(super) const NOT_SERVED: &str = "a job's files are for provers with the same engine that are not banned";

/// Why a peer that has these engines can do no task of a job of the engine that is called `name`;
/// none if it can. `own` are those of this machine.
pub(super) fn other_engine(name: EngineName, own: &[EngineId], theirs: &[EngineId]) -> Option<String> {
    let is_same = |id: &&EngineId| id.name == name;
    let same_build = |id: &EngineId| theirs.contains(id);
    if own.iter().find(is_same).is_some_and(same_build) {
        return None;
    }
    Some(match theirs.iter().find(is_same) {
        Some(_) => format!("its engine `{name}` is that of another build: one of the two has to be updated"),
        None => format!("it has no engine `{name}`, which the job is of"),
    })
}

/// A peer that `is_parked` is woken when there is something for it, and need not ask at each job.
pub(super) fn refusal(why: &Refusal, is_parked: bool) -> Response {
    let reason = why.to_string();
    let ms = |after: Duration| Some(after.as_millis() as u64);
    let retry_ms = is_parked.then_some(WOKEN_BY).and_then(ms);
    match why {
        Refusal::NoJob | Refusal::Waiting { .. } => refused(Why::NoWork, &reason, retry_ms),
        Refusal::Memory { .. } => refused(Why::Memory, &reason, retry_ms),
        Refusal::Crowded { .. } => refused(Why::NotNow, &reason, ms(CROWDED_RETRY)),
        Refusal::TooManyLeases { .. } => refused(Why::NotNow, &reason, ms(UNCHECKED_RETRY)),
        Refusal::Cooling { remaining, .. } => {
            refused(Why::NotNow, &reason, ms(*remaining + Duration::from_millis(1)))
        }
        Refusal::Banned { .. } => refused(Why::Banned, &reason, None),
        Refusal::NotYet => refused(Why::NotNow, &reason, None),
        // It was said twice, and heard once already.
        Refusal::Submitted => Response::Received,
        Refusal::NoSuchTask | Refusal::NotLeased | Refusal::Done => refused(Why::NotLeased, &reason, None),
    }
}

/// The answer to a question about another job.
pub(super) fn no_such_job() -> Response {
    refused(Why::NotLeased, "there is no such job", None)
}

pub(super) fn refused(why: Why, reason: &str, retry_ms: Option<u64>) -> Response {
    Response::Refused(Refused {
        why,
        reason: shortened(reason),
        retry_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prover_is_served_whose_engine_is_the_jobs() {
        let id = |name: &str, fingerprint| EngineId {
            name: name.parse().unwrap(),
            fingerprint: [fingerprint; 32],
        };
        let (one, other) = (id("one", 1), id("other", 1));
        let own = [one, other];
        let why = |theirs: &[EngineId]| other_engine(one.name, &own, theirs);
        assert_eq!(why(&[one]), None);
        assert_eq!(why(&[other, one]), None);
        let lacks = Some("it has no engine `one`, which the job is of".into());
        assert_eq!(why(&[other]), lacks, "it shares an engine, but not the job's");
        assert_eq!(why(&[]), lacks);
        let build = why(&[other, id("one", 2)]).unwrap();
        assert!(build.contains("`one` is that of another build"), "{build}");
        // The fingerprint of one engine does not stand for another.
        assert!(other_engine(one.name, &[other], &[id("one", 1)]).is_some());
    }
}
