//! The code that a program may have: what OpenVM's transpiler makes of an ELF for the program's VM,
//! and nothing else.
//!
//! OpenVM's interpreters were written for the transpiler's code, and check little of it before they
//! run it. An address space of an instruction is an index into a list that nobody checks; a pointer
//! to a register is cut to a byte; the first program counter says how many entries their tables
//! have.
//!
//! An ELF goes through the transpiler, but a `.vmexe` has instructions as they are run. So each
//! operand of each instruction must have a value that the transpiler puts there, whether an
//! interpreter would mind others or not. The transpiler's own mistakes are refused with it: it
//! makes instructions for moduli and curves that the VM does not have.

mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

use openvm_circuit::arch::instructions::{exe::VmExe, instruction::Instruction};
use openvm_sdk::F;
use openvm_stark_backend::p3_field::PrimeField32;

use self::rules::Rules;
use super::{INSTRUCTION_BYTES, INSTRUCTIONS_MAX};
use crate::{VmConfig, error::ProgramError};

/// The most bytes below the first instruction. OpenVM links programs at 2 MiB. In each table, its
/// interpreters have an entry for every instruction that could be there, as for the real ones. So
/// as many are allowed.
const PC_BASE_MAX: u64 = INSTRUCTION_BYTES * INSTRUCTIONS_MAX;

/// Names of an instruction's operands, as OpenVM has them.
const OPERANDS: [char; 7] = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];

/// Refuses code that OpenVM's transpiler does not make for this VM.
///
/// # Errors
/// [`ProgramError::Code`] for where the code is, [`ProgramError::Instruction`] for an operand, and
/// [`ProgramError::Unsupported`] for an opcode.
pub(super) fn check(exe: &VmExe<F>, config: &VmConfig) -> Result<(), ProgramError> {
    let code = &exe.program.instructions_and_debug_infos;
    check_place(exe.program.pc_base.into(), code.len() as u64, exe.pc_start.into())?;
    let rules = Rules::of(config.vm());
    let pcs = (exe.program.pc_base..).step_by(INSTRUCTION_BYTES as usize);
    for ((index, there), pc) in code.iter().enumerate().zip(pcs) {
        // Also, the rows that fill up the table of instructions in a proof would have the numbers
        // of those after it.
        let Some((instruction, _)) = there else {
            return Err(ProgramError::Code {
                what: format!("instruction {index} (pc {pc:#x})"),
                actual: "missing".into(),
                allowed: "no hole".into(),
            });
        };
        rules.check(instruction, index, pc)?;
    }
    Ok(())
}

/// Refuses code without a place, or at a place where the interpreters' tables would take too much
/// memory.
fn check_place(pc_base: u64, count: u64, pc_start: u64) -> Result<(), ProgramError> {
    let bad = |what: &str, actual: String, allowed: String| {
        let what = what.into();
        Err(ProgramError::Code {
            what,
            actual,
            allowed,
        })
    };
    // OpenVM's interpreters look for the largest of none.
    if count == 0 {
        return bad("number of instructions", "0".into(), "1 or more".into());
    }
    let aligned = |pc: u64| pc.is_multiple_of(INSTRUCTION_BYTES);
    if pc_base > PC_BASE_MAX || !aligned(pc_base) {
        let allowed = format!("a multiple of {INSTRUCTION_BYTES} of at most {PC_BASE_MAX:#x}");
        return bad("first address", format!("{pc_base:#x}"), allowed);
    }
    let last = pc_base + INSTRUCTION_BYTES * (count - 1);
    if !(pc_base..=last).contains(&pc_start) || !aligned(pc_start) {
        let allowed = format!("a multiple of {INSTRUCTION_BYTES} from {pc_base:#x} to {last:#x}");
        return bad("starting address", format!("{pc_start:#x}"), allowed);
    }
    Ok(())
}

/// Values of an operand: from the first to the last, in steps of a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Values {
    first: u32,
    last: u32,
    step: u32,
}

impl Values {
    const fn only(value: u32) -> Self {
        Self::steps(value, value, 1)
    }

    const fn range(first: u32, last: u32) -> Self {
        Self::steps(first, last, 1)
    }

    const fn steps(first: u32, last: u32, step: u32) -> Self {
        assert!(step.is_power_of_two() && first <= last);
        Self { first, last, step }
    }

    fn have(self, value: u32) -> bool {
        (self.first..=self.last).contains(&value) && (value - self.first) & (self.step - 1) == 0
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, step } = self;
        match (first == last, step) {
            (true, _) => write!(f, "{first}"),
            (false, 1) => write!(f, "{first} to {last}"),
            (false, _) => write!(f, "{first} to {last} in steps of {step}"),
        }
    }
}

/// One way to use an opcode: the values of each operand, from `a` to `g`, which do not depend on
/// each other.
type Form = [Values; OPERANDS.len()];

/// The operands that an opcode may have.
struct Rule {
    name: String,
    forms: Vec<Form>,
}

impl Rule {
    fn check(&self, instruction: &Instruction<F>, index: usize, pc: u32) -> Result<(), ProgramError> {
        let Instruction {
            a, b, c, d, e, f, g, ..
        } = instruction;
        let values = [a, b, c, d, e, f, g].map(PrimeField32::as_canonical_u32);
        let fits = |form: &Form| {
            form.iter()
                .zip(values)
                .all(|(allowed, value)| allowed.have(value))
        };
        if self.forms.iter().any(fits) {
            return Ok(());
        }
        Err(self.explain(values, index, pc))
    }

    /// Names the operand that is wrong in the forms that come nearest.
    fn explain(&self, values: [u32; OPERANDS.len()], index: usize, pc: u32) -> ProgramError {
        let wrong = |form: &Form| -> Vec<usize> {
            let operands = 0..OPERANDS.len();
            operands.filter(|&i| !form[i].have(values[i])).collect()
        };
        let nearest = self
            .forms
            .iter()
            .map(wrong)
            .min_by_key(Vec::len)
            .unwrap_or_default();
        let operand = nearest.first().copied().unwrap_or_default();
        let mut allowed: Vec<String> = Vec::new();
        for form in self.forms.iter().filter(|form| wrong(form) == nearest) {
            let text = form[operand].to_string();
            if !allowed.contains(&text) {
                allowed.push(text);
            }
        }
        ProgramError::Instruction {
            index,
            pc,
            opcode: self.name.clone(),
            operand: OPERANDS[operand],
            actual: values[operand],
            allowed: allowed.join(" or "),
        }
    }
}
