//! Blocks that spend all their gas on one operation, to measure what each operation costs a prover
//! per gas.
//!
//! Each has one transaction, or as many as its gas takes, whose contract repeats the operation in a
//! loop until there is not enough gas for one more round. `cargo bench --workspace --bench
//! operations` executes them in the VM, and the example `operation_block` writes one of any size.

use alloy_primitives::{Address, Bytes, U256, keccak256};
use revm::bytecode::opcode;

use super::{
    SampleError,
    draft::{Draft, GAS_LIMIT},
    operation_inputs::{blake2f, bls12_381, bn254, ecrecover, even_modexp, kzg, modexp, p256},
};
use crate::{Fork, host::BlockFile};

/// Gas of a transaction before its code runs, and of what its calldata may cost at most (EIP-7623).
const BASE_GAS: u64 = 21_000;
const GAS_PER_BYTE: u64 = 40;
/// Gas for the code after the loop, with the look at the gas that is left.
const END_GAS: u64 = 25_000;
/// Most bytes of output that a precompile has.
const OUTPUT_BYTES: usize = 256;
/// Copies of a cheap instruction in the loop, so that the loop itself hardly counts.
const REPEATED: usize = 200;
/// The number of contracts of 24 KiB that a transaction can look at: at least this many, and one
/// for each `GAS_PER_CONTRACT` of gas, of which the address in the calldata takes 368.
const CONTRACTS_MIN: usize = 400;
const GAS_PER_CONTRACT: u64 = 3_000;
const CONTRACT_BYTES: usize = 24 << 10;

/// An operation that a block can be full of.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The operation, and its size.
    pub name: String,
    /// One round of the loop, which leaves the stack as it was. Memory begins with the input.
    round: String,
    /// The code before the loop, and after it.
    setup: String,
    end: String,
    input: Bytes,
    /// Most gas of a round.
    round_gas: u64,
    /// The byte that fills the contracts of 24 KiB whose addresses are in the calldata.
    contracts: Option<u8>,
    /// Nothing is called: each transaction is a transfer.
    is_transfer: bool,
    fork: Fork,
}

impl Operation {
    fn of(name: impl Into<String>, round: impl Into<String>, round_gas: u64) -> Self {
        Self {
            name: name.into(),
            round: round.into(),
            setup: String::new(),
            end: String::new(),
            input: Bytes::new(),
            round_gas,
            contracts: None,
            is_transfer: false,
            fork: Fork::Osaka,
        }
    }

    /// A few instructions, many times.
    fn repeated(name: &str, instructions: &str, gas: u64) -> Self {
        Self::of(
            name,
            format!("{instructions} ").repeat(REPEATED),
            gas * REPEATED as u64,
        )
    }

    fn with_setup(mut self, setup: &str) -> Self {
        self.setup = setup.into();
        self
    }

    /// Keeps a result, so that a wrong one leads to another state.
    fn with_end(mut self, end: &str) -> Self {
        self.end = end.into();
        self
    }

    /// A call of a precompile with an input. A hash of the last output is kept.
    fn precompile(name: &str, address: u64, input: impl Into<Bytes>, gas: u64) -> Self {
        let input = input.into();
        let size = input.len();
        let call =
            format!("PUSH {OUTPUT_BYTES} PUSH {size} PUSH {size} PUSH 0 PUSH {address} GAS STATICCALL POP");
        Self {
            input,
            ..Self::of(name, call, gas + 200)
        }
        .with_end(&format!(
            "PUSH {OUTPUT_BYTES} PUSH {size} KECCAK256 PUSH 0 SSTORE"
        ))
    }

