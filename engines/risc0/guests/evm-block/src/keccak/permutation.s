// Keccak-f[1600] (FIPS 202, section 3.3) for a machine of 32 bits without rotations, on which each instruction costs the
// same: 24 rounds of 500 instructions.
//
// myriad_keccak_f(a0 = two states, one after the other). A state has 25 lanes of 64 bits, the lower word first; the lane
// of x and y is number x + 5 y. Every second round leaves its result in the first state, where that of the last is.
//
// Lanes 1, 2, 8, 12, 17 and 20 are kept inverted, before and after: that leaves one of five inversions that chi has
// ("lane complementing", section 2.2 of "Keccak implementation overview" by the authors of Keccak).
//
// Registers, a lane in two:
//   s0..s4, s5..s9                      D of theta: what is added to the lanes of each x, lower and upper words
//   a2..a6, and tp for the upper of x=0 C of theta: the sums of the lanes of each x in the result
//   t2..t6, and s10 s11 a7 ra gp        B: five lanes after rho and pi, all of one y
//   a1                                  the next round's constant
//   t0, t1                              between

// Lane `at` of the state `from`, plus D, rotated to the left by `by`, which is neither 0 nor 32.
.macro lane low, high, from, at, dlow, dhigh, by
    .if \by < 32
    lw      \low, \from+8*\at(a0)
    lw      \high, \from+8*\at+4(a0)
    xor     \low, \low, \dlow
    xor     \high, \high, \dhigh
    rotate  \low, \high, \by
    .else
    lw      \high, \from+8*\at(a0)
    lw      \low, \from+8*\at+4(a0)
    xor     \high, \high, \dlow
    xor     \low, \low, \dhigh
    rotate  \low, \high, \by-32
    .endif
.endm

.macro rotate low, high, by
    srli    t0, \high, 32-(\by)
    srli    t1, \low, 32-(\by)
    slli    \low, \low, \by
    slli    \high, \high, \by
    or      \low, \low, t0
    or      \high, \high, t1
.endm

// One word of a lane of the result: `first` plus (`left` op `right`). It is stored, and added to the sum, or begins it.
.macro begin sum, first, op, left, right, place
    \op     \sum, \left, \right
    xor     \sum, \sum, \first
    sw      \sum, \place(a0)
.endm

.macro add_to sum, first, op, left, right, place
    \op     t0, \left, \right
    xor     t0, t0, \first
    sw      t0, \place(a0)
    xor     \sum, \sum, t0
.endm

.macro only first, op, left, right, place
    \op     t0, \left, \right
    xor     t0, t0, \first
    sw      t0, \place(a0)
.endm

// Upper words of x = 1 to 4 have no register for their sum while B has all.
.macro sum_up sum, place
    lw      t0, \place(a0)
    lw      t1, \place+40(a0)
    xor     \sum, \sum, t0
    xor     \sum, \sum, t1
    lw      t0, \place+80(a0)
    lw      t1, \place+120(a0)
    xor     \sum, \sum, t0
    xor     \sum, \sum, t1
.endm

// D of an x: C of the one before, plus C of the one after, rotated by 1.
.macro difference dlow, dhigh, before_low, before_high, after_low, after_high
    slli    \dlow, \after_low, 1
    srli    t0, \after_high, 31
    slli    \dhigh, \after_high, 1
    srli    t1, \after_low, 31
    or      \dlow, \dlow, t0
    or      \dhigh, \dhigh, t1
    xor     \dlow, \dlow, \before_low
    xor     \dhigh, \dhigh, \before_high
.endm

.macro differences
    difference s0, s5, a6, t6, a3, t3
    difference s1, s6, a2, tp, a4, t4
    difference s2, s7, a3, t3, a5, t5
    difference s3, s8, a4, t4, a6, t6
    difference s4, s9, a5, t5, a2, tp
.endm

