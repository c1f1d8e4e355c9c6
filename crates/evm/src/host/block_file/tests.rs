use std::{fs, io::Write, path::PathBuf};

use alloy_consensus::{Signed, Transaction as _};
use alloy_primitives::{B256, b256, hex, keccak256};
use serde_json::json;

use super::*;
use crate::{
    host::{
        batch::batch_file,
        inspect::inspect,
        sample::{SampleSpec, generate, generate_chain},
    },
    validate,
};

/// The block files of the folder that `MYRIAD_REAL_BLOCKS` names.
fn real_blocks() -> Vec<PathBuf> {
    let folder = std::env::var("MYRIAD_REAL_BLOCKS").expect("MYRIAD_REAL_BLOCKS names a folder");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    assert!(!paths.is_empty(), "there is no block in {folder}");
    paths
}

fn small_file() -> BlockFile {
    BlockFile {
        chain_id: 1_337,
        block: Bytes::from_static(&[0xc0]),
        later: Vec::new(),
        parent: Parent::StateRoot(B256::repeat_byte(7)),
        witness: Witness {
            state: vec![Bytes::from_static(b"node"), Bytes::from_static(b"other node")],
            codes: vec![Bytes::from_static(&[0x60, 0x00])],
            headers: Vec::new(),
        },
        chain_config: Some(json!({"chainId": 1_337, "pragueTime": 0})),
        synthetic: true,
        description: Some("made up".to_owned()),
    }
}

fn json_of(file: &BlockFile) -> Vec<u8> {
    let mut json = Vec::new();
    encode::encode(file, &mut json, false).unwrap();
    json
}

/// The JSON of [`small_file`], with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let json = json_of(&small_file());
    let mut value = serde_json::from_slice(&json).unwrap();
    change(&mut value);
    value.to_string().into_bytes()
}

#[test]
fn a_file_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = small_file();
    for name in ["block.json.gz", "block.json"] {
        let path = folder.path().join(name);
        file.write(&path).unwrap();
        assert_eq!(BlockFile::read(&path).unwrap(), file);
        // Over an existing file as well, and with the same bytes.
        let first = fs::read(&path).unwrap();
        file.write(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }
    assert!(
        fs::read(folder.path().join("block.json"))
            .unwrap()
            .starts_with(b"{")
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "temporary files are left over"
    );
}

/// Three made-up blocks, each the child of the one before.
fn three_blocks() -> Vec<BlockFile> {
    let spec = SampleSpec {
        txs: 3,
        seed: 1,
        accounts: 300,
        token_holders: 50,
    };
    generate_chain(&spec, 3).unwrap()
}

