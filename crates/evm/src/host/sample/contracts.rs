//! The sample chain's two contracts, the calls to them, and their storage.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use super::asm::{AsmError, assemble};

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
