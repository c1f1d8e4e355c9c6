//! The transactions of the sample's block: their senders, contents and signatures.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use k256::ecdsa::SigningKey;

use super::{
    CHAIN_ID,
    chain_state::Account,
    contracts::{pool, token},
    genesis::{Genesis, units},
    rng::Rng,
};
use crate::Transaction;

/// The share of each kind of transaction in the block, in percent: near the shares that block
/// explorers show of a rollup for payments and trade.
const MIX: [(Kind, usize); 5] = [
    (Kind::TokenTransfer, 35),
    (Kind::Plain, 30),
    (Kind::Swap, 20),
    (Kind::Approve, 10),
    (Kind::Failing, 5),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TokenTransfer,
    Plain,
    Swap,
    Approve,
    Failing,
}

/// A signed transaction.
pub(super) struct Planned {
    pub(super) tx: Transaction,
    pub(super) sender: Address,
    /// Whether its receipt has to say success.
    pub(super) succeeds: bool,
}

/// A call before it is signed.
struct Call {
    to: Address,
    value: U256,
    data: Bytes,
    gas_limit: u64,
    succeeds: bool,
}

impl Call {
    fn new(to: Address, data: Bytes, gas_limit: u64) -> Self {
        Self {
            to,
            value: U256::ZERO,
            data,
            gas_limit,
            succeeds: true,
        }
    }

    fn paying(self, value: U256) -> Self {
        Self { value, ..self }
    }

    fn failing(self) -> Self {
        Self {
            succeeds: false,
            ..self
        }
    }
}

/// A key, and the state of its account.
struct Trader {
    key: SigningKey,
    address: Address,
    nonce: u64,
    /// Whether the pool may take all its tokens, as most wallets allow.
    trusts_pool: bool,
}

/// Signs `txs` transactions, and puts into `genesis` the balances that they need.
pub(super) fn plan(genesis: &mut Genesis, rng: &mut Rng, txs: usize, base_fee: u64) -> Vec<Planned> {
    let mut traffic = Traffic {
        traders: Vec::new(),
        regulars: Vec::new(),
        regulars_max: txs.div_ceil(4) * 3,
        genesis,
        rng,
    };
    let mut kinds = Vec::with_capacity(txs);
    for (kind, count) in counts(txs) {
        kinds.extend((0..count).map(|place| (kind, place)));
    }
    traffic.rng.shuffle(&mut kinds);
    kinds
        .into_iter()
        .map(|(kind, place)| {
            let (trader, call) = traffic.call(kind, place);
            traffic.sign(trader, call, base_fee)
        })
        .collect()
}

/// The number of each kind among `txs`: the shares of [`MIX`], rounded so that the sum is right.
fn counts(txs: usize) -> [(Kind, usize); MIX.len()] {
    let mut counts = MIX.map(|(kind, percent)| (kind, txs * percent / 100));
    let mut order: [usize; MIX.len()] = std::array::from_fn(|at| at);
    order.sort_by_key(|&at| std::cmp::Reverse(txs * MIX[at].1 % 100));
    let rounded: usize = counts.iter().map(|(_, count)| count).sum();
    for at in order.into_iter().take(txs - rounded) {
        counts[at].1 += 1;
    }
    counts
}

struct Traffic<'a> {
    genesis: &'a mut Genesis,
    rng: &'a mut Rng,
    traders: Vec<Trader>,
    /// Indices of the traders that may send again.
    regulars: Vec<usize>,
    /// So few that some do send again.
    regulars_max: usize,
}

