//! Executes the blocks by alloy-evm, and compares with the replay file.

use alloy_consensus::{Header, ReceiptEnvelope, TxEnvelope, TxReceipt, proofs, transaction::Recovered};
use alloy_evm::{
    Evm as _, EvmEnv, EvmFactory as _,
    block::{BlockExecutionError, BlockExecutor as _},
    eth::{EthBlockExecutionCtx, EthBlockExecutor, EthEvmFactory, receipt_builder::AlloyReceiptBuilder},
};
use alloy_primitives::{B256, Bloom, hex};
use revm::database::{
    BundleState, State,
    states::{block_hash_cache::BlockHashCache, bundle_state::BundleRetention},
};

use super::{
    Difference, Place, ReplayError, Unlisted,
    blocks::{ChainBlock, conflict},
    format::{ReplayOutcome, Small},
    listed_state::ListedState,
};
use crate::{ChainConfig, host::sample::Rules};

/// The outcome of executing a block.
pub(super) struct Run {
    pub(super) changes: BundleState,
    pub(super) gas_used: u64,
    pub(super) receipts_root: B256,
    pub(super) logs_bloom: Bloom,
    /// The outcome of each transaction.
    pub(super) outcomes: Vec<ReplayOutcome>,
    /// The transactions' differences from their expected outcomes.
    pub(super) differing: Vec<Difference>,
    /// The blocks whose hashes a transaction has asked for.
    pub(super) hash_queries: Vec<(Place, u64)>,
}

impl Run {
    /// Compares with the header, which is the chain's own. If a transaction differs too, the error
    /// names that difference, since it says more.
    pub(super) fn check(&self, header: &Header) -> Result<(), ReplayError> {
        let place = Place {
            block: header.number,
            transaction: None,
        };
        let differs = if self.gas_used != header.gas_used {
            conflict(place, "gas used", self.gas_used, header.gas_used)
        } else if self.receipts_root != header.receipts_root {
            conflict(place, "receipts root", self.receipts_root, header.receipts_root)
        } else if self.logs_bloom != header.logs_bloom {
            conflict(place, "logs bloom", self.logs_bloom, header.logs_bloom)
        } else {
            return Ok(());
        };
        Err(self
            .differing
            .first()
            .map_or(differs, |first| first.clone().into()))
    }
}

