//! Real blocks of mainnet validate, and nothing else does.

mod common;

use alloy_primitives::{B256, b256, keccak256};
use common::{Of, block};
use myriad_evm::{
    BlockError, StatelessInput, error::WitnessError, trie::TrieError, validate, validate_recording,
};

const KNOWN: [(u64, B256, u64, usize); 3] = [
    (
        23_587_691,
        b256!("9947c2115bd723806b7e9ebe5d1787696b7e87f00de6528e30f9314ea4382182"),
        1_429_580,
        40,
    ),
    (
        20_612_842,
        b256!("b310ae11ae047a0e5e6c72c6a8646bb27d2b08c2caaf4486f77265263da81656"),
        1_318_761,
        32,
    ),
    (
        18_884_864,
        b256!("856a86b8144c68fe2888298ceec7c156a338aac13d92d5e3c2460ca49793ed69"),
        4_266_500,
        30,
    ),
];

#[test]
fn they_validate() {
    for (number, hash, gas_used, transactions) in KNOWN {
        let Some(input) = block(Of::Mainnet(number)) else {
            continue;
        };
        let outcome = validate(&input).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(outcome.number, number);
        assert_eq!(outcome.block_hash, hash);
        assert_eq!(outcome.gas_used, gas_used);
        assert_eq!(outcome.transactions, transactions);
    }
}

#[test]
fn they_survive_the_encoding() {
    for (number, ..) in KNOWN {
        let Some(input) = block(Of::Mainnet(number)) else {
            continue;
        };
        assert_eq!(StatelessInput::decode(input.encode().into()), Ok(input));
    }
}

/// Each node that was read is needed; each that was not can be left out.
#[test]
fn a_missing_node_is_named() {
    for (number, ..) in KNOWN {
        let Some(mut input) = block(Of::Mainnet(number)) else {
            continue;
        };
        let (_, used) = validate_recording(&input).unwrap();
        let mut keep = used.state.iter();
        input.state.retain(|_| *keep.next().unwrap());
        validate(&input).unwrap_or_else(|error| panic!("{number}: {error}"));
        for at in (0..input.state.len()).step_by(input.state.len() / 16) {
            let mut input = input.clone();
            let missing = keccak256(input.state.remove(at));
            match validate(&input) {
                Err(BlockError::Witness(WitnessError::Trie(TrieError::MissingNode { hash, .. }))) => {
                    assert_eq!(hash, missing)
                }
                other => panic!("{number}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_missing_code_is_named() {
    for (number, ..) in KNOWN {
        let Some(input) = block(Of::Mainnet(number)) else {
            continue;
        };
        let (_, used) = validate_recording(&input).unwrap();
        for at in (0..input.codes.len()).filter(|&at| used.codes[at]) {
            let mut input = input.clone();
            let hash = keccak256(input.codes.remove(at));
            let expected = BlockError::Witness(WitnessError::MissingCode { hash });
            assert_eq!(validate(&input), Err(expected));
        }
    }
}
