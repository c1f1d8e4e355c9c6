//! Decodes the JSON of a replay file, with a limit on each list. Its values are checked where they
//! are used.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    marker::PhantomData,
    path::Path,
};

use alloy_primitives::{Address, B256, Bloom, Bytes, U256, hex};
use flate2::bufread::MultiGzDecoder;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Unexpected, Visitor},
};

use super::{
    error::ReplayError,
    limits::{LEAVES_MAX, REPLAY_BYTES_MAX},
};
use crate::{
    host::{block_file::Bounded, excerpt::excerpt},
    input::BLOCKS_MAX,
};

/// Most hashes of earlier blocks: BLOCKHASH reaches back 256 blocks, and each block of the file may
/// be listed as well.
const HASHES_MAX: usize = BLOCKS_MAX + 512;

/// Most transactions of a block: 344 M gas of payments.
pub(super) const TRANSACTIONS_MAX: usize = 1 << 14;
/// Most bytes of the data of a transaction, and of a log. Linea's have at most 128 KiB, which is
/// what nodes pass on.
pub(super) const DATA_BYTES_MAX: usize = 1 << 20;
/// Most entries of an access list, and keys of one of them. One costs 1,900 gas or more.
pub(super) const ACCESSES_MAX: usize = 1 << 12;
/// Most logs of a transaction: 24 M gas of the smallest.
pub(super) const LOGS_MAX: usize = 1 << 16;
/// Most bytes of a code. A creation may leave 24 KiB (EIP-170), and a genesis block more.
pub(super) const CODE_BYTES_MAX: usize = 1 << 16;
/// Most bytes of a header's extra data. Since Paris there are at most 32; Clique's signatures are
/// refused by that name.
pub(super) const EXTRA_BYTES_MAX: usize = 1 << 10;
/// Most bytes of the name of a fork or of a type of transactions.
const NAME_BYTES_MAX: usize = 32;

/// The most bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A replay file. Keys that are not here are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Replay {
    /// The fork of its blocks; older files do not say it.
    pub(super) fork: Option<Name>,
    pub(super) blocks: List<ReplayBlock, BLOCKS_MAX>,
    pub(super) accounts: List<ReplayAccount, LEAVES_MAX>,
    pub(super) storage: List<ReplaySlot, LEAVES_MAX>,
    #[serde(default)]
    pub(super) block_hashes: List<ReplayHash, HASHES_MAX>,
}

#[derive(Deserialize)]
pub(super) struct ReplayBlock {
    pub(super) header: ReplayHeader,
    #[serde(deserialize_with = "list::<TRANSACTIONS_MAX, _, _>")]
    pub(super) txs: Vec<ReplayTx>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayHeader {
    pub(super) parent_hash: B256,
    pub(super) ommers_hash: B256,
    pub(super) coinbase: Address,
    pub(super) state_root: B256,
    pub(super) transaction_root: B256,
    pub(super) receipts_root: B256,
    pub(super) logs_bloom: Bloom,
    pub(super) difficulty: Number,
    pub(super) number: Small,
    pub(super) gas_limit: Small,
    pub(super) gas_used: Small,
    pub(super) timestamp: Small,
    #[serde(deserialize_with = "data::<EXTRA_BYTES_MAX, _>")]
    pub(super) extra_data: Bytes,
    pub(super) mix_hash_or_prev_randao: B256,
    pub(super) nonce: Small,
    #[serde(default)]
    pub(super) base_fee: Maybe<Small>,
    #[serde(default)]
    pub(super) parent_beacon_block_root: Maybe<B256>,
    #[serde(default)]
    pub(super) withdrawals_root: Maybe<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayTx {
    pub(super) r: Number,
    pub(super) s: Number,
    pub(super) v: Number,
    /// The name in Besu's format.
    #[serde(rename = "type")]
    pub(super) tx_type: Name,
    pub(super) sender: Address,
    #[serde(default)]
    pub(super) to: Maybe<Address>,
    pub(super) nonce: Small,
    pub(super) value: Number,
    #[serde(deserialize_with = "data::<DATA_BYTES_MAX, _>")]
    pub(super) payload: Bytes,
    #[serde(default)]
    pub(super) gas_price: Maybe<Number>,
    #[serde(default)]
    pub(super) max_priority_fee_per_gas: Maybe<Number>,
    #[serde(default)]
    pub(super) max_fee_per_gas: Maybe<Number>,
    pub(super) gas_limit: Small,
    #[serde(default)]
    pub(super) chain_id: Option<Small>,
    #[serde(default)]
    pub(super) access_list: Maybe<List<ReplayAccess, ACCESSES_MAX>>,
    pub(super) outcome: ReplayOutcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayAccess {
    pub(super) address: Address,
    #[serde(deserialize_with = "list::<ACCESSES_MAX, _, _>")]
    pub(super) storage_keys: Vec<B256>,
}

/// The outcome of a transaction on the chain.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayOutcome {
    pub(super) status: bool,
    /// Gas before refunds, and before the floor of EIP-7623.
    pub(super) gas_used: Small,
    pub(super) logs: Logs,
}

/// The data of each log of a transaction, one after the other: a log without data has three bytes
/// of JSON, and ten times as many in a list of its own.
#[derive(Debug, Default)]
pub(super) struct Logs {
    data: Vec<u8>,
    /// The end of each one in `data`.
    ends: Vec<u32>,
}

impl Logs {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let log = &self.data[start..end as usize];
            start = end as usize;
            log
        })
    }

    fn push(&mut self, log: &[u8]) {
        self.data.extend_from_slice(log);
        let end = self.data.len();
        // A file has no such bytes, and a byte of a log that is executed costs 8 gas.
        self.ends
            .push(u32::try_from(end).expect("logs have less than 4 GiB"));
    }

    fn shrink(&mut self) {
        self.data.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

impl<'a> FromIterator<&'a [u8]> for Logs {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(data: I) -> Self {
        let mut logs = Self::default();
        data.into_iter().for_each(|log| logs.push(log));
        logs
    }
}

impl<'de> Deserialize<'de> for Logs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Logs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {LOGS_MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Logs, A::Error> {
                let mut logs = Logs::default();
                while let Some(Data(log)) = seq.next_element::<Data<DATA_BYTES_MAX>>()? {
                    if logs.len() == LOGS_MAX {
                        return Err(de::Error::invalid_length(LOGS_MAX + 1, &self));
                    }
                    logs.push(&log);
                }
                logs.shrink();
                Ok(logs)
            }
        }

        deserializer.deserialize_seq(Items)
    }
}