/// Executes a block on the state before it, and makes that the state after it. The parent hash is
/// the one in its header.
#[expect(clippy::too_many_lines, reason = "the steps of a block, in their order")]
pub(super) fn run(
    listed: &mut ListedState,
    chain: &ChainConfig,
    block: &ChainBlock,
) -> Result<Run, ReplayError> {
    let header = &block.block.header;
    let place = Place {
        block: header.number,
        transaction: None,
    };
    let rules = Rules {
        fork: block.fork,
        has_bpo: false,
        // Without an address of the chain, alloy-evm would take mainnet's.
        deposit_contract: Some(chain.deposit_contract.unwrap_or_default()),
    };
    listed.fault = None;
    listed.is_system_call = true;
    let mut state = State::builder()
        .with_database(&mut *listed)
        .with_bundle_update()
        .build();
    let env = EvmEnv::for_eth_block(header, rules, chain.chain_id, rules.blobs());
    let evm = EthEvmFactory::default().create_evm(&mut state, env);
    let context = EthBlockExecutionCtx {
        parent_hash: header.parent_hash,
        parent_beacon_block_root: header.parent_beacon_block_root,
        ommers: &[],
        withdrawals: None,
        extra_data: header.extra_data.clone(),
        tx_count_hint: Some(block.senders.len()),
        slot_number: None,
    };
    let mut executor = EthBlockExecutor::new(evm, context, rules, AlloyReceiptBuilder::default());
    let mut hash_queries = Vec::new();
    let mut outcomes = Vec::with_capacity(block.senders.len());
    let mut differing = Vec::new();
    let mut result = executor.apply_pre_execution_changes();
    let mut at = place;
    if result.is_ok() {
        let transactions = block.block.body.transactions.iter().zip(&block.senders);
        for (index, (tx, &sender)) in transactions.enumerate() {
            at.transaction = Some(index);
            executor.evm_mut().db_mut().database.is_system_call = false;
            let tx = Recovered::new_unchecked(TxEnvelope::from(tx.clone()), sender);
            let mut spent = 0;
            let executed = executor.execute_transaction_with_result_closure(tx, |done| {
                spent = done.result.result.gas().total_gas_spent();
            });
            result = executed.map(drop);
            let state = executor.evm_mut().db_mut();
            // The cache keeps hashes that were read, and would not read them again for the next
            // transaction.
            state.block_hashes = BlockHashCache::new();
            let numbers = state.database.hash_queries.drain(..);
            hash_queries.extend(numbers.map(|number| (at, number)));
            if result.is_err() {
                break;
            }
            if let Some(receipt) = executor.receipts().last() {
                let outcome = outcome(receipt, spent);
                differing.extend(compare(at, &outcome, &block.outcomes[index]));
                outcomes.push(outcome);
            }
        }
    }
    let finished = match result {
        Ok(()) => {
            at.transaction = None;
            executor.evm_mut().db_mut().database.is_system_call = true;
            executor.finish().map(|(_, result)| result)
        }
        Err(error) => Err(error),
    };
    state.merge_transitions(BundleRetention::PlainState);
    let changes = state.take_bundle();
    drop(state);
    let result = match finished {
        Ok(result) => result,
        // If a failure follows from a difference, the difference is the cause.
        Err(error) => {
            let first = differing.into_iter().next();
            return Err(first.map_or_else(|| fault(at, listed, &error), Into::into));
        }
    };
    listed
        .apply(&changes)
        .map_err(|_| ReplayError::TooMuchTouched { place })?;
    let blooms = result.receipts.iter().map(TxReceipt::bloom);
    Ok(Run {
        changes,
        gas_used: result.gas_used,
        receipts_root: proofs::calculate_receipt_root(&result.receipts),
        logs_bloom: blooms.fold(Bloom::ZERO, |all, bloom| all | bloom),
        outcomes,
        differing,
        hash_queries,
    })
}

/// The outcome of a transaction.
///
/// The tracer counts gas as Besu's EVM hands it on: before refunds, and before the floor of
/// EIP-7623. The receipts have the gas that is paid in the end, and the header has their root.
fn outcome(receipt: &ReceiptEnvelope, spent: u64) -> ReplayOutcome {
    ReplayOutcome {
        status: receipt.status(),
        gas_used: Small(spent),
        logs: receipt.logs().iter().map(|log| &log.data.data[..]).collect(),
    }
}

fn compare(place: Place, actual: &ReplayOutcome, expected: &ReplayOutcome) -> Option<Difference> {
    let status = |succeeded| if succeeded { "success" } else { "failure" };
    let difference = |what, actual: String, expected: String| {
        Some(Difference {
            place,
            what,
            actual,
            expected,
        })
    };
    if actual.status != expected.status {
        let (actual, expected) = (status(actual.status), status(expected.status));
        return difference("status", actual.to_owned(), expected.to_owned());
    }
    if actual.gas_used != expected.gas_used {
        let (actual, expected) = (actual.gas_used.0, expected.gas_used.0);
        return difference("gas before refunds", actual.to_string(), expected.to_string());
    }
    let (logs, others) = (&actual.logs, &expected.logs);
    if logs.len() != others.len() {
        return difference("number of logs", logs.len().to_string(), others.len().to_string());
    }
    let (log, other) = logs.iter().zip(others.iter()).find(|(log, other)| log != other)?;
    difference(
        "data of a log",
        hex::encode_prefixed(log),
        hex::encode_prefixed(other),
    )
}

/// Why a transaction or a system call was not executed: for want of something, or since it is not
/// valid.
fn fault(place: Place, listed: &mut ListedState, error: &BlockExecutionError) -> ReplayError {
    match listed.fault.take() {
        Some(Unlisted::TooMuch) => ReplayError::TooMuchTouched { place },
        Some(what) => ReplayError::Missing { place, what },
        None => ReplayError::Invalid {
            place,
            reason: error.to_string(),
        },
    }
}
