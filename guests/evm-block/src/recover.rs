//! Recovery of public keys from signatures (SEC 1, section 4.1.6), by the VM's instructions.

use myriad_evm::crypto::{PublicKey, Recover};
use openvm_algebra_guest::{DivUnsafe, IntMod};
use openvm_ecc_guest::weierstrass::WeierstrassPoint;

use crate::curve::{Coordinate, GENERATOR, Multiples, Scalar, lift_x, mul_add};

/// Recovery by the VM's instructions.
#[derive(Clone, Copy)]
pub struct VmRecover {
    /// The multiples of the generator's negative.
    generator: &'static Multiples,
}

impl VmRecover {
    pub fn new() -> Self {
        Self {
            generator: Box::leak(Box::new(Multiples::new(&-GENERATOR))),
        }
    }
}

impl Recover for VmRecover {
    /// The signature's point R has the x coordinate r, and the key is `(s·R - z·G) / r`.
    fn recover(&self, signature: &[u8; 64], recovery_id: u8, digest: &[u8; 32]) -> Option<PublicKey> {
        let (r_bytes, s_bytes) = signature.split_at(32);
        // `None` for numbers that are not below the order.
        let r = Scalar::from_be_bytes(r_bytes)?;
        let s = Scalar::from_be_bytes(s_bytes)?;
        if r == Scalar::ZERO || s == Scalar::ZERO {
            return None;
        }
        // The digest may well exceed the order: it is only divided, and never compared.
        let z = Scalar::from_be_bytes_unchecked(digest);

        // The order is below the coordinates' prime, so that r is reduced there too.
        let point = lift_x(Coordinate::from_be_bytes_unchecked(r_bytes), recovery_id & 1 == 1)?;
        // The divisor is not zero, and has an inverse: the order is a prime.
        let (z_by_r, s_by_r) = (z.div_unsafe(&r), s.div_unsafe(&r));
        let key = mul_add(&z_by_r, self.generator, &s_by_r, &Multiples::new(&point))?;

        let (x, y) = key.into_coords();
        x.assert_reduced();
        y.assert_reduced();
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&x.to_be_bytes());
        bytes[32..].copy_from_slice(&y.to_be_bytes());
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};

    use super::*;

    /// Recovers by another implementation, which has the rule of low `s` that this one has not.
    fn reference(signature: &[u8; 64], recovery_id: u8, digest: &[u8; 32]) -> Option<PublicKey> {
        let mut signature = Signature::from_slice(signature).ok()?;
        let mut recovery_id = recovery_id & 1;
        if let Some(low) = signature.normalize_s() {
            (signature, recovery_id) = (low, recovery_id ^ 1);
        }
        let id = RecoveryId::from_byte(recovery_id)?;
        let key = VerifyingKey::recover_from_prehash(digest, &signature, id).ok()?;
        key.to_encoded_point(false).as_bytes()[1..].try_into().ok()
    }

    fn check(signature: &[u8; 64], digest: &[u8; 32]) -> usize {
        let recover = VmRecover::new();
        let agree = |recovery_id| {
            let key = recover.recover(signature, recovery_id, digest);
            assert_eq!(key, reference(signature, recovery_id, digest), "{signature:x?}");
            usize::from(key.is_some())
        };
        agree(0) + agree(1)
    }

    /// 32 bytes that look random.
    fn scramble(seed: u64) -> [u8; 32] {
        alloy_primitives::keccak256(seed.to_le_bytes()).0
    }

    #[test]
    fn keys_of_signatures_are_recovered() {
        for seed in 0..16 {
            let secret = SigningKey::from_slice(&scramble(seed)).unwrap();
            let digest = scramble(seed + 1_000);
            let (signature, id) = secret.sign_prehash_recoverable(&digest).unwrap();
            let signature: [u8; 64] = signature.to_bytes().into();
            let key = VmRecover::new()
                .recover(&signature, id.to_byte(), &digest)
                .unwrap();
            let public = secret.verifying_key().to_encoded_point(false);
            assert_eq!(key, public.as_bytes()[1..]);
            assert_eq!(check(&signature, &digest), 2);
        }
    }

    /// About half of all `r` are no x coordinate.
    #[test]
    fn any_numbers_are_treated_alike() {
        let mut recovered = 0;
        for seed in 0..32 {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&scramble(2 * seed));
            signature[32..].copy_from_slice(&scramble(2 * seed + 1));
            recovered += check(&signature, &scramble(seed + 2_000));
        }
        assert!((8..56).contains(&recovered), "{recovered} of 64");
    }

    #[test]
    fn numbers_at_the_bounds() {
        let order = Scalar::MODULUS;
        let big_endian = |mut bytes: [u8; 32], minus: u8| {
            bytes[0] -= minus;
            bytes.reverse();
            bytes
        };
        let mut one = [0; 32];
        one[31] = 1;
        let numbers = [
            [0; 32],
            one,
            big_endian(order, 1),
            big_endian(order, 0),
            [0xff; 32],
        ];
        for r in numbers.into_iter().chain([GENERATOR.x().to_be_bytes()]) {
            for s in numbers {
                for digest in numbers {
                    let signature: [u8; 64] = [r, s].concat().try_into().unwrap();
                    check(&signature, &digest);
                }
            }
        }
    }

    /// With R = G and s = z, the sum `s·R - z·G` is the point at infinity, and with s = -z it is a
    /// point added to itself.
    #[test]
    fn sums_of_equal_and_opposite_points() {
        let r = GENERATOR.x().to_be_bytes();
        for seed in 0..4 {
            let s = scramble(seed);
            let minus_s = (-Scalar::from_be_bytes(&s).unwrap()).to_be_bytes();
            for digest in [s, minus_s] {
                let signature: [u8; 64] = [r, s].concat().try_into().unwrap();
                assert_eq!(check(&signature, &digest), 1);
            }
        }
    }
}
