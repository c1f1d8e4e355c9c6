//! `memcmp` for a machine on which each instruction costs the same.
//!
//! The compiler's own compares byte by byte, at seven instructions each; the keys of tables, hashes
//! and addresses, are compared all the time. This one takes its place, which is a weak symbol.
//! `memcpy` and `memset` are openvm-platform's, and good.

use core::arch::global_asm;

// memcmp(a0, a1, a2 = length) returns the difference of the first bytes that differ, or 0.
global_asm!(
    r#"
    .section .text.memcmp, "ax", @progbits
    .globl memcmp
    .globl bcmp
    .p2align 2
bcmp:
memcmp:
    or      t0, a0, a1
    andi    t0, t0, 3
    bnez    t0, 3f
    // Both are aligned: 8 bytes at a time, as long as they are equal.
    li      t0, 8
    bltu    a2, t0, 2f
1:  lw      t1, 0(a0)
    lw      t2, 0(a1)
    bne     t1, t2, 3f
    lw      t1, 4(a0)
    lw      t2, 4(a1)
    bne     t1, t2, 3f
    addi    a0, a0, 8
    addi    a1, a1, 8
    addi    a2, a2, -8
    bgeu    a2, t0, 1b
2:  li      t0, 4
    bltu    a2, t0, 5f
    lw      t1, 0(a0)
    lw      t2, 0(a1)
    bne     t1, t2, 5f
    addi    a0, a0, 4
    addi    a1, a1, 4
    addi    a2, a2, -4
    j       5f
    // Not aligned, or there is a difference: 4 bytes at a time, and then one.
3:  li      t0, 4
    bltu    a2, t0, 5f
4:  lbu     t1, 0(a0)
    lbu     t2, 0(a1)
    bne     t1, t2, 6f
    lbu     t1, 1(a0)
    lbu     t2, 1(a1)
    bne     t1, t2, 6f
    lbu     t1, 2(a0)
    lbu     t2, 2(a1)
    bne     t1, t2, 6f
    lbu     t1, 3(a0)
    lbu     t2, 3(a1)
    bne     t1, t2, 6f
    addi    a0, a0, 4
    addi    a1, a1, 4
    addi    a2, a2, -4
    bgeu    a2, t0, 4b
5:  beqz    a2, 7f
    lbu     t1, 0(a0)
    lbu     t2, 0(a1)
    bne     t1, t2, 6f
    addi    a0, a0, 1
    addi    a1, a1, 1
    addi    a2, a2, -1
    j       5b
6:  sub     a0, t1, t2
    ret
7:  li      a0, 0
    ret
"#
);
