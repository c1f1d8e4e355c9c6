//! The allocator of the guests: memory that is freed is used again.
//!
//! OpenVM's guest library has an allocator that never frees, and one of the crate `embedded-alloc`
//! instead of it, which looks through a list for each allocation. There is no other choice, since
//! it has Rust's one `#[global_allocator]` itself. So this crate has that one's name (a `[patch]`
//! in `guests/Cargo.toml`) and the two functions of it that are called.
//!
//! Each instruction of a guest is paid for in every proof, and so is each byte of memory that it
//! touches. So sizes are rounded up to *classes*, and each class has a list of blocks that were
//! freed: to allocate is to take the first of a list, to free is to put it there. Neighbours are
//! not merged. Where a list is empty, the block comes from the memory above all blocks, which the
//! VM has filled with zeros; where that has been used up, a larger block that was freed is cut.

#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(test)]
mod tests;

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr,
};

/// The alignment of blocks. Their sizes are multiples of it.
const GRAIN: usize = 16;
/// Up to this size there is a class for each multiple of [`GRAIN`].
const SMALL_MAX: usize = 1024;
/// The classes of each power of two above that.
const STEPS: usize = 4;
const STEPS_LOG: u32 = STEPS.ilog2();
const SMALL_CLASSES: usize = SMALL_MAX / GRAIN + 1;
const LARGE_CLASSES: usize = STEPS * (usize::BITS - SMALL_MAX.ilog2()) as usize;
const CLASSES: usize = SMALL_CLASSES + LARGE_CLASSES;

/// The class of the blocks for a size, which is not 0.
#[inline(always)]
const fn class(size: usize) -> usize {
    if size <= SMALL_MAX {
        return size.div_ceil(GRAIN);
    }
    let log = (size - 1).ilog2();
    let step = ((size - 1) >> (log - STEPS_LOG)) & (STEPS - 1);
    SMALL_CLASSES + STEPS * (log - SMALL_MAX.ilog2()) as usize + step
}

/// The size of the blocks of a class.
#[inline(always)]
const fn block_size(class: usize) -> usize {
    if class < SMALL_CLASSES {
        return class * GRAIN;
    }
    let large = class - SMALL_CLASSES;
    let power = SMALL_MAX << (large / STEPS);
    power + power / STEPS * (large % STEPS + 1)
}

/// A freed block begins with a pointer to the next one of its class.
type Link = *mut u8;

struct State {
    freed: [Link; CLASSES],
    /// The memory above all blocks.
    top: usize,
    end: usize,
}

/// The heap of a program with one thread.
pub struct LlffHeap(UnsafeCell<State>);

// SAFETY: a guest has one thread, and nothing interrupts it.
unsafe impl Sync for LlffHeap {}

impl LlffHeap {
    /// A heap without any memory.
    pub const fn empty() -> Self {
        Self(UnsafeCell::new(State {
            freed: [ptr::null_mut(); CLASSES],
            top: 0,
            end: 0,
        }))
    }

    /// Gives the heap its memory.
    ///
    /// # Safety
    /// It is called once, before anything is allocated. The `size` bytes from `start` on are nobody
    /// else's, and zero.
    pub unsafe fn init(&self, start: usize, size: usize) {
        // SAFETY: nobody else is at it (see `Sync`).
        let state = unsafe { &mut *self.0.get() };
        state.top = start.next_multiple_of(GRAIN);
        state.end = start + size;
    }
}

/// A block, and whether nobody has ever written into it.
struct Block {
    start: *mut u8,
    is_new: bool,
}

impl State {
    #[inline(always)]
    fn take(&mut self, class: usize) -> Block {
        let start = self.freed[class];
        if start.is_null() {
            return self.extend(class);
        }
        // SAFETY: a freed block has a link.
        self.freed[class] = unsafe { start.cast::<Link>().read() };
        Block { start, is_new: false }
    }

    #[inline(always)]
    fn put(&mut self, start: *mut u8, class: usize) {
        // SAFETY: the block is nobody's, is aligned and has room for a link.
        unsafe { start.cast::<Link>().write(self.freed[class]) };
        self.freed[class] = start;
    }

    #[inline(always)]
    fn extend(&mut self, class: usize) -> Block {
        let size = block_size(class);
        if self.end - self.top < size {
            return Block {
                start: self.cut(class),
                is_new: false,
            };
        }
        let start = ptr::with_exposed_provenance_mut(self.top);
        self.top += size;
        Block { start, is_new: true }
    }

    /// Cuts a block from a freed one of a larger class; null if there is none.
    #[cold]
    #[inline(never)]
    fn cut(&mut self, class: usize) -> *mut u8 {
        let Some(larger) = (class + 1..CLASSES).find(|&larger| !self.freed[larger].is_null()) else {
            passed(block_size(class), self.end);
            return ptr::null_mut();
        };
        let block = self.take(larger);
        let mut at = block_size(class);
        while at < block_size(larger) {
            let rest = block_size(larger) - at;
            let mut class = self::class(rest);
            if block_size(class) > rest {
                class -= 1;
            }
            // SAFETY: that much is left of the block.
            self.put(unsafe { block.start.add(at) }, class);
            at += block_size(class);
        }
        block.start
    }

