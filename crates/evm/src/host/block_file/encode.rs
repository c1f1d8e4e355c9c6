//! Writes a block file: JSON, with a limit, through gzip into a file that appears as a whole.

use std::{
    fs::File,
    io::{self, BufWriter, IntoInnerError, Write},
    iter,
    path::Path,
};

use alloy_primitives::{B256, Bytes};
use flate2::{Compression, GzBuilder};
use serde::Serialize;
use serde_json::Value;

use super::BlockFile;
use crate::Parent;

/// The JSON that is written: the same keys, in this order, those without a value left out (but for
/// `parent`).
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
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<&'a Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<Vec<&'a Bytes>>,
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

/// Writes the JSON text, without a line break inside.
fn write_json(file: &BlockFile, mut to: impl Write) -> io::Result<()> {
    let (parent, parent_state_root) = match &file.parent {
        Parent::Header(header) => (Some(header), None),
        Parent::StateRoot(root) => (None, Some(*root)),
    };
    let content = FileRef {
        synthetic: file.synthetic,
        description: file.description.as_deref(),
        chain_id: file.chain_id,
        chain_config: file.chain_config.as_ref(),
        block: file.later.is_empty().then_some(&file.block),
        // Older readers, which know only single blocks, then say that the block is missing.
        blocks: (!file.later.is_empty()).then(|| iter::once(&file.block).chain(&file.later).collect()),
        parent,
        parent_state_root,
        witness: WitnessRef {
            state: &file.witness.state,
            codes: &file.witness.codes,
            headers: &file.witness.headers,
        },
    };
    serde_json::to_writer(&mut to, &content)?;
    to.write_all(b"\n")
}

/// Counts the written bytes, and fails at the number that no command would read.
struct Counted<W> {
    to: W,
    written: u64,
    bytes_max: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 > self.bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!(
                    "its JSON has more than the {} bytes that are read",
                    self.bytes_max
                ),
            ));
        }
        let bytes = self.to.write(bytes)?;
        self.written += bytes as u64;
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes the file, gzipped or not, unless its JSON has more bytes than `bytes_max`. Gzip is
/// without a name and without a time (mtime 0), so that the same content gives the same bytes.
pub(super) fn encode<W: Write>(file: &BlockFile, to: W, gzip: bool, bytes_max: u64) -> io::Result<()> {
    if !gzip {
        let mut to = BufWriter::new(Counted {
            to,
            written: 0,
            bytes_max,
        });
        write_json(file, &mut to)?;
        return to.flush();
    }
    let encoder = GzBuilder::new().mtime(0).write(to, Compression::default());
    let mut json = BufWriter::new(Counted {
        to: encoder,
        written: 0,
        bytes_max,
    });
    write_json(file, &mut json)?;
    let encoder = json.into_inner().map_err(IntoInnerError::into_error)?.to;
    encoder.finish()?.flush()
}

/// Writes to a temporary name beside `path`, syncs, and renames. A reader sees the old file or the
/// new one, never half of one.
pub(super) fn write_atomically(
    path: &Path,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".block-").suffix(".partial");
    #[cfg(unix)]
    {
        // The file is readable as the umask says, like any other, where `tempfile` would keep it
        // private.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(directory)?;
    content(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    // The rename itself is durable only once the directory is. If a directory cannot be opened,
    // that is up to the operating system.
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    Ok(())
}
