//! The comparison of a refusal with the kind that a fixture asks for, by the names of its
//! exceptions.

use myriad_evm::BlockError;

/// Whether the error is one of the causes that the fixture names, with `|` between them.
///
/// # Errors
/// None of the names is known.
pub fn is_expected(names: &str, error: &BlockError) -> Result<bool, String> {
    let known: Vec<_> = names
        .split('|')
        .filter_map(|name| CAUSES.iter().find(|(known, _)| *known == name))
        .collect();
    if known.is_empty() {
        return Err(format!("no kind of refusal is known for {names}"));
    }
    Ok(known.iter().any(|(_, is_cause)| is_cause(error)))
}

type IsCause = fn(&BlockError) -> bool;

/// The exceptions of both suites, from Paris on. A name that is not here is a fault of the run, so
/// that none passes unseen.
const CAUSES: &[(&str, IsCause)] = &[
    ("BlockException.EXTRA_DATA_TOO_BIG", |error| {
        matches!(error, BlockError::ExtraData { .. })
    }),
    ("BlockException.GASLIMIT_TOO_BIG", |error| {
        matches!(error, BlockError::GasLimit { .. })
    }),
    ("BlockException.INVALID_GASLIMIT", |error| {
        matches!(error, BlockError::GasLimit { .. })
    }),
    ("BlockException.GAS_USED_OVERFLOW", |error| {
        matches!(error, BlockError::GasUsedOverLimit { .. }) || is_tx(error, &[GAS_LEFT])
    }),
    // A block with the work of before the Merge.
    (
        "BlockException.IMPORT_IMPOSSIBLE_DIFFICULTY_OVER_PARIS",
        is_proof_of_work,
    ),
    (
        "BlockException.IMPORT_IMPOSSIBLE_PARIS_WRONG_POS",
        is_proof_of_work,
    ),
    (
        "BlockException.IMPORT_IMPOSSIBLE_PARIS_WRONG_POW",
        is_proof_of_work,
    ),
    (
        "BlockException.IMPORT_IMPOSSIBLE_UNCLES_OVER_PARIS",
        is_proof_of_work,
    ),
    ("BlockException.INVALID_DIFFICULTY", is_proof_of_work),
    // A block with the header of another fork.
    ("BlockException.IMPORT_IMPOSSIBLE_LEGACY", is_of_other_fork),
    (
        "BlockException.IMPORT_IMPOSSIBLE_LEGACY_WRONG_PARENT",
        is_of_other_fork,
    ),
    (
        "BlockException.IMPORT_IMPOSSIBLE_LONDON_WRONG_PARENT",
        is_of_other_fork,
    ),
    (
        "BlockException.IMPORT_IMPOSSIBLE_PARIS_OVER_SHANGHAI",
        is_of_other_fork,
    ),
    ("BlockException.IMPORT_IMPOSSIBLE_SHANGHAI", is_of_other_fork),
    ("BlockException.INCORRECT_BLOCK_FORMAT", is_of_other_fork),
    ("BlockException.INCORRECT_EXCESS_BLOB_GAS", |error| {
        matches!(error, BlockError::ExcessBlobGas { .. })
    }),
    ("BlockException.INCORRECT_BLOB_GAS_USED", |error| {
        matches!(error, BlockError::BlobGasUsed { .. })
    }),
    ("BlockException.BLOB_GAS_USED_ABOVE_LIMIT", |error| {
        matches!(error, BlockError::BlobGasOverLimit { .. })
    }),
    ("BlockException.INVALID_BASEFEE_PER_GAS", |error| {
        matches!(error, BlockError::BaseFee { .. })
    }),
    ("BlockException.INVALID_BLOCK_NUMBER", |error| {
        matches!(error, BlockError::Number { .. })
    }),
    (
        "BlockException.INVALID_BLOCK_TIMESTAMP_OLDER_THAN_PARENT",
        |error| matches!(error, BlockError::Timestamp { .. }),
    ),
    ("BlockException.INVALID_DEPOSIT_EVENT_LAYOUT", |error| {
        matches!(error, BlockError::DepositLayout { .. })
    }),
    ("BlockException.INVALID_GAS_USED", |error| {
        matches!(error, BlockError::GasUsed { .. })
    }),
    ("BlockException.INVALID_GAS_USED_ABOVE_LIMIT", |error| {
        matches!(error, BlockError::GasUsedOverLimit { .. })
    }),
    ("BlockException.INVALID_LOG_BLOOM", |error| {
        matches!(error, BlockError::LogsBloom)
    }),
    ("BlockException.INVALID_RECEIPTS_ROOT", |error| {
        matches!(error, BlockError::ReceiptsRoot { .. })
    }),
    ("BlockException.INVALID_REQUESTS", |error| {
        matches!(error, BlockError::RequestsHash { .. })
    }),
    ("BlockException.INVALID_STATE_ROOT", |error| {
        matches!(error, BlockError::StateRoot { .. })
    }),
    ("BlockException.INVALID_TRANSACTIONS_ROOT", |error| {
        matches!(error, BlockError::TransactionsRoot { .. })
    }),
    ("BlockException.INVALID_WITHDRAWALS_ROOT", |error| {
        matches!(error, BlockError::WithdrawalsRoot { .. })
    }),
    ("BlockException.RLP_BLOCK_LIMIT_EXCEEDED", |error| {
        error.to_string().contains("RLP")
    }),
    ("BlockException.RLP_BLOCK_LIMIT_EXCEEDED", |error| {
        matches!(error, BlockError::BlockSize { .. })
    }),
    ("BlockException.RLP_STRUCTURES_ENCODING", |error| {
        matches!(error, BlockError::MalformedRlp { .. })
    }),
    ("BlockException.RLP_WITHDRAWALS_NOT_READ", |error| {
        matches!(error, BlockError::WithdrawalsPresence { .. })
    }),
    ("BlockException.SYSTEM_CONTRACT_CALL_FAILED", |error| {
        matches!(error, BlockError::SystemCall { .. })
    }),
    ("BlockException.SYSTEM_CONTRACT_EMPTY", |error| {
        matches!(error, BlockError::SystemCall { .. })
    }),
    ("BlockException.UNCLE_PARENT_INCORRECT", is_proof_of_work),
    ("BlockException.UNKNOWN_PARENT", |error| {
        matches!(error, BlockError::ParentHash { .. })
    }),
    ("BlockException.UNKNOWN_PARENT_ZERO", |error| {
        matches!(error, BlockError::ParentHash { .. })
    }),
    ("TransactionException.GAS_ALLOWANCE_EXCEEDED", |error| {
        is_tx(error, &[GAS_LEFT, GAS_OF_BLOCK])
    }),
    ("TransactionException.GAS_LIMIT_EXCEEDS_MAXIMUM", |error| {
        is_tx(error, &["is greater than the cap"])
    }),
    ("TransactionException.INITCODE_SIZE_EXCEEDED", |error| {
        is_tx(error, &["create initcode size limit"])
    }),
    ("TransactionException.INSUFFICIENT_ACCOUNT_FUNDS", |error| {
        is_tx(error, &["lack of funds", "overflow payment"])
    }),
    (
        "TransactionException.INSUFFICIENT_MAX_FEE_PER_BLOB_GAS",
        |error| is_tx(error, &["blob gas price ("]),
    ),
    ("TransactionException.INSUFFICIENT_MAX_FEE_PER_GAS", |error| {
        is_tx(error, &["gas price is less than basefee"])
    }),
    ("TransactionException.INTRINSIC_GAS_TOO_LOW", |error| {
        is_tx(error, &["call gas cost (", "gas floor ("])
    }),
    (
        "TransactionException.INTRINSIC_GAS_BELOW_FLOOR_GAS_COST",
        |error| is_tx(error, &["call gas cost (", "gas floor ("]),
    ),
    ("TransactionException.NONCE_IS_MAX", |error| {
        is_tx(error, &["nonce overflow"])
    }),
    ("TransactionException.NONCE_MISMATCH_TOO_HIGH", |error| {
        is_tx(error, &["too high, expected"])
    }),
    ("TransactionException.NONCE_MISMATCH_TOO_LOW", |error| {
        is_tx(error, &["too low, expected"])
    }),
    (
        "TransactionException.PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS",
        |error| is_tx(error, &["priority fee is greater than max fee"]),
    ),
    ("TransactionException.SENDER_NOT_EOA", |error| {
        is_tx(error, &["senders with deployed code"])
    }),
    ("TransactionException.TYPE_3_TX_BLOB_COUNT_EXCEEDED", |error| {
        matches!(error, BlockError::BlobGasOverLimit { .. }) || is_tx(error, &["too many blobs"])
    }),
    (
        "TransactionException.TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED",
        |error| matches!(error, BlockError::BlobGasOverLimit { .. }),
    ),
    ("TransactionException.TYPE_3_TX_CONTRACT_CREATION", |error| {
        matches!(error, BlockError::MalformedRlp { .. })
    }),
    ("TransactionException.TYPE_3_TX_WITH_FULL_BLOBS", |error| {
        matches!(error, BlockError::MalformedRlp { .. })
    }),
    ("TransactionException.TYPE_3_TX_ZERO_BLOBS", |error| {
        is_tx(error, &["empty blobs"])
    }),
    (
        "TransactionException.TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH",
        |error| is_tx(error, &["blob version not supported"]),
    ),
    ("TransactionException.TYPE_3_TX_PRE_FORK", |error| {
        is_tx(error, &["Eip4844 is not supported"])
    }),
    ("TransactionException.TYPE_4_EMPTY_AUTHORIZATION_LIST", |error| {
        is_tx(error, &["empty authorization list"])
    }),
    // The type has no encoding of a creation.
    ("TransactionException.TYPE_4_TX_CONTRACT_CREATION", |error| {
        matches!(error, BlockError::MalformedRlp { .. })
    }),
    ("TransactionException.TYPE_4_TX_PRE_FORK", |error| {
        is_tx(error, &["Eip7702 is not supported"])
    }),
    ("TransactionException.TYPE_NOT_SUPPORTED", |error| {
        matches!(error, BlockError::MalformedRlp { .. }) || is_tx(error, &["is not supported"])
    }),
];

/// A transaction may use more gas than the others have left of the block's.
const GAS_LEFT: &str = "is more than blocks available gas";
const GAS_OF_BLOCK: &str = "exceeds the block gas limit";

fn is_proof_of_work(error: &BlockError) -> bool {
    matches!(error, BlockError::ProofOfWorkField { .. })
}

fn is_of_other_fork(error: &BlockError) -> bool {
    matches!(
        error,
        BlockError::MissingField { .. }
            | BlockError::UnexpectedField { .. }
            | BlockError::WithdrawalsPresence { .. }
            | BlockError::ProofOfWorkField { .. }
    )
}

/// Whether a transaction is refused for a reason in which one of these texts stands, which are
/// those of revm and alloy-evm.
fn is_tx(error: &BlockError, texts: &[&str]) -> bool {
    let BlockError::InvalidTransaction { reason, .. } = error else {
        return false;
    };
    texts.iter().any(|text| reason.contains(text))
}
