//! Blocks of each fork validate, and nothing less than their witness does: made-up ones always,
//! real ones of mainnet where `MYRIAD_REAL_BLOCKS` names a folder with them.

mod common;

use alloy_primitives::{B256, b256, keccak256};
use common::{Of, block, real_blocks};
use myriad_evm::{
    BlockError, Fork, StatelessInput, codes::unpadded, error::WitnessError, trie::TrieError, validate,
    validate_recording,
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

fn made_up() -> Vec<(String, StatelessInput)> {
    let forks = Fork::ALL.map(|fork| (fork.to_string(), block(Of::Fork(fork))));
    let mut blocks = Vec::from(forks);
    blocks.push(("after BPO".to_owned(), block(Of::Bpo)));
    blocks.push(("the sample".to_owned(), block(Of::Sample)));
    blocks
}

#[test]
fn made_up_blocks_hold_and_nothing_less_does() {
    for (name, input) in made_up() {
        validate(&input).unwrap_or_else(|error| panic!("{name}: {error}"));
        survives_the_encoding(&name, &input);
        needs_each_node(&name, &input);
        needs_each_code(&name, &input);
    }
}

#[test]
#[ignore = "needs block files of mainnet in the folder that MYRIAD_REAL_BLOCKS names"]
fn real_blocks_hold_and_nothing_less_does() {
    for (name, input) in real_blocks() {
        let outcome = validate(&input).unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some((_, hash, gas_used, transactions)) = KNOWN.iter().find(|known| known.0 == outcome.number)
        {
            assert_eq!(
                (&outcome.block_hash, &outcome.gas_used, &outcome.transactions),
                (hash, gas_used, transactions)
            );
        }
        survives_the_encoding(&name, &input);
        needs_each_node(&name, &input);
        needs_each_code(&name, &input);
    }
}

fn survives_the_encoding(name: &str, input: &StatelessInput) {
    let decoded = StatelessInput::decode(input.encode().into());
    assert_eq!(decoded.as_ref(), Ok(input), "{name}");
}

/// Each node that was read is needed; each that was not can be left out.
fn needs_each_node(name: &str, input: &StatelessInput) {
    let (_, used) = validate_recording(input).unwrap();
    let mut input = input.clone();
    let mut keep = used.state.iter();
    input.state.retain(|_| *keep.next().unwrap());
    validate(&input).unwrap_or_else(|error| panic!("{name}: {error}"));
    for at in (0..input.state.len()).step_by(input.state.len() / 16) {
        let mut input = input.clone();
        let missing = keccak256(input.state.remove(at));
        match validate(&input) {
            Err(BlockError::Witness(WitnessError::Trie {
                error: TrieError::MissingNode { hash, .. },
                ..
            })) => assert_eq!(hash, missing, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn needs_each_code(name: &str, input: &StatelessInput) {
    let (_, used) = validate_recording(input).unwrap();
    let mut spare = 0;
    for at in (0..input.codes.len()).filter(|&at| used.codes[at]) {
        let mut input = input.clone();
        let missing = keccak256(unpadded(&input.codes.remove(at)).unwrap());
        match validate(&input) {
            Err(BlockError::Witness(WitnessError::MissingCode {
                hash,
                account: Some(_),
            })) => assert_eq!(hash, missing, "{name}"),
            Ok(_) => spare += 1,
            other => panic!("{name}: {other:?}"),
        }
    }
    // Before Prague, that of the contract which is only called with more than the caller's balance.
    let before_prague = Fork::ALL
        .iter()
        .any(|fork| *fork < Fork::Prague && name == fork.to_string());
    assert_eq!(spare, usize::from(before_prague), "{name}");
}
