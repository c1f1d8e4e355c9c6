//! Imports a block from a node, over JSON-RPC: `myriad block import`.
//!
//! It takes a node that serves `debug_executionWitness`: geth, reth, Nethermind or Besu with the
//! `debug` namespace. The block itself comes as RLP (`debug_getRawBlock`), or as JSON where the
//! node has no such method, and is then built again and compared with its hash.
//!
//! The node's answers are compared with each other as they come, so that a chain that reorganises
//! between two calls is noticed. A block that cannot be proven is refused before the witness is
//! fetched. At the end the block is executed, so that every file that is written can be proven.
//!
//! Consecutive blocks become one file ([`import_range`]), with one witness and executed as a batch.

mod error;
mod json_block;
mod range;
mod rpc;
#[cfg(test)]
mod tests;

use std::{fmt, iter, str::FromStr, time::Duration};

use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use serde_json::{Value, json, value::RawValue};

use super::{
    BlockFile, BlockFileError, Witness,
    block_file::{RawWitness, chain_config, quantity},
    chain_config::from_geth,
    transaction_type::UnsupportedType,
    unsupported_chain::UnsupportedChain,
};
use crate::{
    BlockError, ChainConfig, Parent, WitnessUse, error::WitnessError, header::check_header,
    input::HEADERS_MAX, validate_recording,
};
pub use error::{BlockIdError, BlocksError, ImportError};
use json_block::{JsonBlock, JsonHeader};
pub use range::{Blocks, import_range};
use rpc::{INVALID_PARAMS, Node};

/// The block to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockId {
    /// The block of a number.
    Number(u64),
    /// The block of a hash.
    Hash(B256),
    /// The newest that the node has.
    Latest,
    /// The newest that is safe from reorganisations, as far as the consensus layer says.
    Safe,
    /// The newest that is final.
    Finalized,
}

impl FromStr for BlockId {
    type Err = BlockIdError;

    /// A decimal number, one in hex with `0x`, a hash with `0x`, or `latest`, `safe`, `finalized`.
    fn from_str(text: &str) -> Result<Self, BlockIdError> {
        Ok(match text {
            "latest" => Self::Latest,
            "safe" => Self::Safe,
            "finalized" => Self::Finalized,
            _ => match text.strip_prefix("0x") {
                Some(digits) if digits.len() == 64 => Self::Hash(text.parse().map_err(|_| BlockIdError)?),
                Some(digits) => Self::Number(u64::from_str_radix(digits, 16).map_err(|_| BlockIdError)?),
                None => Self::Number(text.parse().map_err(|_| BlockIdError)?),
            },
        })
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Hash(hash) => write!(f, "{hash:#x}"),
            Self::Latest => f.write_str("latest"),
            Self::Safe => f.write_str("safe"),
            Self::Finalized => f.write_str("finalized"),
        }
    }
}

impl BlockId {
    fn param(self) -> Value {
        match self {
            Self::Number(number) => json!(format!("{number:#x}")),
            Self::Hash(hash) => json!(hash),
            tag => json!(tag.to_string()),
        }
    }
}

/// The options of an import.
#[derive(Clone)]
pub struct ImportOptions {
    /// Most time that the node has for each answer. A node that no longer has a block's state at
    /// hand computes it anew for the witness, which takes minutes.
    pub timeout: Duration,
    /// Geth's genesis `config` object for a chain that is not built in; without it, the node is
    /// asked.
    pub chain_config: Option<Value>,
    /// Headers of HTTP for each request, `Name: value`: most hosted nodes ask for a key. Never
    /// shown.
    pub headers: Vec<String>,
    /// The retries where the node is overloaded (HTTP status 429 or 5xx), or the connection breaks.
    pub retries: Retries,
}

/// The tries of a call, and the pauses in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// The number of tries in all.
    pub tries: u32,
    /// The first pause; each one after it is twice as long. A node may ask for longer ones, up to a
    /// minute.
    pub first_pause: Duration,
}

impl Retries {
    /// The pauses, one fewer than there are tries.
    fn pauses(self) -> impl Iterator<Item = Duration> {
        iter::successors(Some(self.first_pause), |pause| Some(pause.saturating_mul(2)))
            .take(self.tries.saturating_sub(1) as usize)
    }
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            chain_config: None,
            headers: Vec::new(),
            // 15 s in all: time for a node to start again, or for a limit per second or ten seconds
            // to pass.
            retries: Retries {
                tries: 5,
                first_pause: Duration::from_secs(1),
            },
        }
    }
}