.macro round from, to
    // y = 0
    lw      t2, \from(a0)
    lw      s10, \from+4(a0)
    xor     t2, t2, s0
    xor     s10, s10, s5
    lane    t3, s11, \from, 6, s1, s6, 44
    lane    t4, a7, \from, 12, s2, s7, 43
    lane    t5, ra, \from, 18, s3, s8, 21
    lane    t6, gp, \from, 24, s4, s9, 14
    lw      t1, 0(a1)
    or      a2, t3, t4
    xor     a2, a2, t2
    xor     a2, a2, t1
    sw      a2, \to(a0)
    not     t1, t4
    begin   a3, t3, or, t1, t5, \to+8
    begin   a4, t4, and, t5, t6, \to+16
    begin   a5, t5, or, t6, t2, \to+24
    begin   a6, t6, and, t2, t3, \to+32
    lw      t1, 4(a1)
    or      tp, s11, a7
    xor     tp, tp, s10
    xor     tp, tp, t1
    sw      tp, \to+4(a0)
    not     t1, a7
    only    s11, or, t1, ra, \to+12
    only    a7, and, ra, gp, \to+20
    only    ra, or, gp, s10, \to+28
    only    gp, and, s10, s11, \to+36
    // y = 1
    lane    t2, s10, \from, 3, s3, s8, 28
    lane    t3, s11, \from, 9, s4, s9, 20
    lane    t4, a7, \from, 10, s0, s5, 3
    lane    t5, ra, \from, 16, s1, s6, 45
    lane    t6, gp, \from, 22, s2, s7, 61
    add_to  a2, t2, or, t3, t4, \to+40
    add_to  a3, t3, and, t4, t5, \to+48
    not     t1, t6
    add_to  a4, t4, or, t5, t1, \to+56
    add_to  a5, t5, or, t6, t2, \to+64
    add_to  a6, t6, and, t2, t3, \to+72
    add_to  tp, s10, or, s11, a7, \to+44
    only    s11, and, a7, ra, \to+52
    not     t1, gp
    only    a7, or, ra, t1, \to+60
    only    ra, or, gp, s10, \to+68
    only    gp, and, s10, s11, \to+76
    // y = 2
    lane    t2, s10, \from, 1, s1, s6, 1
    lane    t3, s11, \from, 7, s2, s7, 6
    lane    t4, a7, \from, 13, s3, s8, 25
    lane    t5, ra, \from, 19, s4, s9, 8
    lane    t6, gp, \from, 20, s0, s5, 18
    add_to  a2, t2, or, t3, t4, \to+80
    add_to  a3, t3, and, t4, t5, \to+88
    not     t5, t5
    add_to  a4, t4, and, t5, t6, \to+96
    add_to  a5, t5, or, t6, t2, \to+104
    add_to  a6, t6, and, t2, t3, \to+112
    add_to  tp, s10, or, s11, a7, \to+84
    only    s11, and, a7, ra, \to+92
    not     ra, ra
    only    a7, and, ra, gp, \to+100
    only    ra, or, gp, s10, \to+108
    only    gp, and, s10, s11, \to+116
    // y = 3
    lane    t2, s10, \from, 4, s4, s9, 27
    lane    t3, s11, \from, 5, s0, s5, 36
    lane    t4, a7, \from, 11, s1, s6, 10
    lane    t5, ra, \from, 17, s2, s7, 15
    lane    t6, gp, \from, 23, s3, s8, 56
    add_to  a2, t2, and, t3, t4, \to+120
    add_to  a3, t3, or, t4, t5, \to+128
    not     t5, t5
    add_to  a4, t4, or, t5, t6, \to+136
    add_to  a5, t5, and, t6, t2, \to+144
    add_to  a6, t6, or, t2, t3, \to+152
    add_to  tp, s10, and, s11, a7, \to+124
    only    s11, or, a7, ra, \to+132
    not     ra, ra
    only    a7, or, ra, gp, \to+140
    only    ra, and, gp, s10, \to+148
    only    gp, or, s10, s11, \to+156
    // y = 4
    lane    t2, s10, \from, 2, s2, s7, 62
    lane    t3, s11, \from, 8, s3, s8, 55
    lane    t4, a7, \from, 14, s4, s9, 39
    lane    t5, ra, \from, 15, s0, s5, 41
    lane    t6, gp, \from, 21, s1, s6, 2
    not     t1, t3
    add_to  a2, t2, and, t1, t4, \to+160
    add_to  a3, t1, or, t4, t5, \to+168
    add_to  a4, t4, and, t5, t6, \to+176
    add_to  a5, t5, or, t6, t2, \to+184
    add_to  a6, t6, and, t2, t3, \to+192
    not     t1, s11
    add_to  tp, s10, and, t1, a7, \to+164
    begin   t3, t1, or, a7, ra, \to+172
    begin   t4, a7, and, ra, gp, \to+180
    begin   t5, ra, or, gp, s10, \to+188
    begin   t6, gp, and, s10, s11, \to+196
    sum_up  t3, \to+12
    sum_up  t4, \to+20
    sum_up  t5, \to+28
    sum_up  t6, \to+36
    differences
