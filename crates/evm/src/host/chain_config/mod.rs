//! Converts geth's genesis `config` object to and from our [`ChainConfig`]. Called for the
//! `chainConfig` of a block file, and for a node's description of its chain when a block is
//! imported.
//!
//! alloy-genesis parses it, which knows the habits of geth, reth and the test networks. Keys that
//! no supported rule depends on, such as the forks before the Merge, are ignored. An unknown key
//! may stand for a rule, and refuses the whole configuration: a proof by rules that are not the
//! chain's would be worth nothing.

use alloy_eips::eip7840;
use alloy_genesis::ChainConfig as GethConfig;
use serde_json::{Map, Value, json};

use super::excerpt::excerpt;
use crate::{BlobParams, BlobSchedule, ChainConfig, RuleSet};

/// Keys that clients write and alloy-genesis does not know, and that no rule of a supported fork
/// depends on.
const HARMLESS: [&str; 4] = ["$schema", "discovery", "eip150Hash", "preMergeForkBlock"];

/// The keys of one entry of a blob schedule. Others would be rules too, such as a price per blob of
/// another unit.
const BLOB_KEYS: [&str; 3] = ["target", "max", "baseFeeUpdateFraction"];

/// Families of chains with rules of their own, by keys of their configurations, for the message
/// alone: a key of no family is refused as well.
const FAMILIES: [(&str, &[&str]); 8] = [
    ("Arbitrum", &["arbitrum"]),
    ("BNB Smart Chain", &["parlia"]),
    ("Celo", &["celo", "cel2Time", "gingerbreadBlock"]),
    ("Gnosis Chain", &["aura"]),
    (
        "the OP Stack",
        &[
            "optimism",
            "bedrockBlock",
            "regolithTime",
            "canyonTime",
            "ecotoneTime",
            "fjordTime",
            "graniteTime",
            "holoceneTime",
            "isthmusTime",
            "jovianTime",
            "interopTime",
        ],
    ),
    (
        "Besu, for queues of requests elsewhere, as Linea has them",
        &[
            "withdrawalRequestContractAddress",
            "consolidationRequestContractAddress",
        ],
    ),
    ("Polygon PoS", &["bor"]),
    (
        "Scroll",
        &[
            "scroll",
            "bernoulliBlock",
            "curieBlock",
            "darwinTime",
            "euclidTime",
        ],
    ),
];

/// Why a `config` object cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainConfigError {
    /// It has no `chainId`, without which it could be of any chain.
    #[error("it has no `chainId`")]
    NoChainId,
    /// It is not what geth's genesis files have.
    #[error("it is not the `config` object of a geth genesis file: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another chain.
    #[error("it is of chain {actual}, and the block is of chain {expected}")]
    OtherChain {
        /// Its `chainId`.
        actual: u64,
        /// The block's chain id.
        expected: u64,
    },
    /// It has a key that may stand for a rule, and that is not known here.
    #[error(
        "`{key}` is not known here{}, and may change the chain's rules: blocks of such a chain cannot be proven. \
         Where you know that it changes none, take it out of the configuration",
        family.map(|family| format!(" (a key of {family})")).unwrap_or_default()
    )]
    UnknownKey {
        /// The key, e.g. `isthmusTime` or `blobSchedule.prague.price`; shortened where it is long.
        key: String,
        /// The family of chains that is known to have it.
        family: Option<&'static str>,
    },
    /// A number of its blob schedule is out of bounds.
    #[error("`blobSchedule.{fork}.baseFeeUpdateFraction` is {actual}, and 1 to 2^64 - 1 are allowed")]
    UpdateFraction {
        /// Its name in the schedule, e.g. `prague` or `bpo1`.
        fork: String,
        /// The chain id in the configuration.
        actual: u128,
    },
    /// A fork changes the blob parameters, and does not say to what.
    #[error(
        "it has `{fork}Time`, and no `{fork}` in its `blobSchedule`: its blocks' blobs have no limit and no price"
    )]
    NoBlobParams {
        /// Its name in the schedule.
        fork: String,
    },
    /// The forks are not in their order.
    #[error("`{fork}Time` is {time}, which is before {before}, when the fork before it begins")]
    Order {
        /// Its name in the schedule.
        fork: String,
        /// Its Unix time, in seconds.
        time: u64,
        /// The Unix time of the fork before it.
        before: u64,
    },
}

