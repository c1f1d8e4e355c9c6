//! The EVM that a block runs on: revm's, with what revm and alloy-evm leave out of the rules, or
//! ask too much for.
//!
//! Called by [`run`](super::run), through alloy-evm's block executor. Each difference to revm's own
//! EVM stands beside the code that makes it:
//!
//! - system calls have the gas that their EIPs give them, and the queues of requests have to be
//!   there: [`Evm::transact_system_call`];
//! - nothing is created where storage is: [`EvmTr::frame_init`];
//! - a call that cannot begin needs no code: [`call`];
//! - some instructions do the same for less: [`instructions`].

use alloc::{format, string::String, vec::Vec};
use alloy_eips::{
    eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
};
use alloy_evm::{Evm, EvmEnv};
use alloy_primitives::{Address, Bytes, TxKind};
use revm::{
    Context, Database as _, MainContext as _,
    bytecode::{Bytecode, opcode},
    context::{BlockEnv, CfgEnv, ContextSetters as _, Evm as RevmEvm, FrameStack, JournalTr as _, TxEnv},
    context_interface::{
        ContextTr as _,
        context::ContextError,
        result::{EVMError, ExecutionResult, HaltReason, Output, ResultAndState, ResultGas, SuccessReason},
    },
    handler::{
        EthFrame, EthPrecompiles, EvmTr, FrameInitOrResult, FrameResult, Handler as _, ItemOrResult,
        MainnetHandler, evm::ContextDbError, evm::FrameInitResult, instructions::EthInstructions,
    },
    interpreter::{
        CreateInputs, FrameInput, Instruction, InstructionContext, InstructionExecResult,
        instructions::contract, interpreter::EthInterpreter, interpreter_action::FrameInit,
        interpreter_types::InputsTr as _,
    },
    primitives::{KECCAK_EMPTY, constants::CALL_STACK_LIMIT, hardfork::SpecId},
};

use super::instructions::{self, Host};
use crate::{
    RuleSet,
    accounting::{Kind, scope},
    state::{Unrun, WitnessState},
};

/// Gas of a system call (EIP-2935, 4788, 7002, 7251).
const SYSTEM_CALL_GAS: u64 = 30_000_000;

const TRANSACTIONS: u32 = Kind::Transactions as u32;
const INTERPRETER: u32 = Kind::Interpreter as u32;

type Rules<'s, 'w> = MainnetHandler<BlockEvm<'s, 'w>, <BlockEvm<'s, 'w> as Evm>::Error, EthFrame>;
type Fault<'s, 'w> = ContextDbError<Host<'s, 'w>>;

/// An EVM for the blocks of one fork.
pub(super) struct BlockEvm<'s, 'w> {
    inner: RevmEvm<Host<'s, 'w>, (), EthInstructions<EthInterpreter, Host<'s, 'w>>, EthPrecompiles, EthFrame>,
    rules: RuleSet,
}

impl<'s, 'w> BlockEvm<'s, 'w> {
    pub(super) fn new(state: &'s mut WitnessState<'w>, env: EvmEnv, rules: RuleSet) -> Self {
        let spec = env.cfg_env.spec;
        let mut instructions = EthInstructions::new_mainnet_with_spec(spec);
        instructions::replace(&mut instructions);
        let table = instructions.instruction_table_mut();
        table[usize::from(opcode::CALL)] = Instruction::new(call::<{ opcode::CALL }>);
        table[usize::from(opcode::CALLCODE)] = Instruction::new(call::<{ opcode::CALLCODE }>);
        table[usize::from(opcode::DELEGATECALL)] = Instruction::new(call::<{ opcode::DELEGATECALL }>);
        table[usize::from(opcode::STATICCALL)] = Instruction::new(call::<{ opcode::STATICCALL }>);
        let context = Context::mainnet()
            .with_db(state)
            .with_block(env.block_env)
            .with_cfg(env.cfg_env);
        Self {
            inner: RevmEvm::new(context, instructions, EthPrecompiles::new(spec)),
            rules,
        }
    }

    /// The address that a creation leads to, if all that is there is storage.
    ///
    /// revm looks at nonce and code of an address, as EIP-684 has it, and not at its storage
    /// (EIP-7610). Such accounts are older than EIP-161.
    fn created_over_storage(
        &mut self,
        inputs: &CreateInputs,
        depth: usize,
    ) -> Result<Option<Address>, Fault<'s, 'w>> {
        // Where revm does not get as far as to look at the address, it must not be loaded here: it
        // would be warm.
        if depth > CALL_STACK_LIMIT as usize {
            return Ok(None);
        }
        let journal = &mut self.inner.ctx.journaled_state;
        let caller = &journal.load_account(inputs.caller())?.data.info;
        if caller.balance < inputs.value() || caller.nonce == u64::MAX {
            return Ok(None);
        }
        let address = inputs.created_address(caller.nonce);
        let there = &journal.load_account(address)?.data.info;
        let is_bare = there.nonce == 0 && there.code_hash == KECCAK_EMPTY;
        Ok((is_bare && journal.database.has_storage(address)).then_some(address))
    }

