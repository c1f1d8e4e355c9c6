//! The list of allowed instructions against the transpiler's output, and programs that break it.

use openvm_circuit::arch::instructions::{LocalOpcode, SystemOpcode, VmOpcode, program::Program as Code};
use openvm_rv32im_transpiler::{BaseAluOpcode, Rv32JalLuiOpcode, Rv32LoadStoreOpcode};
use openvm_sdk_config::TranspilerConfig;
use openvm_stark_backend::p3_field::PrimeCharacteristicRing;

use super::*;
use crate::{Program, program::caught};

const FIBONACCI: &[u8] = include_bytes!("../../../../../guests/elf/fibonacci.elf");
const MISBEHAVE: &[u8] = include_bytes!("../../../../../guests/elf/misbehave.elf");
const EVM_BLOCK: &[u8] = include_bytes!("../../../../../guests/elf/evm-block.elf");
const EVM_BLOCK_TOML: &str = include_str!("../../../../../guests/elf/evm-block.openvm.toml");
const PRECOMPILES: &[u8] = include_bytes!("../../../../../guests/elf/evm-block-precompiles.elf");
const PRECOMPILES_TOML: &str = include_str!("../../../../../guests/elf/evm-block-precompiles.openvm.toml");

fn fibonacci() -> VmExe<F> {
    Program::load(FIBONACCI, None).unwrap().exe().as_ref().clone()
}

/// Loads the program from its file.
fn load(exe: &VmExe<F>, openvm_toml: Option<&str>) -> Result<(), ProgramError> {
    Program::load(&bitcode::serialize(exe).unwrap(), openvm_toml).map(drop)
}

fn instructions(exe: &mut VmExe<F>) -> impl Iterator<Item = &mut Instruction<F>> {
    let code = exe.program.instructions_and_debug_infos.iter_mut();
    code.map(|there| &mut there.as_mut().unwrap().0)
}

/// All extensions, with as many moduli, fields and curves as instructions can name.
fn everything() -> VmConfig {
    let list = |item: &str| vec![item; rules::NUMBERED_MAX as usize].join(", ");
    let curve = "[[app_vm_config.ecc.supported_curves]]\n\
                 struct_name = \"C\"\nmodulus = \"7\"\nscalar = \"7\"\na = \"0\"\nb = \"1\"\n";
    let toml = format!(
        "[app_vm_config.rv32i]\n[app_vm_config.rv32m]\n[app_vm_config.io]\n[app_vm_config.keccak]\n\
         [app_vm_config.sha2]\n[app_vm_config.bigint]\n\
         [app_vm_config.modular]\nsupported_moduli = [{}]\n\
         [app_vm_config.fp2]\nsupported_moduli = [{}]\n\
         [app_vm_config.pairing]\nsupported_curves = [\"Bn254\", \"Bls12_381\"]\n{}",
        list("\"7\""),
        list("[\"F\", \"7\"]"),
        curve.repeat(rules::NUMBERED_MAX as usize)
    );
    VmConfig::from_toml(&toml).unwrap()
}

/// Random words of RISC-V and of OpenVM's own instructions, in which the ends of each field are
/// frequent.
struct Words(u64);

impl Words {
    fn number(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }

    fn pick(&mut self, often: &[u32], bits: u32) -> u32 {
        match often.get(self.number(often.len() as u32 + 1) as usize) {
            Some(value) => *value,
            None => self.number(1 << bits),
        }
    }

    fn next(&mut self) -> u32 {
        // All of RV32IM but the control registers, for each of which the transpiler prints a line.
        const RV32IM: [u32; 10] = [0x03, 0x0f, 0x13, 0x17, 0x23, 0x33, 0x37, 0x63, 0x67, 0x6f];
        // OpenVM's own opcodes. The second names its object in seven bits.
        const CUSTOM: [u32; 2] = [0x0b, 0x2b];
        const REGISTERS: [u32; 5] = [0, 1, 2, 30, 31];
        const FUNCT7: [u32; 7] = [0, 1, 7, 0x20, 0x3f, 0x40, 0x7f];
        let custom = self.number(2) == 0;
        let opcodes = if custom { &CUSTOM[..] } else { &RV32IM };
        let opcode = opcodes[self.number(opcodes.len() as u32) as usize];
        let [rd, rs1, rs2] = [(); 3].map(|()| self.pick(&REGISTERS, 5));
        let often = if custom && self.number(4) > 0 {
            &[][..]
        } else {
            &FUNCT7
        };
        let funct7 = self.pick(often, 7);
        opcode | rd << 7 | self.number(8) << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25
    }
}

