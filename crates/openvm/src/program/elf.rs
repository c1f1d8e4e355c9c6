//! Checks what kind of ELF it is, and how much it asks for, before OpenVM's loader believes it.

use super::{INITIAL_BYTES_MAX, INSTRUCTION_BYTES, INSTRUCTIONS_MAX, within};
use crate::error::ProgramError;

pub(super) const MAGIC: [u8; 4] = [0x7f, b'E', b'L', b'F'];
const CLASS_32: u8 = 1;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_RISCV: u16 = 243;
const HEADER_BYTES: usize = 52;
/// Bytes of an entry of the table of segments (`Elf32_Phdr`).
const ENTRY_BYTES: usize = 32;
/// The most entries that OpenVM's loader takes. More than 65,534 are counted elsewhere in the file.
const ENTRIES_MAX: usize = 256;
/// The type of an entry whose segment is put into memory.
const LOAD: u32 = 1;
/// The flag of an entry whose segment is code.
const EXECUTABLE: u32 = 1;

/// Refuses an ELF for another machine, and one that asks for more memory or has more code than is
/// loaded.
///
/// The segments of an ELF may be larger in memory than in the file, where the rest is zero, and may
/// share their bytes in the file: a hundred bytes can ask for all of the VM's memory.
///
/// # Errors
/// See [`ProgramError`]; the bytes may be anything.
pub(super) fn check(image: &[u8]) -> Result<(), ProgramError> {
    check_machine(image)?;
    let (mut bytes, mut code_bytes) = (0, 0);
    for entry in segments(image)? {
        let word = |place: usize| {
            let bytes = [entry[place], entry[place + 1], entry[place + 2], entry[place + 3]];
            u32::from_le_bytes(bytes)
        };
        let (kind, memory_bytes, flags) = (word(0), u64::from(word(20)), word(24));
        if kind == LOAD {
            bytes += memory_bytes;
            if flags & EXECUTABLE != 0 {
                code_bytes += memory_bytes;
            }
        }
    }
    within("bytes of initial memory", bytes, INITIAL_BYTES_MAX)?;
    within("instructions", code_bytes / INSTRUCTION_BYTES, INSTRUCTIONS_MAX)
}

/// The entries of the table of segments; none without a table, which OpenVM's loader refuses.
fn segments(image: &[u8]) -> Result<&[[u8; ENTRY_BYTES]], ProgramError> {
    let half = |place: usize| usize::from(u16::from_le_bytes([image[place], image[place + 1]]));
    let start = half(28) | half(30) << 16;
    let (entry_bytes, count) = (half(42), half(44));
    if start == 0 || count == 0 {
        return Ok(&[]);
    }
    let bad = |reason: String| ProgramError::BadElf { reason };
    if count > ENTRIES_MAX {
        return Err(bad(format!(
            "it has {count} segments, and {ENTRIES_MAX} are allowed"
        )));
    }
    if entry_bytes != ENTRY_BYTES {
        return Err(bad(format!(
            "an entry of its table of segments has {entry_bytes} bytes, not {ENTRY_BYTES}"
        )));
    }
    let table = start
        .checked_add(count * ENTRY_BYTES)
        .and_then(|end| image.get(start..end))
        .ok_or_else(|| bad("its table of segments is not in the file".into()))?;
    Ok(table.as_chunks().0)
}

