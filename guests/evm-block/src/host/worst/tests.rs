//! Tests of the worst host itself.

use super::*;
use crate::{
    field::{Coordinate, Field},
    fields::Bn254Fp,
};

/// A formula that reads a result as an integer without asking for the least representation
/// comes to something else.
#[test]
fn a_missing_reduction_is_seen_and_one_that_is_there_is_enough() {
    let two = Field::double(Bn254Fp::one());
    let careless = || two.mul(&two).as_le_bytes()[0];
    let careful = || {
        let mut bytes = [0; 32];
        two.mul(&two).write(&mut bytes);
        bytes[31]
    };
    for seed in 0..8 {
        assert_eq!(worst(seed, careful).0, 4);
    }
    let (careless, chosen) = worst(0, careless);
    assert!(careless != 4 && chosen > 0);
    // A result that is compared, or a copy of it, is the least one from its beginning.
    let compared = || {
        let product = two.mul(&two);
        let byte = product.as_le_bytes()[0];
        let copy = product.clone();
        assert!(copy.equals(&Field::double(&two)));
        byte
    };
    assert_eq!(worst(0, compared).0, 4);
}
