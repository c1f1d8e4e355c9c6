//! A test for each rule of Osaka: the most that it allows is accepted, and one more is refused by
//! its name.

use std::collections::BTreeMap;

use alloy_consensus::Signed;
use alloy_primitives::Signature;

use super::*;
use crate::{
    BlobParams, BlobSchedule, Block, BlockError, Fork, InputError, StatelessInput, Transaction,
    host::{
        BlockFile,
        sample::{
            draft::Draft,
            features::{MODERN, features, features_after_bpo},
        },
    },
    validate,
};

const GAS_PER_BLOB: u64 = 1 << 17;
/// Gas of a call beside the callee's: the six arguments, a warm account, and the look at the gas
/// that is left.
const CALL_OVERHEAD: u64 = 6 * 3 + 100 + 2;

fn input_of(draft: Draft) -> StatelessInput {
    draft.file().unwrap().to_input().unwrap()
}

/// A block of Prague, by Prague's rules and by Osaka's, which ask for no other fields of the
/// header.
fn by_both(draft: Draft) -> [Result<(), BlockError>; 2] {
    let prague = input_of(draft);
    let mut osaka = prague.clone();
    osaka.chain.osaka_time = Some(0);
    [prague, osaka].map(|input| validate(&input).map(drop))
}

/// A draft whose blobs cost enough for both forks to have the same excess (EIP-7918).
fn with_costly_blobs() -> Draft {
    let mut draft = Draft::new(Fork::Prague);
    draft.base_fee = 7;
    draft
}

fn changed(file: BlockFile, change: impl FnOnce(&mut Block)) -> Result<(), BlockError> {
    let mut input = file.to_input().unwrap();
    let mut block = file.decode_block().unwrap();
    change(&mut block);
    input.block = alloy_rlp::encode(&block).into();
    validate(&input).map(drop)
}

/// EIP-7939, 7951, 7823 and 7883: revm's, by the numbers of the EIPs.
#[test]
fn instructions_and_precompiles_have_their_results_and_prices() {
    let mut draft = Draft::new(Fork::Osaka);
    let address = draft.deploy(&contract(), U256::ZERO, &[]).unwrap();
    draft.call(address, input(), U256::ZERO, true);
    // EIP-7883: 2 * 8^2 for 64 bytes, as often as 16 * (64 - 32) + 255.
    let modexp = 128 * 767;
    let expected = [
        (1, 255),
        (2, 256),
        (3, 3),
        (4, 6_900 + CALL_OVERHEAD),
        (5, 1),
        (6, 6_900 + CALL_OVERHEAD),
        (7, 1),
        (8, modexp + CALL_OVERHEAD),
        // EIP-7823: it fails, and takes all gas.
        (10, CALL_GAS + CALL_OVERHEAD),
    ];
    let expected: BTreeMap<_, _> = expected
        .map(|(slot, value)| (U256::from(slot), U256::from(value)))
        .into();
    let file = draft.sealed_on(|after| assert_eq!(after.accounts[&address].storage, expected));
    validate(&file.unwrap().to_input().unwrap()).unwrap();
}

/// The contract's CLZ is no instruction before Osaka.
#[test]
fn clz_is_of_osaka() {
    let mut draft = Draft::new(Fork::Prague);
    let address = draft.deploy(&contract(), U256::ZERO, &[]).unwrap();
    draft.call(address, input(), U256::ZERO, false);
    validate(&input_of(draft)).unwrap();
}

