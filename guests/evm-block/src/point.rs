//! Points of elliptic curves `y² = x³ + ax + b`, and sums of them, over any field.

use alloc::vec::Vec;

use crate::field::Field;

/// An elliptic curve whose group has an odd order, so that no point is its own negative.
pub trait Curve: Sized + 'static {
    type Field: Field;

    /// `x³ + ax + b`
    fn right_side(x: &Self::Field) -> Self::Field;
    /// `3x² + a`
    fn derivative(x: &Self::Field) -> Self::Field;
}

/// A point on the curve that is not the point at infinity.
pub struct Point<C: Curve> {
    pub x: C::Field,
    pub y: C::Field,
}

impl<C: Curve> Clone for Point<C> {
    fn clone(&self) -> Self {
        Self::unchecked(self.x.clone(), self.y.clone())
    }
}

impl<C: Curve> PartialEq for Point<C> {
    fn eq(&self, other: &Self) -> bool {
        self.x.equals(&other.x) && self.y.equals(&other.y)
    }
}

impl<C: Curve> Point<C> {
    /// `None` if the point is not on the curve.
    pub fn new(x: C::Field, y: C::Field) -> Option<Self> {
        y.square().equals(&C::right_side(&x)).then_some(Self { x, y })
    }

    /// A point of which the caller knows that it is on the curve.
    pub const fn unchecked(x: C::Field, y: C::Field) -> Self {
        Self { x, y }
    }

    pub fn negative(&self) -> Self {
        Self::unchecked(self.x.clone(), self.y.neg())
    }

    /// Goes to twice the point, and gives the slope of the tangent.
    ///
    /// The division is not by zero: a point with y = 0 is its own negative.
    #[inline(always)]
    pub fn double(&mut self) -> C::Field {
        let mut slope = C::derivative(&self.x);
        slope.div_assign(&self.y.double());
        let other_x = self.x.clone();
        self.go(&slope, &other_x);
        slope
    }

    /// Goes to the sum with another point, and gives the slope of the line through both; `None` if
    /// they have the same x coordinate.
    #[inline(always)]
    pub fn add(&mut self, other: &Self) -> Option<C::Field> {
        if self.x.equals(&other.x) {
            return None;
        }
        let mut slope = other.y.sub(&self.y);
        slope.div_assign(&other.x.sub(&self.x));
        self.go(&slope, &other.x);
        Some(slope)
    }

    /// To the negative of the third point on the line through this one and one at `other_x`.
    #[inline(always)]
    fn go(&mut self, slope: &C::Field, other_x: &C::Field) {
        let mut x = slope.mul(slope);
        x.sub_assign(&self.x);
        x.sub_assign(other_x);
        // y = slope · (own x - x) - own y
        self.x.sub_assign(&x);
        self.x.mul_assign(slope);
        let mut y = C::Field::place();
        y.set_difference(&self.x, &self.y);
        self.x = x;
        self.y = y;
    }

    /// This point, a number of times.
    pub fn times(&self, number: u128) -> Sum<C> {
        let digits = SignedDigits::new(number);
        let negative = self.negative();
        let mut sum = Sum(None);
        for digit in digits.in_order() {
            sum.double();
            match digit {
                1 => sum.add(self),
                -1 => sum.add(&negative),
                _ => {}
            }
        }
        sum
    }
}

/// A sum of points; `None` is the point at infinity.
pub struct Sum<C: Curve>(pub Option<Point<C>>);

impl<C: Curve> Clone for Sum<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Curve> PartialEq for Sum<C> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<C: Curve> Sum<C> {
    pub fn double(&mut self) {
        if let Some(point) = &mut self.0 {
            point.double();
        }
    }

    pub fn add(&mut self, point: &Point<C>) {
        let Some(sum) = &mut self.0 else {
            self.0 = Some(point.clone());
            return;
        };
        match sum.add(point) {
            Some(_) => {}
            None if sum.y.equals(&point.y) => self.double(),
            None => self.0 = None,
        }
    }

    pub fn add_sum(&mut self, other: &Self) {
        if let Some(point) = &other.0 {
            self.add(point);
        }
    }

    pub fn negative(&self) -> Self {
        Self(self.0.as_ref().map(Point::negative))
    }

    pub fn times(&self, number: u128) -> Self {
        self.0.as_ref().map_or(Self(None), |point| point.times(number))
    }
}

/// Bytes of a scalar, and bits of it that are looked up at once.
pub const SCALAR_BYTES: usize = 32;
const WINDOW_BITS: usize = 4;

/// The sum of points, each a number of times (in big endian).
pub fn multiply_sum<C: Curve>(terms: &[(Point<C>, [u8; SCALAR_BYTES])]) -> Sum<C> {
    let multiples: Vec<Vec<Sum<C>>> = terms.iter().map(|(point, _)| multiples(point)).collect();
    let mut sum = Sum(None);
    for byte in 0..SCALAR_BYTES {
        for shift in [WINDOW_BITS, 0] {
            (0..WINDOW_BITS).for_each(|_| sum.double());
            for ((_, scalar), multiples) in terms.iter().zip(&multiples) {
                let digit = usize::from(scalar[byte] >> shift & 0xf);
                if digit != 0 {
                    sum.add_sum(&multiples[digit - 1]);
                }
            }
        }
    }
    sum
}

/// A point, 1 to 15 times.
fn multiples<C: Curve>(point: &Point<C>) -> Vec<Sum<C>> {
    let mut multiples = Vec::with_capacity((1 << WINDOW_BITS) - 1);
    let mut next = Sum(Some(point.clone()));
    for _ in 1..1 << WINDOW_BITS {
        multiples.push(next.clone());
        next.add(point);
    }
    multiples
}

/// A number as a sum of powers of two and their negatives, of which no two are neighbours.
#[derive(Clone, Copy)]
pub struct SignedDigits {
    positive: u128,
    negative: u128,
}

impl SignedDigits {
    /// The signed digits of a number below 2^126.
    pub const fn new(number: u128) -> Self {
        assert!(number >> 126 == 0);
        // The binary digits of 3n less those of n are twice the digits of n.
        Self {
            positive: ((3 * number) & !number) >> 1,
            negative: (number & !(3 * number)) >> 1,
        }
    }

    /// The digits, which are 1, 0 and -1, from the first that is not 0.
    pub fn in_order(self) -> impl Iterator<Item = i8> {
        let bits = u128::BITS - self.positive.leading_zeros();
        (0..bits).rev().map(move |bit| {
            let is_one = |number: u128| (number >> bit & 1) as i8;
            is_one(self.positive) - is_one(self.negative)
        })
    }
}
