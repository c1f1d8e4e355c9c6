//! A whole state in memory: the sample chain's, and those of the fixtures that the `conformance`
//! binary reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use revm::{Database, bytecode::Bytecode, database::BundleState, state::AccountInfo};

use super::merkle::Touched;
pub use super::merkle::Trie;
use crate::StateChanges;

/// A whole state.
#[derive(Clone, Debug, Default)]
pub struct ChainState {
    /// All accounts.
    pub accounts: BTreeMap<Address, Account>,
    /// Codes of contracts by their hashes.
    pub codes: BTreeMap<B256, Bytes>,
    /// Hashes of earlier blocks, for BLOCKHASH.
    pub(super) block_hashes: BTreeMap<u64, B256>,
}

/// One account of a [`ChainState`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Transactions that it has sent, or contracts that it has created.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// Keccak of its code.
    pub code_hash: B256,
    /// Slots that are not zero.
    pub storage: BTreeMap<U256, U256>,
}

impl Account {
    /// An account without code.
    pub(super) fn plain(nonce: u64, balance: U256) -> Self {
        Self {
            nonce,
            balance,
            code_hash: KECCAK256_EMPTY,
            storage: BTreeMap::new(),
        }
    }

    pub(super) fn storage_trie(&self) -> Trie {
        Trie::new(
            self.storage
                .iter()
                .map(|(slot, value)| (hashed_slot(*slot), alloy_rlp::encode(value))),
        )
    }

    fn set(&mut self, slots: &[(U256, U256)]) {
        for &(slot, value) in slots {
            match value {
                U256::ZERO => self.storage.remove(&slot),
                value => self.storage.insert(slot, value),
            };
        }
    }

    fn storage_root(&self) -> B256 {
        if self.storage.is_empty() {
            EMPTY_ROOT_HASH
        } else {
            self.storage_trie().root()
        }
    }
}

impl ChainState {
    /// Puts a contract at an address, with nonce 1 as any contract since EIP-161.
    pub(super) fn deploy(&mut self, address: Address, code: Bytes, storage: BTreeMap<U256, U256>) {
        let code_hash = keccak256(&code);
        self.codes.insert(code_hash, code);
        let account = Account {
            nonce: 1,
            balance: U256::ZERO,
            code_hash,
            storage,
        };
        self.accounts.insert(address, account);
    }

    /// The trie of its accounts.
    pub fn state_trie(&self) -> Trie {
        Trie::new(self.accounts.iter().map(|(address, account)| {
            let leaf = TrieAccount {
                nonce: account.nonce,
                balance: account.balance,
                storage_root: account.storage_root(),
                code_hash: account.code_hash,
            };
            (keccak256(address), alloy_rlp::encode(leaf))
        }))
    }

    /// All nodes of the state trie and of all storage tries; no node twice.
    pub fn nodes(&self) -> Vec<Bytes> {
        let storage = self
            .accounts
            .values()
            .flat_map(|account| account.storage_trie().nodes());
        let nodes: BTreeSet<Bytes> = self.state_trie().nodes().into_iter().chain(storage).collect();
        nodes.into_iter().collect()
    }

    /// Makes it the state after a block, by what `validate_with_changes` says that the block does.
    pub fn apply(&mut self, changes: &StateChanges) {
        for change in &changes.accounts {
            let Some(after) = &change.after else {
                self.accounts.remove(&change.address);
                continue;
            };
            let before = self.accounts.remove(&change.address);
            let mut account = Account {
                nonce: after.nonce,
                balance: after.balance,
                code_hash: after.code_hash,
                storage: before.map(|before| before.storage).unwrap_or_default(),
            };
            account.set(&change.slots);
            if account.storage_root() != after.storage_root {
                // It was destroyed and created again.
                account.storage.clear();
                account.set(&change.slots);
            }
            self.accounts.insert(change.address, account);
        }
        let codes = changes.codes.iter();
        self.codes
            .extend(codes.map(|code| (keccak256(code), code.clone())));
    }

    /// The state after a block, by alloy-evm.
    pub(super) fn after(&self, changes: &BundleState) -> Self {
        let mut chain_state = self.clone();
        for (&address, change) in &changes.state {
            let Some(info) = &change.info else {
                chain_state.accounts.remove(&address);
                continue;
            };
            let account = chain_state
                .accounts
                .entry(address)
                .or_insert_with(|| Account::plain(0, U256::ZERO));
            account.nonce = info.nonce;
            account.balance = info.balance;
            account.code_hash = info.code_hash;
            for (&slot, value) in &change.storage {
                match value.present_value {
                    U256::ZERO => account.storage.remove(&slot),
                    value => account.storage.insert(slot, value),
                };
            }
        }
        chain_state
    }

    /// The nodes of this state that a stateless client needs to execute the block that read
    /// `reads` and led to `after`; no node twice.
    pub(super) fn witness(&self, trie: &Trie, reads: &Reads, after: &Self) -> Vec<Bytes> {
        let mut accounts = Touched::default();
        let mut nodes = BTreeSet::new();
        let mut witness = Vec::new();
        let mut storage_witness = Vec::new();
        for (address, slots) in &reads.slots {
            let key = keccak256(address);
            accounts.read.insert(key);
            let Some(account) = self.accounts.get(address) else {
                continue;
            };
            let later = after.accounts.get(address);
            if later.is_none() {
                accounts.deleted.insert(key);
            }
            let gone = |slot: &&U256| {
                let kept = later.is_some_and(|later| later.storage.contains_key(*slot));
                account.storage.contains_key(*slot) && !kept
            };
            let touched = Touched {
                read: slots.iter().map(|slot| hashed_slot(*slot)).collect(),
                deleted: slots.iter().filter(gone).map(|slot| hashed_slot(*slot)).collect(),
            };
            // Not even the root is needed if no slot is read.
            if !slots.is_empty() {
                storage_witness.extend(account.storage_trie().witness(&touched));
            }
        }
        for node in trie.witness(&accounts).into_iter().chain(storage_witness) {
            if nodes.insert(keccak256(&node)) {
                witness.push(node);
            }
        }
        witness
    }
}

fn hashed_slot(slot: U256) -> B256 {
    keccak256(B256::from(slot))
}

/// The part of the state that an execution has read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Accounts, there or not, with the slots that were read of them.
    pub(super) slots: BTreeMap<Address, BTreeSet<U256>>,
    /// Hashes of codes.
    pub(super) codes: BTreeSet<B256>,
}

/// The database of the EVM: the state before the block, and a note of all that is read of it.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    pub(super) chain_state: &'a ChainState,
    pub(super) reads: Reads,
}

impl Database for Recorder<'_> {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        self.reads.slots.entry(address).or_default();
        Ok(self
            .chain_state
            .accounts
            .get(&address)
            .map(|account| AccountInfo {
                nonce: account.nonce,
                balance: account.balance,
                code_hash: account.code_hash,
                // Asked for by `code_by_hash` where it is run.
                code: None,
                ..AccountInfo::default()
            }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Infallible> {
        self.reads.codes.insert(hash);
        Ok(Bytecode::new_raw(
            self.chain_state.codes.get(&hash).cloned().unwrap_or_default(),
        ))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        self.reads.slots.entry(address).or_default().insert(slot);
        let account = self.chain_state.accounts.get(&address);
        Ok(account
            .and_then(|account| account.storage.get(&slot))
            .copied()
            .unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok(self
            .chain_state
            .block_hashes
            .get(&number)
            .copied()
            .unwrap_or_default())
    }
}