    /// A block with this much gas, of the newest fork unless the name says another, of which each
    /// transaction leaves at most one round.
    ///
    /// # Errors
    /// [`SampleError::OutOfBounds`] if the gas is not enough for one round, or more than
    /// [`GAS_MAX`](Self::GAS_MAX), and mistakes in this crate.
    pub fn block(&self, gas: u64) -> Result<BlockFile, SampleError> {
        let mut draft = Draft::new(self.fork);
        let least = self.gas_min();
        if !(least..=Self::GAS_MAX).contains(&gas) {
            return Err(SampleError::OutOfBounds {
                what: "the gas of the block",
                actual: gas as usize,
                min: least as usize,
                max: Self::GAS_MAX as usize,
            });
        }
        draft.gas_limit = gas.max(GAS_LIMIT);
        if self.is_transfer {
            for _ in 0..gas / BASE_GAS {
                let to = draft.rng.address();
                draft.transfer(to, U256::ONE, BASE_GAS);
            }
        } else {
            self.call_contract(&mut draft, gas)?;
        }
        let mut file = draft.file()?;
        file.description = Some(format!("A made-up block of no real chain, full of {}", self.name));
        Ok(file)
    }

    /// Calls it by as few transactions as have room for the gas, with the same gas each.
    fn call_contract(&self, draft: &mut Draft, gas: u64) -> Result<(), SampleError> {
        let source = format!(
            "CALLDATASIZE PUSH 0 PUSH 0 CALLDATACOPY {}
            again: {}
            PUSH {} GAS GT PUSH @again JUMPI {} STOP",
            self.setup,
            self.round,
            self.round_gas + END_GAS,
            self.end,
        );
        let contract = draft.deploy(&source, U256::ZERO, &[])?;
        let transactions = gas.div_ceil(Self::TRANSACTION_GAS_MAX);
        let gas = gas / transactions;
        for transaction in 0..transactions as usize {
            let input = match self.contracts {
                Some(fill) => {
                    let count = CONTRACTS_MIN.max((gas / GAS_PER_CONTRACT) as usize);
                    let numbers = (0..count).map(|i| count * transaction + i);
                    let addresses = numbers.map(|number| large_contract(draft, number, fill));
                    addresses.flat_map(|address| address.into_word().0).collect()
                }
                None => self.input.clone(),
            };
            draft.with_gas(contract, input, gas);
        }
        Ok(())
    }

    /// Gas of a transaction that has two rounds.
    pub fn gas_min(&self) -> u64 {
        let input = match self.contracts {
            Some(_) => 32 * CONTRACTS_MIN,
            None => self.input.len(),
        };
        BASE_GAS + GAS_PER_BYTE * input as u64 + 2 * self.round_gas + 100_000
    }

    /// Most gas of a transaction (EIP-7825).
    const TRANSACTION_GAS_MAX: u64 = 1 << 24;
    /// Most gas of a block: twice as much as Ethereum's have.
    pub const GAS_MAX: u64 = 120_000_000;
}

/// A contract with a code that no other one has, and that stops at once.
fn large_contract(draft: &mut Draft, number: usize, fill: u8) -> Address {
    let mut code = vec![fill; CONTRACT_BYTES];
    code[0] = opcode::STOP;
    let hash = keccak256(number.to_be_bytes());
    code[1..33].copy_from_slice(&hash[..]);
    let address = draft.rng.address();
    draft.chain_state.deploy(address, code.into(), Default::default());
    address
}

/// No operation: the cost of a block with nothing in it.
pub fn nothing() -> Operation {
    Operation::of("nothing", "", 0).with_setup("STOP")
}

/// A MODEXP, a point evaluation, a pairing and a MULMOD of what they give: little enough to be
/// proven whole.
pub fn together() -> Operation {
    let calls = [(5, modexp(32, 256, 32)), (0xa, kzg()), (8, bn254::pairs(2))];
    let mut input = Vec::new();
    let mut code = String::from("PUSH 0 ");
    for (address, bytes) in calls {
        code += &format!(
            "PUSH 64 PUSH 0x2000 PUSH {} PUSH {} PUSH {address} GAS STATICCALL ADD
             PUSH 0x2000 MLOAD ADD ",
            bytes.len(),
            input.len()
        );
        input.extend(bytes);
    }
    code += &format!(
        "PUSH {} PUSH {} DUP3 MULMOD PUSH 0 SSTORE STOP",
        bits(256),
        bits(255)
    );
    Operation {
        input: input.into(),
        ..Operation::of("precompiles together", "", 210_000).with_setup(&code)
    }
}

