//! Proofs that a polynomial has a value at a point (EIP-4844).

use super::{FP_BYTES, Fp, Fp2, G1, G2, Group, fp, fp2, is_pairing_one};
use crate::{
    bls12_381::map::square_root,
    field::{Coordinate, Field, hex, is_odd},
    point::{Curve, Point, SCALAR_BYTES, Sum, multiply_sum},
};

/// The order of the groups.
const ORDER: [u8; SCALAR_BYTES] = {
    let mut bytes = hex("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001");
    bytes.reverse();
    bytes
};

fn g1_generator() -> Point<G1> {
    static X: Fp = fp(
        "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
    );
    static Y: Fp = fp(
        "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1",
    );
    Point::unchecked(X.clone(), Y.clone())
}

fn g2_generator() -> Point<G2> {
    static X: Fp2 = fp2(
        "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8",
        "13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e",
    );
    static Y: Fp2 = fp2(
        "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801",
        "0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be",
    );
    Point::unchecked(X.clone(), Y.clone())
}

/// τ times the generator of the second group, where nobody knows τ: of Ethereum's ceremony.
fn g2_tau() -> Point<G2> {
    static X: Fp2 = fp2(
        "185cbfee53492714734429b7b38608e23926c911cceceac9a36851477ba4c60b087041de621000edc98edada20c1def2",
        "15bfd7dd8cdeb128843bc287230af38926187075cbfbefa81009a2ce615ac53d2914e5870cb452d2afaaab24f3499f72",
    );
    static Y: Fp2 = fp2(
        "014353bdb96b626dd7d5ee8599d1fca2131569490e28de18e82451a496a9c9794ce26d105941f383ee689bfbbb832a99",
        "1666c54b0a32529503432fcae0181b4bef79de09fc63671fda5ed1ba9bfa07899495346f3d7ac9cd23048ef30d0a154f",
    );
    Point::unchecked(X.clone(), Y.clone())
}

/// Whether the polynomial of the commitment has the value `y` at `z`.
///
/// That is `e(C - y·G1, -G2) · e(π, τ·G2 - z·G2) = 1`, and the same as `e(C - y·G1 + z·π, -G2) ·
/// e(π, τ·G2) = 1`, where all that is multiplied is in the first group.
pub fn verify_kzg_proof(
    z: &[u8; SCALAR_BYTES],
    y: &[u8; SCALAR_BYTES],
    commitment: &[u8; FP_BYTES],
    proof: &[u8; FP_BYTES],
) -> bool {
    let (Some(commitment), Some(proof)) = (decompress(commitment), decompress(proof)) else {
        return false;
    };
    if *z >= ORDER || *y >= ORDER {
        return false;
    }
    let mut terms = alloc::vec![(g1_generator().negative(), *y)];
    terms.extend(proof.0.clone().map(|proof| (proof, *z)));
    let mut left = multiply_sum(&terms);
    left.add_sum(&commitment);
    is_pairing_one(alloc::vec![
        (left.0, Some(g2_generator().negative())),
        (proof.0, Some(g2_tau())),
    ])
}

/// A point of the first group, as x and three flags: compressed, at infinity, and whether y is the
/// larger one of two.
fn decompress(bytes: &[u8; FP_BYTES]) -> Option<Sum<G1>> {
    let flag = |bit: u8| bytes[0] >> bit & 1 == 1;
    let (is_compressed, is_infinity, is_larger) = (flag(7), flag(6), flag(5));
    let mut bytes = *bytes;
    bytes[0] &= 0b0001_1111;
    if !is_compressed {
        return None;
    }
    if is_infinity {
        return (!is_larger && bytes == [0; FP_BYTES]).then_some(Sum(None));
    }
    let x = Fp::read(&bytes)?;
    let mut y = square_root(&G1::right_side(&x))?;
    // The larger one of y and -y is above half of the prime. Its double, less the prime, is odd.
    if is_odd(&y.double()) != is_larger {
        y = y.neg();
    }
    let point = Point::unchecked(x, y);
    G1::has(&point).then_some(Sum(Some(point)))
}
