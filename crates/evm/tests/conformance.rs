//! The `conformance` binary over fixtures of the sample chain, right ones and wrong ones, written
//! here in the format of Ethereum's; and over Ethereum's own, where `MYRIAD_FIXTURES` names a
//! folder with them.

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitStatus},
};

use alloy_consensus::{BlockBody, Header};
use alloy_primitives::{B256, Bytes, hex};
use alloy_rlp::Decodable;
use myriad_evm::{
    Block, Fork, Parent,
    host::{
        BlockFile,
        sample::{CHAIN_ID, chain_state::ChainState, features_of_a_young_chain},
    },
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const FORKS: [Fork; 5] = [
    Fork::Paris,
    Fork::Shanghai,
    Fork::Cancun,
    Fork::Prague,
    Fork::Osaka,
];

/// A block in a fixture, and the name of the exception that it is to be refused for.
type Entry = (Block, Option<&'static str>);

/// One test in the format of Ethereum's fixtures.
fn fixture(fork: &str, file: &BlockFile, chain_state: &ChainState, blocks: &[Entry]) -> Value {
    let Parent::Header(parent) = &file.parent else {
        panic!("the sample has its parent's header");
    };
    let genesis = Block {
        header: Header::decode(&mut parent.as_ref()).unwrap(),
        body: BlockBody::default(),
    };
    let account = |account: &myriad_evm::host::sample::chain_state::Account| {
        let slots = account.storage.iter();
        let slots: Map<_, _> = slots
            .map(|(slot, value)| (format!("{slot:#x}"), json!(value)))
            .collect();
        json!({
            "nonce": format!("{:#x}", account.nonce),
            "balance": account.balance,
            "code": chain_state.codes.get(&account.code_hash).cloned().unwrap_or_default(),
            "storage": slots,
        })
    };
    let pre = chain_state
        .accounts
        .iter()
        .map(|(address, it)| (address.to_string(), account(it)));
    let valid = blocks.iter().rev().find(|(_, exception)| exception.is_none());
    let last = valid.map_or(&genesis, |(block, _)| block).header.hash_slow();
    let blocks = blocks.iter().map(|(block, exception)| match exception {
        Some(name) => json!({ "rlp": Bytes::from(alloy_rlp::encode(block)), "expectException": name }),
        None => json!({ "rlp": Bytes::from(alloy_rlp::encode(block)) }),
    });
    json!({
        "network": fork,
        "config": { "chainid": format!("{CHAIN_ID:#x}") },
        "genesisRLP": hex::encode_prefixed(alloy_rlp::encode(&genesis)),
        "pre": pre.collect::<Map<_, _>>(),
        "blocks": blocks.collect::<Vec<_>>(),
        "lastblockhash": last,
    })
}

fn write(folder: &Path, name: &str, test: &Value) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, json!({ "a test": test }).to_string()).unwrap();
}

/// Runs the harness; gives its report and how it ended.
fn conformance(folder: &Path, args: &[&str]) -> (Value, ExitStatus) {
    let report = TempDir::new().unwrap();
    let json = report.path().join("report.json");
    let status = Command::new(env!("CARGO_BIN_EXE_conformance"))
        .arg(folder)
        .args(["--threads", "2", "--json"])
        .arg(&json)
        .args(args)
        .status()
        .unwrap();
    let report = fs::read(json).unwrap_or_else(|error| panic!("{status}: {error}"));
    (serde_json::from_slice(&report).unwrap(), status)
}

fn other_root(block: &Block) -> Block {
    let mut block = block.clone();
    block.header.state_root = B256::repeat_byte(7);
    block
}

/// Sends the first transaction once more, and leaves the transactions root as it was.
fn sent_twice(block: &Block) -> Block {
    let mut block = block.clone();
    let transactions = &mut block.body.transactions;
    transactions.insert(1, transactions[0].clone());
    block
}

