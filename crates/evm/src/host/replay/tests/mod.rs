//! Tests over replay files of the sample's kind of chain, and over real ones in a folder that
//! `MYRIAD_LINEA_REPLAYS` names.

mod bytes;

use std::{io::Write, path::PathBuf, sync::LazyLock};

use alloy_consensus::{Header, Signed};
use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_primitives::{Address, B256, Bloom, U256};
use serde_json::json;

use super::{
    format::{ACCESSES_MAX, CODE_BYTES_MAX, DATA_BYTES_MAX, EXTRA_BYTES_MAX, LOGS_MAX, TRANSACTIONS_MAX},
    *,
};
use crate::{
    host::{
        batch::batch,
        block_file::BATCH_GAS_MAX,
        sample::{self, CHAIN_ID, replayed, replayed_after},
    },
    validate,
};

/// A slot that is cleared, one that counts, one that is new in each block, and a log.
const BUSY: &str = "
    PUSH 0 PUSH 1 SSTORE
    PUSH 2 SLOAD PUSH 1 ADD PUSH 2 SSTORE
    TIMESTAMP NUMBER SSTORE
    NUMBER PUSH 0 MSTORE PUSH topic(Busy()) PUSH 32 PUSH 0 LOG1 STOP";

const BLOCKS: usize = 3;

fn busy() -> sample::Replayed {
    static MADE: LazyLock<sample::Replayed> = LazyLock::new(|| replayed(BUSY, BLOCKS).unwrap());
    MADE.clone()
}

/// The last block's number, and its place among the blocks.
const LAST: u64 = 1_048_575 + BLOCKS as u64;
const AT: usize = BLOCKS - 1;

fn made(json: &Value, chain_config: &Value) -> Result<BlockFile, ReplayError> {
    replay_bytes(json.to_string().as_bytes(), Some(chain_config)).map(|replayed| replayed.file)
}

#[test]
fn blocks_are_the_chains_but_for_state_and_hashes() {
    let replay = busy();
    let file = made(&replay.json, &replay.chain_config).unwrap();
    let blocks = file.decode_blocks().unwrap();
    assert_eq!(blocks.len(), BLOCKS);
    for (block, real) in blocks.iter().zip(&replay.blocks) {
        assert_eq!(block.body, real.body);
        assert_ne!(block.header.state_root, real.header.state_root);
        let header = Header {
            state_root: real.header.state_root,
            parent_hash: real.header.parent_hash,
            ..block.header.clone()
        };
        assert_eq!(header, real.header);
    }
    let types: Vec<_> = blocks[0]
        .body
        .transactions
        .iter()
        .map(|tx| tx.tx_type() as u8)
        .collect();
    assert_eq!(types, [0, 1, 2]);
    assert!(file.synthetic);
    let description = file.description.as_ref().unwrap();
    assert!(
        description.contains(&format!("1048576 to {LAST} of chain {CHAIN_ID}"))
            && description.contains("synthetic"),
        "{description}"
    );

    // It is a batch like any other, and each part of it is needed.
    let (input, outcome) = batch(std::slice::from_ref(&file)).unwrap();
    assert_eq!((outcome.blocks, outcome.transactions), (BLOCKS, 3 * BLOCKS));
    assert!(outcome.skipped.is_empty());
    assert_eq!(input.state.len(), file.witness.state.len());
    for at in (0..input.state.len()).step_by(7) {
        let mut input = input.clone();
        input.state.remove(at);
        assert!(validate(&input).is_err(), "node {at} is not needed");
    }
    // The result is the same each time.
    assert_eq!(made(&replay.json, &replay.chain_config).unwrap(), file);
}

/// A single block has no later one, and its tries the depth of large ones.
#[test]
fn a_single_block_is_a_plain_file() {
    let replay = replayed(BUSY, 1).unwrap();
    let file = made(&replay.json, &replay.chain_config).unwrap();
    assert!(file.later.is_empty());
    validate(&file.to_input().unwrap()).unwrap();
    // Six full branches to each of about ten accounts, and four to each slot.
    let full = file.witness.state.iter().filter(|node| node.len() == 532).count();
    assert!(full > 70, "{full}");
}

