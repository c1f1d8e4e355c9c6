//! The blocks of each fork validate, and blocks that break its rules are refused.

use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{B256, keccak256};

use super::*;
use crate::{
    BlockError, RuleSet, Transaction,
    error::WitnessError,
    host::sample::{chain_state::Account, draft::TX_GAS},
    validate, validate_recording,
};

fn outcome(file: &BlockFile) -> Result<B256, BlockError> {
    validate(&file.to_input().unwrap()).map(|outcome| outcome.state_root)
}

/// The oracle: alloy-trie's roots and alloy-evm's execution are those of our own validator.
#[test]
fn each_forks_block_validates_and_has_what_it_says() {
    for fork in Fork::ALL {
        let file = features(fork).unwrap();
        let input = file.to_input().unwrap();
        let (_, used) = validate_recording(&input).unwrap_or_else(|error| panic!("{fork}: {error}"));
        let block = file.decode_block().unwrap();
        assert_eq!(
            input.chain.fork_at(block.header.number, block.header.timestamp),
            Ok(fork)
        );
        let types = |tx_type: u8| {
            let of_type = |tx: &&Transaction| tx.tx_type() as u8 == tx_type;
            block.body.transactions.iter().filter(of_type).count()
        };
        assert!(types(0) == 1 && types(1) == 1 && types(2) >= 4, "{fork}");
        assert_eq!(types(3), usize::from(fork >= Fork::Cancun), "{fork}");
        assert_eq!(types(4), usize::from(fork >= Fork::Prague), "{fork}");
        assert_eq!(block.body.withdrawals.is_some(), fork >= Fork::Shanghai, "{fork}");
        let no_requests = Some(EMPTY_REQUESTS_HASH);
        assert_eq!(block.header.requests_hash.is_some(), fork >= Fork::Prague);
        assert_ne!(block.header.requests_hash, no_requests, "{fork}");
        assert!(used.state.iter().filter(|used| !**used).count() <= 4, "{fork}");
    }
}

