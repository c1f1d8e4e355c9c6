//! The sample's block: executed, sealed and put into a file.

use alloy_consensus::{
    BlockBody, EMPTY_OMMER_ROOT_HASH, Header, ReceiptEnvelope, TxEnvelope,
    constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS, EMPTY_WITHDRAWALS},
    proofs,
    transaction::Recovered,
};
use alloy_eips::{
    eip1559::BaseFeeParams,
    eip4895::{Withdrawal, Withdrawals},
    eip7685::EMPTY_REQUESTS_HASH,
    eip7840::BlobParams,
};
use alloy_evm::{
    EvmEnv, EvmFactory,
    block::{BlockExecutionResult, BlockExecutor},
    eth::{
        EthBlockExecutionCtx, EthBlockExecutor, EthEvmFactory, receipt_builder::AlloyReceiptBuilder,
        spec::EthExecutorSpec,
    },
};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{Address, B64, B256, Bloom, Bytes};
use revm::database::{BundleState, State, states::bundle_state::BundleRetention};

use super::{
    ACCOUNTS_MAX, CHAIN_ID, PARENT_NUMBER, PARENT_TIMESTAMP, SLOT_SECONDS, SampleError, SampleSpec, TXS_MAX,
    chain_state::{ChainState, Reads, Recorder},
    genesis::Genesis,
    merkle::Trie,
    rng::Rng,
    traffic::{self, Planned},
};
use crate::{
    Block, ChainConfig, Fork, Parent, Transaction,
    host::{BlockFile, Witness, chain_config},
    input::BLOCKS_MAX,
};

const GAS_LIMIT: u64 = 30_000_000;
const EXTRA_DATA: &[u8] = b"synthetic";

/// Makes a block with all that it takes to prove it; see the [module](super). The default takes
/// about a second and 120 MB.
///
/// # Errors
/// [`SampleError::OutOfBounds`] by the spec's numbers; the others would be mistakes in this crate.
pub fn generate(spec: &SampleSpec) -> Result<BlockFile, SampleError> {
    let (sample, _) = Sample::new(spec, spec.txs)?;
    let description = format!(
        "A made-up block of no real chain: myriad block sample --txs {} --seed {}",
        spec.txs, spec.seed
    );
    Ok(sample.file(description))
}

/// Makes consecutive blocks of the sample chain for a batch, with the transactions divided among
/// them. One block is the same as [`generate`]'s but for its description.
///
/// # Errors
/// The errors of [`generate`]; there may be 1 to [`BLOCKS_MAX`] blocks.
pub fn generate_chain(spec: &SampleSpec, blocks: usize) -> Result<Vec<BlockFile>, SampleError> {
    if !(1..=BLOCKS_MAX).contains(&blocks) {
        return Err(SampleError::OutOfBounds {
            what: "the number of blocks",
            actual: blocks,
            min: 1,
            max: BLOCKS_MAX,
        });
    }
    let per_block = spec.txs.div_ceil(blocks);
    let (mut sample, mut later) = Sample::new(spec, per_block)?;
    let mut rng = Rng::new(!spec.seed);
    let mut files = Vec::with_capacity(blocks);
    for number in 1..=blocks {
        files.push(sample.file(format!("Block {number} of {blocks} of a made-up chain")));
        if number < blocks {
            let rest = later.split_off(later.len().min(per_block));
            sample = sample.followed_by(later, &mut rng)?;
            later = rest;
        }
    }
    Ok(files)
}

/// A block, and the whole states before and after it.
pub(super) struct Sample {
    parent: Header,
    block: Block,
    pub(super) genesis: Genesis,
    pub(super) before: Trie,
    pub(super) after: ChainState,
    /// The part of the state before that the block reads.
    pub(super) reads: Reads,
}

impl Sample {
    /// The first block, with at most `txs` of the transactions, and the rest of them.
    pub(super) fn new(spec: &SampleSpec, txs: usize) -> Result<(Self, Vec<Planned>), SampleError> {
        for (what, actual, min, max) in [
            ("the number of transactions", spec.txs, 0, TXS_MAX),
            ("the number of accounts", spec.accounts, 1, ACCOUNTS_MAX),
            ("the number of token holders", spec.token_holders, 0, ACCOUNTS_MAX),
        ] {
            if !(min..=max).contains(&actual) {
                return Err(SampleError::OutOfBounds {
                    what,
                    actual,
                    min,
                    max,
                });
            }
        }
        let mut rng = Rng::new(spec.seed);
        let mut genesis = Genesis::new(spec, &mut rng)?;
        let mut parent = parent_header(&genesis, &mut rng);
        let base_fee = parent
            .next_block_base_fee(BaseFeeParams::ethereum())
            .unwrap_or_default();
        // The senders' accounts become part of the state before the block ...
        let mut plan = traffic::plan(&mut genesis, &mut rng, spec.txs, base_fee);
        let later = plan.split_off(plan.len().min(txs));
        let withdrawals = withdrawals(&genesis, &mut rng);
        // ... which only then is complete.
        let before = genesis.chain_state.state_trie();
        parent.state_root = before.root();

        let first = Self::run(genesis, before, parent, plan, withdrawals, &mut rng)?;
        Ok((first, later))
    }

