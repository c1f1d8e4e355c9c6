//! Blocks with one instance of each feature of a fork, for tests: [`features`].

use alloy_eips::{
    eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
};
use alloy_primitives::{Address, Bytes, U256};

use super::{
    SampleError,
    chain_state::ChainState,
    contracts::deposit_event,
    draft::{ANCESTORS, Draft},
    genesis::units,
    osaka,
};
use crate::{Fork, host::BlockFile};

/// Makes a block of a fork of the sample chain. It has all types of transactions, creations by a
/// transaction and by CREATE2, self-destructs of an old and of a new contract, BLOCKHASH, cleared
/// slots, precompiles, a call beyond the caller's balance, and failures. Shanghai adds withdrawals;
/// Cancun adds blobs and transient storage; Prague adds delegations and requests of all three
/// kinds. Osaka adds CLZ, its precompiles, and as many blobs and as much gas in a transaction as it
/// allows.
///
/// # Errors
/// None but for mistakes in this crate.
pub fn features(fork: Fork) -> Result<BlockFile, SampleError> {
    with_features(Draft::new(fork), ANCESTORS - 1)?.file()
}

/// [`features`] where BLOCKHASH only knows the parent's hash. Also returns the whole state before
/// the block.
///
/// # Errors
/// None but for mistakes in this crate.
pub fn features_of_a_young_chain(fork: Fork) -> Result<(BlockFile, ChainState), SampleError> {
    let draft = with_features(Draft::new(fork), 1)?;
    let chain_state = draft.chain_state.clone();
    Ok((draft.file()?, chain_state))
}

/// Makes a block of Osaka, the first one after a change of the blob parameters alone (EIP-7892),
/// with more blobs than a block could have before.
///
/// # Errors
/// None but for mistakes in this crate.
pub fn features_after_bpo() -> Result<BlockFile, SampleError> {
    let mut draft = Draft::new(Fork::Osaka);
    draft.rules.has_bpo = true;
    let modern = draft.deploy(MODERN, U256::ZERO, &[])?;
    draft.with_blobs(modern, 6);
    with_features(draft, ANCESTORS - 1)?.file()
}

/// Puts the features into a block, which asks for the hash of the block `back` blocks before it.
fn with_features(mut draft: Draft, back: u64) -> Result<Draft, SampleError> {
    let fork = draft.rules.fork;
    let heir = draft.rng.address();
    let callee = draft.deploy("PUSH 1 PUSH 0 SSTORE STOP", U256::ZERO, &[])?;
    let busy = draft.deploy(
        &format!(
            "PUSH {back} NUMBER SUB BLOCKHASH PUSH 1 SSTORE {BUSY} {}",
            call_beyond_balance(callee)
        ),
        U256::ZERO,
        &[(3, 9), (4, 9)],
    )?;
    draft.call(busy, Bytes::new(), U256::ZERO, true);
    let bequest = draft.deploy(&format!("PUSH {heir} SELFDESTRUCT"), units(3), &[(1, 5)])?;
    draft.legacy(bequest);
    let factory = draft.deploy(FACTORY, U256::ZERO, &[])?;
    // Leaves `PUSH1 0 SELFDESTRUCT`, which the factory calls in the same transaction.
    let fleeting = draft.assemble("PUSH 0x6000ff PUSH 0 MSTORE PUSH 3 PUSH 29 RETURN")?;
    draft.call(factory, fleeting.clone(), U256::ZERO, true);
    draft.create(draft.assemble("PUSH 0x60ff60005500 PUSH 0 MSTORE PUSH 6 PUSH 26 RETURN")?);
    let failing = draft.deploy("PUSH 1 PUSH 0 SSTORE PUSH 0 PUSH 0 REVERT", U256::ZERO, &[])?;
    draft.call(failing, Bytes::new(), U256::ZERO, false);
    draft.with_access_list(busy, U256::from(3));
    draft.call(heir, Bytes::new(), units(1), true);
    if fork >= Fork::Cancun {
        let modern = draft.deploy(MODERN, U256::ZERO, &[])?;
        draft.with_blobs(modern, if fork >= Fork::Osaka { 6 } else { 2 });
    }
    if fork >= Fork::Prague {
        draft.delegate(busy);
        let deposit = draft.deploy_deposit_contract()?;
        draft.call(deposit, deposit_event(false), U256::ZERO, true);
        let request = |length: usize| Bytes::from(vec![7; length]);
        draft.call(
            WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
            request(56),
            U256::from(1),
            true,
        );
        draft.call(
            CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
            request(96),
            U256::from(1),
            true,
        );
    }
    if fork >= Fork::Osaka {
        let contract = draft.deploy(&osaka::contract(), U256::ZERO, &[])?;
        draft.call(contract, osaka::input(), U256::ZERO, true);
        draft.with_gas(busy, Bytes::new(), osaka::TX_GAS_MAX);
    }
    Ok(draft)
}

/// The block's environment, a slot that is cleared and one that is changed, SHA-256, and a log.
const BUSY: &str = "
    DIFFICULTY TIMESTAMP XOR BASEFEE XOR COINBASE XOR PUSH 2 SSTORE
    PUSH 0 PUSH 3 SSTORE
    PUSH 4 SLOAD PUSH 1 ADD PUSH 4 SSTORE
    PUSH 32 PUSH 0 PUSH 32 PUSH 0 PUSH 2 GAS STATICCALL POP
    PUSH 0 MLOAD PUSH 5 SSTORE
    PUSH topic(Busy()) PUSH 32 PUSH 0 LOG1";

/// Creates what its calldata says, and calls it.
const FACTORY: &str = "
    CALLDATASIZE PUSH 0 PUSH 0 CALLDATACOPY
    PUSH 7 CALLDATASIZE PUSH 0 PUSH 0 CREATE2
    DUP1 PUSH 0 SSTORE
    PUSH 0 PUSH 0 PUSH 0 PUSH 0 PUSH 0 DUP6 GAS CALL
    PUSH 1 SSTORE STOP";

/// The features of Cancun.
pub(super) const MODERN: &str = "
    PUSH 1 BLOBHASH PUSH 0 SSTORE
    BLOBBASEFEE PUSH 1 SSTORE
    PUSH 9 PUSH 5 TSTORE PUSH 5 TLOAD PUSH 2 SSTORE
    PUSH 32 PUSH 0 PUSH 32 MCOPY STOP";

/// A call with more value than there is, whose outcome is kept.
fn call_beyond_balance(callee: Address) -> String {
    format!(
        "PUSH 0 PUSH 0 PUSH 0 PUSH 0 SELFBALANCE PUSH 1 ADD PUSH {callee} GAS CALL PUSH 1 ADD PUSH 6 SSTORE"
    )
}

#[cfg(test)]
#[path = "features_tests.rs"]
mod tests;
