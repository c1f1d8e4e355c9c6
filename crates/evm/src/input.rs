//! The input of the validator, and its encoding: the input bytes of the guest.
//!
//! ```text
//! word   magic
//! word   flags                 OWN_CHAIN | PARENT_IS_HEADER
//! u64    chain id
//! [      the rest of the chain configuration, if OWN_CHAIN ]
//! word   count of later blocks, of headers, of state nodes, of codes
//! words  length of: block, parent, each later block, each header, each state node, each code
//! bytes  the same in the same order, each padded with zeros to a whole word
//! ```
//!
//! Words are 32 bits, all numbers little endian. The lengths come first and the items are aligned,
//! so that the guest neither copies nor searches: each item is a slice of the input. A code has
//! zeros after it, which its length counts, so that it can run where it is.

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes};

use crate::{BlobParams, BlobSchedule, ChainConfig, InputError, RuleSet};

/// "MYB" and the version of the encoding.
const MAGIC: u32 = u32::from_le_bytes(*b"MYB3");
/// The configuration of the chain is part of the input.
const OWN_CHAIN: u32 = 1 << 0;
/// The parent is a header, and not only a state root.
const PARENT_IS_HEADER: u32 = 1 << 1;

const WORD_BYTES: usize = 4;

/// Longest input, in bytes. A block of 60 M gas has a witness of some 20 MB; the worst one reads
/// nothing but codes of 24 KiB each, and 15 M gas of that are 142 MB. The zkVM has 512 MiB of
/// memory for the input and all else.
pub const INPUT_BYTES_MAX: usize = 256 << 20;
/// Most trie nodes. A block of 60 M gas cannot read as many.
pub const STATE_NODES_MAX: usize = 1 << 20;
/// Most codes.
pub const CODES_MAX: usize = 1 << 16;
/// Most headers: BLOCKHASH reaches back 256 blocks.
pub const HEADERS_MAX: usize = 256;

/// Most blocks of a batch: half an hour of a rollup with a block every two seconds.
pub const BLOCKS_MAX: usize = 1 << 10;
/// Most entries in a chain's blob schedule. Ethereum has had four in two years.
pub const BLOB_CHANGES_MAX: usize = 64;

/// The block's parent, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Its header in RLP.
    Header(Bytes),
    /// Its state root alone. The rules for the header that need the parent are not checked then,
    /// and the public values say so.
    StateRoot(B256),
}

/// All that it takes to validate a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatelessInput {
    pub chain: ChainConfig,
    /// The block in RLP, as blocks travel between peers.
    pub block: Bytes,
    /// The blocks after it in RLP, each the child of the one before: together they are a batch.
    /// None for a single block.
    pub later: Vec<Bytes>,
    pub parent: Parent,
    /// Headers of ancestors in RLP, for BLOCKHASH, in any order.
    pub headers: Vec<Bytes>,
    /// Nodes of the state and storage tries, in any order. Nodes that a batch makes itself may be
    /// missing.
    pub state: Vec<Bytes>,
    /// Codes of contracts, in any order, with [`PADDING_BYTES`](crate::codes::PADDING_BYTES)
    /// zeros after each.
    pub codes: Vec<Bytes>,
}

impl StatelessInput {
    /// Length of [`Self::encode`]'s result, in bytes, without making it.
    pub fn encoded_bytes(&self) -> usize {
        let parent = match &self.parent {
            Parent::Header(header) => header.len(),
            Parent::StateRoot(root) => root.len(),
        };
        let lists = [&self.later, &self.headers, &self.state, &self.codes];
        let lengths = lists.into_iter().flatten().map(|item| item.len());
        let items = lengths.chain([self.block.len(), parent]);
        let own_chain = if self.chain.is_builtin() {
            0
        } else {
            encode_chain(&self.chain).len()
        };
        // Magic, flags, chain id in two, and four counts.
        8 * WORD_BYTES
            + own_chain
            + items
                .map(|length| WORD_BYTES + length.next_multiple_of(WORD_BYTES))
                .sum::<usize>()
    }

    /// The input bytes of the guest.
    pub fn encode(&self) -> Vec<u8> {
        let (parent, flag) = match &self.parent {
            Parent::Header(header) => (header.as_ref(), PARENT_IS_HEADER),
            Parent::StateRoot(root) => (root.as_slice(), 0),
        };
        let lists = [&self.later, &self.headers, &self.state, &self.codes];
        let items = || {
            [self.block.as_ref(), parent]
                .into_iter()
                .chain(lists.into_iter().flatten().map(AsRef::as_ref))
        };
        let mut out = Vec::with_capacity(items().map(|item| item.len() + 2 * WORD_BYTES).sum());
        let own_chain = if self.chain.is_builtin() { 0 } else { OWN_CHAIN };
        put_word(&mut out, MAGIC);
        put_word(&mut out, flag | own_chain);
        out.extend_from_slice(&self.chain.chain_id.to_le_bytes());
        if own_chain != 0 {
            out.extend_from_slice(&encode_chain(&self.chain));
        }
        for list in lists {
            put_word(&mut out, list.len() as u32);
        }
        for item in items() {
            put_word(&mut out, item.len() as u32);
        }
        for item in items() {
            out.extend_from_slice(item);
            out.resize(out.len().next_multiple_of(WORD_BYTES), 0);
        }
        out
    }