/// The error where the file says something else.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut replay = busy();
    change(&mut replay.json);
    match made(&replay.json, &replay.chain_config) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it is not refused"),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn what_is_otherwise_than_the_file_says_is_named() {
    let says = |change: &dyn Fn(&mut Value), text: &str| {
        let error = refused(change);
        assert!(error.contains(text), "{text}: {error}");
    };
    let last = format!("of block {LAST}: the ");
    let tx = |json: &mut Value, key: &str, value: Value| json["blocks"][AT]["txs"][1][key] = value;
    // The header does not agree with the execution either.
    let outcome = |json: &mut Value, key: &str, value: Value| {
        json["blocks"][AT]["txs"][1]["outcome"][key] = value;
        json["blocks"][AT]["header"]["receiptsRoot"] = json!(B256::ZERO);
        json["blockHashes"] = json!([]);
    };
    says(
        &|json| outcome(json, "status", json!(false)),
        &format!("transaction 1 {last}status is success, and the file says failure"),
    );
    says(
        &|json| outcome(json, "gasUsed", json!(21_001)),
        "and the file says 21001",
    );
    says(
        &|json| outcome(json, "logs", json!([])),
        &format!("transaction 1 {last}number of logs is 1, and the file says 0"),
    );
    says(
        &|json| outcome(json, "logs", json!(["0x01"])),
        &format!("transaction 1 {last}data of a log is 0x"),
    );
    says(
        &|json| tx(json, "sender", json!(Address::ZERO)),
        &format!("transaction 1 {last}sender by the signature is 0x"),
    );
    says(&|json| tx(json, "value", json!("0x1")), "sender by the signature");
    says(&|json| tx(json, "chainId", json!(5)), "chain id is 5");
    says(
        &|json| json["blocks"][AT]["txs"] = json!([]),
        &format!("block {LAST}: the transactions root is 0x"),
    );
    says(
        &|json| json["blocks"][0]["header"]["gasUsed"] = json!(7),
        "block 1048576: the block hash is 0x",
    );
    says(
        &|json| {
            json["blocks"][0]["header"]["gasUsed"] = json!(7);
            json["blockHashes"] = json!([]);
        },
        "block 1048577: the hash of the block before is 0x",
    );
    says(
        &|json| json["fork"] = json!("OSAKA"),
        "the fork is Prague, and the file says `OSAKA`",
    );
    says(
        &|json| drop(json["blocks"].as_array_mut().unwrap().remove(1)),
        "number after the block before is 1048577, and the file says 1048578",
    );
    // Without the block's hash in the file, the fields that it covers are compared all the same.
    for (key, value, text) in [
        ("gasUsed", json!(7), "gas used is"),
        ("receiptsRoot", json!(B256::ZERO), "receipts root is 0x"),
        ("logsBloom", json!(Bloom::ZERO), "logs bloom is 0x"),
    ] {
        let header = |json: &mut Value| json["blocks"][AT]["header"][key] = value.clone();
        says(&header, &format!("block {LAST}: the block hash is 0x"));
        says(
            &|json| {
                header(json);
                json["blockHashes"] = json!([]);
            },
            &format!("block {LAST}: the {text}"),
        );
    }
}

