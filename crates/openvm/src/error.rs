//! Why a program or its configuration is refused. Each error says the actual value, the allowed
//! one, and what to do. To the rest of Myriad they are texts.

use myriad_engine::worker::Failure;
use thiserror::Error;

/// Why the text of an `openvm.toml` was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("openvm.toml has {actual} bytes, and {max} are allowed")]
    TooLarge { actual: usize, max: usize },
    #[error("openvm.toml is not valid: {0}")]
    Syntax(String),
    #[error("openvm.toml has no [app_vm_config] table; a plain RISC-V program needs no openvm.toml at all")]
    NoVmConfig,
    #[error("openvm.toml names the unknown extension `{name}`; OpenVM 2.0 has: {known}")]
    UnknownExtension { name: String, known: String },
    #[error("openvm.toml asks for the extension `deferral`, which this engine does not prove; remove it")]
    Deferral,
    #[error(
        "openvm.toml sets num_public_values = {actual}; it has to be a power of two, 8 to {most} (32 is usual)"
    )]
    PublicValues { actual: usize, most: usize },
    #[error(
        "openvm.toml asks for a lookup table of 2^{rows_log} rows, and 2^{most} are allowed; lower \
         range_tuple_checker_sizes"
    )]
    Table { rows_log: usize, most: usize },
    #[error("openvm.toml sets memory_config; remove it: the sizes of memory are OpenVM's own")]
    Memory,
    #[error(
        "openvm.toml sets a stacked height of 2^{actual}; this configuration allows 2^{least} to 2^{most}"
    )]
    StackedHeight {
        actual: usize,
        least: usize,
        most: usize,
    },
    #[error(
        "openvm.toml sets [system_params] other than OpenVM's own for 100 bits of security at a stacked height \
         of 2^{height}; remove the table to use those"
    )]
    SystemParams { height: usize },
}

/// Why a program was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProgramError {
    #[error("the program file is empty; it has to be a RISC-V ELF or a .vmexe")]
    Empty,
    #[error("the program has {actual} bytes, and {max} are allowed")]
    TooLarge { actual: usize, max: usize },
    #[error(
        "the program is neither an ELF (it starts with {start}, not with 7f454c46) nor a .vmexe of OpenVM \
         2.0 ({reason}); build it with `cargo openvm build`"
    )]
    NotAProgram { start: String, reason: String },
    #[error(
        "the ELF is for {actual}, not for 32-bit little-endian RISC-V; build it with `cargo openvm build` or \
         for the target riscv32im-risc0-zkvm-elf"
    )]
    WrongMachine { actual: String },
    #[error("the ELF cannot be loaded: {reason}")]
    BadElf { reason: String },
    #[error("the program has {actual} {what}, and {max} are allowed; build a smaller one")]
    TooMuch { what: String, actual: u64, max: u64 },
    #[error(
        "the program has an instruction that its VM configuration lacks: {reason}; name the extension in \
         openvm.toml"
    )]
    Unsupported { reason: String },
    #[error("the program's {what} is {actual}, and {allowed} is allowed; build it with `cargo openvm build`")]
    Code {
        what: String,
        actual: String,
        allowed: String,
    },
    #[error(
        "instruction {index} of the program (pc {pc:#x}) is {opcode} with {operand} = {actual}, where OpenVM's \
         transpiler puts {allowed}; build the program with `cargo openvm build`"
    )]
    Instruction {
        index: usize,
        pc: u32,
        opcode: String,
        operand: char,
        actual: u32,
        allowed: String,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        Self::Program(error.to_string())
    }
}
