//! Validation of a block: all checks of a stateless client, in an order in which each fault is
//! named for what it is.
//!
//! 1. the block is RLP, of a fork that is known, and no larger than that allows;
//! 2. the header by itself and after its parent;
//! 3. signatures, before the transactions root: a broken signature is reported as one;
//! 4. the body against the header: transactions, withdrawals, blob gas;
//! 5. execution on the witness: a part that it lacks is reported before anything that follows from
//!    that;
//! 6. the results against the header: gas, receipts, bloom, requests, and the state root last.
//!
//! All headers of a batch of blocks are looked at before the first block is executed.

mod deposits;
mod evm;
mod instructions;
mod receipts;
mod run;

use alloc::{boxed::Box, string::ToString, vec::Vec};
use alloy_consensus::{
    Header, Transaction as _, crypto::SECP256K1N_HALF, proofs, transaction::SignerRecoverable,
};
use alloy_primitives::{Address, B256, Bloom, Bytes, keccak256};
use alloy_rlp::Decodable;
use core::iter;

#[cfg(feature = "host")]
pub use crate::state::{AccountChange, StateChanges};
use crate::{
    Block, BlockError, ChainConfig, Fork, Parent, StatelessInput, Transaction,
    accounting::{Kind, scope},
    error::SignatureFault,
    header::{Ancestors, PARENT_CHECKS, check_blob_gas, check_child, check_header},
    input::encode_chain,
    state::WitnessState,
};

/// Most bytes of a block's RLP, from Osaka on (EIP-7934): the 10 MiB that peers send, less 2 MiB
/// for what the consensus layer adds.
const BLOCK_BYTES_MAX: usize = 8 << 20;

const BODY: u32 = Kind::Body as u32;

/// The facts of a valid block, or of a batch of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub chain_id: u64,
    /// Number of the block; of a batch, of its last one.
    pub number: u64,
    /// Hash of that block.
    pub block_hash: B256,
    /// Before the block, or the first one of a batch.
    pub parent_state_root: B256,
    /// After the block, or the last one of a batch.
    pub state_root: B256,
    /// How many blocks they are.
    pub blocks: usize,
    /// Gas used by all of them.
    pub gas_used: u64,
    /// Number of transactions in all of them.
    pub transactions: usize,
    /// Names of the checks that could not be made, because the parent's header is not known.
    pub skipped: Vec<&'static str>,
    /// The values that the guest reveals: see [`public_values`].
    pub public_values: B256,
}

/// Which parts of a witness a block needs, in the order of the [`StatelessInput`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessUse {
    pub state: Vec<bool>,
    pub codes: Vec<bool>,
}

/// Validates a block, or a batch of them.
///
/// # Errors
/// The first fault that is found. A valid block whose witness is not complete is refused too.
pub fn validate(input: &StatelessInput) -> Result<Outcome, BlockError> {
    validate_recording(input).map(|(outcome, _)| outcome)
}

/// Validates a block, or a batch of them, and says what of the witness was needed.
///
/// # Errors
/// As [`validate`].
pub fn validate_recording(input: &StatelessInput) -> Result<(Outcome, WitnessUse), BlockError> {
    run_checks(input, |outcome, state| {
        let (state, codes) = state.used();
        (outcome, WitnessUse { state, codes })
    })
}

/// Validates a block, and also gives the changes of the state. A caller that has the whole state
/// makes the state after the block of them. For a batch, they are the changes by the last block.
///
/// # Errors
/// As [`validate`].
#[cfg(feature = "host")]
pub fn validate_with_changes(
    input: &StatelessInput,
) -> Result<(Outcome, WitnessUse, StateChanges), BlockError> {
    run_checks(input, |outcome, state| {
        let changes = state.changes();
        let (state, codes) = state.used();
        (outcome, WitnessUse { state, codes }, changes)
    })
}