/// EIP-7594.
#[test]
fn a_transaction_has_at_most_six_blobs() {
    let with = |blobs| {
        let mut draft = with_costly_blobs();
        let modern = draft.deploy(MODERN, U256::ZERO, &[]).unwrap();
        draft.with_blobs(modern, blobs);
        by_both(draft)
    };
    assert_eq!(with(6), [Ok(()), Ok(())]);
    let [prague, osaka] = with(7);
    prague.unwrap();
    match osaka {
        Err(BlockError::InvalidTransaction { index: 0, reason }) => {
            assert!(reason.contains("blob") && reason.contains('6'), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

/// EIP-7825.
#[test]
fn a_transaction_has_at_most_two_to_the_24_gas() {
    let with = |gas| {
        let mut draft = with_costly_blobs();
        let contract = draft.deploy("STOP", U256::ZERO, &[]).unwrap();
        draft.with_gas(contract, Bytes::new(), gas);
        by_both(draft)
    };
    assert_eq!(with(TX_GAS_MAX), [Ok(()), Ok(())]);
    let [prague, osaka] = with(TX_GAS_MAX + 1);
    prague.unwrap();
    match osaka {
        Err(BlockError::InvalidTransaction { index: 0, reason }) => {
            assert!(
                reason.contains("16777217") && reason.contains("16777216"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// EIP-7934. The block's size is looked at before anything that is in it.
#[test]
fn a_block_has_at_most_eight_mebibytes() {
    const BYTES_MAX: usize = 8_388_608;
    let with = |fork, bytes: usize| {
        let file = features(fork).unwrap();
        changed(file, |block| {
            let mut lengthen = |input: usize| {
                let mut transactions = block.body.transactions.iter_mut();
                let Some(Transaction::Eip1559(tx)) = transactions.find(|tx| tx.tx_type() as u8 == 2) else {
                    panic!("there is one")
                };
                let mut content = tx.tx().clone();
                content.input = vec![0; input].into();
                *tx = Signed::new_unhashed(content, Signature::test_signature());
                alloy_rlp::encode(&*block).len()
            };
            let about = bytes - 100_000;
            let rest = bytes - lengthen(about);
            assert_eq!(lengthen(about + rest), bytes);
        })
    };
    let is_let_through =
        |outcome: &Result<(), BlockError>| matches!(outcome, Err(BlockError::BadSignature { .. }));
    let largest = with(Fork::Osaka, BYTES_MAX);
    assert!(is_let_through(&largest), "{largest:?}");
    let one_more = BlockError::BlockSize {
        actual: BYTES_MAX + 1,
        max: BYTES_MAX,
    };
    assert_eq!(with(Fork::Osaka, BYTES_MAX + 1), Err(one_more));
    let before = with(Fork::Prague, BYTES_MAX + 1);
    assert!(is_let_through(&before), "{before:?}");
}

/// EIP-7918.
#[test]
fn cheap_blobs_leave_more_excess() {
    let file = features(Fork::Osaka).unwrap();
    let parent = file.decode_parent().unwrap().unwrap();
    let sum = parent.excess_blob_gas.unwrap() + parent.blob_gas_used.unwrap();
    let before_osaka = sum - BlobParams::PRAGUE.target * GAS_PER_BLOB;
    let excess = file.decode_block().unwrap().header.excess_blob_gas.unwrap();
    assert!(before_osaka < excess && excess < sum);
    let refused = changed(file, |block| block.header.excess_blob_gas = Some(before_osaka));
    let expected = BlockError::ExcessBlobGas {
        actual: before_osaka,
        expected: excess,
    };
    assert_eq!(refused, Err(expected));
}

/// EIP-7892. The block of the sample is the first one with the new parameters.
#[test]
fn blob_parameters_change_without_a_fork() {
    let file = features_after_bpo().unwrap();
    let header = file.decode_block().unwrap().header;
    let most = |blobs: BlobParams| blobs.max * GAS_PER_BLOB;
    assert!(header.blob_gas_used > Some(most(BlobParams::PRAGUE)));
    let by = |since| {
        let mut input = file.to_input().unwrap();
        input.chain.blobs = BlobSchedule::default();
        input.chain.blobs.push(0, BlobParams::PRAGUE);
        input.chain.blobs.push(since, BlobParams::BPO1);
        validate(&input).map(drop)
    };
    by(header.timestamp).unwrap();
    let too_early = by(header.timestamp + 1);
    let expected = BlockError::BlobGasOverLimit {
        actual: 12 * GAS_PER_BLOB,
        max: most(BlobParams::PRAGUE),
    };
    assert_eq!(too_early, Err(expected));

    let with = |transactions| {
        let mut draft = Draft::new(Fork::Osaka);
        draft.rules.has_bpo = true;
        let modern = draft.deploy(MODERN, U256::ZERO, &[]).unwrap();
        for blobs in transactions {
            draft.with_blobs(modern, blobs);
        }
        validate(&input_of(draft)).map(drop)
    };
    with([6, 6, 3]).unwrap();
    let one_more = BlockError::BlobGasOverLimit {
        actual: 16 * GAS_PER_BLOB,
        max: most(BlobParams::BPO1),
    };
    assert_eq!(with([6, 6, 4]), Err(one_more));
}

#[test]
fn blob_parameters_that_cannot_be_computed_with_are_refused() {
    let file = features(Fork::Osaka).unwrap();
    let by = |params: Option<BlobParams>| {
        let mut input = file.to_input().unwrap();
        input.chain.blobs = BlobSchedule::default();
        if let Some(params) = params {
            input.chain.blobs.push(0, params);
        }
        match validate(&input) {
            Err(BlockError::Input(InputError::ChainConfig { reason })) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert!(by(None).contains("no blob parameters"));
    let params = BlobParams::PRAGUE;
    assert!(
        by(Some(BlobParams {
            update_fraction: 0,
            ..params
        }))
        .contains("update fraction")
    );
    assert!(
        by(Some(BlobParams {
            max: 0,
            target: 0,
            ..params
        }))
        .contains("most blobs")
    );
    assert!(by(Some(BlobParams { max: 5, ..params })).contains("less than the target"));
}
