//! A child and its caller find out that they are of one build, before they say anything else.

use std::env;

use myriad_core::EngineId;
use thiserror::Error;

use crate::quoted;

/// The version of the requests and answers between a caller and its child. It rises with every
/// change of one of them, and of a type that is in them.
pub const WORKER_PROTOCOL_VERSION: u32 = 1;

/// The environment variable by which a caller tells its child what it expects: [`expected`].
pub(super) const VARIABLE: &str = "MYRIAD_ENGINE_CALLER";

/// A child is of another build than its caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the engine child has {own}, and its caller expects {actual}: the two are of different builds, and one has to be \
     updated; if that was done just now, start the command again"
)]
pub struct OtherBuild {
    actual: String,
    own: String,
}

/// What a caller expects of a child, and a child of its caller: the version of what they say to
/// each other, and the engine with its fingerprint.
pub(super) fn expected(engine: &EngineId) -> String {
    format!(
        "protocol {WORKER_PROTOCOL_VERSION}, engine {} {}",
        engine.name,
        hex::encode(engine.fingerprint)
    )
}

/// Checks, in a child, that its caller expects this engine and what this build answers.
pub(super) fn check(engine: &EngineId) -> Result<(), OtherBuild> {
    compare(&env::var(VARIABLE).unwrap_or_default(), engine)
}

fn compare(said: &str, engine: &EngineId) -> Result<(), OtherBuild> {
    let own = expected(engine);
    if said == own {
        return Ok(());
    }
    let actual = match said {
        "" => "nothing".into(),
        said => quoted(said),
    };
    Err(OtherBuild { actual, own })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineFacts;

    #[test]
    fn a_caller_of_another_build_is_told_so() {
        let own = EngineFacts::pretended().id;
        assert_eq!(compare(&expected(&own), &own), Ok(()));
        let other_build = EngineId {
            fingerprint: [1; 32],
            ..own
        };
        let other_engine = EngineId {
            name: "other".parse().unwrap(),
            ..own
        };
        let version = format!("protocol {WORKER_PROTOCOL_VERSION},");
        let other_version = expected(&own).replace(&version, "protocol 0,");
        for said in [
            expected(&other_build),
            expected(&other_engine),
            other_version,
            String::new(),
        ] {
            let error = compare(&said, &own).unwrap_err().to_string();
            assert!(error.contains(&expected(&own)), "{error}");
            let told = if said.is_empty() { "nothing" } else { &said };
            assert!(error.contains(told), "{error}");
        }
    }
}
