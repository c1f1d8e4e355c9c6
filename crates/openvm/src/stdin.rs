//! An input as OpenVM reads it.

use myriad_engine::{Input, Item};
use openvm_sdk::{F, StdIn};
use openvm_stark_backend::p3_field::PrimeCharacteristicRing;

pub(crate) fn stdin(input: &Input) -> StdIn {
    let mut stdin = StdIn::default();
    for item in input.items() {
        match item {
            Item::Bytes(bytes) => stdin.write_bytes(bytes),
            Item::Field(elements) => {
                stdin.write_field(&elements.iter().map(|&e| F::from_u32(e)).collect::<Vec<_>>());
            }
        }
    }
    stdin
}

#[cfg(test)]
mod tests {
    use myriad_engine::FIELD_MODULUS;
    use openvm_stark_backend::p3_field::PrimeField32;

    use super::*;

    #[test]
    fn field_elements_are_those_of_openvms_field() {
        assert_eq!(FIELD_MODULUS, F::ORDER_U32);
    }
}
