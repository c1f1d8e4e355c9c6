//! The codes of contracts: those of a witness, and those that the block makes.
//!
//! Called by `state`.

use alloc::{boxed::Box, vec::Vec};
use alloy_primitives::{B256, Bytes, keccak256, map::B256Map};
use alloy_trie::KECCAK_EMPTY;
use revm::{
    bytecode::{JumpTable, eip7702::EIP7702_MAGIC_BYTES, opcode},
    state::Bytecode,
};

use crate::{
    accounting::{Kind, scope},
    error::WitnessError,
};

type Result<T> = core::result::Result<T, Box<WitnessError>>;

const CODE: u32 = Kind::Code as u32;

/// Zeros after a code in a witness: as many as the longest instruction asks for after its first
/// byte, and a STOP. So the code runs where it is, and nobody copies it.
pub const PADDING_BYTES: usize = 34;

/// A code as a witness has it: with zeros after it.
pub fn padded(code: &[u8]) -> Bytes {
    let mut padded = Vec::with_capacity(code.len() + PADDING_BYTES);
    padded.extend_from_slice(code);
    padded.resize(code.len() + PADDING_BYTES, 0);
    padded.into()
}

/// The code, if there are zeros after it.
pub fn unpadded(padded: &Bytes) -> Option<Bytes> {
    let length = padded.len().checked_sub(PADDING_BYTES)?;
    let is_padded = padded[length..].iter().all(|&byte| byte == 0);
    is_padded.then(|| padded.slice(..length))
}

/// The codes of a witness by their hashes, and those that the block makes.
#[derive(Debug)]
pub(crate) struct Codes<'a> {
    witness: B256Map<WitnessCode<'a>>,
    /// Hash of each code of the witness, in its order.
    hashes: Vec<B256>,
    created: B256Map<Bytecode>,
}

#[derive(Debug)]
struct WitnessCode<'a> {
    padded: &'a Bytes,
    bytes: Bytes,
    /// Whether anything has asked for it.
    is_used: bool,
    /// Analysed when it is first run.
    analysed: Option<Bytecode>,
}

impl<'a> Codes<'a> {
    /// Bytes without zeros after them are no code, and have the hash zero.
    pub(crate) fn new(codes: &'a [Bytes]) -> Self {
        let mut hashes = Vec::with_capacity(codes.len());
        let mut witness = B256Map::default();
        for padded in codes {
            let code = unpadded(padded);
            let hash = code.as_ref().map_or(B256::ZERO, keccak256);
            hashes.push(hash);
            if let Some(bytes) = code {
                let unread = WitnessCode {
                    padded,
                    bytes,
                    is_used: false,
                    analysed: None,
                };
                witness.insert(hash, unread);
            }
        }
        Self {
            witness,
            hashes,
            created: B256Map::default(),
        }
    }

    /// A code that is run.
    pub(crate) fn get(&mut self, hash: B256) -> Result<Bytecode> {
        if hash == KECCAK_EMPTY {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.created.get(&hash) {
            return Ok(code.clone());
        }
        let Some(code) = self.witness.get_mut(&hash) else {
            let account = None;
            return Err(Box::new(WitnessError::MissingCode { hash, account }));
        };
        code.is_used = true;
        if let Some(code) = &code.analysed {
            return Ok(code.clone());
        }
        let analysed = scope::<CODE, _>(|| analysed(&code.bytes, code.padded));
        let analysed = analysed.ok_or_else(|| Box::new(WitnessError::MalformedCode { hash }))?;
        Ok(code.analysed.insert(analysed).clone())
    }

    /// The code as it is, without an analysis where it is not run.
    pub(crate) fn bytes(&mut self, hash: B256) -> Result<Bytes> {
        let is_created = hash == KECCAK_EMPTY || self.created.contains_key(&hash);
        match self.witness.get_mut(&hash) {
            // Bytes that could be a delegation have to be a whole one.
            Some(code) if !is_created && !code.bytes.starts_with(EIP7702_MAGIC_BYTES) => {
                code.is_used = true;
                Ok(code.bytes.clone())
            }
            _ => self.get(hash).map(|code| code.original_bytes()),
        }
    }

    /// For each code of the witness, whether it has been needed.
    pub(crate) fn used(&self) -> Vec<bool> {
        let is_used = |hash| self.witness.get(hash).is_some_and(|code| code.is_used);
        self.hashes.iter().map(is_used).collect()
    }

    pub(crate) fn create(&mut self, hash: B256, code: Bytecode) {
        self.created.insert(hash, code);
    }

    #[cfg(feature = "host")]
    pub(crate) fn created(&self) -> impl Iterator<Item = &Bytecode> {
        self.created.values()
    }
}

/// A code that can run: with its jump destinations, or a delegation. `None` for what could only be
/// a delegation, and is none. `padded` is the same with zeros after it.
///
/// revm finds the same jump destinations, with half as many instructions again.
#[expect(
    unsafe_code,
    reason = "revm trusts the zeros after a code that it has not analysed itself"
)]
fn analysed(code: &Bytes, padded: &Bytes) -> Option<Bytecode> {
    if code.is_empty() || code.starts_with(EIP7702_MAGIC_BYTES) {
        return Bytecode::new_raw_checked(code.clone()).ok();
    }
    let table = JumpTable::from_slice(&jump_destinations(code), code.len());
    // SAFETY: an instruction takes at most 32 bytes after its first one, which is in the code or is
    // the zero after it. So there are enough zeros for the last PUSH, and a STOP after its bytes.
    Some(unsafe { Bytecode::new_analyzed(padded.clone(), code.len(), table) })
}