/// Names the machine of an ELF for another machine; OpenVM's own error says less.
fn check_machine(image: &[u8]) -> Result<(), ProgramError> {
    if image.len() < HEADER_BYTES {
        let reason = format!("it ends after {} bytes, inside its header", image.len());
        return Err(ProgramError::BadElf { reason });
    }
    let bits = if image[4] == CLASS_32 { 32 } else { 64 };
    let little_endian = image[5] == LITTLE_ENDIAN;
    let machine = [image[18], image[19]];
    let machine = if little_endian {
        u16::from_le_bytes(machine)
    } else {
        u16::from_be_bytes(machine)
    };
    if bits != 32 || !little_endian || machine != MACHINE_RISCV {
        let name = match machine {
            3 => "x86".into(),
            8 => "MIPS".into(),
            40 => "ARM".into(),
            62 => "x86-64".into(),
            183 => "AArch64".into(),
            MACHINE_RISCV => "RISC-V".into(),
            other => format!("machine {other}"),
        };
        let endian = if little_endian { "little" } else { "big" };
        return Err(ProgramError::WrongMachine {
            actual: format!("{name}, {bits}-bit, {endian}-endian"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;

    /// An ELF of RISC-V with nothing but segments, of these sizes in memory and with these flags,
    /// of which the file has no bytes.
    fn with_segments(segments: &[(u32, u32)]) -> Vec<u8> {
        let mut image = vec![0; HEADER_BYTES];
        image[..4].copy_from_slice(&MAGIC);
        // Class, order of bytes, version; executable, machine, version.
        image[4..7].copy_from_slice(&[CLASS_32, LITTLE_ENDIAN, 1]);
        for (place, half) in [
            (16, 2),
            (18, MACHINE_RISCV),
            (20, 1),
            (28, HEADER_BYTES as u16),
            (40, HEADER_BYTES as u16),
            (42, ENTRY_BYTES as u16),
            (44, segments.len() as u16),
        ] {
            image[place..place + 2].copy_from_slice(&half.to_le_bytes());
        }
        for &(bytes, flags) in segments {
            // Type, offset, address twice, bytes in the file, bytes in memory, flags, alignment.
            for word in [LOAD, 0, 0x1_0000, 0x1_0000, 0, bytes, flags, 4] {
                image.extend(word.to_le_bytes());
            }
        }
        image
    }

    fn error(image: &[u8]) -> ProgramError {
        Program::load(image, None).err().expect("refused")
    }

    #[test]
    fn an_elf_that_asks_for_all_memory_is_refused() {
        // 84 bytes of file, and 2^27 words in a tree, which are 2 GiB, before the bytes of each in
        // another.
        let image = with_segments(&[((1 << 29) - 4, 4)]);
        assert_eq!(image.len(), 84);
        assert_eq!(
            error(&image),
            ProgramError::TooMuch {
                what: "bytes of initial memory".into(),
                actual: (1 << 29) - 4,
                max: INITIAL_BYTES_MAX,
            }
        );
        // Many small ones are no better, wherever they are.
        let image = with_segments(&[(INITIAL_BYTES_MAX as u32 / 100, 6); 101]);
        assert!(matches!(error(&image), ProgramError::TooMuch { .. }));
        let image = with_segments(&[(u32::MAX, 6); ENTRIES_MAX]);
        assert!(matches!(error(&image), ProgramError::TooMuch { .. }));
    }

    #[test]
    fn code_is_bounded_apart() {
        let most = (INSTRUCTION_BYTES * INSTRUCTIONS_MAX) as u32;
        let flags = EXECUTABLE | 4;
        assert_eq!(check(&with_segments(&[(most, flags), (4, 4)])), Ok(()));
        let refused = check(&with_segments(&[(most, flags), (4, flags)]));
        assert!(
            matches!(&refused, Err(ProgramError::TooMuch { what, .. }) if what == "instructions"),
            "{refused:?}"
        );
    }

    #[test]
    fn tables_that_lie_are_refused() {
        let whole = with_segments(&[(4, 4), (4, 4)]);
        let changed = |place: usize, half: u16| {
            let mut image = whole.clone();
            image[place..place + 2].copy_from_slice(&half.to_le_bytes());
            image
        };
        for (image, text) in [
            (whole[..whole.len() - 1].to_vec(), "not in the file"),
            (changed(30, u16::MAX), "not in the file"),
            (changed(42, 56), "56 bytes"),
            (changed(44, 257), "257 segments"),
            // The format says so where the count is elsewhere.
            (changed(44, u16::MAX), "65535 segments"),
        ] {
            let error = error(&image);
            assert!(
                matches!(&error, ProgramError::BadElf { reason } if reason.contains(text)),
                "{error}"
            );
        }
    }
}