/// An account before the first block.
#[derive(Deserialize)]
pub(super) struct ReplayAccount {
    pub(super) address: Address,
    pub(super) nonce: Small,
    pub(super) balance: Number,
    #[serde(deserialize_with = "data::<CODE_BYTES_MAX, _>")]
    pub(super) code: Bytes,
}

/// A slot before the first block.
#[derive(Deserialize)]
pub(super) struct ReplaySlot {
    pub(super) address: Address,
    pub(super) key: Number,
    pub(super) value: Number,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplayHash {
    pub(super) block_number: Small,
    pub(super) block_hash: B256,
}

/// A value that may be missing, as the tracer's Java writes it: `{}` or `{"value": ...}`.
#[derive(Deserialize)]
pub(super) struct Maybe<T> {
    pub(super) value: Option<T>,
}

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self { value: None }
    }
}

/// A number of up to 256 bits: as JSON has it, or a string of hex digits with or without `0x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub(super) U256);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a string of 1 to 64 hex digits")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(U256::from(number)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                match digits.len() {
                    1..=64 if is_hex => U256::from_str_radix(digits, 16).map(Number).map_err(E::custom),
                    _ => Err(E::invalid_value(Unexpected::Str(&excerpt(text)), &self)),
                }
            }
        }

        deserializer.deserialize_any(Digits)
    }
}

/// A [`Number`] of up to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Small(pub(super) u64);

impl<'de> Deserialize<'de> for Small {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Number(number) = Number::deserialize(deserializer)?;
        u64::try_from(number)
            .map(Self)
            .map_err(|_| de::Error::custom(format_args!("{number} is more than 2^64 - 1")))
    }
}

/// A list of at most `MAX` items.
pub(super) struct List<T, const MAX: usize>(pub(super) Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX {
                        return Err(de::Error::invalid_length(MAX + 1, &self));
                    }
                    items.push(item);
                }
                // The room for more is kept for one list at a time.
                items.shrink_to_fit();
                Ok(List(items))
            }
        }

        deserializer.deserialize_seq(Items(PhantomData))
    }
}

fn list<'de, const MAX: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    List::<T, MAX>::deserialize(deserializer).map(|list| list.0)
}

fn data<'de, const MAX: usize, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    Data::<MAX>::deserialize(deserializer).map(|data| data.0)
}

/// A text of at most `MAX` bytes in hex, with or without `0x`.
struct Data<const MAX: usize>(Bytes);

impl<'de, const MAX: usize> Deserialize<'de> for Data<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits<const MAX: usize>;

        impl<const MAX: usize> Visitor<'_> for Digits<MAX> {
            type Value = Data<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} bytes in hex")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Data<MAX>, E> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                if digits.len() > 2 * MAX {
                    return Err(E::invalid_length(digits.len().div_ceil(2), &self));
                }
                let bytes = hex::decode(digits);
                let bytes = bytes.map_err(|_| E::invalid_value(Unexpected::Str(&excerpt(text)), &self))?;
                Ok(Data(bytes.into()))
            }
        }

        deserializer.deserialize_str(Digits)
    }
}

/// A name, which stands in errors.
pub(super) struct Name(pub(super) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a name of at most {NAME_BYTES_MAX} bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
                match text.len() {
                    0..=NAME_BYTES_MAX => Ok(Name(text.to_owned())),
                    length => Err(E::invalid_length(length, &self)),
                }
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Reads a replay file while it inflates.
pub(super) fn read(path: &Path) -> Result<Replay, ReplayError> {
    let failed = |source| ReplayError::Read {
        path: path.to_owned(),
        source,
    };
    decode(File::open(path).map_err(failed)?, failed)
}

pub(super) fn decode(
    source: impl Read,
    failed: impl FnOnce(io::Error) -> ReplayError,
) -> Result<Replay, ReplayError> {
    let mut file = BufReader::with_capacity(READ_BYTES, source);
    let is_gzip = match file.fill_buf() {
        Ok(start) => start.starts_with(&GZIP_MAGIC),
        Err(error) => return Err(failed(error)),
    };
    let json: Box<dyn Read + '_> = match is_gzip {
        true => Box::new(MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    let mut json = BufReader::with_capacity(READ_BYTES, Bounded::new(json, REPLAY_BYTES_MAX));
    serde_json::from_reader(&mut json).map_err(|error| {
        if json.get_ref().is_exceeded() {
            ReplayError::TooLarge
        } else if error.is_io() {
            failed(error.into())
        } else {
            ReplayError::Json {
                detail: error.to_string(),
            }
        }
    })
}