/// The operations that may cost a prover much.
pub fn operations() -> Vec<Operation> {
    [precompiles(), arithmetic(), instructions(), state(), creations()].concat()
}

#[expect(clippy::too_many_lines, reason = "a list of operations")]
fn precompiles() -> Vec<Operation> {
    let precompile = Operation::precompile;
    let sha256 = |bytes: usize| {
        let gas = 60 + 12 * bytes.div_ceil(32) as u64;
        precompile(&format!("SHA-256 of {bytes} bytes"), 2, vec![7; bytes], gas)
    };
    let g1_msm = |count: usize, gas| {
        precompile(
            &format!("BLS12-381 G1 MSM of {count}"),
            0xc,
            bls12_381::g1_terms(count),
            gas,
        )
    };
    let g2_msm = |count: usize, gas| {
        precompile(
            &format!("BLS12-381 G2 MSM of {count}"),
            0xe,
            bls12_381::g2_terms(count),
            gas,
        )
    };
    let modexp = |base: usize, exponent_bits: usize, modulus: usize, gas| {
        let name = format!("MODEXP of {base} bytes, {exponent_bits} bits, modulo {modulus} bytes");
        precompile(&name, 5, modexp(base, exponent_bits, modulus), gas)
    };
    vec![
        precompile("ecrecover", 1, ecrecover(), 3_000),
        sha256(0),
        sha256(55),
        sha256(1_024),
        sha256(16_384),
        precompile("RIPEMD-160 of 1024 bytes", 3, vec![7; 1_024], 4_440),
        precompile("identity of 1024 bytes", 4, vec![7; 1_024], 111),
        modexp(32, 256, 32, 8_160),
        precompile(
            "MODEXP of 32 bytes, 256 bits, even modulus",
            5,
            even_modexp(32, 256, 32),
            8_160,
        ),
        modexp(64, 512, 64, 98_400),
        modexp(8, 8_192, 8, 260_000),
        modexp(8, 8_192, 8, 2_730).of_prague(),
        precompile(
            "MODEXP of 8 bytes, 8192 bits, even modulus",
            5,
            even_modexp(8, 8_192, 8),
            2_730,
        )
        .of_prague(),
        modexp(16, 320, 16, 425).of_prague(),
        modexp(32, 256, 32, 1_360).of_prague(),
        modexp(256, 17, 256, 32_768),
        modexp(512, 17, 512, 131_072),
        modexp(1_024, 2, 1_024, 40_000),
        precompile("BN254 add", 6, bn254::sum(), 150),
        precompile("BN254 mul", 7, bn254::product(), 6_000),
        precompile("BN254 pairing of 2", 8, bn254::pairs(2), 113_000),
        precompile("BN254 pairing of 8", 8, bn254::pairs(8), 317_000),
        precompile("BLAKE2F of 1 round", 9, blake2f(1), 1),
        precompile("BLAKE2F of 12 rounds", 9, blake2f(12), 12),
        precompile("BLAKE2F of 1000 rounds", 9, blake2f(1_000), 1_000),
        precompile("point evaluation", 0xa, kzg(), 50_000),
        precompile("BLS12-381 G1 add", 0xb, bls12_381::g1_sum(), 375),
        g1_msm(1, 12_000),
        g1_msm(16, 129_984),
        precompile("BLS12-381 G2 add", 0xd, bls12_381::g2_sum(), 600),
        g2_msm(1, 22_500),
        g2_msm(16, 258_120),
        precompile("BLS12-381 pairing of 1", 0xf, bls12_381::pairs(1), 70_300),
        precompile("BLS12-381 pairing of 4", 0xf, bls12_381::pairs(4), 168_100),
        precompile("BLS12-381 map to G1", 0x10, bls12_381::number(), 5_500),
        precompile("BLS12-381 map to G2", 0x11, bls12_381::complex_number(), 23_800),
        precompile("P-256 signature", 0x100, p256(), 6_900),
    ]
}

/// A number of this many bits that looks random.
fn bits(bits: usize) -> U256 {
    U256::from_be_bytes(keccak256([bits as u8]).0) >> (256 - bits) | U256::ONE << (bits - 1)
}

