//! The rules of a chain by time: its forks, from Paris to Osaka, and its blob parameters.

use alloc::borrow::Cow;
use alloy_eips::eip4844::{BLOB_TX_MIN_BLOB_GASPRICE, fake_exponential};
use alloy_primitives::{Address, address};

use crate::{BlockError, Fork, RuleSet};

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
    /// EIP-7691. Osaka began with the same.
    pub const PRAGUE: Self = Self {
        target: 6,
        max: 9,
        update_fraction: 5_007_716,
    };
    /// The first change of the parameters alone (EIP-7892).
    pub const BPO1: Self = Self {
        target: 10,
        max: 15,
        update_fraction: 8_346_193,
    };
    /// The second one.
    pub const BPO2: Self = Self {
        target: 14,
        max: 21,
        update_fraction: 11_684_671,
    };

    /// The blob base fee, in wei per blob gas; 2^128 - 1 where it would be more.
    ///
    /// # Panics
    /// Where the update fraction is 0.
    pub(crate) fn price(self, excess_blob_gas: u64) -> u128 {
        fake_exponential(
            BLOB_TX_MIN_BLOB_GASPRICE,
            excess_blob_gas.into(),
            self.update_fraction.into(),
        )
    }
}

/// The blob parameters of a chain by the Unix times, in seconds, from which they hold, the earliest
/// first: those of its forks, and of the changes of the parameters alone (BPO, EIP-7892).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobSchedule(Cow<'static, [(u64, BlobParams)]>);

impl BlobSchedule {
    const fn fixed(entries: &'static [(u64, BlobParams)]) -> Self {
        Self(Cow::Borrowed(entries))
    }

    /// Adds parameters that hold from a time on, which is no earlier than those before. A schedule
    /// has one form: parameters that never hold, or that change nothing, are not kept.
    pub fn push(&mut self, since: u64, params: BlobParams) {
        let entries = self.0.to_mut();
        if entries.last().is_some_and(|&(last, _)| last >= since) {
            entries.pop();
        }
        if entries.last().is_none_or(|&(_, last)| last != params) {
            entries.push((since, params));
        }
    }

    /// All parameters, with the times from which they hold.
    pub fn entries(&self) -> &[(u64, BlobParams)] {
        &self.0
    }

    /// The parameters that hold at a time; `None` before the first ones.
    pub fn at(&self, timestamp: u64) -> Option<BlobParams> {
        let mut entries = self.0.iter().rev();
        entries
            .find(|(since, _)| *since <= timestamp)
            .map(|&(_, params)| params)
    }
}

/// The rules of a chain. Times are Unix times in seconds; a fork is active from its time on, and
/// `None` is a fork that the chain does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainConfig {
    pub chain_id: u64,
    /// First block after the Merge. Earlier ones have rules that are not known here.
    pub paris_block: u64,
    pub shanghai_time: Option<u64>,
    pub cancun_time: Option<u64>,
    pub prague_time: Option<u64>,
    pub osaka_time: Option<u64>,
    /// Amsterdam, or whatever comes first after Osaka. Blocks from this time on have rules that are
    /// not known here, and are refused.
    pub amsterdam_time: Option<u64>,
    /// Read from Cancun on.
    pub blobs: BlobSchedule,
    /// The contract whose logs are deposit requests (EIP-6110), from Prague on. With `None` no log
    /// is one.
    pub deposit_contract: Option<Address>,
    /// The rules in which the chain differs from Ethereum.
    pub rules: RuleSet,
}

/// Linea's blob parameters. Its blocks have no blobs.
const LINEA_BLOBS: BlobParams = BlobParams {
    target: 0,
    max: 6,
    update_fraction: 3_338_477,
};

/// Ethereum's deposit contract, and Hoodi's.
const DEPOSIT_CONTRACT: Address = address!("00000000219ab540356cbb839cbe05303d7705fa");

