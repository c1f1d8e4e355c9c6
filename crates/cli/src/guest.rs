//! The programs that the binary carries: one validates blocks, so that a proof of a block needs no file but
//! the block; the other is small, and measures machines.

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

/// The name and the ELF of a program on plain RISC-V, which takes 8 bytes, little endian: how often it adds.
pub const FIBONACCI: (&str, &[u8]) = ("fibonacci", include_bytes!("../../../guests/elf/fibonacci.elf"));

/// Whether a program is the one that validates blocks.
pub fn is_evm_block(program: &ProgramFile) -> bool {
    program.image == IMAGE
}
