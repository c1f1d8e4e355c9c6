//! Random expressions in the columns of a circuit.

use openvm_stark_backend::p3_field::PrimeCharacteristicRing;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

/// A small generator of random numbers: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn element(&mut self) -> F {
        // Small and special values are as likely as any.
        match self.below(6) {
            0 => F::ZERO,
            1 => F::ONE,
            2 => F::NEG_ONE,
            _ => F::from_u32((self.next() >> 34) as u32),
        }
    }
}

/// An expression in the columns of two neighbouring rows.
#[derive(Clone, Debug)]
pub enum Expr {
    /// The column of this number among all of the AIR, in this row or the next one.
    Column {
        column: usize,
        next: bool,
    },
    Constant(u32),
    Add(Box<Expr>, Box<Expr>),
    Sub(Box<Expr>, Box<Expr>),
    Mul(Box<Expr>, Box<Expr>),
    Neg(Box<Expr>),
}

impl Expr {
    /// A random expression of at most this degree in the columns before `end`.
    pub fn random(random: &mut Random, end: usize, degree: usize, size: usize, next: bool) -> Self {
        if size == 0 || random.chance(15) {
            return if degree == 0 || end == 0 || random.chance(10) {
                Self::Constant(random.below(1000) as u32)
            } else {
                Self::Column {
                    column: random.below(end),
                    next: next && random.chance(30),
                }
            };
        }
        let mut part = |degree| Box::new(Self::random(random, end, degree, size - 1, next));
        let (left, right) = (part(degree), part(degree));
        match random.below(5) {
            0 => Self::Neg(left),
            1 => Self::Sub(left, right),
            2 if degree > 1 => {
                let split = 1 + random.below(degree - 1);
                let left = Box::new(Self::random(random, end, split, size - 1, next));
                let right = Box::new(Self::random(random, end, degree - split, size - 1, next));
                Self::Mul(left, right)
            }
            _ => Self::Add(left, right),
        }
    }

    pub fn eval<T, R>(&self, column: &impl Fn(usize, bool) -> T, constant: &impl Fn(u32) -> R) -> R
    where
        T: Clone + Into<R>,
        R: PrimeCharacteristicRing,
    {
        match self {
            Self::Column { column: index, next } => column(*index, *next).into(),
            Self::Constant(value) => constant(*value),
            Self::Add(a, b) => a.eval(column, constant) + b.eval(column, constant),
            Self::Sub(a, b) => a.eval(column, constant) - b.eval(column, constant),
            Self::Mul(a, b) => a.eval(column, constant) * b.eval(column, constant),
            Self::Neg(a) => -a.eval(column, constant),
        }
    }
}
