//! The instructions that the transpilers of OpenVM 2.0 make, opcode by opcode.
//!
//! The names of the functions are those of `openvm_transpiler::util`, which make the same
//! instructions.

use openvm_algebra_transpiler::{Fp2Opcode, ModularPhantom, Rv32ModularArithmeticOpcode as ModularOpcode};
use openvm_bigint_transpiler::{
    Rv32BaseAlu256Opcode, Rv32BranchEqual256Opcode, Rv32LessThan256Opcode, Rv32Mul256Opcode,
    Rv32Shift256Opcode,
};
use openvm_circuit::arch::instructions::{
    LocalOpcode, SysPhantom, SystemOpcode,
    instruction::Instruction,
    riscv::{RV32_IMM_AS, RV32_MEMORY_AS, RV32_NUM_REGISTERS, RV32_REGISTER_AS, RV32_REGISTER_NUM_LIMBS},
};
use openvm_ecc_transpiler::Rv32WeierstrassOpcode as CurveOpcode;
use openvm_keccak256_transpiler::{KeccakfOpcode, XorinOpcode};
use openvm_pairing_transpiler::PairingPhantom;
use openvm_rv32im_transpiler::{
    BaseAluOpcode, BranchEqualOpcode, BranchLessThanOpcode, DivRemOpcode, LessThanOpcode, MulHOpcode,
    MulOpcode, Rv32AuipcOpcode, Rv32HintStoreOpcode, Rv32JalLuiOpcode, Rv32JalrOpcode, Rv32LoadStoreOpcode,
    Rv32Phantom, ShiftOpcode,
};
use openvm_sdk::F;
use openvm_sdk_config::SdkVmConfig;
use openvm_sha2_transpiler::Rv32Sha2Opcode;
use openvm_stark_backend::p3_field::PrimeField32;

use super::{Form, Rule, Values};
use crate::error::ProgramError;

/// No opcode of OpenVM 2.0 but those of `deferral`, which no configuration has here, is as large.
const OPCODES_MAX: usize = 0x800;

/// RISC-V encodes the operation and the modulus, field or curve in 7 bits. Three are for the
/// former, and four for pairings.
pub(super) const NUMBERED_MAX: u32 = 16;
const PAIRINGS_MAX: u32 = 8;

const ZERO: Values = Values::only(0);
const ONE: Values = Values::only(1);
const IMMEDIATE: Values = Values::only(RV32_IMM_AS);
const REGISTERS: Values = Values::only(RV32_REGISTER_AS);
const MEMORY: Values = Values::only(RV32_MEMORY_AS);
/// The public values are an address space of their own (`PUBLIC_VALUES_AS`).
const MEMORY_OR_PUBLIC_VALUES: Values = Values::range(RV32_MEMORY_AS, 3);

const REGISTER_BYTES: u32 = RV32_REGISTER_NUM_LIMBS as u32;
const LAST_REGISTER: u32 = REGISTER_BYTES * (RV32_NUM_REGISTERS as u32 - 1);
/// A pointer to any register, and to any but the one that is always zero.
const ANY: Values = Values::steps(0, LAST_REGISTER, REGISTER_BYTES);
const NOT_X0: Values = Values::steps(REGISTER_BYTES, LAST_REGISTER, REGISTER_BYTES);
const X0: Values = ZERO;

/// The target of an instruction and whether it writes there, as the operands `a` and `f`.
const WRITES: [(Values, Values); 2] = [(NOT_X0, ONE), (X0, ZERO)];

/// Immediates of 12 bits, with the sign in 24 bits, and in 16 bits with the operand `g`.
const IMM_24: [Values; 2] = [Values::range(0, 0x7ff), Values::range(0xff_f800, 0xff_ffff)];
const IMM_16: [(Values, Values); 2] = [
    (Values::range(0, 0x7ff), ZERO),
    (Values::range(0xf800, 0xffff), ONE),
];

/// Even distances up to a power of two, backwards as elements of the field.
const fn distances(most: u32) -> [Values; 2] {
    [
        Values::steps(0, most - 2, 2),
        Values::steps(F::ORDER_U32 - most, F::ORDER_U32 - 2, 2),
    ]
}
const BRANCHES: [Values; 2] = distances(1 << 12);
const JUMPS: [Values; 2] = distances(1 << 20);

