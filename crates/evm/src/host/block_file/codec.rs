//! Decodes a block file: gzip around JSON around hex, with a limit on each step.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
};

use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes, hex};
use flate2::bufread::MultiGzDecoder;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, error::Category, value::RawValue};

use super::{BlockFile, BlockFileError, JSON_BYTES_MAX, Witness};
use crate::{
    Parent,
    host::excerpt::excerpt,
    input::{BLOCKS_MAX, CODES_MAX, HEADERS_MAX, STATE_NODES_MAX},
};

/// Longest `chainConfig`, in bytes of JSON. Mainnet's takes about 1 KB; parsed JSON can take tens
/// of times its text.
const CHAIN_CONFIG_BYTES_MAX: usize = 64 << 10;

/// The most bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The content of the JSON, before it is checked. Absent and `null` are the same.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    chain_id: Option<Box<RawValue>>,
    block: Option<Item>,
    blocks: Option<HexList<BLOCKS_MAX>>,
    parent: Option<Item>,
    parent_state_root: Option<String>,
    witness: Option<RawWitness>,
    chain_config: Option<Box<RawValue>>,
    synthetic: Option<bool>,
    description: Option<String>,
}

/// `debug_executionWitness`'s answer. Most nodes' have `keys` too; they are not needed.
#[derive(Deserialize)]
pub(crate) struct RawWitness {
    state: Option<HexList<STATE_NODES_MAX>>,
    codes: Option<HexList<CODES_MAX>>,
    headers: Option<HexList<HEADERS_MAX, true>>,
}

impl RawWitness {
    /// The witness of a block file has all three.
    fn check(self) -> Result<Witness, BlockFileError> {
        for (field, is_there) in [
            ("witness.codes", self.codes.is_some()),
            ("witness.headers", self.headers.is_some()),
        ] {
            if !is_there {
                return Err(BlockFileError::MissingField { field });
            }
        }
        self.check_answer()
    }

    /// The witness as a node gives it. Without codes, some say `null`, and some give no headers at
    /// all.
    pub(crate) fn check_answer(self) -> Result<Witness, BlockFileError> {
        let state = self.state.ok_or(BlockFileError::MissingField {
            field: "witness.state",
        })?;
        Ok(Witness {
            state: state.check("witness.state")?,
            codes: self
                .codes
                .map_or(Ok(Vec::new()), |list| list.check("witness.codes"))?,
            headers: self
                .headers
                .map_or(Ok(Vec::new()), |list| list.check("witness.headers"))?,
        })
    }
}

/// A list of hex strings, or an object whose values they are (op-geth: by their hashes), decoded
/// while the JSON is parsed: neither the strings nor a list of more than `MAX` items is ever held.
struct HexList<const MAX: usize, const HEADERS: bool = false> {
    items: Vec<Bytes>,
    /// The first item that is no hex: its index, and its fault.
    fault: Option<(usize, String)>,
}

impl<const MAX: usize, const HEADERS: bool> HexList<MAX, HEADERS> {
    const fn new() -> Self {
        Self {
            items: Vec::new(),
            fault: None,
        }
    }

    fn push<E: de::Error>(&mut self, Item(item): Item<HEADERS>) -> Result<(), E> {
        if self.items.len() == MAX {
            return Err(E::custom(format_args!(
                "a list has more than the {MAX} items that are read"
            )));
        }
        let bytes = item.unwrap_or_else(|detail| {
            self.fault.get_or_insert((self.items.len(), detail));
            Bytes::new()
        });
        self.items.push(bytes);
        Ok(())
    }

    fn check(self, field: &str) -> Result<Vec<Bytes>, BlockFileError> {
        match self.fault {
            Some((index, detail)) => Err(bad(&format!("{field}[{index}]"), detail)),
            None => Ok(self.items),
        }
    }
}

impl<'de, const MAX: usize, const HEADERS: bool> Deserialize<'de> for HexList<MAX, HEADERS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<const MAX: usize, const HEADERS: bool>;

        impl<'de, const MAX: usize, const HEADERS: bool> Visitor<'de> for Items<MAX, HEADERS> {
            type Value = HexList<MAX, HEADERS>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of hex strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = HexList::new();
                while let Some(item) = seq.next_element()? {
                    list.push(item)?;
                }
                Ok(list)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = HexList::new();
                while let Some((IgnoredAny, item)) = map.next_entry()? {
                    list.push(item)?;
                }
                Ok(list)
            }
        }

        deserializer.deserialize_any(Items::<MAX, HEADERS>)
    }
}

