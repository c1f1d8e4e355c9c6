//! The sample chain's two contracts, the calls to them, and their storage; and the logs of the
//! deposit contract.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use super::asm::{AsmError, assemble};

/// The data of a deposit event; in another order than EIP-6110 has it, if it is `shuffled`.
pub(super) fn deposit_event(shuffled: bool) -> Bytes {
    let mut offsets = [160, 256, 320, 384, 512];
    if shuffled {
        offsets.swap(2, 4);
    }
    let mut data = vec![0; 576];
    let mut word =
        |at: usize, value: u64| data[at..at + 32].copy_from_slice(&U256::from(value).to_be_bytes::<32>());
    for (at, (offset, size)) in offsets.into_iter().zip([48, 32, 8, 96, 8]).enumerate() {
        word(32 * at, offset);
        word(offset as usize, size);
    }
    data.into()
}

/// Storage slots of a token; see `token.easm`.
pub(super) mod token {
    use super::*;

    pub(crate) const SUPPLY: U256 = U256::ZERO;
    const BALANCES: u64 = 1;
    const ALLOWANCES: u64 = 2;

    pub(crate) fn code() -> Result<Bytes, AsmError> {
        assemble(include_str!("token.easm")).map(Into::into)
    }

    pub(crate) fn balance(holder: Address) -> U256 {
        mapping(holder, U256::from(BALANCES).into())
    }

    pub(crate) fn allowance(owner: Address, spender: Address) -> U256 {
        mapping(spender, mapping(owner, U256::from(ALLOWANCES).into()).into())
    }

    pub(crate) fn transfer(to: Address, amount: U256) -> Bytes {
        call("transfer(address,uint256)", &[to.into_word(), amount.into()])
    }

    pub(crate) fn transfer_from(from: Address, to: Address, amount: U256) -> Bytes {
        call(
            "transferFrom(address,address,uint256)",
            &[from.into_word(), to.into_word(), amount.into()],
        )
    }

    pub(crate) fn approve(spender: Address, amount: U256) -> Bytes {
        call("approve(address,uint256)", &[spender.into_word(), amount.into()])
    }
}

/// Storage slots of the pool; see `pool.easm`.
pub(super) mod pool {
    use super::*;

    pub(crate) const TOKEN0: U256 = U256::ZERO;
    pub(crate) const TOKEN1: U256 = U256::from_limbs([1, 0, 0, 0]);
    pub(crate) const RESERVES: U256 = U256::from_limbs([2, 0, 0, 0]);
    pub(crate) const LOCK: U256 = U256::from_limbs([3, 0, 0, 0]);

    pub(crate) fn code() -> Result<Bytes, AsmError> {
        assemble(include_str!("pool.easm")).map(Into::into)
    }

    /// The reserves as the slot holds them; each under 2^112.
    pub(crate) fn reserves(token0: U256, token1: U256, time: u64) -> U256 {
        U256::from(time & u64::from(u32::MAX)) << 224 | token1 << 112 | token0
    }

    pub(crate) fn swap(token_in: Address, amount: U256, least: U256, to: Address) -> Bytes {
        call(
            "swap(address,uint256,uint256,address)",
            &[token_in.into_word(), amount.into(), least.into(), to.into_word()],
        )
    }
}

/// The slot of a key in a Solidity mapping.
fn mapping(key: Address, at: B256) -> U256 {
    keccak256([key.into_word(), at].concat()).into()
}