/// The rules, by opcode.
pub(super) struct Rules(pub(super) Vec<Option<Rule>>);

impl Rules {
    pub(super) fn of(vm: &SdkVmConfig) -> Self {
        let mut rules = Self((0..OPCODES_MAX).map(|_| None).collect());
        if vm.rv32i.is_some() {
            rules.rv32i(vm.io.is_some());
        }
        if vm.rv32m.is_some() {
            rules.rv32m();
        }
        if vm.io.is_some() {
            rules.io();
        }
        if vm.keccak.is_some() {
            rules.add(KeccakfOpcode::KECCAKF, vec![heap(ANY, ANY)]);
            rules.add(XorinOpcode::XORIN, vec![heap(ANY, ANY)]);
        }
        if vm.sha2.is_some() {
            for opcode in [Rv32Sha2Opcode::SHA256, Rv32Sha2Opcode::SHA512] {
                rules.add(opcode, vec![heap(ANY, ANY)]);
            }
        }
        if vm.bigint.is_some() {
            rules.bigint();
        }
        for modulus in 0..numbered(vm.modular.as_ref().map(|modular| modular.supported_moduli.len())) {
            rules.modular(modulus);
        }
        for field in 0..numbered(vm.fp2.as_ref().map(|fp2| fp2.supported_moduli.len())) {
            rules.fp2(field);
        }
        for curve in 0..numbered(vm.ecc.as_ref().map(|ecc| ecc.supported_curves.len())) {
            rules.curve(curve);
        }
        rules.add(SystemOpcode::PHANTOM, phantoms(vm));
        rules
    }

    /// # Errors
    /// See [`super::check`].
    pub(super) fn check(
        &self,
        instruction: &Instruction<F>,
        index: usize,
        pc: u32,
    ) -> Result<(), ProgramError> {
        let opcode = instruction.opcode.as_usize();
        match self.0.get(opcode) {
            Some(Some(rule)) => rule.check(instruction, index, pc),
            _ => Err(ProgramError::Unsupported {
                reason: format!("instruction {index} (pc {pc:#x}) has the opcode {opcode:#x}"),
            }),
        }
    }

    fn add<O: LocalOpcode + std::fmt::Debug>(&mut self, opcode: O, forms: Vec<Form>) {
        let name = format!("{opcode:?}");
        self.put(opcode.global_opcode_usize(), name, forms);
    }

    fn put(&mut self, opcode: usize, name: String, forms: Vec<Form>) {
        self.0[opcode] = Some(Rule { name, forms });
    }

    fn rv32i(&mut self, io: bool) {
        use BaseAluOpcode::{ADD, AND, OR, SUB, XOR};
        let immediate = |c| [NOT_X0, ANY, c, REGISTERS, IMMEDIATE, ZERO, ZERO];
        let from_r_type = vec![register_registers(REGISTERS)];
        let from_i_type: Vec<Form> = IMM_24.map(immediate).into();
        let both = [from_r_type.clone(), from_i_type].concat();
        self.add(SUB, from_r_type.clone());
        for opcode in [ADD, XOR, OR, AND] {
            self.add(opcode, both.clone());
        }
        for opcode in [LessThanOpcode::SLT, LessThanOpcode::SLTU] {
            self.add(opcode, both.clone());
        }
        let from_i_type_shamt = vec![immediate(Values::range(0, 31))];
        for opcode in [ShiftOpcode::SLL, ShiftOpcode::SRL, ShiftOpcode::SRA] {
            self.add(opcode, [from_r_type.clone(), from_i_type_shamt.clone()].concat());
        }

        self.loads_and_stores(io);

        let from_b_type = BRANCHES.map(|c| [ANY, ANY, c, REGISTERS, REGISTERS, ZERO, ZERO]);
        for opcode in [BranchEqualOpcode::BEQ, BranchEqualOpcode::BNE] {
            self.add(opcode, from_b_type.into());
        }
        use BranchLessThanOpcode::{BGE, BGEU, BLT, BLTU};
        for opcode in [BLT, BLTU, BGE, BGEU] {
            self.add(opcode, from_b_type.into());
        }
        let from_j_type = WRITES.map(|(a, f)| JUMPS.map(|c| [a, ZERO, c, REGISTERS, ZERO, f, ZERO]));
        self.add(Rv32JalLuiOpcode::JAL, from_j_type.concat());
        let jalr = WRITES.map(|(a, f)| IMM_16.map(|(c, g)| [a, ANY, c, REGISTERS, ZERO, f, g]));
        self.add(Rv32JalrOpcode::JALR, jalr.concat());
        let upper = |c, f| vec![[NOT_X0, ZERO, c, REGISTERS, ZERO, f, ZERO]];
        self.add(Rv32JalLuiOpcode::LUI, upper(Values::range(0, 0xf_ffff), ONE));
        self.add(
            Rv32AuipcOpcode::AUIPC,
            upper(Values::steps(0, 0xff_fff0, 16), ZERO),
        );
        // The exit code.
        let terminate = [ZERO, ZERO, Values::range(0, 255), ZERO, ZERO, ZERO, ZERO];
        self.add(SystemOpcode::TERMINATE, vec![terminate]);
    }

