//! An ELF with marks, as compilers leave them in a guest's.

/// The section's name.
const NAME: &[u8] = b".myriad.marks\0";
/// Bytes of an entry of the table of sections.
const ENTRY_BYTES: u16 = 40;

/// An ELF with these marks behind its other bytes: a table of sections with the names and the
/// marks, and nothing else.
pub fn with_marks(elf: &[u8], marks: &[(u32, u32)]) -> Vec<u8> {
    let mut image = elf.to_vec();
    let names = image.len();
    image.extend(NAME);
    let start = image.len();
    for (pc, word) in marks {
        image.extend(pc.to_le_bytes());
        image.extend(word.to_le_bytes());
    }
    let table = image.len();
    for (start, length) in [(names, NAME.len()), (start, table - start)] {
        // Name, type, flags, address, offset, size, and four that nobody reads.
        let is_names = usize::from(start == names) as u32 * (NAME.len() as u32 - 1);
        for word in [is_names, 1, 0, 0, start as u32, length as u32, 0, 0, 1, 0] {
            image.extend(word.to_le_bytes());
        }
    }
    image[32..36].copy_from_slice(&(table as u32).to_le_bytes());
    for (place, half) in [(46, ENTRY_BYTES), (48, 2), (50, 0)] {
        image[place..place + 2].copy_from_slice(&half.to_le_bytes());
    }
    image
}
