//! The state that a block runs on: a witness below, the block's changes above.
//!
//! Called by revm, through [`Database`] and [`DatabaseCommit`].

use alloc::{boxed::Box, string::ToString, vec::Vec};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256, map::AddressMap};
use alloy_rlp::Decodable;
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, TrieAccount};
use revm::{
    Database, DatabaseCommit,
    primitives::{StorageKey, StorageKeyMap, StorageValue},
    state::{Account, AccountInfo, Bytecode, EvmStorage},
};

use crate::{
    accounting::{Kind, scope},
    codes::Codes,
    error::WitnessError,
    header::Ancestors,
    trie::{Arena, NodeStore, Trie},
};

type Result<T> = core::result::Result<T, Box<WitnessError>>;

const STATE: u32 = Kind::State as u32;

/// The state of a block.
#[derive(Debug)]
pub(crate) struct WitnessState<'a> {
    arena: Arena<'a>,
    accounts: Trie,
    codes: Codes<'a>,
    ancestors: Ancestors<'a>,
    cache: AddressMap<CachedAccount>,
    /// The call that is being made, where its callee will not run.
    unrun: Option<Unrun>,
    /// The code that was asked for in such a call, and that the witness does not have.
    withheld: Option<B256>,
    /// The first thing that was looked for and not found. It outlives whatever the EVM makes of it.
    fault: Option<Box<WitnessError>>,
}

/// A call whose callee's code is asked for and not run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unrun {
    pub(crate) callee: Address,
    /// Whether the callee's own code is needed all the same, and only that of its delegate is not.
    pub(crate) is_code_read: bool,
}

/// An account as the last transaction left it.
#[derive(Debug)]
struct CachedAccount {
    /// Keccak of the address: the key in the account trie.
    key: B256,
    /// `None` where there is no such account.
    info: Option<AccountInfo>,
    existed: bool,
    info_changed: bool,
    /// The storage before the block; nothing, once the account has lost it.
    storage: Trie,
    storage_changed: bool,
    slots: StorageKeyMap<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The value in the storage trie.
    original: U256,
    present: U256,
}

impl<'a> WitnessState<'a> {
    pub(crate) fn new(root: B256, nodes: &'a [Bytes], codes: &'a [Bytes], ancestors: Ancestors<'a>) -> Self {
        let (nodes, codes) = scope::<STATE, _>(|| (NodeStore::new(nodes), Codes::new(codes)));
        Self {
            arena: Arena::new(nodes),
            accounts: Trie::new(root),
            codes,
            ancestors,
            cache: AddressMap::default(),
            unrun: None,
            withheld: None,
            fault: None,
        }
    }

    /// Goes on to the block after the one whose [`Self::root`] was asked for last. The next block
    /// begins with the state that it has left.
    pub(crate) fn begin_block(&mut self, ancestors: Ancestors<'a>) {
        self.ancestors = ancestors;
        for account in self.cache.values_mut() {
            account.settle();
        }
    }

    /// The part that the witness lacked, if any, since the state was made.
    pub(crate) fn take_fault(&mut self) -> Option<WitnessError> {
        self.fault.take().map(|fault| *fault)
    }

    /// For each node and for each code of the witness, whether it has been needed.
    pub(crate) fn used(&self) -> (Vec<bool>, Vec<bool>) {
        (self.arena.store().used().collect(), self.codes.used())
    }

    /// Whether there is such an account; `None` where the witness does not tell.
    pub(crate) fn has_account(&mut self, address: Address) -> Option<bool> {
        self.account(address).ok().map(|account| account.info.is_some())
    }

    /// Whether an account that has been read has any storage.
    pub(crate) fn has_storage(&self, address: Address) -> bool {
        let account = self.cache.get(&address);
        account.is_some_and(|account| !account.storage.is_empty())
    }

    /// From here to [`Self::end_unrun`], the witness may lack the code of a call.
    pub(crate) fn begin_unrun(&mut self, call: Unrun) {
        self.unrun = Some(call);
    }

    /// The hash of the code that an empty one stood for, if the witness did lack it.
    pub(crate) fn end_unrun(&mut self) -> Option<B256> {
        self.unrun = None;
        self.withheld.take()
    }

    fn code(&mut self, hash: B256) -> Result<Bytecode> {
        let code = self.codes.get(hash);
        let Err(error) = code else { return code };
        if !matches!(*error, WitnessError::MissingCode { .. }) {
            return Err(error);
        }
        if let Some(Unrun { callee, is_code_read }) = self.unrun
            && !(is_code_read
                && self
                    .cache
                    .get(&callee)
                    .is_some_and(|account| account.has_code(hash)))
        {
            self.withheld = Some(hash);
            return Ok(Bytecode::default());
        }
        Err(self.missing_code(hash))
    }