    fn loads_and_stores(&mut self, io: bool) {
        use Rv32LoadStoreOpcode::{LOADB, LOADBU, LOADH, LOADHU, LOADW, STOREB, STOREH, STOREW};
        let from_load = WRITES.map(|(a, f)| IMM_16.map(|(c, g)| [a, ANY, c, REGISTERS, MEMORY, f, g]));
        for opcode in [LOADW, LOADB, LOADH, LOADBU, LOADHU] {
            self.add(opcode, from_load.concat());
        }
        let from_s_type = |space| IMM_16.map(|(c, g)| [ANY, ANY, c, REGISTERS, space, ONE, g]);
        for opcode in [STOREH, STOREB] {
            self.add(opcode, from_s_type(MEMORY).into());
        }
        // Revealing public values is a store, too.
        let space = if io { MEMORY_OR_PUBLIC_VALUES } else { MEMORY };
        self.add(STOREW, from_s_type(space).into());
    }

    fn rv32m(&mut self) {
        let from_r_type = vec![register_registers(ZERO)];
        self.add(MulOpcode::MUL, from_r_type.clone());
        for opcode in [MulHOpcode::MULH, MulHOpcode::MULHSU, MulHOpcode::MULHU] {
            self.add(opcode, from_r_type.clone());
        }
        use DivRemOpcode::{DIV, DIVU, REM, REMU};
        for opcode in [DIV, DIVU, REM, REMU] {
            self.add(opcode, from_r_type.clone());
        }
    }

    fn io(&mut self) {
        let words = |a| vec![[a, ANY, ZERO, REGISTERS, MEMORY, ZERO, ZERO]];
        self.add(Rv32HintStoreOpcode::HINT_STOREW, words(ZERO));
        self.add(Rv32HintStoreOpcode::HINT_BUFFER, words(ANY));
    }

    fn bigint(&mut self) {
        use BaseAluOpcode::{ADD, AND, OR, SUB, XOR};
        let heap = vec![heap(ANY, ANY)];
        for opcode in [ADD, SUB, XOR, OR, AND] {
            self.add(Rv32BaseAlu256Opcode(opcode), heap.clone());
        }
        for opcode in [ShiftOpcode::SLL, ShiftOpcode::SRL, ShiftOpcode::SRA] {
            self.add(Rv32Shift256Opcode(opcode), heap.clone());
        }
        for opcode in [LessThanOpcode::SLT, LessThanOpcode::SLTU] {
            self.add(Rv32LessThan256Opcode(opcode), heap.clone());
        }
        self.add(Rv32Mul256Opcode(MulOpcode::MUL), heap);
        // The VM has all branches of 256 bits, RISC-V this one.
        let branch = BRANCHES.map(|c| [ANY, ANY, c, REGISTERS, MEMORY, ZERO, ZERO]);
        self.add(Rv32BranchEqual256Opcode(BranchEqualOpcode::BEQ), branch.into());
    }

    fn modular(&mut self, modulus: u32) {
        use ModularOpcode::{ADD, DIV, IS_EQ, MUL, SETUP_ADDSUB, SETUP_ISEQ, SETUP_MULDIV, SUB};
        let opcodes = [
            (ADD, heap(ANY, ANY)),
            (SUB, heap(ANY, ANY)),
            (MUL, heap(ANY, ANY)),
            (DIV, heap(ANY, ANY)),
            (IS_EQ, heap(NOT_X0, ANY)),
            (SETUP_ADDSUB, heap(ANY, ZERO)),
            (SETUP_MULDIV, heap(ANY, ZERO)),
            (SETUP_ISEQ, heap(NOT_X0, ZERO)),
        ];
        self.numbered("modulus", modulus, opcodes);
    }

