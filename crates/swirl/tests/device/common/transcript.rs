//! A transcript that grinds to the smallest witness, so that two proofs of the same are the same.

use openvm_stark_backend::{
    FiatShamirTranscript, p3_field::PrimeCharacteristicRing, p3_field::PrimeField64,
    p3_maybe_rayon::prelude::*,
};
use openvm_stark_sdk::{
    config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, DuplexSponge, F},
    p3_baby_bear::Poseidon2BabyBear,
};

type Inner = DuplexSponge;
type Config = BabyBearPoseidon2Config;

#[derive(Clone)]
pub struct SmallestWitness(Inner);

impl From<Poseidon2BabyBear<16>> for SmallestWitness {
    fn from(permutation: Poseidon2BabyBear<16>) -> Self {
        Self(Inner::from(permutation))
    }
}

impl FiatShamirTranscript<Config> for SmallestWitness {
    fn observe(&mut self, value: F) {
        FiatShamirTranscript::<Config>::observe(&mut self.0, value);
    }

    fn sample(&mut self) -> F {
        FiatShamirTranscript::<Config>::sample(&mut self.0)
    }

    fn observe_commit(&mut self, digest: Digest) {
        FiatShamirTranscript::<Config>::observe_commit(&mut self.0, digest);
    }

    fn grind(&mut self, bits: usize) -> F {
        if bits == 0 {
            return F::ZERO;
        }
        let witness = (0..F::ORDER_U64)
            .into_par_iter()
            .map(F::from_u64)
            .find_first(|&witness| self.clone().check_witness(bits, witness))
            .expect("some element is a witness");
        assert!(self.check_witness(bits, witness));
        witness
    }
}