#[test]
fn made_up_fixtures_hold_in_all_modes() {
    let folder = TempDir::new().unwrap();
    for fork in FORKS {
        let (file, chain_state) = features_of_a_young_chain(fork).unwrap();
        let block = file.decode_block().unwrap();
        let blocks = [
            (other_root(&block), Some("BlockException.INVALID_STATE_ROOT")),
            (
                sent_twice(&block),
                Some("TransactionException.NONCE_MISMATCH_TOO_LOW"),
            ),
            (block, None),
        ];
        let test = fixture(&fork.to_string(), &file, &chain_state, &blocks);
        write(folder.path(), &format!("made/{fork}/features.json"), &test);
    }
    let (file, chain_state) = features_of_a_young_chain(Fork::Prague).unwrap();
    let later = [(file.decode_block().unwrap(), None)];
    write(
        folder.path(),
        "made/later.json",
        &fixture("Amsterdam", &file, &chain_state, &later),
    );
    let (report, status) = conformance(folder.path(), &["--mutate", "400", "--seed", "5"]);
    assert!(status.success(), "{report:#}");
    let total = &report["total"];
    assert_eq!((&total["tests"], &total["accepted"]), (&json!(5), &json!(5)));
    assert_eq!((&total["refused"], &total["mended"]), (&json!(10), &json!(5)));
    assert!(total["taken_out"].as_u64() >= Some(5 * 30), "{total}");
    // The block calls with more value than there is; from Prague on, it is the delegate's code that
    // need not be there.
    assert!(total["spare_codes"].as_u64() <= Some(3), "{total}");
    assert_eq!(report["forks"]["Prague"]["accepted"], 1);
    assert_eq!(report["folders"]["made/Paris"]["refused"], 2);
    assert_eq!(report["skipped"], json!({ "Amsterdam is not supported": 1 }));
    let mutations = &report["mutations"];
    assert!(mutations["refused"].as_u64() > Some(300), "{mutations}");
    assert!(mutations["same"].as_u64() > Some(0), "{mutations}");
}

#[test]
fn what_is_wrong_is_reported() {
    let (file, chain_state) = features_of_a_young_chain(Fork::Cancun).unwrap();
    let block = file.decode_block().unwrap();
    let cancun = |entries: &[Entry]| fixture("Cancun", &file, &chain_state, entries);
    let mut other_state = cancun(&[(block.clone(), None)]);
    let pre = other_state["pre"].as_object_mut().unwrap();
    pre.values_mut().next().unwrap()["nonce"] = json!("0x77");
    let cases = [
        (
            cancun(&[(block.clone(), Some("BlockException.INVALID_STATE_ROOT"))]),
            "wrong-accept",
        ),
        // Its rule is broken nowhere but in a root.
        (
            cancun(&[(
                other_root(&block),
                Some("TransactionException.INITCODE_SIZE_EXCEEDED"),
            )]),
            "wrong-accept",
        ),
        (cancun(&[(other_root(&block), None)]), "wrong-reject"),
        (
            cancun(&[(
                sent_twice(&block),
                Some("TransactionException.NONCE_MISMATCH_TOO_HIGH"),
            )]),
            "wrong-cause",
        ),
        (
            cancun(&[(other_root(&block), Some("BlockException.OF_NO_SUITE"))]),
            "wrong-cause",
        ),
        (other_state, "unusable"),
        (json!({ "network": "Cancun", "blocks": "none" }), "unusable"),
    ];
    for (test, kind) in cases {
        let folder = TempDir::new().unwrap();
        write(folder.path(), "case.json", &test);
        let (report, status) = conformance(folder.path(), &[]);
        assert_eq!(status.code(), Some(1), "{kind}: {report:#}");
        let faults = report["faults"].as_array().unwrap();
        assert!(
            faults.iter().any(|fault| fault["kind"] == kind),
            "{kind}: {report:#}"
        );
    }
}

#[test]
fn a_folder_without_fixtures_is_no_success() {
    let folder = TempDir::new().unwrap();
    let run = |folder: &Path| {
        let run = Command::new(env!("CARGO_BIN_EXE_conformance"))
            .arg(folder)
            .output();
        run.unwrap().status.code()
    };
    assert_eq!(run(folder.path()), Some(2));
    assert_eq!(run(&folder.path().join("absent")), Some(2));
}

#[test]
#[ignore = "needs blockchain tests of Ethereum in the folder that MYRIAD_FIXTURES names"]
fn ethereums_fixtures_hold() {
    let folder = env::var("MYRIAD_FIXTURES").expect("MYRIAD_FIXTURES names a folder");
    let (report, status) = conformance(Path::new(&folder), &[]);
    assert!(status.success(), "{:#}", report["faults"]);
    assert!(report["total"]["accepted"].as_u64() > Some(0), "{report:#}");
}
