//! Signatures on the curve P-256 (EIP-7951), by the VM's instructions.

use openvm_algebra_guest::IntMod;

use crate::{
    field::{Coordinate, Field, hex},
    fields::{P256Coordinate, P256Scalar},
    point::{Curve, Point, SCALAR_BYTES, multiply_sum},
};

const fn coordinate(digits: &str) -> P256Coordinate {
    P256Coordinate::from_const_bytes(hex(digits))
}

pub struct P256;

impl Curve for P256 {
    type Field = P256Coordinate;

    /// `x³ - 3x + b`
    fn right_side(x: &P256Coordinate) -> P256Coordinate {
        static B: P256Coordinate =
            coordinate("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
        Field::square(x).mul(x).sub(&x.triple()).add(&B)
    }

    /// `3x² - 3`
    fn derivative(x: &P256Coordinate) -> P256Coordinate {
        Field::square(x).sub(Field::one()).triple()
    }
}

fn generator() -> Point<P256> {
    static X: P256Coordinate = coordinate("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");
    static Y: P256Coordinate = coordinate("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");
    Point::unchecked(X.clone(), Y.clone())
}

/// Whether a signature (r and s) of a digest was made with the key (x and y), all in big endian.
pub fn verify(digest: &[u8; 32], signature: &[u8; 64], key: &[u8; 64]) -> bool {
    is_valid(digest, signature, key).unwrap_or(false)
}

/// `None` for numbers out of their bounds, and a key that is not on the curve.
fn is_valid(digest: &[u8; 32], signature: &[u8; 64], key: &[u8; 64]) -> Option<bool> {
    let (r, s) = signature.split_at(SCALAR_BYTES);
    let (r, s) = (P256Scalar::read(r)?, P256Scalar::read(s)?);
    if r.is_zero() || s.is_zero() {
        return None;
    }
    let (x, y) = key.split_at(SCALAR_BYTES);
    let key = Point::new(P256Coordinate::read(x)?, P256Coordinate::read(y)?)?;

    // The digest may well exceed the order: it is only divided, and never compared.
    let digest = <P256Scalar as IntMod>::from_be_bytes_unchecked(digest);
    let scalar = |number: P256Scalar| {
        let mut bytes = [0; SCALAR_BYTES];
        number.write(&mut bytes);
        bytes
    };
    let terms = [(generator(), scalar(digest.div(&s))), (key, scalar(r.div(&s)))];
    let Some(point) = multiply_sum(&terms).0 else {
        return Some(false);
    };
    // As a scalar it is another one for each of its representations, so that it has to be the least
    // one that is taken.
    let mut x = [0; SCALAR_BYTES];
    point.x.write(&mut x);
    // The coordinate may exceed the order, too: by a product it becomes less.
    let x = <P256Scalar as IntMod>::from_be_bytes_unchecked(&x);
    Some(x.mul(Field::one()).equals(&r))
}
