//! A block from a node, over JSON-RPC: `myriad block import`.
//!
//! It takes a node that serves `debug_executionWitness` and `debug_getRawBlock`, such as geth or reth
//! with the `debug` namespace. What the node says is held together where that is cheap (block, parent
//! and witness have to fit), so that a chain that reorganises between two calls is noticed here;
//! whether it is *true*, `validate` finds out.

mod error;
mod rpc;
#[cfg(test)]
mod tests;

use std::{fmt, num::ParseIntError, str::FromStr, time::Duration};

use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use serde_json::{Value, json, value::RawValue};

use super::{
    BlockFile, BlockFileError, Witness,
    block_file::{RawWitness, chain_config, quantity},
    chain_config::from_geth,
};
use crate::{ChainConfig, Parent};
pub use error::ImportError;
use rpc::Node;

/// Which block to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockId {
    /// By its number.
    Number(u64),
    /// The newest that the node has.
    Latest,
    /// The newest that is safe from reorganisations, as far as the consensus layer says.
    Safe,
    /// The newest that is final.
    Finalized,
}

impl FromStr for BlockId {
    type Err = ParseIntError;

    /// A decimal number, one in hex with `0x`, or `latest`, `safe`, `finalized`.
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        Ok(match text {
            "latest" => Self::Latest,
            "safe" => Self::Safe,
            "finalized" => Self::Finalized,
            _ => Self::Number(match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16)?,
                None => text.parse()?,
            }),
        })
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
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
            tag => json!(tag.to_string()),
        }
    }
}

/// What an import does beside the obvious.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Most time that the node has for each answer. A node that no longer has a block's state at hand
    /// computes it anew for the witness, which takes minutes.
    pub timeout: Duration,
    /// Geth's genesis `config` object for a chain that is not built in; without it, the node is asked.
    pub chain_config: Option<Value>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            chain_config: None,
        }
    }
}

/// Fetches a block, its parent's header and its witness from the node at `url` (http or https).
///
/// # Errors
/// See [`ImportError`].
pub fn import(url: &str, id: BlockId, options: &ImportOptions) -> Result<BlockFile, ImportError> {
    let node = Node::new(url, options.timeout)?;
    let chain_id = chain_id(&node)?;
    let block = raw(&node, "debug_getRawBlock", "block", id)?;
    let mut file = BlockFile {
        chain_id,
        block,
        parent: Parent::StateRoot(B256::ZERO),
        witness: Witness::default(),
        chain_config: None,
        synthetic: false,
        description: None,
    };
    let header = file
        .decode_block()
        .map_err(|error| malformed("debug_getRawBlock", &error))?
        .header;
    let number = header.number;
    if let BlockId::Number(asked) = id
        && asked != number
    {
        return Err(ImportError::OtherBlock { asked, given: number });
    }
    let before = number.checked_sub(1).ok_or(ImportError::Genesis)?;

    // From here on by number, so that `latest` does not move on between two calls.
    file.witness = witness(&node, BlockId::Number(number))?;
    let named = header.parent_hash;
    let is_parent = |header: &&Bytes| keccak256(header) == named;
    let parent = match file.witness.headers.iter().find(is_parent) {
        Some(parent) => parent.clone(),
        None => raw(&node, "debug_getRawHeader", "header", BlockId::Number(before))?,
    };
    let given = keccak256(&parent);
    if given != named {
        return Err(ImportError::OtherParent { number, given, named });
    }
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
    if ChainConfig::builtin(chain_id).is_none() {
        file.chain_config = Some(own_chain(&node, chain_id, options)?);
    }
    Ok(file)
}

fn chain_id(node: &Node) -> Result<u64, ImportError> {
    const METHOD: &str = "eth_chainId";
    let answer: Option<Box<RawValue>> = node.call(METHOD, json!([]))?;
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
    match node.call(method, json!([id.param()])) {
        Ok(answer) => answer.ok_or_else(missing),
        // Geth's way to say so.
        Err(ImportError::Rpc { message, .. }) if message.contains("not found") => Err(missing()),
        Err(error) => Err(error),
    }
}

fn witness(node: &Node, id: BlockId) -> Result<Witness, ImportError> {
    const METHOD: &str = "debug_executionWitness";
    let answer: Option<RawWitness> = node.call(METHOD, json!([id.param()]))?;
    let answer = answer.ok_or_else(|| ImportError::NotFound {
        what: "witness",
        block: id.to_string(),
    })?;
    answer.check().map_err(|error| malformed(METHOD, &error))
}

/// Geth's `config` object of a chain that is not built in, from the user or else from the node.
fn own_chain(node: &Node, chain_id: u64, options: &ImportOptions) -> Result<Value, ImportError> {
    const METHOD: &str = "debug_chainConfig";
    let config = match &options.chain_config {
        Some(config) => config.clone(),
        None => {
            let unknown = |reason| ImportError::UnknownChain {
                chain_id,
                reason: Box::new(reason),
            };
            let answer: Option<Box<RawValue>> = node.call(METHOD, json!([])).map_err(unknown)?;
            let answer = answer.ok_or_else(|| {
                unknown(ImportError::Malformed {
                    method: METHOD,
                    detail: "it is null".to_owned(),
                })
            })?;
            chain_config(&answer).map_err(|error| malformed(METHOD, &error))?
        }
    };
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
