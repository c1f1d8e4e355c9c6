//! The bytes of a block file: gzip around JSON around hex, with a limit on each step.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes, hex};
use flate2::{Compression, GzBuilder, bufread::MultiGzDecoder};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, error::Category, value::RawValue};

use super::{BlockFile, BlockFileError, Witness};
use crate::{
    Parent,
    input::{CODES_MAX, HEADERS_MAX, STATE_NODES_MAX},
};

/// Largest file that is read, in bytes. The real blocks that we know take 0.4-1.1 MB for 1.3-4.3 M gas; a full block
/// of 60 M gas in proportion takes about 20 MB. Twice that and more is left.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Most JSON that a file may inflate to, in bytes. Hex deflates to about half, so a full [`FILE_BYTES_MAX`] of
/// genuine content inflates to about 128 MiB; what inflates further is repetition: a gzip bomb.
pub const JSON_BYTES_MAX: u64 = 256 << 20;

/// Longest `chainConfig`, in bytes of JSON. Mainnet's takes about 1 KB; parsed JSON can take tens of times its text.
const CHAIN_CONFIG_BYTES_MAX: usize = 64 << 10;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What the JSON says, before it is checked. Absent and `null` are the same.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    chain_id: Option<Box<RawValue>>,
    block: Option<String>,
    parent: Option<String>,
    parent_state_root: Option<String>,
    witness: Option<RawWitness>,
    chain_config: Option<Box<RawValue>>,
    synthetic: Option<bool>,
    description: Option<String>,
}

/// `debug_executionWitness`'s answer. Reth's has `keys` too; they are not needed.
#[derive(Deserialize)]
pub(crate) struct RawWitness {
    state: Option<HexList<STATE_NODES_MAX>>,
    codes: Option<HexList<CODES_MAX>>,
    headers: Option<HexList<HEADERS_MAX, true>>,
}

impl RawWitness {
    pub(crate) fn check(self) -> Result<Witness, BlockFileError> {
        Ok(Witness {
            state: checked("witness.state", self.state)?,
            codes: checked("witness.codes", self.codes)?,
            headers: checked("witness.headers", self.headers)?,
        })
    }
}

fn checked<const MAX: usize, const HEADERS: bool>(
    field: &'static str,
    list: Option<HexList<MAX, HEADERS>>,
) -> Result<Vec<Bytes>, BlockFileError> {
    let list = list.ok_or(BlockFileError::MissingField { field })?;
    match list.fault {
        Some((index, detail)) => Err(bad(&format!("{field}[{index}]"), detail)),
        None => Ok(list.items),
    }
}

/// A list of hex strings, decoded while the JSON is parsed: neither the strings nor a list of more than
/// `MAX` items is ever held.
struct HexList<const MAX: usize, const HEADERS: bool = false> {
    items: Vec<Bytes>,
    /// The first item that is no hex: its index, and what is wrong with it.
    fault: Option<(usize, String)>,
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
                let mut list = HexList {
                    items: Vec::new(),
                    fault: None,
                };
                while let Some(Item::<HEADERS>(item)) = seq.next_element()? {
                    if list.items.len() == MAX {
                        return Err(de::Error::custom(format_args!(
                            "a list has more than the {MAX} items that are read"
                        )));
                    }
                    let bytes = item.unwrap_or_else(|detail| {
                        list.fault.get_or_insert((list.items.len(), detail));
                        Bytes::new()
                    });
                    list.items.push(bytes);
                }
                Ok(list)
            }
        }

        deserializer.deserialize_seq(Items::<MAX, HEADERS>)
    }
}

/// One hex string as bytes, or what is wrong with it. With `HEADERS`, it may also be a header as a JSON
/// object: so geth's `debug_executionWitness` has them, where other nodes have their RLP.
struct Item<const HEADERS: bool>(Result<Bytes, String>);

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

/// What is written: the same keys, in this order, those without a value left out (but for `parent`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileRef<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    synthetic: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    chain_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_config: Option<&'a Value>,
    block: &'a Bytes,
    parent: Option<&'a Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_state_root: Option<B256>,
    witness: WitnessRef<'a>,
}

#[derive(Serialize)]
struct WitnessRef<'a> {
    state: &'a [Bytes],
    codes: &'a [Bytes],
    headers: &'a [Bytes],
}