    fn set_nonce(&mut self, address: Address, nonce: u64) {
        if let Some(account) = self.inner.ctx.journaled_state.state.get_mut(&address) {
            account.info.nonce = nonce;
        }
    }
}

impl<'s, 'w> EvmTr for BlockEvm<'s, 'w> {
    type Context = Host<'s, 'w>;
    type Instructions = EthInstructions<EthInterpreter, Host<'s, 'w>>;
    type Precompiles = EthPrecompiles;
    type Frame = EthFrame;

    fn all(
        &self,
    ) -> (
        &Self::Context,
        &Self::Instructions,
        &Self::Precompiles,
        &FrameStack<EthFrame>,
    ) {
        self.inner.all()
    }

    fn all_mut(
        &mut self,
    ) -> (
        &mut Self::Context,
        &mut Self::Instructions,
        &mut Self::Precompiles,
        &mut FrameStack<EthFrame>,
    ) {
        self.inner.all_mut()
    }

    fn frame_init(&mut self, init: FrameInit) -> Result<FrameInitResult<'_, EthFrame>, Fault<'s, 'w>> {
        let occupied = match &init.frame_input {
            FrameInput::Create(inputs) => self.created_over_storage(inputs, init.depth)?,
            _ => None,
        };
        let Some(address) = occupied else {
            return scope::<INTERPRETER, _>(|| self.inner.frame_init(init));
        };
        // With a nonce, revm finds the collision itself, and does all else that follows from one.
        self.set_nonce(address, 1);
        let result = match self.inner.frame_init(init)? {
            ItemOrResult::Result(result) => result,
            ItemOrResult::Item(_) => {
                let message = String::from("a creation over storage has begun");
                return Err(ContextError::Custom(message));
            }
        };
        self.set_nonce(address, 0);
        Ok(ItemOrResult::Result(result))
    }

    fn frame_run(&mut self) -> Result<FrameInitOrResult<EthFrame>, Fault<'s, 'w>> {
        scope::<INTERPRETER, _>(|| self.inner.frame_run())
    }

    fn frame_return_result(&mut self, result: FrameResult) -> Result<Option<FrameResult>, Fault<'s, 'w>> {
        scope::<INTERPRETER, _>(|| self.inner.frame_return_result(result))
    }
}

impl<'s, 'w> Evm for BlockEvm<'s, 'w> {
    type DB = &'s mut WitnessState<'w>;
    type Tx = TxEnv;
    type Error = EVMError<<WitnessState<'w> as revm::Database>::Error>;
    type HaltReason = HaltReason;
    type Spec = SpecId;
    type BlockEnv = BlockEnv;
    type Precompiles = EthPrecompiles;
    type Inspector = ();

    fn block(&self) -> &BlockEnv {
        &self.inner.ctx.block
    }

    fn cfg_env(&self) -> &CfgEnv {
        &self.inner.ctx.cfg
    }

    fn chain_id(&self) -> u64 {
        self.inner.ctx.cfg.chain_id
    }

    fn transact_raw(&mut self, tx: TxEnv) -> Result<ResultAndState, Self::Error> {
        scope::<TRANSACTIONS, _>(|| {
            self.inner.ctx.set_tx(tx);
            let result = Rules::<'s, 'w>::default().run(self)?;
            let state = self.inner.ctx.journal_mut().finalize();
            Ok(ResultAndState::new(result, state))
        })
    }

