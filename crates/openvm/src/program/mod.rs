//! Loads a program: a RISC-V ELF or OpenVM's `.vmexe`, with the configuration of its VM.
//!
//! Called by processes that verify proofs of a program, and by an engine child. In both, the file
//! may come from anywhere.

pub(crate) mod commitment;
mod elf;
mod instructions;
pub(crate) mod marks;
mod vmexe;

use std::sync::Arc;

use myriad_engine::PROGRAM_BYTES_MAX;
use openvm_circuit::arch::instructions::{exe::VmExe, riscv::RV32_MEMORY_AS};
use openvm_sdk::F;
use openvm_sdk_config::TranspilerConfig;
use openvm_transpiler::{FromElf, elf::Elf, openvm_platform::memory::MEM_SIZE};

use self::marks::Mark;
use crate::{VmConfig, error::ProgramError};

/// The most bytes of memory that are set when a program starts: its code, its constants, and zeros.
/// The EVM block guest has 2.9 MB, of which 872 bytes are zero and not in its file. OpenVM holds
/// them in a tree that takes 20 bytes for each, so these take 640 MB.
const INITIAL_BYTES_MAX: u64 = 32 << 20;

/// The most instructions of a program. The EVM block guest has 0.7 million. Loading takes up to 200
/// bytes for each, and so 800 MB. Each segment of such a program has a table of 2^22 rows, which is
/// too high for most machines.
const INSTRUCTIONS_MAX: u64 = 1 << 22;

/// Bytes of an instruction of RISC-V.
const INSTRUCTION_BYTES: u64 = 4;

/// A program that can be executed and proven: its code, its initial memory, its VM configuration.
#[derive(Clone)]
pub struct Program {
    exe: Arc<VmExe<F>>,
    config: VmConfig,
    hash: [u8; 32],
    /// The marks of an ELF.
    marks: Arc<[Mark]>,
}

impl Program {
    /// Loads the bytes of an ELF or a `.vmexe`, and the text of its `openvm.toml` if it has one.
    ///
    /// # Errors
    /// See [`ProgramError`]; the bytes may be anything.
    pub fn load(image: &[u8], openvm_toml: Option<&str>) -> Result<Self, ProgramError> {
        let config = openvm_toml.map_or_else(|| Ok(VmConfig::riscv32()), VmConfig::from_toml)?;
        if image.is_empty() {
            return Err(ProgramError::Empty);
        }
        if image.len() > PROGRAM_BYTES_MAX {
            return Err(ProgramError::TooLarge {
                actual: image.len(),
                max: PROGRAM_BYTES_MAX,
            });
        }
        let mut marks = Vec::new();
        let exe = if image.starts_with(&elf::MAGIC) {
            elf::check(image)?;
            marks = marks::read(image)?;
            // OpenVM's loader trusts the file's tables, and panics on some that lie.
            caught(|| {
                let elf = Elf::decode(image, MEM_SIZE as u32).map_err(|e| ProgramError::BadElf {
                    reason: e.to_string(),
                })?;
                VmExe::from_elf(elf, config.vm().transpiler()).map_err(|e| ProgramError::Unsupported {
                    reason: e.to_string(),
                })
            })
            .unwrap_or_else(|reason| Err(ProgramError::BadElf { reason }))?
        } else {
            let exe = vmexe::read(image)?;
            check_memory(&exe, &config).map_err(|reason| ProgramError::NotAProgram {
                start: start_of(image),
                reason,
            })?;
            exe
        };
        instructions::check(&exe, &config)?;
        let mut hasher = blake3::Hasher::new_derive_key("myriad program v1");
        hasher.update(config.fingerprint().as_bytes()).update(image);
        Ok(Self {
            exe: Arc::new(exe),
            config,
            hash: *hasher.finalize().as_bytes(),
            marks: marks.into(),
        })
    }

    /// The configuration that keys follow from.
    pub fn config(&self) -> &VmConfig {
        &self.config
    }

