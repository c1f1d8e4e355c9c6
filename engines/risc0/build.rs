//! Lets tests that prove nothing be linked without RISC Zero's C++ kernels, which take long to
//! compile: where `RISC0_SKIP_BUILD_KERNELS` is set, RISC Zero's crates leave them out.

use std::env;

/// The variable of `risc0-build-kernel`.
const SKIP: &str = "RISC0_SKIP_BUILD_KERNELS";

fn main() {
    println!("cargo::rerun-if-env-changed={SKIP}");
    if env::var_os(SKIP).is_some() {
        println!("cargo::rustc-link-arg=-Wl,--unresolved-symbols=ignore-all");
        println!("cargo::warning=without RISC Zero's kernels: nothing that is built now can prove");
    }
}
