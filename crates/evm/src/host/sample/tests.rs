//! The sample against its own parameters, and its witness against the validator.

use alloy_primitives::{B256, Bytes, U256, b256, keccak256};

use super::{
    build::Sample,
    contracts::{pool, token},
    merkle::{Touched, Trie},
    *,
};
use crate::{
    Block, BlockError, codes::unpadded, error::WitnessError, trie::TrieError, validate, validate_recording,
};

/// A sample with a state that is small enough for a test to make many of them.
fn small(txs: usize, seed: u64) -> SampleSpec {
    SampleSpec {
        txs,
        seed,
        accounts: 2_000,
        token_holders: 500,
    }
}

/// The oracle: roots by alloy-trie and execution by alloy-evm are those of our own validator, and
/// it needs each node and each code of the witness.
#[test]
fn it_validates_and_its_witness_is_what_it_takes() {
    for (txs, seed) in [(0, 0), (1, 1), (2, 2), (20, 3), (30, 4), (100, 5), (TXS_MAX, 6)] {
        let file = generate(&small(txs, seed)).unwrap();
        let (outcome, used) = validate_recording(&file.to_input().unwrap())
            .unwrap_or_else(|error| panic!("{txs} transactions, seed {seed}: {error}"));
        assert_eq!((outcome.chain_id, outcome.transactions), (CHAIN_ID, txs));
        assert!(outcome.skipped.is_empty());
        assert!(used.codes.iter().all(|used| *used));
        // Siblings of deleted leaves are unused if an insertion saves the branch from merging.
        let unused = used.state.iter().filter(|used| !**used).count();
        assert!(
            unused <= 1 + txs / 100,
            "{txs} transactions, seed {seed}: {unused} nodes unused"
        );
    }
}

#[test]
fn the_same_spec_gives_the_same_bytes() {
    let bytes = |seed| generate(&small(20, seed)).unwrap().to_gzip().unwrap();
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
}

#[test]
fn the_default_is_as_deep_as_it_says() {
    let sample = Sample::new(&SampleSpec::default(), usize::MAX).unwrap().0;
    let file = sample.file(String::new());
    let outcome = validate(&file.to_input().unwrap()).unwrap();
    // Users have proven seed 0 and can prove it again: change the sample knowingly, and this with
    // it.
    let known = b256!("604ff24c02eeba9252513447f4cd5bdc0b77674e63d7a02e882d838634aede39");
    assert_eq!(outcome.block_hash, known);
    println!(
        "{} gas; {} nodes, {} bytes; {} bytes of file",
        outcome.gas_used,
        file.witness.state.len(),
        file.witness.state_bytes(),
        file.to_gzip().unwrap().len(),
    );
    let genesis = &sample.genesis;
    let depth = |trie: &Trie, keys: [B256; 20]| {
        let proof = |key| {
            let read = [key].into();
            trie.witness(&Touched {
                read,
                ..Touched::default()
            })
            .len()
        };
        keys.map(proof).into_iter().sum::<usize>() as f64 / 20.0
    };
    let people: [_; 20] = genesis.people[..20].try_into().unwrap();
    let accounts = people.map(keccak256);
    let token = genesis.chain_state.accounts[&genesis.tokens[0]].storage_trie();
    let slots = people.map(|holder| keccak256(B256::from(token::balance(holder))));
    let (account, slot) = (depth(&sample.before, accounts), depth(&token, slots));
    println!("{account} nodes to an account, {slot} to a token's slot");
    assert!((5.5..6.5).contains(&account) && (4.5..5.5).contains(&slot));
}

/// It says so wherever one could look.
#[test]
fn it_is_synthetic() {
    let file = generate(&small(1, 0)).unwrap();
    let header = file.decode_block().unwrap().header;
    assert!(file.synthetic && file.description.unwrap().contains("made-up"));
    assert_eq!(header.extra_data, Bytes::from_static(b"synthetic"));
}

#[test]
fn some_deletion_makes_a_branch_collapse() {
    let collapses = |seed| {
        let mut sample = Sample::new(&small(40, seed), usize::MAX).unwrap().0;
        let nodes = sample.file(String::new()).witness.state.len();
        // The comparison is with the witness if nothing were deleted.
        for (address, account) in &sample.genesis.chain_state.accounts {
            let later = &mut sample.after.accounts.get_mut(address).unwrap().storage;
            for (&slot, &value) in &account.storage {
                later.entry(slot).or_insert(value);
            }
        }
        nodes - sample.file(String::new()).witness.state.len()
    };
    assert!((0..4).map(collapses).sum::<usize>() > 0);
}