/// Our configuration of the chain that a geth `config` object describes.
///
/// # Errors
/// See [`ChainConfigError`]. `chain_id` is the block's.
pub fn from_geth(config: &Value, chain_id: u64) -> Result<ChainConfig, ChainConfigError> {
    if config.get("chainId").is_none_or(Value::is_null) && config.is_object() {
        return Err(ChainConfigError::NoChainId);
    }
    let geth: GethConfig = serde_json::from_value(config.clone())?;
    if geth.chain_id != chain_id {
        return Err(ChainConfigError::OtherChain {
            actual: geth.chain_id,
            expected: chain_id,
        });
    }
    let blob_forks = blob_forks(&geth)?;
    check_keys(config, &geth, &blob_forks)?;
    Ok(ChainConfig {
        chain_id,
        // Geth may not say; then the header tells: before the Merge, it has a difficulty.
        paris_block: geth.merge_netsplit_block.unwrap_or(0),
        shanghai_time: geth.shanghai_time,
        cancun_time: geth.cancun_time,
        prague_time: geth.prague_time,
        osaka_time: geth.osaka_time,
        // The earlier of the two ends the known rules: a chain may skip a fork.
        amsterdam_time: [geth.amsterdam_time, geth.bogota_time]
            .into_iter()
            .flatten()
            .min(),
        blobs: blob_schedule(&geth, &blob_forks)?,
        deposit_contract: geth.deposit_contract_address,
        rules: RuleSet::ETHEREUM,
    })
}

/// The forks of the chain that may change its blob parameters, by their names in the schedule, with
/// their times and in their order. They are those that geth knows, and any later change of the
/// parameters alone.
fn blob_forks(geth: &GethConfig) -> Result<Vec<(String, u64)>, ChainConfigError> {
    let mut forks = vec![
        ("cancun".to_owned(), geth.cancun_time),
        ("prague".to_owned(), geth.prague_time),
        ("osaka".to_owned(), geth.osaka_time),
    ];
    let mut changes = vec![
        (1, geth.bpo1_time),
        (2, geth.bpo2_time),
        (3, geth.bpo3_time),
        (4, geth.bpo4_time),
        (5, geth.bpo5_time),
    ];
    for (key, time) in &geth.extra_fields {
        if let Some(number) = blob_change(key) {
            changes.push((number, serde_json::from_value(time.clone())?));
        }
    }
    changes.sort_unstable();
    forks.extend(
        changes
            .into_iter()
            .map(|(number, time)| (format!("bpo{number}"), time)),
    );
    let forks = forks.into_iter();
    Ok(forks.filter_map(|(fork, time)| Some((fork, time?))).collect())
}

/// The number in `bpo7Time`, say.
fn blob_change(key: &str) -> Option<u64> {
    let number = key.strip_prefix("bpo")?.strip_suffix("Time")?;
    let is_plain = number.starts_with(|digit: char| ('1'..='9').contains(&digit));
    is_plain.then(|| number.parse().ok())?
}

fn blob_schedule(geth: &GethConfig, forks: &[(String, u64)]) -> Result<BlobSchedule, ChainConfigError> {
    let mut schedule = BlobSchedule::default();
    let mut before = 0;
    for (fork, time) in forks {
        let (fork, time) = (fork.as_str(), *time);
        if time < before {
            let fork = fork.to_owned();
            return Err(ChainConfigError::Order { fork, time, before });
        }
        before = time;
        let last = schedule.entries().last().map(|&(_, params)| params);
        let params = match (geth.blob_schedule.get(fork), fork) {
            (Some(&params), _) => blob_params(fork, params)?,
            (None, "cancun") => BlobParams::CANCUN,
            (None, "prague") => BlobParams::PRAGUE,
            // Some clients take the parameters before the fork, and others Ethereum's. They are
            // known only where both are the same.
            (None, "osaka") if last == Some(BlobParams::PRAGUE) => BlobParams::PRAGUE,
            (None, fork) => {
                return Err(ChainConfigError::NoBlobParams {
                    fork: fork.to_owned(),
                });
            }
        };
        schedule.push(time, params);
    }
    Ok(schedule)
}

