//! A chain of the sample's kind as a replay file, in the shape that Linea's tracer writes. It is
//! for the tests of [`replay`](crate::host::replay) and of its callers.

use std::collections::{BTreeMap, BTreeSet};

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, Header, ReceiptEnvelope, SignableTransaction, Signed, Transaction as _, TxEip1559,
    TxEip2930, TxLegacy,
    constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS, EMPTY_WITHDRAWALS},
};
use alloy_eips::{
    eip1559::BaseFeeParams,
    eip2930::{AccessList, AccessListItem},
    eip4895::Withdrawals,
    eip7685::EMPTY_REQUESTS_HASH,
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use k256::ecdsa::SigningKey;
use serde_json::{Value, json};

use super::{
    CHAIN_ID, PARENT_NUMBER, PARENT_TIMESTAMP, SLOT_SECONDS, SampleError,
    asm::assemble,
    build::{Execution, RULES, execute, seal},
    chain_state::{Account, ChainState, Reads},
    genesis::{system_contracts, units},
    rng::Rng,
    traffic::{Planned, key, signature},
};
use crate::{Block, ChainConfig, Transaction, host::chain_config};

const GAS_LIMIT: u64 = 30_000_000;
const BASE_FEE: u64 = 7;
/// The slot that is there before the first block in each contract, among the first ones.
const SLOT: u64 = 1;

/// A replay file, and the facts that it was made from.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The file.
    pub json: Value,
    /// The blocks, with the state roots of the whole state.
    pub blocks: Vec<Block>,
    /// Geth's genesis `config` object of the chain.
    pub chain_config: Value,
}

/// Makes one of consecutive blocks with three transactions each, of the three types that such files
/// have: a payment to a new account, and two calls of a contract with this code.
///
/// # Errors
/// The code does not assemble, or a call of it fails.
pub fn replayed(source: &str, blocks: usize) -> Result<Replayed, SampleError> {
    replayed_after(PARENT_NUMBER, source, blocks)
}

