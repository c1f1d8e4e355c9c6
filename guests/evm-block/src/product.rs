//! Products of numbers of 256 bits, by the VM's instruction for secp256k1's coordinates.
//!
//! The product of two halves is less than the prime: modulo the prime, it is what it is without.
//! Four instructions so do what takes 64 products of limbs.

use core::array;

use myriad_evm::arithmetic::Limbs;
use openvm_algebra_guest::IntMod as _;

use crate::{
    digits::{Place, set_up, write_half, write_product},
    host,
};

/// Limbs of half a number.
const HALF: usize = 4;

/// The product, the lowest limb first.
pub fn product(a: &Limbs, b: &Limbs) -> [u32; 4 * HALF] {
    set_up();
    let [a_low, a_high] = halves(a);
    let [b_low, b_high] = halves(b);
    let mut places = [Place::ZERO; 4];
    let [low, low_high, high_low, high] = &mut places;
    write_product(low, &a_low, &b_low);
    write_product(low_high, &a_low, &b_high);
    write_product(high_low, &a_high, &b_low);
    write_product(high, &a_high, &b_high);
    let [low, low_high, high_low, high] = places.each_ref().map(host::whole);

    let mut carry = 0;
    let mut sum = |terms: [u32; 3]| {
        let sum = terms.into_iter().map(u64::from).sum::<u64>() + carry;
        carry = sum >> 32;
        sum as u32
    };
    let mut product = [0; 4 * HALF];
    let (parts, _) = product.as_chunks_mut::<HALF>();
    parts[0].copy_from_slice(&low[..HALF]);
    parts[1] = array::from_fn(|i| sum([low[HALF + i], low_high[i], high_low[i]]));
    parts[2] = array::from_fn(|i| sum([high[i], low_high[HALF + i], high_low[HALF + i]]));
    parts[3] = array::from_fn(|i| sum([high[HALF + i], 0, 0]));
    product
}

#[inline(always)]
fn halves([a, b, c, d, e, f, g, h]: &Limbs) -> [Place; 2] {
    [[*a, *b, *c, *d], [*e, *f, *g, *h]].map(|half| {
        let mut place = Place::ZERO;
        write_half(&mut place, half);
        place
    })
}
