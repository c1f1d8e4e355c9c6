//! The real blocks, where the folder with them is.

use std::path::Path;

use myriad_evm::{StatelessInput, host::BlockFile};

/// A block with its witness; `None`, said aloud, where the folder is not.
pub fn block(number: u64) -> Option<StatelessInput> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/blocks");
    let path = folder.join(format!("ethereum-{number}.json.gz"));
    if !path.exists() {
        eprintln!("skipped: there is no {}", path.display());
        return None;
    }
    let file = BlockFile::read(&path).expect("it is a block file");
    Some(file.to_input().expect("it has what the guest needs"))
}