impl ChainConfig {
    /// Ethereum mainnet. No time is set for Amsterdam. The additional fields in the headers of its
    /// blocks are refused.
    pub const MAINNET: Self = Self {
        chain_id: 1,
        paris_block: 15_537_394,
        shanghai_time: Some(1_681_338_455),
        cancun_time: Some(1_710_338_135),
        prague_time: Some(1_746_612_311),
        osaka_time: Some(1_764_798_551),
        amsterdam_time: None,
        blobs: BlobSchedule::fixed(&[
            (1_710_338_135, BlobParams::CANCUN),
            (1_746_612_311, BlobParams::PRAGUE),
            (1_765_290_071, BlobParams::BPO1),
            (1_767_747_671, BlobParams::BPO2),
        ]),
        deposit_contract: Some(DEPOSIT_CONTRACT),
        rules: RuleSet::ETHEREUM,
    };

    /// The test network Sepolia.
    pub const SEPOLIA: Self = Self {
        chain_id: 11_155_111,
        paris_block: 1_450_409,
        shanghai_time: Some(1_677_557_088),
        cancun_time: Some(1_706_655_072),
        prague_time: Some(1_741_159_776),
        osaka_time: Some(1_760_427_360),
        amsterdam_time: Some(1_791_294_816),
        blobs: BlobSchedule::fixed(&[
            (1_706_655_072, BlobParams::CANCUN),
            (1_741_159_776, BlobParams::PRAGUE),
            (1_761_017_184, BlobParams::BPO1),
            (1_761_607_008, BlobParams::BPO2),
        ]),
        deposit_contract: Some(address!("7f02c3e3c98b133055b8b348b2ac625669ed295d")),
        rules: RuleSet::ETHEREUM,
    };

    /// The test network Hoodi, which has begun with Cancun.
    pub const HOODI: Self = Self {
        chain_id: 560_048,
        paris_block: 0,
        shanghai_time: Some(0),
        cancun_time: Some(0),
        prague_time: Some(1_742_999_832),
        osaka_time: Some(1_761_677_592),
        amsterdam_time: None,
        blobs: BlobSchedule::fixed(&[
            (0, BlobParams::CANCUN),
            (1_742_999_832, BlobParams::PRAGUE),
            (1_762_365_720, BlobParams::BPO1),
            (1_762_955_544, BlobParams::BPO2),
        ]),
        deposit_contract: Some(DEPOSIT_CONTRACT),
        rules: RuleSet::ETHEREUM,
    };

    /// Linea mainnet, since it left Clique: at a total difficulty of 49,575,263, of which the
    /// genesis has 1 and each block 2.
    pub const LINEA: Self = Self {
        chain_id: 59_144,
        paris_block: 24_787_632,
        shanghai_time: Some(1_761_213_600),
        cancun_time: Some(1_761_645_600),
        prague_time: Some(1_761_646_200),
        osaka_time: Some(1_764_798_551),
        amsterdam_time: None,
        blobs: BlobSchedule::fixed(&[(1_761_645_600, LINEA_BLOBS)]),
        deposit_contract: Some(address!("94d4a7449b968b839dcbc64a61f195ca300986ae")),
        rules: RuleSet::LINEA,
    };

    /// The test network Linea Sepolia, since it left Clique: at a total difficulty of 37,331,807.
    pub const LINEA_SEPOLIA: Self = Self {
        chain_id: 59_141,
        paris_block: 18_665_904,
        shanghai_time: Some(1_759_147_200),
        cancun_time: Some(1_759_233_600),
        prague_time: Some(1_760_004_000),
        osaka_time: Some(1_764_583_200),
        amsterdam_time: None,
        blobs: BlobSchedule::fixed(&[
            (
                1_759_233_600,
                BlobParams {
                    max: 0,
                    ..LINEA_BLOBS
                },
            ),
            (1_764_583_200, LINEA_BLOBS),
        ]),
        deposit_contract: Some(address!("0bdae9550159eb73559e74d27fbc989641b24c8e")),
        rules: RuleSet::LINEA,
    };

    /// The chains whose rules are part of the guest.
    pub const BUILTIN: [Self; 5] = [
        Self::MAINNET,
        Self::SEPOLIA,
        Self::HOODI,
        Self::LINEA,
        Self::LINEA_SEPOLIA,
    ];