/// Refuses an unread key that may stand for a rule. A value of `null` or `false` counts as no key.
fn check_keys(
    config: &Value,
    geth: &GethConfig,
    blob_forks: &[(String, u64)],
) -> Result<(), ChainConfigError> {
    let says_something = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    let is_known = |key: &str| HARMLESS.contains(&key) || blob_change(key).is_some();
    let parlia = geth.parlia.is_some().then_some("parlia");
    let others = geth.extra_fields.iter();
    let others = others.filter(|(key, value)| says_something(value) && !is_known(key));
    if let Some(key) = parlia.or(others.map(|(key, _)| key.as_str()).next()) {
        let mut families = FAMILIES.iter();
        let family = families.find(|(_, keys)| keys.contains(&key));
        return Err(ChainConfigError::UnknownKey {
            key: shortened(key),
            family: family.map(|&(name, _)| name),
        });
    }
    // Values for forks that the chain does not have are not read.
    for (fork, _) in blob_forks {
        let entry = config.get("blobSchedule").and_then(|schedule| schedule.get(fork));
        let mut keys = entry.and_then(Value::as_object).into_iter().flatten();
        if let Some((key, _)) =
            keys.find(|(key, value)| says_something(value) && !BLOB_KEYS.contains(&key.as_str()))
        {
            return Err(ChainConfigError::UnknownKey {
                key: format!("blobSchedule.{fork}.{}", shortened(key)),
                family: None,
            });
        }
    }
    Ok(())
}

/// A key from outside, short and harmless enough for an error message.
fn shortened(key: &str) -> String {
    excerpt(key).trim_matches('`').to_owned()
}

fn blob_params(fork: &str, params: eip7840::BlobParams) -> Result<BlobParams, ChainConfigError> {
    let actual = params.update_fraction;
    match u64::try_from(actual) {
        Err(_) | Ok(0) => {
            let fork = fork.to_owned();
            Err(ChainConfigError::UpdateFraction { fork, actual })
        }
        Ok(update_fraction) => Ok(BlobParams {
            target: params.target_blob_count,
            max: params.max_blob_count,
            update_fraction,
        }),
    }
}

/// The geth `config` object of a chain with Ethereum's rules. [`from_geth`] gives the same chain
/// again. To geth it is a chain that has had every fork up to the Merge from its genesis on.
pub fn to_geth(chain: &ChainConfig) -> Value {
    let blobs = |blobs: BlobParams| {
        json!({
            "target": blobs.target,
            "max": blobs.max,
            "baseFeeUpdateFraction": blobs.update_fraction,
        })
    };
    let mut config = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            config.insert(key.to_owned(), value);
        }
    };
    put("chainId", chain.chain_id.into());
    for fork in [
        "homestead",
        "eip150",
        "eip155",
        "eip158",
        "byzantium",
        "constantinople",
        "petersburg",
        "istanbul",
        "berlin",
        "london",
    ] {
        put(&format!("{fork}Block"), 0.into());
    }
    put("terminalTotalDifficulty", 0.into());
    put("mergeNetsplitBlock", chain.paris_block.into());
    put("shanghaiTime", chain.shanghai_time.into());
    put("cancunTime", chain.cancun_time.into());
    put("pragueTime", chain.prague_time.into());
    put("osakaTime", chain.osaka_time.into());
    put("amsterdamTime", chain.amsterdam_time.into());
    put("depositContractAddress", json!(chain.deposit_contract));
    let forks = [
        ("cancun", chain.cancun_time),
        ("prague", chain.prague_time),
        ("osaka", chain.osaka_time),
    ];
    let mut schedule = Map::new();
    for (fork, time) in forks {
        if let Some(params) = time.and_then(|time| chain.blobs.at(time)) {
            schedule.insert(fork.to_owned(), blobs(params));
        }
    }
    let changes = chain.blobs.entries().iter();
    let changes = changes.filter(|(since, _)| forks.iter().all(|(_, time)| *time != Some(*since)));
    for (number, (since, params)) in (1..).zip(changes) {
        put(&format!("bpo{number}Time"), (*since).into());
        schedule.insert(format!("bpo{number}"), blobs(*params));
    }
    put("blobSchedule", schedule.into());
    Value::Object(config)
}

#[cfg(test)]
mod tests;
