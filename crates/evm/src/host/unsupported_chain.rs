//! Chains that are known by their ids but whose rules are not supported. They are refused before
//! anything else is asked of them.
//!
//! Their blocks would be refused anyway, by their transactions' types or the keys of their
//! configurations. But the block that shows it has to be there first, and a configuration can be
//! written without those keys.

/// Chains of the OP Stack by their ids. Other chains of it are refused by their other marks.
const OP_STACK: [(u64, &str); 10] = [
    (10, "OP Mainnet"),
    (130, "Unichain"),
    (480, "World Chain"),
    (1_868, "Soneium"),
    (8_453, "Base"),
    (34_443, "Mode"),
    (57_073, "Ink"),
    (84_532, "Base Sepolia"),
    (7_777_777, "Zora"),
    (11_155_420, "OP Sepolia"),
];

/// A chain whose blocks cannot be proven, whatever its configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "chain {chain_id} is {name}, a chain of the OP Stack, whose blocks cannot be proven: their deposits (transactions of type \
     0x7e), the price of L1 data and the base fee's parameters in the extra data are rules that are not known here"
)]
pub struct UnsupportedChain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The chain's name.
    pub name: &'static str,
}

impl UnsupportedChain {
    /// Refuses the chain if it is one of those.
    ///
    /// # Errors
    /// It is.
    pub fn check(chain_id: u64) -> Result<(), Self> {
        match OP_STACK.iter().find(|(id, _)| *id == chain_id) {
            Some(&(chain_id, name)) => Err(Self { chain_id, name }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChainConfig, host::sample};

    #[test]
    fn chains_of_the_op_stack_are_named() {
        for (chain_id, name) in [
            (10, "OP Mainnet"),
            (8_453, "Base"),
            (11_155_420, "OP Sepolia"),
            (84_532, "Base Sepolia"),
        ] {
            let text = UnsupportedChain::check(chain_id).unwrap_err().to_string();
            assert!(
                text.contains(&format!("chain {chain_id} is {name}, a chain of the OP Stack")),
                "{text}"
            );
        }
        let supported = ChainConfig::BUILTIN.map(|chain| chain.chain_id);
        for chain_id in supported.into_iter().chain([sample::CHAIN_ID, 1_337]) {
            assert_eq!(UnsupportedChain::check(chain_id), Ok(()));
        }
    }
}