    /// Reads the input bytes of the guest. The parts are slices of them and not copies.
    ///
    /// # Errors
    /// The bytes are not such an input. Nothing is allocated that is longer than they are.
    #[expect(clippy::too_many_lines, reason = "one part of the input after the other")]
    pub fn decode(bytes: Bytes) -> Result<Self, InputError> {
        if bytes.len() > INPUT_BYTES_MAX {
            return Err(InputError::TooLong {
                actual: bytes.len(),
                max: INPUT_BYTES_MAX,
            });
        }
        let mut reader = Reader { bytes: &bytes, at: 0 };
        let magic = reader.word("the magic number")?;
        if magic != MAGIC {
            return Err(InputError::Magic {
                actual: magic,
                expected: MAGIC,
            });
        }
        let flags = reader.word("the flags")?;
        if flags & !(OWN_CHAIN | PARENT_IS_HEADER) != 0 {
            return Err(InputError::Flags { actual: flags });
        }
        let chain_id = reader.u64("the chain id")?;
        let chain = if flags & OWN_CHAIN != 0 {
            decode_chain(chain_id, &mut reader)?
        } else {
            ChainConfig::builtin(chain_id).ok_or(InputError::UnknownChain { chain_id })?
        };
        let later = reader.count("later blocks", BLOCKS_MAX - 1)?;
        let headers = reader.count("headers", HEADERS_MAX)?;
        let nodes = reader.count("state nodes", STATE_NODES_MAX)?;
        let codes = reader.count("codes", CODES_MAX)?;

        let lengths_bytes = WORD_BYTES * (2 + later + headers + nodes + codes);
        let lengths = reader.take("the lengths", lengths_bytes)?;
        let mut lengths = Reader {
            bytes: lengths,
            at: 0,
        };
        let mut item = |what| -> Result<Bytes, InputError> {
            let length = lengths.word(what)? as usize;
            let start = reader.at;
            // At most 3 bytes more than a length that fits into the input's 32 bits.
            reader.take(what, length)?;
            reader.skip_padding();
            Ok(bytes.slice(start..start + length))
        };
        let block = item("the block")?;
        let parent = item("the parent")?;
        let parent = if flags & PARENT_IS_HEADER != 0 {
            Parent::Header(parent)
        } else {
            let left = parent.len();
            let root = B256::try_from(parent.as_ref());
            let what = "the parent's state root";
            Parent::StateRoot(root.map_err(|_| InputError::Truncated {
                what,
                needed: 32,
                left,
            })?)
        };
        let later = (0..later)
            .map(|_| item("a later block"))
            .collect::<Result<_, _>>()?;
        let headers = (0..headers).map(|_| item("a header")).collect::<Result<_, _>>()?;
        let state = (0..nodes)
            .map(|_| item("a state node"))
            .collect::<Result<_, _>>()?;
        let codes = (0..codes).map(|_| item("a code")).collect::<Result<_, _>>()?;
        match reader.left() {
            0 => Ok(Self {
                chain,
                block,
                later,
                parent,
                headers,
                state,
                codes,
            }),
            left => Err(InputError::TrailingBytes { left }),
        }
    }
}

fn put_word(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_le_bytes());
}

