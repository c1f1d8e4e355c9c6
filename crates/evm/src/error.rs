//! The faults of a block, of its witness, and of the bytes that carry them.

use alloc::{boxed::Box, string::String};
use alloy_primitives::{Address, B256};

use crate::{Fork, trie::TrieError};

/// Why a block is refused. Each kind of fault has its own variant, which holds what was found and
/// what the rules ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the {what} is not valid RLP: {reason}")]
    MalformedRlp { what: &'static str, reason: String },
    #[error(
        "block {number} at time {timestamp} of chain {chain_id} is {era}, whose rules are not supported: \
         supported are blocks from number {first_number} on{}",
        until(*.end_timestamp)
    )]
    UnsupportedFork {
        chain_id: u64,
        number: u64,
        timestamp: u64,
        /// The era of its rules, in a few words.
        era: &'static str,
        first_number: u64,
        end_timestamp: Option<u64>,
    },

    #[error("the block has {actual} bytes of RLP, allowed are {max} (EIP-7934)")]
    BlockSize { actual: usize, max: usize },
    #[error("the parent's hash is {actual}, the block names {expected}")]
    ParentHash { actual: B256, expected: B256 },
    #[error("the block's number is {actual}, its parent's is {parent}")]
    Number { actual: u64, parent: u64 },
    #[error("the block's timestamp {actual} is not later than its parent's {parent}")]
    Timestamp { actual: u64, parent: u64 },
    #[error("gas limit {actual} is out of bounds: allowed are {min} to {max}")]
    GasLimit { actual: u64, min: u64, max: u64 },
    #[error("the header says {gas_used} gas used, its gas limit is {gas_limit}")]
    GasUsedOverLimit { gas_used: u64, gas_limit: u64 },
    #[error("the base fee per gas is {actual}, by the parent it has to be {expected}")]
    BaseFee { actual: u64, expected: u64 },
    #[error("the extra data has {actual} bytes, allowed are {max}")]
    ExtraData { actual: usize, max: usize },
    #[error("since the Merge {field} has to be {expected}, the block has another")]
    ProofOfWorkField {
        field: &'static str,
        expected: &'static str,
    },
    #[error("the header has no {field}, which {fork} asks for")]
    MissingField { field: &'static str, fork: Fork },
    #[error("the header has a {field}, which {fork} does not know{}", of_amsterdam(.field))]
    UnexpectedField { field: &'static str, fork: Fork },
    #[error("the header says {actual} blob gas used, its transactions use {expected}")]
    BlobGasUsed { actual: u64, expected: u64 },
    #[error("the transactions use {actual} blob gas, a block may use {max}")]
    BlobGasOverLimit { actual: u64, max: u64 },
    #[error("the excess blob gas is {actual}, by the parent it has to be {expected}")]
    ExcessBlobGas { actual: u64, expected: u64 },
    #[error("the body has {actual} withdrawals, and the header a withdrawals root: {header}")]
    WithdrawalsPresence { actual: &'static str, header: bool },

    #[error("bad signature: transaction {index}: {reason}")]
    BadSignature {
        /// Place in the block, from 0.
        index: usize,
        reason: SignatureFault,
    },
    #[error("transactions root mismatch: the transactions give {actual}, the header says {expected}")]
    TransactionsRoot { actual: B256, expected: B256 },
    #[error("withdrawals root mismatch: the withdrawals give {actual}, the header says {expected}")]
    WithdrawalsRoot { actual: B256, expected: B256 },
    #[error("transaction {index} carries blobs, which no transaction of {family} may")]
    BlobTransaction {
        /// Place in the block, from 0.
        index: usize,
        /// The family of chains whose rules hold.
        family: &'static str,
    },
    #[error("invalid transaction: transaction {index}: {reason}")]
    InvalidTransaction {
        /// Place in the block, from 0.
        index: usize,
        reason: String,
    },
    #[error("a system call failed: {reason}")]
    SystemCall { reason: String },
    #[error("transaction {index} has a log of the deposit contract with another layout than EIP-6110 allows")]
    DepositLayout {
        /// Place in the block, from 0.
        index: usize,
    },

    #[error("gas used mismatch: the transactions use {actual}, the header says {expected}")]
    GasUsed { actual: u64, expected: u64 },
    #[error("receipts root mismatch: the receipts give {actual}, the header says {expected}")]
    ReceiptsRoot { actual: B256, expected: B256 },
    #[error("logs bloom mismatch: the receipts' logs give another bloom filter than the header's")]
    LogsBloom,
    #[error("requests hash mismatch: the execution gives {actual}, the header says {expected}")]
    RequestsHash { actual: B256, expected: B256 },
    #[error("state root mismatch: the execution gives {actual}, the header says {expected}")]
    StateRoot { actual: B256, expected: B256 },

    #[error(transparent)]
    Witness(#[from] WitnessError),

    #[error("block {number} of the batch: {source}")]
    InBatch {
        number: u64,
        /// None that is this variant.
        source: Box<BlockError>,
    },
}

fn until(end: Option<u64>) -> String {
    end.map(|end| alloc::format!(" and before time {end}"))
        .unwrap_or_default()
}

/// The fields of a header that the first fork which is not supported adds.
pub(crate) const AMSTERDAM_FIELDS: [&str; 2] = ["block access list hash", "slot number"];

/// The fields that no supported fork knows are those of the first one after them.
fn of_amsterdam(field: &str) -> &'static str {
    if AMSTERDAM_FIELDS.contains(&field) {
        ": it is of Amsterdam, whose rules are not supported"
    } else {
        ""
    }
}

/// A fault of a transaction's signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    #[error("its s value is in the upper half of the curve's order (EIP-2)")]
    HighS,
    #[error("no public key can be recovered from it")]
    NotRecoverable,
    /// The transactions are not those of the header, and this one's signature points to nobody. The
    /// transaction or the signature has been changed.
    #[error(
        "it recovers to {sender}, which is no account of the pre-state, and the transactions are \
         not those that the header commits to"
    )]
    UnknownSender { sender: Address },
}

