//! Geth's configurations, read and written, and those that are refused.

use super::*;

#[test]
fn a_chain_survives_the_way_through_geths_format() {
    let mut own = ChainConfig {
        osaka_time: Some(2_000_000_000),
        amsterdam_time: Some(3_000_000_000),
        ..ChainConfig::prague_from_genesis(1_337)
    };
    for change in 1..9 {
        let params = BlobParams {
            target: change,
            max: 2 * change,
            update_fraction: 3,
        };
        own.blobs.push(2_000_000_000 + change, params);
    }
    for chain in [
        ChainConfig::MAINNET,
        ChainConfig::SEPOLIA,
        ChainConfig::HOODI,
        own,
    ] {
        assert_eq!(from_geth(&to_geth(&chain), chain.chain_id).unwrap(), chain);
    }
}

/// Sepolia's configuration from geth's `debug_chainConfig`.
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
    assert_eq!(chain.blobs.at(1_741_159_776), Some(BlobParams::PRAGUE));
}

#[test]
fn a_key_that_may_be_a_rule_is_refused_by_name() {
    let base = json!({"chainId": 5, "pragueTime": 0, "ethash": {}, "clique": {"period": 2, "epoch": 30000},
        "eip150Hash": "0x00", "isQuorum": false, "optimism": null});
    from_geth(&base, 5).unwrap();
    let prague =
        |more: &str| json!({"prague": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5007716, more: 7}});
    for (key, value, text) in [
        (
            "optimism",
            json!({"eip1559Elasticity": 6}),
            "`optimism` is not known here (a key of the OP Stack)",
        ),
        (
            "isthmusTime",
            json!(0),
            "`isthmusTime` is not known here (a key of the OP Stack)",
        ),
        (
            "parlia",
            json!({}),
            "`parlia` is not known here (a key of BNB Smart Chain)",
        ),
        (
            "contractSizeLimit",
            json!(49_152),
            "`contractSizeLimit` is not known here, and",
        ),
        ("pragueTlme", json!(0), "`pragueTlme`"),
        ("blobSchedule", prague("price"), "`blobSchedule.prague.price`"),
    ] {
        let mut config = base.clone();
        config[key] = value;
        let error = from_geth(&config, 5).unwrap_err();
        assert!(matches!(error, ChainConfigError::UnknownKey { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// The configuration from geth's `debug_chainConfig`, with one more change than geth knows.
#[test]
fn blob_parameters_are_read_by_their_times() {
    let blobs = |target: u64| json!({"target": target, "max": 2 * target, "baseFeeUpdateFraction": 7});
    let config = json!({
        "chainId": 5, "shanghaiTime": 0, "cancunTime": 0, "pragueTime": 10, "osakaTime": 20,
        "bpo1Time": 30, "bpo2Time": 40, "bpo6Time": 50, "bpo3Time": null,
        "blobSchedule": {
            "cancun": blobs(1), "prague": blobs(2), "osaka": blobs(3),
            "bpo1": blobs(4), "bpo2": blobs(5), "bpo6": blobs(6), "bpo3": blobs(7), "amsterdam": blobs(8)
        }
    });
    let chain = from_geth(&config, 5).unwrap();
    let targets = [0, 9, 10, 19, 20, 30, 40, 50, u64::MAX].map(|time| chain.blobs.at(time).unwrap().target);
    assert_eq!(targets, [1, 1, 2, 2, 3, 4, 5, 6, 6]);
    assert_eq!(chain.osaka_time, Some(20));
}

/// Nothing is assumed where clients differ in what they assume.
#[test]
fn blob_parameters_that_nobody_names_are_asked_for() {
    let prague = json!({"prague": {"target": 1, "max": 2, "baseFeeUpdateFraction": 7}});
    let config = |schedule: &Value, more: &str| {
        let mut config =
            json!({"chainId": 5, "cancunTime": 0, "pragueTime": 0, "osakaTime": 9, "blobSchedule": schedule});
        if !more.is_empty() {
            config[more] = json!(10);
        }
        from_geth(&config, 5)
    };
    assert!(config(&json!({}), "").is_ok());
    for (schedule, more, name) in [
        (&prague, "", "osaka"),
        (&json!({}), "bpo1Time", "bpo1"),
        (&json!({}), "bpo7Time", "bpo7"),
    ] {
        let error = config(schedule, more).unwrap_err();
        assert!(
            matches!(&error, ChainConfigError::NoBlobParams { fork } if fork == name),
            "{error}"
        );
    }
}

/// Each of these keys brings rules that are not known here, whichever comes first.
#[test]
fn any_later_fork_ends_what_is_known() {
    for key in ["amsterdamTime", "bogotaTime"] {
        let mut config =
            json!({"chainId": 5, "cancunTime": 0, "pragueTime": 0, "osakaTime": 0, "amsterdamTime": 9_000});
        config[key] = json!(7_000);
        assert_eq!(
            from_geth(&config, 5).unwrap().amsterdam_time,
            Some(7_000),
            "{key}"
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (config, text) in [
        (json!({}), "no `chainId`"),
        (json!("x"), "not the `config` object"),
        (
            json!({"chainId": 5, "pragueTime": "soon"}),
            "not the `config` object",
        ),
        (json!({"chainId": 6}), "of chain 6, and the block is of chain 5"),
        (
            json!({"chainId": 5, "pragueTime": 0, "blobSchedule": {"prague":
                {"target": 6, "max": 9, "baseFeeUpdateFraction": 0}}}),
            "`blobSchedule.prague.baseFeeUpdateFraction` is 0",
        ),
        (
            json!({"chainId": 5, "pragueTime": 8, "osakaTime": 7}),
            "`osakaTime` is 7, which is before 8",
        ),
        (
            json!({"chainId": 5, "bpo9Time": "soon"}),
            "not the `config` object",
        ),
    ] {
        let error = from_geth(&config, 5).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