    /// A code, for an instruction that does not run it.
    pub(crate) fn code_bytes(&mut self, hash: B256) -> Result<Bytes> {
        scope::<STATE, _>(|| {
            let bytes = self.codes.bytes(hash).map_err(|error| match *error {
                WitnessError::MissingCode { .. } => self.missing_code(hash),
                _ => error,
            });
            self.note_fault(bytes)
        })
    }

    fn missing_code(&self, hash: B256) -> Box<WitnessError> {
        let accounts = self.cache.iter().filter(|(_, account)| account.has_code(hash));
        let account = accounts.map(|(&address, _)| address).min();
        Box::new(WitnessError::MissingCode { hash, account })
    }

    /// The account, from the trie when it is first asked for.
    fn account(&mut self, address: Address) -> Result<&mut CachedAccount> {
        // `entry` would be one look-up, but the trie must not be read while the map is borrowed.
        if !self.cache.contains_key(&address) {
            let key = keccak256(address);
            let leaf = self.arena.get(&mut self.accounts, &key);
            let leaf = leaf.map_err(|error| Box::new(WitnessError::account(address)(error)))?;
            let account = leaf
                .map(|mut leaf| decode_whole::<TrieAccount>(&mut leaf))
                .transpose();
            let account = account.map_err(|error| {
                let reason = error.to_string();
                Box::new(WitnessError::MalformedAccount { address, reason })
            })?;
            self.cache.insert(address, CachedAccount::new(key, account));
        }
        Ok(self.cache.get_mut(&address).expect("it has been inserted"))
    }

    fn slot(&mut self, address: Address, slot: StorageKey) -> Result<StorageValue> {
        self.account(address)?;
        let account = self.cache.get_mut(&address).expect("it has just been read");
        if let Some(slot) = account.slots.get(&slot) {
            return Ok(slot.present);
        }
        let key = keccak256(slot.to_be_bytes::<32>());
        let leaf = self.arena.get(&mut account.storage, &key);
        let leaf = leaf.map_err(|error| Box::new(WitnessError::slot(address, slot.into())(error)))?;
        let value = leaf.map_or(Ok(U256::ZERO), |mut leaf| decode_whole(&mut leaf));
        let original = value.map_err(|error| {
            let (slot, reason) = (slot.into(), error.to_string());
            Box::new(WitnessError::MalformedSlot {
                address,
                slot,
                reason,
            })
        })?;
        account.slots.insert(
            slot,
            Slot {
                original,
                present: original,
            },
        );
        Ok(original)
    }

    fn commit_account(&mut self, address: Address, changed: Account) -> Result<()> {
        let account = self.account(address)?;
        if changed.is_selfdestructed() {
            account.set_info(None);
            account.clear_storage();
            return Ok(());
        }
        // An account that is created has no storage: the EVM looks before it creates one, and a
        // self-destruct has taken with it what was there.
        let is_new_code =
            changed.info.code_hash != account.info.as_ref().map_or(KECCAK_EMPTY, |info| info.code_hash);
        let new_code = changed.info.code.clone().filter(|_| is_new_code);
        let code_hash = changed.info.code_hash;
        account.set_slots(changed.storage);
        if changed.info.is_empty() {
            // EIP-161: an account that is touched and left empty is removed.
            account.set_info(None);
            account.clear_storage();
        } else {
            account.set_info(Some(changed.info));
        }
        if let Some(code) = new_code {
            self.codes.create(code_hash, code);
        }
        Ok(())
    }

    /// Writes what has changed to the tries, and gives the root of the account trie.
    ///
    /// Within a trie, removals come last: a branch that gets a child and loses another one then
    /// never has a single child in between, whose node the witness need not have.
    pub(crate) fn root(&mut self) -> core::result::Result<B256, WitnessError> {
        let mut removed = Vec::new();
        for (&address, account) in &mut self.cache {
            let failed = WitnessError::account(address);
            if !account.info_changed && !account.storage_changed {
                continue;
            }
            let Some(info) = &account.info else {
                if account.existed {
                    removed.push((address, account.key));
                }
                continue;
            };
            if account.storage_changed {
                let storage = &mut account.storage;
                let changed = || account.slots.iter().filter(|(_, s)| s.present != s.original);
                for (slot, value) in changed().filter(|(_, slot)| !slot.present.is_zero()) {
                    let key = keccak256(slot.to_be_bytes::<32>());
                    self.arena
                        .insert(storage, &key, alloy_rlp::encode(value.present))
                        .map_err(WitnessError::slot(address, (*slot).into()))?;
                }
                for (slot, _) in changed().filter(|(_, slot)| slot.present.is_zero()) {
                    self.arena
                        .remove(storage, &keccak256(slot.to_be_bytes::<32>()))
                        .map_err(WitnessError::slot(address, (*slot).into()))?;
                }
            }
            let leaf = TrieAccount {
                nonce: info.nonce,
                balance: info.balance,
                storage_root: self.arena.root(&account.storage),
                code_hash: info.code_hash,
            };
            self.arena
                .insert(&mut self.accounts, &account.key, alloy_rlp::encode(leaf))
                .map_err(failed)?;
        }
        for (address, key) in removed {
            self.arena
                .remove(&mut self.accounts, &key)
                .map_err(WitnessError::account(address))?;
        }
        Ok(self.arena.root(&self.accounts))
    }

