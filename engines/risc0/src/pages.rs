//! The memory of a program, as it is at the cuts of its execution.

use risc0_binfmt::{ByteAddr, MemoryImage};
use risc0_circuit_rv32im::execute::Segment;

/// Pages of 1 KiB in the 4 GiB that a program can address.
const PAGES: usize = 1 << 22;

/// Bytes that a process holds of a page that the program touches, wherever it is: itself, its
/// places in the maps of the executor and of the thread that hashes, and the hashes on its way to
/// the root. Of 1,000 pages that are far apart, each has some 26 hashes of 58 bytes for itself.
const PAGE_TOUCHED_BYTES: u64 = 2560;

/// Where the kernel puts the output, of eight words (`GLOBAL_OUTPUT_ADDR` of the circuit).
const OUTPUT: std::ops::Range<u32> = 0xffff_0240..0xffff_0260;

/// The pages that an execution has in memory: those of the program, and those that it has touched.
pub(crate) struct Pages {
    present: Vec<u64>,
    touched: u64,
}

impl Pages {
    pub(crate) fn of(image: &MemoryImage) -> Self {
        let mut pages = Self {
            present: vec![0; PAGES / 64],
            touched: 0,
        };
        for page in image.get_page_indexes() {
            pages.insert(page);
        }
        pages.touched = 0;
        pages
    }

    fn insert(&mut self, page: u32) {
        let (word, bit) = (page as usize / 64, 1 << (page % 64));
        if let Some(word) = self.present.get_mut(word)
            && *word & bit == 0
        {
            *word |= bit;
            self.touched += 1;
        }
    }

    /// Counts the pages of a segment.
    pub(crate) fn touch(&mut self, segment: &Segment) {
        for page in segment.partial_image.get_page_indexes() {
            self.insert(page);
        }
    }

    /// Bytes that a process holds of the pages that the program did not come with.
    pub(crate) fn touched_bytes(&self) -> u64 {
        bytes(self.touched)
    }
}

/// Bytes that a process holds of so many pages that the program did not come with.
pub(crate) fn bytes(pages: u64) -> u64 {
    pages * PAGE_TOUCHED_BYTES
}

/// Whether the memory that a segment starts with has an output. The kernel writes one only to end.
///
/// # Errors
/// A segment without the page, which none is: it has the place to go on from.
pub(crate) fn starts_with_an_output(segment: &mut Segment) -> anyhow::Result<bool> {
    let start = ByteAddr(OUTPUT.start).waddr();
    let page = segment.partial_image.get_page(start.page_idx())?;
    Ok(OUTPUT.step_by(4).any(|at| page.load(ByteAddr(at).waddr()) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_once_and_not_those_of_the_program() {
        let mut image = MemoryImage::default();
        image.get_page(5).unwrap();
        let mut pages = Pages::of(&image);
        for page in [5, 6, 6, PAGES as u32 - 1] {
            pages.insert(page);
        }
        assert_eq!(pages.touched_bytes(), 2 * PAGE_TOUCHED_BYTES);
    }
}