    /// revm gives a system call the gas of a fork to come as well, which a contract can see by GAS.
    /// And alloy-evm takes a queue of requests that has no code for an empty one, where its EIP has
    /// the block be invalid; or calls it on a chain that has none.
    fn transact_system_call(
        &mut self,
        caller: Address,
        contract: Address,
        data: Bytes,
    ) -> Result<ResultAndState, Self::Error> {
        let queues = [
            WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
            CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
        ];
        if queues.contains(&contract) && !self.rules.has_request_queues {
            let nothing = ExecutionResult::Success {
                reason: SuccessReason::Stop,
                gas: ResultGas::default(),
                logs: Vec::new(),
                output: Output::Call(Bytes::new()),
            };
            return Ok(ResultAndState::new(nothing, Default::default()));
        }
        if queues.contains(&contract) {
            let account = self.db_mut().basic(contract).map_err(EVMError::Database)?;
            if account.is_none_or(|account| account.code_hash == KECCAK_EMPTY) {
                let message = format!("there is no code at {contract}, which EIP-7002 and EIP-7251 ask for");
                return Err(EVMError::Custom(message));
            }
        }
        let tx = TxEnv {
            caller,
            kind: TxKind::Call(contract),
            data,
            gas_limit: SYSTEM_CALL_GAS,
            ..TxEnv::default()
        };
        scope::<TRANSACTIONS, _>(|| {
            self.inner.ctx.set_tx(tx);
            let result = Rules::<'s, 'w>::default().run_system_call(self)?;
            let state = self.inner.ctx.journal_mut().finalize();
            Ok(ResultAndState::new(result, state))
        })
    }

    fn finish(self) -> (Self::DB, EvmEnv) {
        let Context {
            block,
            cfg,
            journaled_state,
            ..
        } = self.inner.ctx;
        (journaled_state.database, EvmEnv::new(cfg, block))
    }

    /// There is none.
    fn set_inspector_enabled(&mut self, _enabled: bool) {}

    fn components(&self) -> (&Self::DB, &(), &EthPrecompiles) {
        let inner = &self.inner;
        (
            &inner.ctx.journaled_state.database,
            &inner.inspector,
            &inner.precompiles,
        )
    }

    fn components_mut(&mut self) -> (&mut Self::DB, &mut (), &mut EthPrecompiles) {
        let inner = &mut self.inner;
        (
            &mut inner.ctx.journaled_state.database,
            &mut inner.inspector,
            &mut inner.precompiles,
        )
    }
}

/// CALL, CALLCODE, DELEGATECALL and STATICCALL.
///
/// revm loads the callee's code before it looks whether the call can begin at all. geth looks
/// first, and so its witness lacks the code of what is only called with more value than the caller
/// has, or from the deepest frame.
fn call<const KIND: u8>(
    context: InstructionContext<'_, Host<'_, '_>, EthInterpreter>,
) -> InstructionExecResult {
    match unrun_callee::<KIND>(&context) {
        None => contract::call::<KIND, _, _>(context),
        Some(callee) => call_unrun::<KIND>(context, callee),
    }
}

/// The callee of a call that ends before the callee's first instruction.
fn unrun_callee<const KIND: u8>(
    context: &InstructionContext<'_, Host<'_, '_>, EthInterpreter>,
) -> Option<Address> {
    let interpreter = &*context.interpreter;
    let [.., value, callee, _gas] = interpreter.stack.data().as_slice() else {
        return None;
    };
    let is_too_deep = interpreter.input.depth() >= CALL_STACK_LIMIT as usize;
    let is_too_dear = || {
        let pays = matches!(KIND, opcode::CALL | opcode::CALLCODE) && !value.is_zero();
        let caller = interpreter.input.target_address();
        let caller = pays
            .then(|| context.host.journaled_state.state.get(&caller))
            .flatten();
        caller.is_some_and(|caller| caller.info.balance < *value)
    };
    (is_too_deep || is_too_dear()).then(|| Address::from_word((*callee).into()))
}

#[cold]
fn call_unrun<const KIND: u8>(
    context: InstructionContext<'_, Host<'_, '_>, EthInterpreter>,
    callee: Address,
) -> InstructionExecResult {
    let InstructionContext { interpreter, host } = context;
    // From Prague on, the callee's own code says whether the call is delegated, and so what it
    // costs.
    let is_code_read = host.cfg.spec.is_enabled_in(SpecId::PRAGUE);
    host.journaled_state
        .database
        .begin_unrun(Unrun { callee, is_code_read });
    let context = InstructionContext {
        interpreter,
        host: &mut *host,
    };
    let result = contract::call::<KIND, _, _>(context);
    if let Some(hash) = host.journaled_state.database.end_unrun() {
        // An instruction that looks at this code afterwards has to find that it is missing.
        let accounts = &mut host.journaled_state.state;
        let code = accounts
            .get(&callee)
            .and_then(|account| account.info.code.as_ref());
        let delegate = code.and_then(Bytecode::eip7702_address);
        for address in [Some(callee), delegate].into_iter().flatten() {
            let account = accounts.get_mut(&address);
            if let Some(account) = account.filter(|account| account.info.code_hash == hash) {
                account.info.code = None;
            }
        }
    }
    result
}