#[test]
fn a_state_that_does_not_suffice_is_named() {
    let contract = |json: &Value| {
        let accounts = json["accounts"].as_array().unwrap();
        let to = &json["blocks"][0]["txs"][1]["to"]["value"];
        accounts
            .iter()
            .position(|account| account["address"] == *to)
            .unwrap()
    };
    let slot_of = |json: &Value, slot: u64| {
        let to = &json["blocks"][0]["txs"][1]["to"]["value"];
        let slots = json["storage"].as_array().unwrap();
        let key = json!(B256::with_last_byte(slot as u8));
        slots
            .iter()
            .position(|entry| entry["address"] == *to && entry["key"] == key)
            .unwrap()
    };
    let error = refused(|json| {
        let at = slot_of(json, 2);
        json["storage"].as_array_mut().unwrap().remove(at);
    });
    assert!(
        error.contains("transaction 1 of block 1048576 reads slot 0x2 of account 0x"),
        "{error}"
    );
    // A changed slot changes the gas of the transaction.
    let error = refused(|json| {
        let at = slot_of(json, 2);
        json["storage"][at]["value"] = json!("0x0");
    });
    assert!(
        error.contains("transaction 1 of block 1048576: the gas before refunds is"),
        "{error}"
    );
    let error = refused(|json| {
        let at = contract(json);
        json["accounts"].as_array_mut().unwrap().remove(at);
    });
    assert!(error.contains("with a value, and has no such account"), "{error}");
    let error = refused(|json| {
        let at = contract(json);
        json["accounts"][at]["code"] = json!("0x00");
    });
    assert!(
        error.contains("transaction 1 of block 1048576: the gas before refunds is"),
        "{error}"
    );
    let error = refused(|json| {
        let sender = json["blocks"][0]["txs"][0]["sender"].clone();
        let accounts = json["accounts"].as_array_mut().unwrap();
        let at = accounts
            .iter()
            .position(|account| account["address"] == sender)
            .unwrap();
        accounts[at]["nonce"] = json!(1);
    });
    assert!(
        error.contains("transaction 0 of block 1048576 cannot be executed") && error.contains("nonce"),
        "{error}"
    );
    for list in ["accounts", "storage"] {
        let error = refused(|json| {
            let first = json[list][0].clone();
            json[list].as_array_mut().unwrap().push(first);
        });
        assert!(error.contains("twice"), "{error}");
    }
}