/// Fetches a block, its parent's header and its witness from the node at `url` (http or https), and
/// executes it.
///
/// # Errors
/// See [`ImportError`].
pub fn import(url: &str, id: BlockId, options: &ImportOptions) -> Result<BlockFile, ImportError> {
    let node = Node::new(url, options)?;
    let chain_id = chain_id(&node)?;
    check_chain(chain_id, options)?;
    let (mut file, header) = without_witness(&node, chain_id, &mut options.chain_config.clone(), id)?;
    add_witness(&node, &mut file, &header, id, None)?;
    Ok(file)
}

/// A block without its witness, and its header; all is checked that can be without. The chain's
/// configuration is asked for where it is needed and not there.
fn without_witness(
    node: &Node,
    chain_id: u64,
    chain_config: &mut Option<Value>,
    id: BlockId,
) -> Result<(BlockFile, Header), ImportError> {
    let mut file = BlockFile {
        chain_id,
        block: block(node, id)?,
        later: Vec::new(),
        parent: Parent::StateRoot(B256::ZERO),
        witness: Witness::default(),
        chain_config: None,
        synthetic: false,
        description: None,
    };
    let header = match file.decode_block() {
        Ok(block) => block.header,
        Err(BlockFileError::TransactionType(source)) => return Err(unsupported(id, source)),
        Err(error) => return Err(malformed("debug_getRawBlock", &error)),
    };
    let number = header.number;
    match id {
        BlockId::Number(wanted) if wanted != number => {
            return Err(ImportError::OtherBlock {
                wanted,
                given: number,
            });
        }
        BlockId::Hash(wanted) if wanted != header.hash_slow() => {
            return Err(ImportError::OtherHash {
                wanted,
                given: header.hash_slow(),
            });
        }
        _ => {}
    }
    if number == 0 {
        return Err(ImportError::Genesis);
    }
    // All that can be known of the block without its witness, which can take minutes to make.
    if ChainConfig::builtin(chain_id).is_none() {
        if chain_config.is_none() {
            *chain_config = Some(own_chain(node, chain_id)?);
        }
        file.chain_config.clone_from(chain_config);
    }
    let unusable = |source| ImportError::Unusable {
        number,
        source: Box::new(source),
    };
    file.check_block().map_err(unusable)?;
    let chain = file.chain().map_err(unusable)?;
    let fork = chain
        .fork_at(number, header.timestamp)
        .map_err(|source| ImportError::Fork { number, source })?;
    // The fields say which fork a block is of, also where the chain's configuration does not know
    // of it.
    check_header(&header, fork).map_err(|source| ImportError::Invalid {
        number,
        chain_id,
        source,
    })?;
    Ok((file, header))
}

/// Fetches the witness of a block and, where it is not known, its parent's header; executes the
/// block, and says what of the witness it needs.
fn add_witness(
    node: &Node,
    file: &mut BlockFile,
    header: &Header,
    id: BlockId,
    known_parent: Option<Bytes>,
) -> Result<WitnessUse, ImportError> {
    let number = header.number;
    // The block goes by its number from here on, so that `latest` does not move on between two
    // calls.
    file.witness = witness(node, id, number)?;
    let parent = match known_parent {
        Some(parent) => parent,
        None => parent(node, &file.witness, header)?,
    };
    let parent_header: Header = alloy_rlp::decode_exact(&parent).map_err(|error| ImportError::Malformed {
        method: "debug_getRawHeader",
        detail: error.to_string(),
    })?;
    let state_root = parent_header.state_root;
    let is_root = |node: &Bytes| keccak256(node) == state_root;
    if state_root != EMPTY_ROOT_HASH && !file.witness.state.iter().any(is_root) {
        return Err(ImportError::OtherWitness { state_root });
    }
    file.parent = Parent::Header(parent);
    complete(node, file, number)
}

