//! What a proof of a block says, from the block file alone: nothing is executed, the proof shows that
//! it would end well.

use std::path::Path;

use myriad_evm::{
    execute::public_values,
    host::{
        BlockFile,
        inspect::{BlockSummary, inspect},
    },
};
use serde::Serialize;

use super::inspect::{kind, rules};
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
    /// Whether the file says that the block was made up.
    synthetic: bool,
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
        let BlockSummary {
            chain_id,
            chain_built_in,
            fork,
            number,
            block_hash,
            parent_header_known,
            parent_state_root,
            state_root,
            synthetic,
            ..
        } = inspect(file).map_err(&fail)?;
        if !parent_header_known {
            return Err(Error::NoParent {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            chain_id,
            chain_built_in,
            fork,
            number,
            block_hash: block_hash.to_string(),
            parent_state_root: parent_state_root.to_string(),
            state_root: state_root.to_string(),
            synthetic,
            public_values: public_values(&chain, parent_state_root, state_root, block_hash, &[]).0,
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
            &format!(
                "{} of chain {}{}, {}",
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
            let claim = Claim::of(Path::new("sample.json"), file).unwrap();
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