#[test]
fn the_pool_keeps_its_word() {
    let Sample { genesis, after, .. } = Sample::new(&small(100, 9), usize::MAX).unwrap().0;
    let storage = |contract| &after.accounts[&contract].storage;
    let packed = storage(genesis.pool)[&pool::RESERVES];
    let reserves: [U256; 2] = genesis
        .tokens
        .map(|token| storage(token)[&token::balance(genesis.pool)]);
    let timestamp = PARENT_TIMESTAMP + SLOT_SECONDS;
    assert_eq!(packed, pool::reserves(reserves[0], reserves[1], timestamp));
    assert_ne!(reserves, genesis.reserves);
    let k = |reserves: [U256; 2]| reserves[0] * reserves[1];
    assert!(k(reserves) > k(genesis.reserves), "the fee is the pool's");
    for token in genesis.tokens {
        let before = &genesis.chain_state.accounts[&token].storage;
        assert_eq!(before[&token::SUPPLY], storage(token)[&token::SUPPLY]);
    }
}

#[test]
fn a_spec_out_of_bounds_is_refused() {
    let error = generate(&small(TXS_MAX + 1, 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the number of transactions 401 is out of bounds: 0 to 400 are possible"
    );
    let no_accounts = SampleSpec {
        accounts: 0,
        ..small(1, 0)
    };
    assert!(matches!(
        generate(&no_accounts),
        Err(SampleError::OutOfBounds { min: 1, .. })
    ));
}

/// The error of a sample after a change to its block.
fn refused(change: impl FnOnce(&mut Block)) -> BlockError {
    let mut file = generate(&small(20, 10)).unwrap();
    let mut block = file.decode_block().unwrap();
    change(&mut block);
    file.block = alloy_rlp::encode(&block).into();
    validate(&file.to_input().unwrap()).unwrap_err()
}

#[test]
fn a_changed_block_is_refused_for_what_was_changed() {
    use BlockError as E;

    let other = B256::repeat_byte(1);
    let error = refused(|block| block.header.state_root = other);
    assert!(
        matches!(error, E::StateRoot { expected, .. } if expected == other),
        "{error}"
    );
    let error = refused(|block| block.header.receipts_root = other);
    assert!(
        matches!(error, E::ReceiptsRoot { expected, .. } if expected == other),
        "{error}"
    );
    let error = refused(|block| block.header.gas_used += 1);
    assert!(matches!(error, E::GasUsed { .. }), "{error}");
    let error = refused(|block| block.header.parent_hash = other);
    assert!(matches!(error, E::ParentHash { .. }), "{error}");
    let error = refused(|block| block.header.requests_hash = Some(other));
    assert!(matches!(error, E::RequestsHash { .. }), "{error}");
    let error = refused(|block| {
        block.body.transactions.pop();
    });
    assert!(matches!(error, E::TransactionsRoot { .. }), "{error}");
    let error = refused(|block| {
        block.body.withdrawals.as_mut().unwrap().0[0].amount += 1;
    });
    assert!(matches!(error, E::WithdrawalsRoot { .. }), "{error}");
    let error = refused(|block| {
        let crate::Transaction::Eip1559(signed) = &mut block.body.transactions[3] else {
            panic!("samples have no other type");
        };
        let mut signature = *signed.signature();
        signature =
            alloy_primitives::Signature::new(signature.r() + U256::from(1), signature.s(), signature.v());
        *signed = alloy_consensus::Signed::new_unhashed(signed.tx().clone(), signature);
    });
    assert!(matches!(error, E::BadSignature { index: 3, .. }), "{error}");
}

#[test]
fn a_witness_without_one_of_its_parts_is_refused() {
    let full = generate(&small(20, 11)).unwrap().to_input().unwrap();
    for at in (0..full.state.len()).step_by(7) {
        let mut input = full.clone();
        let missing = keccak256(input.state.remove(at));
        match validate(&input) {
            Err(BlockError::Witness(WitnessError::Trie {
                error: TrieError::MissingNode { hash, .. },
                ..
            })) => {
                assert_eq!(hash, missing);
            }
            other => panic!("without node {at}: {other:?}"),
        }
    }
    for at in 0..full.codes.len() {
        let mut input = full.clone();
        let hash = keccak256(unpadded(&input.codes.remove(at)).unwrap());
        match validate(&input) {
            Err(BlockError::Witness(WitnessError::MissingCode {
                hash: named,
                account: Some(_),
            })) => assert_eq!(named, hash),
            other => panic!("without code {at}: {other:?}"),
        }
    }
}