    /// Executes and seals the block after a parent.
    fn run(
        genesis: Genesis,
        before: Trie,
        parent: Header,
        plan: Vec<Planned>,
        withdrawals: Withdrawals,
        rng: &mut Rng,
    ) -> Result<Self, SampleError> {
        let header = child_header(&parent, rng);
        let execution = execute(RULES, &genesis.chain_state, &header, &plan, Some(&withdrawals))?;
        let after = genesis.chain_state.after(&execution.changes);
        let state_root = after.state_trie().root();
        let block = seal(
            RULES,
            header,
            state_root,
            &execution.result,
            plan,
            Some(withdrawals),
        );
        Ok(Self {
            parent,
            block,
            genesis,
            before,
            after,
            reads: execution.reads,
        })
    }

    /// The block after this one.
    fn followed_by(self, plan: Vec<Planned>, rng: &mut Rng) -> Result<Self, SampleError> {
        let before = self.after.state_trie();
        let genesis = Genesis {
            chain_state: self.after,
            ..self.genesis
        };
        let withdrawals = Withdrawals::default();
        Self::run(genesis, before, self.block.header, plan, withdrawals, rng)
    }

    pub(super) fn file(&self, description: String) -> BlockFile {
        let chain_state = &self.genesis.chain_state;
        let codes = self.reads.codes.iter();
        let parent = Bytes::from(alloy_rlp::encode(&self.parent));
        let chain = ChainConfig::prague_from_genesis(CHAIN_ID);
        BlockFile {
            chain_id: CHAIN_ID,
            block: alloy_rlp::encode(&self.block).into(),
            later: Vec::new(),
            parent: Parent::Header(parent.clone()),
            witness: Witness {
                state: chain_state.witness(&self.before, &self.reads, &self.after),
                codes: codes
                    .filter_map(|hash| chain_state.codes.get(hash).cloned())
                    .collect(),
                // The witness is as a node gives it: the parent is always there.
                headers: vec![parent],
            },
            chain_config: Some(chain_config::to_geth(&chain)),
            synthetic: true,
            description: Some(description),
        }
    }
}