/// A fault of the witness: a part that it lacks, or has wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    #[error("{error}, on the way to {target}")]
    Trie {
        target: Box<TrieTarget>,
        error: TrieError,
    },
    #[error("missing code: the witness has no code with hash {hash}{}", of_account(.account))]
    MissingCode {
        hash: B256,
        /// An account that has this code.
        account: Option<Address>,
    },
    #[error("malformed code: the code with hash {hash} begins like a delegation (EIP-7702) but is none")]
    MalformedCode { hash: B256 },
    #[error("missing header: BLOCKHASH of block {number} needs the header of block {missing}")]
    MissingHeader { number: u64, missing: u64 },
    #[error("the account {address} is not valid in the state trie: {reason}")]
    MalformedAccount { address: Address, reason: String },
    #[error("slot {slot} of account {address} is not valid in the storage trie: {reason}")]
    MalformedSlot {
        address: Address,
        slot: B256,
        reason: String,
    },
}

/// The account or slot that was looked for, or written, in a trie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrieTarget {
    #[error("account {address}")]
    Account { address: Address },
    #[error("slot {slot} of account {address}")]
    Slot { address: Address, slot: B256 },
}

impl WitnessError {
    pub(crate) fn account(address: Address) -> impl Fn(TrieError) -> Self {
        move |error| Self::Trie {
            target: Box::new(TrieTarget::Account { address }),
            error,
        }
    }

    pub(crate) fn slot(address: Address, slot: B256) -> impl Fn(TrieError) -> Self {
        move |error| Self::Trie {
            target: Box::new(TrieTarget::Slot { address, slot }),
            error,
        }
    }
}

fn of_account(account: &Option<Address>) -> String {
    account
        .map(|address| alloc::format!(", which account {address} has"))
        .unwrap_or_default()
}

impl revm::database_interface::DBErrorMarker for Box<WitnessError> {}

/// A fault of the bytes of a [`StatelessInput`](crate::StatelessInput).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    #[error("the input is {actual} bytes long, at most {max} are allowed")]
    TooLong { actual: usize, max: usize },
    #[error("the input is not an encoded block: it begins with {actual:#010x}, not {expected:#010x}")]
    Magic { actual: u32, expected: u32 },
    #[error("the input ends early: {what} needs {needed} bytes, {left} are left")]
    Truncated {
        what: &'static str,
        needed: usize,
        left: usize,
    },
    #[error("the input says {actual} {what}, at most {max} are allowed")]
    TooMany {
        what: &'static str,
        actual: usize,
        max: usize,
    },
    #[error("the input has the unknown flags {actual:#x}")]
    Flags { actual: u32 },
    #[error("chain {chain_id} is not built in, and the input does not bring its configuration")]
    UnknownChain { chain_id: u64 },
    #[error("the chain configuration is not usable: {reason}")]
    ChainConfig { reason: &'static str },
    #[error("the input has {left} bytes after its end")]
    TrailingBytes { left: usize },
}
