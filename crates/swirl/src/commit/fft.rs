//! Evaluating polynomials on cosets of two-adic subgroups.
//!
//! A polynomial of `n` coefficients is evaluated by remainders: modulo `X^n - a^n` it is itself,
//! and a remainder modulo `X^m - c^2` leads to the two modulo `X^(m/2) - c` and `X^(m/2) + c`.
//! After `log2(n)` layers each remainder is a value. In this order one twiddle serves a whole
//! block, so that the inner loop has no other operand than the block, and the shift `a` of the
//! coset costs nothing. Values come out in bit-reversed order: position `p` holds the value at `a *
//! w^rev(p)`.

use openvm_stark_backend::p3_field::{PrimeCharacteristicRing, TwoAdicField};

/// The roots that the layers of all transforms up to a size have in common. `roots[b]` is the
/// square root of one that splits the block `b` of any layer, where the coset is the subgroup
/// itself.
pub(crate) struct Roots<F> {
    roots: Vec<F>,
    log_n: usize,
}

impl<F: TwoAdicField> Roots<F> {
    /// The roots for transforms of up to `2^log_n` coefficients.
    pub(crate) fn new(log_n: usize) -> Self {
        let mut roots = vec![F::ONE];
        for depth in 1..log_n {
            // Bits of a block's index count in reverse: bit `i` is worth `1 / 2^(i+2)` of a turn.
            let turn = F::two_adic_generator(depth + 1);
            for b in 0..roots.len() {
                roots.push(roots[b] * turn);
            }
        }
        Self { roots, log_n }
    }

    /// Twiddles for evaluating `2^log_n` coefficients on the coset of `shift`: entry `2^d + b` is
    /// that of block `b` in layer `d`. Entry 0 is not used.
    pub(crate) fn twiddles<S>(&self, log_n: usize, shift: S) -> Vec<S>
    where
        S: PrimeCharacteristicRing + Copy + core::ops::Mul<F, Output = S>,
    {
        assert!(log_n <= self.log_n, "roots for 2^{} of 2^{log_n}", self.log_n);
        let mut twiddles = vec![S::ONE; 1 << log_n];
        let mut power = shift;
        for depth in (0..log_n).rev() {
            // `power` is here the shift to the power of half a block.
            for (twiddle, &root) in twiddles[1 << depth..].iter_mut().zip(&self.roots[..1 << depth]) {
                *twiddle = power * root;
            }
            power = power.square();
        }
        twiddles
    }
}

/// Evaluates in place: `values` holds coefficients and then values in bit-reversed order.
/// `twiddle(i)` is entry `i` of [`Roots::twiddles`].
#[inline(always)]
pub(crate) fn evaluate<P>(values: &mut [P], twiddle: impl Fn(usize) -> P)
where
    P: PrimeCharacteristicRing + Copy,
{
    let n = values.len();
    let log_n = n.trailing_zeros() as usize;
    let mut depth = 0;
    // Two layers at once where there are two: half of the loads and stores.
    while depth + 1 < log_n {
        let quarter = n >> (depth + 2);
        for (b, block) in values.chunks_exact_mut(4 * quarter).enumerate() {
            let outer = twiddle((1 << depth) + b);
            let inner = [twiddle((2 << depth) + 2 * b), twiddle((2 << depth) + 2 * b + 1)];
            let (low, high) = block.split_at_mut(2 * quarter);
            let (x0, x1) = low.split_at_mut(quarter);
            let (x2, x3) = high.split_at_mut(quarter);
            for (((x0, x1), x2), x3) in x0.iter_mut().zip(x1).zip(x2).zip(x3) {
                let (t2, t3) = (*x2 * outer, *x3 * outer);
                let (a0, a1, a2, a3) = (*x0 + t2, *x1 + t3, *x0 - t2, *x1 - t3);
                let (u1, u3) = (a1 * inner[0], a3 * inner[1]);
                (*x0, *x1, *x2, *x3) = (a0 + u1, a0 - u1, a2 + u3, a2 - u3);
            }
        }
        depth += 2;
    }
    if depth < log_n {
        for (b, pair) in values.chunks_exact_mut(2).enumerate() {
            let t = pair[1] * twiddle((1 << depth) + b);
            (pair[0], pair[1]) = (pair[0] + t, pair[0] - t);
        }
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::{
        p3_field::{Field, PrimeCharacteristicRing, TwoAdicField},
        p3_util::reverse_bits_len,
    };
    use openvm_stark_sdk::config::baby_bear_poseidon2::F;

    use super::{Roots, evaluate};

    #[test]
    fn values_are_those_of_the_polynomial() {
        let roots = Roots::<F>::new(7);
        for log_n in 0..=7 {
            let shift = F::GENERATOR.exp_u64(5);
            let coefficients: Vec<F> = (0..1u32 << log_n)
                .map(|i| F::from_u32(i * i + 3 * i + 7))
                .collect();
            let twiddles = roots.twiddles(log_n, shift);
            let mut values = coefficients.clone();
            evaluate(&mut values, |i| twiddles[i]);
            let omega = F::two_adic_generator(log_n);
            for (position, &value) in values.iter().enumerate() {
                let x = shift * omega.exp_u64(reverse_bits_len(position, log_n) as u64);
                let expected = coefficients.iter().rev().fold(F::ZERO, |sum, &c| sum * x + c);
                assert_eq!(value, expected, "2^{log_n} coefficients, position {position}");
            }
        }
    }
}