/// ABI encoding, for arguments of one word each.
fn call(signature: &str, arguments: &[B256]) -> Bytes {
    [&keccak256(signature)[..4], arguments.concat().as_slice()]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use alloy_evm::{Evm, EvmEnv, EvmFactory, eth::EthEvmFactory};
    use revm::{context::result::ExecutionResult, database::State};

    use super::*;
    use crate::host::sample::{
        SampleSpec,
        chain_state::{Reads, Recorder},
        genesis::Genesis,
        rng::Rng,
    };

    /// The result of a call, or the data that it reverts with.
    fn run(genesis: &Genesis, to: Address, data: Bytes) -> Result<Bytes, Bytes> {
        let recorder = Recorder {
            chain_state: &genesis.chain_state,
            reads: Reads::default(),
        };
        let state = State::builder().with_database(recorder).build();
        let mut evm = EthEvmFactory::default().create_evm(state, EvmEnv::default());
        match evm
            .transact_system_call(genesis.sequencer, to, data)
            .unwrap()
            .result
        {
            ExecutionResult::Success { output, .. } => Ok(output.into_data()),
            ExecutionResult::Revert { output, .. } => Err(output),
            ExecutionResult::Halt { reason, .. } => panic!("the call halts: {reason:?}"),
        }
    }

    #[test]
    fn the_contracts_speak_the_language_of_their_standards() {
        let spec = SampleSpec {
            txs: 0,
            seed: 0,
            accounts: 10,
            token_holders: 10,
        };
        let mut genesis = Genesis::new(&spec, &mut Rng::new(0)).unwrap();
        let Genesis {
            tokens: [token0, token1],
            pool,
            reserves,
            sequencer,
            ..
        } = genesis;
        genesis.allow(token0, sequencer, pool, U256::from(77));
        let words = |words: &[U256]| -> Result<Bytes, Bytes> {
            let words: Vec<_> = words.iter().map(U256::to_be_bytes::<32>).collect();
            Ok(words.concat().into())
        };
        let ask = |to, signature, arguments: &[B256]| run(&genesis, to, call(signature, arguments));
        let (owner, spender) = (sequencer.into_word(), pool.into_word());
        let time = U256::from(super::super::PARENT_TIMESTAMP - 60);
        let supply = genesis.chain_state.accounts[&token0].storage[&token::SUPPLY];

        assert_eq!(ask(token0, "decimals()", &[]), words(&[U256::from(18)]));
        assert_eq!(ask(token0, "totalSupply()", &[]), words(&[supply]));
        assert_eq!(
            ask(token0, "balanceOf(address)", &[spender]),
            words(&[reserves[0]])
        );
        let allowed = ask(token0, "allowance(address,address)", &[owner, spender]);
        assert_eq!(allowed, words(&[U256::from(77)]));
        assert_eq!(ask(pool, "token0()", &[]), words(&[token0.into_word().into()]));
        assert_eq!(ask(pool, "token1()", &[]), words(&[token1.into_word().into()]));
        assert_eq!(
            ask(pool, "getReserves()", &[]),
            words(&[reserves[0], reserves[1], time])
        );
        // The token refuses a function that is not there, arguments that are cut off, and an
        // address of more than 160 bits.
        let refused = Err(Bytes::new());
        assert_eq!(ask(token0, "mint(address)", &[owner]), refused);
        assert_eq!(ask(token0, "balanceOf(address)", &[]), refused);
        assert_eq!(
            ask(token0, "balanceOf(address)", &[B256::repeat_byte(1)]),
            refused
        );
    }

    #[test]
    fn failures_say_why() {
        let spec = SampleSpec {
            txs: 0,
            seed: 0,
            accounts: 10,
            token_holders: 0,
        };
        let genesis = Genesis::new(&spec, &mut Rng::new(0)).unwrap();
        let Genesis {
            tokens: [token, _],
            pool,
            sequencer,
            ..
        } = genesis;
        let amount = U256::from(5);
        let error = |signature, arguments: &[B256]| Err(call(signature, arguments));
        let zero = B256::ZERO;
        let poor = run(&genesis, token, token::transfer(pool, amount));
        let arguments = [sequencer.into_word(), zero, amount.into()];
        assert_eq!(
            poor,
            error("ERC20InsufficientBalance(address,uint256,uint256)", &arguments)
        );
        let nobody = run(&genesis, token, token::transfer(Address::ZERO, amount));
        assert_eq!(nobody, error("ERC20InvalidReceiver(address)", &[zero]));
        // The pool passes on the token's own words.
        let unasked = run(&genesis, pool, pool::swap(token, amount, amount, sequencer));
        let arguments = [pool.into_word(), zero, amount.into()];
        assert_eq!(
            unasked,
            error("ERC20InsufficientAllowance(address,uint256,uint256)", &arguments)
        );
        let foreign = run(&genesis, pool, pool::swap(pool, amount, amount, sequencer));
        assert_eq!(foreign, error("UnknownToken()", &[]));
    }
}