fn arithmetic() -> Vec<Operation> {
    // The operands stay on the stack, the first one on top.
    let two = |name: &str, a: usize, b: usize, gas: u64| {
        Operation::repeated(
            &format!("{name} of {a} by {b} bits"),
            &format!("DUP2 DUP2 {name} POP"),
            gas + 8,
        )
        .with_setup(&format!("PUSH {} PUSH {}", bits(b), bits(a)))
        .with_end(&format!("DUP2 DUP2 {name} PUSH 0 SSTORE"))
    };
    let three = |name: &str, modulus: usize| {
        Operation::repeated(
            &format!("{name} modulo {modulus} bits"),
            &format!("DUP3 DUP3 DUP3 {name} POP"),
            8 + 11,
        )
        .with_setup(&format!(
            "PUSH {} PUSH {} PUSH {}",
            bits(modulus),
            bits(255),
            bits(256)
        ))
        .with_end(&format!("DUP3 DUP3 DUP3 {name} PUSH 0 SSTORE"))
    };
    vec![
        two("ADD", 256, 255, 3),
        two("MUL", 256, 255, 5),
        two("DIV", 256, 129, 5),
        two("SDIV", 255, 129, 5),
        two("MOD", 256, 129, 5),
        two("EXP", 256, 256, 1_610),
        two("LT", 256, 255, 3),
        two("BYTE", 4, 256, 3),
        two("SHL", 8, 256, 3),
        two("SAR", 8, 256, 3),
        two("SIGNEXTEND", 4, 256, 5),
        three("ADDMOD", 129),
        three("ADDMOD", 256),
        three("MULMOD", 129),
        three("MULMOD", 193),
        three("MULMOD", 256),
        Operation::repeated("CLZ", "PUSH 1 CLZ POP", 10),
    ]
}

fn instructions() -> Vec<Operation> {
    let repeated = Operation::repeated;
    let copy = |name: &str, source: &str| {
        let gas = 3 + 3 * 512 + 30;
        Operation::of(format!("{name} of 16 KiB"), source.to_owned(), gas)
            .with_setup("PUSH 0 PUSH 0x9000 MSTORE")
    };
    vec![
        repeated("JUMPDEST", "JUMPDEST", 1),
        repeated("PUSH32", &format!("PUSH {} POP", bits(256)), 5),
        repeated("DUP1", "DUP1 POP", 5).with_setup("PUSH 1"),
        repeated("SWAP1", "SWAP1", 3).with_setup("PUSH 1 PUSH 2"),
        repeated("GAS", "GAS POP", 4),
        repeated("CALLER", "CALLER POP", 4),
        repeated("SELFBALANCE", "SELFBALANCE POP", 7),
        repeated("MLOAD", "PUSH 0 MLOAD POP", 7),
        repeated("MSTORE", "PUSH 1 PUSH 0 MSTORE", 9),
        repeated("KECCAK256 of 0 bytes", "PUSH 0 PUSH 0 KECCAK256 POP", 36),
        repeated("KECCAK256 of 136 bytes", "PUSH 136 PUSH 0 KECCAK256 POP", 70),
        copy("KECCAK256", "PUSH 0x4000 PUSH 0 KECCAK256 POP").with_round_gas(6_000),
        copy("MCOPY", "PUSH 0x4000 PUSH 0x4000 PUSH 0 MCOPY"),
        copy("CALLDATACOPY", "PUSH 0x4000 PUSH 0 PUSH 0 CALLDATACOPY"),
        copy("CODECOPY", "PUSH 0x4000 PUSH 0 PUSH 0 CODECOPY"),
        repeated("TLOAD", "PUSH 1 TLOAD POP", 105),
        repeated("TSTORE", "PUSH 1 PUSH 1 TSTORE", 106),
        repeated("LOG0 of 0 bytes", "PUSH 0 PUSH 0 LOG0", 380),
        repeated(
            "STATICCALL of an account without code",
            "PUSH 0 PUSH 0 PUSH 0 PUSH 0 CALLER GAS STATICCALL POP",
            2_620,
        ),
    ]
}

