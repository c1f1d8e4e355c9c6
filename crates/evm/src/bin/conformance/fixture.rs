//! The format of the fixtures, as far as it is read.

use std::{collections::BTreeMap, fs, path::Path};

use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_rlp::Decodable;
use myriad_evm::{
    Block, ChainConfig,
    host::sample::chain_state::{Account, ChainState},
};
use serde::Deserialize;
use serde_json::Value;

use super::network::{self, Config};

/// Longest file, in bytes: the largest of the public suites have some 20 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// One blockchain test.
pub struct Test {
    pub name: String,
    pub network: String,
    /// The content that it is run with, or the reason why it cannot be run.
    pub content: Result<Content, String>,
}

pub struct Content {
    pub chain: ChainConfig,
    /// Header of the block that the test begins with, in RLP.
    pub genesis: Bytes,
    /// The state after that block.
    pub chain_state: ChainState,
    pub blocks: Vec<TestBlock>,
    /// Hash of the last block of the chain that the test ends with.
    pub last_hash: B256,
}

/// A block in RLP, and what has to become of it.
#[derive(Debug, Deserialize)]
pub struct TestBlock {
    pub rlp: Bytes,
    /// Names of the causes to refuse it for, with `|` between them; `None` for a valid block.
    #[serde(rename = "expectException")]
    pub exception: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    network: String,
    #[serde(default)]
    config: Config,
    #[serde(rename = "genesisRLP")]
    genesis: Bytes,
    pre: BTreeMap<Address, RawAccount>,
    blocks: Vec<TestBlock>,
    #[serde(rename = "lastblockhash")]
    last_hash: B256,
}

#[derive(Deserialize)]
struct RawAccount {
    nonce: U64,
    balance: U256,
    code: Bytes,
    storage: BTreeMap<U256, U256>,
}

/// Reads the tests of a file.
///
/// # Errors
/// The file cannot be read, or holds no fixtures.
pub fn read(path: &Path) -> Result<Vec<Test>, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!(
            "the file has {bytes} bytes, allowed are {FILE_BYTES_MAX}"
        ));
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let tests: BTreeMap<String, Value> =
        serde_json::from_slice(&text).map_err(|error| format!("no fixtures: {error}"))?;
    tests
        .into_iter()
        .map(|(name, test)| read_test(name, test))
        .collect()
}

fn read_test(name: String, test: Value) -> Result<Test, String> {
    if test.get("blocks").is_none() {
        let content = Err("not a blockchain test".to_owned());
        let network = "-".to_owned();
        return Ok(Test {
            name,
            network,
            content,
        });
    }
    let failed = |error: String| format!("{name}: {error}");
    let raw: Raw = serde_json::from_value(test).map_err(|error| failed(error.to_string()))?;
    let content = match network::chain(&raw.network, &raw.config) {
        Ok(chain) => {
            let genesis = Block::decode(&mut raw.genesis.as_ref());
            let genesis = genesis.map_err(|error| failed(format!("genesisRLP: {error}")))?;
            let chain_state = chain_state(raw.pre);
            let root = chain_state.state_trie().root();
            if root != genesis.header.state_root {
                let expected = genesis.header.state_root;
                return Err(failed(format!(
                    "`pre` has the root {root}, its header {expected}"
                )));
            }
            Ok(Content {
                chain,
                genesis: alloy_rlp::encode(&genesis.header).into(),
                chain_state,
                blocks: raw.blocks,
                last_hash: raw.last_hash,
            })
        }
        Err(reason) => Err(reason),
    };
    Ok(Test {
        name,
        network: raw.network,
        content,
    })
}

fn chain_state(pre: BTreeMap<Address, RawAccount>) -> ChainState {
    let mut chain_state = ChainState::default();
    for (address, account) in pre {
        let code_hash = keccak256(&account.code);
        chain_state.codes.insert(code_hash, account.code);
        let slots = account.storage.into_iter();
        chain_state.accounts.insert(
            address,
            Account {
                nonce: account.nonce.to(),
                balance: account.balance,
                code_hash,
                storage: slots.filter(|(_, value)| !value.is_zero()).collect(),
            },
        );
    }
    chain_state
}
