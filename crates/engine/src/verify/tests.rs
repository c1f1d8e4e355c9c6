//! The commitment to a program against OpenVM's own. A prover that was changed is in `tests/same_proofs.rs`, which has the
//! provers anyway: here, they would be compiled a second time.

use std::{fs, path::PathBuf};

use openvm_sdk::{DefaultStarkEngine, prover::vm::new_local_prover};
use openvm_sdk_config::SdkVmCpuBuilder;

use super::*;

/// The keys, which are the same for all tests of the workspace and from one run to the next.
fn keys() -> KeyCache {
    let binary = std::env::current_exe().unwrap();
    // target/release/deps/myriad_engine-…
    let target: PathBuf = binary.ancestors().nth(3).unwrap().into();
    KeyCache::new(target.join("tmp/data/keys"))
}

#[test]
fn the_commitment_to_a_program_is_that_of_openvm() {
    let elf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/elf/fibonacci.elf");
    let program = Program::load(&fs::read(elf).unwrap(), None).unwrap();
    keys().ensure(program.config()).unwrap();
    let verifier = Verifier::new(&program, &keys()).unwrap();
    let key = keys().get(program.config()).unwrap().app.app_vm_pk;
    let stock =
        new_local_prover::<DefaultStarkEngine, _>(SdkVmCpuBuilder, &key, program.exe().clone()).unwrap();
    assert_eq!(verifier.program_commit, *stock.program_commitment());
}