/// One hex string as bytes, or its fault. With `HEADERS`, it may also be a header as a JSON object,
/// the form in geth's `debug_executionWitness`; other nodes give RLP.
struct Item<const HEADERS: bool = false>(Result<Bytes, String>);

impl<'de, const HEADERS: bool> Deserialize<'de> for Item<HEADERS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<const HEADERS: bool>;

        impl<'de, const HEADERS: bool> Visitor<'de> for Any<HEADERS> {
            type Value = Item<HEADERS>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a hex string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Item(hex_bytes(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                if !HEADERS {
                    return Err(de::Error::invalid_type(Unexpected::Map, &self));
                }
                let header = Header::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Item(Ok(alloy_rlp::encode(header).into())))
            }
        }

        deserializer.deserialize_any(Any::<HEADERS>)
    }
}

/// Reads at most this many bytes of a source, which a pipe or a growing file may exceed.
pub(crate) struct Bounded<R> {
    source: R,
    bytes_max: u64,
    read: u64,
    start: Vec<u8>,
}

impl<R> Bounded<R> {
    /// Bytes of the beginning that are kept for messages.
    const START_BYTES: usize = 256;

    pub(crate) fn new(source: R, bytes_max: u64) -> Self {
        Self {
            source,
            bytes_max,
            read: 0,
            start: Vec::new(),
        }
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.read > self.bytes_max
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The first bytes that were read.
    pub(crate) fn start(&self) -> &[u8] {
        &self.start
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.read(buffer)?;
        let kept = Self::START_BYTES.saturating_sub(self.start.len()).min(bytes);
        self.start.extend_from_slice(&buffer[..kept]);
        self.read += bytes as u64;
        if self.is_exceeded() {
            return Err(io::Error::other("there is more than may be read"));
        }
        Ok(bytes)
    }
}

/// Reads a block file from where it is.
pub(super) fn read_file(path: &Path) -> Result<BlockFile, BlockFileError> {
    let failed = |source| BlockFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > JSON_BYTES_MAX {
        return Err(BlockFileError::TooLarge { bytes });
    }
    decode(file, failed)
}

/// Reads a block file while it inflates and decodes: neither its bytes nor its JSON are ever held
/// as a whole.
pub(super) fn decode(
    source: impl Read,
    failed: impl FnOnce(io::Error) -> BlockFileError,
) -> Result<BlockFile, BlockFileError> {
    let mut file = BufReader::with_capacity(READ_BYTES, Bounded::new(source, JSON_BYTES_MAX));
    let start = match file.fill_buf() {
        Ok(start) => start,
        Err(error) => return Err(failed(error)),
    };
    if start.is_empty() {
        return Err(BlockFileError::Empty);
    }
    if !start.starts_with(&GZIP_MAGIC) {
        return match serde_json::from_reader(&mut file) {
            Ok(raw) => check(raw),
            Err(_) if file.get_ref().is_exceeded() => Err(BlockFileError::TooLarge {
                bytes: file.get_ref().read,
            }),
            Err(error) if error.is_io() => Err(failed(error.into())),
            Err(error) => Err(json_fault(&error, file.get_ref().read)),
        };
    }
    let mut json = BufReader::with_capacity(
        READ_BYTES,
        Bounded::new(MultiGzDecoder::new(file), JSON_BYTES_MAX),
    );
    let raw = serde_json::from_reader::<_, RawFile>(&mut json);
    let fault = match &raw {
        Err(error) if !error.is_io() => {
            // Damaged compression has meaningless output.
            let rest = io::copy(&mut json, &mut io::sink());
            let exceeded = json.get_ref().is_exceeded();
            rest.err().filter(|_| !exceeded)
        }
        _ => None,
    };
    let inflated = json.get_ref();
    let file = inflated.source.get_ref().get_ref();
    let compressed_bytes = file.read as usize;
    let gzip_fault = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BlockFileError::GzipTruncated { compressed_bytes },
        _ => BlockFileError::GzipCorrupt {
            detail: error.to_string(),
        },
    };
    match (raw, fault) {
        (Ok(raw), _) => check(raw),
        (Err(_), _) if file.is_exceeded() => Err(BlockFileError::TooLarge { bytes: file.read }),
        (Err(error), _) if error.is_io() && inflated.is_exceeded() => {
            Err(BlockFileError::InflatesTooLarge { compressed_bytes })
        }
        (Err(_), Some(fault)) => Err(gzip_fault(fault)),
        (Err(error), None) if error.is_io() => Err(gzip_fault(error.into())),
        (Err(error), None) => Err(json_fault(&error, inflated.read)),
    }
}

