//! The state of a replay file, from block to block: the accounts and slots that the blocks touch,
//! and no others.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use revm::{Database, bytecode::Bytecode, database::BundleState, state::AccountInfo};

use super::{
    ReplayError, Unlisted,
    format::{ReplayAccount, ReplaySlot},
    limits::TOUCHED_MAX,
};

/// One account that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) nonce: u64,
    pub(super) balance: U256,
    pub(super) code_hash: B256,
    /// Slots that are not zero.
    pub(super) storage: BTreeMap<U256, U256>,
    /// Whether all of its storage is known, since it was created in one of the blocks.
    is_whole: bool,
}

/// The accounts and slots that the blocks touch.
#[derive(Clone, Debug)]
pub(super) struct ListedState {
    pub(super) accounts: BTreeMap<Address, Account>,
    pub(super) codes: BTreeMap<B256, Bytes>,
    /// The accounts that were read or listed, existing or not, and the slots of each.
    pub(super) touched: BTreeMap<Address, BTreeSet<U256>>,
    /// The number of accounts and slots.
    leaves: usize,
    /// Hashes of earlier blocks.
    pub(super) hashes: BTreeMap<u64, B256>,
    /// Whether a system call is running.
    pub(super) is_system_call: bool,
    /// The numbers of the blocks whose hashes were read since this was emptied.
    pub(super) hash_queries: Vec<u64>,
    /// The first thing that was read and is not known.
    pub(super) fault: Option<Unlisted>,
}

impl ListedState {
    pub(super) fn new(
        accounts: Vec<ReplayAccount>,
        storage: Vec<ReplaySlot>,
        hashes: BTreeMap<u64, B256>,
    ) -> Result<Self, ReplayError> {
        let mut listed = Self {
            accounts: BTreeMap::new(),
            codes: BTreeMap::new(),
            touched: BTreeMap::new(),
            leaves: 0,
            hashes,
            is_system_call: false,
            hash_queries: Vec::new(),
            fault: None,
        };
        for account in accounts {
            let what = Unlisted::Account(account.address);
            if listed.touched.contains_key(&account.address) {
                return Err(ReplayError::Twice { what });
            }
            listed.add(account.address, None);
            let (nonce, balance) = (account.nonce.0, account.balance.0);
            let code_hash = keccak256(&account.code);
            // By EIP-161, an empty account does not exist.
            if nonce == 0 && balance.is_zero() && account.code.is_empty() {
                continue;
            }
            if code_hash != KECCAK256_EMPTY {
                listed.codes.insert(code_hash, account.code);
            }
            listed.accounts.insert(
                account.address,
                Account {
                    nonce,
                    balance,
                    code_hash,
                    storage: BTreeMap::new(),
                    is_whole: false,
                },
            );
        }
        for slot in storage {
            let (address, key, value) = (slot.address, slot.key.0, slot.value.0);
            if listed.has_touched(address, key) {
                let what = Unlisted::Slot(address, key);
                return Err(ReplayError::Twice { what });
            }
            listed.add(address, Some(key));
            if value.is_zero() {
                continue;
            }
            let what = Unlisted::Slot(address, key);
            let account = listed.accounts.get_mut(&address);
            let account = account.ok_or(ReplayError::Orphan { what })?;
            account.storage.insert(key, value);
        }
        Ok(listed)
    }

    /// The hash of an account's code; that of empty code if there is no account.
    pub(super) fn code_hash(&self, address: Address) -> B256 {
        let account = self.accounts.get(&address);
        account.map_or(KECCAK256_EMPTY, |account| account.code_hash)
    }

    /// Makes it the state after a block.
    pub(super) fn apply(&mut self, changes: &BundleState) -> Result<(), Unlisted> {
        for (&address, change) in &changes.state {
            let Some(info) = &change.info else {
                self.accounts.remove(&address);
                continue;
            };
            self.touch(address, None)?;
            let is_new = !self.accounts.contains_key(&address);
            let account = self.accounts.entry(address).or_insert_with(|| Account {
                nonce: 0,
                balance: U256::ZERO,
                code_hash: KECCAK256_EMPTY,
                storage: BTreeMap::new(),
                is_whole: false,
            });
            if change.was_destroyed() {
                account.storage.clear();
            }
            account.is_whole |= is_new || change.was_destroyed();
            account.nonce = info.nonce;
            account.balance = info.balance;
            account.code_hash = info.code_hash;
            for (&slot, value) in &change.storage {
                match value.present_value {
                    U256::ZERO => account.storage.remove(&slot),
                    value => account.storage.insert(slot, value),
                };
            }
            for &slot in change.storage.keys() {
                self.touch(address, Some(slot))?;
            }
        }
        let codes = changes.contracts.iter();
        self.codes
            .extend(codes.map(|(&hash, code)| (hash, code.original_bytes())));
        Ok(())
    }

    /// Takes over the keys that were touched when the same blocks were executed on another state.
    pub(super) fn touch_all(&mut self, other: &Self) {
        self.touched.clone_from(&other.touched);
        self.leaves = other.leaves;
    }

    fn add(&mut self, address: Address, slot: Option<U256>) {
        let is_new = !self.touched.contains_key(&address);
        let slots = self.touched.entry(address).or_default();
        self.leaves += usize::from(is_new) + usize::from(slot.is_some_and(|slot| slots.insert(slot)));
    }

    /// Notes that an account is touched, or a slot of it.
    fn touch(&mut self, address: Address, slot: Option<U256>) -> Result<(), Unlisted> {
        self.add(address, slot);
        if self.leaves > TOUCHED_MAX {
            return self.note(Unlisted::TooMuch);
        }
        Ok(())
    }

    fn has_touched(&self, address: Address, slot: U256) -> bool {
        self.touched
            .get(&address)
            .is_some_and(|slots| slots.contains(&slot))
    }

    fn note<T>(&mut self, what: Unlisted) -> Result<T, Unlisted> {
        self.fault.get_or_insert(what);
        Err(what)
    }
}

impl Database for ListedState {
    type Error = Unlisted;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Unlisted> {
        // The tracer does not list missing accounts. If an account is missing by mistake, the
        // outcomes show it.
        self.touch(address, None)?;
        Ok(self.accounts.get(&address).map(|account| AccountInfo {
            nonce: account.nonce,
            balance: account.balance,
            code_hash: account.code_hash,
            // Asked for by `code_by_hash` where it is run.
            code: None,
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Unlisted> {
        match self.codes.get(&hash) {
            Some(code) => Ok(Bytecode::new_raw(code.clone())),
            None if hash == KECCAK256_EMPTY => Ok(Bytecode::default()),
            None => self.note(Unlisted::Code(hash)),
        }
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Unlisted> {
        let is_whole = self.accounts.get(&address).is_none_or(|account| account.is_whole);
        // Accounts that the system calls touch need not be listed.
        if !self.has_touched(address, slot) && !is_whole && !self.is_system_call {
            return self.note(Unlisted::Slot(address, slot));
        }
        self.touch(address, Some(slot))?;
        let account = self.accounts.get(&address);
        Ok(account
            .and_then(|account| account.storage.get(&slot))
            .copied()
            .unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Unlisted> {
        self.hash_queries.push(number);
        match self.hashes.get(&number) {
            Some(hash) => Ok(*hash),
            None => self.note(Unlisted::BlockHash(number)),
        }
    }
}
