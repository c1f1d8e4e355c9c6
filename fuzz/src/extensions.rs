//! Programs that are instructions of OpenVM's extensions, with pointers that lead anywhere: the
//! code that a `.vmexe` may have, and that no compiler makes.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    Rng,
    programs::{Exe, Instruction},
};

/// A VM with all extensions that are proven, with a modulus, a field and a curve of each size.
pub const OPENVM_TOML: &str = r#"
[app_vm_config.rv32i]
[app_vm_config.rv32m]
[app_vm_config.io]
[app_vm_config.keccak]
[app_vm_config.sha2]
[app_vm_config.bigint]

[app_vm_config.modular]
supported_moduli = [
    "115792089237316195423570985008687907853269984665640564039457584007908834671663",
    "4002409555221667393417789825735904156556882819939007885332058136124031650490837864442687629129015664037894272559787",
]

[app_vm_config.fp2]
supported_moduli = [
    ["Bn254Fp2", "21888242871839275222246405745257275088696311157297823662689037894645226208583"],
    ["Bls12Fp2", "4002409555221667393417789825735904156556882819939007885332058136124031650490837864442687629129015664037894272559787"],
]

[app_vm_config.pairing]
supported_curves = ["Bn254", "Bls12_381"]

[[app_vm_config.ecc.supported_curves]]
struct_name = "Secp256k1Point"
modulus = "115792089237316195423570985008687907853269984665640564039457584007908834671663"
scalar = "115792089237316195423570985008687907852837564279074904382605163141518161494337"
a = "0"
b = "7"
"#;

/// The moduli of the modular extension and of the fields, little endian.
const SECP256K1: [u8; 32] = little_endian("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f");
const BN254: [u8; 32] = little_endian("30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47");
const BLS12_381: [u8; 48] = little_endian(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
);

/// The start of the code, where OpenVM links programs.
const PC_BASE: u32 = 0x20_0800;
/// The start of the data.
const DATA: u32 = 0x40_0000;
/// The bytes of each piece of data, more than any operand has.
const PIECE: u32 = 512;
const PIECES: u32 = 8;
/// Bytes of the VM's memory.
const MEMORY: u64 = 1 << 29;
/// Most instructions of extensions in a program. It ends at the first one that fails.
const INSTRUCTIONS_MAX: u64 = 8;
/// Registers that pointers are in, and one with a length.
const REGISTERS: Range<u64> = 5..13;
const LENGTH: u64 = 13;

const LUI: u64 = 0x231;
const ADD: u64 = 0x200;
const TERMINATE: u64 = 0;
const PHANTOM: u64 = 1;
/// Opcodes of the extensions, from the first to the last: io, keccak, sha2, bigint, modular (8 of
/// each modulus), ecc (4 of each curve), fp2 (6 of each field).
const OPCODES: [(u64, u64); 10] = [
    (0x260, 0x261),
    (0x310, 0x311),
    (0x320, 0x321),
    (0x400, 0x409),
    (0x420, 0x420),
    (0x450, 0x450),
    (0x500, 0x50f),
    (0x600, 0x603),
    (0x710, 0x71b),
    (PHANTOM, PHANTOM),
];
/// Requests to the VM beside the proof: read input, print, draw at random; hints of the modular
/// extension, for each modulus, and of pairings.
const PHANTOMS: [u64; 9] = [
    0x20,
    0x21,
    0x22,
    0x50,
    0x50 | 1 << 16,
    0x51,
    0x51 | 1 << 16,
    0x30,
    0x30 | 1 << 16,
];
/// Its last instruction reads the second operand as a pointer to the values that it sets up, and
/// has no third.
const SETUPS: [u64; 11] = [
    0x502, 0x505, 0x507, 0x50a, 0x50d, 0x50f, 0x603, 0x712, 0x715, 0x718, 0x71b,
];

const fn little_endian<const BYTES: usize>(hex: &str) -> [u8; BYTES] {
    let digits = hex.as_bytes();
    assert!(digits.len() == 2 * BYTES);
    let mut bytes = [0; BYTES];
    let mut at = 0;
    while at < BYTES {
        bytes[BYTES - 1 - at] = digit(digits[2 * at]) << 4 | digit(digits[2 * at + 1]);
        at += 1;
    }
    bytes
}

