//! Recovery of public keys from signatures (SEC 1, section 4.1.6), by the VM's accelerators.

use myriad_evm::crypto::PublicKey;

use crate::{
    curve::{GENERATOR, Multiples, lift_x, mul_add},
    field::{
        Limbs, ORDER, ZERO, difference, from_be_bytes, inverse, is_less, negative, product, write_be_bytes,
    },
};

pub struct Recovery {
    generator: Multiples,
}

impl Recovery {
    pub fn new() -> Self {
        Self {
            generator: Multiples::new(&GENERATOR),
        }
    }

    /// As `myriad_evm::crypto::Recover` says. The signature's point R has the x coordinate r, and
    /// the key is `(s·R - z·G) / r`.
    pub fn recover(&self, signature: &[u8; 64], recovery_id: u8, digest: &[u8; 32]) -> Option<PublicKey> {
        let ([r, s], _) = signature.as_chunks() else {
            unreachable!("64 bytes are two times 32");
        };
        let (r, s) = (scalar(r)?, scalar(s)?);
        // The digest may well exceed the order, but not twice the order.
        let mut z = from_be_bytes(digest);
        if !is_less(&z, &ORDER) {
            z = difference(&z, &ORDER);
        }

        // The order is below the coordinates' prime, so that r is reduced there too.
        let point = lift_x(&r, recovery_id & 1 == 1)?;
        let inverse = inverse(&r, &ORDER);
        let z_by_r = product(&z, &inverse, &ORDER);
        let s_by_r = product(&s, &inverse, &ORDER);
        let key = mul_add(
            &negative(&z_by_r, &ORDER),
            &self.generator,
            &s_by_r,
            &Multiples::new(&point),
        )?;

        let mut bytes = [0; 64];
        let (coordinates, _) = bytes.as_chunks_mut();
        write_be_bytes(&key.x, &mut coordinates[0]);
        write_be_bytes(&key.y, &mut coordinates[1]);
        Some(bytes)
    }
}

/// A number from 1 to the order less one.
fn scalar(bytes: &[u8; 32]) -> Option<Limbs> {
    let number = from_be_bytes(bytes);
    (number != ZERO && is_less(&number, &ORDER)).then_some(number)
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

    /// How many of the two keys there are; panics where the other implementation has another.
    fn check(signature: &[u8; 64], digest: &[u8; 32]) -> usize {
        let recovery = Recovery::new();
        let agree = |recovery_id| {
            let key = recovery.recover(signature, recovery_id, digest);
            assert_eq!(key, reference(signature, recovery_id, digest), "{signature:x?}");
            usize::from(key.is_some())
        };
        agree(0) + agree(1)
    }

    /// 32 bytes that look random.
    fn scramble(seed: u64) -> [u8; 32] {
        alloy_primitives::keccak256(seed.to_le_bytes()).0
    }

    fn bytes(number: &Limbs) -> [u8; 32] {
        let mut bytes = [0; 32];
        write_be_bytes(number, &mut bytes);
        bytes
    }

    fn signature(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
        [r, s].concat().try_into().unwrap()
    }

    #[test]
    fn keys_of_signatures_are_recovered() {
        for seed in 0..8 {
            let secret = SigningKey::from_slice(&scramble(seed)).unwrap();
            let digest = scramble(seed + 1_000);
            let (signature, id) = secret.sign_prehash_recoverable(&digest).unwrap();
            let signature: [u8; 64] = signature.to_bytes().into();
            let key = Recovery::new()
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
        for seed in 0..16 {
            let signature = signature(scramble(2 * seed), scramble(2 * seed + 1));
            recovered += check(&signature, &scramble(seed + 2_000));
        }
        assert!((4..28).contains(&recovered), "{recovered} of 32");
    }

    #[test]
    fn numbers_at_the_bounds() {
        let one = [1, 0, 0, 0, 0, 0, 0, 0];
        let numbers = [
            ZERO,
            one,
            difference(&ORDER, &one),
            ORDER,
            [u32::MAX; 8],
            GENERATOR.x,
        ]
        .map(|number| bytes(&number));
        for r in numbers {
            for s in numbers {
                for digest in numbers {
                    check(&signature(r, s), &digest);
                }
            }
        }
    }

    /// With R = G and s = z, the sum `s·R - z·G` is the point at infinity, and with s = -z it is a
    /// point added to itself.
    #[test]
    fn sums_of_equal_and_opposite_points() {
        let r = bytes(&GENERATOR.x);
        for seed in 0..4 {
            let s = from_be_bytes(&scramble(seed));
            for digest in [s, negative(&s, &ORDER)] {
                assert_eq!(check(&signature(r, bytes(&s)), &bytes(&digest)), 1);
            }
        }
    }
}
