//! Geth's genesis `config` object to and from our [`ChainConfig`]. Called for the `chainConfig` of a
//! block file, and for what a node says of its chain when a block is imported.
//!
//! Parsing is alloy-genesis's, which knows the habits of geth, reth and the test networks. What no
//! supported rule depends on is ignored, such as the forks before the Merge.

use alloy_eips::eip7840;
use alloy_genesis::ChainConfig as GethConfig;
use serde_json::{Map, Value, json};

use crate::{BlobParams, ChainConfig};

/// Why a `config` object is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainConfigError {
    /// It has no `chainId`, without which it could be of any chain.
    #[error("it has no `chainId`")]
    NoChainId,
    /// It is not what geth's genesis files have.
    #[error("it is no `config` object of a geth genesis file: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another chain.
    #[error("it is of chain {actual}, and the block is of chain {expected}")]
    OtherChain {
        /// Its `chainId`.
        actual: u64,
        /// The block's chain id.
        expected: u64,
    },
    /// A number of its blob schedule is out of bounds.
    #[error("`blobSchedule.{fork}.baseFeeUpdateFraction` is {actual}, possible are 1 to 2^64 - 1")]
    UpdateFraction {
        /// `cancun` or `prague`.
        fork: &'static str,
        /// What it says.
        actual: u128,
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
    let blobs = |fork, default| match geth.blob_schedule.get(fork) {
        Some(&params) => blob_params(fork, params),
        None => Ok(default),
    };
    Ok(ChainConfig {
        chain_id,
        // Where geth does not say, the header tells: before the Merge, it has a difficulty.
        paris_block: geth.merge_netsplit_block.unwrap_or(0),
        shanghai_time: geth.shanghai_time,
        cancun_time: geth.cancun_time,
        prague_time: geth.prague_time,
        osaka_time: geth.osaka_time,
        cancun_blobs: blobs("cancun", BlobParams::CANCUN)?,
        prague_blobs: blobs("prague", BlobParams::PRAGUE)?,
        deposit_contract: geth.deposit_contract_address,
    })
}

fn blob_params(fork: &'static str, params: eip7840::BlobParams) -> Result<BlobParams, ChainConfigError> {
    let actual = params.update_fraction;
    match u64::try_from(actual) {
        Err(_) | Ok(0) => Err(ChainConfigError::UpdateFraction { fork, actual }),
        Ok(update_fraction) => Ok(BlobParams {
            target: params.target_blob_count,
            max: params.max_blob_count,
            update_fraction,
        }),
    }
}

/// The geth `config` object of a chain: [`from_geth`] gives the same chain again, and geth takes it
/// for a chain that has had every fork up to the Merge from its genesis on.
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
    put("depositContractAddress", json!(chain.deposit_contract));
    put(
        "blobSchedule",
        json!({ "cancun": blobs(chain.cancun_blobs), "prague": blobs(chain.prague_blobs) }),
    );
    Value::Object(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_survives_the_way_through_geths_format() {
        let own = ChainConfig {
            osaka_time: Some(2_000_000_000),
            cancun_blobs: BlobParams {
                target: 1,
                max: 2,
                update_fraction: 3,
            },
            ..ChainConfig::prague_from_genesis(1_337)
        };
        for chain in [ChainConfig::MAINNET, own] {
            assert_eq!(from_geth(&to_geth(&chain), chain.chain_id).unwrap(), chain);
        }
    }

    /// As geth's `debug_chainConfig` gives Sepolia's.
    #[test]
    fn geths_own_words_are_understood() {
        let config = json!({
            "chainId": 11155111, "homesteadBlock": 0, "daoForkSupport": true,
            "eip150Block": 0, "londonBlock": 0, "mergeNetsplitBlock": 1735371,
            "shanghaiTime": 1677557088, "cancunTime": 1706655072, "pragueTime": 1741159776,
            "terminalTotalDifficulty": 17000000000000000u64, "ethash": {},
            "depositContractAddress": "0x7f02c3e3c98b133055b8b348b2ac625669ed295d",
            "blobSchedule": {
                "cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 3338477},
                "prague": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5007716}
            }
        });
        let chain = from_geth(&config, 11_155_111).unwrap();
        assert_eq!(chain.paris_block, 1_735_371);
        assert_eq!(chain.prague_time, Some(1_741_159_776));
        assert_eq!(chain.prague_blobs, BlobParams::PRAGUE);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, text) in [
            (json!({}), "no `chainId`"),
            (json!("x"), "no `config` object"),
            (json!({"chainId": 5, "pragueTime": "soon"}), "no `config` object"),
            (json!({"chainId": 6}), "of chain 6, and the block is of chain 5"),
            (
                json!({"chainId": 5, "blobSchedule": {"prague":
                    {"target": 6, "max": 9, "baseFeeUpdateFraction": 0}}}),
                "`blobSchedule.prague.baseFeeUpdateFraction` is 0",
            ),
        ] {
            let error = from_geth(&config, 5).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
