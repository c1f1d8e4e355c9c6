//! Counts the work of a block in the precompiles that the guest can do by the VM's instructions, or
//! in software.

use std::cell::Cell;

use revm::precompile::{Crypto, DefaultCrypto, PrecompileHalt};

thread_local! {
    /// Instructions of the calls on this thread.
    static IN_SOFTWARE: Cell<u64> = const { Cell::new(0) };
}

/// Calls `validate`, and counts the instructions that its precompiles would take a guest that does
/// them in software; `ecrecover` and those that are always in software do not count. The counts are
/// estimates, from blocks that were full of one precompile (`cargo bench --workspace --bench
/// operations`).
///
/// It counts nothing if this process has called a precompile before the first call of this
/// function.
pub fn in_software<T>(validate: impl FnOnce() -> T) -> (T, u64) {
    // The error says only that there is one already.
    revm::precompile::install_crypto(Counting);
    IN_SOFTWARE.set(0);
    let result = validate();
    (result, IN_SOFTWARE.get())
}

/// Instructions of a block of SHA-256, which has 64 bytes.
const SHA256_BLOCK: u64 = 4_000;
const BN254_ADD: u64 = 150_000;
const BN254_MUL: u64 = 4_800_000;
const BN254_PAIRING: u64 = 36_000_000;
const BN254_PAIR: u64 = 9_300_000;
const P256_VERIFY: u64 = 10_000_000;
const POINT_EVALUATION: u64 = 139_000_000;
const BLS12_G1_ADD: u64 = 320_000;
const BLS12_G2_ADD: u64 = 480_000;
const BLS12_MSM: u64 = 11_000_000;
const BLS12_G1_TERM: u64 = 3_300_000;
const BLS12_G2_TERM: u64 = 7_700_000;
const BLS12_PAIRING: u64 = 65_000_000;
const BLS12_PAIR: u64 = 10_000_000;
const BLS12_MAP_TO_G1: u64 = 6_100_000;
const BLS12_MAP_TO_G2: u64 = 19_000_000;

fn count(instructions: u64) {
    IN_SOFTWARE.set(IN_SOFTWARE.get().saturating_add(instructions));
}

/// Counts the terms as they are taken.
fn counted<T>(
    terms: &mut dyn Iterator<Item = Result<T, PrecompileHalt>>,
    instructions: u64,
) -> impl Iterator<Item = Result<T, PrecompileHalt>> {
    terms.inspect(move |_| count(instructions))
}

/// revm's own, counted.
#[derive(Debug)]
struct Counting;

type G1 = ([u8; 48], [u8; 48]);
type G2 = ([u8; 48], [u8; 48], [u8; 48], [u8; 48]);

impl Crypto for Counting {
    fn sha256(&self, input: &[u8]) -> [u8; 32] {
        count(SHA256_BLOCK * (input.len() as u64 / 64 + 1));
        DefaultCrypto.sha256(input)
    }

    fn bn254_g1_add(&self, a: &[u8], b: &[u8]) -> Result<[u8; 64], PrecompileHalt> {
        count(BN254_ADD);
        DefaultCrypto.bn254_g1_add(a, b)
    }

    fn bn254_g1_mul(&self, point: &[u8], scalar: &[u8]) -> Result<[u8; 64], PrecompileHalt> {
        count(BN254_MUL);
        DefaultCrypto.bn254_g1_mul(point, scalar)
    }

    fn bn254_pairing_check(&self, pairs: &[(&[u8], &[u8])]) -> Result<bool, PrecompileHalt> {
        count(BN254_PAIRING + BN254_PAIR * pairs.len() as u64);
        DefaultCrypto.bn254_pairing_check(pairs)
    }

    fn secp256r1_verify_signature(&self, digest: &[u8; 32], signature: &[u8; 64], key: &[u8; 64]) -> bool {
        count(P256_VERIFY);
        DefaultCrypto.secp256r1_verify_signature(digest, signature, key)
    }

    fn verify_kzg_proof(
        &self,
        z: &[u8; 32],
        y: &[u8; 32],
        commitment: &[u8; 48],
        proof: &[u8; 48],
    ) -> Result<(), PrecompileHalt> {
        count(POINT_EVALUATION);
        DefaultCrypto.verify_kzg_proof(z, y, commitment, proof)
    }

    fn bls12_381_g1_add(&self, a: G1, b: G1) -> Result<[u8; 96], PrecompileHalt> {
        count(BLS12_G1_ADD);
        DefaultCrypto.bls12_381_g1_add(a, b)
    }

    fn bls12_381_g1_msm(
        &self,
        terms: &mut dyn Iterator<Item = Result<(G1, [u8; 32]), PrecompileHalt>>,
    ) -> Result<[u8; 96], PrecompileHalt> {
        count(BLS12_MSM);
        DefaultCrypto.bls12_381_g1_msm(&mut counted(terms, BLS12_G1_TERM))
    }

    fn bls12_381_g2_add(&self, a: G2, b: G2) -> Result<[u8; 192], PrecompileHalt> {
        count(BLS12_G2_ADD);
        DefaultCrypto.bls12_381_g2_add(a, b)
    }

    fn bls12_381_g2_msm(
        &self,
        terms: &mut dyn Iterator<Item = Result<(G2, [u8; 32]), PrecompileHalt>>,
    ) -> Result<[u8; 192], PrecompileHalt> {
        count(BLS12_MSM);
        DefaultCrypto.bls12_381_g2_msm(&mut counted(terms, BLS12_G2_TERM))
    }

    fn bls12_381_pairing_check(&self, pairs: &[(G1, G2)]) -> Result<bool, PrecompileHalt> {
        count(BLS12_PAIRING + BLS12_PAIR * pairs.len() as u64);
        DefaultCrypto.bls12_381_pairing_check(pairs)
    }

    fn bls12_381_fp_to_g1(&self, number: &[u8; 48]) -> Result<[u8; 96], PrecompileHalt> {
        count(BLS12_MAP_TO_G1);
        DefaultCrypto.bls12_381_fp_to_g1(number)
    }

    fn bls12_381_fp2_to_g2(&self, number: ([u8; 48], [u8; 48])) -> Result<[u8; 192], PrecompileHalt> {
        count(BLS12_MAP_TO_G2);
        DefaultCrypto.bls12_381_fp2_to_g2(number)
    }
}
