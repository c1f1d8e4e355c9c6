//! A program and its input, as they come from outside.

use std::sync::Arc;

use myriad_engine::{Input, InputError, Item, Loaded, PROGRAM_BYTES_MAX, known, worker::Failure};
use risc0_binfmt::{AbiKind, MemoryImage, ProgramBinary, SystemState};
use risc0_zkos_v1compat::V1COMPAT_ELF;
use risc0_zkvm::{Digest, sha::Digestible};
use thiserror::Error;

use crate::memory;

/// How a `ProgramBinary` starts.
const BINARY_MAGIC: &[u8] = b"R0BF";
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// The most bytes that the segments of an ELF take in memory. RISC Zero's loader keeps an entry of
/// a map for each word, so an ELF of some bytes could make it take gibibytes. What a program
/// allocates is not among it.
const IMAGE_BYTES_MAX: u64 = 32 << 20;
/// The most program headers, as RISC Zero has it.
const HEADERS_MAX: u16 = 256;
/// Bytes that a process holds of a page of 1 KiB that the program comes with: itself, once more
/// where the execution has written to it, and its hashes and its places in the maps of the job, the
/// executor and the thread that hashes.
const PAGE_HELD_BYTES: u64 = 2688;
/// Bytes that RISC Zero's loader takes for each byte of a program's memory. It keeps a map entry of
/// eight bytes for each word; nodes of such a map have 112 bytes or more, and those that were
/// filled in order have seven entries each, with their share of the nodes above.
const LOADING_FACTOR: u64 = 6;

/// Why a program was refused.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum ProgramError {
    #[error("the program has {actual} bytes, and {max} are allowed")]
    TooLarge { actual: usize, max: usize },
    #[error(
        "the program is neither an ELF nor a RISC Zero program file: it starts with {start}, not with 7f454c46 or \
         52304246 (R0BF); build it with `cargo risczero build`, or for the target riscv32im-risc0-zkvm-elf"
    )]
    NotAProgram { start: String },
    #[error(
        "the program is for {actual}, and this engine runs those for {expected}; build it with RISC Zero 3.0"
    )]
    Abi { actual: String, expected: &'static str },
    #[error(
        "the {which} of the program has {actual} bytes in memory, and {max} are allowed; build a smaller one"
    )]
    Image {
        which: &'static str,
        actual: u64,
        max: u64,
    },
    #[error(
        "the {which} of the program has {actual} program headers, and {max} are allowed; build a smaller one"
    )]
    Headers {
        which: &'static str,
        actual: u16,
        max: u16,
    },
    #[error(
        "the kernel in the program file is {actual}, and this engine runs the v1compat of RISC Zero 3.0.6, which is \
         {expected} (BLAKE3); give it the program as an ELF, which gets that kernel, or build it with \
         RISC Zero 3.0.3 to 3.0.6"
    )]
    Kernel { actual: String, expected: String },
    #[error("the program cannot be loaded: {reason}")]
    Malformed { reason: String },
}

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        Self::Program(error.to_string())
    }
}

/// A program with its initial memory.
pub(crate) struct Program {
    pub image: MemoryImage,
    /// The digest of the memory and the pc that it starts with, as RISC Zero's tools print it.
    pub image_id: Digest,
    hash: [u8; 32],
    /// Bytes that it took to load it.
    loading_bytes: u64,
}

impl Program {
    /// Reads an ELF, which gets RISC Zero's kernel, or a `ProgramBinary`, which has to have the
    /// same one. The two are the same program.
    pub(crate) fn load(file: &[u8]) -> Result<Self, ProgramError> {
        if file.len() > PROGRAM_BYTES_MAX {
            return Err(ProgramError::TooLarge {
                actual: file.len(),
                max: PROGRAM_BYTES_MAX,
            });
        }
        if file.starts_with(ELF_MAGIC) {
            return Self::of_binary(&ProgramBinary::new(file, V1COMPAT_ELF));
        }
        if file.starts_with(BINARY_MAGIC) {
            let binary = ProgramBinary::decode(file).map_err(|e| malformed(&e))?;
            return Self::of_binary(&binary);
        }
        let start = hex::encode(&file[..file.len().min(4)]);
        Err(ProgramError::NotAProgram { start })
    }