    /// BLAKE3 of the file and the configuration.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    pub(crate) fn exe(&self) -> &Arc<VmExe<F>> {
        &self.exe
    }
}

/// OpenVM writes a program's initial memory without looking where. Registers, public values and
/// what else has an address space of its own are zero when a program starts: the transpiler puts
/// nothing there.
fn check_memory(exe: &VmExe<F>, config: &VmConfig) -> Result<(), String> {
    let spaces = &config.vm().system.config.memory_config.addr_spaces;
    let bytes = spaces[RV32_MEMORY_AS as usize].num_cells;
    let outside = |(space, place): &&(u32, u32)| *space != RV32_MEMORY_AS || *place as usize >= bytes;
    match exe.init_memory.keys().find(outside) {
        Some((space, place)) => Err(format!(
            "its initial memory has a byte at {place} of address space {space}, and {bytes} bytes of address space \
             {RV32_MEMORY_AS} are allowed"
        )),
        None => Ok(()),
    }
}

/// The first bytes of a file that is not a program, in hex.
fn start_of(image: &[u8]) -> String {
    hex::encode(&image[..image.len().min(4)])
}

/// Refuses a program that has more of something than is allowed.
fn within(what: &str, actual: u64, max: u64) -> Result<(), ProgramError> {
    if actual > max {
        return Err(ProgramError::TooMuch {
            what: what.into(),
            actual,
            max,
        });
    }
    Ok(())
}

/// Runs what may panic on hostile bytes; the panic's message is the error.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|panic| {
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "it made the decoder panic".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(class: u8, endian: u8, machine: u16) -> Vec<u8> {
        let mut image = vec![0; 64];
        image[..4].copy_from_slice(&elf::MAGIC);
        image[4] = class;
        image[5] = endian;
        image[18..20].copy_from_slice(&machine.to_le_bytes());
        image
    }

    fn error(image: &[u8]) -> ProgramError {
        Program::load(image, None).err().expect("refused")
    }

    #[test]
    fn initial_memory_outside_of_the_vms_is_refused() {
        let elf = include_bytes!("../../../../guests/elf/fibonacci.elf");
        let exe = Program::load(elf, None).unwrap().exe().as_ref().clone();
        let load = |exe: &VmExe<F>| Program::load(&bitcode::serialize(exe).unwrap(), None);
        assert!(load(&exe).is_ok());
        // The last byte of memory may be set. x0 may not, nor may public values that the program
        // has not revealed itself.
        let mut whole = exe.clone();
        whole.init_memory.insert((2, (1 << 29) - 1), 1);
        assert!(load(&whole).is_ok());
        for place in [
            (0, 0),
            (1, 0),
            (2, 1 << 29),
            (2, u32::MAX),
            (3, 0),
            (4, 0),
            (9, 0),
            (u32::MAX, 0),
        ] {
            let mut hostile = exe.clone();
            hostile.init_memory.insert(place, 1);
            let error = load(&hostile).err().expect("refused");
            let text = format!("at {} of address space {}", place.1, place.0);
            assert!(
                matches!(&error, ProgramError::NotAProgram { reason, .. } if reason.contains(&text)),
                "{place:?}: {error}"
            );
        }
    }

    #[test]
    fn what_is_no_program_is_named() {
        assert_eq!(error(b""), ProgramError::Empty);
        assert!(
            matches!(error(b"#!/bin/sh\n"), ProgramError::NotAProgram { start, .. } if start == "23212f62")
        );
        assert!(matches!(error(&elf::MAGIC), ProgramError::BadElf { .. }));
        assert!(
            matches!(error(&header(2, 1, 62)), ProgramError::WrongMachine { actual } if actual.contains("x86-64"))
        );
        assert!(
            matches!(error(&header(1, 1, 40)), ProgramError::WrongMachine { actual } if actual.contains("ARM"))
        );
        assert!(
            matches!(error(&header(2, 1, 243)), ProgramError::WrongMachine { actual } if actual.contains("64-bit"))
        );
        assert!(matches!(error(&header(1, 1, 243)), ProgramError::BadElf { .. }));
    }
}