impl Traffic<'_> {
    /// The `place`th call of a kind, and the index of the trader that makes it.
    fn call(&mut self, kind: Kind, place: usize) -> (usize, Call) {
        let place = place % 8;
        // A sender that gives all away does not send again.
        let gives_all = kind == Kind::TokenTransfer && place == 3;
        let trader = if gives_all {
            self.new_trader()
        } else {
            self.any_trader()
        };
        let sender = self.traders[trader].address;
        let side = self.rng.index(2);
        let token = self.genesis.tokens[side];
        let friend = self.genesis.person(self.rng);
        let amount = self.rng.amount();
        let call = match (kind, place) {
            // All of a balance: its slot goes.
            (Kind::TokenTransfer, 3) => {
                let all = self.genesis.balance(token, sender);
                Call::new(token, token::transfer(friend, all), 65_000)
            }
            // All of an allowance: its slot goes.
            (Kind::TokenTransfer, 6) => {
                let owner = self.rng.address();
                self.genesis.give(token, owner, amount + units(1));
                self.genesis.allow(token, owner, sender, amount);
                Call::new(token, token::transfer_from(owner, friend, amount), 80_000)
            }
            (Kind::TokenTransfer, _) => Call::new(token, token::transfer(friend, amount), 65_000),
            (Kind::Plain, _) => {
                let to = if self.rng.chance(70) {
                    friend
                } else {
                    self.rng.address()
                };
                // The amount is at most 1 ether: the balance suffices however often the trader
                // sends.
                Call::new(to, Bytes::new(), 21_000).paying(amount / U256::from(1_000))
            }
            (Kind::Swap, _) => self.swap(trader, side, 95),
            // An allowance is withdrawn: its slot goes.
            (Kind::Approve, 2 | 5) => {
                self.genesis.allow(token, sender, friend, amount);
                Call::new(token, token::approve(friend, U256::ZERO), 50_000)
            }
            (Kind::Approve, _) => {
                let allowed = if self.rng.chance(50) { U256::MAX } else { amount };
                Call::new(token, token::approve(friend, allowed), 55_000)
            }
            // Too few tokens; too bad a price; too little gas.
            (Kind::Failing, 0 | 3 | 6) => {
                Call::new(token, token::transfer(friend, units(10_000_000)), 65_000).failing()
            }
            (Kind::Failing, 1 | 4 | 7) => self.swap(trader, side, 110).failing(),
            (Kind::Failing, _) => {
                let swap = self.swap(trader, side, 95);
                Call {
                    gas_limit: 70_000,
                    ..swap
                }
                .failing()
            }
        };
        (trader, call)
    }

    /// A swap by a trader that wants at least this many percent of the pool's price before the
    /// block.
    fn swap(&mut self, trader: usize, side: usize, percent: u64) -> Call {
        let amount = self.rng.amount();
        let Trader {
            address, trusts_pool, ..
        } = self.traders[trader];
        let Genesis {
            tokens,
            pool,
            reserves,
            ..
        } = *self.genesis;
        if !trusts_pool {
            self.genesis.allow(tokens[side], address, pool, amount);
        }
        let paid = amount * U256::from(997);
        let output = paid * reserves[1 - side] / (reserves[side] * U256::from(1_000) + paid);
        let least = output * U256::from(percent) / U256::from(100);
        Call::new(pool, pool::swap(tokens[side], amount, least, address), 180_000)
    }

    fn any_trader(&mut self) -> usize {
        let known = self.regulars.len();
        if known == 0 || known < self.regulars_max && self.rng.chance(80) {
            let trader = self.new_trader();
            self.regulars.push(trader);
            return trader;
        }
        self.regulars[self.rng.index(known)]
    }

    fn new_trader(&mut self) -> usize {
        let key = key(self.rng);
        let address = Address::from_public_key(key.verifying_key());
        let nonce = self.rng.below(500);
        let balance = units(self.rng.between(20, 100));
        self.genesis
            .chain_state
            .accounts
            .insert(address, Account::plain(nonce, balance));
        let trusts_pool = self.rng.chance(60);
        for token in self.genesis.tokens {
            let amount = units(self.rng.between(500_000, 1_000_000)) + self.rng.amount();
            self.genesis.give(token, address, amount);
            if trusts_pool {
                self.genesis.allow(token, address, self.genesis.pool, U256::MAX);
            }
        }
        self.traders.push(Trader {
            key,
            address,
            nonce,
            trusts_pool,
        });
        self.traders.len() - 1
    }

    fn sign(&mut self, trader: usize, call: Call, base_fee: u64) -> Planned {
        let trader = &mut self.traders[trader];
        let tip = u128::from(self.rng.between(1_000_000, 2_000_000_000));
        let tx = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce: trader.nonce,
            gas_limit: call.gas_limit,
            max_fee_per_gas: 2 * u128::from(base_fee) + tip,
            max_priority_fee_per_gas: tip,
            to: TxKind::Call(call.to),
            value: call.value,
            access_list: Default::default(),
            input: call.data,
        };
        trader.nonce += 1;
        let signature = signature(&trader.key, &tx);
        Planned {
            tx: tx.into_signed(signature).into(),
            sender: trader.address,
            succeeds: call.succeeds,
        }
    }
}

pub(super) fn key(rng: &mut Rng) -> SigningKey {
    loop {
        // All but 1 in 2^128 are keys.
        if let Ok(key) = SigningKey::from_slice(&rng.hash()[..]) {
            return key;
        }
    }
}

/// The signature follows RFC 6979, so it is the same each time, and has a low `s` (EIP-2).
pub(super) fn signature(key: &SigningKey, tx: &impl SignableTransaction<Signature>) -> Signature {
    sign(key, tx.signature_hash())
}

pub(super) fn sign(key: &SigningKey, hash: B256) -> Signature {
    let (signature, recovery) = key
        .sign_prehash_recoverable(hash.as_slice())
        .expect("a prehash of 32 bytes can be signed");
    Signature::from((signature, recovery))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_adds_up() {
        assert_eq!(MIX.iter().map(|(_, percent)| percent).sum::<usize>(), 100);
        for txs in 0..=200 {
            assert_eq!(counts(txs).iter().map(|(_, count)| count).sum::<usize>(), txs);
        }
        assert_eq!(counts(20).map(|(_, count)| count), [7, 6, 4, 2, 1]);
    }
}
