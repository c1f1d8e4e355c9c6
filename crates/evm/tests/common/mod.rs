//! The blocks that are tested with: made-up ones, which are always at hand, and real ones of
//! mainnet.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use myriad_evm::{
    Fork, StatelessInput,
    host::{
        BlockFile,
        sample::{SampleSpec, features, features_after_bpo, generate},
    },
};

/// The choice of a block.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// A made-up one of Prague, as `block sample` makes them.
    Sample,
    /// A made-up one with what the rules of a fork know.
    Fork(Fork),
    /// A made-up one of Osaka, after a change of the blob parameters alone.
    Bpo,
}

/// A block with its witness, the same each time.
pub fn block(of: Of) -> StatelessInput {
    match of {
        Of::Sample => SAMPLE.clone(),
        Of::Fork(fork) => input(&features(fork).expect("it is known")),
        Of::Bpo => input(&features_after_bpo().expect("it is known")),
    }
}

static SAMPLE: LazyLock<StatelessInput> = LazyLock::new(|| {
    let spec = SampleSpec {
        txs: 20,
        seed: 12,
        accounts: 2_000,
        token_holders: 500,
    };
    input(&generate(&spec).expect("the numbers are within bounds"))
});

fn input(file: &BlockFile) -> StatelessInput {
    file.to_input().expect("it has what the guest needs")
}

/// The block files of the folder that `MYRIAD_REAL_BLOCKS` names, by their file names.
#[allow(dead_code, reason = "not every test file takes it")]
pub fn real_blocks() -> Vec<(String, StatelessInput)> {
    let folder = env::var("MYRIAD_REAL_BLOCKS").expect("MYRIAD_REAL_BLOCKS names a folder");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let is_block = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "gz");
    let read = |path: PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file = BlockFile::read(Path::new(&path)).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, input(&file))
    };
    let blocks: Vec<_> = paths.filter(is_block).map(read).collect();
    assert!(!blocks.is_empty(), "there is no block in {folder}");
    blocks
}
