//! The blocks of a replay file: transactions and headers as the chain has them, compared with each
//! other.

use std::collections::BTreeMap;

use alloy_consensus::{
    BlockBody, EMPTY_OMMER_ROOT_HASH, Header, SignableTransaction as _, TxEip1559, TxEip2930, TxLegacy,
    constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS, EMPTY_WITHDRAWALS},
    proofs,
    transaction::SignerRecoverable as _,
};
use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip4895::Withdrawals,
    eip7685::EMPTY_REQUESTS_HASH,
};
use alloy_primitives::{Address, B64, B256, Bloom, Signature, TxKind, U256};

use super::{
    Difference, Place, ReplayError,
    format::{Maybe, Number, ReplayBlock, ReplayHeader, ReplayOutcome, ReplayTx},
};
use crate::{
    Block, ChainConfig, Fork, Transaction,
    host::{
        block_file::{BATCH_GAS_MAX, GAS_LIMIT_MAX, gas_max},
        excerpt::excerpt,
        system_calls,
    },
};

/// A block as the chain has it, and the outcomes of its transactions.
pub(super) struct ChainBlock {
    pub(super) block: Block,
    pub(super) fork: Fork,
    pub(super) senders: Vec<Address>,
    pub(super) outcomes: Vec<ReplayOutcome>,
}

/// The chain that all transactions are for.
pub(super) fn chain_id(blocks: &[ReplayBlock]) -> Result<u64, ReplayError> {
    let mut chain = None;
    for block in blocks {
        for (index, tx) in block.txs.iter().enumerate() {
            match (tx.chain_id, chain) {
                (Some(id), None) => chain = Some(id),
                (Some(id), Some(first)) if id != first => {
                    let place = Place {
                        block: block.header.number.0,
                        transaction: Some(index),
                    };
                    return Err(conflict(place, "chain id", id.0, first.0));
                }
                _ => {}
            }
        }
    }
    chain.map(|id| id.0).ok_or(ReplayError::NoChain)
}

/// Builds the blocks, and compares transactions roots, senders, and the hashes of headers where the
/// file has them.
pub(super) fn chain_blocks(
    blocks: Vec<ReplayBlock>,
    chain: &ChainConfig,
    fork_name: Option<&str>,
    hashes: &BTreeMap<u64, B256>,
) -> Result<Vec<ChainBlock>, ReplayError> {
    let mut built: Vec<ChainBlock> = Vec::with_capacity(blocks.len());
    for block in blocks {
        let number = block.header.number.0;
        let place = Place {
            block: number,
            transaction: None,
        };
        let fork = chain
            .fork_at(number, block.header.timestamp.0)
            .map_err(|source| ReplayError::Fork {
                block: number,
                source,
            })?;
        if let Some(name) = fork_name.filter(|name| !name.eq_ignore_ascii_case(&fork.to_string())) {
            return Err(conflict(place, "fork", fork, excerpt(name)));
        }
        if let Some(before) = built.last() {
            let before = &before.block.header;
            let next = before.number.saturating_add(1);
            if number != next {
                return Err(conflict(place, "number after the block before", next, number));
            }
            let hash = before.hash_slow();
            if hash != block.header.parent_hash {
                return Err(conflict(
                    place,
                    "hash of the block before",
                    hash,
                    block.header.parent_hash,
                ));
            }
        }
        let next = chain_block(block, place, fork)?;
        let hash = next.block.header.hash_slow();
        if let Some(expected) = hashes.get(&number).filter(|expected| **expected != hash) {
            return Err(conflict(place, "block hash", hash, expected));
        }
        built.push(next);
    }
    if built.is_empty() {
        return Err(ReplayError::NoBlocks);
    }
    check_gas(&built)?;
    Ok(built)
}

/// Refuses blocks that could take too long to execute, all together.
pub(super) fn check_gas(blocks: &[ChainBlock]) -> Result<(), ReplayError> {
    let gas = blocks.iter().map(|block| gas_max(&block.block));
    match gas.fold(0, u64::saturating_add) {
        actual if actual > BATCH_GAS_MAX => Err(ReplayError::Gas { actual }),
        _ => Ok(()),
    }
}

