//! The errors of importing a block.

use alloy_primitives::B256;

use crate::{
    BlockError,
    error::WitnessError,
    host::{
        batch::BatchError, block_file::BlockFileError, chain_config::ChainConfigError,
        transaction_type::UnsupportedType, unsupported_chain::UnsupportedChain,
    },
    input::{BLOCKS_MAX, INPUT_BYTES_MAX},
};

/// Each variant is one thing that can go wrong with a node; its text says what to do about it.
/// Addresses of nodes are shown without path and password, which may hold a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The address is none.
    #[error("`{url}` is no address of a node: {detail}; write http://HOST:PORT or https://HOST/...")]
    Url {
        /// The address as given.
        url: String,
        /// The fault of the URL.
        detail: String,
    },
    /// A header that the user adds is none.
    #[error("the header {name} cannot be sent: {detail}")]
    Header {
        /// Its name, where it has one. Its value may be a key.
        name: String,
        /// The fault of the header.
        detail: &'static str,
    },
    /// Nobody answers there.
    #[error("cannot connect to {node}: {detail}; is the node running, with its HTTP server enabled?")]
    Connect {
        /// The node.
        node: String,
        /// The error of the operating system or of TLS.
        detail: String,
    },
    /// The connection broke.
    #[error("the connection to {node} broke during {method}: {detail}")]
    Connection {
        /// The node.
        node: String,
        /// The RPC method.
        method: &'static str,
        /// The error.
        detail: String,
    },
    /// No answer, or not all of it, in time.
    #[error(
        "{node} did not answer {method} within {seconds} s; a witness of an old block can take long: \
         allow more time, or take a newer block"
    )]
    Timeout {
        /// The node.
        node: String,
        /// The RPC method.
        method: &'static str,
        /// The limit that was set.
        seconds: u64,
    },
    /// An HTTP status that is no success, and no JSON-RPC error with it.
    #[error("{node} answered {method} with HTTP status {status}: {body}")]
    HttpStatus {
        /// The node.
        node: String,
        /// The RPC method.
        method: &'static str,
        /// The status code.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The answer is longer than we read.
    #[error(
        "the answer to {method} has at least {bytes} bytes, and {bytes_max} are read: a node that gives lists has \
         shorter answers than one that gives nodes by their hashes"
    )]
    TooLarge {
        /// The RPC method.
        method: &'static str,
        /// The length that the node says, or else what was read until it was too much.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The node does not have the method.
    #[error(
        "{node} does not serve {method} ({message}); enable the `debug` namespace (geth and reth: \
         --http --http.api eth,debug; Nethermind: --JsonRpc.EnabledModules Eth,Debug; Besu: \
         --rpc-http-api=ETH,DEBUG), or use a node that has the method"
    )]
    MethodNotFound {
        /// The node.
        node: String,
        /// The RPC method.
        method: &'static str,
        /// The node's message.
        message: String,
    },
    /// The node has the method, and reports an error.
    #[error("{node} refused {method}: {message} (code {code})")]
    Rpc {
        /// The node.
        node: String,
        /// The RPC method.
        method: &'static str,
        /// JSON-RPC's error code.
        code: i64,
        /// The node's message.
        message: String,
    },
    /// The method returns something else than this answer.
    #[error("the answer to {method} is not understood: {detail}")]
    Malformed {
        /// The RPC method.
        method: &'static str,
        /// The fault of the answer.
        detail: String,
    },
    /// The node does not know the block, or no longer has the state for its witness.
    #[error("the node has no {what} for block {block}; is it synced, and does it keep state that old?")]
    NotFound {
        /// `block`, `header` or `witness`.
        what: &'static str,
        /// The block as asked for.
        block: String,
    },
    /// The genesis block is not executed.
    #[error("block 0 is the genesis: nothing is executed in it, so there is nothing to prove")]
    Genesis,
    /// The block has another hash than asked for.
    #[error("the node was asked for block {wanted} and gave one whose header has the hash {given}")]
    OtherHash {
        /// The hash asked for.
        wanted: B256,
        /// The hash of the header that came.
        given: B256,
    },
    /// A block or header that came as JSON is another than the node says.
    #[error(
        "the node says that block {number} has the {what} {named}, and what it gave of it has {given}: it may have fields that \
         are not known here"
    )]
    OtherContent {
        /// The block's number.
        number: u64,
        /// `hash` or `transactions root`.
        what: &'static str,
        /// The hash that the node says.
        named: B256,
        /// The hash that was computed.
        given: B256,
    },
    /// A transaction is of a type that is not supported.
    #[error("block {number} cannot be proven: {source}")]
    TransactionType {
        /// The block's number, or how it was asked for.
        number: String,
        /// The transaction.
        source: UnsupportedType,
    },
    /// The block's rules are not supported.
    #[error("block {number} cannot be proven: {source}")]
    Fork {
        /// The block's number.
        number: u64,
        /// The rules that are not supported.
        source: BlockError,
    },
    /// The witness lacks something.
    #[error(
        "the node's witness for block {number} does not suffice, and nothing was written: {source}. Another version of the \
         node, or another node, may give all of it"
    )]
    Incomplete {
        /// The block's number.
        number: u64,
        /// The missing part, and its account.
        source: WitnessError,
    },
    /// The block is not valid by the rules that are known here.
    #[error(
        "block {number} is not valid by the rules of chain {chain_id}, and nothing was written: {source}. If the block is \
         genuine, the chain has other rules"
    )]
    Invalid {
        /// The block's number.
        number: u64,
        /// The node's chain id.
        chain_id: u64,
        /// The fault of the block.
        source: BlockError,
    },
    /// The block is none that a block file may hold.
    #[error("block {number} cannot be proven: {source}")]
    Unusable {
        /// The block's number.
        number: u64,
        /// Why.
        source: Box<BlockFileError>,
    },
    /// The node gave another block than asked for.
    #[error("the node was asked for block {wanted} and gave block {given}")]
    OtherBlock {
        /// The number asked for.
        wanted: u64,
        /// The number in the block.
        given: u64,
    },
    /// The parent that the node gives is not the block's.
    #[error(
        "the node's block before {number} has the hash {given}, the block names {named}; did the \
         chain reorganise just now? Try again"
    )]
    OtherParent {
        /// The block's number.
        number: u64,
        /// Hash of the header that the node gave.
        given: B256,
        /// The block's parent hash.
        named: B256,
    },
    /// The witness is of another state.
    #[error(
        "the node's witness does not begin at the parent's state: no node in it has the hash \
         {state_root}; did the chain reorganise just now? Try again"
    )]
    OtherWitness {
        /// The parent's state root.
        state_root: B256,
    },
    /// The numbers are no range of blocks that can be one file.
    #[error("cannot import these blocks: {0}")]
    Range(#[from] BlocksError),
    /// One of several consecutive blocks cannot be imported.
    #[error("block {number}, of {first} to {last}: {source}")]
    InRange {
        /// The block's number.
        number: u64,
        /// The first block asked for.
        first: u64,
        /// The last one.
        last: u64,
        /// The fault, which is never this variant itself.
        source: Box<Self>,
    },
    /// Consecutive blocks have more than fits into one batch.
    #[error(
        "the blocks up to this one {what} {actual} bytes together, and a batch may have {INPUT_BYTES_MAX}: import fewer at once"
    )]
    RangeTooLarge {
        /// The verb of the message: `have` or `read`.
        what: &'static str,
        /// The number of bytes.
        actual: usize,
    },
    /// The blocks hold one by one, and are no batch.
    #[error("the blocks {first} to {last} are no batch, and nothing was written: {source}")]
    Batch {
        /// The first block asked for.
        first: u64,
        /// The last one.
        last: u64,
        /// Why.
        source: Box<BatchError>,
    },
    /// The chain's rules are known not to be supported.
    #[error(transparent)]
    UnsupportedChain(#[from] UnsupportedChain),
    /// The chain's rules are neither built in nor to be had from the node.
    #[error(
        "chain {chain_id} is not built in, and the node does not say its rules ({reason}); give the \
         `config` object of its geth genesis file"
    )]
    UnknownChain {
        /// The node's chain id.
        chain_id: u64,
        /// Why the node does not say.
        reason: Box<Self>,
    },
    /// The chain's rules are not usable.
    #[error("the chain configuration is wrong: {0}")]
    ChainConfig(#[from] ChainConfigError),
}

/// The text is no [`BlockId`](super::BlockId).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no number from 0 to 2^64 - 1, no hash of 32 bytes (0x and 64 digits), and not latest, safe or finalized"
)]
pub struct BlockIdError;

/// The text is no [`Blocks`](super::Blocks).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlocksError {
    /// The text is neither a block nor two of them.
    #[error(transparent)]
    Id(#[from] BlockIdError),
    /// One end is no number.
    #[error("both ends of A..B are numbers: a hash has none, and latest, safe and finalized move on")]
    NoNumber,
    /// The last block comes before the first one.
    #[error("block {last} comes before block {first}; in A..B both ends are included")]
    Backwards {
        /// The first one.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// More than a batch may have.
    #[error(
        "{first}..{last} are {count} blocks, and {BLOCKS_MAX} can be a batch: import them in several files"
    )]
    TooMany {
        /// The first one.
        first: u64,
        /// The last one.
        last: u64,
        /// The number of blocks.
        count: u128,
    },
}