    fn note_fault<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.fault.get_or_insert_with(|| error.clone());
        }
        result
    }
}

impl CachedAccount {
    fn new(key: B256, account: Option<TrieAccount>) -> Self {
        Self {
            key,
            existed: account.is_some(),
            info_changed: false,
            storage: Trie::new(account.map_or(EMPTY_ROOT_HASH, |account| account.storage_root)),
            storage_changed: false,
            slots: StorageKeyMap::default(),
            info: account.map(|account| AccountInfo {
                balance: account.balance,
                nonce: account.nonce,
                code_hash: account.code_hash,
                account_id: None,
                code: None,
            }),
        }
    }

    fn has_code(&self, hash: B256) -> bool {
        self.info.as_ref().is_some_and(|info| info.code_hash == hash)
    }

    /// Takes what is in the tries now for what was there before.
    fn settle(&mut self) {
        self.existed = self.info.is_some();
        self.info_changed = false;
        self.storage_changed = false;
        for slot in self.slots.values_mut() {
            slot.original = slot.present;
        }
    }

    fn set_info(&mut self, info: Option<AccountInfo>) {
        self.info_changed |= self.info != info;
        self.info = info;
    }

    fn clear_storage(&mut self) {
        self.storage = Trie::empty();
        self.storage_changed = true;
        self.slots.clear();
    }

    fn set_slots(&mut self, slots: EvmStorage) {
        for (key, slot) in slots {
            if slot.is_changed() {
                // A slot that was never read is one of an account that began without storage.
                let original = slot.original_value;
                let cached = self.slots.entry(key).or_insert(Slot {
                    original,
                    present: original,
                });
                cached.present = slot.present_value;
                self.storage_changed = true;
            }
        }
    }
}

impl Database for WitnessState<'_> {
    type Error = Box<WitnessError>;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>> {
        scope::<STATE, _>(|| {
            let info = self.account(address).map(|account| account.info.clone());
            self.note_fault(info)
        })
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode> {
        scope::<STATE, _>(|| {
            let code = self.code(hash);
            self.note_fault(code)
        })
    }

    fn storage(&mut self, address: Address, key: StorageKey) -> Result<StorageValue> {
        scope::<STATE, _>(|| {
            let value = self.slot(address, key);
            self.note_fault(value)
        })
    }

    fn block_hash(&mut self, number: u64) -> Result<B256> {
        scope::<STATE, _>(|| {
            let hash = self.ancestors.hash(number).map_err(Box::new);
            self.note_fault(hash)
        })
    }
}

impl DatabaseCommit for WitnessState<'_> {
    fn commit(&mut self, changes: AddressMap<Account>) {
        scope::<STATE, _>(|| {
            for (address, changed) in changes {
                if changed.is_touched() {
                    let committed = self.commit_account(address, changed);
                    // The trait lets no error out: the code that runs the block asks for it.
                    let _ = self.note_fault(committed);
                }
            }
        });
    }
}

fn decode_whole<T: Decodable>(bytes: &mut &[u8]) -> alloy_rlp::Result<T> {
    let value = T::decode(bytes)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(alloy_rlp::Error::UnexpectedLength)
    }
}

/// The changes of the state by a block.
#[cfg(feature = "host")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// The accounts that are other than before.
    pub accounts: Vec<AccountChange>,
    /// Codes of the contracts that it creates.
    pub codes: Vec<Bytes>,
}

/// The change of one account by a block.
#[cfg(feature = "host")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountChange {
    pub address: Address,
    /// The account afterwards; `None` if there is none.
    pub after: Option<TrieAccount>,
    /// The slots that were read or written, as they are afterwards. If the account was destroyed
    /// and created again they are all that it has, which the storage root tells.
    pub slots: Vec<(U256, U256)>,
}

#[cfg(feature = "host")]
impl WitnessState<'_> {
    /// The changes, once [`Self::root`] has written them to the tries.
    pub(crate) fn changes(&mut self) -> StateChanges {
        let arena = &mut self.arena;
        let changed = self.cache.iter();
        let changed = changed.filter(|(_, account)| account.info_changed || account.storage_changed);
        let change = |(&address, account): (&Address, &CachedAccount)| AccountChange {
            address,
            after: account.info.as_ref().map(|info| TrieAccount {
                nonce: info.nonce,
                balance: info.balance,
                storage_root: arena.root(&account.storage),
                code_hash: info.code_hash,
            }),
            slots: account
                .slots
                .iter()
                .map(|(&slot, value)| (slot, value.present))
                .collect(),
        };
        StateChanges {
            accounts: changed.map(change).collect(),
            codes: self.codes.created().map(Bytecode::original_bytes).collect(),
        }
    }
}