/// [`replayed`], where the block before the first one has this number.
///
/// # Errors
/// The errors of [`replayed`].
#[expect(clippy::too_many_lines, reason = "one JSON document, key by key")]
pub fn replayed_after(number: u64, source: &str, blocks: usize) -> Result<Replayed, SampleError> {
    let mut rng = Rng::new(18);
    let mut chain_state = ChainState::default();
    system_contracts(&mut chain_state, &mut rng);
    let contract = rng.address();
    let slots = (SLOT..SLOT + 4).map(|slot| (U256::from(slot), U256::from(7)));
    chain_state.deploy(contract, assemble(source)?.into(), slots.collect());
    let senders = [key(&mut rng), key(&mut rng), key(&mut rng)];
    for sender in &senders {
        let account = Account::plain(0, units(10));
        chain_state.accounts.insert(address(sender), account);
    }
    let mut parent = Header {
        parent_hash: rng.hash(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: rng.address(),
        transactions_root: EMPTY_TRANSACTIONS,
        receipts_root: EMPTY_RECEIPTS,
        number,
        gas_limit: GAS_LIMIT,
        gas_used: GAS_LIMIT / 2,
        timestamp: PARENT_TIMESTAMP,
        base_fee_per_gas: Some(BASE_FEE),
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    };
    let before = chain_state.clone();
    let mut hashes = BTreeMap::from([(parent.number, parent.hash_slow())]);
    if let Some(number) = parent.number.checked_sub(1) {
        hashes.insert(number, parent.parent_hash);
    }
    let mut reads = Reads::default();
    let (mut json, mut chain) = (Vec::new(), Vec::new());
    for nonce in 0..blocks as u64 {
        let header = Header {
            parent_hash: parent.hash_slow(),
            beneficiary: parent.beneficiary,
            number: parent.number + 1,
            gas_limit: GAS_LIMIT,
            timestamp: parent.timestamp + SLOT_SECONDS,
            mix_hash: rng.hash(),
            base_fee_per_gas: parent.next_block_base_fee(BaseFeeParams::ethereum()),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Header::default()
        };
        chain_state.block_hashes.clone_from(&hashes);
        let plan = plan(&senders, nonce, contract, rng.address());
        let senders: Vec<_> = plan.iter().map(|planned| planned.sender).collect();
        let none = Withdrawals::default();
        let Execution {
            result,
            changes,
            reads: more,
            spent,
        } = execute(RULES, &chain_state, &header, &plan, Some(&none))?;
        for (address, slots) in more.slots {
            reads.slots.entry(address).or_default().extend(slots);
        }
        chain_state = chain_state.after(&changes);
        chain_state.codes.extend(
            changes
                .contracts
                .iter()
                .map(|(hash, code)| (*hash, code.original_bytes())),
        );
        let root = chain_state.state_trie().root();
        let block = seal(RULES, header, root, &result, plan, Some(none));
        parent = block.header.clone();
        hashes.insert(parent.number, parent.hash_slow());
        json.push(block_json(&block, &senders, &result.receipts, &spent));
        chain.push(block);
    }
    let hashes: Vec<_> = hashes
        .iter()
        .map(|(number, hash)| json!({"blockNumber": number, "blockHash": hash}))
        .collect();
    Ok(Replayed {
        json: json!({
            "fork": "PRAGUE",
            "blocks": json,
            "accounts": accounts(&before, &reads.slots),
            "storage": storage(&before, &reads.slots),
            "blockHashes": hashes,
            "blobBaseFees": {},
        }),
        blocks: chain,
        chain_config: chain_config::to_geth(&ChainConfig::prague_from_genesis(CHAIN_ID)),
    })
}

fn address(key: &SigningKey) -> Address {
    Address::from_public_key(key.verifying_key())
}

fn plan(senders: &[SigningKey; 3], nonce: u64, contract: Address, heir: Address) -> Vec<Planned> {
    let price = 100 * u128::from(BASE_FEE);
    let gas_limit = 200_000;
    let to = TxKind::Call(contract);
    let item = AccessListItem {
        address: contract,
        storage_keys: vec![U256::from(SLOT).into()],
    };
    let payment = TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce,
        gas_price: price,
        gas_limit,
        to: TxKind::Call(heir),
        value: U256::from(1_000),
        input: Bytes::new(),
    };
    let listed = TxEip2930 {
        chain_id: CHAIN_ID,
        nonce,
        gas_price: price,
        gas_limit,
        to,
        access_list: AccessList(vec![item]),
        ..TxEip2930::default()
    };
    let plain = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit,
        max_fee_per_gas: price,
        max_priority_fee_per_gas: 1,
        to,
        ..TxEip1559::default()
    };
    vec![
        planned(&senders[0], payment),
        planned(&senders[1], listed),
        planned(&senders[2], plain),
    ]
}

fn planned<T: SignableTransaction<Signature>>(key: &SigningKey, tx: T) -> Planned
where
    Transaction: From<Signed<T>>,
{
    let signature = signature(key, &tx);
    Planned {
        tx: tx.into_signed(signature).into(),
        sender: address(key),
        succeeds: true,
    }
}

/// A value that may be missing.
fn maybe(value: Option<impl serde::Serialize>) -> Value {
    value.map_or_else(|| json!({}), |value| json!({ "value": value }))
}

/// 32 bytes.
fn word(number: U256) -> Value {
    json!(B256::from(number))
}