/// All checks, and what is made of the state that they leave.
fn run_checks<T>(
    input: &StatelessInput,
    then: impl FnOnce(Outcome, &mut WitnessState<'_>) -> T,
) -> Result<T, BlockError> {
    let chain = &input.chain;
    let encoded: Vec<_> = iter::once(&input.block).chain(&input.later).collect();
    let is_batch = encoded.len() > 1;
    let blocks = encoded.iter().map(|bytes| decode::<Block>("block", bytes));
    let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
    let of_batch = |block: &Block| {
        let number = block.header.number;
        move |source: BlockError| match is_batch {
            true => BlockError::InBatch {
                number,
                source: Box::new(source),
            },
            false => source,
        }
    };

    let (parent_state_root, parent_header, parent) = match &input.parent {
        Parent::StateRoot(root) => (*root, None, None),
        Parent::Header(bytes) => {
            let parent: Header = decode("parent header", bytes)?;
            (parent.state_root, Some(bytes), Some(parent))
        }
    };
    let forks = check_headers(chain, parent.as_ref(), &blocks, &encoded, &of_batch)?;
    // BLOCKHASH asks for the hashes of the batch's own blocks as well.
    let (last, before) = blocks.split_last().expect("there is a first one");
    let headers = before.iter().map(|block| alloy_rlp::encode(&block.header).into());
    let headers: Vec<Bytes> = headers.collect();
    let lists = [input.headers.as_slice(), headers.as_slice()];
    let ancestors = |block: &Block| Ancestors::new(&block.header, parent_header, lists);

    let mut state = WitnessState::new(
        parent_state_root,
        &input.state,
        &input.codes,
        ancestors(&blocks[0]),
    );
    for (number, (block, &fork)) in blocks.iter().zip(&forks).enumerate() {
        if number > 0 {
            state.begin_block(ancestors(block));
        }
        execute(block, chain, fork, &mut state).map_err(of_batch(block))?;
    }

    let skipped: &[_] = if parent_header.is_some() {
        &[]
    } else {
        &PARENT_CHECKS
    };
    let (state_root, block_hash) = (last.header.state_root, last.header.hash_slow());
    let outcome = Outcome {
        chain_id: chain.chain_id,
        number: last.header.number,
        block_hash,
        parent_state_root,
        state_root,
        blocks: blocks.len(),
        gas_used: blocks.iter().map(|block| block.header.gas_used).sum(),
        transactions: blocks.iter().map(|block| block.body.transactions.len()).sum(),
        skipped: skipped.to_vec(),
        public_values: public_values(
            chain,
            parent_state_root,
            state_root,
            block_hash,
            blocks.len(),
            skipped,
        ),
    };
    Ok(then(outcome, &mut state))
}

/// Checks each header by itself and after the one before, and gives the blocks' forks.
fn check_headers<'b, E: FnOnce(BlockError) -> BlockError>(
    chain: &ChainConfig,
    mut parent: Option<&'b Header>,
    blocks: &'b [Block],
    encoded: &[&Bytes],
    of_batch: &impl Fn(&Block) -> E,
) -> Result<Vec<Fork>, BlockError> {
    let check = |block: &Block, bytes: &[u8]| {
        let header = &block.header;
        let fork = chain.fork_at(header.number, header.timestamp)?;
        check_chain(chain, fork, header.timestamp)?;
        check_size(bytes, fork)?;
        check_header(header, fork)?;
        Ok(fork)
    };
    let mut forks = Vec::with_capacity(blocks.len());
    for (block, bytes) in blocks.iter().zip(encoded) {
        let fork = check(block, bytes).map_err(of_batch(block))?;
        if let Some(parent) = parent {
            check_child(&block.header, parent, parent.hash_slow(), chain, fork).map_err(of_batch(block))?;
        }
        parent = Some(&block.header);
        forks.push(fork);
    }
    Ok(forks)
}