fn json_fault(error: &serde_json::Error, bytes: u64) -> BlockFileError {
    match error.classify() {
        Category::Eof => BlockFileError::JsonTruncated {
            bytes: bytes as usize,
            line: error.line(),
            column: error.column(),
        },
        _ => BlockFileError::Json {
            detail: error.to_string(),
        },
    }
}

fn check(raw: RawFile) -> Result<BlockFile, BlockFileError> {
    let missing = |field| BlockFileError::MissingField { field };

    let chain_id = quantity("chainId", &raw.chain_id.ok_or(missing("chainId"))?)?;
    let item = |field, Item(item): Item| item.map_err(|detail| bad(field, detail));
    let mut blocks = match (raw.block, raw.blocks) {
        (Some(block), None) => vec![item("block", block)?],
        (None, Some(blocks)) => blocks.check("blocks")?,
        (None, None) => return Err(missing("block")),
        (Some(_), Some(_)) => return Err(BlockFileError::BlockAndBlocks),
    };
    if blocks.is_empty() {
        return Err(bad("blocks", "it is an empty list".to_owned()));
    }
    let later = blocks.split_off(1);
    let block = blocks.remove(0);
    let stated_root = raw
        .parent_state_root
        .map(|hex| hash_of("parentStateRoot", &hex))
        .transpose()?;
    let parent = match (raw.parent, stated_root) {
        (Some(header), _) => Parent::Header(item("parent", header)?),
        (None, Some(root)) => Parent::StateRoot(root),
        (None, None) => return Err(missing("parent")),
    };
    let witness = raw.witness.ok_or(missing("witness"))?.check()?;
    let chain_config = raw.chain_config.map(|text| chain_config(&text)).transpose()?;
    let file = BlockFile {
        chain_id,
        block,
        later,
        parent,
        witness,
        chain_config,
        synthetic: raw.synthetic.unwrap_or(false),
        description: raw.description,
    };
    if let Some(stated) = stated_root
        && let Some(header) = file.decode_parent()?
        && header.state_root != stated
    {
        return Err(BlockFileError::ParentContradicts {
            header: header.state_root,
            stated,
        });
    }
    Ok(file)
}

/// A number, as JSON has it or as Ethereum's JSON-RPC does (`"0x1"`).
pub(crate) fn quantity(field: &str, value: &RawValue) -> Result<u64, BlockFileError> {
    let text = value.get().trim_matches('"');
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .map_err(|_| {
        bad(
            field,
            format!("{} is no number from 0 to 2^64 - 1", excerpt(value.get())),
        )
    })
}

/// Geth's `config` object.
pub(crate) fn chain_config(value: &RawValue) -> Result<Value, BlockFileError> {
    let bytes = value.get().len();
    if bytes > CHAIN_CONFIG_BYTES_MAX {
        return Err(bad(
            "chainConfig",
            format!("has {bytes} bytes, at most {CHAIN_CONFIG_BYTES_MAX} are read"),
        ));
    }
    serde_json::from_str(value.get()).map_err(|error| bad("chainConfig", error.to_string()))
}

/// Hex with `0x` in front.
pub(crate) fn bytes_of(field: &str, text: &str) -> Result<Bytes, BlockFileError> {
    hex_bytes(text).map_err(|detail| bad(field, detail))
}

fn hash_of(field: &str, text: &str) -> Result<B256, BlockFileError> {
    let bytes = bytes_of(field, text)?;
    B256::try_from(&bytes[..]).map_err(|_| bad(field, format!("it has {} bytes, a hash has 32", bytes.len())))
}

fn hex_bytes(text: &str) -> Result<Bytes, String> {
    let digits = text
        .strip_prefix("0x")
        .ok_or_else(|| format!("{} does not begin with 0x", excerpt(text)))?;
    match hex::decode(digits) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(format!("{} is no hex: {error}", excerpt(text))),
    }
}

pub(super) fn bad(field: &str, detail: String) -> BlockFileError {
    BlockFileError::BadField {
        field: field.to_owned(),
        detail,
    }
}