#[test]
fn a_batch_is_one_file() {
    let file = batch_file(&three_blocks()).unwrap();
    let json: Value = serde_json::from_slice(&json_of(&file)).unwrap();
    assert_eq!(json["blocks"].as_array().map(Vec::len), Some(3));
    // What reads single blocks alone has to refuse it.
    assert_eq!(json["block"], Value::Null);
    assert_eq!(BlockFile::from_bytes(&file.to_gzip().unwrap()).unwrap(), file);
    let summary = inspect(&file).unwrap();
    assert_eq!((summary.blocks, summary.transactions), (3, 3));
    assert_eq!(summary.number, summary.first_number() + 2);

    let changed = |change: &dyn Fn(&mut Value)| {
        let mut json = json.clone();
        change(&mut json);
        BlockFile::from_bytes(json.to_string().as_bytes())
    };
    let error = changed(&|json| json["block"] = json["blocks"][0].clone()).unwrap_err();
    assert!(matches!(error, BlockFileError::BlockAndBlocks), "{error}");
    for (blocks, text) in [
        (json!([]), "empty list"),
        (json!(["0x00", "0x0"]), "blocks[1]"),
        (json!(vec![""; BLOCKS_MAX + 1]), "1024 items"),
    ] {
        let error = changed(&|json| json["blocks"] = blocks.clone()).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
    // One that is no block is for `validate` to refuse; and a list of one is a single block.
    let odd = changed(&|json| json["blocks"][2] = json!("0xc0")).unwrap();
    assert!(
        matches!(odd.decode_blocks(), Err(BlockFileError::BadField { field, .. }) if field == "blocks[2]")
    );
    assert!(validate(&odd.to_input().unwrap()).is_err());
    let one = changed(&|json| json["blocks"] = json!([json["blocks"][0]])).unwrap();
    assert_eq!(one.decode_blocks().unwrap().len(), 1);
    assert!(validate(&one.to_input().unwrap()).is_ok());
}

#[test]
fn blocks_that_are_no_batch_are_refused() {
    let file = batch_file(&three_blocks()).unwrap();
    let refused = |change: &dyn Fn(&mut BlockFile)| {
        let mut file = file.clone();
        change(&mut file);
        let error = file.to_input().unwrap_err();
        let same = file.decode_blocks().unwrap_err();
        (error, same)
    };
    let (error, _) = refused(&|file| file.later.swap(0, 1));
    let second = file.decode_blocks().unwrap()[2].header.number;
    assert!(
        matches!(error, BlockFileError::NotTheNext { number, .. } if number == second),
        "{error}"
    );
    let (error, _) = refused(&|file| file.later = vec![file.block.clone(); BLOCKS_MAX]);
    assert!(
        matches!(error, BlockFileError::TooManyBlocks { actual: 1_025 }),
        "{error}"
    );
    // The body does not decode, and why is found all the same.
    let (error, _) = refused(&|file| {
        file.later[1] = Bytes::from_static(&[0xc6, 0xc0, 0xc4, 0x83, 0x7e, 0xc1, 0x80]);
    });
    assert!(
        matches!(error, BlockFileError::OfBatch { index: 2, source } if source.tx_type == 0x7e),
        "{error}"
    );
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let occupied = folder.path().join("directory.json.gz");
    fs::create_dir(&occupied).unwrap();
    let error = small_file().write(&occupied).unwrap_err();
    assert!(matches!(error, BlockFileError::Write { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let nowhere = folder.path().join("no/such/folder.json");
    let error = small_file().write(&nowhere).unwrap_err().to_string();
    assert!(error.contains("folder.json"), "{error}");
    let error = BlockFile::read(&nowhere).unwrap_err();
    assert!(matches!(error, BlockFileError::Read { .. }), "{error}");
}

#[test]
fn unknown_keys_and_numbers_in_hex_are_tolerated() {
    let bytes = changed(|json| {
        json["comment"] = json!({"any": ["thing"]});
        json["witness"]["keys"] = json!(["0x00"]);
        json["chainId"] = json!("0x539");
    });
    assert_eq!(BlockFile::from_bytes(&bytes).unwrap(), small_file());
}

#[test]
fn each_fault_is_named() {
    use BlockFileError as E;

    let gzip = small_file().to_gzip().unwrap();
    let json = json_of(&small_file());
    let mut wrong_checksum = gzip.clone();
    let checksum_at = gzip.len() - 8;
    wrong_checksum[checksum_at] ^= 1;
    let is = |bytes: &[u8], expected: fn(&E) -> bool, text: &str| {
        let error = BlockFile::from_bytes(bytes).unwrap_err();
        assert!(
            expected(&error) && error.to_string().contains(text),
            "{text}: {error:?}: {error}"
        );
    };

    is(b"", |e| matches!(e, E::Empty), "empty");
    is(
        &gzip[..gzip.len() / 2],
        |e| matches!(e, E::GzipTruncated { .. }),
        "truncated",
    );
    is(
        &gzip[..gzip.len() - 3],
        |e| matches!(e, E::GzipTruncated { .. }),
        "truncated",
    );
    is(&gzip[..3], |e| matches!(e, E::GzipTruncated { .. }), "3 bytes");
    is(
        &wrong_checksum,
        |e| matches!(e, E::GzipCorrupt { .. }),
        "checksum",
    );
    is(
        &json[..json.len() / 2],
        |e| matches!(e, E::JsonTruncated { .. }),
        "line 1",
    );
    is(b"\x7fELF\x02", |e| matches!(e, E::Json { .. }), "line 1 column 1");
    is(b"[]", |e| matches!(e, E::Json { .. }), "not the JSON");
    for field in ["chainId", "block", "witness"] {
        let bytes = changed(|json| json[field] = Value::Null);
        is(
            &bytes,
            |e| matches!(e, E::MissingField { .. }),
            &format!("no `{field}`"),
        );
    }
    for field in ["state", "codes", "headers"] {
        let bytes = changed(|json| json["witness"][field] = Value::Null);
        is(
            &bytes,
            |e| matches!(e, E::MissingField { .. }),
            &format!("`witness.{field}`"),
        );
    }
    is(
        &changed(|json| json["parentStateRoot"] = Value::Null),
        |e| matches!(e, E::MissingField { .. }),
        "`parent` or `parentStateRoot`",
    );
    is(
        &changed(|json| json["witness"]["state"][1] = json!("0xabc")),
        |e| matches!(e, E::BadField { .. }),
        "`witness.state[1]`",
    );
    is(
        &changed(|json| json["block"] = json!("c0")),
        |e| matches!(e, E::BadField { .. }),
        "0x",
    );
    is(
        &changed(|json| json["block"] = json!(["0xc0"])),
        |e| matches!(e, E::Json { .. }),
        "string",
    );
    is(
        &changed(|json| json["chainId"] = json!(-1)),
        |e| matches!(e, E::BadField { .. }),
        "-1",
    );
    is(
        &changed(|json| json["parentStateRoot"] = json!("0x0707")),
        |e| matches!(e, E::BadField { .. }),
        "2 bytes",
    );
    is(
        &changed(|json| json["chainConfig"] = json!("x".repeat(100_000))),
        |e| matches!(e, E::BadField { .. }),
        "`chainConfig`",
    );

    let unknown = BlockFile {
        chain_config: None,
        ..small_file()
    };
    let error = unknown.to_input().unwrap_err();
    assert!(matches!(error, E::UnknownChain { chain_id: 1_337 }), "{error}");
    let other = BlockFile {
        chain_id: 1_338,
        ..small_file()
    };
    let error = other.to_input().unwrap_err();
    assert!(matches!(error, E::ChainConfig(_)), "{error}");
    // Whatever the configuration says.
    let base = BlockFile {
        chain_id: 8_453,
        chain_config: Some(json!({"chainId": 8_453, "pragueTime": 0})),
        ..small_file()
    };
    let error = base.to_input().unwrap_err();
    assert!(
        matches!(error, E::UnsupportedChain(_)) && error.to_string().contains("Base"),
        "{error}"
    );
    let error = small_file().decode_block().unwrap_err();
    assert!(error.to_string().contains("`block`"), "{error}");
}

#[test]
fn a_gzip_bomb_is_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let spaces = vec![b' '; 1 << 20];
    for _ in 0..=JSON_BYTES_MAX >> 20 {
        encoder.write_all(&spaces).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let error = BlockFile::from_bytes(&bomb).unwrap_err();
    assert!(
        matches!(error, BlockFileError::InflatesTooLarge { .. }),
        "{error}"
    );
}

#[test]
fn a_file_beyond_the_limit_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    fs::File::create(&path)
        .unwrap()
        .set_len(JSON_BYTES_MAX + 1)
        .unwrap();
    let error = BlockFile::read(&path).unwrap_err();
    assert!(matches!(error, BlockFileError::TooLarge { .. }), "{error}");
}

#[test]
fn a_list_without_end_is_refused() {
    let mut json = br#"{"witness":{"state":["#.to_vec();
    json.extend_from_slice(&br#""","#.repeat(crate::input::STATE_NODES_MAX + 2));
    let error = BlockFile::from_bytes(&json).unwrap_err();
    assert!(error.to_string().contains("1048576 items"), "{error}");
}

/// The limit is the block's own word, and its parent's is no better: nothing is executed before it is looked at.
#[test]
fn a_block_that_could_run_for_ever_is_refused() {
    let spec = SampleSpec {
        txs: 1,
        seed: 1,
        accounts: 300,
        token_holders: 50,
    };
    let mut file = generate(&spec).unwrap();
    let mut with_limit = |gas_limit| {
        let mut parent = file.decode_parent().unwrap().unwrap();
        parent.gas_limit = gas_limit;
        let mut block = file.decode_block().unwrap();
        block.header.gas_limit = gas_limit;
        block.header.parent_hash = parent.hash_slow();
        file.block = alloy_rlp::encode(&block).into();
        file.parent = Parent::Header(alloy_rlp::encode(&parent).into());
        file.to_input()
    };
    for gas_limit in [GAS_LIMIT_MAX + 1, 1 << 62] {
        let error = with_limit(gas_limit).unwrap_err().to_string();
        assert!(
            error.contains(&gas_limit.to_string()) && error.contains("10000000000"),
            "{error}"
        );
    }
    // Half of the limit is the gas at which the base fee stays as it is, so that this block has the wrong one.
    let outcome = validate(&with_limit(GAS_LIMIT_MAX).unwrap());
    assert!(
        matches!(outcome, Err(crate::BlockError::BaseFee { .. })),
        "{outcome:?}"
    );
}

/// Each block by itself is allowed, and what its header says that it used does not count: it would be found out afterwards.
#[test]
fn a_batch_that_could_run_for_ever_is_refused() {
    let spec = SampleSpec {
        txs: 2,
        seed: 1,
        accounts: 300,
        token_holders: 50,
    };
    let files = generate_chain(&spec, 2).unwrap();
    // With so much gas in one transaction, and in room for it.
    let with_gas = |file: &BlockFile, gas: u64| {
        let mut block = file.decode_block().unwrap();
        block.header.gas_limit = GAS_LIMIT_MAX;
        let tx = block.body.transactions.last_mut().unwrap();
        let crate::Transaction::Eip1559(signed) = tx else {
            panic!("{tx:?}")
        };
        let (mut tx_1559, signature, _) = signed.clone().into_parts();
        tx_1559.gas_limit = gas;
        *tx = crate::Transaction::Eip1559(Signed::new_unhashed(tx_1559, signature));
        Bytes::from(alloy_rlp::encode(&block))
    };
    let others = |file: &BlockFile| {
        let block = file.decode_block().unwrap();
        let gas = block.body.transactions.iter().rev().skip(1);
        gas.map(|tx| tx.gas_limit()).sum::<u64>()
    };
    let half = BATCH_GAS_MAX / 2;
    let mut batch = files[0].clone();
    batch.block = with_gas(&files[0], half - others(&files[0]));
    batch.later = vec![with_gas(&files[1], half - others(&files[1]))];
    // Of the same headers, so that all that is wrong is what they hold.
    let follows = |batch: &mut BlockFile| {
        let before = batch.decode_block().unwrap().header.hash_slow();
        let mut later: crate::Block = alloy_rlp::decode_exact(&batch.later[0]).unwrap();
        later.header.parent_hash = before;
        batch.later[0] = alloy_rlp::encode(&later).into();
    };
    follows(&mut batch);
    batch.to_input().unwrap();
    batch.later = vec![with_gas(&files[1], half + 1 - others(&files[1]))];
    follows(&mut batch);
    let error = batch.to_input().unwrap_err();
    assert!(
        matches!(error, BlockFileError::BatchGas { actual } if actual == BATCH_GAS_MAX + 1),
        "{error}"
    );
    // And where they are in files of their own.
    let apart = [
        BlockFile {
            later: Vec::new(),
            ..batch.clone()
        },
        BlockFile {
            block: batch.later[0].clone(),
            later: Vec::new(),
            ..files[1].clone()
        },
    ];
    let error = crate::host::batch(&apart).unwrap_err();
    assert!(
        matches!(error, crate::host::BatchError::Gas { actual } if actual == BATCH_GAS_MAX + 1),
        "{error}"
    );
    // A transaction cannot take more than there is room for in its block.
    let mut single = files[0].clone();
    single.block = with_gas(&files[0], u64::MAX);
    single.to_input().unwrap();
}

#[test]
#[ignore = "needs block files of mainnet in the folder that MYRIAD_REAL_BLOCKS names"]
fn real_blocks_are_read() {
    for path in real_blocks() {
        let file = BlockFile::read(&path).unwrap();
        let block = file.decode_block().unwrap();
        let parent = file.decode_parent().unwrap();
        if block.header.number == 20_612_842 {
            assert_eq!(
                block.header.hash_slow(),
                b256!("b310ae11ae047a0e5e6c72c6a8646bb27d2b08c2caaf4486f77265263da81656")
            );
            assert_eq!(
                (file.witness.state.len(), file.witness.state_bytes()),
                (710, 272_833)
            );
            assert_eq!(
                (file.witness.codes.len(), file.witness.code_bytes()),
                (21, 206_281)
            );
        }
        match (&file.parent, parent) {
            (Parent::Header(rlp), Some(header)) => {
                assert_eq!(block.header.parent_hash, keccak256(rlp), "{}", hex::encode(rlp));
                assert_eq!(block.header.number, header.number + 1);
            }
            (Parent::StateRoot(_), None) => assert_eq!(block.header.number, 23_587_691),
            (stated, decoded) => panic!("{stated:?} decodes to {decoded:?}"),
        }
        assert_eq!(BlockFile::from_bytes(&file.to_gzip().unwrap()).unwrap(), file);
    }
}

/// Whatever is wrong with a file, it comes out as an error, and never as a panic.
#[test]
fn damage_is_an_error_and_no_panic() {
    let spec = SampleSpec {
        txs: 3,
        seed: 1,
        accounts: 300,
        token_holders: 50,
    };
    let file = generate(&spec).unwrap();
    let use_up = |bytes: &[u8]| {
        let Ok(file) = BlockFile::from_bytes(bytes) else {
            return;
        };
        let _ = inspect(&file);
        let Ok(input) = file.to_input() else { return };
        let _ = validate(&input);
    };
    for mut bytes in [json_of(&file), file.to_gzip().unwrap()] {
        for at in (0..bytes.len()).step_by(101) {
            use_up(&bytes[..at]);
            // Into another digit or letter, or out of the hex.
            for flip in [1, 2, 0x80] {
                bytes[at] ^= flip;
                use_up(&bytes);
                bytes[at] ^= flip;
            }
        }
    }
}
