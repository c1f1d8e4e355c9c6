//! Programs for tests, written in machine code: they need no toolchain, and are as short as a test
//! wants them.

use risc0_zkvm::{Digest, MaybePruned, Output, sha::Digestible};

/// What the programs reveal.
pub(crate) const JOURNAL: &[u8] = b"done";

/// Where programs are put in memory, and where their data is.
const CODE: u32 = 0x0020_0800;
const DATA: u32 = 0x0020_1000;
const NAMES: &str = "risc0_zkvm_platform::syscall::nr::";

/// The numbers of RISC Zero's calls: of an `ecall`, and of a system call in it.
const HALT: i32 = 0;
const SOFTWARE: i32 = 2;
const READ: i32 = 12;
const USER: i32 = 13;
const WRITE: i32 = 16;

/// Registers by their numbers.
const ZERO: u32 = 0;
const T0: u32 = 5;
const S0: u32 = 8;
const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;
const A3: u32 = 13;
const A4: u32 = 14;
const A5: u32 = 15;
const T6: u32 = 31;

/// A program that reads a number of four bytes, counts down from it, writes a word of memory at
/// each step, and reveals [`JOURNAL`].
pub(crate) fn elf() -> Vec<u8> {
    let mut program = Assembler::default();
    let (buffer, read) = (program.data(&[0; 4]), program.name("SYS_READ"));
    for (register, value) in [(A0, buffer), (A1, 4), (A2, read), (A3, 0), (A4, 4)] {
        program.load(register, value as i32);
    }
    program.software(READ);
    program.load(A0, buffer as i32);
    program.push(word_load(S0, A0));
    let start = program.code.len();
    program.push(word_store(S0, A0));
    program.push(add(S0, S0, -1));
    program.branch_back_if_not_zero(S0, start);
    program.reveal_and_halt(JOURNAL, 0);
    program.elf()
}

/// A program that reveals [`JOURNAL`], and ends with this exit code.
pub(crate) fn ending(code: u8) -> Vec<u8> {
    let mut program = Assembler::default();
    program.reveal_and_halt(JOURNAL, code);
    program.elf()
}

/// A program that makes the system call of this name.
pub(crate) fn calling(name: &str) -> Vec<u8> {
    let mut program = Assembler::default();
    let name = program.name(name);
    program.load(A2, name as i32);
    program.load(A1, 0);
    program.software(USER);
    program.reveal_and_halt(JOURNAL, 0);
    program.elf()
}

/// A program that reveals this many bytes.
pub(crate) fn revealing(bytes: u32) -> Vec<u8> {
    let mut program = Assembler::default();
    let values = program.data(b"");
    program.write(values, bytes);
    program.reveal_and_halt(JOURNAL, 0);
    program.elf()
}

#[derive(Default)]
struct Assembler {
    code: Vec<u32>,
    data: Vec<u8>,
}

impl Assembler {
    fn push(&mut self, instruction: u32) {
        self.code.push(instruction);
    }

    /// Puts data at an aligned address, and gives it.
    fn data(&mut self, bytes: &[u8]) -> u32 {
        self.data.resize(self.data.len().next_multiple_of(4), 0);
        let at = DATA + self.data.len() as u32;
        self.data.extend_from_slice(bytes);
        at
    }

    fn name(&mut self, name: &str) -> u32 {
        self.data(format!("{NAMES}{name}\0").as_bytes())
    }

    /// Two instructions: the upper 20 bits, and the lower 12, which are signed.
    fn load(&mut self, register: u32, value: i32) {
        let low = (value << 20) >> 20;
        let high = value.wrapping_sub(low) as u32;
        self.push(high | register << 7 | 0x37);
        self.push(add(register, register, low));
    }

    fn ecall(&mut self, number: i32) {
        self.load(T0, number);
        self.push(0x73);
    }

    fn software(&mut self, call: i32) {
        self.load(T6, call);
        self.ecall(SOFTWARE);
    }

    fn write(&mut self, at: u32, bytes: u32) {
        let name = self.name("SYS_WRITE");
        for (register, value) in [(A0, 0), (A1, 0), (A2, name), (A3, 3), (A4, at), (A5, bytes)] {
            self.load(register, value as i32);
        }
        self.software(WRITE);
    }

    fn reveal_and_halt(&mut self, journal: &[u8], code: u8) {
        let at = self.data(journal);
        self.write(at, journal.len() as u32);
        let output = MaybePruned::Value(Some(Output {
            journal: MaybePruned::Value(journal.to_vec()),
            assumptions: MaybePruned::Pruned(Digest::ZERO),
        }));
        let digest = self.data(output.digest().as_bytes());
        self.load(A0, i32::from(code) << 8);
        self.load(A1, digest as i32);
        self.ecall(HALT);
    }

    /// Branches to the instruction of this index.
    fn branch_back_if_not_zero(&mut self, register: u32, index: usize) {
        let offset = 4 * (index as i32 - self.code.len() as i32);
        let bit = |at: i32| (offset >> at & 1) as u32;
        let bits = |at: i32, count: i32| (offset >> at & ((1 << count) - 1)) as u32;
        let target = bit(12) << 31 | bits(5, 6) << 25 | bits(1, 4) << 8 | bit(11) << 7;
        self.push(target | ZERO << 20 | register << 15 | 1 << 12 | 0x63);
    }

    /// The file: a header, one program header, and everything in one segment.
    fn elf(self) -> Vec<u8> {
        let mut image: Vec<u8> = self.code.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert!(image.len() <= (DATA - CODE) as usize, "the code is too long");
        image.resize((DATA - CODE) as usize, 0);
        image.extend(self.data);
        image.resize(image.len().next_multiple_of(4), 0);
        let offset = 52 + 32;
        let mut elf = Vec::new();
        elf.extend_from_slice(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
        // Executable, RISC-V.
        elf.extend([2_u16, 243].iter().flat_map(|half| half.to_le_bytes()));
        elf.extend(
            [1, CODE, 52, 0, 0]
                .iter()
                .flat_map(|word: &u32| word.to_le_bytes()),
        );
        elf.extend(
            [52_u16, 32, 1, 40, 0, 0]
                .iter()
                .flat_map(|half| half.to_le_bytes()),
        );
        let size = image.len() as u32;
        let header = [1, offset, CODE, CODE, size, size, 7, 4];
        elf.extend(header.iter().flat_map(|word: &u32| word.to_le_bytes()));
        assert_eq!(elf.len(), offset as usize);
        elf.extend(image);
        elf
    }
}

fn add(to: u32, from: u32, value: i32) -> u32 {
    (value as u32) << 20 | from << 15 | to << 7 | 0x13
}

fn word_load(to: u32, address: u32) -> u32 {
    address << 15 | 2 << 12 | to << 7 | 0x03
}

fn word_store(from: u32, address: u32) -> u32 {
    from << 20 | address << 15 | 2 << 12 | 0x23
}
