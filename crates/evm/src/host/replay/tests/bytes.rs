//! Bytes that are no replay file, or a damaged one.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn what_is_no_replay_file_is_refused() {
    let replay = busy();
    let read = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replay");
        std::fs::write(&path, bytes).unwrap();
        crate::host::replay::replay(&path, Some(&replay.chain_config)).map(|replayed| replayed.file)
    };
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let text = replay.json.to_string().into_bytes();
    let file = read(&text).unwrap();
    assert_eq!(read(&gzip(&text)).unwrap(), file);

    let changed = |change: &dyn Fn(&mut Value)| {
        let mut json = replay.json.clone();
        change(&mut json);
        json.to_string().into_bytes()
    };
    let listed = json!({"address": Address::ZERO, "nonce": 0, "balance": "0x0", "code": "0x"});
    let zeros = |bytes: usize| format!("0x{}", "00".repeat(bytes));
    let number = |text: &str| changed(&|json| json["blocks"][0]["header"]["number"] = json!(text));
    for (bytes, text) in [
        (Vec::new(), "EOF"),
        (b"{}".to_vec(), "missing field `blocks`"),
        (text[..text.len() / 2].to_vec(), "EOF"),
        (gzip(&text)[..1_000].to_vec(), "cannot read"),
        (
            gzip(&vec![b' '; REPLAY_BYTES_MAX as usize + 1]),
            "134217728 bytes",
        ),
        (changed(&|json| json["blocks"] = json!([])), "no transaction"),
        (
            changed(&|json| json["accounts"] = json!(vec![listed.clone(); LEAVES_MAX + 1])),
            "at most 16384 items",
        ),
        (
            changed(&|json| {
                let tx = json["blocks"][0]["txs"][0].clone();
                json["blocks"][0]["txs"] = json!(vec![tx; TRANSACTIONS_MAX + 1]);
            }),
            "at most 16384 items",
        ),
        (
            changed(&|json| {
                let access = json!({"address": Address::ZERO, "storageKeys": []});
                json["blocks"][0]["txs"][0]["accessList"] = json!({"value": vec![access; ACCESSES_MAX + 1]});
            }),
            "at most 4096 items",
        ),
        (
            changed(&|json| {
                let access =
                    json!({"address": Address::ZERO, "storageKeys": vec![B256::ZERO; ACCESSES_MAX + 1]});
                json["blocks"][0]["txs"][0]["accessList"] = json!({"value": [access]});
            }),
            "at most 4096 items",
        ),
        (
            changed(&|json| json["blocks"][0]["txs"][0]["outcome"]["logs"] = json!(vec!["0x"; LOGS_MAX + 1])),
            "at most 65536 items",
        ),
        (
            changed(&|json| {
                json["blocks"][0]["txs"][0]["outcome"]["logs"] = json!([zeros(DATA_BYTES_MAX + 1)]);
            }),
            "at most 1048576 bytes in hex",
        ),
        (
            changed(&|json| json["blocks"][0]["txs"][0]["payload"] = json!(zeros(DATA_BYTES_MAX + 1))),
            "at most 1048576 bytes in hex",
        ),
        (
            changed(&|json| json["accounts"][0]["code"] = json!(zeros(CODE_BYTES_MAX + 1))),
            "at most 65536 bytes in hex",
        ),
        (
            changed(&|json| json["accounts"][0]["code"] = json!("0x0g")),
            "at most 65536 bytes in hex",
        ),
        (
            changed(&|json| json["blocks"][0]["header"]["extraData"] = json!(zeros(EXTRA_BYTES_MAX + 1))),
            "at most 1024 bytes in hex",
        ),
        (
            changed(&|json| json["fork"] = json!("PRAGUE".repeat(6))),
            "a name of at most 32 bytes",
        ),
        (
            changed(&|json| json["blocks"][0]["txs"][0]["type"] = json!("EIP1559".repeat(5))),
            "a name of at most 32 bytes",
        ),
        (number(&"1".repeat(65)), "1 to 64 hex digits"),
        (number("0x10000000000000000"), "more than 2^64 - 1"),
        (number("ten"), "1 to 64 hex digits"),
        (
            changed(&|json| json["blocks"][1]["txs"][2]["type"] = json!("BLOB")),
            "transaction 2 of block 1048577 has the type `BLOB`",
        ),
        (
            changed(&|json| json["blocks"][1]["txs"][2]["maxFeePerGas"] = json!({})),
            "transaction 2 of block 1048577: it has no `maxFeePerGas`",
        ),
        (
            changed(&|json| json["blocks"][1]["header"]["gasLimit"] = json!(1u64 << 60)),
            "block 1048577 has the gas limit 1152921504606846976",
        ),
    ] {
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
    }
    // The chain is refused by its id alone, and by its fork.
    let of_chain = |id: u64| {
        changed(&|json| {
            for block in json["blocks"].as_array_mut().unwrap() {
                for tx in block["txs"].as_array_mut().unwrap() {
                    tx["chainId"] = json!(id);
                }
            }
        })
    };
    for (id, text) in [(10, "OP Mainnet"), (59_144, "Clique"), (5, "it is of chain")] {
        let error = read(&of_chain(id)).unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
    }
    let unknown = build(
        format::decode(&text[..], |_| ReplayError::TooLarge).unwrap(),
        None,
    )
    .unwrap_err();
    assert!(
        matches!(unknown, ReplayError::UnknownChain { chain_id: CHAIN_ID }),
        "{unknown}"
    );
}

/// Damage anywhere is an error, or changes nothing that is compared; and never a panic.
#[test]
fn damage_is_an_error_and_no_panic() {
    let replay = replayed(BUSY, 1).unwrap();
    let text = replay.json.to_string().into_bytes();
    let expected = made(&replay.json, &replay.chain_config).unwrap();
    let mut refused = 0;
    for at in (0..text.len()).step_by(173) {
        let mut bytes = text.clone();
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        let made = replay_bytes(&bytes, Some(&replay.chain_config)).map(|replayed| replayed.file);
        match made {
            Ok(file) => assert_eq!(
                file.decode_block().unwrap().body,
                expected.decode_block().unwrap().body
            ),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 20, "{refused}");
}
