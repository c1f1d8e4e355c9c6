//! The real blocks, where the folder with them is.

use std::{fs::File, path::Path};

use alloy_primitives::{B256, Bytes};
use flate2::read::GzDecoder;
use myriad_evm::{ChainConfig, Parent, StatelessInput};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockFile {
    chain_id: u64,
    block: String,
    parent: Option<String>,
    parent_state_root: Option<String>,
    witness: Witness,
}

#[derive(Deserialize)]
struct Witness {
    state: Vec<String>,
    codes: Vec<String>,
    headers: Vec<String>,
}

fn bytes(hex: &str) -> Bytes {
    hex.parse().expect("a block file has valid hex")
}

/// A block with its witness; `None`, said aloud, where the folder is not.
pub fn block(number: u64) -> Option<StatelessInput> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/blocks");
    let path = folder.join(format!("ethereum-{number}.json.gz"));
    let Ok(file) = File::open(&path) else {
        eprintln!("skipped: there is no {}", path.display());
        return None;
    };
    let file: BlockFile = serde_json::from_reader(GzDecoder::new(file)).expect("a block file");
    let all = |list: &[String]| list.iter().map(|hex| bytes(hex)).collect();
    let root = file.parent_state_root.as_deref();
    let parent_root = || {
        root.expect("a block file has a parent or its root")
            .parse::<B256>()
    };
    Some(StatelessInput {
        chain: ChainConfig::builtin(file.chain_id).expect("the chain is built in"),
        block: bytes(&file.block),
        parent: file.parent.as_deref().map_or_else(
            || Parent::StateRoot(parent_root().expect("a block file has valid hex")),
            |header| Parent::Header(bytes(header)),
        ),
        headers: all(&file.witness.headers),
        state: all(&file.witness.state),
        codes: all(&file.witness.codes),
    })
}
