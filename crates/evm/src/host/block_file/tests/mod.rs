//! Block files are read as they were written, and damaged ones are refused.

mod bounds;

use std::{fs, io::Write, path::PathBuf};

use alloy_consensus::Signed;
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
    encode::encode(file, &mut json, false, JSON_BYTES_MAX).unwrap();
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
    // A reader of single blocks has to refuse it.
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
#[expect(clippy::too_many_lines, reason = "a table of cases")]
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
    // The id alone counts, whatever the configuration says.
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

/// Every fault of a file comes out as an error, and never as a panic.
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

/// No command would read it: nothing is written, and the old file stays.
#[test]
fn a_file_with_more_than_is_read_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = small_file();
    // The file passes the limit in the middle, and not with the last bytes that are buffered.
    file.witness.codes = vec![vec![0x5b; 20_000].into(); 3];
    let length = json_of(&file).len() as u64;
    for name in ["block.json", "block.json.gz"] {
        let path = folder.path().join(name);
        fs::write(&path, b"what was there").unwrap();
        for bytes_max in [0, length / 2, length - 1] {
            let error = file.write_within(&path, bytes_max).unwrap_err();
            let expected = format!("its JSON has more than the {bytes_max} bytes that are read");
            let shown = error.to_string();
            assert!(shown.contains(&expected) && shown.contains(name), "{shown}");
            assert_eq!(fs::read(&path).unwrap(), b"what was there");
            assert_eq!(
                fs::read_dir(folder.path()).unwrap().count(),
                1,
                "nothing half written"
            );
        }
        file.write_within(&path, length).unwrap();
        assert_eq!(BlockFile::read(&path).unwrap(), file);
        fs::remove_file(&path).unwrap();
    }
}
