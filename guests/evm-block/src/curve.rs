//! The curve secp256k1, `y² = x³ + 7`, by the VM's instructions for modular arithmetic and for
//! elliptic curves.
//!
//! Two things that these instructions leave to the guest:
//!
//! - A result is right modulo the prime, but nothing forces the host to give its least
//!   representation. [`IntMod::assert_reduced`] does: with another one there is no proof. It has to
//!   come before a number's parity or its bytes are used.
//! - The sum of two points with the same x coordinate is a division by zero, of which the host
//!   could choose the result. [`Sum`] never asks for one.

use core::ops::Neg;

use openvm_algebra_guest::IntMod;
use openvm_ecc_guest::{Group, sw_macros, weierstrass::WeierstrassPoint};

pub use crate::fields::{Secp256k1Coordinate as Coordinate, Secp256k1Scalar as Scalar};

const SEVEN: Coordinate = Coordinate::from_const_bytes(little_endian(7));

sw_macros::sw_declare! {
    Secp256k1Point { mod_type = Coordinate, b = SEVEN },
}

sw_macros::sw_init! { "Secp256k1Point" }

const fn little_endian(value: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = value;
    bytes
}

/// The generator of the group.
pub const GENERATOR: Secp256k1Point = Secp256k1Point {
    x: Coordinate::from_const_bytes([
        0x98, 0x17, 0xf8, 0x16, 0x5b, 0x81, 0xf2, 0x59, 0xd9, 0x28, 0xce, 0x2d, 0xdb, 0xfc, 0x9b, 0x02, 0x07,
        0x0b, 0x87, 0xce, 0x95, 0x62, 0xa0, 0x55, 0xac, 0xbb, 0xdc, 0xf9, 0x7e, 0x66, 0xbe, 0x79,
    ]),
    y: Coordinate::from_const_bytes([
        0xb8, 0xd4, 0x10, 0xfb, 0x8f, 0xd0, 0x47, 0x9c, 0x19, 0x54, 0x85, 0xa6, 0x48, 0xb4, 0x17, 0xfd, 0xa8,
        0x08, 0x11, 0x0e, 0xfc, 0xfb, 0xa4, 0x5d, 0x65, 0xc4, 0xa3, 0x26, 0x77, 0xda, 0x3a, 0x48,
    ]),
};

/// Bits of a scalar that are looked up at once.
const WINDOW_BITS: usize = 4;
const WINDOW: usize = 1 << WINDOW_BITS;

/// A point times 1 to 15.
pub struct Multiples([Secp256k1Point; WINDOW - 1]);

impl Multiples {
    /// The multiples of a point on the curve, which is not the point at infinity.
    pub fn new(point: &Secp256k1Point) -> Self {
        Secp256k1Point::set_up_once();
        // SAFETY: the setup is done. The order of the group is a prime, so that no point is its own
        // negative, and none of the sums is of a point and itself or its negative.
        let mut next = unsafe { point.double_nonidentity::<false>() };
        Self(core::array::from_fn(|i| match i {
            0 => point.clone(),
            _ => {
                // SAFETY: as above; `next` is (i + 1) times the point.
                let after = unsafe { next.add_ne_nonidentity::<false>(point) };
                core::mem::replace(&mut next, after)
            }
        }))
    }
}

/// A sum of points; `None` is the point at infinity.
struct Sum(Option<Secp256k1Point>);

impl Sum {
    fn double(&mut self) {
        if let Some(sum) = &mut self.0 {
            // SAFETY: a `Sum` is made of `Multiples`, so that the setup is done. No point is its
            // own negative: the order of the group is odd.
            unsafe { sum.double_assign_nonidentity::<false>() };
        }
    }

    fn add(&mut self, point: &Secp256k1Point) {
        match &mut self.0 {
            None => self.0 = Some(point.clone()),
            Some(sum) if sum.x() == point.x() => {
                if sum.y() == point.y() {
                    self.double();
                } else {
                    self.0 = None;
                }
            }
            // SAFETY: the setup is done, and the x coordinates differ.
            Some(sum) => unsafe { sum.add_ne_assign_nonidentity::<false>(point) },
        }
    }
}

/// `a·A + b·B`; `None` if that is the point at infinity.
pub fn mul_add(a: &Scalar, a_point: &Multiples, b: &Scalar, b_point: &Multiples) -> Option<Secp256k1Point> {
    let mut sum = Sum(None);
    let bytes = a.as_le_bytes().iter().zip(b.as_le_bytes());
    for (a, b) in bytes.rev() {
        for (a, b) in [(a >> WINDOW_BITS, b >> WINDOW_BITS), (a & 0xf, b & 0xf)] {
            (0..WINDOW_BITS).for_each(|_| sum.double());
            for (digit, multiples) in [(a, a_point), (b, b_point)] {
                if digit != 0 {
                    sum.add(&multiples.0[usize::from(digit) - 1]);
                }
            }
        }
    }
    sum.0
}

/// The point with this x coordinate (reduced) whose y coordinate is odd or is not.
pub fn lift_x(x: Coordinate, y_is_odd: bool) -> Option<Secp256k1Point> {
    let square = &x * &x * &x + &SEVEN;
    let mut y = power_to_root(&square);
    if &y * &y != square {
        return None;
    }
    // The comparison above has not made sure of it: it was the square that was compared.
    y.assert_reduced();
    if (y.as_le_bytes()[0] & 1 == 1) != y_is_odd {
        // No point has y = 0, so that this changes the parity.
        y = -y;
        y.assert_reduced();
    }
    Some(Secp256k1Point { x, y })
}

/// `value^((p + 1) / 4)`: a square root, if the value has one, since the prime p is 3 modulo 4.
///
/// The VM can take a root from the host as a hint, but the proof that a number has none then needs
/// a number that is no square. The power needs nobody's word, and costs some 270 multiplications.
///
/// (p + 1) / 4 is in binary 223 ones, a zero, 22 ones, 4 zeros, 11 and 00.
fn power_to_root(value: &Coordinate) -> Coordinate {
    let squared = |value: &Coordinate, times: usize| {
        let mut value = value.clone();
        (0..times).for_each(|_| IntMod::square_assign(&mut value));
        value
    };
    // `ones_n` is the value to the power of n ones.
    let append = |high: &Coordinate, low: &Coordinate, low_bits| squared(high, low_bits) * low;
    let ones_2 = append(value, value, 1);
    let ones_3 = append(&ones_2, value, 1);
    let ones_6 = append(&ones_3, &ones_3, 3);
    let ones_9 = append(&ones_6, &ones_3, 3);
    let ones_11 = append(&ones_9, &ones_2, 2);
    let ones_22 = append(&ones_11, &ones_11, 11);
    let ones_44 = append(&ones_22, &ones_22, 22);
    let ones_88 = append(&ones_44, &ones_44, 44);
    let ones_176 = append(&ones_88, &ones_88, 88);
    let ones_220 = append(&ones_176, &ones_44, 44);
    let ones_223 = append(&ones_220, &ones_3, 3);
    let power = append(&ones_223, &ones_22, 23);
    let power = append(&power, &ones_2, 6);
    squared(&power, 2)
}