fn state() -> Vec<Operation> {
    let repeated = Operation::repeated;
    // The next address of the calldata, which is copied to memory; the place is on the stack.
    let each_contract = |name: &str, instructions: &str| Operation {
        contracts: Some(opcode::STOP),
        ..Operation::of(
            format!("{name} of contracts of 24 KiB, cold"),
            format!("{instructions} PUSH 32 ADD"),
            2_700,
        )
        .with_setup("PUSH 0")
    };
    let static_call = "PUSH 0 PUSH 0 PUSH 0 PUSH 0 DUP5 MLOAD GAS STATICCALL POP";
    vec![
        repeated("BALANCE, warm", "ADDRESS BALANCE POP", 104),
        repeated("EXTCODEHASH, warm", "ADDRESS EXTCODEHASH POP", 104),
        repeated("EXTCODESIZE, warm", "ADDRESS EXTCODESIZE POP", 104),
        each_contract("BALANCE", "DUP1 MLOAD BALANCE POP"),
        each_contract("EXTCODEHASH", "DUP1 MLOAD EXTCODEHASH POP"),
        each_contract("EXTCODESIZE", "DUP1 MLOAD EXTCODESIZE POP"),
        each_contract(
            "EXTCODECOPY of 1 byte",
            "PUSH 1 PUSH 0 PUSH 0x4000 DUP4 MLOAD EXTCODECOPY",
        ),
        each_contract("STATICCALL", static_call),
        Operation {
            contracts: Some(opcode::JUMPDEST),
            ..each_contract("STATICCALL to JUMPDESTs", static_call)
        },
        repeated("SLOAD, warm", "PUSH 1 SLOAD POP", 105),
        // Each transaction has another caller, and so other slots.
        Operation::of("SLOAD of absent slots, cold", "DUP1 SLOAD POP PUSH 1 ADD", 2_200).with_setup("CALLER"),
        Operation::of(
            "BALANCE of absent accounts, cold",
            "DUP1 BALANCE POP PUSH 1 ADD",
            2_700,
        )
        .with_setup("CALLER PUSH 1 ADD"),
        Operation::of("SSTORE of new slots", "DUP1 DUP1 SSTORE PUSH 1 ADD", 22_200).with_setup("CALLER"),
        repeated("SSTORE, warm", "PUSH 1 PUSH 1 SSTORE", 106),
    ]
}

/// Contracts that come into being, and accounts.
fn creations() -> Vec<Operation> {
    // The code of a creation returns so many zeros from its memory.
    let create = |name: &str, [upper, lower]: [u8; 2], gas: u64| {
        let init = [opcode::PUSH2, upper, lower, opcode::PUSH0, opcode::RETURN];
        let size = init.len();
        Operation {
            input: Bytes::copy_from_slice(&init),
            ..Operation::of(name, format!("PUSH {size} PUSH 0 PUSH 0 CREATE POP"), gas)
        }
    };
    // All of memory is full of it, by copies of twice as much each.
    let jumpdests = U256::from_be_bytes([opcode::JUMPDEST; 32]);
    let doubled = (5..16).map(|exponent| 1 << exponent);
    let doubled: String = doubled
        .map(|size: usize| format!("PUSH {size} PUSH 0 PUSH {size} MCOPY "))
        .collect();
    vec![
        create("CREATE of an empty code", [0, 0], 32_100),
        create("CREATE of a code of 24 KiB", [0x60, 0], 5_050_000),
        Operation::of(
            "CREATE by 48 KiB of JUMPDEST",
            format!("PUSH {} PUSH 0 PUSH 0 CREATE POP", 2 * CONTRACT_BYTES),
            86_000,
        )
        .with_setup(&format!("PUSH {jumpdests} PUSH 0 MSTORE {doubled}")),
        Operation {
            is_transfer: true,
            ..Operation::of("transfers to new accounts", "", 0)
        },
    ]
}

impl Operation {
    /// Before Osaka's prices.
    fn of_prague(mut self) -> Self {
        self.name += ", before Osaka";
        self.fork = Fork::Prague;
        self
    }

    fn with_round_gas(mut self, round_gas: u64) -> Self {
        self.round_gas = round_gas;
        self
    }
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