const fn digit(ascii: u8) -> u8 {
    match ascii {
        b'0'..=b'9' => ascii - b'0',
        b'a'..=b'f' => ascii - b'a' + 10,
        _ => panic!("no digit"),
    }
}

/// The data of a program: small numbers, the moduli, and noise.
fn memory(rng: &mut Rng) -> BTreeMap<(u32, u32), u8> {
    let mut memory = BTreeMap::new();
    let mut put = |piece: u32, at: u32, bytes: &[u8]| {
        for (place, byte) in (DATA + piece * PIECE + at..).zip(bytes) {
            memory.insert((2, place), *byte);
        }
    };
    for (piece, modulus) in [(0, &SECP256K1[..]), (1, &BN254[..]), (2, &BLS12_381[..])] {
        put(piece, 0, modulus);
    }
    for piece in 3..6 {
        // Numbers that are below each modulus, at whatever width they are read.
        for at in [0, 32, 48, 64, 96, 144] {
            put(piece, at, &[piece as u8 + at as u8]);
        }
    }
    for piece in 6..PIECES {
        let noise: Vec<u8> = (0..PIECE).map(|_| rng.number() as u8).collect();
        put(piece, 0, &noise);
    }
    memory
}

fn set(register: u64, value: u32) -> [Instruction; 2] {
    // The lower part has a sign.
    let lower = u64::from(value & 0xfff);
    let signed = if lower < 0x800 { lower } else { lower + 0xff_f000 };
    let upper = u64::from(value.wrapping_add(0x800) >> 12);
    [
        Instruction::new(LUI, [4 * register, 0, upper, 1, 0, 1, 0]),
        Instruction::new(ADD, [4 * register, 4 * register, signed, 1, 0, 0, 0]),
    ]
}

fn heap(opcode: u64, [a, b, c]: [u64; 3]) -> Instruction {
    Instruction::new(opcode, [4 * a, 4 * b, 4 * c, 1, 2, 0, 0])
}

/// A program with these instructions, and these values in the registers from the first of
/// [`REGISTERS`] on.
fn program(
    values: &[u32],
    body: impl IntoIterator<Item = Instruction>,
    memory: BTreeMap<(u32, u32), u8>,
) -> Exe {
    let setup = (REGISTERS.start..)
        .zip(values)
        .flat_map(|(register, value)| set(register, *value));
    let end = Instruction::new(TERMINATE, [0; 7]);
    Exe::new(PC_BASE, setup.chain(body).chain([end]), memory)
}

/// Programs in which each extension does something, and that come to their ends; by the names of
/// the extensions.
pub fn samples() -> Vec<(&'static str, Exe)> {
    let piece = |piece: u32| DATA + piece * PIECE;
    let [target, one, other, length] = [5, 6, 7, 8];
    // A free piece to write to, the pieces of a modulus or of numbers, and a length.
    let sample = |operands: [u32; 2], body: Vec<Instruction>| {
        let values = [piece(PIECES), operands[0], operands[1], 136];
        program(&values, body, memory(&mut Rng(0)))
    };
    let numbers = [piece(3), piece(4)];
    let binary = [target, one, other];
    let of_modulus = |modulus: u32, setups: &[u64], opcodes: &[u64]| {
        let setups = setups.iter().map(|&opcode| heap(opcode, [target, one, 0]));
        let set = set(one, piece(3)).into_iter();
        let opcodes = opcodes.iter().map(|&opcode| heap(opcode, binary));
        sample(
            [piece(modulus), piece(4)],
            setups.chain(set).chain(opcodes).collect(),
        )
    };
    vec![
        (
            "keccak",
            sample(
                numbers,
                vec![heap(0x311, [target, one, length]), heap(0x310, [target, 0, 0])],
            ),
        ),
        (
            "sha2",
            sample(numbers, vec![heap(0x320, binary), heap(0x321, binary)]),
        ),
        (
            "bigint",
            sample(
                numbers,
                (0x400..=0x409)
                    .chain([0x450])
                    .map(|opcode| heap(opcode, binary))
                    .collect(),
            ),
        ),
        (
            "modular",
            of_modulus(0, &[0x502, 0x505], &[0x500, 0x501, 0x503, 0x504]),
        ),
        (
            "modular of 48 bytes",
            of_modulus(2, &[0x50a, 0x50d], &[0x508, 0x509, 0x50b, 0x50c]),
        ),
        (
            "fp2",
            of_modulus(1, &[0x712, 0x715], &[0x710, 0x711, 0x713, 0x714]),
        ),
        (
            "fp2 of 48 bytes",
            of_modulus(2, &[0x718, 0x71b], &[0x716, 0x717, 0x719, 0x71a]),
        ),
        // Nothing checks whether they are on the curve.
        (
            "ecc",
            sample(numbers, vec![heap(0x600, binary), heap(0x602, [target, one, 0])]),
        ),
        (
            "io",
            sample(
                numbers,
                vec![
                    Instruction::new(PHANTOM, [0, 0, 0x20, 0, 0, 0, 0]),
                    heap(0x260, [0, target, 0]),
                ],
            ),
        ),
    ]
}

