//! Pairings on curves of the families BN and BLS12: the Miller loop, and the field of its values.

use alloc::vec::Vec;
use core::array;

use crate::{
    field::{Complex, Field},
    point::{Curve, Point, SignedDigits},
};

/// Coefficients of an element of the field of degree 12.
const DEGREE: usize = 6;

/// How points of the twisted curve, which is over complex numbers, become points of the curve: with
/// `w⁶ = ξ`.
pub enum Twist {
    /// `(x, y)` is `(xw², yw³)`
    Divisive,
    /// `(x, y)` is `(x/w², y/w³)`
    Multiplicative,
}

/// The fields, groups and constants of a curve's pairing.
pub trait Pairing: Sized + 'static {
    type Fp2: Complex;
    type G1: Curve<Field = <Self::Fp2 as Complex>::Base>;
    type G2: Curve<Field = Self::Fp2>;

    const TWIST: Twist;

    /// `ξ`, of which the field has no sixth root.
    fn xi() -> &'static Self::Fp2;
    /// `ξ` to the powers of `i(p - 1)/6`.
    fn frobenius_coefficients() -> &'static [Self::Fp2; DEGREE];
}

/// An element of the field of degree 12: the sum of its coefficients times `w` to the powers of 0
/// to 5, where `w⁶ = ξ`.
///
/// To multiply costs the VM no more than to add, so that there is nothing to be gained by
/// Karatsuba's method or by towers.
pub struct Fp12<P: Pairing>([P::Fp2; DEGREE]);

impl<P: Pairing> Clone for Fp12<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Pairing> Fp12<P> {
    pub fn one() -> Self {
        Self(array::from_fn(|i| match i {
            0 => P::Fp2::one().clone(),
            _ => P::Fp2::zero().clone(),
        }))
    }

    pub fn is_one(&self) -> bool {
        let [first, others @ ..] = &self.0;
        first.equals(P::Fp2::one()) && others.iter().all(Field::is_zero)
    }

    fn place() -> Self {
        Self(array::from_fn(|_| P::Fp2::place()))
    }

    pub fn mul(&self, other: &Self) -> Self {
        let (a, b) = (&self.0, &other.0);
        let mut product = Self::place();
        let [mut high, mut term] = [P::Fp2::place(), P::Fp2::place()];
        for (power, low) in product.0.iter_mut().enumerate() {
            low.set_product(&a[0], &b[power]);
            for i in 1..=power {
                term.set_product(&a[i], &b[power - i]);
                low.add_assign(&term);
            }
            if power + 1 == DEGREE {
                break;
            }
            high.set_product(&a[power + 1], &b[DEGREE - 1]);
            for i in power + 2..DEGREE {
                term.set_product(&a[i], &b[power + DEGREE - i]);
                high.add_assign(&term);
            }
            high.mul_assign(P::xi());
            low.add_assign(&high);
        }
        product
    }

    pub fn square(&self) -> Self {
        let a = &self.0;
        let mut doubles = Self::place().0;
        for (double, a) in doubles.iter_mut().zip(a) {
            double.set_sum(a, a);
        }
        let mut term = P::Fp2::place();
        // The sum of the products of coefficients whose powers have this sum.
        let mut set_sum = |sum: &mut P::Fp2, power: usize| {
            let first = power.saturating_sub(DEGREE - 1);
            let pairs = first..power.div_ceil(2);
            let mut is_first = !power.is_multiple_of(2);
            if !is_first {
                sum.set_product(&a[power / 2], &a[power / 2]);
            }
            for i in pairs {
                if is_first {
                    sum.set_product(&doubles[i], &a[power - i]);
                    is_first = false;
                } else {
                    term.set_product(&doubles[i], &a[power - i]);
                    sum.add_assign(&term);
                }
            }
        };
        let mut square = Self::place();
        let mut high = P::Fp2::place();
        for (power, low) in square.0.iter_mut().enumerate() {
            set_sum(low, power);
            if power + 1 < DEGREE {
                set_sum(&mut high, power + DEGREE);
                high.mul_assign(P::xi());
                low.add_assign(&high);
            }
        }
        square
    }

    /// To the power of `p⁶`, which is the inverse once it has been raised to the power of `p⁶ - 1`.
    pub fn conjugate(&self) -> Self {
        Self(array::from_fn(|i| match i % 2 {
            0 => self.0[i].clone(),
            _ => self.0[i].neg(),
        }))
    }

    /// Raises to the power of `p`.
    pub fn frobenius(&self) -> Self {
        let coefficients = P::frobenius_coefficients();
        Self(array::from_fn(|i| match i {
            0 => self.0[0].conjugate(),
            _ => self.0[i].conjugate().mul(&coefficients[i]),
        }))
    }

    pub fn frobenius_twice(&self) -> Self {
        self.frobenius().frobenius()
    }

    /// To the power of a number, once it has been raised to the power of `p⁶ - 1`.
    pub fn power(&self, exponent: SignedDigits) -> Self {
        let inverse = self.conjugate();
        let mut result = Self::one();
        for digit in exponent.in_order() {
            result = result.square();
            match digit {
                1 => result = result.mul(self),
                -1 => result = result.mul(&inverse),
                _ => {}
            }
        }
        result
    }

