//! The heap on the host: its blocks are aligned, its own, and used again.

use std::{alloc::System, vec, vec::Vec};

use super::*;

/// A heap of its own memory, which is never freed.
fn heap(size: usize) -> LlffHeap {
    let heap = LlffHeap::empty();
    // SAFETY: the memory is this heap's, and zero.
    unsafe {
        let memory = System.alloc_zeroed(Layout::from_size_align(size, 4096).unwrap());
        heap.init(memory.expose_provenance(), size);
    }
    heap
}

fn top(heap: &LlffHeap) -> usize {
    // SAFETY: nobody else is at it.
    unsafe { (*heap.0.get()).top }
}

#[test]
fn classes_have_room_and_waste_little() {
    for size in (1..5_000).chain((13..30).flat_map(|log| [(1 << log) - 1, 1 << log, (1 << log) + 1])) {
        let block = block_size(class(size));
        assert!(block >= size, "{size}: {block}");
        assert!(
            block < size + GRAIN || block - size < block / STEPS,
            "{size}: {block}"
        );
        assert_eq!(class(block), class(size));
        assert!(block.is_multiple_of(GRAIN));
        assert!(block_size(class(size) - 1) < size, "{size}: {block}");
    }
}

/// Numbers that look random, of xorshift.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Each block keeps its bytes until it is freed, whatever happens to the others.
#[test]
fn blocks_are_apart() {
    let heap = heap(64 << 20);
    let mut numbers = Numbers(88_172_645_463_325_252);
    let mut blocks: Vec<(*mut u8, Layout, u8)> = vec![];
    for round in 0..200_000 {
        let byte = round as u8;
        let mut size = || match numbers.below(8) {
            0 => numbers.below(60_000) + 1,
            1 => numbers.below(3_000) + 1,
            _ => numbers.below(200) + 1,
        };
        let size = size();
        let is_full = blocks.len() > 300;
        let index = numbers.below(blocks.len().max(1));
        // SAFETY: each block is used as it was allocated.
        unsafe {
            match numbers.below(4) {
                0 | 1 if !is_full => {
                    let layout = Layout::from_size_align(size, 1 << numbers.below(8)).unwrap();
                    let is_zeroed = numbers.below(2) == 0;
                    let start = if is_zeroed {
                        heap.alloc_zeroed(layout)
                    } else {
                        heap.alloc(layout)
                    };
                    assert!(start.fits(layout));
                    if is_zeroed {
                        assert!((0..size).all(|i| *start.add(i) == 0));
                    }
                    start.write_bytes(byte, size);
                    blocks.push((start, layout, byte));
                }
                2 if !blocks.is_empty() => {
                    let (start, layout, byte) = blocks[index];
                    let start = heap.realloc(start, layout, size);
                    let kept = layout.size().min(size);
                    assert!((0..kept).all(|i| *start.add(i) == byte));
                    start.write_bytes(byte, size);
                    let layout = Layout::from_size_align(size, layout.align()).unwrap();
                    assert!(start.fits(layout));
                    blocks[index] = (start, layout, byte);
                }
                _ if !blocks.is_empty() => {
                    let (start, layout, byte) = blocks.swap_remove(index);
                    assert!((0..layout.size()).all(|i| *start.add(i) == byte));
                    heap.dealloc(start, layout);
                }
                _ => {}
            }
        }
    }
}

trait Aligned {
    fn fits(self, layout: Layout) -> bool;
}

impl Aligned for *mut u8 {
    fn fits(self, layout: Layout) -> bool {
        !self.is_null() && self.addr().is_multiple_of(layout.align())
    }
}

/// Memory that grows and goes for ever, as that of calls does, soon takes no more than before. A
/// block that grows where it is leaves none of its first class behind for the next one.
#[test]
fn freed_memory_is_used_again() {
    const LAST: usize = 1 << 20;
    let heap = heap(64 << 20);
    let bottom = top(&heap);
    let once = || {
        // SAFETY: each block is used as it was allocated.
        unsafe {
            let first = Layout::from_size_align(8, 1).unwrap();
            let mut layout = first;
            let mut start = heap.alloc(layout);
            let other = heap.alloc(first);
            while layout.size() < LAST {
                start = heap.realloc(start, layout, layout.size() * 2);
                layout = Layout::from_size_align(layout.size() * 2, 1).unwrap();
            }
            heap.dealloc(other, first);
            heap.dealloc(start, layout);
        }
        top(&heap) - bottom
    };
    let sizes = LAST.ilog2() as usize;
    for _ in 0..sizes {
        once();
    }
    let taken = once();
    assert!(taken < 3 * LAST, "{taken}");
    for _ in 0..1_000 {
        assert_eq!(once(), taken);
    }
}

#[test]
fn the_last_block_grows_where_it_is() {
    let heap = heap(1 << 20);
    let layout = Layout::from_size_align(100, 4).unwrap();
    // SAFETY: each block is used as it was allocated.
    unsafe {
        let start = heap.alloc(layout);
        assert_eq!(heap.realloc(start, layout, 500_000), start);
        assert_eq!(top(&heap), start.addr() + block_size(class(500_000)));
    }
}

/// Where the memory is used up, larger blocks that were freed are cut, and what is left of them is
/// cut again.
#[test]
fn at_the_end_of_memory_larger_blocks_are_cut() {
    const SIZE: usize = 1 << 20;
    let heap = heap(SIZE);
    let large = Layout::from_size_align(SIZE / 4, 1).unwrap();
    let small = Layout::from_size_align(160, 1).unwrap();
    // SAFETY: each block is used as it was allocated.
    unsafe {
        let blocks: Vec<_> = (0..4).map(|_| heap.alloc(large)).collect();
        assert!(blocks.iter().all(|start| !start.is_null()));
        assert!(heap.alloc(small).is_null());
        blocks.iter().for_each(|start| heap.dealloc(*start, large));
        let count = (0..).take_while(|_| !heap.alloc(small).is_null()).count();
        assert!(count > SIZE / 160 * 8 / 10, "{count}");
    }
}