/// Executes the block, and fetches the headers that BLOCKHASH turns out to need and the witness
/// does not have.
fn complete(node: &Node, file: &mut BlockFile, number: u64) -> Result<WitnessUse, ImportError> {
    let chain_id = file.chain_id;
    let mut has_asked = false;
    loop {
        let input = file.to_input().map_err(|source| ImportError::Unusable {
            number,
            source: Box::new(source),
        })?;
        let (wanted, missing) = match validate_recording(&input) {
            Ok((_, used)) => return Ok(used),
            Err(BlockError::Witness(WitnessError::MissingHeader { number, missing }))
                if file.witness.headers.len() < HEADERS_MAX =>
            {
                (number, missing)
            }
            Err(BlockError::Witness(source)) => return Err(ImportError::Incomplete { number, source }),
            Err(source) => {
                return Err(ImportError::Invalid {
                    number,
                    chain_id,
                    source,
                });
            }
        };
        // A block that asks twice may ask 256 times: then all that there can be.
        let oldest = match has_asked {
            false => wanted + 1,
            true => number.saturating_sub(HEADERS_MAX as u64).max(1),
        };
        has_asked = true;
        for ancestor in (oldest..=missing).rev() {
            if file.witness.headers.len() == HEADERS_MAX {
                break;
            }
            let header = header(node, BlockId::Number(ancestor))?;
            file.witness.headers.push(header);
        }
    }
}

/// Refuses what can be refused before a block is asked for.
fn check_chain(chain_id: u64, options: &ImportOptions) -> Result<(), ImportError> {
    UnsupportedChain::check(chain_id)?;
    match &options.chain_config {
        Some(config) if ChainConfig::builtin(chain_id).is_none() => {
            from_geth(config, chain_id)?;
        }
        _ => {}
    }
    Ok(())
}

fn unsupported(id: BlockId, source: UnsupportedType) -> ImportError {
    ImportError::TransactionType {
        number: id.to_string(),
        source,
    }
}

/// The block as RLP.
fn block(node: &Node, id: BlockId) -> Result<Bytes, ImportError> {
    match raw(node, "debug_getRawBlock", "block", id) {
        Err(error) if is_no_answer(&error, id) => match json::<JsonBlock>(node, "block", id, true) {
            Ok((method, block)) => block.encode(method, id),
            // The first refusal says more.
            Err(ImportError::MethodNotFound { .. }) => Err(error),
            Err(error) => Err(error),
        },
        other => other,
    }
}

/// Whether a node without an answer may still have the block: it does not have the method, or knows
/// blocks by their numbers alone there. Besu refuses a hash, and older versions of Nethermind say
/// that there is no block `latest`.
fn is_no_answer(error: &ImportError, id: BlockId) -> bool {
    match error {
        ImportError::MethodNotFound { .. } => true,
        ImportError::NotFound { .. }
        | ImportError::Rpc {
            code: INVALID_PARAMS, ..
        } => !matches!(id, BlockId::Number(_)),
        _ => false,
    }
}

/// A header as RLP.
fn header(node: &Node, id: BlockId) -> Result<Bytes, ImportError> {
    let raw_header = match id {
        // Not every node takes a hash here.
        BlockId::Hash(_) => None,
        id => match raw(node, "debug_getRawHeader", "header", id) {
            Err(ImportError::MethodNotFound { .. }) => None,
            other => Some(other?),
        },
    };
    match raw_header {
        Some(header) => Ok(header),
        None => json::<JsonHeader>(node, "header", id, false)?.1.encode(),
    }
}

/// The header of a block's parent: from the witness, or else from the node.
fn parent(node: &Node, witness: &Witness, child: &Header) -> Result<Bytes, ImportError> {
    let named = child.parent_hash;
    let is_parent = |header: &&Bytes| keccak256(header) == named;
    let parent = match witness.headers.iter().find(is_parent) {
        Some(parent) => parent.clone(),
        None => header(node, BlockId::Number(child.number.saturating_sub(1)))?,
    };
    match keccak256(&parent) {
        given if given != named => Err(ImportError::OtherParent {
            number: child.number,
            given,
            named,
        }),
        _ => Ok(parent),
    }
}

