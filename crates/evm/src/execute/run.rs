//! Execution of a block's transactions and system calls, by alloy-evm's block executor on revm.

use alloc::{
    borrow::Cow,
    string::{String, ToString},
    vec::Vec,
};
use alloy_consensus::{Header, TxReceipt, proofs, transaction::Recovered};
use alloy_eips::eip7685::Requests;
use alloy_evm::{
    EvmEnv,
    block::{BlockExecutionError, BlockExecutor, BlockValidationError},
    eth::{EthBlockExecutionCtx, EthBlockExecutor, spec::EthExecutorSpec},
};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{Address, B256, Bloom, U256};
use revm::{
    context::{BlockEnv, CfgEnv},
    context_interface::block::BlobExcessGasAndPrice,
};

use super::{Results, deposits::check_deposits, evm::BlockEvm, receipts::Receipts};
use crate::{
    Block, BlockError, ChainConfig, Fork,
    accounting::{Kind, scope},
    state::WitnessState,
};

/// Most blobs of one transaction, from Osaka on (EIP-7594).
const BLOBS_PER_TX_MAX: u64 = 6;

/// Runs the block on the state. If the witness lacks a part, that is the error, whatever else
/// follows from it.
pub(super) fn run(
    block: &Block,
    senders: &[Address],
    chain: &ChainConfig,
    fork: Fork,
    state: &mut WitnessState<'_>,
) -> Result<Results, BlockError> {
    let result = run_on(block, senders, chain, fork, state);
    match state.take_fault() {
        Some(fault) => Err(fault.into()),
        None => result,
    }
}

fn run_on(
    block: &Block,
    senders: &[Address],
    chain: &ChainConfig,
    fork: Fork,
    state: &mut WitnessState<'_>,
) -> Result<Results, BlockError> {
    let header = &block.header;
    let transactions = &block.body.transactions;
    let evm = BlockEvm::new(state, environment(header, chain, fork), chain.rules);
    let context = EthBlockExecutionCtx {
        parent_hash: header.parent_hash,
        parent_beacon_block_root: header.parent_beacon_block_root,
        ommers: &[],
        withdrawals: block
            .body
            .withdrawals
            .as_deref()
            .map(|list| Cow::Borrowed(list.as_slice())),
        extra_data: header.extra_data.clone(),
        tx_count_hint: Some(transactions.len()),
        slot_number: None,
    };
    let mut executor = EthBlockExecutor::new(evm, context, Spec { chain, fork }, Receipts);
    executor.apply_pre_execution_changes().map_err(system_call)?;
    for (index, (tx, &sender)) in transactions.iter().zip(senders).enumerate() {
        let tx = Recovered::new_unchecked(tx, sender);
        let executed = executor.execute_transaction(tx);
        executed.map_err(|error| BlockError::InvalidTransaction {
            index,
            reason: transaction_fault(error),
        })?;
    }
    if fork >= Fork::Prague {
        check_deposits(chain, executor.receipts())?;
    }
    let (_, result) = executor.finish().map_err(system_call)?;
    let bloom = |all: Bloom, receipt: &_| all | TxReceipt::bloom(receipt);
    Ok(scope::<{ Kind::Body as u32 }, _>(|| Results {
        gas_used: result.gas_used,
        receipts_root: proofs::calculate_receipt_root(&result.receipts),
        logs_bloom: result.receipts.iter().fold(Bloom::ZERO, bloom),
        requests_hash: (fork >= Fork::Prague).then(|| requests_hash(&result.requests)),
    }))
}

fn environment(header: &Header, chain: &ChainConfig, fork: Fork) -> EvmEnv {
    let blobs = chain.blobs(fork, header.timestamp);
    // revm has the other limits of a fork from its `spec`, the gas of a transaction (EIP-7825)
    // among them.
    let mut cfg = CfgEnv::new_with_spec(fork.spec()).with_chain_id(chain.chain_id);
    if let Some(blobs) = blobs {
        cfg.set_max_blobs_per_tx(match fork {
            Fork::Osaka => blobs.max.min(BLOBS_PER_TX_MAX),
            _ => blobs.max,
        });
    }
    let blob_price =
        header
            .excess_blob_gas
            .zip(blobs)
            .map(|(excess_blob_gas, blobs)| BlobExcessGasAndPrice {
                excess_blob_gas,
                blob_gasprice: blobs.price(excess_blob_gas),
            });
    let block = BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: blob_price,
        slot_num: 0,
    };
    EvmEnv::new(cfg, block)
}

/// The rules of the chain at the time of the block, as the block executor asks for them.
#[derive(Clone, Copy, Debug)]
struct Spec<'a> {
    chain: &'a ChainConfig,
    fork: Fork,
}

impl EthereumHardforks for Spec<'_> {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        let since = match fork {
            // Its irregular state change is to no block that is supported.
            EthereumHardfork::Dao => return ForkCondition::Never,
            EthereumHardfork::Shanghai => Fork::Shanghai,
            EthereumHardfork::Cancun => Fork::Cancun,
            EthereumHardfork::Prague => Fork::Prague,
            EthereumHardfork::Osaka => Fork::Osaka,
            earlier if earlier <= EthereumHardfork::Paris => return ForkCondition::ZERO_BLOCK,
            _ => return ForkCondition::Never,
        };
        if self.fork >= since {
            ForkCondition::ZERO_TIMESTAMP
        } else {
            ForkCondition::Never
        }
    }
}

impl EthExecutorSpec for Spec<'_> {
    /// The executor takes `None` for mainnet's deposit contract. A chain without one gets the zero
    /// address, which has no code and so no logs.
    fn deposit_contract_address(&self) -> Option<Address> {
        Some(self.chain.deposit_contract.unwrap_or(Address::ZERO))
    }
}

/// EIP-7685: SHA-256 of the SHA-256 of each list of requests that is not empty, by their types.
fn requests_hash(requests: &Requests) -> B256 {
    let crypto = revm::precompile::crypto();
    // The executor appends them in the order of their types.
    let lists = requests.iter().filter(|list| list.len() > 1);
    let hashes: Vec<u8> = lists.flat_map(|list| crypto.sha256(list)).collect();
    crypto.sha256(&hashes).into()
}

fn system_call(error: BlockExecutionError) -> BlockError {
    BlockError::SystemCall {
        reason: error.to_string(),
    }
}

/// The fault of a transaction, without its hash: its place in the block says which one it is.
fn transaction_fault(error: BlockExecutionError) -> String {
    match error {
        BlockExecutionError::Validation(BlockValidationError::InvalidTx { error, .. }) => error.to_string(),
        other => other.to_string(),
    }
}