/// The values that were seen of an operand of a form.
#[derive(Clone, Copy)]
struct Seen {
    first: u32,
    last: u32,
    /// The greatest common divisor of what lies between the first allowed value and those seen.
    step: u32,
}

#[test]
fn exactly_what_the_transpiler_makes_is_allowed() {
    let config = everything();
    let rules = Rules::of(config.vm());
    let transpiler = config.vm().transpiler();
    let nothing = Seen {
        first: u32::MAX,
        last: 0,
        step: 0,
    };
    let mut seen: Vec<Vec<[Seen; 7]>> = rules
        .0
        .iter()
        .map(|rule| vec![[nothing; 7]; rule.as_ref().map_or(0, |rule| rule.forms.len())])
        .collect();
    let mut words = Words(1);
    for _ in 0..2_000_000 {
        let word = words.next();
        // It panics on wrong custom instructions.
        let Ok(Ok(made)) = caught(|| transpiler.transpile(&[word])) else {
            continue;
        };
        let [Some(instruction)] = made.as_slice() else {
            panic!("{word:#x}: {made:?}");
        };
        if let Err(error) = rules.check(instruction, 0, 0) {
            // The VM has two curves for pairings, and an instruction can name eight.
            let c = instruction.c.as_canonical_u32();
            assert!(
                c & 0xffff == 0x30 && c >> 16 >= 2,
                "{word:#x}: {instruction:?}: {error}"
            );
            continue;
        }
        let values = instruction.operands();
        let opcode = instruction.opcode.as_usize();
        let forms = &rules.0[opcode].as_ref().unwrap().forms;
        for (form, seen) in forms.iter().zip(&mut seen[opcode]) {
            let fits = |(allowed, value): (&Values, &F)| allowed.have(value.as_canonical_u32());
            if !form.iter().zip(&values).all(fits) {
                continue;
            }
            for ((seen, value), allowed) in seen.iter_mut().zip(&values).zip(form) {
                let value = value.as_canonical_u32();
                seen.first = seen.first.min(value);
                seen.last = seen.last.max(value);
                let (mut step, mut rest) = (seen.step, value - allowed.first);
                while rest != 0 {
                    (step, rest) = (rest, step % rest);
                }
                seen.step = step;
            }
        }
    }
    for (rule, seen) in rules.0.iter().zip(&seen) {
        let Some(rule) = rule else { continue };
        for (form, seen) in rule.forms.iter().zip(seen) {
            for ((allowed, seen), name) in form.iter().zip(seen).zip(OPERANDS) {
                let step = if allowed.first == allowed.last {
                    0
                } else {
                    allowed.step
                };
                assert_eq!(
                    (seen.first, seen.last, seen.step),
                    (allowed.first, allowed.last, step),
                    "operand {name} of {} in {form:?}",
                    rule.name
                );
            }
        }
    }
}

#[test]
fn the_committed_programs_are_allowed() {
    for (elf, toml) in [
        (FIBONACCI, None),
        (MISBEHAVE, None),
        (EVM_BLOCK, Some(EVM_BLOCK_TOML)),
        (PRECOMPILES, Some(PRECOMPILES_TOML)),
    ] {
        let program = Program::load(elf, toml).unwrap();
        let begin = std::time::Instant::now();
        check(program.exe(), program.config()).unwrap();
        let count = program.exe().program.len();
        eprintln!("{count} instructions in {:?}", begin.elapsed());
        load(program.exe(), toml).unwrap();
    }
}

