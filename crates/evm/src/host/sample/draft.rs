//! A draft of a block: any one of a few contracts and transactions, of any fork, on a small state.
//! [`features`](super::features()) and the tests make their blocks with it.
//!
//! Roots and witness are alloy-trie's and execution is alloy-evm's, as in a sample, so none of it
//! is the code that validates the block.

use std::collections::BTreeMap;

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, Header, SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy,
    constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS, EMPTY_WITHDRAWALS},
};
use alloy_eips::{
    eip1559::BaseFeeParams,
    eip2930::{AccessList, AccessListItem},
    eip4895::{Withdrawal, Withdrawals},
    eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS as DEPOSIT_CONTRACT,
    eip7685::EMPTY_REQUESTS_HASH,
    eip7702::Authorization,
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use k256::ecdsa::SigningKey;

use super::{
    CHAIN_ID, PARENT_NUMBER, PARENT_TIMESTAMP, SLOT_SECONDS, SampleError,
    asm::assemble_with,
    build::{Rules, execute, seal},
    chain_state::{Account, ChainState},
    genesis::{system_contracts, units},
    rng::Rng,
    traffic::{Planned, key, sign, signature},
};
use crate::{
    BlobParams, BlobSchedule, ChainConfig, Fork, Parent, Transaction,
    host::{BlockFile, Witness, chain_config},
};

pub(super) const GAS_LIMIT: u64 = 30_000_000;
const BASE_FEE: u64 = 7_000_000;
/// Plenty for each transaction of a draft.
pub(super) const TX_GAS: u64 = 2_000_000;
const GAS_PER_BLOB: u64 = 1 << 17;
/// Headers of ancestors in the witness, the parent's included.
pub(super) const ANCESTORS: u64 = 4;

/// A block in the making.
pub(super) struct Draft {
    pub(super) rules: Rules,
    pub(super) chain_state: ChainState,
    pub(super) rng: Rng,
    plan: Vec<Planned>,
    /// Wei per gas in the parent.
    pub(super) base_fee: u64,
    /// The gas limit of the block and of those before it.
    pub(super) gas_limit: u64,
}

impl Draft {
    pub(super) fn new(fork: Fork) -> Self {
        let mut rng = Rng::new(fork as u64);
        let mut chain_state = ChainState::default();
        for _ in 0..300 {
            let balance = rng.amount();
            chain_state
                .accounts
                .insert(rng.address(), Account::plain(1, balance));
        }
        system_contracts(&mut chain_state, &mut rng);
        Self {
            rules: Rules {
                fork,
                has_bpo: false,
                deposit_contract: None,
            },
            chain_state,
            rng,
            plan: Vec::new(),
            base_fee: BASE_FEE,
            gas_limit: GAS_LIMIT,
        }
    }

    pub(super) fn assemble(&self, source: &str) -> Result<Bytes, SampleError> {
        Ok(assemble_with(source, self.rules.fork >= Fork::Shanghai)?.into())
    }

    /// A contract with small slots.
    pub(super) fn deploy(
        &mut self,
        source: &str,
        balance: U256,
        slots: &[(u64, u64)],
    ) -> Result<Address, SampleError> {
        let code = self.assemble(source)?;
        let address = self.rng.address();
        let slots = slots
            .iter()
            .map(|&(slot, value)| (U256::from(slot), U256::from(value)));
        self.chain_state.deploy(address, code, slots.collect());
        if let Some(account) = self.chain_state.accounts.get_mut(&address) {
            account.balance = balance;
        }
        Ok(address)
    }

    /// A contract that logs its calldata as a deposit, and that the chain takes for its deposit
    /// contract: at the address that Ethereum's has, which is that of all fixtures.
    pub(super) fn deploy_deposit_contract(&mut self) -> Result<Address, SampleError> {
        let source = "CALLDATASIZE PUSH 0 PUSH 0 CALLDATACOPY
            PUSH topic(DepositEvent(bytes,bytes,bytes,bytes,bytes)) CALLDATASIZE PUSH 0 LOG1 STOP";
        let address = DEPOSIT_CONTRACT;
        self.chain_state
            .deploy(address, self.assemble(source)?, BTreeMap::new());
        self.rules.deposit_contract = Some(address);
        Ok(address)
    }

    /// A new account, with 10 ether.
    fn sender(&mut self) -> (SigningKey, Address) {
        let key = key(&mut self.rng);
        let address = Address::from_public_key(key.verifying_key());
        self.chain_state
            .accounts
            .insert(address, Account::plain(0, units(10)));
        (key, address)
    }

    fn push<T: SignableTransaction<Signature>>(&mut self, tx: T, succeeds: bool) -> Address
    where
        Transaction: From<alloy_consensus::Signed<T>>,
    {
        let (key, sender) = self.sender();
        let signature = signature(&key, &tx);
        self.plan.push(Planned {
            tx: tx.into_signed(signature).into(),
            sender,
            succeeds,
        });
        sender
    }

    fn fees() -> TxEip1559 {
        TxEip1559 {
            chain_id: CHAIN_ID,
            gas_limit: TX_GAS,
            max_fee_per_gas: 100 * u128::from(BASE_FEE),
            max_priority_fee_per_gas: 1_000,
            ..TxEip1559::default()
        }
    }

    pub(super) fn call(&mut self, to: Address, input: Bytes, value: U256, succeeds: bool) {
        let tx = TxEip1559 {
            to: TxKind::Call(to),
            input,
            value,
            ..Self::fees()
        };
        self.push(tx, succeeds);
    }

    /// A creation by a transaction, and the address that it leads to.
    pub(super) fn create(&mut self, init: Bytes) -> Address {
        let tx = TxEip1559 {
            to: TxKind::Create,
            input: init,
            ..Self::fees()
        };
        self.push(tx, true).create(0)
    }

    pub(super) fn legacy(&mut self, to: Address) {
        let tx = TxLegacy {
            chain_id: Some(CHAIN_ID),
            gas_price: 100 * u128::from(BASE_FEE),
            gas_limit: TX_GAS,
            to: TxKind::Call(to),
            ..TxLegacy::default()
        };
        self.push(tx, true);
    }

    pub(super) fn with_access_list(&mut self, to: Address, slot: U256) {
        let item = AccessListItem {
            address: to,
            storage_keys: vec![slot.into()],
        };
        let tx = TxEip2930 {
            chain_id: CHAIN_ID,
            gas_price: 100 * u128::from(BASE_FEE),
            gas_limit: TX_GAS,
            to: TxKind::Call(to),
            access_list: AccessList(vec![item]),
            ..TxEip2930::default()
        };
        self.push(tx, true);
    }

    /// A call with other gas than others.
    pub(super) fn with_gas(&mut self, to: Address, input: Bytes, gas_limit: u64) {
        let tx = TxEip1559 {
            to: TxKind::Call(to),
            input,
            gas_limit,
            ..Self::fees()
        };
        self.push(tx, true);
    }

    /// A transfer with no more gas than it takes.
    pub(super) fn transfer(&mut self, to: Address, value: U256, gas_limit: u64) {
        let tx = TxEip1559 {
            to: TxKind::Call(to),
            value,
            gas_limit,
            ..Self::fees()
        };
        self.push(tx, true);
    }

    pub(super) fn with_blobs(&mut self, to: Address, blobs: u8) {
        let hash = |number: u8| {
            let mut hash = keccak256([number]);
            // EIP-4844's version.
            hash[0] = 1;
            hash
        };
        let tx = TxEip4844 {
            chain_id: CHAIN_ID,
            gas_limit: TX_GAS,
            max_fee_per_gas: 100 * u128::from(BASE_FEE),
            max_priority_fee_per_gas: 1_000,
            to,
            blob_versioned_hashes: (1..=blobs).map(hash).collect(),
            max_fee_per_blob_gas: 1_000_000_000,
            ..TxEip4844::default()
        };
        self.push(tx, true);
    }

    /// An account delegates to a contract's code, and is called.
    pub(super) fn delegate(&mut self, code: Address) {
        let (key, authority) = self.sender();
        let authorization = Authorization {
            chain_id: U256::from(CHAIN_ID),
            address: code,
            nonce: 0,
        };
        let signature = sign(&key, authorization.signature_hash());
        let tx = TxEip7702 {
            chain_id: CHAIN_ID,
            gas_limit: TX_GAS,
            max_fee_per_gas: 100 * u128::from(BASE_FEE),
            max_priority_fee_per_gas: 1_000,
            to: authority,
            authorization_list: vec![authorization.into_signed(signature)],
            ..TxEip7702::default()
        };
        self.push(tx, true);
    }

    /// Executes and seals it.
    pub(super) fn file(self) -> Result<BlockFile, SampleError> {
        self.sealed_on(|_| ())
    }

    /// Executes and seals it, with a state after the block that is mended where alloy-evm has the
    /// rules wrong.
    #[expect(clippy::too_many_lines, reason = "one field after the other")]
    pub(super) fn sealed_on(mut self, mend: impl FnOnce(&mut ChainState)) -> Result<BlockFile, SampleError> {
        let fork = self.rules.fork;
        let before = self.chain_state.state_trie();
        let ancestors = self.ancestors(before.root());
        let parent = &ancestors[ancestors.len() - 1];
        let withdrawals = (fork >= Fork::Shanghai).then(|| {
            let withdrawal = |index| Withdrawal {
                index,
                validator_index: index,
                address: self.plan.first().map_or(Address::ZERO, |planned| planned.sender),
                amount: 20_000_000,
            };
            Withdrawals::new((1..3).map(withdrawal).collect())
        });
        let header = Header {
            parent_hash: parent.hash_slow(),
            number: parent.number + 1,
            timestamp: parent.timestamp + SLOT_SECONDS,
            mix_hash: self.rng.hash(),
            base_fee_per_gas: parent.next_block_base_fee(BaseFeeParams::ethereum()),
            excess_blob_gas: parent
                .excess_blob_gas
                .zip(self.rules.blobs())
                .map(|(excess, blobs)| {
                    let used = parent.blob_gas_used.unwrap_or_default();
                    if fork >= Fork::Osaka {
                        blobs.next_block_excess_blob_gas_osaka(excess, used, self.base_fee)
                    } else {
                        excess + used - blobs.target_blob_gas_per_block()
                    }
                }),
            blob_gas_used: parent.blob_gas_used.map(|_| {
                let hashes = self.plan.iter().filter_map(|planned| match &planned.tx {
                    Transaction::Eip4844(tx) => Some(tx.tx().blob_versioned_hashes.len() as u64),
                    _ => None,
                });
                hashes.sum::<u64>() * GAS_PER_BLOB
            }),
            parent_beacon_block_root: parent.parent_beacon_block_root.map(|_| self.rng.hash()),
            beneficiary: parent.beneficiary,
            gas_limit: self.gas_limit,
            ..Header::default()
        };
        let execution = execute(
            self.rules,
            &self.chain_state,
            &header,
            &self.plan,
            withdrawals.as_ref(),
        )?;
        let mut after = self.chain_state.after(&execution.changes);
        mend(&mut after);
        let root = after.state_trie().root();
        let block = seal(
            self.rules,
            header,
            root,
            &execution.result,
            self.plan,
            withdrawals,
        );
        let headers: Vec<Bytes> = ancestors
            .iter()
            .map(|header| alloy_rlp::encode(header).into())
            .collect();
        let codes = execution.reads.codes.iter();
        Ok(BlockFile {
            chain_id: CHAIN_ID,
            block: alloy_rlp::encode(&block).into(),
            later: Vec::new(),
            parent: Parent::Header(headers[headers.len() - 1].clone()),
            witness: Witness {
                state: self.chain_state.witness(&before, &execution.reads, &after),
                codes: codes
                    .filter_map(|hash| self.chain_state.codes.get(hash).cloned())
                    .collect(),
                headers,
            },
            chain_config: Some(chain_config::to_geth(&chain(self.rules))),
            synthetic: true,
            description: Some(format!(
                "A made-up block of no real chain, with the features of {fork}"
            )),
        })
    }

    /// Headers of the blocks before, the parent's last; BLOCKHASH knows them from here on.
    fn ancestors(&mut self, state_root: B256) -> Vec<Header> {
        let fork = self.rules.fork;
        let since = |first: Fork| fork >= first;
        let mut ancestors: Vec<Header> = Vec::new();
        for back in (0..ANCESTORS).rev() {
            let header = Header {
                parent_hash: ancestors
                    .last()
                    .map_or_else(|| self.rng.hash(), Header::hash_slow),
                ommers_hash: EMPTY_OMMER_ROOT_HASH,
                state_root,
                transactions_root: EMPTY_TRANSACTIONS,
                receipts_root: EMPTY_RECEIPTS,
                number: PARENT_NUMBER - back,
                gas_limit: self.gas_limit,
                gas_used: self.gas_limit / 2,
                timestamp: PARENT_TIMESTAMP - SLOT_SECONDS * back,
                mix_hash: self.rng.hash(),
                base_fee_per_gas: Some(self.base_fee),
                withdrawals_root: since(Fork::Shanghai).then_some(EMPTY_WITHDRAWALS),
                blob_gas_used: since(Fork::Cancun).then_some(4 * GAS_PER_BLOB),
                excess_blob_gas: since(Fork::Cancun).then_some(40 * GAS_PER_BLOB),
                parent_beacon_block_root: since(Fork::Cancun).then(|| self.rng.hash()),
                requests_hash: since(Fork::Prague).then_some(EMPTY_REQUESTS_HASH),
                ..Header::default()
            };
            self.chain_state
                .block_hashes
                .insert(header.number, header.hash_slow());
            ancestors.push(header);
        }
        ancestors
    }
}

fn chain(rules: Rules) -> ChainConfig {
    let since = |first: Fork| (rules.fork >= first).then_some(0);
    let mut blobs = BlobSchedule::default();
    match rules.fork {
        Fork::Paris | Fork::Shanghai => {}
        Fork::Cancun => blobs.push(0, BlobParams::CANCUN),
        Fork::Prague | Fork::Osaka => blobs.push(0, BlobParams::PRAGUE),
    }
    if rules.has_bpo {
        blobs.push(PARENT_TIMESTAMP + SLOT_SECONDS, BlobParams::BPO1);
    }
    ChainConfig {
        shanghai_time: since(Fork::Shanghai),
        cancun_time: since(Fork::Cancun),
        prague_time: since(Fork::Prague),
        osaka_time: since(Fork::Osaka),
        blobs,
        deposit_contract: rules.deposit_contract,
        ..ChainConfig::prague_from_genesis(CHAIN_ID)
    }
}
