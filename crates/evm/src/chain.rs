//! Which rules hold at which time: the forks of a chain, from Paris to Prague.

use alloy_primitives::{Address, address};
use core::fmt;
use revm::primitives::hardfork::SpecId;

use crate::BlockError;

/// Number and price of blobs in a block (EIP-7840).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobParams {
    /// Blobs per block at which the blob base fee stays as it is.
    pub target: u64,
    /// Most blobs that one block may hold.
    pub max: u64,
    /// Denominator of the exponent in the blob base fee.
    pub update_fraction: u64,
}

impl BlobParams {
    /// EIP-4844.
    pub const CANCUN: Self = Self {
        target: 3,
        max: 6,
        update_fraction: 3_338_477,
    };
    /// EIP-7691.
    pub const PRAGUE: Self = Self {
        target: 6,
        max: 9,
        update_fraction: 5_007_716,
    };
}

/// A set of rules that this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fork {
    Paris,
    Shanghai,
    Cancun,
    Prague,
}

impl Fork {
    pub(crate) const fn spec(self) -> SpecId {
        match self {
            Self::Paris => SpecId::MERGE,
            Self::Shanghai => SpecId::SHANGHAI,
            Self::Cancun => SpecId::CANCUN,
            Self::Prague => SpecId::PRAGUE,
        }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paris => "Paris",
            Self::Shanghai => "Shanghai",
            Self::Cancun => "Cancun",
            Self::Prague => "Prague",
        })
    }
}

/// The rules of a chain. Times are Unix times in seconds; a fork is active from its time on, and
/// `None` is a fork that the chain does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainConfig {
    pub chain_id: u64,
    /// First block after the Merge. Earlier ones have rules that are not known here.
    pub paris_block: u64,
    pub shanghai_time: Option<u64>,
    pub cancun_time: Option<u64>,
    pub prague_time: Option<u64>,
    /// Blocks from this time on have rules that are not known here, and are refused.
    pub osaka_time: Option<u64>,
    pub cancun_blobs: BlobParams,
    pub prague_blobs: BlobParams,
    /// Whose logs are deposit requests (EIP-6110), from Prague on. With `None` no log is one.
    pub deposit_contract: Option<Address>,
}

impl ChainConfig {
    /// Ethereum mainnet.
    pub const MAINNET: Self = Self {
        chain_id: 1,
        paris_block: 15_537_394,
        shanghai_time: Some(1_681_338_455),
        cancun_time: Some(1_710_338_135),
        prague_time: Some(1_746_612_311),
        osaka_time: Some(1_764_798_551),
        cancun_blobs: BlobParams::CANCUN,
        prague_blobs: BlobParams::PRAGUE,
        deposit_contract: Some(address!("00000000219ab540356cbb839cbe05303d7705fa")),
    };

    /// A chain with every fork up to Prague from its genesis on, and Ethereum's blob parameters.
    pub const fn prague_from_genesis(chain_id: u64) -> Self {
        Self {
            chain_id,
            paris_block: 0,
            shanghai_time: Some(0),
            cancun_time: Some(0),
            prague_time: Some(0),
            osaka_time: None,
            cancun_blobs: BlobParams::CANCUN,
            prague_blobs: BlobParams::PRAGUE,
            deposit_contract: None,
        }
    }

    /// The chains whose rules are part of the guest, and so bound by the program's commitment.
    pub fn builtin(chain_id: u64) -> Option<Self> {
        (chain_id == Self::MAINNET.chain_id).then_some(Self::MAINNET)
    }

    pub fn is_builtin(&self) -> bool {
        Self::builtin(self.chain_id).as_ref() == Some(self)
    }

    /// The rules for a block.
    ///
    /// # Errors
    /// [`BlockError::UnsupportedFork`] for a block before the Merge or after Prague.
    pub fn fork_at(&self, number: u64, timestamp: u64) -> Result<Fork, BlockError> {
        let active = |time: Option<u64>| time.is_some_and(|time| timestamp >= time);
        if number < self.paris_block || active(self.osaka_time) {
            return Err(BlockError::UnsupportedFork {
                chain_id: self.chain_id,
                number,
                timestamp,
                first_number: self.paris_block,
                end_timestamp: self.osaka_time,
            });
        }
        Ok(if active(self.prague_time) {
            Fork::Prague
        } else if active(self.cancun_time) {
            Fork::Cancun
        } else if active(self.shanghai_time) {
            Fork::Shanghai
        } else {
            Fork::Paris
        })
    }

    /// The blob parameters of a fork; `None` before Cancun.
    pub const fn blobs(&self, fork: Fork) -> Option<BlobParams> {
        match fork {
            Fork::Paris | Fork::Shanghai => None,
            Fork::Cancun => Some(self.cancun_blobs),
            Fork::Prague => Some(self.prague_blobs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mainnet_forks_begin_at_their_times() {
        let at = |time| ChainConfig::MAINNET.fork_at(20_000_000, time).ok();
        assert_eq!(at(1_681_338_454), Some(Fork::Paris));
        assert_eq!(at(1_681_338_455), Some(Fork::Shanghai));
        assert_eq!(at(1_710_338_135), Some(Fork::Cancun));
        assert_eq!(at(1_746_612_311), Some(Fork::Prague));
        assert_eq!(at(1_764_798_550), Some(Fork::Prague));
    }

    #[test]
    fn blocks_of_unknown_rules_are_refused() {
        for (number, time) in [(24_000_000, 1_764_798_551), (15_537_393, 1_663_224_162)] {
            assert!(matches!(
                ChainConfig::MAINNET.fork_at(number, time),
                Err(BlockError::UnsupportedFork { .. })
            ));
        }
    }
}