/// Encodes all of a chain configuration but the chain id: the number of its rule set; each optional
/// value as a word that says whether it is there, and the value or zeros; and the number of blob
/// parameters, with the time and the three numbers of each.
pub(crate) fn encode_chain(chain: &ChainConfig) -> Vec<u8> {
    let mut out = Vec::new();
    put_word(&mut out, chain.rules.id);
    out.extend_from_slice(&chain.paris_block.to_le_bytes());
    for time in [
        chain.shanghai_time,
        chain.cancun_time,
        chain.prague_time,
        chain.osaka_time,
        chain.amsterdam_time,
    ] {
        put_word(&mut out, time.is_some().into());
        out.extend_from_slice(&time.unwrap_or(0).to_le_bytes());
    }
    let blobs = chain.blobs.entries();
    put_word(&mut out, blobs.len() as u32);
    for (since, blobs) in blobs {
        for value in [*since, blobs.target, blobs.max, blobs.update_fraction] {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    put_word(&mut out, chain.deposit_contract.is_some().into());
    out.extend_from_slice(chain.deposit_contract.unwrap_or_default().as_slice());
    out
}

fn decode_chain(chain_id: u64, reader: &mut Reader<'_>) -> Result<ChainConfig, InputError> {
    const WHAT: &str = "the chain configuration";
    let is_there = |reader: &mut Reader<'_>| match reader.word(WHAT)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(InputError::ChainConfig {
            reason: "a value is neither there nor absent",
        }),
    };
    let rules = RuleSet::ALL.get(reader.word(WHAT)? as usize);
    let reason = "it asks for a rule set that is not known";
    let &rules = rules.ok_or(InputError::ChainConfig { reason })?;
    let paris_block = reader.u64(WHAT)?;
    let mut time = || -> Result<_, InputError> {
        let is_there = is_there(reader)?;
        let time = reader.u64(WHAT)?;
        Ok(is_there.then_some(time))
    };
    let (shanghai_time, cancun_time, prague_time) = (time()?, time()?, time()?);
    let (osaka_time, amsterdam_time) = (time()?, time()?);
    let mut blobs = BlobSchedule::default();
    for number in 1..=reader.count("changes of blob parameters", BLOB_CHANGES_MAX)? {
        let (since, target, max) = (reader.u64(WHAT)?, reader.u64(WHAT)?, reader.u64(WHAT)?);
        let update_fraction = reader.u64(WHAT)?;
        let is_later = blobs.entries().last().is_none_or(|&(last, _)| last < since);
        blobs.push(
            since,
            BlobParams {
                target,
                max,
                update_fraction,
            },
        );
        // The configuration is hashed as it was read, so that each has to have one form.
        if !is_later || blobs.entries().len() != number {
            return Err(InputError::ChainConfig {
                reason: "the blob parameters are not in the order of their times, or some change nothing",
            });
        }
    }
    let is_there = is_there(reader)?;
    let deposit_contract = Address::from_slice(reader.take(WHAT, 20)?);
    Ok(ChainConfig {
        chain_id,
        paris_block,
        shanghai_time,
        cancun_time,
        prague_time,
        osaka_time,
        amsterdam_time,
        blobs,
        deposit_contract: is_there.then_some(deposit_contract),
        rules,
    })
}

/// Reads from the front of bytes that nobody vouches for.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, what: &'static str, needed: usize) -> Result<&'a [u8], InputError> {
        let left = self.left();
        let taken = self.bytes[self.at..].get(..needed);
        self.at += taken.map_or(0, <[u8]>::len);
        taken.ok_or(InputError::Truncated { what, needed, left })
    }

    /// Goes on to the next whole word, or to the end.
    fn skip_padding(&mut self) {
        self.at = self.at.next_multiple_of(WORD_BYTES).min(self.bytes.len());
    }

    fn word(&mut self, what: &'static str) -> Result<u32, InputError> {
        let bytes = self.take(what, WORD_BYTES)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u32::from(byte)))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, InputError> {
        Ok(u64::from(self.word(what)?) | u64::from(self.word(what)?) << 32)
    }

    fn count(&mut self, what: &'static str, max: usize) -> Result<usize, InputError> {
        let actual = self.word(what)? as usize;
        if actual > max {
            return Err(InputError::TooMany { what, actual, max });
        }
        Ok(actual)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use proptest::prelude::*;

    use super::*;

    fn sample(chain: ChainConfig, parent: Parent) -> StatelessInput {
        let bytes = |n: usize| Bytes::from(vec![n as u8; n]);
        StatelessInput {
            chain,
            block: bytes(7),
            later: vec![bytes(5), bytes(4)],
            parent,
            headers: vec![bytes(8)],
            state: (0..9).map(bytes).collect(),
            codes: vec![bytes(0), bytes(3)],
        }
    }

    fn samples() -> [StatelessInput; 5] {
        [
            sample(
                ChainConfig {
                    chain_id: 7,
                    ..ChainConfig::LINEA
                },
                Parent::StateRoot(B256::repeat_byte(3)),
            ),
            sample(ChainConfig::HOODI, Parent::StateRoot(B256::repeat_byte(2))),
            sample(ChainConfig::MAINNET, Parent::StateRoot(B256::repeat_byte(1))),
            sample(
                ChainConfig::prague_from_genesis(5),
                Parent::Header(vec![1; 5].into()),
            ),
            sample(
                ChainConfig {
                    prague_time: None,
                    ..ChainConfig::MAINNET
                },
                Parent::Header(Bytes::new()),
            ),
        ]
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for input in samples() {
            let bytes = input.encode();
            assert_eq!(bytes.len(), input.encoded_bytes());
            assert_eq!(StatelessInput::decode(bytes.into()), Ok(input));
        }
    }

    #[test]
    fn cut_or_lengthened_inputs_are_refused() {
        for input in samples() {
            let mut bytes = input.encode();
            for end in 0..bytes.len() {
                let decoded = StatelessInput::decode(bytes[..end].to_vec().into());
                // Without the padding at the very end nothing is missing.
                assert!(decoded.is_err() || bytes[end..].iter().all(|&byte| byte == 0));
            }
            bytes.push(0);
            let decoded = StatelessInput::decode(bytes.into());
            assert_eq!(decoded, Err(InputError::TrailingBytes { left: 1 }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(at in any::<prop::sample::Index>(), word in any::<u32>()) {
            for input in samples() {
                let mut bytes = input.encode();
                let at = at.index(bytes.len() / WORD_BYTES) * WORD_BYTES;
                bytes[at..at + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
                let _ = StatelessInput::decode(bytes.into());
            }
        }
    }
}