    /// A chain with every fork up to Prague from its genesis on, and Ethereum's blob parameters.
    pub const fn prague_from_genesis(chain_id: u64) -> Self {
        Self {
            chain_id,
            paris_block: 0,
            shanghai_time: Some(0),
            cancun_time: Some(0),
            prague_time: Some(0),
            osaka_time: None,
            amsterdam_time: None,
            blobs: BlobSchedule::fixed(&[(0, BlobParams::PRAGUE)]),
            deposit_contract: None,
            rules: RuleSet::ETHEREUM,
        }
    }

    /// The chains whose rules are part of the guest, and so bound by the program's commitment.
    pub fn builtin(chain_id: u64) -> Option<Self> {
        let mut chains = Self::BUILTIN.into_iter();
        chains.find(|chain| chain.chain_id == chain_id)
    }

    pub fn is_builtin(&self) -> bool {
        Self::builtin(self.chain_id).as_ref() == Some(self)
    }

    /// The rules for a block.
    ///
    /// # Errors
    /// [`BlockError::UnsupportedFork`] for a block before the Merge or after Osaka.
    pub fn fork_at(&self, number: u64, timestamp: u64) -> Result<Fork, BlockError> {
        let active = |time: Option<u64>| time.is_some_and(|time| timestamp >= time);
        let unsupported = |era| {
            Err(BlockError::UnsupportedFork {
                chain_id: self.chain_id,
                number,
                timestamp,
                era,
                first_number: self.paris_block,
                end_timestamp: self.amsterdam_time,
            })
        };
        if number < self.paris_block {
            return unsupported(self.rules.before_paris);
        }
        if active(self.amsterdam_time) {
            return unsupported("of Amsterdam or a later fork");
        }
        Ok(if active(self.osaka_time) {
            Fork::Osaka
        } else if active(self.prague_time) {
            Fork::Prague
        } else if active(self.cancun_time) {
            Fork::Cancun
        } else if active(self.shanghai_time) {
            Fork::Shanghai
        } else {
            Fork::Paris
        })
    }

