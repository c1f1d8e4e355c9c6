//! Files that the user names: programs, inputs, proofs. Each is read up to its greatest allowed
//! length.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use myriad_core::EngineName;
use myriad_engine::{CONFIG_BYTES_MAX, INPUT_BYTES_MAX, Input, Loaded, PROGRAM_BYTES_MAX};
use myriad_openvm::{Program, ProgramError};
use serde_json::Value;

use crate::{
    args::InputFlags,
    engines::{Choice, Signs},
    error::Error,
    terminal,
};

/// The most bytes of a genesis file. Mainnet's, with all its accounts, has 0.7 MB.
const GENESIS_BYTES_MAX: usize = 16 << 20;

/// A program, as it is given to engine children.
pub struct ProgramFile {
    /// The stem of its file's name.
    pub name: String,
    /// The engine that reads it.
    pub engine: EngineName,
    pub image: Vec<u8>,
    /// The text that configures its virtual machine, if it needs one.
    pub config: Option<String>,
    /// OpenVM's programs of the user's own are loaded here. A child reads those of strangers and of
    /// other engines.
    openvm: Option<Program>,
}

impl ProgramFile {
    /// Reads a program, and the configuration that is given. One for OpenVM may have an
    /// `openvm.toml` beside it.
    ///
    /// # Errors
    /// A file that cannot be read, or what [`Program::load`] refuses.
    pub fn read(path: &Path, config: Option<&Path>, signs: Signs<'_>) -> Result<Self, Error> {
        let image = read("the program", path, PROGRAM_BYTES_MAX)?;
        let engine = signs.engine_of(&image);
        let beside = match (config, engine) {
            (None, Choice::Openvm) => config_beside(path),
            _ => None,
        };
        if let Some(path) = &beside {
            terminal::note(format_args!("using {}", path.display()));
        }
        let config = config.or(beside.as_deref());
        let text = config.map(read_config).transpose()?;
        Self::of(engine.name(), stem(path), image, text).map_err(|source| Error::Program {
            path: match (&source, config) {
                (ProgramError::Config(_), Some(config)) => config.to_owned(),
                _ => path.to_owned(),
            },
            source,
        })
    }

    /// A program of the user's own, for this engine.
    ///
    /// # Errors
    /// A program for OpenVM that [`Program::load`] refuses.
    pub fn of(
        engine: EngineName,
        name: String,
        image: Vec<u8>,
        config: Option<String>,
    ) -> Result<Self, ProgramError> {
        let openvm = (engine == Choice::Openvm.name())
            .then(|| Program::load(&image, config.as_deref()))
            .transpose()?;
        Ok(Self {
            name,
            engine,
            image,
            config,
            openvm,
        })
    }

    /// A stranger's program, for this engine: only a confined child decodes it.
    pub fn of_stranger(engine: EngineName, name: String, image: Vec<u8>, config: Option<String>) -> Self {
        Self {
            name,
            engine,
            image,
            config,
            openvm: None,
        }
    }

    /// What its engine says of it and this input, if that can be known without a child.
    pub fn loaded_here(&self, input: &Input) -> Option<Loaded> {
        self.openvm.as_ref().map(|program| program.loaded(input))
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