/// Refuses blocks whose system calls could take too long, with the codes of which these are the
/// hashes before the first one.
pub(super) fn check_system_calls(
    blocks: &[ChainBlock],
    code_hash: impl FnMut(Address) -> B256,
) -> Result<(), ReplayError> {
    let transactions = blocks.iter().map(|block| gas_max(&block.block));
    let transactions = transactions.fold(0, u64::saturating_add);
    let fork = blocks.iter().map(|block| block.fork).max().unwrap_or(Fork::Paris);
    match transactions.saturating_add(system_calls::gas(blocks.len(), fork, true, code_hash)) {
        actual if actual > BATCH_GAS_MAX => Err(ReplayError::SystemCalls { actual }),
        _ => Ok(()),
    }
}

fn chain_block(block: ReplayBlock, place: Place, fork: Fork) -> Result<ChainBlock, ReplayError> {
    let mut transactions = Vec::with_capacity(block.txs.len());
    let mut senders = Vec::with_capacity(block.txs.len());
    let mut outcomes = Vec::with_capacity(block.txs.len());
    for (index, tx) in block.txs.into_iter().enumerate() {
        let place = Place {
            transaction: Some(index),
            ..place
        };
        let named = tx.sender;
        let (tx, outcome) = transaction(tx, place)?;
        let sender = tx.recover_signer().map_err(|_| ReplayError::Transaction {
            place,
            detail: "no public key can be recovered from its signature",
        })?;
        if sender != named {
            return Err(conflict(place, "sender by the signature", sender, named));
        }
        transactions.push(tx);
        senders.push(sender);
        outcomes.push(outcome);
    }
    let header = header(block.header, fork);
    if header.gas_limit > GAS_LIMIT_MAX {
        let actual = header.gas_limit;
        return Err(ReplayError::GasLimit { place, actual });
    }
    if let Some(expected) = header.withdrawals_root.filter(|root| *root != EMPTY_WITHDRAWALS) {
        return Err(conflict(
            place,
            "withdrawals root, without any,",
            EMPTY_WITHDRAWALS,
            expected,
        ));
    }
    let root = proofs::calculate_transaction_root(&transactions);
    if root != header.transactions_root {
        return Err(conflict(
            place,
            "transactions root",
            root,
            header.transactions_root,
        ));
    }
    let body = BlockBody {
        transactions,
        ommers: Vec::new(),
        withdrawals: (fork >= Fork::Shanghai).then(Withdrawals::default),
    };
    Ok(ChainBlock {
        block: Block { header, body },
        fork,
        senders,
        outcomes,
    })
}