/// OpenVM's interpreter takes the address space for an index, and reads or writes beside its list.
#[test]
fn loads_and_stores_of_other_address_spaces_are_refused() {
    use Rv32LoadStoreOpcode::{LOADH, STOREW};
    let memory = (STOREW.global_opcode_usize() - 3)..=LOADH.global_opcode_usize();
    for space in [0, 1, 4, 5, 8, 9, 255, 256, 258, 1 << 24] {
        let mut exe = fibonacci();
        let mut count = 0;
        for instruction in instructions(&mut exe).filter(|i| memory.contains(&i.opcode.as_usize())) {
            instruction.e = F::from_u32(space);
            count += 1;
        }
        assert!(count > 300, "{count}");
        let error = load(&exe, None).unwrap_err();
        assert!(
            matches!(&error, ProgramError::Instruction { operand: 'e', actual, allowed, .. }
                if *actual == space && (allowed == "2" || allowed == "2 to 3")),
            "{error}"
        );
    }
}

/// Changes the first instruction with this opcode, and says why the program is refused then.
fn refused(opcode: impl LocalOpcode, change: impl FnOnce(&mut Instruction<F>)) -> String {
    let mut exe = fibonacci();
    let opcode = opcode.global_opcode();
    let instruction = instructions(&mut exe).find(|there| there.opcode == opcode);
    change(instruction.expect("the program has one"));
    load(&exe, None).unwrap_err().to_string()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_kind_of_bad_operand_is_named() {
    use BaseAluOpcode::{ADD, SUB};
    use Rv32JalLuiOpcode::{JAL, LUI};
    use Rv32LoadStoreOpcode::{LOADW, STOREW};
    use SystemOpcode::{PHANTOM, TERMINATE};
    let n = F::from_u32;
    let any = "0 to 124 in steps of 4";
    for (error, text) in [
        (
            refused(ADD, |i| i.b = n(2)),
            format!("ADD with b = 2, where OpenVM's transpiler puts {any}"),
        ),
        (
            refused(ADD, |i| i.b = n(128)),
            format!("ADD with b = 128, where OpenVM's transpiler puts {any}"),
        ),
        // The interpreter would take the lowest byte.
        (
            refused(ADD, |i| i.b = n(256)),
            format!("ADD with b = 256, where OpenVM's transpiler puts {any}"),
        ),
        (
            refused(ADD, |i| i.a = n(0)),
            "ADD with a = 0, where OpenVM's transpiler puts 4 to 124".into(),
        ),
        (
            refused(ADD, |i| i.d = n(2)),
            "ADD with d = 2, where OpenVM's transpiler puts 1;".into(),
        ),
        (
            refused(ADD, |i| i.e = n(7)),
            "ADD with e = 7, where OpenVM's transpiler puts".into(),
        ),
        (
            refused(ADD, |i| (i.c, i.e) = (n(0x800), n(0))),
            "puts 0 to 2047 or 16775168 to 16777215;".into(),
        ),
        (
            refused(SUB, |i| i.e = n(0)),
            "SUB with e = 0, where OpenVM's transpiler puts 1;".into(),
        ),
        (
            refused(ADD, |i| i.g = n(1)),
            "ADD with g = 1, where OpenVM's transpiler puts 0;".into(),
        ),
        (
            refused(LOADW, |i| i.c = n(1 << 16)),
            "LOADW with c = 65536, where OpenVM's transpiler puts".into(),
        ),
        (
            refused(LOADW, |i| i.g = n(2)),
            "LOADW with g = 2, where OpenVM's transpiler puts".into(),
        ),
        (
            refused(LOADW, |i| (i.a, i.f) = (n(0), n(1))),
            "LOADW with a = 0, where OpenVM's transpiler puts".into(),
        ),
        (
            refused(STOREW, |i| i.f = n(0)),
            "STOREW with f = 0, where OpenVM's transpiler puts 1;".into(),
        ),
        (
            refused(JAL, |i| i.c = n(3)),
            "JAL with c = 3, where OpenVM's transpiler puts".into(),
        ),
        (
            refused(JAL, |i| i.c = n(1 << 20)),
            "JAL with c = 1048576, where OpenVM's transpiler puts".into(),
        ),
        (
            refused(LUI, |i| i.c = n(1 << 20)),
            "LUI with c = 1048576, where OpenVM's transpiler puts 0 to 1048575;".into(),
        ),
        (
            refused(TERMINATE, |i| i.c = n(256)),
            "TERMINATE with c = 256, where OpenVM's transpiler puts 0 to 255;".into(),
        ),
        // It makes the interpreter panic, and there is none with the other number.
        (
            refused(PHANTOM, |i| i.c = n(1)),
            "PHANTOM with c = 1, where OpenVM's transpiler puts".into(),
        ),
        (
            refused(PHANTOM, |i| i.c = n(0x50)),
            "PHANTOM with c = 80, where OpenVM's transpiler puts".into(),
        ),
    ] {
        assert!(error.contains(&text), "{error}");
    }
}

#[test]
fn what_the_vm_does_not_have_is_named() {
    for opcode in [
        2,
        0x1ff,
        0x310,
        0x400,
        0x500,
        0x600,
        0x710,
        0x800,
        1 << 40,
        usize::MAX,
    ] {
        let error = refused(BaseAluOpcode::ADD, |i| i.opcode = VmOpcode::from_usize(opcode));
        assert!(error.contains(&format!("has the opcode {opcode:#x};")), "{error}");
    }
    // The transpiler makes an instruction of it: the third modulus of two.
    let config = VmConfig::from_toml(EVM_BLOCK_TOML).unwrap();
    let add_mod = 0x2b | 1 << 7 | 1 << 15 | 1 << 20 | (2 * 8) << 25;
    let made = config.vm().transpiler().transpile(&[add_mod]).unwrap();
    let exe = VmExe::new(Code::new_without_debug_infos_with_option(&made, 0));
    let error = load(&exe, Some(EVM_BLOCK_TOML)).unwrap_err().to_string();
    assert!(
        error.contains("instruction 0 (pc 0x0) has the opcode 0x510;"),
        "{error}"
    );
}

#[test]
fn code_in_the_wrong_place_is_refused() {
    let place = |change: &dyn Fn(&mut VmExe<F>)| {
        let mut exe = fibonacci();
        change(&mut exe);
        load(&exe, None).unwrap_err().to_string()
    };
    let last = |exe: &VmExe<F>| exe.program.pc_base + 4 * (exe.program.len() as u32 - 1);
    let shifted = |pc_base| {
        move |exe: &mut VmExe<F>| {
            exe.pc_start = (exe.pc_start - exe.program.pc_base).wrapping_add(pc_base);
            exe.program.pc_base = pc_base;
        }
    };
    for (error, text) in [
        // The interpreter would make room for 2^30 instructions.
        (
            place(&shifted(u32::MAX - 3)),
            "the program's first address is 0xfffffffc",
        ),
        (
            place(&shifted(PC_BASE_MAX as u32 + 4)),
            "the program's first address is 0x1000004",
        ),
        (place(&shifted(2)), "the program's first address is 0x2,"),
        (
            place(&|exe| exe.pc_start = exe.program.pc_base - 4),
            "the program's starting address is",
        ),
        (
            place(&|exe| exe.pc_start = last(exe) + 4),
            "the program's starting address is",
        ),
        (
            place(&|exe| exe.pc_start += 2),
            "the program's starting address is",
        ),
        (
            place(&|exe| exe.program.instructions_and_debug_infos.clear()),
            "the program's number of instructions is 0",
        ),
        (
            place(&|exe| exe.program.instructions_and_debug_infos[3] = None),
            "instruction 3 (pc 0x20080c) is missing",
        ),
        (
            place(&|exe| exe.program.instructions_and_debug_infos.push(None)),
            "is missing",
        ),
    ] {
        assert!(error.contains(text), "{error}");
    }
    let mut exe = fibonacci();
    shifted(PC_BASE_MAX as u32)(&mut exe);
    exe.pc_start = last(&exe);
    load(&exe, None).unwrap();
}
