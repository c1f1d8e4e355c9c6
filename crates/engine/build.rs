//! Says at once where Myriad does not run, and not after all its dependencies were compiled.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system != "linux" {
        println!(
            "cargo::error=Myriad runs on Linux alone, whose kernel confines and measures what runs strangers' programs, \
             and this build is for {system}; build and run it on Linux, or in a Linux container or virtual machine"
        );
    }
}
