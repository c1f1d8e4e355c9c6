//! The state before the sample's block: people, two tokens, a pool, and the system contracts.

use std::collections::BTreeMap;

use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_primitives::{Address, U256};

use super::{
    PARENT_NUMBER, PARENT_TIMESTAMP, SLOT_SECONDS, SampleError, SampleSpec,
    chain_state::{Account, ChainState},
    contracts::{pool, token},
    rng::Rng,
};

/// Length of the ring buffers of EIP-2935 and EIP-4788: 8191, a prime.
const RING: u64 = eip2935::HISTORY_SERVE_WINDOW as u64;

/// The state, and the roles of its accounts.
pub(super) struct Genesis {
    pub(super) chain_state: ChainState,
    /// Plain accounts that have nothing to do with the block, until it sends them something.
    pub(super) people: Vec<Address>,
    pub(super) tokens: [Address; 2],
    pub(super) pool: Address,
    pub(super) reserves: [U256; 2],
    pub(super) sequencer: Address,
}

/// `units` of a token with 18 decimals, or of ether, in its smallest unit.
pub(super) fn units(units: u64) -> U256 {
    U256::from(units) * U256::from(10).pow(U256::from(18))
}

impl Genesis {
    pub(super) fn new(spec: &SampleSpec, rng: &mut Rng) -> Result<Self, SampleError> {
        let mut chain_state = ChainState::default();
        let people: Vec<_> = (0..spec.accounts).map(|_| rng.address()).collect();
        for &person in &people {
            let nonce = if rng.chance(60) { rng.below(200) } else { 0 };
            chain_state
                .accounts
                .insert(person, Account::plain(nonce, rng.amount()));
        }
        let sequencer = people[0];
        let tokens = [rng.address(), rng.address()];
        for token in tokens {
            chain_state.deploy(token, token::code()?, BTreeMap::new());
        }
        let pool = rng.address();
        let reserves = [
            units(rng.between(2_000_000, 4_000_000)),
            units(rng.between(1_000_000, 3_000_000)),
        ];
        let storage = BTreeMap::from([
            (pool::TOKEN0, tokens[0].into_word().into()),
            (pool::TOKEN1, tokens[1].into_word().into()),
            (
                pool::RESERVES,
                pool::reserves(reserves[0], reserves[1], PARENT_TIMESTAMP - 60),
            ),
            (pool::LOCK, U256::from(1)),
        ]);
        chain_state.deploy(pool, pool::code()?, storage);
        system_contracts(&mut chain_state, rng);

        let mut genesis = Self {
            chain_state,
            people,
            tokens,
            pool,
            reserves,
            sequencer,
        };
        for (side, token) in tokens.into_iter().enumerate() {
            genesis.give(token, pool, reserves[side]);
            for _ in 0..spec.token_holders {
                let holder = genesis.person(rng);
                genesis.give(token, holder, rng.amount());
                if rng.chance(25) {
                    let spender = genesis.person(rng);
                    genesis.allow(token, holder, spender, rng.amount());
                }
            }
        }
        Ok(genesis)
    }

    pub(super) fn person(&self, rng: &mut Rng) -> Address {
        self.people[rng.index(self.people.len())]
    }

    /// Mints: the balance and the supply grow.
    pub(super) fn give(&mut self, token: Address, holder: Address, amount: U256) {
        for slot in [token::SUPPLY, token::balance(holder)] {
            *self.storage(token).entry(slot).or_default() += amount;
        }
    }

    /// Adds to the amount that a spender may take.
    pub(super) fn allow(&mut self, token: Address, owner: Address, spender: Address, amount: U256) {
        let allowed = self
            .storage(token)
            .entry(token::allowance(owner, spender))
            .or_default();
        *allowed = allowed.saturating_add(amount);
    }

    pub(super) fn balance(&mut self, token: Address, holder: Address) -> U256 {
        self.storage(token)
            .get(&token::balance(holder))
            .copied()
            .unwrap_or_default()
    }

    fn storage(&mut self, contract: Address) -> &mut BTreeMap<U256, U256> {
        &mut self
            .chain_state
            .accounts
            .entry(contract)
            .or_insert_with(|| Account::plain(0, U256::ZERO))
            .storage
    }
}

/// The contracts that Prague's rules call in each block, with the code that their EIPs publish, as
/// they are after many blocks: full ring buffers, empty queues.
pub(super) fn system_contracts(chain_state: &mut ChainState, rng: &mut Rng) {
    let history = (1..=RING).map(|age| {
        let number = PARENT_NUMBER - age;
        (U256::from(number % RING), rng.hash().into())
    });
    let history = history.collect();
    let mut beacon_roots = BTreeMap::new();
    for age in 0..RING {
        // Slots apart by two seconds fill the whole ring, since its length is odd.
        let timestamp = PARENT_TIMESTAMP - SLOT_SECONDS * age;
        let at = timestamp % RING;
        beacon_roots.insert(U256::from(at), U256::from(timestamp));
        beacon_roots.insert(U256::from(at + RING), rng.hash().into());
    }
    let none = BTreeMap::new;
    for (address, code, storage) in [
        (
            eip2935::HISTORY_STORAGE_ADDRESS,
            &eip2935::HISTORY_STORAGE_CODE,
            history,
        ),
        (
            eip4788::BEACON_ROOTS_ADDRESS,
            &eip4788::BEACON_ROOTS_CODE,
            beacon_roots,
        ),
        (
            eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
            &eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE,
            none(),
        ),
        (
            eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
            &eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE,
            none(),
        ),
    ] {
        chain_state.deploy(address, code.clone(), storage);
    }
}
