//! Programs as OpenVM writes them, changed instruction by instruction: most of them are still
//! programs, and are to be executed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Rng;

/// The field that OpenVM's operands are from, BabyBear. In a file they are multiplied by 2^32.
const MODULUS: u64 = 0x7800_0001;
/// Changes to one program.
const CHANGES_MAX: u64 = 4;
/// Changes are made among this many instructions from where the program starts, which is anywhere.
const NEAR: u64 = 32;
/// Operands at which interpreters change their minds: address spaces, registers, and the ends of
/// immediates.
const EDGES: [u64; 24] = [
    0,
    1,
    2,
    3,
    4,
    5,
    9,
    31,
    64,
    124,
    126,
    128,
    255,
    256,
    258,
    0x7ff,
    0xf800,
    0xffff,
    1 << 20,
    0xff_f800,
    1 << 24,
    MODULUS - (1 << 20),
    MODULUS - 4,
    MODULUS - 1,
];

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Instruction {
    opcode: u64,
    operands: [u32; 7],
}

impl Instruction {
    /// `operands` are below the modulus of the field.
    pub(crate) fn new(opcode: u64, operands: [u64; 7]) -> Self {
        Self {
            opcode,
            operands: operands.map(operand),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Code {
    /// Each instruction with its place, and the number of places.
    instructions: (Vec<(Instruction, u32)>, u32),
    pc_base: u32,
}

/// A `.vmexe`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Exe {
    code: Code,
    pc_start: u32,
    memory: BTreeMap<(u32, u32), u8>,
    functions: BTreeMap<u32, (u32, u32, String)>,
}

impl Exe {
    /// # Panics
    /// If the file is no program.
    pub fn read(file: &[u8]) -> Self {
        bitcode::deserialize(file).expect("a sample is a program")
    }

    /// A program with these instructions from `pc_base` on, where it starts, and this memory, by
    /// address space and address.
    pub(crate) fn new(
        pc_base: u32,
        instructions: impl Iterator<Item = Instruction>,
        memory: BTreeMap<(u32, u32), u8>,
    ) -> Self {
        let instructions: Vec<_> = instructions.zip(0..).collect();
        let count = instructions.len() as u32;
        Self {
            code: Code {
                instructions: (instructions, count),
                pc_base,
            },
            pc_start: pc_base,
            memory,
            functions: BTreeMap::new(),
        }
    }

    pub fn write(&self) -> Vec<u8> {
        bitcode::serialize(self).expect("plain data")
    }

    /// Returns the program with this address space in all its loads and stores, and their number.
    pub fn with_address_space(mut self, space: u64) -> (Self, usize) {
        // The opcodes from LOADW to LOADH.
        let memory = |there: &&mut (Instruction, u32)| (0x210..=0x217).contains(&there.0.opcode);
        let instructions = self.code.instructions.0.iter_mut().filter(memory);
        let count = instructions
            .map(|(instruction, _)| instruction.operands[4] = operand(space))
            .count();
        (self, count)
    }

    /// A program that is nearly this one.
    pub fn changed(&self, rng: &mut Rng) -> Self {
        let mut exe = self.clone();
        let count = exe.code.instructions.0.len() as u64;
        let start = if rng.number().is_multiple_of(2) {
            (exe.pc_start - exe.code.pc_base) / 4
        } else {
            (rng.number() % count) as u32
        };
        exe.pc_start = exe.code.pc_base + 4 * start;
        for _ in 0..=rng.number() % CHANGES_MAX {
            let place = (u64::from(start) + rng.number() % NEAR) % count;
            let other = exe.code.instructions.0[(rng.number() % count) as usize].0.clone();
            let there = &mut exe.code.instructions.0[place as usize].0;
            match rng.number() % 16 {
                0..=6 => *there = other,
                7 => there.opcode = other.opcode,
                8 => there.opcode = there.opcode.wrapping_add(rng.number() % 5).wrapping_sub(2),
                9 => there.opcode = rng.number() % 0x820,
                // One of the existing registers.
                10..=14 => there.operands[(rng.number() % 3) as usize] = operand(4 * (rng.number() % 32)),
                _ => {
                    let edge = EDGES[(rng.number() % EDGES.len() as u64) as usize];
                    there.operands[(rng.number() % 7) as usize] = operand(edge);
                }
            }
        }
        if rng.number().is_multiple_of(16) {
            exe.change_place(rng);
        }
        exe
    }

    /// Changes where the code is, or what memory has.
    fn change_place(&mut self, rng: &mut Rng) {
        let edge = EDGES[(rng.number() % EDGES.len() as u64) as usize] as u32;
        match rng.number() % 6 {
            0 => self.code.pc_base = edge,
            1 => self.code.pc_base = u32::MAX - edge,
            2 => self.pc_start = self.pc_start.wrapping_sub(edge),
            3 => self.code.instructions.1 += 1,
            4 => drop(self.code.instructions.0.pop()),
            _ => drop(self.memory.insert((edge, u32::MAX - edge), 7)),
        }
    }
}

/// An element of the field as it is in a file.
fn operand(value: u64) -> u32 {
    ((value << 32) % MODULUS) as u32
}
