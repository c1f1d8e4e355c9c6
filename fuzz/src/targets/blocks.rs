//! Blocks: files, what a node answers, and what the guest reads.

use std::{fs, sync::LazyLock};

use myriad_evm::{
    StatelessInput,
    host::{
        BlockFile,
        batch::batch_file,
        chain_config,
        replay::replay_bytes,
        sample::{self, Replayed, SampleSpec},
    },
    validate,
};

use super::scratch;
use crate::rpc;

fn sample_block() -> BlockFile {
    let spec = SampleSpec {
        txs: 2,
        accounts: 40,
        token_holders: 20,
        ..SampleSpec::default()
    };
    sample::generate(&spec).expect("the numbers are allowed")
}

pub(super) fn block_files() -> Vec<Vec<u8>> {
    let dir = scratch();
    let path = dir.path().join("block.json");
    let file = sample_block();
    file.write(&path).expect("there is room");
    let plain = fs::read(&path).expect("it was written");
    let spec = SampleSpec {
        txs: 2,
        accounts: 40,
        token_holders: 20,
        ..SampleSpec::default()
    };
    let chain = sample::generate_chain(&spec, 2).expect("the numbers are allowed");
    let batch = batch_file(&chain).expect("they are consecutive");
    batch.write(&path).expect("there is room");
    let batch = fs::read(&path).expect("it was written");
    vec![plain, file.to_gzip().expect("to memory"), batch]
}

pub(super) fn block_file(bytes: &[u8]) -> bool {
    let Ok(file) = BlockFile::from_bytes(bytes) else {
        return false;
    };
    let _ = (file.decode_blocks(), file.decode_parent(), file.chain());
    file.to_input().is_ok()
}

pub(super) fn replays() -> Vec<Vec<u8>> {
    vec![REPLAYED.json.to_string().into_bytes()]
}

/// A replay that decodes makes a batch that holds.
pub(super) fn replay(bytes: &[u8]) -> bool {
    let Ok(replayed) = replay_bytes(bytes, Some(&REPLAYED.chain_config)) else {
        return false;
    };
    let input = replayed.file.to_input().expect("it was made into one before");
    validate(&input).expect("it was executed before");
    true
}

static REPLAYED: LazyLock<Replayed> =
    LazyLock::new(|| sample::replayed("PUSH 1 PUSH 0 SSTORE STOP", 2).expect("it assembles"));

pub(super) fn stateless_inputs() -> Vec<Vec<u8>> {
    vec![sample_block().to_input().expect("it is valid").encode()]
}

/// A block that is not the sample is refused, unless what was changed of the witness is not needed.
pub(super) fn stateless_input(bytes: &[u8]) -> bool {
    let Ok(input) = StatelessInput::decode(bytes.to_vec().into()) else {
        return false;
    };
    assert_eq!(StatelessInput::decode(input.encode().into()).as_ref(), Ok(&input));
    validate(&input).is_ok()
}

pub(super) fn chain_configs() -> Vec<Vec<u8>> {
    let file = sample_block();
    let chain = file.chain().expect("it has one");
    let config = chain_config::to_geth(&chain);
    vec![serde_json::to_vec(&config).expect("plain data")]
}

pub(super) fn chain(bytes: &[u8]) -> bool {
    let value = serde_json::from_slice::<serde_json::Value>(bytes);
    value.is_ok_and(|value| {
        let id = value.get("chainId").and_then(serde_json::Value::as_u64);
        chain_config::from_geth(&value, id.unwrap_or_default()).is_ok()
    })
}

/// The answer to each method, with the method's number before it.
pub(super) fn rpc_answers() -> Vec<Vec<u8>> {
    let file = sample_block();
    let numbered = |(number, method): (u8, &str)| [vec![number], rpc::answer(&file, method)].concat();
    (0..).zip(rpc::METHODS).map(numbered).collect()
}

pub(super) fn rpc_answer(bytes: &[u8]) -> bool {
    thread_local!(static NODE: rpc::Node = rpc::Node::start(sample_block()));
    let Some((&number, body)) = bytes.split_first() else {
        return false;
    };
    let method = rpc::METHODS.get(usize::from(number));
    method.is_some_and(|method| NODE.with(|node| node.import(method, body)))
}
