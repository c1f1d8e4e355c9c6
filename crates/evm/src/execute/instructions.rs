//! Instructions of the EVM that cost a prover less than revm's own, and do the same.
//!
//! - divisions and remainders are computed on the VM's words: [`arithmetic`](crate::arithmetic);
//! - SELFBALANCE looks at the account that runs, which is there, and loads none;
//! - EXTCODESIZE and EXTCODECOPY take a code as it is in the witness. revm looks through it for
//!   jump destinations first, which is of use only where it runs.

use alloy_evm::eth::EthEvmContext;
use alloy_primitives::{Address, Bytes, U256};
use revm::{
    bytecode::opcode,
    context_interface::{ContextTr as _, context::ContextError},
    handler::instructions::EthInstructions,
    interpreter::{
        Host as _, Instruction, InstructionContext, InstructionExecResult, InstructionResult, Interpreter,
        instructions::host, interpreter::EthInterpreter, interpreter_types::InputsTr as _,
    },
};

use crate::{arithmetic, state::WitnessState};

/// The part of the EVM that its instructions see: revm's context on the state of the block.
pub(super) type Host<'s, 'w> = EthEvmContext<&'s mut WitnessState<'w>>;

type Context<'c, 's, 'w> = InstructionContext<'c, Host<'s, 'w>, EthInterpreter>;

/// Puts them into a table of revm's.
pub(super) fn replace<'s, 'w>(instructions: &mut EthInstructions<EthInterpreter, Host<'s, 'w>>) {
    let table = instructions.instruction_table_mut();
    let mut set = |opcode: u8, instruction| table[usize::from(opcode)] = instruction;
    set(opcode::DIV, Instruction::new(div));
    set(opcode::SDIV, Instruction::new(sdiv));
    set(opcode::MOD, Instruction::new(rem));
    set(opcode::SMOD, Instruction::new(smod));
    set(opcode::ADDMOD, Instruction::new(addmod));
    set(opcode::MULMOD, Instruction::new(mulmod));
    set(opcode::SELFBALANCE, Instruction::new(selfbalance));
    set(opcode::EXTCODESIZE, Instruction::new(extcodesize));
    set(opcode::EXTCODECOPY, Instruction::new(extcodecopy));
}

/// Puts the result of `operation` in the place of the two numbers on top.
#[inline(always)]
fn binary(
    interpreter: &mut Interpreter<EthInterpreter>,
    operation: fn(&U256, &U256) -> U256,
) -> InstructionExecResult {
    let stack = interpreter.stack.data_mut();
    let [.., b, a] = stack.as_mut_slice() else {
        return Err(InstructionResult::StackUnderflow);
    };
    *b = operation(a, b);
    stack.pop();
    Ok(())
}

/// Puts the result of `operation` in the place of the three numbers on top.
#[inline(always)]
fn ternary(
    interpreter: &mut Interpreter<EthInterpreter>,
    operation: fn(&U256, &U256, &U256) -> U256,
) -> InstructionExecResult {
    let stack = interpreter.stack.data_mut();
    let [.., c, b, a] = stack.as_mut_slice() else {
        return Err(InstructionResult::StackUnderflow);
    };
    *c = operation(a, b, c);
    stack.truncate(stack.len() - 2);
    Ok(())
}

fn div(context: Context<'_, '_, '_>) -> InstructionExecResult {
    binary(context.interpreter, arithmetic::quotient)
}

fn sdiv(context: Context<'_, '_, '_>) -> InstructionExecResult {
    binary(context.interpreter, arithmetic::signed_quotient)
}

fn rem(context: Context<'_, '_, '_>) -> InstructionExecResult {
    binary(context.interpreter, arithmetic::remainder)
}

fn smod(context: Context<'_, '_, '_>) -> InstructionExecResult {
    binary(context.interpreter, arithmetic::signed_remainder)
}

fn addmod(context: Context<'_, '_, '_>) -> InstructionExecResult {
    ternary(context.interpreter, arithmetic::sum_remainder)
}

fn mulmod(context: Context<'_, '_, '_>) -> InstructionExecResult {
    ternary(context.interpreter, arithmetic::product_remainder)
}

fn selfbalance(context: Context<'_, '_, '_>) -> InstructionExecResult {
    let running = context.interpreter.input.target_address();
    let Some(account) = context.host.journaled_state.state.get(&running) else {
        return host::selfbalance(context);
    };
    match context.interpreter.stack.push(account.info.balance) {
        true => Ok(()),
        false => Err(InstructionResult::StackOverflow),
    }
}

fn extcodesize(context: Context<'_, '_, '_>) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    let top = interpreter.stack.data().last().copied();
    let address = top.ok_or(InstructionResult::StackUnderflow)?;
    let code = code_of(interpreter, host, Address::from_word(address.into()))?;
    if let Some(top) = interpreter.stack.top() {
        *top = U256::from(code.len());
    }
    Ok(())
}

fn extcodecopy(context: Context<'_, '_, '_>) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    let Some([address, to, from, length]) = interpreter.stack.popn() else {
        return Err(InstructionResult::StackUnderflow);
    };
    let size = |number: U256| usize::try_from(number).map_err(|_| InstructionResult::InvalidOperandOOG);
    let length = size(length)?;
    if !interpreter
        .gas
        .record_regular_cost(host.gas_params().extcodecopy(length))
    {
        return Err(InstructionResult::OutOfGas);
    }
    let mut place = 0;
    if length != 0 {
        place = size(to)?;
        interpreter.resize_memory(host.gas_params(), place, length)?;
    }
    let code = code_of(interpreter, host, Address::from_word(address.into()))?;
    // The bytes beyond the end of the code are zeros.
    let from = usize::try_from(from).map_or(code.len(), |from| from.min(code.len()));
    interpreter.memory.set_data(place, from, length, &code);
    Ok(())
}

/// The code of an account, for the price of looking at it.
fn code_of(
    interpreter: &mut Interpreter<EthInterpreter>,
    host: &mut Host<'_, '_>,
    address: Address,
) -> Result<Bytes, InstructionResult> {
    let cold_gas = host.gas_params().cold_account_additional_cost();
    let is_too_dear = interpreter.gas.remaining() < cold_gas;
    let account = host.load_account_info_skip_cold_load(address, false, is_too_dear)?;
    if account.is_cold && !interpreter.gas.record_regular_cost(cold_gas) {
        return Err(InstructionResult::OutOfGas);
    }
    if let Some(code) = &account.code {
        return Ok(code.original_bytes());
    }
    let hash = account.code_hash;
    let code = host.journaled_state.database.code_bytes(hash);
    code.map_err(|fault| {
        *host.error() = Err(ContextError::Db(fault));
        InstructionResult::FatalExternalError
    })
}
