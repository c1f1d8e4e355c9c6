//! Says at once where Myriad does not run, and not after all its dependencies were compiled.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(refusal) = refusal(&env::var("CARGO_CFG_TARGET_OS").unwrap_or_default()) {
        println!("cargo::error={refusal}");
    }
}

/// Why a build for this system ends here, if it does.
fn refusal(system: &str) -> Option<String> {
    (system != "linux").then(|| {
        format!(
            "Myriad runs on Linux alone, whose kernel confines and measures what runs strangers' programs, \
             and this build is for {system}; build and run it on Linux, or in a Linux container or virtual machine"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_for_other_systems_end_with_a_sentence() {
        assert_eq!(refusal("linux"), None);
        for system in ["macos", "windows", "freebsd", "android", "none"] {
            let refusal = refusal(system).unwrap();
            assert!(
                refusal.contains(&format!("this build is for {system};")),
                "{refusal}"
            );
            // Cargo reads one line.
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }

    /// Elsewhere they would fail to compile before this script has run.
    #[test]
    fn crates_that_are_of_linux_are_asked_for_on_linux_alone() {
        let manifest: toml::Table = include_str!("Cargo.toml").parse().unwrap();
        for name in ["landlock", "nix", "seccompiler"] {
            assert!(manifest["dependencies"].get(name).is_none(), "{name}");
        }
    }
}
