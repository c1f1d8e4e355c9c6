//! The curve secp256k1, `y² = x³ + 7`, by the VM's accelerator for elliptic curves.
//!
//! The accelerator takes the sum of two different points with different x coordinates, and doubles
//! a point. [`Sum`] asks for nothing else: of a division by zero, the host could choose the result.
//! For the same reason it compares reduced coordinates only: [`group`] has no proof of others.

use crate::field::{Limbs, PRIME, negative, product, sum};

/// A point other than the point at infinity, with reduced coordinates.
#[derive(Clone, Copy, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub struct Point {
    pub x: Limbs,
    pub y: Limbs,
}

/// The generator of the group (SEC 2, section 2.4.1).
pub const GENERATOR: Point = Point {
    x: [
        0x16f8_1798,
        0x59f2_815b,
        0x2dce_28d9,
        0x029b_fcdb,
        0xce87_0b07,
        0x55a0_6295,
        0xf9dc_bbac,
        0x79be_667e,
    ],
    y: [
        0xfb10_d4b8,
        0x9c47_d08f,
        0xa685_5419,
        0xfd17_b448,
        0x0e11_08a8,
        0x5da4_fbfc,
        0x26a3_c465,
        0x483a_da77,
    ],
};

const SEVEN: Limbs = [7, 0, 0, 0, 0, 0, 0, 0];

/// Bits of a scalar that are looked up at once.
const WINDOW_BITS: usize = 4;
const WINDOW: usize = 1 << WINDOW_BITS;
const DIGITS_PER_LIMB: usize = u32::BITS as usize / WINDOW_BITS;

/// A point times 1 to 15.
pub struct Multiples([Point; WINDOW - 1]);

impl Multiples {
    pub fn new(point: &Point) -> Self {
        let mut multiples = [*point; WINDOW - 1];
        let mut next = Sum(Some(*point));
        for multiple in &mut multiples[1..] {
            next.add(point);
            *multiple = next.0.expect("the order of each point is a large prime");
        }
        Self(multiples)
    }
}

/// A sum of points; `None` is the point at infinity.
struct Sum(Option<Point>);

impl Sum {
    fn double(&mut self) {
        if let Some(sum) = &mut self.0 {
            // No point is its own negative: the order of the group is odd.
            *sum = group::double(sum);
        }
    }

    fn add(&mut self, point: &Point) {
        match &mut self.0 {
            None => self.0 = Some(*point),
            Some(sum) if sum.x != point.x => *sum = group::add(sum, point),
            Some(sum) if sum.y == point.y => self.double(),
            Some(_) => self.0 = None,
        }
    }
}

/// `a·A + b·B`; `None` if that is the point at infinity.
pub fn mul_add(a: &Limbs, a_point: &Multiples, b: &Limbs, b_point: &Multiples) -> Option<Point> {
    let mut sum = Sum(None);
    for (a, b) in a.iter().zip(b).rev() {
        for digit in (0..DIGITS_PER_LIMB).rev() {
            (0..WINDOW_BITS).for_each(|_| sum.double());
            for (limb, multiples) in [(a, a_point), (b, b_point)] {
                let digit = (limb >> (WINDOW_BITS * digit)) as usize % WINDOW;
                if digit != 0 {
                    sum.add(&multiples.0[digit - 1]);
                }
            }
        }
    }
    sum.0
}

/// The point with this x coordinate (reduced) whose y coordinate is odd or is not.
pub fn lift_x(x: &Limbs, y_is_odd: bool) -> Option<Point> {
    let square = sum(&times(&times(x, x), x), &SEVEN, &PRIME);
    let mut y = power_to_root(&square);
    if times(&y, &y) != square {
        return None;
    }
    if (y[0] & 1 == 1) != y_is_odd {
        // No point has y = 0, so that this changes the parity.
        y = negative(&y, &PRIME);
    }
    Some(Point { x: *x, y })
}

fn times(a: &Limbs, b: &Limbs) -> Limbs {
    product(a, b, &PRIME)
}

/// `value^((p + 1) / 4)`: a square root, if the value has one, since the prime p is 3 modulo 4.
///
/// (p + 1) / 4 is in binary 223 ones, a zero, 22 ones, 4 zeros, 11 and 00.
fn power_to_root(value: &Limbs) -> Limbs {
    let squared = |value: &Limbs, number: usize| (0..number).fold(*value, |value, _| times(&value, &value));
    // `ones_n` is the value to the power of n ones.
    let append = |high: &Limbs, low: &Limbs, low_bits| times(&squared(high, low_bits), low);
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

/// The operations of the accelerator. They have no proof of a result that is not reduced.
#[cfg(target_os = "zkvm")]
mod group {
    use risc0_bigint2::ec::{AffinePoint, Secp256k1Curve};

    use super::Point;

    type Affine = AffinePoint<8, Secp256k1Curve>;

    fn point(affine: &Affine) -> Point {
        let [x, y] = *affine
            .as_u32s()
            .expect("the sum was not to be the point at infinity");
        Point { x, y }
    }

    pub fn double(a: &Point) -> Point {
        let mut result = Affine::IDENTITY;
        Affine::new_unchecked(a.x, a.y).double(&mut result);
        point(&result)
    }

    /// The x coordinates differ.
    pub fn add(a: &Point, b: &Point) -> Point {
        let mut result = Affine::IDENTITY;
        Affine::new_unchecked(a.x, a.y).add(&Affine::new_unchecked(b.x, b.y), &mut result);
        point(&result)
    }
}

/// Outside the VM, for tests.
#[cfg(not(target_os = "zkvm"))]
mod group {
    use super::{Limbs, PRIME, Point, negative, times};
    use crate::field::{inverse, sum};

    fn less(a: &Limbs, b: &Limbs) -> Limbs {
        sum(a, &negative(b, &PRIME), &PRIME)
    }

    /// The negative of the third point on a line through a point.
    fn along(slope: &Limbs, a: &Point, other_x: &Limbs) -> Point {
        let x = less(&less(&times(slope, slope), &a.x), other_x);
        let y = less(&times(slope, &less(&a.x, &x)), &a.y);
        Point { x, y }
    }

    pub fn double(a: &Point) -> Point {
        let square = times(&a.x, &a.x);
        let thrice = sum(&sum(&square, &square, &PRIME), &square, &PRIME);
        let slope = times(&thrice, &inverse(&sum(&a.y, &a.y, &PRIME), &PRIME));
        along(&slope, a, &a.x)
    }

    /// The x coordinates differ.
    pub fn add(a: &Point, b: &Point) -> Point {
        let slope = times(&less(&b.y, &a.y), &inverse(&less(&b.x, &a.x), &PRIME));
        along(&slope, a, &b.x)
    }
}