/// Executes a block whose header has been checked, on the state before it, and checks all else.
fn execute(
    block: &Block,
    chain: &ChainConfig,
    fork: Fork,
    state: &mut WitnessState<'_>,
) -> Result<(), BlockError> {
    let header = &block.header;
    let transactions = &block.body.transactions;
    let senders = scope::<BODY, _>(|| recover_senders(transactions))?;
    scope::<BODY, _>(|| check_body(block, &senders, state))?;
    let blobs = transactions.iter().filter_map(|tx| tx.blob_versioned_hashes());
    check_blob_gas(header, blobs.map(|hashes| hashes.len() as u64).sum(), chain, fork)?;
    check_types(transactions, chain)?;
    let results = run::run(block, &senders, chain, fork, state)?;
    check_results(header, &results)?;
    let state_root = scope::<{ Kind::State as u32 }, _>(|| state.root())?;
    if state_root == header.state_root {
        Ok(())
    } else {
        Err(BlockError::StateRoot {
            actual: state_root,
            expected: header.state_root,
        })
    }
}

/// The 32 bytes that stand for the statement "this block is valid", or "these blocks are, each the
/// child of the one before":
///
/// ```text
/// keccak256( chain id (8 bytes, big endian) ‖ parent state root ‖ state root ‖ block hash
///            [ ‖ number of blocks (8 bytes, big endian), where they are a batch ]
///            [ ‖ keccak256(chain configuration), where the chain is not built in ]
///            [ ‖ 0x01, where the checks that need the parent's header were skipped ] )
/// ```
///
/// For a batch, the first state root is that before the first block. The other two hashes are of
/// the last block.
///
/// A chain that is not built in is part of the input, so that its rules have to be part of the
/// statement; and a block of which less was checked must not look like any other. The eight forms
/// have different lengths (104, 105, 136, 137 bytes, and 8 more for a batch), and none can be taken
/// for another one. The configuration is hashed as it stands in the input's encoding (see
/// [`crate::input`]), from after the chain id on.
pub fn public_values(
    chain: &ChainConfig,
    parent_state_root: B256,
    state_root: B256,
    block_hash: B256,
    blocks: usize,
    skipped: &[&str],
) -> B256 {
    let mut statement = Vec::with_capacity(2 * 8 + 4 * 32 + 1);
    statement.extend_from_slice(&chain.chain_id.to_be_bytes());
    for hash in [parent_state_root, state_root, block_hash] {
        statement.extend_from_slice(hash.as_slice());
    }
    if blocks > 1 {
        statement.extend_from_slice(&(blocks as u64).to_be_bytes());
    }
    if !chain.is_builtin() {
        statement.extend_from_slice(keccak256(encode_chain(chain)).as_slice());
    }
    if !skipped.is_empty() {
        statement.push(1);
    }
    keccak256(statement)
}

/// Checks that the blob parameters of the block's time can be computed with.
fn check_chain(chain: &ChainConfig, fork: Fork, timestamp: u64) -> Result<(), BlockError> {
    let reason = match chain.blobs(fork, timestamp) {
        None if fork < Fork::Cancun => return Ok(()),
        None => "it has no blob parameters for the time of the block",
        Some(blobs) if blobs.update_fraction == 0 => "the update fraction of the blob base fee is 0",
        // EIP-7918 divides by the one, and subtracts the other from it.
        Some(blobs) if fork >= Fork::Osaka && blobs.max < blobs.target.max(1) => {
            "most blobs of a block are 0, or less than the target"
        }
        Some(_) => return Ok(()),
    };
    Err(crate::InputError::ChainConfig { reason }.into())
}

fn check_size(block: &[u8], fork: Fork) -> Result<(), BlockError> {
    match block.len() {
        actual if fork >= Fork::Osaka && actual > BLOCK_BYTES_MAX => Err(BlockError::BlockSize {
            actual,
            max: BLOCK_BYTES_MAX,
        }),
        _ => Ok(()),
    }
}