/// Asks for a block as JSON, which each node serves, with its transactions if they are `full`.
fn json<T: serde::de::DeserializeOwned>(
    node: &Node,
    what: &'static str,
    id: BlockId,
    full: bool,
) -> Result<(&'static str, T), ImportError> {
    let method = match id {
        BlockId::Hash(_) => "eth_getBlockByHash",
        _ => "eth_getBlockByNumber",
    };
    let block = node.call(method, &json!([id.param(), full]))?;
    let block = block.ok_or_else(|| ImportError::NotFound {
        what,
        block: id.to_string(),
    })?;
    Ok((method, block))
}

fn chain_id(node: &Node) -> Result<u64, ImportError> {
    const METHOD: &str = "eth_chainId";
    let answer: Option<Box<RawValue>> = node.call(METHOD, &json!([]))?;
    let answer = answer.ok_or_else(|| ImportError::Malformed {
        method: METHOD,
        detail: "it is null".to_owned(),
    })?;
    quantity("chainId", &answer).map_err(|error| malformed(METHOD, &error))
}

/// A method that gives RLP in hex.
fn raw(node: &Node, method: &'static str, what: &'static str, id: BlockId) -> Result<Bytes, ImportError> {
    let missing = || ImportError::NotFound {
        what,
        block: id.to_string(),
    };
    match node.call(method, &json!([id.param()])) {
        Ok(answer) => answer.ok_or_else(missing),
        Err(ImportError::Rpc { message, .. }) if is_of_missing_block(&message) => Err(missing()),
        Err(error) => Err(error),
    }
}

/// Whether a node says that it does not have the block. Each has its own words: geth, reth and Besu
/// `block not found`, Nethermind `Unable to find block` where it is asked for a witness.
fn is_of_missing_block(message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    ["not found", "unable to find", "unknown block"]
        .iter()
        .any(|words| text.contains(words))
}

/// The witness of a block, by its number, which is the one way that all nodes know. A block that
/// was asked for by its hash need not be part of the chain. So its witness is asked for by its hash
/// where the node can: reth and older versions of geth have a name each for it, and in Nethermind,
/// Besu and newer versions of geth one method takes both.
fn witness(node: &Node, id: BlockId, number: u64) -> Result<Witness, ImportError> {
    const METHOD: &str = "debug_executionWitness";
    const BY_HASH: [&str; 3] = [
        "debug_executionWitnessByBlockHash",
        "debug_executionWitnessByHash",
        METHOD,
    ];
    if let BlockId::Hash(_) = id {
        for method in BY_HASH {
            match witness_by(node, method, id) {
                Err(
                    ImportError::MethodNotFound { .. }
                    | ImportError::Rpc {
                        code: INVALID_PARAMS, ..
                    },
                ) => {}
                other => return other,
            }
        }
    }
    witness_by(node, METHOD, BlockId::Number(number))
}

fn witness_by(node: &Node, method: &'static str, id: BlockId) -> Result<Witness, ImportError> {
    let missing = || ImportError::NotFound {
        what: "witness",
        block: id.to_string(),
    };
    let answer: RawWitness = match node.call(method, &json!([id.param()])) {
        Ok(answer) => answer.ok_or_else(missing)?,
        Err(ImportError::Rpc { message, .. }) if is_of_missing_block(&message) => return Err(missing()),
        Err(error) => return Err(error),
    };
    answer.check_answer().map_err(|error| malformed(method, &error))
}

/// Geth's `config` object of a chain that is not built in, from the node.
fn own_chain(node: &Node, chain_id: u64) -> Result<Value, ImportError> {
    const METHOD: &str = "debug_chainConfig";
    let unknown = |reason| ImportError::UnknownChain {
        chain_id,
        reason: Box::new(reason),
    };
    let answer: Option<Box<RawValue>> = node.call(METHOD, &json!([])).map_err(unknown)?;
    let answer = answer.ok_or_else(|| {
        unknown(ImportError::Malformed {
            method: METHOD,
            detail: "it is null".to_owned(),
        })
    })?;
    let config = chain_config(&answer).map_err(|error| malformed(METHOD, &error))?;
    from_geth(&config, chain_id)?;
    Ok(config)
}

/// A fault in an answer, told without speaking of a file.
fn malformed(method: &'static str, error: &BlockFileError) -> ImportError {
    let detail = match error {
        BlockFileError::BadField { field, detail } => format!("`{field}`: {detail}"),
        BlockFileError::MissingField { field } => format!("it has no `{field}`"),
        other => other.to_string(),
    };
    ImportError::Malformed { method, detail }
}