    fn fp2(&mut self, field: u32) {
        use Fp2Opcode::{ADD, DIV, MUL, SETUP_ADDSUB, SETUP_MULDIV, SUB};
        let opcodes = [
            (ADD, heap(ANY, ANY)),
            (SUB, heap(ANY, ANY)),
            (MUL, heap(ANY, ANY)),
            (DIV, heap(ANY, ANY)),
            (SETUP_ADDSUB, heap(ANY, ZERO)),
            (SETUP_MULDIV, heap(ANY, ZERO)),
        ];
        self.numbered("complex field", field, opcodes);
    }

    fn curve(&mut self, curve: u32) {
        use CurveOpcode::{EC_ADD_NE, EC_DOUBLE, SETUP_EC_ADD_NE, SETUP_EC_DOUBLE};
        let opcodes = [
            (EC_ADD_NE, heap(ANY, ANY)),
            (EC_DOUBLE, heap(ANY, ZERO)),
            (SETUP_EC_ADD_NE, heap(ANY, NOT_X0)),
            (SETUP_EC_DOUBLE, heap(ANY, ZERO)),
        ];
        self.numbered("curve", curve, opcodes);
    }

    /// Allows the opcodes once for each modulus, field or curve of the configuration.
    fn numbered<O: LocalOpcode + std::fmt::Debug, const COUNT: usize>(
        &mut self,
        what: &str,
        number: u32,
        opcodes: [(O, Form); COUNT],
    ) {
        for (opcode, form) in opcodes {
            let place = opcode.global_opcode_usize() + COUNT * number as usize;
            self.put(place, format!("{opcode:?} of {what} {number}"), vec![form]);
        }
    }
}

/// Three registers, of which the first is written; `e` is 1, or 0 for an instruction without
/// immediates.
const fn register_registers(e: Values) -> Form {
    [NOT_X0, ANY, ANY, REGISTERS, e, ZERO, ZERO]
}

/// Registers that point to memory, or, in `a`, one that is written.
const fn heap(a: Values, c: Values) -> Form {
    [a, ANY, c, REGISTERS, MEMORY, ZERO, ZERO]
}

fn numbered(count: Option<usize>) -> u32 {
    (count.unwrap_or(0) as u32).min(NUMBERED_MAX)
}

/// The VM's actions beside the proof. The lower half of `c` is the number of the action, and the
/// upper half that of its object.
fn phantoms(vm: &SdkVmConfig) -> Vec<Form> {
    let phantom = |a, b, c| [a, b, c, ZERO, ZERO, ZERO, ZERO];
    let mut forms = vec![phantom(ZERO, ZERO, Values::only(SysPhantom::Nop as u32))];
    // The transpiler of the base makes these, without `io` too.
    if vm.rv32i.is_some() {
        let number = |phantom: Rv32Phantom| Values::only(phantom as u32);
        forms.extend([
            phantom(ZERO, ZERO, number(Rv32Phantom::HintInput)),
            phantom(ANY, ZERO, number(Rv32Phantom::HintRandom)),
            phantom(ANY, ANY, number(Rv32Phantom::PrintStr)),
        ]);
    }
    let moduli = numbered(vm.modular.as_ref().map(|modular| modular.supported_moduli.len()));
    if let Some(last) = moduli.checked_sub(1) {
        let of = |phantom: ModularPhantom| {
            let number = phantom as u32;
            Values::steps(number, number | last << 16, 1 << 16)
        };
        forms.extend([
            phantom(ZERO, ZERO, of(ModularPhantom::HintNonQr)),
            phantom(ANY, ZERO, of(ModularPhantom::HintSqrt)),
        ]);
    }
    let pairings = vm.pairing.iter().flat_map(|pairing| &pairing.supported_curves);
    for curve in pairings
        .map(|curve| *curve as u32)
        .filter(|curve| *curve < PAIRINGS_MAX)
    {
        let number = PairingPhantom::HintFinalExp as u32 | curve << 16;
        forms.push(phantom(ANY, ANY, Values::only(number)));
    }
    forms
}
