//! Which of the profiles in the data folder says how fast a prover is: each engine has one.

use std::path::Path;

use myriad_core::{EngineId, EngineName};
use myriad_node::prover::Calibration;

/// Says which profile a prover of this data folder takes its speed from, now that the profile of
/// `measured` is there. `lent` are the engines that the prover has.
pub fn sentence(data_dir: &Path, lent: &[EngineId], measured: EngineName) -> String {
    // The number of threads has no part in which one is taken.
    let (taken, unused) = Calibration::measured(data_dir, lent, 1);
    match taken {
        Some(taken) if taken.engine == measured => {
            "a prover of this data folder takes its speed from this profile".into()
        }
        Some(taken) => format!(
            "a prover of this data folder takes its speed from {}, which `{}` has measured; this profile counts for a prover \
             that lends no engine but its own: `myriad prover --engines {measured}`",
            taken.path.display(),
            taken.engine
        ),
        None => {
            let reasons: Vec<String> = unused.iter().map(ToString::to_string).collect();
            format!("a prover takes its speed from no profile: {}", reasons.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use myriad_cost::{profile::Profile, reference};
    use myriad_node::prover::profile_file;

    use super::*;
    use crate::engines::Choice;

    /// The reference's measurements, as if an engine of this machine had made them.
    fn write(dir: &Path, id: EngineId, fingerprint: [u8; 32]) {
        let profile = Profile {
            engine: hex::encode(fingerprint),
            engine_name: id.name,
            ..reference::profile().clone()
        };
        fs::write(dir.join(profile_file(id.name)), profile.to_json()).unwrap();
    }

    #[test]
    fn the_profile_that_counts_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let ids @ [openvm, risc0] = [Choice::Openvm, Choice::Risc0].map(|choice| choice.facts().id);
        let own = "takes its speed from this profile";
        write(dir, risc0, risc0.fingerprint);
        assert!(sentence(dir, &ids, risc0.name).contains(own));
        write(dir, openvm, openvm.fingerprint);
        assert!(sentence(dir, &ids, openvm.name).contains(own));
        let other = sentence(dir, &ids, risc0.name);
        assert!(
            other.contains("profile.json, which `openvm` has measured"),
            "{other}"
        );
        assert!(other.contains("`myriad prover --engines risc0`"), "{other}");
        // That of an older build does not stand in its way.
        write(dir, openvm, [0; 32]);
        assert!(sentence(dir, &ids, risc0.name).contains(own));
        let none = sentence(dir, &[openvm], openvm.name);
        assert!(
            none.contains("no profile") && none.contains("`myriad bench`"),
            "{none}"
        );
    }
}
