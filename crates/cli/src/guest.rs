//! The program that validates blocks, carried in the binary, so that a proof of a block needs no file
//! but the block.

use myriad_engine::Program;

use crate::{error::Error, files::ProgramFile};

/// The name of the program.
const NAME: &str = "evm-block";

static IMAGE: &[u8] = include_bytes!("../../../guests/elf/evm-block.elf");
const OPENVM_TOML: &str = include_str!("../../../guests/elf/evm-block.openvm.toml");

/// The program, loaded.
///
/// # Errors
/// None, unless the binary was built with a file that is no program.
pub fn evm_block() -> Result<ProgramFile, Error> {
    let program = Program::load(IMAGE, Some(OPENVM_TOML)).map_err(|source| Error::Program {
        path: NAME.into(),
        source,
    })?;
    Ok(ProgramFile {
        name: NAME.into(),
        image: IMAGE.to_vec(),
        openvm_toml: Some(OPENVM_TOML.into()),
        program,
    })
}

/// Whether a program is this one.
pub fn is_evm_block(program: &ProgramFile) -> bool {
    program.image == IMAGE
}
