//! Validation of a block: all checks of a stateless client, in an order in which each fault is
//! named for what it is.
//!
//! 1. the block is RLP, and of a fork that is known;
//! 2. the header by itself and after its parent;
//! 3. signatures, before the transactions root: a broken signature is reported as one;
//! 4. the body against the header: transactions, withdrawals, blob gas;
//! 5. execution on the witness: what it lacks is reported before anything that follows from it;
//! 6. the results against the header: gas, receipts, bloom, requests, and the state root last.

mod receipts;
mod run;

use alloc::{string::ToString, vec::Vec};
use alloy_consensus::{
    Header, Transaction as _, crypto::SECP256K1N_HALF, proofs, transaction::SignerRecoverable,
};
use alloy_primitives::{Address, B256, Bloom, keccak256};
use alloy_rlp::Decodable;

use crate::{
    Block, BlockError, ChainConfig, Parent, StatelessInput, Transaction,
    error::SignatureFault,
    header::{Ancestors, PARENT_CHECKS, check_blob_gas, check_child, check_header},
    input::encode_chain,
    state::WitnessState,
};

/// What is true of a valid block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub chain_id: u64,
    pub number: u64,
    pub block_hash: B256,
    pub parent_state_root: B256,
    pub state_root: B256,
    /// Gas used by the whole block.
    pub gas_used: u64,
    /// Number of transactions.
    pub transactions: usize,
    /// Names of the checks that could not be made, because the parent's header is not known.
    pub skipped: Vec<&'static str>,
    /// What the guest reveals: see [`public_values`].
    pub public_values: B256,
}

/// Which parts of a witness a block needs, in the order of the [`StatelessInput`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessUse {
    pub state: Vec<bool>,
    pub codes: Vec<bool>,
}

/// Validates a block.
///
/// # Errors
/// The first fault that is found. A valid block whose witness is not complete is refused too.
pub fn validate(input: &StatelessInput) -> Result<Outcome, BlockError> {
    validate_recording(input).map(|(outcome, _)| outcome)
}

/// Validates a block, and says what of the witness it needed.
///
/// # Errors
/// As [`validate`].
pub fn validate_recording(input: &StatelessInput) -> Result<(Outcome, WitnessUse), BlockError> {
    let chain = &input.chain;
    check_chain(chain)?;
    let block: Block = decode("block", &input.block)?;
    let header = &block.header;
    let fork = chain.fork_at(header.number, header.timestamp)?;

    check_header(header, fork)?;
    let parent_state_root = match &input.parent {
        Parent::StateRoot(root) => *root,
        Parent::Header(bytes) => {
            let parent: Header = decode("parent header", bytes)?;
            check_child(header, &parent, parent.hash_slow(), chain, fork)?;
            parent.state_root
        }
    };
    let parent_header = match &input.parent {
        Parent::Header(bytes) => Some(bytes),
        Parent::StateRoot(_) => None,
    };
    let ancestors = Ancestors::new(header, parent_header, &input.headers);
    let mut state = WitnessState::new(parent_state_root, &input.state, &input.codes, ancestors);

    let senders = recover_senders(&block.body.transactions)?;
    check_body(&block, &senders, &mut state)?;
    let blobs = block
        .body
        .transactions
        .iter()
        .filter_map(|tx| tx.blob_versioned_hashes());
    check_blob_gas(header, blobs.map(|hashes| hashes.len() as u64).sum(), chain, fork)?;

    let results = run::run(&block, &senders, chain, fork, &mut state)?;
    check_results(header, &results)?;
    let state_root = state.root()?;
    if state_root != header.state_root {
        return Err(BlockError::StateRoot {
            actual: state_root,
            expected: header.state_root,
        });
    }

    let block_hash = header.hash_slow();
    let skipped: &[_] = if parent_header.is_some() {
        &[]
    } else {
        &PARENT_CHECKS
    };
    let outcome = Outcome {
        chain_id: chain.chain_id,
        number: header.number,
        block_hash,
        parent_state_root,
        state_root,
        gas_used: header.gas_used,
        transactions: block.body.transactions.len(),
        skipped: skipped.to_vec(),
        public_values: public_values(chain, parent_state_root, state_root, block_hash, skipped),
    };
    let (state, codes) = state.used();
    Ok((outcome, WitnessUse { state, codes }))
}

/// The 32 bytes that stand for the statement "this block is valid":
///
/// ```text
/// keccak256( chain id (8 bytes, big endian) ‖ parent state root ‖ state root ‖ block hash
///            [ ‖ keccak256(chain configuration), where the chain is not built in ]
///            [ ‖ 0x01, where the checks that need the parent's header were skipped ] )
/// ```
///
/// A chain that is not built in is part of the input, so that its rules have to be part of the
/// statement; and a block of which less was checked must not look like any other. The four forms
/// have different lengths (104, 105, 136, 137 bytes), and none can be taken for another one.
/// The configuration is hashed as it stands in the input's encoding (see [`crate::input`]), from
/// after the chain id on.
pub fn public_values(
    chain: &ChainConfig,
    parent_state_root: B256,
    state_root: B256,
    block_hash: B256,
    skipped: &[&str],
) -> B256 {
    let mut statement = Vec::with_capacity(8 + 4 * 32 + 1);
    statement.extend_from_slice(&chain.chain_id.to_be_bytes());
    for hash in [parent_state_root, state_root, block_hash] {
        statement.extend_from_slice(hash.as_slice());
    }
    if !chain.is_builtin() {
        statement.extend_from_slice(keccak256(encode_chain(chain)).as_slice());
    }
    if !skipped.is_empty() {
        statement.push(1);
    }
    keccak256(statement)
}

fn check_chain(chain: &ChainConfig) -> Result<(), BlockError> {
    let divides = |blobs: crate::BlobParams| blobs.update_fraction != 0;
    if divides(chain.cancun_blobs) && divides(chain.prague_blobs) {
        return Ok(());
    }
    let reason = "the update fraction of the blob base fee is 0";
    Err(crate::InputError::ChainConfig { reason }.into())
}

fn decode<T: Decodable>(what: &'static str, mut bytes: &[u8]) -> Result<T, BlockError> {
    let malformed = |error: alloy_rlp::Error| BlockError::MalformedRlp {
        what,
        reason: error.to_string(),
    };
    let value = T::decode(&mut bytes).map_err(malformed)?;
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

/// What execution gives, other than the state.
struct Results {
    gas_used: u64,
    receipts_root: B256,
    logs_bloom: Bloom,
    /// From Prague on.
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
