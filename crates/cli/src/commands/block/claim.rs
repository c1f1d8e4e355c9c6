//! What a proof of a block says, from the block file alone: nothing is executed, the proof shows that
//! it would end well.

use std::path::PathBuf;

use myriad_evm::{
    execute::public_values,
    host::{BatchError, BlockFile, inspect::inspect},
};
use serde::Serialize;

use super::{
    inspect::{kind, rules},
    read,
};
use crate::{
    error::{Error, block_file},
    report::Rows,
};

/// The statement that a block is valid, and by whose rules.
#[derive(Serialize)]
pub struct Claim {
    chain_id: u64,
    /// Whether the chain's rules are part of the program, or else of the file. The public values differ.
    chain_built_in: bool,
    fork: Option<String>,
    number: u64,
    block_hash: String,
    parent_state_root: String,
    state_root: String,
    /// How many blocks it is about: the number and the hash are the last one's.
    blocks: usize,
    /// Whether the file says that the block was made up.
    synthetic: bool,
    #[serde(skip)]
    public_values: [u8; 32],
}

impl Claim {
    /// The statement about the block in a file, or about the batch of those in several; `None` where there is none.
    ///
    /// # Errors
    /// A file that is no block file, a first block without its parent's header, of which there are no proofs, or one that does
    /// not follow the one before it.
    pub fn read(paths: &[PathBuf]) -> Result<Option<Self>, Error> {
        match paths {
            [] => Ok(None),
            paths => Self::of(paths, &read(paths)?).map(Some),
        }
    }

    /// The same, of files that have been read.
    fn of(paths: &[PathBuf], files: &[BlockFile]) -> Result<Self, Error> {
        let look = |(path, file): (&PathBuf, &BlockFile)| {
            let fail = block_file(path);
            Ok((file.chain().map_err(&fail)?, inspect(file).map_err(&fail)?))
        };
        let blocks = paths.iter().zip(files).map(look);
        let blocks = blocks.collect::<Result<Vec<_>, Error>>()?;
        for pair in blocks.windows(2) {
            let [(chain, before), (own, block)] = pair else {
                continue;
            };
            let number = block.number;
            if block.parent_hash != before.block_hash {
                return Err(Error::Batch(BatchError::NotTheNext {
                    number,
                    named: block.parent_hash,
                    before: before.block_hash,
                }));
            }
            if own != chain {
                return Err(Error::Batch(BatchError::OtherChain { number }));
            }
        }
        let [(chain, first), ..] = blocks.as_slice() else {
            return Err(Error::Batch(BatchError::Blocks { actual: 0 }));
        };
        let last = &blocks[blocks.len() - 1].1;
        if !first.parent_header_known {
            return Err(Error::NoParent {
                path: paths[0].clone(),
            });
        }
        let (parent_state_root, state_root) = (first.parent_state_root, last.state_root);
        let block_hash = last.block_hash;
        let public_values = public_values(
            chain,
            parent_state_root,
            state_root,
            block_hash,
            blocks.len(),
            &[],
        );
        Ok(Self {
            chain_id: last.chain_id,
            chain_built_in: last.chain_built_in,
            fork: last.fork.clone(),
            number: last.number,
            block_hash: block_hash.to_string(),
            parent_state_root: parent_state_root.to_string(),
            state_root: state_root.to_string(),
            blocks: blocks.len(),
            synthetic: blocks.iter().any(|(_, block)| block.synthetic),
            public_values: public_values.0,
        })
    }

    /// What the proof of it reveals.
    pub fn public_values(&self) -> [u8; 32] {
        self.public_values
    }

    /// Adds it to a summary.
    pub fn rows(&self, rows: &mut Rows) {
        rows.row(
            if self.blocks > 1 { "blocks" } else { "block" },
            &format!(
                "{}{} of chain {}{}, {}",
                match self.blocks as u64 {
                    1 => String::new(),
                    blocks => format!("{} to ", self.number + 1 - blocks),
                },
                self.number,
                self.chain_id,
                kind(self.synthetic),
                self.block_hash
            ),
        );
        rows.row("rules", &rules(self.fork.as_deref(), self.chain_built_in));
        rows.row("state before", &self.parent_state_root);
        rows.row("state after", &self.state_root);
    }
}

#[cfg(test)]
mod tests {
    use myriad_evm::host::sample::{SampleSpec, generate};

    use super::*;

    #[test]
    fn it_says_whose_rules_were_checked() {
        let spec = SampleSpec {
            txs: 1,
            seed: 1,
            accounts: 300,
            token_holders: 50,
        };
        let mut file = generate(&spec).unwrap();
        let shown = |file: &BlockFile| {
            let claim = Claim::of(&["sample.json".into()], std::slice::from_ref(file)).unwrap();
            let mut rows = Rows::new("");
            claim.rows(&mut rows);
            (rows.text(), serde_json::to_value(&claim).unwrap())
        };
        let (text, json) = shown(&file);
        for part in ["(synthetic)", "Prague, by the file's chainConfig"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(
            (&json["chain_built_in"], &json["synthetic"]),
            (&false.into(), &true.into())
        );
        // No file brings rules for a chain that is built in.
        file.chain_id = 1;
        file.synthetic = false;
        let (text, json) = shown(&file);
        assert!(
            !text.contains("chainConfig") && !text.contains("synthetic"),
            "{text}"
        );
        assert_eq!(json["chain_built_in"], true);
    }
}