/// alloy-evm takes a queue without code for an empty one.
#[test]
fn prague_needs_the_queues_of_requests() {
    for queue in [
        WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
        CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
    ] {
        let without = |fork| {
            let mut draft = Draft::new(fork);
            draft.chain_state.accounts.remove(&queue);
            outcome(&draft.file().unwrap())
        };
        without(Fork::Cancun).unwrap();
        match without(Fork::Prague) {
            Err(BlockError::SystemCall { reason }) => {
                assert!(reason.contains(&format!("no code at {queue}")), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// revm gives more, which this contract keeps. Osaka's limit for transactions is none for system
/// calls.
#[test]
fn a_system_call_has_thirty_million_gas() {
    let left_after_gas = U256::from(30_000_000 - 2);
    let queue = WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS;
    for fork in [Fork::Prague, Fork::Osaka] {
        let draft = || {
            let mut draft = Draft::new(fork);
            let code = draft.assemble("GAS PUSH 0 SSTORE STOP").unwrap();
            let before = [(U256::ZERO, U256::from(1))];
            draft.chain_state.deploy(queue, code, before.into());
            draft
        };
        let by_alloy = outcome(&draft().file().unwrap());
        assert!(
            matches!(by_alloy, Err(BlockError::StateRoot { .. })),
            "{by_alloy:?}"
        );
        let mended = draft().sealed_on(|after| {
            let account = after.accounts.get_mut(&queue).unwrap();
            let seen = account.storage.insert(U256::ZERO, left_after_gas);
            assert!(seen > Some(left_after_gas));
        });
        outcome(&mended.unwrap()).unwrap();
    }
}

/// alloy-evm decodes the event by the rules of the ABI.
#[test]
fn deposits_have_one_layout() {
    let with = |shuffled| {
        let mut draft = Draft::new(Fork::Prague);
        let contract = draft.deploy_deposit_contract().unwrap();
        draft.call(contract, deposit_event(false), U256::ZERO, true);
        draft.call(contract, deposit_event(shuffled), U256::ZERO, true);
        outcome(&draft.file().unwrap())
    };
    with(false).unwrap();
    assert_eq!(with(true), Err(BlockError::DepositLayout { index: 1 }));
}

/// revm does not look at the storage of an address before it creates a contract there.
#[test]
fn nothing_is_created_over_storage() {
    // The creation is by a transaction: all of its gas goes, and alloy's block has less.
    let mut draft = Draft::new(Fork::Cancun);
    let init = draft.assemble("PUSH 0 PUSH 0 RETURN").unwrap();
    let address = draft.create(init);
    let mut account = Account::plain(0, U256::ZERO);
    account.storage.insert(U256::from(1), U256::from(2));
    draft.chain_state.accounts.insert(address, account);
    match outcome(&draft.file().unwrap()) {
        Err(BlockError::GasUsed { actual, .. }) => assert_eq!(actual, TX_GAS),
        other => panic!("{other:?}"),
    }
    // The creation is by CREATE2.
    let mut draft = Draft::new(Fork::Cancun);
    let factory = draft.deploy(FACTORY, U256::ZERO, &[]).unwrap();
    let init = draft.assemble("PUSH 0 PUSH 0 RETURN").unwrap();
    draft.call(factory, init.clone(), U256::ZERO, true);
    let address = factory.create2(B256::with_last_byte(7), keccak256(&init));
    let mut account = Account::plain(0, units(1));
    account.storage.insert(U256::from(1), U256::from(2));
    draft.chain_state.accounts.insert(address, account);
    assert!(matches!(
        outcome(&draft.file().unwrap()),
        Err(BlockError::GasUsed { .. })
    ));
}

/// A block without the code of a contract.
fn without_code(mut file: BlockFile, code: &[u8]) -> Result<B256, BlockError> {
    let before = file.witness.codes.len();
    file.witness.codes.retain(|other| other != code);
    assert_eq!(file.witness.codes.len() + 1, before, "the executor has read it");
    outcome(&file)
}

/// geth does not read, before Prague, the code of a callee that is called with more value than
/// there is; revm does.
#[test]
fn code_that_cannot_run_is_not_needed() {
    let missing = |outcome: Result<B256, BlockError>, expected: Address| match outcome {
        Err(BlockError::Witness(WitnessError::MissingCode { account, .. })) => {
            assert_eq!(account, Some(expected));
        }
        other => panic!("{other:?}"),
    };
    let block = |fork, also: &str| {
        let mut draft = Draft::new(fork);
        let callee = draft
            .deploy("PUSH 1 PUSH 0 SSTORE STOP", U256::ZERO, &[])
            .unwrap();
        let code = draft.assemble("PUSH 1 PUSH 0 SSTORE STOP").unwrap();
        let also = also.replace("CALLEE", &callee.to_string());
        let caller = draft
            .deploy(
                &format!("{} {also}", call_beyond_balance(callee)),
                U256::from(5),
                &[],
            )
            .unwrap();
        draft.call(caller, Bytes::new(), U256::ZERO, true);
        (without_code(draft.file().unwrap(), &code), callee)
    };
    for fork in Fork::ALL {
        let (outcome, callee) = block(fork, "");
        match fork {
            // The callee's code says whether the call is delegated.
            Fork::Prague | Fork::Osaka => missing(outcome, callee),
            _ => drop(outcome.unwrap_or_else(|error| panic!("{fork}: {error}"))),
        }
        // A contract that looks at the code afterwards needs it, and finds no empty one.
        for also in [
            "PUSH CALLEE EXTCODESIZE PUSH 7 SSTORE",
            "PUSH 32 PUSH 0 PUSH 0 PUSH CALLEE EXTCODECOPY",
            "PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH CALLEE GAS CALL",
            "PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH CALLEE GAS DELEGATECALL",
        ] {
            let (outcome, callee) = block(fork, also);
            missing(outcome, callee);
        }
    }
}

/// geth does not read the delegate's code in Prague.
#[test]
fn a_delegates_code_that_cannot_run_is_not_needed() {
    let block = |also: &str| {
        let mut draft = Draft::new(Fork::Prague);
        let delegate = draft
            .deploy("PUSH 1 PUSH 0 SSTORE STOP", U256::ZERO, &[])
            .unwrap();
        let code = draft.assemble("PUSH 1 PUSH 0 SSTORE STOP").unwrap();
        let callee = draft.rng.address();
        let delegation = [&[0xef, 0x01, 0x00], delegate.as_slice()].concat();
        draft
            .chain_state
            .deploy(callee, delegation.into(), Default::default());
        let also = also.replace("DELEGATE", &delegate.to_string());
        let caller = draft
            .deploy(
                &format!("{} {also}", call_beyond_balance(callee)),
                U256::ZERO,
                &[],
            )
            .unwrap();
        draft.call(caller, Bytes::new(), U256::ZERO, true);
        without_code(draft.file().unwrap(), &code)
    };
    block("").unwrap();
    let missing = block("PUSH DELEGATE EXTCODESIZE PUSH 7 SSTORE");
    assert!(
        matches!(
            missing,
            Err(BlockError::Witness(WitnessError::MissingCode { .. }))
        ),
        "{missing:?}"
    );
}

#[test]
fn a_gas_limit_beyond_signed_numbers_is_refused() {
    let mut input = features(Fork::Prague).unwrap().to_input().unwrap();
    let mut block = features(Fork::Prague).unwrap().decode_block().unwrap();
    block.header.gas_limit = 1 << 63;
    input.block = alloy_rlp::encode(&block).into();
    match validate(&input) {
        Err(BlockError::GasLimit { actual, max, .. }) => assert_eq!((actual, max), (1 << 63, (1 << 63) - 1)),
        other => panic!("{other:?}"),
    }
}

/// Linea has nothing at the addresses of the queues, and no blobs.
#[test]
fn linea_has_no_queues_and_no_blobs() {
    let by = |draft: Draft, rules| {
        let mut input = draft.file().unwrap().to_input().unwrap();
        input.chain.rules = rules;
        validate(&input).map(drop)
    };
    for fork in [Fork::Prague, Fork::Osaka] {
        let without_queues = || {
            let mut draft = Draft::new(fork);
            for queue in [
                WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
                CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
            ] {
                draft.chain_state.accounts.remove(&queue);
            }
            draft
        };
        by(without_queues(), RuleSet::LINEA).unwrap();
        let ethereum = by(without_queues(), RuleSet::ETHEREUM);
        assert!(
            matches!(ethereum, Err(BlockError::SystemCall { .. })),
            "{ethereum:?}"
        );

        let with_blobs = || {
            let mut draft = without_queues();
            let modern = draft.deploy(MODERN, U256::ZERO, &[]).unwrap();
            draft.call(modern, Bytes::new(), U256::ZERO, true);
            draft.with_blobs(modern, 1);
            draft
        };
        let family = "Linea";
        let expected = BlockError::BlobTransaction { index: 1, family };
        assert_eq!(by(with_blobs(), RuleSet::LINEA), Err(expected));
    }
}