/// The parent's header without its state root.
fn parent_header(genesis: &Genesis, rng: &mut Rng) -> Header {
    Header {
        parent_hash: rng.hash(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: genesis.sequencer,
        transactions_root: EMPTY_TRANSACTIONS,
        receipts_root: EMPTY_RECEIPTS,
        number: PARENT_NUMBER,
        gas_limit: GAS_LIMIT,
        gas_used: rng.between(GAS_LIMIT / 3, GAS_LIMIT * 2 / 3),
        timestamp: PARENT_TIMESTAMP,
        extra_data: Bytes::from_static(EXTRA_DATA),
        mix_hash: rng.hash(),
        base_fee_per_gas: Some(rng.between(10_000_000, 1_000_000_000)),
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(rng.hash()),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// The part of the block's header that is settled before it is executed.
fn child_header(parent: &Header, rng: &mut Rng) -> Header {
    Header {
        parent_hash: parent.hash_slow(),
        beneficiary: parent.beneficiary,
        number: parent.number + 1,
        gas_limit: parent.gas_limit,
        timestamp: parent.timestamp + SLOT_SECONDS,
        extra_data: parent.extra_data.clone(),
        mix_hash: rng.hash(),
        base_fee_per_gas: parent.next_block_base_fee(BaseFeeParams::ethereum()),
        parent_beacon_block_root: Some(rng.hash()),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        ..Header::default()
    }
}

/// Two withdrawals: one to a known account, one to an account that it makes.
fn withdrawals(genesis: &Genesis, rng: &mut Rng) -> Withdrawals {
    let index = rng.below(1_000_000);
    let addresses = [genesis.person(rng), rng.address()];
    Withdrawals::new(
        addresses
            .into_iter()
            .zip(index..)
            .map(|(address, index)| Withdrawal {
                index,
                validator_index: rng.below(1_000),
                address,
                amount: rng.between(10_000_000, 20_000_000),
            })
            .collect(),
    )
}

pub(super) struct Execution {
    pub(super) result: BlockExecutionResult<ReceiptEnvelope>,
    pub(super) changes: BundleState,
    pub(super) reads: Reads,
    /// Gas of each transaction before refunds, and before the floor of EIP-7623.
    pub(super) spent: Vec<u64>,
}

/// Runs a block by alloy-evm alone.
pub(super) fn execute(
    rules: Rules,
    chain_state: &ChainState,
    header: &Header,
    plan: &[Planned],
    withdrawals: Option<&Withdrawals>,
) -> Result<Execution, SampleError> {
    let failed = |error: &dyn std::fmt::Display| SampleError::Execution(error.to_string());
    let recorder = Recorder {
        chain_state,
        reads: Reads::default(),
    };
    let mut state = State::builder()
        .with_database(recorder)
        .with_bundle_update()
        .build();
    let env = EvmEnv::for_eth_block(header, rules, CHAIN_ID, rules.blobs());
    let evm = EthEvmFactory::default().create_evm(&mut state, env);
    let context = EthBlockExecutionCtx {
        parent_hash: header.parent_hash,
        parent_beacon_block_root: header.parent_beacon_block_root,
        ommers: &[],
        withdrawals: withdrawals.map(|list| list.as_slice().into()),
        extra_data: header.extra_data.clone(),
        tx_count_hint: Some(plan.len()),
        slot_number: None,
    };
    let mut executor = EthBlockExecutor::new(evm, context, rules, AlloyReceiptBuilder::default());
    executor
        .apply_pre_execution_changes()
        .map_err(|error| failed(&error))?;
    let mut spent = Vec::with_capacity(plan.len());
    for Planned { tx, sender, .. } in plan {
        let tx = Recovered::new_unchecked(TxEnvelope::from(tx.clone()), *sender);
        executor
            .execute_transaction_with_result_closure(tx, |done| {
                spent.push(done.result.result.gas().total_gas_spent());
            })
            .map_err(|error| failed(&error))?;
    }
    let (_, result) = executor.finish().map_err(|error| failed(&error))?;
    for (index, (receipt, planned)) in result.receipts.iter().zip(plan).enumerate() {
        if receipt.status() != planned.succeeds {
            return Err(failed(&format_args!(
                "transaction {index} has status {}, planned was {}",
                receipt.status(),
                planned.succeeds
            )));
        }
    }
    state.merge_transitions(BundleRetention::PlainState);
    let changes = state.take_bundle();
    Ok(Execution {
        result,
        changes,
        reads: state.database.reads,
        spent,
    })
}

pub(super) fn seal(
    rules: Rules,
    mut header: Header,
    state_root: B256,
    result: &BlockExecutionResult<ReceiptEnvelope>,
    plan: Vec<Planned>,
    withdrawals: Option<Withdrawals>,
) -> Block {
    let transactions: Vec<Transaction> = plan.into_iter().map(|planned| planned.tx).collect();
    header.ommers_hash = EMPTY_OMMER_ROOT_HASH;
    header.nonce = B64::ZERO;
    header.state_root = state_root;
    header.gas_used = result.gas_used;
    header.transactions_root = proofs::calculate_transaction_root(&transactions);
    header.withdrawals_root = withdrawals
        .as_deref()
        .map(|list| proofs::calculate_withdrawals_root(list));
    header.receipts_root = proofs::calculate_receipt_root(&result.receipts);
    header.logs_bloom = result
        .receipts
        .iter()
        .fold(Bloom::ZERO, |all, receipt| all | *receipt.logs_bloom());
    header.requests_hash = (rules.fork >= Fork::Prague).then(|| result.requests.requests_hash());
    Block {
        header,
        body: BlockBody {
            transactions,
            ommers: Vec::new(),
            withdrawals,
        },
    }
}

/// The rules of the samples that `block sample` makes.
pub(super) const RULES: Rules = Rules {
    fork: Fork::Prague,
    has_bpo: false,
    deposit_contract: None,
};

/// The forks up to one of them from the genesis on.
#[derive(Clone, Copy, Debug)]
pub(in crate::host) struct Rules {
    pub(in crate::host) fork: Fork,
    /// The block is the first one with the blob parameters of BPO1.
    pub(in crate::host) has_bpo: bool,
    pub(in crate::host) deposit_contract: Option<Address>,
}

impl Rules {
    pub(in crate::host) fn blobs(self) -> Option<BlobParams> {
        match self.fork {
            _ if self.has_bpo => Some(BlobParams::bpo1()),
            Fork::Paris | Fork::Shanghai => None,
            Fork::Cancun => Some(BlobParams::cancun()),
            Fork::Prague => Some(BlobParams::prague()),
            Fork::Osaka => Some(BlobParams::osaka()),
        }
    }
}

impl EthereumHardforks for Rules {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        let newest = match self.fork {
            Fork::Paris => EthereumHardfork::Paris,
            Fork::Shanghai => EthereumHardfork::Shanghai,
            Fork::Cancun => EthereumHardfork::Cancun,
            Fork::Prague => EthereumHardfork::Prague,
            Fork::Osaka => EthereumHardfork::Osaka,
        };
        if fork > newest {
            ForkCondition::Never
        } else if fork >= EthereumHardfork::Shanghai {
            ForkCondition::Timestamp(0)
        } else {
            ForkCondition::Block(0)
        }
    }
}

impl EthExecutorSpec for Rules {
    fn deposit_contract_address(&self) -> Option<Address> {
        self.deposit_contract
    }
}