.endm

.macro sum_of low, high, at
    lw      \low, 8*\at(a0)
    lw      \high, 8*\at+4(a0)
    .irp    next, 5, 10, 15, 20
    lw      t0, 8*(\at+\next)(a0)
    lw      t1, 8*(\at+\next)+4(a0)
    xor     \low, \low, t0
    xor     \high, \high, t1
    .endr
.endm

.section .text.myriad_keccak_f, "ax", @progbits
.globl myriad_keccak_f
.p2align 2
myriad_keccak_f:
    addi    sp, sp, -64
    sw      ra, 0(sp)
    sw      gp, 4(sp)
    sw      tp, 8(sp)
    sw      s0, 12(sp)
    sw      s1, 16(sp)
    sw      s2, 20(sp)
    sw      s3, 24(sp)
    sw      s4, 28(sp)
    sw      s5, 32(sp)
    sw      s6, 36(sp)
    sw      s7, 40(sp)
    sw      s8, 44(sp)
    sw      s9, 48(sp)
    sw      s10, 52(sp)
    sw      s11, 56(sp)
    la      a1, myriad_keccak_constants
    sum_of  a2, tp, 0
    sum_of  a3, t3, 1
    sum_of  a4, t4, 2
    sum_of  a5, t5, 3
    sum_of  a6, t6, 4
    differences
1:
    round   0, 200
    addi    a1, a1, 8
    round   200, 0
    addi    a1, a1, 8
    la      t0, myriad_keccak_constants+192
    bne     a1, t0, 1b
    lw      ra, 0(sp)
    lw      gp, 4(sp)
    lw      tp, 8(sp)
    lw      s0, 12(sp)
    lw      s1, 16(sp)
    lw      s2, 20(sp)
    lw      s3, 24(sp)
    lw      s4, 28(sp)
    lw      s5, 32(sp)
    lw      s6, 36(sp)
    lw      s7, 40(sp)
    lw      s8, 44(sp)
    lw      s9, 48(sp)
    lw      s10, 52(sp)
    lw      s11, 56(sp)
    addi    sp, sp, 64
    ret

// The constants of iota, of each round the lower word first.
.section .rodata.myriad_keccak_constants, "a", @progbits
.p2align 2
myriad_keccak_constants:
    .4byte 0x00000001, 0x00000000, 0x00008082, 0x00000000, 0x0000808a, 0x80000000, 0x80008000, 0x80000000
    .4byte 0x0000808b, 0x00000000, 0x80000001, 0x00000000, 0x80008081, 0x80000000, 0x00008009, 0x80000000
    .4byte 0x0000008a, 0x00000000, 0x00000088, 0x00000000, 0x80008009, 0x00000000, 0x8000000a, 0x00000000
    .4byte 0x8000808b, 0x00000000, 0x0000008b, 0x80000000, 0x00008089, 0x80000000, 0x00008003, 0x80000000
    .4byte 0x00008002, 0x80000000, 0x00000080, 0x80000000, 0x0000800a, 0x00000000, 0x8000000a, 0x80000000
    .4byte 0x80008081, 0x80000000, 0x00008080, 0x80000000, 0x80000001, 0x00000000, 0x80008008, 0x80000000
