//! Decodes a STARK proof from anywhere. A walk over the counts in its bytes goes first, then
//! OpenVM's decoder.
//!
//! OpenVM's decoder believes the counts in the bytes. Mostly that is harmless: each counted item
//! follows, in four bytes or more, and a lie ends where the bytes do. But an empty item follows in
//! no bytes at all: a row without columns, a round without coefficients, a commitment that nobody
//! queries; and a chip without a trace follows in one bit. So 84 bytes can ask for 2^32 lists of 24
//! bytes each, and an allocation that fails ends the process.
//!
//! The walk reads the same counts in the same order and builds nothing: it checks that the counted
//! items are there, and that there are not too many lists. Every decoding of a proof, here and in
//! an engine child, comes through this module.

use openvm_sdk::SC;
use openvm_stark_backend::{codec::Decode, proof::Proof};

/// The most lists in a proof. Each takes 24 bytes beside its content, and an allocation of its own
/// where it has any. Nearly all are opened rows: 16 for each query of each commitment. A segment of
/// `evm-block` has 7,500, with 193 queries and 2 commitments; 2^20 are enough for 290 commitments,
/// and take about 100 MB.
const LISTS_MAX: usize = 1 << 20;

/// The most log2 of the rows that one query opens. All of OpenVM's parameters have 4
/// (`DEFAULT_K_WHIR`).
const FOLDING_MAX: usize = 8;

/// The layout that is walked, by OpenVM's number for it (`CODEC_VERSION`).
const LAYOUT: usize = 3;

// Sizes in bytes.
const WORD: usize = 4;
const FIELD: usize = 4;
const EXTENSION: usize = 4 * FIELD;
const DIGEST: usize = 8 * FIELD;

/// Decodes a proof and nothing else.
///
/// # Errors
/// The fault of the bytes, which may be any.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Proof<SC>, String> {
    let proof = decode_first(&mut bytes)?;
    match bytes.len() {
        0 => Ok(proof),
        rest => Err(format!("{rest} bytes follow its end")),
    }
}

/// Decodes the proof that `bytes` start with, and moves them past it.
///
/// # Errors
/// See [`decode`].
pub(crate) fn decode_first(bytes: &mut &[u8]) -> Result<Proof<SC>, String> {
    let mut walk = Walk {
        left: bytes,
        lists: 0,
    };
    walk.proof()?;
    let end = walk.left.len();
    let proof = Proof::<SC>::decode(bytes).map_err(|e| e.to_string())?;
    if bytes.len() != end {
        // The walk and the decoder disagree.
        return Err(format!(
            "its decoder leaves {} bytes, and {end} are expected",
            bytes.len()
        ));
    }
    Ok(proof)
}

/// Bytes that are walked over, and the lists that decoding them makes.
struct Walk<'a> {
    left: &'a [u8],
    lists: usize,
}

/// The parts of a proof, as `decode` of each type of `openvm_stark_backend::proof` reads them.
impl<'a> Walk<'a> {
    fn proof(&mut self) -> Result<(), String> {
        let layout = self.word()?;
        if layout != LAYOUT {
            return Err(format!("it has the layout {layout}, and {LAYOUT} is known"));
        }
        self.pass(1, DIGEST)?;

        let airs = self.lists_of(1)?;
        let present = self.take(airs.div_ceil(8))?;
        let is_present = |air: &usize| present[air / 8] >> (air % 8) & 1 == 1;
        for _ in (0..airs).filter(is_present) {
            self.pass(1, WORD)?;
            self.items(DIGEST)?;
        }
        for _ in 0..self.lists_of(1)? {
            self.items(FIELD)?;
        }
        self.gkr()?;
        self.batch_constraints()?;
        self.stacking()?;
        self.whir()
    }

    fn gkr(&mut self) -> Result<(), String> {
        self.pass(1, FIELD + EXTENSION)?;
        let layers = self.items(4 * EXTENSION)?;
        self.count_lists(layers, 1)?;
        // One round more for each layer. The layers are there, so that this is no large number.
        let rounds = layers * layers.saturating_sub(1) / 2;
        self.pass(rounds, 3 * EXTENSION)
    }