/// Reads at most one byte more than [`FILE_BYTES_MAX`] of the file, so that a pipe or a growing file is bounded too.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, BlockFileError> {
    let failed = |source| BlockFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(BlockFileError::TooLarge {
            bytes: metadata.len(),
        });
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

pub(super) fn decode(bytes: &[u8]) -> Result<BlockFile, BlockFileError> {
    if bytes.is_empty() {
        return Err(BlockFileError::Empty);
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(BlockFileError::TooLarge {
            bytes: bytes.len() as u64,
        });
    }
    if bytes.starts_with(&GZIP_MAGIC) {
        decode_json(&inflate(bytes)?)
    } else {
        decode_json(bytes)
    }
}

fn inflate(compressed: &[u8]) -> Result<Vec<u8>, BlockFileError> {
    let compressed_bytes = compressed.len();
    let mut json = Vec::new();
    MultiGzDecoder::new(compressed)
        .take(JSON_BYTES_MAX + 1)
        .read_to_end(&mut json)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BlockFileError::GzipTruncated { compressed_bytes },
            _ => BlockFileError::GzipCorrupt {
                detail: error.to_string(),
            },
        })?;
    if json.len() as u64 > JSON_BYTES_MAX {
        return Err(BlockFileError::InflatesTooLarge { compressed_bytes });
    }
    Ok(json)
}

fn decode_json(json: &[u8]) -> Result<BlockFile, BlockFileError> {
    let raw: RawFile = serde_json::from_slice(json).map_err(|error| match error.classify() {
        Category::Eof => BlockFileError::JsonTruncated {
            bytes: json.len(),
            line: error.line(),
            column: error.column(),
        },
        _ => BlockFileError::Json {
            detail: error.to_string(),
        },
    })?;
    let missing = |field| BlockFileError::MissingField { field };

    let chain_id = quantity("chainId", &raw.chain_id.ok_or(missing("chainId"))?)?;
    let block = bytes_of("block", &raw.block.ok_or(missing("block"))?)?;
    let stated_root = raw
        .parent_state_root
        .map(|hex| hash_of("parentStateRoot", &hex))
        .transpose()?;
    let parent = match (raw.parent, stated_root) {
        (Some(header), _) => Parent::Header(bytes_of("parent", &header)?),
        (None, Some(root)) => Parent::StateRoot(root),
        (None, None) => return Err(missing("parent")),
    };
    let witness = raw.witness.ok_or(missing("witness"))?.check()?;
    let chain_config = raw.chain_config.map(|text| chain_config(&text)).transpose()?;
    let file = BlockFile {
        chain_id,
        block,
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

/// The start of a text from outside, short and harmless enough for an error message.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let printable = |char: char| if char.is_control() { ' ' } else { char };
    let mut short: String = text.chars().take(CHARS_MAX).map(printable).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push_str("...");
    }
    format!("`{short}`")
}

/// The JSON text, without a line break inside.
pub(super) fn encode_json(file: &BlockFile) -> serde_json::Result<Vec<u8>> {
    let (parent, parent_state_root) = match &file.parent {
        Parent::Header(header) => (Some(header), None),
        Parent::StateRoot(root) => (None, Some(*root)),
    };
    let mut json = serde_json::to_vec(&FileRef {
        synthetic: file.synthetic,
        description: file.description.as_deref(),
        chain_id: file.chain_id,
        chain_config: file.chain_config.as_ref(),
        block: &file.block,
        parent,
        parent_state_root,
        witness: WitnessRef {
            state: &file.witness.state,
            codes: &file.witness.codes,
            headers: &file.witness.headers,
        },
    })?;
    json.push(b'\n');
    Ok(json)
}

/// Gzip without a name and without a time (mtime 0), so that the same content gives the same bytes.
pub(super) fn deflate(json: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    encoder.write_all(json)?;
    encoder.finish()
}

/// Writes to a temporary name beside `path`, syncs, renames: a reader sees the old file or the new one, never half.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".block-").suffix(".partial");
    #[cfg(unix)]
    {
        // As any other file: readable as the umask says, where `tempfile` would keep it private.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    // The rename itself is durable only once the directory is. Where a directory cannot be opened, that is up to
    // the operating system.
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    Ok(())
}
