//! The instructions that a block's precompiles would take in software. The test has a process of
//! its own, since the counting is for the whole process.

use myriad_evm::{
    host::{
        precompiles::in_software,
        sample::operations::{Operation, nothing, operations},
    },
    validate,
};

fn instructions(operation: &Operation) -> u64 {
    let input = operation.block(operation.gas_min()).unwrap().to_input().unwrap();
    let (outcome, instructions) = in_software(|| validate(&input));
    outcome.unwrap();
    instructions
}

/// Each precompile, with the least for the two calls that there are at least.
#[test]
fn what_would_be_in_software_is_counted() {
    // The hash of a block's requests is one of SHA-256.
    let any_block = instructions(&nothing());
    assert!(any_block < 20_000, "{any_block}");
    let all = operations();
    for (name, least) in [
        ("SHA-256 of 1024 bytes", 2 * 17 * 4_000),
        ("BN254 add", 2 * 150_000),
        ("BN254 mul", 2 * 4_800_000),
        ("BN254 pairing of 2", 2 * 54_000_000),
        ("point evaluation", 2 * 139_000_000),
        ("BLS12-381 G1 MSM of 16", 2 * 63_000_000),
        ("BLS12-381 G2 MSM of 16", 2 * 134_000_000),
        ("BLS12-381 pairing of 4", 2 * 105_000_000),
        ("BLS12-381 map to G2", 2 * 19_000_000),
        ("P-256 signature", 2 * 10_000_000),
    ] {
        let operation = all.iter().find(|operation| operation.name == name).unwrap();
        let counted = instructions(operation);
        assert!(counted >= least, "{name}: {counted}");
    }
    for name in ["ecrecover", "identity of 1024 bytes", "MULMOD modulo 256 bits"] {
        let operation = all.iter().find(|operation| operation.name == name).unwrap();
        assert_eq!(instructions(operation), any_block, "{name}");
    }
}
