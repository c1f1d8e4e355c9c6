//! Each kind of tampering is refused, and named for what it is.

mod common;

use alloy_consensus::{Signed, TxEip1559};
use alloy_primitives::{B64, B256, Bytes, Signature, U256, keccak256};
use alloy_rlp::Decodable;
use common::{Of, block};
use myriad_evm::{
    Block, BlockError, ChainConfig, Fork, Parent, StatelessInput, Transaction,
    error::{SignatureFault, WitnessError},
    trie::TrieError,
    validate,
};

/// Is of Prague, has a parent header, and no blobs.
const SAMPLE: Of = Of::Sample;
/// Has blobs.
const CANCUN: Of = Of::Fork(Fork::Cancun);
/// Has requests.
const PRAGUE: Of = Of::Fork(Fork::Prague);
/// Has blob parameters that are younger than the fork.
const OSAKA: Of = Of::Bpo;

/// The block after a change.
fn tampered(of: Of, change: impl FnOnce(&mut Block)) -> StatelessInput {
    let mut input = block(of);
    let mut block = Block::decode(&mut input.block.as_ref()).unwrap();
    change(&mut block);
    input.block = alloy_rlp::encode(&block).into();
    input
}

macro_rules! assert_refused {
    ([$($of:expr),+], $change:expr, $error:pat) => {
        for of in [$($of),+] {
            let error = validate(&tampered(of, $change)).expect_err("it is tampered with");
            assert!(matches!(error, $error), "{of:?}: {error}");
        }
    };
}