    fn of_binary(binary: &ProgramBinary<'_>) -> Result<Self, ProgramError> {
        let header = &binary.header;
        if header.abi_kind != AbiKind::V1Compat || header.abi_version.major != 1 {
            return Err(ProgramError::Abi {
                actual: format!("{:?} {}", header.abi_kind, header.abi_version),
                expected: "V1Compat 1",
            });
        }
        // Another one could have the host do what this one's programs cannot, and write an output
        // anywhere.
        if binary.kernel_elf != V1COMPAT_ELF {
            let named = |elf| blake3::hash(elf).to_string();
            return Err(ProgramError::Kernel {
                actual: named(binary.kernel_elf),
                expected: named(V1COMPAT_ELF),
            });
        }
        let (code, kernel) = (binary.user_elf, binary.kernel_elf);
        let memory = check_elf("code", code)? + check_elf("kernel", kernel)?;
        let mut image = binary.to_image().map_err(|e| malformed(&e))?;
        let start = SystemState {
            pc: 0,
            merkle_root: image.image_id(),
        };
        let mut hasher = blake3::Hasher::new_derive_key("myriad risc0 program v1");
        hasher.update(&(code.len() as u64).to_le_bytes());
        hasher.update_rayon(code).update_rayon(kernel);
        Ok(Self {
            image_id: start.digest(),
            image,
            hash: *hasher.finalize().as_bytes(),
            loading_bytes: code.len() as u64 + memory * LOADING_FACTOR,
        })
    }
}

fn malformed(reason: &anyhow::Error) -> ProgramError {
    ProgramError::Malformed {
        reason: format!("{reason:#}"),
    }
}

/// The bytes that an ELF takes in the program's memory, which are bounded before it is loaded.
fn check_elf(which: &'static str, elf: &[u8]) -> Result<u64, ProgramError> {
    let (headers, sizes) = memory_sizes(elf).ok_or_else(|| ProgramError::Malformed {
        reason: format!("the ELF of its {which} is cut off, or not for 32 bits"),
    })?;
    if headers > HEADERS_MAX {
        return Err(ProgramError::Headers {
            which,
            actual: headers,
            max: HEADERS_MAX,
        });
    }
    let actual = sizes.iter().map(|&size| u64::from(size)).sum();
    if actual > IMAGE_BYTES_MAX {
        return Err(ProgramError::Image {
            which,
            actual,
            max: IMAGE_BYTES_MAX,
        });
    }
    Ok(actual)
}