    /// A block with room for a layout of a larger alignment than blocks have, and for where it
    /// begins.
    fn take_aligned(&mut self, layout: Layout) -> Block {
        let Block { start, is_new } = self.take(aligned_class(layout));
        if start.is_null() {
            return Block { start, is_new };
        }
        // SAFETY: there is room for so much more than the layout's size.
        let start = unsafe {
            let offset = layout.align() - start.addr() % layout.align();
            let aligned = start.add(offset);
            aligned.cast::<*mut u8>().sub(1).write(start);
            aligned
        };
        Block { start, is_new }
    }

    fn take_layout(&mut self, layout: Layout) -> Block {
        if layout.align() > GRAIN {
            return self.take_aligned(layout);
        }
        self.take(class(layout.size()))
    }
}

fn aligned_class(layout: Layout) -> usize {
    class(layout.size() + layout.align())
}

/// Ends the program, and says why; outside the VM, the allocation is refused.
#[cfg_attr(
    not(target_os = "zkvm"),
    expect(unused_variables, reason = "only the VM has output")
)]
fn passed(bytes: usize, end: usize) {
    #[cfg(target_os = "zkvm")]
    {
        use core::fmt::Write;

        struct Output;

        impl Write for Output {
            fn write_str(&mut self, text: &str) -> core::fmt::Result {
                openvm_rv32im_guest::print_str_from_bytes(text.as_bytes());
                Ok(())
            }
        }

        // Printing cannot fail.
        let _ = writeln!(
            Output,
            "ERROR: {bytes} bytes more, and what the program has in memory passes the VM's memory of {end} bytes"
        );
        openvm_custom_insn::custom_insn_i!(
            opcode = openvm_rv32im_guest::SYSTEM_OPCODE,
            funct3 = openvm_rv32im_guest::TERMINATE_FUNCT3,
            rd = Const "x0",
            rs1 = Const "x0",
            imm = Const 1
        );
    }
}

/// Marks the instructions of `run` as memory management: see `crates/evm/src/accounting.rs`, which
/// has the form of a mark. This is no crate that could depend on that one.
#[inline(always)]
fn marked<T>(run: impl FnOnce() -> T) -> T {
    const KIND: u32 = 1;
    const LEAVE: u32 = 1 << 9;

    mark::<KIND>();
    let result = run();
    mark::<{ KIND | LEAVE }>();
    result
}

/// Notes the address of the next instruction.
#[inline(always)]
fn mark<const WORD: u32>() {
    #[cfg(target_os = "zkvm")]
    // SAFETY: it has no instruction.
    unsafe {
        core::arch::asm!(
            "9997:",
            ".pushsection .myriad.marks, \"\", @progbits",
            ".4byte 9997b, {word}",
            ".popsection",
            word = const WORD,
            options(nomem, nostack, preserves_flags),
        );
    }
}

impl State {
    /// # Safety
    /// The block is one of this layout, and nobody's from now on.
    #[inline(always)]
    unsafe fn put_layout(&mut self, start: *mut u8, layout: Layout) {
        if layout.align() > GRAIN {
            // SAFETY: `take_aligned` has put there where the block begins.
            let block = unsafe { start.cast::<*mut u8>().sub(1).read() };
            return self.put(block, aligned_class(layout));
        }
        self.put(start, class(layout.size()));
    }

    /// # Safety
    /// As `GlobalAlloc::realloc`.
    #[inline(always)]
    unsafe fn resize(&mut self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let [old, new] = [layout.size(), size].map(class);
        if layout.align() <= GRAIN {
            if old == new {
                return start;
            }
            // The last block below the unused memory grows into it, but not past what was freed.
            let grown = start.addr() + block_size(new);
            let has_freed = !self.freed[new].is_null();
            if new > old && !has_freed && start.addr() + block_size(old) == self.top && grown <= self.end {
                self.top = grown;
                return start;
            }
        }
        // SAFETY: the caller says that the size is a layout's; the blocks are not the same.
        unsafe {
            let next = Layout::from_size_align_unchecked(size, layout.align());
            let next = self.take_layout(next).start;
            if !next.is_null() {
                ptr::copy_nonoverlapping(start, next, layout.size().min(size));
                self.put_layout(start, layout);
            }
            next
        }
    }
}

// SAFETY: blocks are of the class of their size, are aligned as asked for, and are nobody else's
// until they are freed.
unsafe impl GlobalAlloc for LlffHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        marked(|| {
            // SAFETY: nobody else is at it (see `Sync`).
            let state = unsafe { &mut *self.0.get() };
            state.take_layout(layout).start
        })
    }

    #[inline]
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        marked(|| {
            // SAFETY: nobody else is at it, and the caller says that it is such a block.
            unsafe { (*self.0.get()).put_layout(start, layout) }
        });
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        marked(|| {
            // SAFETY: nobody else is at it (see `Sync`).
            let state = unsafe { &mut *self.0.get() };
            let Block { start, is_new } = state.take_layout(layout);
            if !is_new && !start.is_null() {
                // SAFETY: there is room for the layout.
                unsafe { start.write_bytes(0, layout.size()) };
            }
            start
        })
    }

    #[inline]
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: nobody else is at it (see `Sync`); the caller says what `resize` wants.
        marked(|| unsafe { (*self.0.get()).resize(start, layout, size) })
    }
}