    fn batch_constraints(&mut self) -> Result<(), String> {
        let present = self.items(2 * EXTENSION)?;
        self.items(EXTENSION)?;
        let rounds = self.lists_of(1)?;
        if rounds > 0 {
            let coefficients = self.word()?;
            self.pass(rounds.saturating_mul(coefficients), EXTENSION)?;
        }
        self.count_lists(present, 1)?;
        for _ in 0..present {
            for _ in 0..self.lists_of(1)? {
                self.items(EXTENSION)?;
            }
        }
        Ok(())
    }

    fn stacking(&mut self) -> Result<(), String> {
        self.items(EXTENSION)?;
        self.items(2 * EXTENSION)?;
        for _ in 0..self.lists_of(1)? {
            self.items(EXTENSION)?;
        }
        Ok(())
    }

    fn whir(&mut self) -> Result<(), String> {
        self.pass(1, FIELD)?;
        let foldings = self.items(2 * EXTENSION)?;
        let codewords = self.items(DIGEST)?;
        let rounds = codewords + 1;
        let folding = foldings / rounds;
        if foldings % rounds != 0 || folding > FOLDING_MAX {
            return Err(format!(
                "its {rounds} rounds fold {foldings} times, and all should the same, {FOLDING_MAX} times at most"
            ));
        }
        self.pass(codewords, EXTENSION)?;
        self.pass(foldings + rounds, FIELD)?;

        // Each commitment has lists of the queries, of their rows, of each row; and of paths, and
        // each path.
        let commits = self.lists_of(2)?;
        let queries = self.word()?;
        self.count_lists(commits.saturating_mul(queries), 2 + (1 << folding))?;
        if queries > 0 {
            let depth = self.word()?;
            let columns = self.take(commits * WORD)?;
            for columns in columns.as_chunks::<WORD>().0 {
                let columns = u32::from_le_bytes(*columns) as usize;
                self.pass((queries << folding).saturating_mul(columns), FIELD)?;
            }
            self.pass(commits.saturating_mul(queries).saturating_mul(depth), DIGEST)?;
        }

        let mut queries_of = Vec::new();
        for _ in 0..codewords {
            let queries = self.lists_of(2)?;
            self.pass(queries << folding, EXTENSION)?;
            queries_of.push(queries);
        }
        let mut depth = self.word()?;
        for queries in queries_of {
            self.pass(queries.saturating_mul(depth), DIGEST)?;
            depth = depth
                .checked_sub(1)
                .ok_or("its paths are shorter than it has rounds")?;
        }
        self.items(EXTENSION)?;
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, left) = self
            .left
            .split_at_checked(count)
            .ok_or_else(|| format!("{count} bytes should follow, and {} are left", self.left.len()))?;
        self.left = left;
        Ok(taken)
    }

    /// Passes over `count` items of this many bytes.
    fn pass(&mut self, count: usize, bytes: usize) -> Result<(), String> {
        self.take(count.saturating_mul(bytes)).map(|_| ())
    }

    fn word(&mut self) -> Result<usize, String> {
        let word = self.take(WORD)?;
        Ok(word
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | usize::from(byte)))
    }

    /// Passes over a count and that many items of this many bytes. Returns the count.
    fn items(&mut self, bytes: usize) -> Result<usize, String> {
        let count = self.word()?;
        self.pass(count, bytes)?;
        Ok(count)
    }

    /// Passes over a count of groups, each of which will be `each` lists.
    fn lists_of(&mut self, each: usize) -> Result<usize, String> {
        let count = self.word()?;
        self.count_lists(count, each)?;
        Ok(count)
    }

    fn count_lists(&mut self, count: usize, each: usize) -> Result<(), String> {
        self.lists = self.lists.saturating_add(count.saturating_mul(each));
        if self.lists > LISTS_MAX {
            return Err(format!(
                "it has {} lists or more, and {LISTS_MAX} are allowed",
                self.lists
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