/// The number of an ELF's program headers, and the sizes in memory of those segments, loaded or
/// not; none if a header is outside of the file.
fn memory_sizes(elf: &[u8]) -> Option<(u16, Vec<u32>)> {
    // Offsets in `Elf32_Ehdr` and `Elf32_Phdr`.
    let half = |at: usize| Some(u16::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    let word = |at: usize| Some(u32::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    const CLASS_32_LITTLE_ENDIAN: &[u8] = &[1, 1];
    if elf.get(4..6)? != CLASS_32_LITTLE_ENDIAN {
        return None;
    }
    let (table, size, count) = (word(28)? as usize, half(42)?, half(44)?);
    let sizes = (0..usize::from(count.min(HEADERS_MAX)))
        .map(|index| word(table.checked_add(index * usize::from(size))?.checked_add(20)?))
        .collect::<Option<_>>()?;
    Some((count, sizes))
}

/// A program and its input.
pub(crate) struct Job {
    pub program: Program,
    /// The program's stdin: the bytes of all items of the input, one after the other.
    pub stdin: Arc<Vec<u8>>,
    input: [u8; 32],
}

impl Job {
    /// # Errors
    /// An item of field elements, which RISC Zero's programs do not read.
    pub(crate) fn new(program: Program, input: &Input) -> Result<Self, InputError> {
        let mut stdin = Vec::with_capacity(input.byte_len());
        for (index, item) in input.items().iter().enumerate() {
            match item {
                Item::Bytes(bytes) => stdin.extend_from_slice(bytes),
                Item::Field(_) => {
                    let reason = format!(
                        "item {index} has field elements, and RISC Zero's programs read bytes; write 01 before it, not 02"
                    );
                    return Err(InputError::Malformed { reason });
                }
            }
        }
        Ok(Self {
            program,
            stdin: Arc::new(stdin),
            input: input.hash(),
        })
    }

    /// A name of the program and its input together.
    pub(crate) fn seed(&self) -> [u8; 64] {
        let mut seed = [0; 64];
        seed[..32].copy_from_slice(&self.program.hash);
        seed[32..].copy_from_slice(&self.input);
        seed
    }

    /// Bytes that a process has in memory of it, whatever it does, or had when it loaded it: then
    /// there were two copies of the input.
    pub(crate) fn held_bytes(&self) -> u64 {
        let (pages, input) = (
            self.program.image.get_page_indexes().len(),
            self.stdin.len() as u64,
        );
        let held = pages as u64 * PAGE_HELD_BYTES + input;
        held.max(self.program.loading_bytes + 2 * input)
    }

    pub(crate) fn loaded(&self) -> Loaded {
        Loaded {
            program: self.program.hash,
            input: self.input,
            engine: known::risc0().id.fingerprint,
            costs: "risc0".into(),
            held_bytes: self.held_bytes(),
            nodes: memory::node_memory(),
        }
    }
}

/// Jobs of the sample programs.
#[cfg(test)]
impl Job {
    pub(crate) fn of_elf(elf: &[u8], input: &[u8]) -> Self {
        let input = Input::from_bytes(input.to_vec()).expect("it is short");
        let program = Program::load(elf).expect("it is a program");
        Self::new(program, &input).expect("it is bytes")
    }

    /// A program of so many steps, each of three cycles.
    pub(crate) fn counting(steps: u32) -> Self {
        Self::of_elf(&crate::samples::elf(), &steps.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn error(file: &[u8]) -> ProgramError {
        Program::load(file).err().expect("it is refused")
    }

    #[test]
    fn an_elf_and_its_binary_are_the_same_program() {
        let elf = samples::elf();
        let binary = ProgramBinary::new(&elf, V1COMPAT_ELF).encode();
        let (of_elf, of_binary) = (Program::load(&elf).unwrap(), Program::load(&binary).unwrap());
        assert_eq!(of_elf.hash, of_binary.hash);
        assert_eq!(of_elf.image_id, of_binary.image_id);
        assert_eq!(of_elf.image_id, risc0_zkvm::compute_image_id(&binary).unwrap());
    }

    #[test]
    fn a_kernel_that_is_none_of_risc_zeros_is_refused() {
        let elf = samples::elf();
        for kernel in [elf.as_slice(), &V1COMPAT_ELF[..V1COMPAT_ELF.len() - 1]] {
            let refused = error(&ProgramBinary::new(&elf, kernel).encode());
            let actual = blake3::hash(kernel).to_string();
            assert!(
                matches!(&refused, ProgramError::Kernel { actual: named, .. } if *named == actual),
                "{refused}"
            );
            assert!(
                refused.to_string().contains("give it the program as an ELF"),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_it_takes_to_load_a_program_is_held() {
        let job = |elf: &[u8], input: usize| Job::of_elf(elf, &vec![0; input]);
        let mut large = samples::elf();
        // The size in memory of its segment, which is zero behind what is in the file.
        large[52 + 20..52 + 24].copy_from_slice(&(1_u32 << 20).to_le_bytes());
        let (small, large) = (job(&samples::elf(), 0), job(&large, 0));
        let more = large.held_bytes() - small.held_bytes();
        assert!(more > 6 * (1 << 20) - (64 << 10), "{more}");
        assert_eq!(job(&samples::elf(), 1000).held_bytes(), small.held_bytes() + 2000);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert_eq!(error(b""), ProgramError::NotAProgram { start: String::new() });
        let start = "504b0304".into();
        assert_eq!(error(b"PK\x03\x04"), ProgramError::NotAProgram { start });
        for file in [
            &b"\x7fELF"[..],
            b"R0BF",
            b"R0BF\x01\0\0\0\xff\xff\xff\xff",
            &samples::elf()[..60],
        ] {
            assert!(matches!(error(file), ProgramError::Malformed { .. }), "{file:?}");
        }
        let mut wide = samples::elf();
        wide[4] = 2;
        assert!(matches!(error(&wide), ProgramError::Malformed { .. }));
        let mut machine = samples::elf();
        machine[18] = 62;
        assert!(matches!(error(&machine), ProgramError::Malformed { .. }));
    }

    #[test]
    fn an_elf_that_would_fill_memory_is_refused_before_it_is_loaded() {
        let mut elf = samples::elf();
        elf[52 + 20..52 + 24].copy_from_slice(&0xbf00_0000_u32.to_le_bytes());
        assert_eq!(
            error(&elf),
            ProgramError::Image {
                which: "code",
                actual: 0xbf00_0000,
                max: IMAGE_BYTES_MAX
            }
        );
        let mut many = samples::elf();
        many[44..46].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert!(matches!(
            error(&many),
            ProgramError::Malformed { .. } | ProgramError::Headers { .. }
        ));
    }

    #[test]
    fn a_programs_stdin_is_the_bytes_of_all_items() {
        let program = || Program::load(&samples::elf()).unwrap();
        let input = Input::parse(br#"{"input": ["0x01aabb", "0x01", "0x01cc"]}"#).unwrap();
        let job = Job::new(program(), &input).unwrap();
        assert_eq!(job.stdin.as_slice(), [0xaa, 0xbb, 0xcc]);
        let field = Input::parse(br#"{"input": ["0x0201000000"]}"#).unwrap();
        let refused = Job::new(program(), &field).err().expect("it is refused");
        assert!(
            refused.to_string().contains("item 0 has field elements"),
            "{refused}"
        );
    }
}
