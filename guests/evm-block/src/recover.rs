//! Recovery of public keys from signatures (SEC 1, section 4.1.6), by the VM's instructions.

use myriad_evm::crypto::{PublicKey, Recover};
use openvm_algebra_guest::{DivUnsafe, IntMod};
use openvm_ecc_guest::weierstrass::WeierstrassPoint;

use crate::curve::{Coordinate, GENERATOR, Multiples, Scalar, lift_x, mul_add};

/// Recovery by the VM's instructions.
#[derive(Clone, Copy)]
pub struct VmRecover {
    /// Of the generator's negative.
    generator: &'static Multiples,
}

impl VmRecover {
    pub fn new() -> Self {
        Self { generator: Box::leak(Box::new(Multiples::new(&-GENERATOR))) }
    }
}

impl Recover for VmRecover {
    /// The signature's point R has the x coordinate r, and the key is `(s·R - z·G) / r`.
    fn recover(
        &self,
        signature: &[u8; 64],
        recovery_id: u8,
        digest: &[u8; 32],
    ) -> Option<PublicKey> {
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
