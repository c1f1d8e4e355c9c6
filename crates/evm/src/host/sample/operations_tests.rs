//! Tests of blocks that are full of one operation.

use super::*;
use crate::{BlockError, error::WitnessError, validate, validate_recording};

/// Natively; the benchmark executes them in the VM.
#[test]
fn each_block_is_valid_and_uses_its_gas() {
    let all = operations();
    assert!(all.len() > 70);
    for operation in all {
        let gas = operation.gas_min().max(1_500_000);
        let file = operation
            .block(gas)
            .unwrap_or_else(|e| panic!("{}: {e}", operation.name));
        let outcome = validate(&file.to_input().unwrap());
        outcome.unwrap_or_else(|e| panic!("{}: {e}", operation.name));
        let used = file.decode_block().unwrap().header.gas_used;
        let least = gas - operation.round_gas - END_GAS;
        let is_cold = operation.contracts.is_some();
        assert!(used >= least || is_cold, "{}: {used} of {gas}", operation.name);
    }
}

/// A transaction finds nothing done by the one before.
#[test]
fn each_transaction_of_a_large_block_uses_its_gas() {
    for name in [
        "SSTORE of new slots",
        "SLOAD of absent slots",
        "CREATE of an empty code",
        "transfers",
    ] {
        let mut all = operations().into_iter();
        let operation = all.find(|operation| operation.name.starts_with(name)).unwrap();
        let gas = 35_000_000;
        let file = operation.block(gas).unwrap();
        validate(&file.to_input().unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let block = file.decode_block().unwrap();
        let count = block.body.transactions.len() as u64;
        assert!(count >= 3, "{name}: {count} transactions");
        // A transfer uses all of its gas, and the block has no room for one more.
        let left_max = if operation.is_transfer {
            BASE_GAS
        } else {
            count * (operation.round_gas + END_GAS)
        };
        let used = block.header.gas_used;
        assert!(gas - used <= left_max, "{name}: {used} of {gas}");
    }
}

/// revm would look through it for jump destinations as well, which is no use there.
#[test]
fn a_code_that_is_only_looked_at_has_to_be_there() {
    for name in ["EXTCODESIZE of contracts", "EXTCODECOPY of 1 byte"] {
        let mut all = state().into_iter();
        let operation = all.find(|operation| operation.name.starts_with(name)).unwrap();
        let file = operation.block(operation.gas_min()).unwrap();
        let input = file.to_input().unwrap();
        let (_, used) = validate_recording(&input).unwrap();
        assert!(used.codes.iter().filter(|used| **used).count() > 10, "{name}");
        for (place, is_used) in used.codes.into_iter().enumerate().take(12) {
            let mut without = input.clone();
            without.codes.remove(place);
            match validate(&without) {
                Ok(_) => assert!(!is_used, "{name} {place}"),
                Err(BlockError::Witness(WitnessError::MissingCode { account, .. })) => {
                    assert!(is_used && account.is_some(), "{name} {place}");
                }
                Err(other) => panic!("{name} {place}: {other}"),
            }
        }
    }
}

/// Two hundred thousand gas are those of the calls, so that all of them are made.
#[test]
fn precompiles_together_do_what_they_say() {
    let operation = together();
    let file = operation.block(operation.gas_min()).unwrap();
    validate(&file.to_input().unwrap()).unwrap();
    let used = file.decode_block().unwrap().header.gas_used;
    assert!((200_000..300_000).contains(&used), "{used}");
}

#[test]
fn too_little_gas_is_named() {
    let error = precompiles()[0].block(1_000).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the gas of the block 1000 is out of bounds"),
        "{error}"
    );
}