fn block_json(block: &Block, senders: &[Address], receipts: &[ReceiptEnvelope], spent: &[u64]) -> Value {
    let header = &block.header;
    let transactions = block.body.transactions.iter().zip(senders);
    let transactions = transactions.zip(receipts.iter().zip(spent));
    let transactions = transactions.map(|((tx, sender), (receipt, spent))| {
        let logs: Vec<_> = receipt.logs().iter().map(|log| &log.data.data).collect();
        let mut json = tx_json(tx, *sender);
        json["outcome"] = json!({
            "status": receipt.status(), "output": "0x", "logs": logs, "gasUsed": spent,
            "accounts": [], "storage": [], "selfDestructs": [],
        });
        json
    });
    let transactions: Vec<_> = transactions.collect();
    json!({
        "header": {
            "parentHash": header.parent_hash,
            "ommersHash": header.ommers_hash,
            "coinbase": header.beneficiary,
            "stateRoot": header.state_root,
            "transactionRoot": header.transactions_root,
            "receiptsRoot": header.receipts_root,
            "logsBloom": header.logs_bloom,
            "difficulty": word(header.difficulty),
            "number": header.number,
            "gasLimit": header.gas_limit,
            "gasUsed": header.gas_used,
            "timestamp": header.timestamp,
            "extraData": header.extra_data,
            "mixHashOrPrevRandao": header.mix_hash,
            "nonce": 0,
            "baseFee": maybe(header.base_fee_per_gas.map(|fee| word(U256::from(fee)))),
            "parentBeaconBlockRoot": maybe(header.parent_beacon_block_root),
        },
        "txs": transactions,
    })
}

fn tx_json(tx: &Transaction, sender: Address) -> Value {
    let (tx_type, price) = match tx {
        Transaction::Legacy(_) => ("FRONTIER", tx.gas_price()),
        Transaction::Eip2930(_) => ("ACCESS_LIST", tx.gas_price()),
        _ => ("EIP1559", None),
    };
    let odd = u64::from(tx.signature().v());
    let v = match tx {
        Transaction::Legacy(_) => 35 + 2 * CHAIN_ID + odd,
        _ => odd,
    };
    let entries = tx.access_list().map(|list| {
        let entry =
            |item: &AccessListItem| json!({"address": item.address, "storageKeys": item.storage_keys});
        list.iter().map(entry).collect::<Vec<_>>()
    });
    let capped = price.is_none().then(|| tx.max_fee_per_gas());
    json!({
        "r": format!("{:x}", tx.signature().r()),
        "s": format!("{:x}", tx.signature().s()),
        "v": format!("{v:x}"),
        "type": tx_type,
        "sender": sender,
        "to": maybe(tx.to()),
        "nonce": tx.nonce(),
        "value": word(tx.value()),
        "payload": tx.input(),
        "gasPrice": maybe(price.map(|price| word(U256::from(price)))),
        "maxPriorityFeePerGas": maybe(tx.max_priority_fee_per_gas().map(|fee| word(U256::from(fee)))),
        "maxFeePerGas": maybe(capped.map(|fee| word(U256::from(fee)))),
        "maxFeePerBlobGas": {},
        "gasLimit": tx.gas_limit(),
        "chainId": CHAIN_ID,
        "accessList": maybe(entries),
    })
}

/// The tracer lists no account that is not there.
fn accounts(chain_state: &ChainState, reads: &BTreeMap<Address, BTreeSet<U256>>) -> Vec<Value> {
    let there = reads
        .keys()
        .filter_map(|address| Some((address, chain_state.accounts.get(address)?)));
    there
        .map(|(address, account)| {
            json!({
                "address": address,
                "nonce": account.nonce,
                "balance": word(account.balance),
                "code": chain_state.codes.get(&account.code_hash).cloned().unwrap_or_default(),
            })
        })
        .collect()
}

fn storage(chain_state: &ChainState, reads: &BTreeMap<Address, BTreeSet<U256>>) -> Vec<Value> {
    let slots = reads
        .iter()
        .flat_map(|(address, slots)| slots.iter().map(move |slot| (address, slot)));
    slots
        .map(|(address, slot)| {
            let account = chain_state.accounts.get(address);
            let value = account.and_then(|account| account.storage.get(slot));
            json!({"address": address, "key": word(*slot), "value": word(value.copied().unwrap_or_default())})
        })
        .collect()
}