/// A program that does something with the extensions, and mostly something that is allowed.
pub fn any(rng: &mut Rng) -> Exe {
    let mut values: Vec<u32> = REGISTERS.map(|_| value(rng)).collect();
    values.push(length(rng));
    let count = 1 + rng.number() % INSTRUCTIONS_MAX;
    let body: Vec<Instruction> = (0..count).map(|_| instruction(rng)).collect();
    program(&values, body, memory(rng))
}

/// A length or a number of words, mostly within its limits.
fn length(rng: &mut Rng) -> u32 {
    match rng.number() % 8 {
        0 => value(rng),
        _ => [1, 4, 32, 64, 136][(rng.number() % 5) as usize],
    }
}

/// A pointer, mostly one to data.
fn value(rng: &mut Rng) -> u32 {
    let piece = DATA + PIECE * (rng.number() % u64::from(PIECES)) as u32;
    match rng.number() % 16 {
        0..=12 => piece,
        13 => piece + (rng.number() % 64) as u32,
        // The end of memory, and beyond.
        14 => (MEMORY - 4 * (rng.number() % 64)) as u32,
        _ => [u32::MAX, u32::MAX - 3, 1 << 31, 1 << 30, MEMORY as u32][(rng.number() % 5) as usize],
    }
}

fn instruction(rng: &mut Rng) -> Instruction {
    let mut register = || match rng.number() % 32 {
        0 => 0,
        1 => rng.number() % 32,
        _ => REGISTERS.start + rng.number() % (REGISTERS.end - REGISTERS.start),
    };
    let [a, b, c] = [register(), register(), register()];
    let (first, last) = OPCODES[(rng.number() % OPCODES.len() as u64) as usize];
    let opcode = first + rng.number() % (last - first + 1);
    match opcode {
        PHANTOM => {
            let which = PHANTOMS[(rng.number() % PHANTOMS.len() as u64) as usize];
            let [a, b] = match which & 0xffff {
                0x20 | 0x50 => [0, 0],
                0x22 => [LENGTH, 0],
                0x51 => [a, 0],
                0x21 => [a, LENGTH],
                _ => [a, b],
            };
            Instruction::new(PHANTOM, [4 * a, 4 * b, which, 0, 0, 0, 0])
        }
        0x260 => heap(opcode, [0, b, 0]),
        0x261 => heap(opcode, [LENGTH, b, 0]),
        0x311 => heap(opcode, [a, b, LENGTH]),
        // Branches, to the next instruction.
        0x420 => Instruction::new(opcode, [4 * a, 4 * b, 4, 1, 2, 0, 0]),
        // A result in a register, and not the one that is always zero.
        0x506 | 0x50e => heap(opcode, [a.max(1), b, c]),
        0x602 => heap(opcode, [a, b, 0]),
        // A set-up of two operands has a third one.
        0x601 => heap(opcode, [a, b, c.max(1)]),
        _ if SETUPS.contains(&opcode) => heap(opcode, [a.max(1), b, 0]),
        _ => heap(opcode, [a, b, c]),
    }
}
