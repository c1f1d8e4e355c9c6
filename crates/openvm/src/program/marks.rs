//! Marks in an ELF: notes about addresses in its code that label the instructions there.
//!
//! They are in a section `.myriad.marks` that is not loaded, so that no execution and no proof
//! knows of them. `crates/evm/src/accounting.rs`, which the block guest writes its marks with,
//! describes the format.
//!
//! The meaning of a label is between the program and the reader of the account.

use super::within;
use crate::error::ProgramError;

const NAME: &[u8] = b".myriad.marks\0";
/// Bytes of the header of an ELF, of an entry of its table of sections (`Elf32_Shdr`), and of a
/// mark.
const HEADER_BYTES: usize = 52;
const ENTRY_BYTES: usize = 40;
const MARK_BYTES: usize = 8;
/// The most marks of a program. The EVM block guest has some hundreds.
const MARKS_MAX: u64 = 1 << 16;

const WHOLE: u32 = 1 << 8;
const LEAVE: u32 = 1 << 9;

/// A note about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub pc: u32,
    pub label: u8,
    /// Everything that is called there counts for this label, whatever its own marks say.
    pub whole: bool,
    /// Whether the label ends there; else it begins.
    pub leave: bool,
}

/// The marks of an ELF whose header has been checked, by address; those of an address in the order
/// of the section.
///
/// A program is loaded without its table of sections. So one whose table leads nowhere has no
/// marks.
///
/// # Errors
/// [`ProgramError::TooMuch`]
pub(super) fn read(image: &[u8]) -> Result<Vec<Mark>, ProgramError> {
    let section = section(image).unwrap_or_default();
    within("marks", (section.len() / MARK_BYTES) as u64, MARKS_MAX)?;
    let (marks, _) = section.as_chunks::<MARK_BYTES>();
    let mark = |bytes: &[u8; MARK_BYTES]| {
        let [a, b, c, d, rest @ ..] = *bytes;
        let word = u32::from_le_bytes(rest);
        Mark {
            pc: u32::from_le_bytes([a, b, c, d]),
            label: word.to_le_bytes()[0],
            whole: word & WHOLE != 0,
            leave: word & LEAVE != 0,
        }
    };
    let mut marks: Vec<_> = marks.iter().map(mark).collect();
    marks.sort_by_key(|mark| mark.pc);
    Ok(marks)
}

/// The bytes of the section; `None` where there is none.
fn section(image: &[u8]) -> Option<&[u8]> {
    let header: &[u8; HEADER_BYTES] = image.first_chunk()?;
    let half = |place: usize| usize::from(u16::from_le_bytes([header[place], header[place + 1]]));
    let start = half(32) | half(34) << 16;
    let (entry_bytes, count, names) = (half(46), half(48), half(50));
    if start == 0 || entry_bytes != ENTRY_BYTES {
        return None;
    }
    let table = image.get(start..start.checked_add(count * ENTRY_BYTES)?)?;
    let (entries, _) = table.as_chunks::<ENTRY_BYTES>();
    let word = |entry: &[u8; ENTRY_BYTES], place: usize| {
        let bytes = [entry[place], entry[place + 1], entry[place + 2], entry[place + 3]];
        u32::from_le_bytes(bytes) as usize
    };
    let bytes_of = |entry: &[u8; ENTRY_BYTES]| {
        let start = word(entry, 16);
        image.get(start..start.checked_add(word(entry, 20))?)
    };
    let names = bytes_of(entries.get(names)?)?;
    let is_named = |entry: &&[u8; ENTRY_BYTES]| {
        let name = names.get(word(entry, 0)..);
        name.is_some_and(|name| name.starts_with(NAME))
    };
    bytes_of(entries.iter().find(is_named)?)
}

#[cfg(test)]
#[path = "../../tests/support/marked.rs"]
#[expect(unreachable_pub, reason = "test targets use it as well")]
mod marked;

#[cfg(test)]
mod tests {
    use super::{marked::with_marks, *};

    const FIBONACCI: &[u8] = include_bytes!("../../../../guests/elf/fibonacci.elf");

    #[test]
    fn marks_are_read_in_the_order_of_their_addresses() {
        let marks = [(8, 3 | LEAVE), (4, 2), (8, 4 | WHOLE)];
        let mark = |pc, label, whole, leave| Mark {
            pc,
            label,
            whole,
            leave,
        };
        assert_eq!(
            read(&with_marks(FIBONACCI, &marks)).unwrap(),
            [
                mark(4, 2, false, false),
                mark(8, 3, false, true),
                mark(8, 4, true, false)
            ]
        );
        assert_eq!(read(&with_marks(FIBONACCI, &[])).unwrap(), []);
    }

    #[test]
    fn tables_of_sections_that_lie_have_no_marks() {
        let whole = with_marks(FIBONACCI, &[(4, 2)]);
        assert_eq!(read(&whole).unwrap().len(), 1);
        let table = whole.len() - 2 * ENTRY_BYTES;
        let mut changed = vec![
            whole[..whole.len() - 1].to_vec(),
            whole[..HEADER_BYTES - 1].to_vec(),
        ];
        // The table, its entries, the names; and where the sections are, and how long.
        for place in [32, 46, 48, 50, table + 16, table + 20, table + 56, table + 60] {
            let mut image = whole.clone();
            image[place..place + 2].copy_from_slice(&[0xff, 0xff]);
            image[place + 2] |= if place == 32 || place > 50 { 0xff } else { 0 };
            changed.push(image);
        }
        for image in changed {
            assert_eq!(read(&image).unwrap(), []);
        }
    }

    #[test]
    fn marks_are_bounded() {
        let marks = vec![(0, 0); MARKS_MAX as usize];
        assert_eq!(read(&with_marks(FIBONACCI, &marks)).unwrap().len(), marks.len());
        let more = with_marks(FIBONACCI, &[marks, vec![(0, 0)]].concat());
        let error = read(&more).unwrap_err();
        assert!(
            matches!(&error, ProgramError::TooMuch { what, .. } if what == "marks"),
            "{error}"
        );
    }
}