#[test]
fn header_by_itself() {
    use BlockError::*;
    assert_refused!(
        [SAMPLE, CANCUN, OSAKA],
        |b| b.header.extra_data = Bytes::from([0; 33]),
        ExtraData { actual: 33, max: 32 }
    );
    assert_refused!(
        [SAMPLE, CANCUN, OSAKA],
        |b| b.header.gas_used = u64::MAX,
        GasUsedOverLimit { .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.header.difficulty = U256::ONE,
        ProofOfWorkField { .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.header.nonce = B64::repeat_byte(1),
        ProofOfWorkField { .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.header.ommers_hash = B256::ZERO,
        ProofOfWorkField { .. }
    );
}

#[test]
fn fields_of_another_fork() {
    use BlockError::*;
    assert_refused!(
        [CANCUN],
        |b| b.header.requests_hash = Some(B256::ZERO),
        UnexpectedField {
            field: "requests hash",
            ..
        }
    );
    assert_refused!(
        [SAMPLE, PRAGUE, OSAKA],
        |b| b.header.block_access_list_hash = Some(B256::ZERO),
        UnexpectedField {
            field: "block access list hash",
            ..
        }
    );
    assert_refused!(
        [SAMPLE, PRAGUE],
        |b| b.header.requests_hash = None,
        MissingField {
            field: "requests hash",
            ..
        }
    );
    assert_refused!(
        [CANCUN],
        |b| b.header.parent_beacon_block_root = None,
        MissingField {
            field: "parent beacon block root",
            ..
        }
    );
    assert_refused!(
        [CANCUN],
        |b| b.header.requests_hash = Some(B256::ZERO),
        UnexpectedField { .. }
    );
}

/// The header of the sample, by the rules of other forks.
#[test]
fn rules_of_another_fork() {
    use BlockError::*;
    let by = |change: fn(&mut ChainConfig)| {
        let mut input = block(SAMPLE);
        change(&mut input.chain);
        validate(&input).expect_err("the block is of Prague")
    };
    let unexpected = |error: &BlockError, expected: &str| matches!(error, UnexpectedField { field, .. } if *field == expected);
    let error = by(|chain| chain.prague_time = None);
    assert!(unexpected(&error, "requests hash"), "{error}");
    let error = by(|chain| (chain.prague_time, chain.cancun_time) = (None, None));
    assert!(unexpected(&error, "blob gas used"), "{error}");
    let error = by(|chain| {
        (chain.prague_time, chain.cancun_time, chain.shanghai_time) = (None, None, None);
    });
    assert!(unexpected(&error, "withdrawals root"), "{error}");
    let error = by(|chain| chain.amsterdam_time = Some(0));
    assert!(matches!(error, UnsupportedFork { .. }), "{error}");
    let error = by(|chain| chain.paris_block = u64::MAX);
    assert!(matches!(error, UnsupportedFork { .. }), "{error}");
}

#[test]
fn header_after_its_parent() {
    use BlockError::*;
    assert_refused!(
        [SAMPLE, CANCUN, OSAKA],
        |b| b.header.parent_hash = B256::ZERO,
        ParentHash { .. }
    );
    assert_refused!([SAMPLE, CANCUN], |b| b.header.number += 1, Number { .. });
    assert_refused!([SAMPLE, CANCUN], |b| b.header.timestamp -= 12, Timestamp { .. });
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.header.gas_limit += b.header.gas_limit / 1024,
        GasLimit { .. }
    );
    assert_refused!(
        [SAMPLE],
        |b| b.header.gas_limit -= b.header.gas_limit / 1024,
        GasLimit { .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.header.base_fee_per_gas = Some(7),
        BaseFee { actual: 7, .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN, OSAKA],
        |b| b.header.excess_blob_gas = Some(1),
        ExcessBlobGas { actual: 1, .. }
    );
    for of in [SAMPLE, CANCUN] {
        let mut input = block(of);
        let Parent::Header(parent) = &input.parent else {
            panic!("{of:?} has a parent header")
        };
        let mut parent = alloy_consensus::Header::decode(&mut parent.as_ref()).unwrap();
        parent.gas_used += 1;
        input.parent = Parent::Header(alloy_rlp::encode(parent).into());
        assert!(matches!(validate(&input), Err(ParentHash { .. })), "{of:?}");
    }
}

/// The largest steps that the rules allow make another block, which is as good.
#[test]
fn the_gas_limit_may_take_a_step() {
    for step in [1, -1] {
        let input = tampered(SAMPLE, |b| {
            let largest = (b.header.gas_limit / 1024 - 1) as i64;
            b.header.gas_limit = b.header.gas_limit.saturating_add_signed(step * largest);
        });
        let outcome = validate(&input);
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}

#[test]
fn body() {
    use BlockError::*;
    let drop_last = |b: &mut Block| drop(b.body.transactions.pop());
    assert_refused!([SAMPLE, CANCUN, OSAKA], drop_last, TransactionsRoot { .. });
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.body.transactions.swap(0, 1),
        TransactionsRoot { .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.header.transactions_root = B256::ZERO,
        TransactionsRoot { .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.body.withdrawals = None,
        WithdrawalsPresence { .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.body.withdrawals.as_mut().unwrap()[0].amount += 1,
        WithdrawalsRoot { .. }
    );
    assert_refused!(
        [CANCUN, OSAKA],
        |b| b.header.blob_gas_used = Some(0),
        BlobGasUsed { actual: 0, .. }
    );
    assert_refused!(
        [SAMPLE],
        |b| b.header.blob_gas_used = Some(1 << 17),
        BlobGasUsed { expected: 0, .. }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.body.ommers.push(b.header.clone()),
        ProofOfWorkField { .. }
    );
}

#[test]
fn results() {
    use BlockError::*;
    assert_refused!([SAMPLE, CANCUN], |b| b.header.gas_used -= 1, GasUsed { .. });
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| b.header.receipts_root = B256::ZERO,
        ReceiptsRoot { .. }
    );
    assert_refused!([SAMPLE, CANCUN], |b| b.header.logs_bloom.0[0] ^= 1, LogsBloom);
    assert_refused!(
        [SAMPLE, CANCUN, OSAKA],
        |b| b.header.state_root = B256::ZERO,
        StateRoot { .. }
    );
    assert_refused!(
        [SAMPLE, PRAGUE],
        |b| b.header.requests_hash = Some(B256::ZERO),
        RequestsHash { .. }
    );
}

/// Changes the first transaction of the type that most are of.
fn change_transaction(b: &mut Block, change: impl Fn(TxEip1559, Signature) -> (TxEip1559, Signature)) {
    let tx = b.body.transactions.iter_mut().find_map(|tx| match tx {
        Transaction::Eip1559(tx) => Some(tx),
        _ => None,
    });
    let tx = tx.unwrap();
    let (content, signature) = change(tx.tx().clone(), *tx.signature());
    *tx = Signed::new_unhashed(content, signature);
}

#[test]
fn signatures() {
    use BlockError::BadSignature;
    use SignatureFault::*;
    let order = U256::from_str_radix(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141",
        16,
    );
    let order = order.unwrap();
    // The other signature of the same key.
    let malleate = |s: Signature| Signature::new(s.r(), order - s.s(), !s.v());
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| change_transaction(b, |tx, s| (tx, malleate(s))),
        BadSignature { reason: HighS, .. }
    );
    for r in [U256::ZERO, order, U256::MAX] {
        assert_refused!(
            [SAMPLE, CANCUN],
            |b| change_transaction(b, |tx, s| (tx, Signature::new(r, s.s(), s.v()))),
            BadSignature {
                reason: NotRecoverable,
                ..
            }
        );
    }
    // These recover, to an account that does not exist.
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| change_transaction(b, |tx, s| (tx, Signature::new(s.r(), s.s(), !s.v()))),
        BadSignature {
            reason: UnknownSender { .. },
            ..
        }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| change_transaction(b, |tx, s| (tx, Signature::new(s.r(), s.s() - U256::ONE, s.v()))),
        BadSignature {
            reason: UnknownSender { .. },
            ..
        }
    );
    assert_refused!(
        [SAMPLE, CANCUN],
        |b| change_transaction(b, |tx, s| {
            (
                TxEip1559 {
                    value: tx.value + U256::ONE,
                    ..tx
                },
                s,
            )
        }),
        BadSignature {
            reason: UnknownSender { .. },
            ..
        }
    );
}

#[test]
fn witness() {
    for of in [SAMPLE, CANCUN] {
        let mut input = block(of);
        let at = input.state.len() / 2;
        let expected = keccak256(&input.state[at]);
        let mut node = input.state[at].to_vec();
        *node.last_mut().unwrap() ^= 1;
        input.state[at] = node.into();
        match validate(&input) {
            Err(BlockError::Witness(WitnessError::Trie {
                error: TrieError::MissingNode { hash, .. },
                ..
            })) => {
                assert_eq!(hash, expected, "{of:?}");
            }
            other => panic!("{of:?}: {other:?}"),
        }
    }
}

#[test]
fn encoding() {
    let input = block(SAMPLE);
    for cut in [0, 1, 100, input.block.len() - 1] {
        let mut input = input.clone();
        input.block.truncate(cut);
        let refused = validate(&input);
        assert!(matches!(
            refused,
            Err(BlockError::MalformedRlp { what: "block", .. })
        ));
    }
    let mut longer = input.clone();
    longer.block = [input.block.as_ref(), &[0]].concat().into();
    assert!(matches!(validate(&longer), Err(BlockError::MalformedRlp { .. })));
}

/// The public values of a block with fewer checks, or by other rules, are others.
#[test]
fn public_values_say_what_was_checked() {
    for of in [SAMPLE, CANCUN] {
        let input = block(of);
        let full = validate(&input).unwrap();
        assert!(full.skipped.is_empty());

        let mut unchecked = input.clone();
        unchecked.parent = Parent::StateRoot(full.parent_state_root);
        let unchecked = validate(&unchecked).unwrap();
        assert_eq!(unchecked.state_root, full.state_root);
        assert_eq!(unchecked.skipped.len(), 7);
        assert_ne!(unchecked.public_values, full.public_values);

        let mut other_rules = input;
        other_rules.chain.osaka_time = Some(u64::MAX);
        let other_rules = validate(&other_rules).unwrap();
        assert_eq!(other_rules.state_root, full.state_root);
        assert_ne!(other_rules.public_values, full.public_values);
    }
}
