//! Files that the user names: programs, inputs, proofs. Each is read up to its greatest allowed
//! length.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use myriad_engine::{CONFIG_BYTES_MAX, INPUT_BYTES_MAX, Input, PROGRAM_BYTES_MAX};
use myriad_openvm::{Program, ProgramError};
use serde_json::Value;

use crate::{args::InputFlags, error::Error, terminal};

/// Most bytes of a genesis file. Mainnet's, with all its accounts, has 0.7 MB.
const GENESIS_BYTES_MAX: usize = 16 << 20;

/// A program, as it is given to engine children and as it is loaded here.
pub struct ProgramFile {
    /// The stem of its file's name.
    pub name: String,
    pub image: Vec<u8>,
    pub openvm_toml: Option<String>,
    pub program: Program,
}

impl ProgramFile {
    /// Reads a program, and the `openvm.toml` that is given or else lies beside it.
    ///
    /// # Errors
    /// A file that cannot be read, or what [`Program::load`] refuses.
    pub fn read(path: &Path, config: Option<&Path>) -> Result<Self, Error> {
        let image = read("the program", path, PROGRAM_BYTES_MAX)?;
        let beside = match config {
            Some(_) => None,
            None => config_beside(path),
        };
        if let Some(path) = &beside {
            terminal::note(format_args!("using {}", path.display()));
        }
        let config = config.or(beside.as_deref());
        let openvm_toml = config.map(read_config).transpose()?;
        Self::of(stem(path), image, openvm_toml).map_err(|source| Error::Program {
            path: match (&source, config) {
                (ProgramError::Config(_), Some(config)) => config.to_owned(),
                _ => path.to_owned(),
            },
            source,
        })
    }

    /// A program of the user's own.
    ///
    /// # Errors
    /// See [`Program::load`].
    pub fn of(name: String, image: Vec<u8>, openvm_toml: Option<String>) -> Result<Self, ProgramError> {
        let program = Program::load(&image, openvm_toml.as_deref())?;
        Ok(Self {
            name,
            image,
            openvm_toml,
            program,
        })
    }
}

/// Reads the input stream that the flags name; without any, the stream is empty.
///
/// # Errors
/// A file that cannot be read, or text that is neither hex nor JSON.
pub fn read_input(flags: &InputFlags) -> Result<Input, Error> {
    if let Some(path) = &flags.input_bytes {
        let bytes = read("the input", path, INPUT_BYTES_MAX)?;
        return Input::from_bytes(bytes).map_err(|source| Error::Input {
            path: path.clone(),
            source,
        });
    }
    let Some(text) = &flags.input else {
        return Ok(Input::default());
    };
    // Text that looks like hex is hex, as in `cargo openvm`. A file of such a name can be called
    // ./FILE.
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Input::parse(text.as_bytes()).map_err(Error::InputText);
    }
    let path = Path::new(text);
    let bytes = read("the input", path, INPUT_BYTES_MAX)?;
    Input::parse(&bytes).map_err(|source| Error::Input {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file of at most `bytes_max` bytes. `what` names it in errors.
///
/// # Errors
/// [`Error::Read`], [`Error::TooLarge`]
pub fn read(what: &'static str, path: &Path, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let attempt = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(bytes_max as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = attempt().map_err(|source| Error::Read {
        what,
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() > bytes_max {
        return Err(Error::TooLarge {
            what,
            path: path.to_owned(),
            bytes_max,
        });
    }
    Ok(bytes)
}

/// Writes a file, and the folders to it.
///
/// # Errors
/// [`Error::Write`]
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    let attempt = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    };
    attempt().map_err(|source| Error::Write {
        what: "the file",
        path: path.to_owned(),
        source,
    })
}

/// The file's name up to its first dot: `block` of `block.json.gz`.
pub fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split('.').next() {
        Some(stem) if !stem.is_empty() => stem.to_owned(),
        _ => name.into_owned(),
    }
}

fn read_config(path: &Path) -> Result<String, Error> {
    const WHAT: &str = "the VM configuration";
    String::from_utf8(read(WHAT, path, CONFIG_BYTES_MAX)?).map_err(|e| Error::Read {
        what: WHAT,
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, e),
    })
}

fn config_beside(program: &Path) -> Option<PathBuf> {
    let named = program.with_extension("openvm.toml");
    [named, program.with_file_name("openvm.toml")]
        .into_iter()
        .find(|path| path.is_file())
}

/// The `config` object of a genesis file, or the file itself where it is that object.
pub fn read_chain_config(path: &Path) -> Result<Value, Error> {
    let bytes = read("the chain configuration", path, GENESIS_BYTES_MAX)?;
    let mut json: Value = serde_json::from_slice(&bytes).map_err(|source| Error::ChainConfig {
        path: path.to_owned(),
        source,
    })?;
    Ok(match json.get_mut("config") {
        Some(config) => config.take(),
        None => json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_endings() {
        let stems = ["fibonacci.elf", "a/block.json.gz", "app", ".hidden"].map(|path| stem(Path::new(path)));
        assert_eq!(stems, ["fibonacci", "block", "app", ".hidden"]);
    }
}
