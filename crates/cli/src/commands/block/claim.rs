//! What a proof of a block says, from the block file alone: nothing is executed, the proof shows that
//! it would end well.

use std::path::Path;

use myriad_evm::{execute::public_values, host::BlockFile};
use serde::Serialize;

use crate::{
    error::{Error, block_file},
    report::Rows,
};

/// The statement that a block is valid.
#[derive(Serialize)]
pub struct Claim {
    chain_id: u64,
    number: u64,
    block_hash: String,
    parent_state_root: String,
    state_root: String,
    #[serde(skip)]
    public_values: [u8; 32],
}

impl Claim {
    /// The statement about the block in a file.
    ///
    /// # Errors
    /// A file that is no block file, or a block without its parent's header, of which there are no proofs.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = BlockFile::read(path).map_err(block_file(path))?;
        Self::of(path, &file)
    }

    fn of(path: &Path, file: &BlockFile) -> Result<Self, Error> {
        let fail = block_file(path);
        let chain = file.chain().map_err(&fail)?;
        let block = file.decode_block().map_err(&fail)?;
        let Some(parent) = file.decode_parent().map_err(&fail)? else {
            return Err(Error::NoParent {
                path: path.to_owned(),
            });
        };
        let (state_root, block_hash) = (block.header.state_root, block.header.hash_slow());
        Ok(Self {
            chain_id: chain.chain_id,
            number: block.header.number,
            block_hash: block_hash.to_string(),
            parent_state_root: parent.state_root.to_string(),
            state_root: state_root.to_string(),
            public_values: public_values(&chain, parent.state_root, state_root, block_hash, &[]).0,
        })
    }

    /// What the proof of it reveals.
    pub fn public_values(&self) -> [u8; 32] {
        self.public_values
    }

    /// Adds it to a summary.
    pub fn rows(&self, rows: &mut Rows) {
        rows.row(
            "block",
            &format!("{} of chain {}, {}", self.number, self.chain_id, self.block_hash),
        );
        rows.row("state before", &self.parent_state_root);
        rows.row("state after", &self.state_root);
    }
}
