//! The programs that the binary carries: those that validate blocks, so that a proof of a block
//! needs no file but the block, and a small one that measures machines.

use crate::{engines::Choice, error::Error, files::ProgramFile};

/// A variant of the program that validates blocks, by the extensions of the VM that it has. All
/// reveal the same of the same block.
///
/// More extensions make the proof of each segment cost more, and the leaf over it most of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// Signatures and Keccak by the VM's instructions, and the other precompiles in software.
    Plain,
    /// Nearly all precompiles by the VM's instructions.
    Precompiles,
}

impl Variant {
    /// All variants, the cheapest first.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Precompiles];

    /// The cheaper variant for blocks with this much gas, whose precompiles would take
    /// `in_software` instructions in software: see
    /// [`in_software`](myriad_evm::host::precompiles::in_software).
    pub fn cheapest(gas: u64, in_software: u64) -> Self {
        if in_software > gas * SOFTWARE_PER_GAS_MAX {
            Self::Precompiles
        } else {
            Self::Plain
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "evm-block",
            Self::Precompiles => "evm-block-precompiles",
        }
    }

    fn image(self) -> &'static [u8] {
        match self {
            Self::Plain => include_bytes!("../../../guests/elf/evm-block.elf"),
            Self::Precompiles => include_bytes!("../../../guests/elf/evm-block-precompiles.elf"),
        }
    }

    fn openvm_toml(self) -> &'static str {
        match self {
            Self::Plain => include_str!("../../../guests/elf/evm-block.openvm.toml"),
            Self::Precompiles => include_str!("../../../guests/elf/evm-block-precompiles.openvm.toml"),
        }
    }

    /// The program, loaded.
    ///
    /// # Errors
    /// None, unless the binary was built with a file that is no program.
    pub fn load(self) -> Result<ProgramFile, Error> {
        let (image, openvm_toml) = (self.image(), self.openvm_toml());
        let name = self.name();
        let config = Some(openvm_toml.into());
        ProgramFile::of(Choice::Openvm.name(), name.into(), image.to_vec(), config).map_err(|source| {
            Error::Program {
                path: name.into(),
                source,
            }
        })
    }
}

/// Instructions per gas that precompiles in software may take: a sixth of what ordinary blocks take
/// in all. Beyond it, the other variant pays for itself.
const SOFTWARE_PER_GAS_MAX: u64 = 1;

/// The name and the ELF of a program on plain RISC-V, which takes 8 bytes, little endian: how often
/// it adds.
pub const FIBONACCI: (&str, &[u8]) = ("fibonacci", include_bytes!("../../../guests/elf/fibonacci.elf"));

/// The same program for RISC Zero, with the same input, and its name, which the reference's costs
/// have too.
pub const FIBONACCI_RISC0: (&str, &[u8]) = (
    "fibonacci-risc0",
    include_bytes!("../../../engines/risc0/guests/elf/fibonacci-risc0.elf"),
);

/// Whether a program is one that validates blocks.
pub fn is_evm_block(program: &ProgramFile) -> bool {
    Variant::ALL
        .iter()
        .any(|variant| program.image == variant.image())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One point multiplication outweighs the cost of the extensions to a small block, and a hash
    /// does not.
    #[test]
    fn the_variant_follows_from_what_the_precompiles_would_take() {
        let of = Variant::cheapest;
        assert_eq!(of(30_000_000, 0), Variant::Plain);
        assert_eq!(of(300_000, 4_000), Variant::Plain);
        assert_eq!(of(300_000, 4_800_000), Variant::Precompiles);
        assert_eq!(of(30_000_000, 4_800_000), Variant::Plain);
        assert_eq!(of(30_000_000, 139_000_000), Variant::Precompiles);
    }
}