/// The hashes of the synthetic headers are not the chain's, which a block may notice.
#[test]
fn what_depends_on_hashes_is_told() {
    let of = |source: &str| {
        let replay = replayed(source, BLOCKS).unwrap();
        let made = replay_bytes(replay.json.to_string().as_bytes(), Some(&replay.chain_config)).unwrap();
        validate(&made.file.to_input().unwrap()).unwrap();
        made
    };
    let dependents = |made: &super::Replayed, number: u64| {
        let place = Place {
            block: 1_048_576,
            transaction: Some(1),
        };
        assert_eq!(
            made.remarks[0],
            Remark::BlockHashes {
                place,
                oldest: number,
                count: 1
            }
        );
        made.remarks
            .iter()
            .filter(|remark| matches!(remark, Remark::Hashes(_)))
            .count()
    };
    // Keeping a hash has the same price as on the chain. The hash is of the parent, or of a block
    // long before it, and all headers from there on are made up.
    for back in [1, 2, 3, 200] {
        let source = format!("PUSH {back} NUMBER SUB BLOCKHASH PUSH 2 SSTORE STOP");
        let Ok(replay) = replayed(&source, 1) else {
            panic!("{back}")
        };
        let mut json = replay.json.clone();
        if back > 2 {
            // The maker knows no older ones, so that BLOCKHASH gave zero.
            let number = 1_048_576 - back;
            let hash = json!({"blockNumber": number, "blockHash": B256::ZERO});
            json["blockHashes"].as_array_mut().unwrap().push(hash);
        }
        let made = replay_bytes(json.to_string().as_bytes(), Some(&replay.chain_config)).unwrap();
        assert_eq!(dependents(&made, 1_048_576 - back), 0, "{back}");
        assert!(!made.file.description.unwrap().contains("depend on"));
    }
    // Logging a hash changes the receipts of two transactions of each block.
    let made = of("PUSH 1 NUMBER SUB BLOCKHASH PUSH 0 MSTORE PUSH 32 PUSH 0 LOG0 STOP");
    assert_eq!(dependents(&made, 1_048_575), 2 * BLOCKS);
    let description = made.file.description.as_ref().unwrap();
    assert!(
        description.contains(&format!("{} depend on those hashes", 2 * BLOCKS))
            && description.contains("the first is transaction 1 of block 1048576"),
        "{description}"
    );
    // The contract of EIP-2935 gives the hash, too.
    let made = of("PUSH 1 NUMBER SUB PUSH 0 MSTORE
        PUSH 32 PUSH 0 PUSH 32 PUSH 0 PUSH 0x0000F90827F1C53a10cb7A02335B175320002935 GAS STATICCALL POP
        PUSH 32 PUSH 0 LOG0 STOP");
    assert_eq!(made.remarks.len(), 2 * BLOCKS);
    let text = made.remarks[0].to_string();
    assert!(
        text.contains("transaction 1 of block 1048576 depends on synthetic hashes: its data of a log is 0x"),
        "{text}"
    );
}

/// Other transactions of a block than the first may ask for a hash.
#[test]
fn all_that_ask_for_hashes_are_told() {
    // Two transactions of each block call it.
    let replay = replayed("PUSH 1 NUMBER SUB BLOCKHASH PUSH 2 SSTORE STOP", BLOCKS).unwrap();
    let made = replay_bytes(replay.json.to_string().as_bytes(), Some(&replay.chain_config)).unwrap();
    let readers: Vec<_> = made
        .remarks
        .iter()
        .filter_map(|remark| match remark {
            Remark::BlockHashes { place, oldest, count } => {
                Some((place.block, place.transaction?, *oldest, *count))
            }
            _ => None,
        })
        .collect();
    let expected = (1_048_576..).take(BLOCKS);
    let expected = expected.flat_map(|block| [1, 2].map(|index| (block, index, block - 1, 1)));
    assert_eq!(readers, expected.collect::<Vec<_>>());
}

#[test]
fn the_first_blocks_of_a_chain_have_a_parent_or_are_refused() {
    for source in [BUSY, "PUSH 1 NUMBER SUB BLOCKHASH PUSH 2 SSTORE STOP"] {
        // The header before is that of block 0, and of block 1.
        for before in [0, 1] {
            let replay = replayed_after(before, source, 2).unwrap();
            let file = made(&replay.json, &replay.chain_config).unwrap();
            let input = file.to_input().unwrap();
            assert_eq!(file.decode_parent().unwrap().unwrap().number, before);
            assert!(validate(&input).unwrap().skipped.is_empty());
        }
    }
    let mut replay = replayed_after(0, BUSY, 1).unwrap();
    replay.json["blocks"][0]["header"]["number"] = json!(0);
    replay.json["blockHashes"] = json!([]);
    let error = made(&replay.json, &replay.chain_config).unwrap_err();
    assert!(matches!(error, ReplayError::Genesis), "{error}");
}

/// Each block may have as much as the two have together.
#[test]
fn blocks_that_could_run_for_ever_are_refused() {
    let replay = busy();
    let format = format::decode(replay.json.to_string().as_bytes(), |_| ReplayError::TooLarge).unwrap();
    let chain = chain(CHAIN_ID, Some(&replay.chain_config)).unwrap();
    let mut blocks = chain_blocks(format.blocks.0, &chain, None, &Default::default()).unwrap();
    blocks.truncate(2);
    for block in &mut blocks {
        block.block.header.gas_limit = BATCH_GAS_MAX / 2;
        match &mut block.block.body.transactions[0] {
            crate::Transaction::Legacy(tx) => {
                let (mut legacy, signature, _) = tx.clone().into_parts();
                legacy.gas_limit = u64::MAX;
                *tx = Signed::new_unhashed(legacy, signature);
            }
            other => panic!("{other:?}"),
        }
    }
    blocks::check_gas(&blocks).unwrap();
    blocks[1].block.header.gas_limit += 1;
    let error = blocks::check_gas(&blocks).unwrap_err();
    assert!(
        matches!(error, ReplayError::Gas { actual } if actual == BATCH_GAS_MAX + 1),
        "{error}"
    );
}

/// Each system call of a block may take 30,000,000 gas, which no header counts.
#[test]
fn system_calls_that_could_run_for_ever_are_refused() {
    let mut replay = replayed(BUSY, 84).unwrap();
    made(&replay.json, &replay.chain_config).unwrap();
    let called = [
        eip4788::BEACON_ROOTS_ADDRESS,
        eip2935::HISTORY_STORAGE_ADDRESS,
        eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
        eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
    ];
    let mut changed = 0;
    for account in replay.json["accounts"].as_array_mut().unwrap() {
        let address: Address = serde_json::from_value(account["address"].clone()).unwrap();
        if called.contains(&address) {
            // It ends at once. Nobody knows the gas of another code before it is run.
            account["code"] = json!("0x00");
            changed += 1;
        }
    }
    assert_eq!(changed, called.len());
    let error = made(&replay.json, &replay.chain_config).unwrap_err();
    assert!(
        matches!(error, ReplayError::SystemCalls { actual } if actual > 84 * 4 * 30_000_000),
        "{error}"
    );
}

/// The listed keys are bounded, and so are the others that the blocks touch.
#[test]
fn blocks_that_touch_too_much_are_refused() {
    // `slots` keys are listed, most of them slots that are zero.
    let touching = |slots: usize| {
        let replay = busy();
        let mut format =
            format::decode(replay.json.to_string().as_bytes(), |_| ReplayError::TooLarge).unwrap();
        let listed = format.accounts.0.len() + format.storage.0.len();
        let address = format.accounts.0[0].address;
        format
            .storage
            .0
            .extend((0..slots - listed).map(|slot| format::ReplaySlot {
                address,
                key: format::Number(U256::from(1_000_000 + slot)),
                value: format::Number(U256::ZERO),
            }));
        build(format, Some(&replay.chain_config))
    };
    // The margin is for keys that the blocks touch and that are not listed.
    touching(limits::TOUCHED_MAX - 100).unwrap();
    let error = touching(limits::TOUCHED_MAX).unwrap_err();
    assert!(matches!(error, ReplayError::TooMuchTouched { .. }), "{error}");
}

/// The tracer is wrong where the header agrees with the execution.
#[test]
fn what_the_tracer_has_wrong_is_told() {
    let mut replay = busy();
    replay.json["blocks"][AT]["txs"][1]["outcome"]["gasUsed"] = json!(7);
    let made = replay_bytes(replay.json.to_string().as_bytes(), Some(&replay.chain_config)).unwrap();
    let text = made.remarks[0].to_string();
    assert!(
        made.remarks.len() == 1
            && text.contains(&format!(
                "transaction 1 of block {LAST}: the gas before refunds is"
            ))
            && text.contains("the file says 7; the block's header agrees"),
        "{text}"
    );
}

#[test]
#[ignore = "needs replay files of Linea's tracer in the folder that MYRIAD_LINEA_REPLAYS names"]
fn real_replays_execute() {
    let folder = std::env::var("MYRIAD_LINEA_REPLAYS").expect("MYRIAD_LINEA_REPLAYS names a folder");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    assert!(!paths.is_empty(), "there is no replay file in {folder}");
    for path in paths {
        let made = replay(&path, None).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = made.file;
        for remark in &made.remarks {
            eprintln!("{remark}");
        }
        assert!(matches!(file.chain_id, 59_144 | 59_141), "{}", path.display());
        let (_, outcome) = batch(std::slice::from_ref(&file)).unwrap();
        eprintln!(
            "{}: {} blocks, {} transactions, {} gas, {} nodes of {} bytes",
            path.display(),
            outcome.blocks,
            outcome.transactions,
            outcome.gas_used,
            file.witness.state.len(),
            file.witness.state_bytes(),
        );
    }
}
