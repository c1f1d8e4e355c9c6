//! Marks in the guest's code, by which its instructions are counted by kinds of operations.
//!
//! A [`scope`] marks the instructions of an operation, and all that they call, as of a kind. In the
//! guest, a mark is a note about an address in the code, in a section of the ELF that is not
//! loaded: no instruction is executed for it, and no proof knows of it. A program that executes the
//! guest and reads its ELF can count by kinds.
//!
//! ```text
//! section .myriad.marks: for each mark, address (4 bytes, little endian) ‖ word (4 bytes, little endian)
//! word:                  kind (8 bits) | WHOLE | LEAVE
//! ```
//!
//! A mark stands before an instruction that other code may jump to as well. So a scope of a kind
//! must not be inside another one of the same kind with nothing between: then an end that was not
//! meant is one of a kind that has not begun, and counts for nothing.

/// The kinds of operations, by the number that is in the marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// All instructions outside of any scope.
    Other = 0,
    /// The guest's allocator has this number, too.
    Memory = 1,
    Input = 2,
    State = 3,
    Code = 4,
    Keccak = 5,
    Signatures = 6,
    Body = 7,
    Transactions = 8,
    Interpreter = 9,
    Ecrecover = 10,
    Sha256 = 11,
    Ripemd160 = 12,
    Modexp = 13,
    Blake2f = 14,
    Bn254Add = 15,
    Bn254Mul = 16,
    Bn254Pairing = 17,
    PointEvaluation = 18,
    Bls12G1Add = 19,
    Bls12G1Msm = 20,
    Bls12G2Add = 21,
    Bls12G2Msm = 22,
    Bls12Pairing = 23,
    Bls12MapToG1 = 24,
    Bls12MapToG2 = 25,
    P256 = 26,
}

/// A bit of a mark: all that the operation calls is of its kind, whatever the scopes in it say.
pub const WHOLE: u32 = 1 << 8;
/// A bit of a mark: the operation ends.
pub const LEAVE: u32 = 1 << 9;

#[cfg(any(feature = "host", test))]
impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 27] = [
        Self::Other,
        Self::Memory,
        Self::Input,
        Self::State,
        Self::Code,
        Self::Keccak,
        Self::Signatures,
        Self::Body,
        Self::Transactions,
        Self::Interpreter,
        Self::Ecrecover,
        Self::Sha256,
        Self::Ripemd160,
        Self::Modexp,
        Self::Blake2f,
        Self::Bn254Add,
        Self::Bn254Mul,
        Self::Bn254Pairing,
        Self::PointEvaluation,
        Self::Bls12G1Add,
        Self::Bls12G1Msm,
        Self::Bls12G2Add,
        Self::Bls12G2Msm,
        Self::Bls12Pairing,
        Self::Bls12MapToG1,
        Self::Bls12MapToG2,
        Self::P256,
    ];

    /// The name of the kind, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Memory => "memory management",
            Self::Input => "input decoding",
            Self::State => "state and trie",
            Self::Code => "jump destinations",
            Self::Keccak => "Keccak",
            Self::Signatures => "signatures",
            Self::Body => "transactions root, receipts",
            Self::Transactions => "around transactions",
            Self::Interpreter => "interpreter",
            Self::Ecrecover => "ecrecover",
            Self::Sha256 => "SHA-256",
            Self::Ripemd160 => "RIPEMD-160",
            Self::Modexp => "MODEXP",
            Self::Blake2f => "BLAKE2F",
            Self::Bn254Add => "BN254 add",
            Self::Bn254Mul => "BN254 mul",
            Self::Bn254Pairing => "BN254 pairing",
            Self::PointEvaluation => "point evaluation",
            Self::Bls12G1Add => "BLS12-381 G1 add",
            Self::Bls12G1Msm => "BLS12-381 G1 MSM",
            Self::Bls12G2Add => "BLS12-381 G2 add",
            Self::Bls12G2Msm => "BLS12-381 G2 MSM",
            Self::Bls12Pairing => "BLS12-381 pairing",
            Self::Bls12MapToG1 => "BLS12-381 map to G1",
            Self::Bls12MapToG2 => "BLS12-381 map to G2",
            Self::P256 => "P-256",
        }
    }
}

/// Runs `run`, whose instructions are of a kind: `KIND` is the number of a [`Kind`], with [`WHOLE`]
/// where all that it calls is.
#[inline(always)]
pub fn scope<const KIND: u32, T>(run: impl FnOnce() -> T) -> T {
    mark::<KIND, 0>();
    let result = run();
    mark::<KIND, LEAVE>();
    result
}

/// Notes the address of the next instruction.
#[cfg_attr(
    target_os = "zkvm",
    expect(unsafe_code, reason = "an address in the code has no safe name")
)]
#[inline(always)]
fn mark<const KIND: u32, const END: u32>() {
    #[cfg(target_os = "zkvm")]
    // SAFETY: it has no instruction.
    unsafe {
        core::arch::asm!(
            "9997:",
            ".pushsection .myriad.marks, \"\", @progbits",
            ".4byte 9997b, {word}",
            ".popsection",
            word = const KIND | END,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_in_the_order_of_their_numbers() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{kind:?}");
        }
    }
}
