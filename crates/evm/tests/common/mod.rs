//! The blocks that are tested with: a made-up one, and the real ones where the folder with them is.

use std::{path::Path, sync::LazyLock};

use myriad_evm::{
    StatelessInput,
    host::{
        BlockFile,
        sample::{SampleSpec, generate},
    },
};

/// Which block.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// A made-up one, the same each time; always at hand.
    #[allow(dead_code, reason = "not every test file takes it")]
    Sample,
    /// One of mainnet, by its number.
    Mainnet(u64),
}

/// A block with its witness; `None`, said aloud, where it is not at hand.
pub fn block(of: Of) -> Option<StatelessInput> {
    match of {
        Of::Sample => Some(SAMPLE.clone()),
        Of::Mainnet(number) => mainnet(number),
    }
}

static SAMPLE: LazyLock<StatelessInput> = LazyLock::new(|| {
    let spec = SampleSpec {
        txs: 20,
        seed: 12,
        accounts: 2_000,
        token_holders: 500,
    };
    let file = generate(&spec).expect("the numbers are within bounds");
    file.to_input().expect("it has what the guest needs")
});

fn mainnet(number: u64) -> Option<StatelessInput> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/blocks");
    let path = folder.join(format!("ethereum-{number}.json.gz"));
    if !path.exists() {
        eprintln!("skipped: there is no {}", path.display());
        return None;
    }
    let file = BlockFile::read(&path).expect("it is a block file");
    Some(file.to_input().expect("it has what the guest needs"))
}