    /// The blob parameters of a block; `None` before Cancun, and where the chain has none.
    pub fn blobs(&self, fork: Fork, timestamp: u64) -> Option<BlobParams> {
        if fork >= Fork::Cancun {
            self.blobs.at(timestamp)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloy_hardforks::{hoodi, mainnet, sepolia};

    use super::*;

    #[test]
    fn mainnet_forks_begin_at_their_times() {
        let at = |time| ChainConfig::MAINNET.fork_at(20_000_000, time).ok();
        assert_eq!(at(1_681_338_454), Some(Fork::Paris));
        assert_eq!(at(1_681_338_455), Some(Fork::Shanghai));
        assert_eq!(at(1_710_338_135), Some(Fork::Cancun));
        assert_eq!(at(1_746_612_311), Some(Fork::Prague));
        assert_eq!(at(1_764_798_550), Some(Fork::Prague));
        assert_eq!(at(1_764_798_551), Some(Fork::Osaka));
    }

    #[test]
    fn blob_parameters_change_at_their_times() {
        let at = |time| {
            let chain = ChainConfig::MAINNET;
            chain.blobs(chain.fork_at(24_000_000, time).unwrap(), time)
        };
        assert_eq!(at(1_710_338_134), None);
        for (since, before, after) in [
            (1_746_612_311, BlobParams::CANCUN, BlobParams::PRAGUE),
            (1_764_798_551, BlobParams::PRAGUE, BlobParams::PRAGUE),
            (1_765_290_071, BlobParams::PRAGUE, BlobParams::BPO1),
            (1_767_747_671, BlobParams::BPO1, BlobParams::BPO2),
        ] {
            assert_eq!((at(since - 1), at(since)), (Some(before), Some(after)));
        }
    }

    /// Compares them with the times and the parameters of other authors.
    #[test]
    fn the_built_in_chains_are_as_others_have_them() {
        let times = |chain: &ChainConfig| {
            let [.., bpo1, bpo2] = *chain.blobs.entries() else {
                panic!("there is no BPO")
            };
            [
                chain.prague_time.unwrap(),
                chain.osaka_time.unwrap(),
                bpo1.0,
                bpo2.0,
            ]
        };
        assert_eq!(
            times(&ChainConfig::MAINNET),
            [
                mainnet::MAINNET_PRAGUE_TIMESTAMP,
                mainnet::MAINNET_OSAKA_TIMESTAMP,
                mainnet::MAINNET_BPO1_TIMESTAMP,
                mainnet::MAINNET_BPO2_TIMESTAMP
            ]
        );
        assert_eq!(
            times(&ChainConfig::SEPOLIA),
            [
                sepolia::SEPOLIA_PRAGUE_TIMESTAMP,
                sepolia::SEPOLIA_OSAKA_TIMESTAMP,
                sepolia::SEPOLIA_BPO1_TIMESTAMP,
                sepolia::SEPOLIA_BPO2_TIMESTAMP
            ]
        );
        let sepolia = ChainConfig::SEPOLIA;
        assert_eq!(sepolia.paris_block, sepolia::SEPOLIA_PARIS_BLOCK);
        assert_eq!(sepolia.shanghai_time, Some(sepolia::SEPOLIA_SHANGHAI_TIMESTAMP));
        assert_eq!(sepolia.cancun_time, Some(sepolia::SEPOLIA_CANCUN_TIMESTAMP));
        assert_eq!(sepolia.amsterdam_time, Some(sepolia::SEPOLIA_AMSTERDAM_TIMESTAMP));
        assert_eq!(
            times(&ChainConfig::HOODI),
            [
                hoodi::HOODI_PRAGUE_TIMESTAMP,
                hoodi::HOODI_OSAKA_TIMESTAMP,
                hoodi::HOODI_BPO1_TIMESTAMP,
                hoodi::HOODI_BPO2_TIMESTAMP
            ]
        );
        let others = [
            alloy_eips::eip7840::BlobParams::bpo1(),
            alloy_eips::eip7840::BlobParams::bpo2(),
        ];
        for (ours, theirs) in [BlobParams::BPO1, BlobParams::BPO2].into_iter().zip(others) {
            assert_eq!(
                (ours.target, ours.max, u128::from(ours.update_fraction)),
                (
                    theirs.target_blob_count,
                    theirs.max_blob_count,
                    theirs.update_fraction
                )
            );
        }
    }

    #[test]
    fn the_same_schedule_has_one_form() {
        let mut schedule = BlobSchedule::default();
        for (since, params) in [
            (0, BlobParams::CANCUN),
            (0, BlobParams::PRAGUE),
            (7, BlobParams::PRAGUE),
            (9, BlobParams::BPO1),
            (9, BlobParams::PRAGUE),
        ] {
            schedule.push(since, params);
        }
        assert_eq!(schedule.entries(), [(0, BlobParams::PRAGUE)]);
    }

    #[test]
    fn blocks_of_unknown_rules_are_refused_by_name() {
        for (chain, number, time, name) in [
            (
                ChainConfig::MAINNET,
                15_537_393,
                1_663_224_162,
                "from before the Merge (Paris)",
            ),
            (
                ChainConfig::LINEA,
                24_787_631,
                1_761_000_000,
                "of Linea's time with Clique, before Paris",
            ),
            (
                ChainConfig::LINEA_SEPOLIA,
                18_665_903,
                1_759_000_000,
                "of Linea's time with Clique, before Paris",
            ),
            (
                ChainConfig::SEPOLIA,
                11_856_337,
                1_791_294_816,
                "Amsterdam or a later fork",
            ),
        ] {
            let error = chain.fork_at(number, time).unwrap_err();
            assert!(matches!(error, BlockError::UnsupportedFork { .. }));
            assert!(error.to_string().contains(name), "{error}");
        }
        let last = ChainConfig::SEPOLIA.fork_at(11_856_336, 1_791_294_815);
        assert_eq!(last, Ok(Fork::Osaka));
    }
}
