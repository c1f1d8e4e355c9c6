//! The statement of a block's proof, from the block file alone. Nothing is executed: the proof
//! shows that the execution succeeds.

use std::path::PathBuf;

use myriad_evm::{
    execute::public_values,
    host::{BatchError, BlockFile, inspect::inspect},
    input::BLOCKS_MAX,
};
use serde::Serialize;

use super::{
    read,
    summary::{kind, noun, numbers, rules},
};
use crate::{
    error::{Error, block_file},
    report::Rows,
};

/// The statement that a block is valid, and by whose rules.
#[derive(Serialize)]
pub struct Claim {
    chain_id: u64,
    /// Whether the chain's rules are part of the program; otherwise they are part of the file. The
    /// public values differ.
    chain_built_in: bool,
    fork: Option<String>,
    number: u64,
    block_hash: String,
    parent_state_root: String,
    state_root: String,
    /// The number of blocks; the number and the hash are the last one's.
    blocks: usize,
    /// Whether the file says that the block was made up.
    synthetic: bool,
    #[serde(skip)]
    public_values: [u8; 32],
}

impl Claim {
    /// The statement about the blocks in a file, or about the batch of the blocks in several files;
    /// `None` without a file.
    ///
    /// # Errors
    /// A file that is no block file, a first block without its parent's header, which cannot be
    /// proven, or a block that does not follow the one before it.
    pub fn read(paths: &[PathBuf]) -> Result<Option<Self>, Error> {
        match paths {
            [] => Ok(None),
            paths => Self::of(paths, &read(paths)?).map(Some),
        }
    }

    /// The statement about the blocks in files that have been read.
    fn of(paths: &[PathBuf], files: &[BlockFile]) -> Result<Self, Error> {
        let look = |(path, file): (&PathBuf, &BlockFile)| {
            let fail = block_file(path);
            Ok((file.chain().map_err(&fail)?, inspect(file).map_err(&fail)?))
        };
        let blocks = paths.iter().zip(files).map(look);
        let blocks = blocks.collect::<Result<Vec<_>, Error>>()?;
        let count = blocks.iter().map(|(_, block)| block.blocks).sum();
        if count > BLOCKS_MAX {
            return Err(Error::Batch(BatchError::Blocks { actual: count }));
        }
        for pair in blocks.windows(2) {
            let [(chain, before), (own, block)] = pair else {
                continue;
            };
            let number = block.first_number();
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
        let public_values = public_values(chain, parent_state_root, state_root, block_hash, count, &[]);
        Ok(Self {
            chain_id: last.chain_id,
            chain_built_in: last.chain_built_in,
            fork: last.fork.clone(),
            number: last.number,
            block_hash: block_hash.to_string(),
            parent_state_root: parent_state_root.to_string(),
            state_root: state_root.to_string(),
            blocks: count,
            synthetic: blocks.iter().any(|(_, block)| block.synthetic),
            public_values: public_values.0,
        })
    }

    /// The values that the proof of it reveals.
    pub fn public_values(&self) -> [u8; 32] {
        self.public_values
    }

    /// Adds it to a summary.
    pub fn rows(&self, rows: &mut Rows) {
        rows.row(
            noun(self.blocks),
            &format!(
                "{} of chain {}{}, {}",
                numbers(self.number, self.blocks),
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
    use myriad_evm::host::{
        batch::batch_file,
        sample::{SampleSpec, generate, generate_chain},
    };

    use super::*;

    /// The claim is the same however the blocks of a batch are divided among files.
    #[test]
    fn one_file_claims_what_several_do() {
        let spec = SampleSpec {
            txs: 3,
            seed: 1,
            accounts: 300,
            token_holders: 50,
        };
        let files = generate_chain(&spec, 3).unwrap();
        let claim = |files: &[BlockFile]| {
            let paths: Vec<_> = files.iter().map(|_| PathBuf::from("any.json")).collect();
            let mut rows = Rows::new("");
            let claim = Claim::of(&paths, files)?;
            claim.rows(&mut rows);
            Ok::<_, Error>((claim.public_values(), rows.text()))
        };
        let several = claim(&files).unwrap();
        assert!(several.1.contains("1048576 to 1048578 of chain"), "{}", several.1);
        let whole = batch_file(&files).unwrap();
        assert_eq!(claim(std::slice::from_ref(&whole)).unwrap(), several);
        let end = batch_file(&files[1..]).unwrap();
        assert_eq!(claim(&[files[0].clone(), end.clone()]).unwrap(), several);
        let error = claim(&[end, files[0].clone()]).unwrap_err();
        assert!(
            matches!(error, Error::Batch(BatchError::NotTheNext { .. })),
            "{error}"
        );
    }

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
