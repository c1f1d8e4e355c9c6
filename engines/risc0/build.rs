//! Lets tests that prove nothing be linked without RISC Zero's C++ kernels, which take long to
//! compile: where `RISC0_SKIP_BUILD_KERNELS` is set, RISC Zero's crates leave them out.

use std::env;

/// The variable of `risc0-build-kernel`.
const SKIP: &str = "RISC0_SKIP_BUILD_KERNELS";

/// The functions of the kernels. Without them, a call of one ends the process: it is at address 0.
const KERNELS: [&str; 6] = [
    "risc0_circuit_recursion_cpu_accum",
    "risc0_circuit_recursion_cpu_eval_check",
    "risc0_circuit_recursion_cpu_witgen",
    "risc0_circuit_rv32im_cpu_accum",
    "risc0_circuit_rv32im_cpu_poly_fp",
    "risc0_circuit_rv32im_cpu_witgen",
];

fn main() {
    println!("cargo::rerun-if-env-changed={SKIP}");
    if env::var_os(SKIP).is_some() {
        for kernel in KERNELS {
            println!("cargo::rustc-link-arg=-Wl,--defsym={kernel}=0");
        }
        println!("cargo::warning=without RISC Zero's kernels: nothing that is built now can prove");
    }
}