fn decode<T: Decodable>(what: &'static str, mut bytes: &[u8]) -> Result<T, BlockError> {
    let malformed = |error: alloy_rlp::Error| BlockError::MalformedRlp {
        what,
        reason: error.to_string(),
    };
    let value = scope::<{ Kind::Input as u32 }, _>(|| T::decode(&mut bytes)).map_err(malformed)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(malformed(alloy_rlp::Error::UnexpectedLength))
    }
}

fn recover_senders(transactions: &[Transaction]) -> Result<Vec<Address>, BlockError> {
    let recover = |(index, tx): (usize, &Transaction)| {
        if tx.signature().s() > SECP256K1N_HALF {
            return Err(BlockError::BadSignature {
                index,
                reason: SignatureFault::HighS,
            });
        }
        tx.recover_signer().map_err(|_| BlockError::BadSignature {
            index,
            reason: SignatureFault::NotRecoverable,
        })
    };
    transactions.iter().enumerate().map(recover).collect()
}

/// Checks that there is no transaction of a type that the chain does not have. revm knows the types
/// by forks alone.
fn check_types(transactions: &[Transaction], chain: &ChainConfig) -> Result<(), BlockError> {
    let family = chain.rules.name;
    let mut blobs = transactions
        .iter()
        .map(|tx| matches!(tx, Transaction::Eip4844(_)));
    match blobs.position(|carries_blobs| carries_blobs && !chain.rules.has_blob_transactions) {
        Some(index) => Err(BlockError::BlobTransaction { index, family }),
        None => Ok(()),
    }
}

/// Checks that the body is the one of the header.
fn check_body(block: &Block, senders: &[Address], state: &mut WitnessState<'_>) -> Result<(), BlockError> {
    let (header, body) = (&block.header, &block.body);
    let ommers = proofs::calculate_ommers_root(&body.ommers);
    if ommers != header.ommers_hash {
        return Err(BlockError::ProofOfWorkField {
            field: "the list of ommers",
            expected: "empty",
        });
    }
    let transactions = proofs::calculate_transaction_root(&body.transactions);
    if transactions != header.transactions_root {
        // If it was a signature that was changed, it most likely still recovers, to nobody.
        let unknown = (0..)
            .zip(senders)
            .find(|&(_, &s)| state.has_account(s) != Some(true));
        return Err(match unknown {
            Some((index, &sender)) => BlockError::BadSignature {
                index,
                reason: SignatureFault::UnknownSender { sender },
            },
            None => BlockError::TransactionsRoot {
                actual: transactions,
                expected: header.transactions_root,
            },
        });
    }
    match (&body.withdrawals, header.withdrawals_root) {
        (None, None) => Ok(()),
        (Some(withdrawals), Some(expected)) => {
            let actual = proofs::calculate_withdrawals_root(withdrawals);
            if actual == expected {
                Ok(())
            } else {
                Err(BlockError::WithdrawalsRoot { actual, expected })
            }
        }
        (withdrawals, root) => Err(BlockError::WithdrawalsPresence {
            actual: if withdrawals.is_some() { "a list of" } else { "no" },
            header: root.is_some(),
        }),
    }
}

/// The results of an execution, without the state.
struct Results {
    gas_used: u64,
    receipts_root: B256,
    logs_bloom: Bloom,
    /// The hash of the requests, from Prague on.
    requests_hash: Option<B256>,
}

fn check_results(header: &Header, results: &Results) -> Result<(), BlockError> {
    if results.gas_used != header.gas_used {
        return Err(BlockError::GasUsed {
            actual: results.gas_used,
            expected: header.gas_used,
        });
    }
    if results.receipts_root != header.receipts_root {
        return Err(BlockError::ReceiptsRoot {
            actual: results.receipts_root,
            expected: header.receipts_root,
        });
    }
    if results.logs_bloom != header.logs_bloom {
        return Err(BlockError::LogsBloom);
    }
    if results.requests_hash != header.requests_hash {
        return Err(BlockError::RequestsHash {
            actual: results.requests_hash.unwrap_or_default(),
            expected: header.requests_hash.unwrap_or_default(),
        });
    }
    Ok(())
}