    /// To the power of `(p⁶ - 1)(p² + 1)`; what is left of the final exponentiation is each
    /// family's own.
    pub fn easy_part(&self) -> Self {
        // f to the power of p⁶ - 1 is f̄ / f = f̄² / (f · f̄), and the divisor has only even powers
        // of w.
        let conjugate = self.conjugate();
        let [a, _, b, _, c, _] = self.mul(&conjugate).0;
        let xi = P::xi();
        let [u, v, w] = [
            a.square().sub(&b.mul(&c).mul(xi)),
            c.square().mul(xi).sub(&a.mul(&b)),
            b.square().sub(&a.mul(&c)),
        ];
        let norm = a.mul(&u).add(&c.mul(&v).add(&b.mul(&w)).mul(xi));
        // Lines through points of the groups, and their products, are not zero.
        assert!(!norm.is_zero(), "a value of a Miller loop is zero");
        let zero = || P::Fp2::zero().clone();
        let inverse = Self([u.div(&norm), zero(), v.div(&norm), zero(), w.div(&norm), zero()]);
        let power = conjugate.square().mul(&inverse);
        power.frobenius_twice().mul(&power)
    }

    /// Times the value of a line at a point with the coordinates x and y, divided by y.
    fn mul_line(&self, line: &Line<P::Fp2>) -> Self {
        let f = &self.0;
        let Line { slope, constant } = line;
        let xi = P::xi();
        let [xi_slope, xi_constant] = [slope.mul(xi), constant.mul(xi)];
        let mut product = Self::place();
        let mut term = P::Fp2::place();
        for (i, sum) in product.0.iter_mut().enumerate() {
            match P::TWIST {
                // 1 + slope · w + constant · w³
                Twist::Divisive => {
                    match i {
                        0 => sum.set_product(&xi_slope, &f[5]),
                        _ => sum.set_product(slope, &f[i - 1]),
                    }
                    match i {
                        0..3 => term.set_product(&xi_constant, &f[i + 3]),
                        _ => term.set_product(constant, &f[i - 3]),
                    }
                    sum.add_assign(&term);
                    sum.add_assign(&f[i]);
                }
                // constant + slope · w² + w³, which is w³ times as much
                Twist::Multiplicative => {
                    match i {
                        0..2 => sum.set_product(&xi_slope, &f[i + 4]),
                        _ => sum.set_product(slope, &f[i - 2]),
                    }
                    term.set_product(constant, &f[i]);
                    sum.add_assign(&term);
                    match i {
                        0..3 => {
                            term.set_product(&f[i + 3], xi);
                            sum.add_assign(&term);
                        }
                        _ => sum.add_assign(&f[i - 3]),
                    }
                }
            }
        }
        product
    }
}

struct Line<F> {
    slope: F,
    constant: F,
}

/// Two points on their way through the Miller loop.
pub struct Walk<P: Pairing> {
    start: Point<P::G2>,
    back: Point<P::G2>,
    at: Point<P::G2>,
    /// `-x/y` and `1/y` of the point of the first group.
    minus_x_by_y: <P::Fp2 as Complex>::Base,
    one_by_y: <P::Fp2 as Complex>::Base,
}

impl<P: Pairing> Walk<P> {
    pub fn new(p: &Point<P::G1>, q: &Point<P::G2>) -> Self {
        let one = <P::Fp2 as Complex>::Base::one();
        let one_by_y = one.div(&p.y);
        Self {
            start: q.clone(),
            back: q.negative(),
            at: q.clone(),
            minus_x_by_y: p.x.neg().mul(&one_by_y),
            one_by_y,
        }
    }

    pub fn start(&self) -> &Point<P::G2> {
        &self.start
    }

    fn double(&mut self, value: &mut Fp12<P>) {
        let slope = self.at.double();
        self.multiply(slope, value);
    }

    /// Goes on to the sum with a point of the second group.
    pub fn add(&mut self, point: &Point<P::G2>, value: &mut Fp12<P>) {
        let slope = self
            .at
            .add(point)
            .expect("a Miller loop comes to no point twice: the order of the group is larger");
        self.multiply(slope, value);
    }

    /// Multiplies by the line on which the walk has come here, through the negative of where it is.
    fn multiply(&mut self, slope: P::Fp2, value: &mut Fp12<P>) {
        let mut constant = slope.mul(&self.at.x);
        constant.add_assign(&self.at.y);
        let line = Line {
            slope: slope.scale(&self.minus_x_by_y),
            constant: constant.scale(&self.one_by_y),
        };
        *value = value.mul_line(&line);
    }
}

/// The value of the Miller loop of a number of rounds over pairs of points of both groups.
pub fn miller_loop<P: Pairing>(walks: &mut [Walk<P>], rounds: SignedDigits) -> Fp12<P> {
    let mut value = Fp12::one();
    for digit in rounds.in_order().skip(1) {
        value = value.square();
        for walk in &mut *walks {
            walk.double(&mut value);
            let point = match digit {
                1 => walk.start.clone(),
                -1 => walk.back.clone(),
                _ => continue,
            };
            walk.add(&point, &mut value);
        }
    }
    value
}

/// Points of both groups; `None` is the point at infinity.
pub type Pair<P> = (
    Option<Point<<P as Pairing>::G1>>,
    Option<Point<<P as Pairing>::G2>>,
);

/// Pairs of which neither is the point at infinity: the others have no part in the product of the
/// pairings.
pub fn walks<P: Pairing>(pairs: Vec<Pair<P>>) -> Vec<Walk<P>> {
    let both = pairs.into_iter().filter_map(|(p, q)| Some((p?, q?)));
    both.map(|(p, q)| Walk::new(&p, &q)).collect()
}