/// The chain's header. The fields that replay files leave out are the same in all blocks of Linea:
/// no withdrawals, no blobs, no requests.
fn header(header: ReplayHeader, fork: Fork) -> Header {
    let since = |first: Fork| fork >= first;
    Header {
        parent_hash: header.parent_hash,
        ommers_hash: header.ommers_hash,
        beneficiary: header.coinbase,
        state_root: header.state_root,
        transactions_root: header.transaction_root,
        receipts_root: header.receipts_root,
        logs_bloom: header.logs_bloom,
        difficulty: header.difficulty.0,
        number: header.number.0,
        gas_limit: header.gas_limit.0,
        gas_used: header.gas_used.0,
        timestamp: header.timestamp.0,
        extra_data: header.extra_data,
        mix_hash: header.mix_hash_or_prev_randao,
        nonce: B64::from(header.nonce.0),
        base_fee_per_gas: header.base_fee.value.map(|fee| fee.0),
        withdrawals_root: since(Fork::Shanghai)
            .then(|| header.withdrawals_root.value.unwrap_or(EMPTY_WITHDRAWALS)),
        blob_gas_used: since(Fork::Cancun).then_some(0),
        excess_blob_gas: since(Fork::Cancun).then_some(0),
        parent_beacon_block_root: since(Fork::Cancun)
            .then(|| header.parent_beacon_block_root.value.unwrap_or_default()),
        requests_hash: since(Fork::Prague).then_some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// Headers before the first block, which the file does not have, from block `earliest` on. The last
/// of them, the parent, has only what the rules for the first block need. The first one has the
/// chain's own hash of the block before it, if the file has that.
pub(super) fn ancestors(
    first: &Header,
    state_root: B256,
    earliest: u64,
    before: Option<B256>,
) -> Vec<Header> {
    let mut parent_hash = before.unwrap_or_default();
    let header = |number| {
        let header = Header {
            parent_hash,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            state_root,
            transactions_root: EMPTY_TRANSACTIONS,
            receipts_root: EMPTY_RECEIPTS,
            logs_bloom: Bloom::ZERO,
            number,
            timestamp: first.timestamp.saturating_sub(first.number - number),
            // The base fee stays as it is at this gas.
            gas_used: first.gas_limit / 2,
            ..first.clone()
        };
        parent_hash = header.hash_slow();
        header
    };
    (earliest..first.number).map(header).collect()
}

#[expect(clippy::too_many_lines, reason = "one field after the other")]
fn transaction(tx: ReplayTx, place: Place) -> Result<(Transaction, ReplayOutcome), ReplayError> {
    let missing = |detail| ReplayError::Transaction { place, detail };
    let price = |price: &Maybe<Number>, detail| {
        let Some(Number(price)) = price.value else {
            return Err(missing(detail));
        };
        u128::try_from(price).map_err(|_| missing("a price is more than 2^128 - 1"))
    };
    let to = tx.to.value.map_or(TxKind::Create, TxKind::Call);
    let chain_id = tx.chain_id.map(|id| id.0);
    let chain_id = || chain_id.ok_or_else(|| missing("it has no `chainId`"));
    let (nonce, gas_limit, value, input) = (tx.nonce.0, tx.gas_limit.0, tx.value.0, tx.payload);
    let access_list = || {
        let entries = tx.access_list.value.iter().flat_map(|list| &list.0);
        AccessList(
            entries
                .map(|entry| AccessListItem {
                    address: entry.address,
                    storage_keys: entry.storage_keys.clone(),
                })
                .collect(),
        )
    };
    let parity = |v: U256| match u64::try_from(v) {
        Ok(parity @ (0 | 1)) => Ok(parity == 1),
        _ => Err(missing("`v` of its signature is neither 0 nor 1")),
    };
    const GAS_PRICE: &str = "it has no `gasPrice`";
    let transaction = match tx.tx_type.0.as_str() {
        "FRONTIER" => {
            let gas_price = price(&tx.gas_price, GAS_PRICE)?;
            // EIP-155.
            let (odd, signed_for) = match u64::try_from(tx.v.0) {
                Ok(v @ (27 | 28)) => (v == 28, None),
                Ok(v) if v >= 35 => ((v - 35) % 2 == 1, Some((v - 35) / 2)),
                _ => return Err(missing("`v` of its signature is neither 27, 28, nor 35 or more")),
            };
            let legacy = TxLegacy {
                chain_id: signed_for,
                nonce,
                gas_price,
                gas_limit,
                to,
                value,
                input,
            };
            Transaction::Legacy(legacy.into_signed(Signature::new(tx.r.0, tx.s.0, odd)))
        }
        "ACCESS_LIST" => {
            let unsigned = TxEip2930 {
                chain_id: chain_id()?,
                nonce,
                gas_price: price(&tx.gas_price, GAS_PRICE)?,
                gas_limit,
                to,
                value,
                access_list: access_list(),
                input,
            };
            Transaction::Eip2930(unsigned.into_signed(Signature::new(tx.r.0, tx.s.0, parity(tx.v.0)?)))
        }
        "EIP1559" => {
            let unsigned = TxEip1559 {
                chain_id: chain_id()?,
                nonce,
                gas_limit,
                max_fee_per_gas: price(&tx.max_fee_per_gas, "it has no `maxFeePerGas`")?,
                max_priority_fee_per_gas: price(
                    &tx.max_priority_fee_per_gas,
                    "it has no `maxPriorityFeePerGas`",
                )?,
                to,
                value,
                access_list: access_list(),
                input,
            };
            Transaction::Eip1559(unsigned.into_signed(Signature::new(tx.r.0, tx.s.0, parity(tx.v.0)?)))
        }
        other => {
            return Err(ReplayError::TransactionType {
                place,
                tx_type: excerpt(other),
            });
        }
    };
    Ok((transaction, tx.outcome))
}

/// A difference from the file.
pub(super) fn conflict(
    place: Place,
    what: &'static str,
    actual: impl ToString,
    expected: impl ToString,
) -> ReplayError {
    ReplayError::Conflict(Difference {
        place,
        what,
        actual: actual.to_string(),
        expected: expected.to_string(),
    })
}

/// The hashes that the file has, by number.
pub(super) fn hashes(list: Vec<super::format::ReplayHash>) -> Result<BTreeMap<u64, B256>, ReplayError> {
    let mut hashes = BTreeMap::new();
    for hash in list {
        let number = hash.block_number.0;
        if let Some(other) = hashes.insert(number, hash.block_hash)
            && other != hash.block_hash
        {
            let place = Place {
                block: number,
                transaction: None,
            };
            return Err(conflict(place, "block hash", other, hash.block_hash));
        }
    }
    Ok(hashes)
}