/// A bit for each byte of a code: whether it is a JUMPDEST, and no byte of a PUSH.
fn jump_destinations(code: &[u8]) -> Vec<u8> {
    // From 0x80 on they are negative, so that one comparison tells that nothing is to be done.
    const JUMPDEST: i8 = opcode::JUMPDEST as i8;
    const PUSH1: i8 = opcode::PUSH1 as i8;
    let mut table = alloc::vec![0; code.len().div_ceil(8)];
    let mut at = 0;
    while let Some(&instruction) = code.get(at) {
        let instruction = instruction as i8;
        at += 1;
        if instruction < JUMPDEST {
            continue;
        }
        if instruction >= PUSH1 {
            at += (instruction - PUSH1) as usize + 1;
        } else if instruction == JUMPDEST {
            table[(at - 1) / 8] |= 1 << ((at - 1) % 8);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The jump destinations of codes that are full of `JUMPDEST` and `PUSH` are those of revm.
        #[test]
        fn jump_destinations_are_those_of_revm(
            code in prop::collection::vec(
                prop_oneof![Just(0x5b), 0x5a..=0x81u8, any::<u8>()],
                0..200,
            ),
        ) {
            let code = Bytes::from(code);
            let expected = Bytecode::new_raw_checked(code.clone());
            let analysed = analysed(&code, &padded(&code));
            prop_assert_eq!(analysed.is_some(), expected.is_ok());
            if let (Some(analysed), Ok(expected)) = (analysed, expected) {
                prop_assert_eq!(analysed.len(), expected.len());
                prop_assert_eq!(analysed.original_byte_slice(), expected.original_byte_slice());
                for at in 0..code.len() + 40 {
                    let is_valid = |code: &Bytecode| code.legacy_jump_table().map(|table| table.is_valid(at));
                    prop_assert_eq!(is_valid(&analysed), is_valid(&expected), "at {}", at);
                }
                prop_assert!(analysed.bytecode().len() >= expected.bytecode().len());
                prop_assert!(analysed.bytecode()[code.len()..].iter().all(|byte| *byte == 0));
            }
        }
    }

    /// Without an end of the code, the bytes after it would run.
    #[test]
    fn a_code_without_zeros_after_it_is_none() {
        let code = [opcode::ADDRESS];
        assert_eq!(unpadded(&padded(&code)).unwrap(), code[..]);
        assert_eq!(unpadded(&padded(&[])).unwrap(), Bytes::new());
        for at in 0..PADDING_BYTES {
            let mut other = padded(&code).to_vec();
            other[code.len() + at] = 1;
            let other = Bytes::from(other);
            assert_eq!(unpadded(&other), None);
            let codes = [other, padded(&code)];
            let mut codes = Codes::new(&codes[..1]);
            assert!(codes.get(keccak256(code)).is_err());
            assert!(codes.get(B256::ZERO).is_err());
        }
        let codes = [vec![0; PADDING_BYTES - 1].into(), padded(&code)];
        let mut codes = Codes::new(&codes);
        assert!(codes.get(B256::ZERO).is_err());
        assert!(codes.get(keccak256(code)).is_ok());
        assert_eq!(codes.used(), [false, true]);
    }
}
