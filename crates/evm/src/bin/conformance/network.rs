//! The rules of the network that a fixture names.

use std::collections::BTreeMap;

use alloy_primitives::U64;
use myriad_evm::{ChainConfig, host::chain_config::from_geth};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The forks since the Merge by their names in fixtures, and the key of their time in geth's
/// configuration.
const FORKS: [(&str, Option<&str>); 10] = [
    ("Paris", None),
    ("Shanghai", Some("shanghaiTime")),
    ("Cancun", Some("cancunTime")),
    ("Prague", Some("pragueTime")),
    ("Osaka", Some("osakaTime")),
    ("BPO1", Some("bpo1Time")),
    ("BPO2", Some("bpo2Time")),
    ("BPO3", Some("bpo3Time")),
    ("BPO4", Some("bpo4Time")),
    ("Amsterdam", Some("amsterdamTime")),
];

/// Where a fixture has a fork later than at its genesis, the end of the network's name says so.
const TRANSITION: (&str, u64) = ("AtTime15k", 15_000);

/// The `config` of a fixture.
#[derive(Debug, Default, Deserialize)]
pub struct Config {
    chainid: Option<U64>,
    #[serde(default, rename = "blobSchedule")]
    blob_schedule: BTreeMap<String, Blobs>,
}

#[derive(Debug, Deserialize)]
struct Blobs {
    target: U64,
    max: U64,
    #[serde(rename = "baseFeeUpdateFraction")]
    update_fraction: U64,
}

/// The chain of a fixture.
///
/// # Errors
/// The reason why its blocks cannot be run.
pub fn chain(network: &str, config: &Config) -> Result<ChainConfig, String> {
    let index = |name: &str| FORKS.iter().position(|(fork, _)| *fork == name);
    let both = network
        .strip_suffix(TRANSITION.0)
        .and_then(|name| name.split_once("To"));
    let (first, second) = match both {
        Some((before, after)) => (index(before), Some(index(after))),
        None => (index(network), None),
    };
    let (Some(first), None | Some(Some(_))) = (first, second) else {
        return Err("a network of before the Merge".to_owned());
    };
    let second = second.flatten();
    let mut times = Map::new();
    for (place, (name, key)) in FORKS.into_iter().enumerate() {
        // A chain need not have the forks that change nothing but the blobs.
        let is_there = !name.starts_with("BPO") || config.blob_schedule.contains_key(name);
        let time = match second {
            _ if place <= first && is_there => 0,
            Some(second) if place <= second && is_there => TRANSITION.1,
            _ => continue,
        };
        times.extend(key.map(|key| (key.to_owned(), time.into())));
    }
    let blobs = config.blob_schedule.iter().map(|(fork, blobs)| {
        let entry = json!({
            "target": blobs.target.to::<u64>(),
            "max": blobs.max.to::<u64>(),
            "baseFeeUpdateFraction": blobs.update_fraction.to::<u64>(),
        });
        (fork.to_lowercase(), entry)
    });
    let chain_id = config.chainid.map_or(1, |id| id.to::<u64>());
    times.insert("chainId".to_owned(), chain_id.into());
    times.insert("blobSchedule".to_owned(), Value::Object(blobs.collect()));
    // The fixtures have Ethereum's contract on any chain.
    let deposits = json!(ChainConfig::MAINNET.deposit_contract);
    times.insert("depositContractAddress".to_owned(), deposits);
    from_geth(&Value::Object(times), chain_id).map_err(|error| error.to_string())
}
