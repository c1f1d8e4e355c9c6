//! The precompiles of BLS12-381 (EIP-2537) and for blobs (EIP-4844), by the VM's instructions.

mod kzg;
mod map;

use alloc::vec::Vec;

use myriad_evm::crypto::PrecompileHalt;

pub use self::{
    kzg::verify_kzg_proof,
    map::{map_to_g1, map_to_g2},
};
use crate::{
    field::{Complex, Coordinate, Field, hex},
    fields::{Bls12Fp as Fp, Bls12Fp2 as Fp2},
    pairing::{Fp12, Pair, Pairing, Twist, miller_loop, walks},
    point::{Curve, Point, SCALAR_BYTES, SignedDigits, Sum, multiply_sum},
};

pub const FP_BYTES: usize = 48;
pub const G1_BYTES: usize = 2 * FP_BYTES;
pub const G2_BYTES: usize = 4 * FP_BYTES;

/// Coordinates as the EVM's precompiles have them: x and y, real parts first.
pub type G1Coordinates = ([u8; FP_BYTES], [u8; FP_BYTES]);
pub type G2Coordinates = ([u8; FP_BYTES], [u8; FP_BYTES], [u8; FP_BYTES], [u8; FP_BYTES]);

/// The number that the curve is made of, which is negative: `-x`.
const MINUS_SEED: u128 = 0xd201_0000_0001_0000;
const ROUNDS: SignedDigits = SignedDigits::new(MINUS_SEED);

const fn fp(digits: &str) -> Fp {
    Fp::from_const_bytes(hex(digits))
}

const fn fp2(c0: &str, c1: &str) -> Fp2 {
    Fp2::new(fp(c0), fp(c1))
}

const fn small(number: u8) -> Fp {
    let mut bytes = [0; FP_BYTES];
    bytes[0] = number;
    Fp::from_const_bytes(bytes)
}

pub struct G1;
pub struct G2;

impl Curve for G1 {
    type Field = Fp;

    fn right_side(x: &Fp) -> Fp {
        static B: Fp = small(4);
        x.square().mul(x).add(&B)
    }

    fn derivative(x: &Fp) -> Fp {
        x.square().triple()
    }
}

impl Curve for G2 {
    type Field = Fp2;

    fn right_side(x: &Fp2) -> Fp2 {
        static B: Fp2 = Fp2::new(small(4), small(4));
        x.square().mul(x).add(&B)
    }

    fn derivative(x: &Fp2) -> Fp2 {
        x.square().triple()
    }
}

/// A group of points by its curve, and what is read and written of it.
pub trait Group: Curve {
    const OFF_CURVE: PrecompileHalt;
    const OUTSIDE: PrecompileHalt;

    /// Whether a point of the curve is in the group, whose order is prime.
    fn has(point: &Point<Self>) -> bool;
}

impl Group for G1 {
    const OFF_CURVE: PrecompileHalt = PrecompileHalt::Bls12381G1NotOnCurve;
    const OUTSIDE: PrecompileHalt = PrecompileHalt::Bls12381G1NotInSubgroup;

    /// The test of section 6 of <https://eprint.iacr.org/2021/1130>: -x² times the point is another
    /// with the same y.
    fn has(point: &Point<G1>) -> bool {
        static BETA: Fp = fp(
            "00000000000000005f19672fdf76ce51ba69c6076a0f77eaddb3a93be6f89688de17d813620a00022e01fffffffefffe",
        );
        let negative = Point::unchecked(point.x.mul(&BETA), point.y.neg());
        point.times(MINUS_SEED).times(MINUS_SEED).0.as_ref() == Some(&negative)
    }
}

impl Group for G2 {
    const OFF_CURVE: PrecompileHalt = PrecompileHalt::Bls12381G2NotOnCurve;
    const OUTSIDE: PrecompileHalt = PrecompileHalt::Bls12381G2NotInSubgroup;

    /// The test of section 4 of the same paper: x times the point is its image by Frobenius.
    fn has(point: &Point<G2>) -> bool {
        point.times(MINUS_SEED).negative().0.as_ref() == Some(&frobenius(point))
    }
}

pub struct Bls12;

impl Pairing for Bls12 {
    type Fp2 = Fp2;
    type G1 = G1;
    type G2 = G2;

    const TWIST: Twist = Twist::Multiplicative;

    fn xi() -> &'static Fp2 {
        static XI: Fp2 = Fp2::new(small(1), small(1));
        &XI
    }

    fn frobenius_coefficients() -> &'static [Fp2; 6] {
        static COEFFICIENTS: [Fp2; 6] = [
            fp2(
                "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001",
                "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
            ),
            fp2(
                "1904d3bf02bb0667c231beb4202c0d1f0fd603fd3cbd5f4f7b2443d784bab9c4f67ea53d63e7813d8d0775ed92235fb8",
                "00fc3e2b36c4e03288e9e902231f9fb854a14787b6c7b36fec0c8ec971f63c5f282d5ac14d6c7ec22cf78a126ddc4af3",
            ),
            fp2(
                "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
                "1a0111ea397fe699ec02408663d4de85aa0d857d89759ad4897d29650fb85f9b409427eb4f49fffd8bfd00000000aaac",
            ),
            fp2(
                "06af0e0437ff400b6831e36d6bd17ffe48395dabc2d3435e77f76e17009241c5ee67992f72ec05f4c81084fbede3cc09",
                "06af0e0437ff400b6831e36d6bd17ffe48395dabc2d3435e77f76e17009241c5ee67992f72ec05f4c81084fbede3cc09",
            ),
            fp2(
                "1a0111ea397fe699ec02408663d4de85aa0d857d89759ad4897d29650fb85f9b409427eb4f49fffd8bfd00000000aaad",
                "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
            ),
            fp2(
                "05b2cfd9013a5fd8df47fa6b48b1e045f39816240c0b8fee8beadf4d8e9c0566c63a3e6e257f87329b18fae980078116",
                "144e4211384586c16bd3ad4afa99cc9170df3560e77982d0db45f3536814f0bd5871c1908bd478cd1ee605167ff82995",
            ),
        ];
        &COEFFICIENTS
    }
}

/// The Frobenius map on the twisted curve: `(x, y)` goes to the curve, is taken to the power of `p`
/// there, and comes back.
fn frobenius(point: &Point<G2>) -> Point<G2> {
    // The inverses of the coefficients 2 and 3.
    static X: Fp2 = fp2(
        "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
        "1a0111ea397fe699ec02408663d4de85aa0d857d89759ad4897d29650fb85f9b409427eb4f49fffd8bfd00000000aaad",
    );
    static Y: Fp2 = fp2(
        "135203e60180a68ee2e9c448d77a2cd91c3dedd930b1cf60ef396489f61eb45e304466cf3e67fa0af1ee7b04121bdea2",
        "06af0e0437ff400b6831e36d6bd17ffe48395dabc2d3435e77f76e17009241c5ee67992f72ec05f4c81084fbede3cc09",
    );
    Point::unchecked(point.x.conjugate().mul(&X), point.y.conjugate().mul(&Y))
}

fn is_pairing_one(pairs: Vec<Pair<Bls12>>) -> bool {
    let mut walks = walks::<Bls12>(pairs);
    if walks.is_empty() {
        return true;
    }
    // The number of rounds is negative.
    let value = miller_loop(&mut walks, ROUNDS).conjugate();
    final_exponentiation(&value).is_one()
}

/// Raises to the power of `(p¹² - 1)/r` times 3: <https://eprint.iacr.org/2020/875>.
fn final_exponentiation(value: &Fp12<Bls12>) -> Fp12<Bls12> {
    let to_seed = |value: &Fp12<Bls12>| value.power(ROUNDS).conjugate();
    let r = value.easy_part();
    // The power of (x - 1)²
    let y = to_seed(&r).mul(&r.conjugate());
    let y = to_seed(&y).mul(&y.conjugate());
    // x + p
    let y = to_seed(&y).mul(&y.frobenius());
    // x² + p² - 1
    let y = to_seed(&to_seed(&y))
        .mul(&y.frobenius_twice())
        .mul(&y.conjugate());
    // and 3 more.
    r.square().mul(&r).mul(&y)
}

fn read_fp(bytes: &[u8; FP_BYTES]) -> Result<Fp, PrecompileHalt> {
    Fp::read(bytes).ok_or(PrecompileHalt::NonCanonicalFp)
}

fn read_fp2(c0: &[u8; FP_BYTES], c1: &[u8; FP_BYTES]) -> Result<Fp2, PrecompileHalt> {
    Ok(Fp2::new(read_fp(c0)?, read_fp(c1)?))
}

/// Zeros are the point at infinity.
fn read_point<G: Group>(x: G::Field, y: G::Field) -> Result<Sum<G>, PrecompileHalt> {
    if x.is_zero() && y.is_zero() {
        return Ok(Sum(None));
    }
    Ok(Sum(Some(Point::new(x, y).ok_or(G::OFF_CURVE)?)))
}

fn read_on_g1((x, y): &G1Coordinates) -> Result<Sum<G1>, PrecompileHalt> {
    read_point(read_fp(x)?, read_fp(y)?)
}

fn read_on_g2((x0, x1, y0, y1): &G2Coordinates) -> Result<Sum<G2>, PrecompileHalt> {
    read_point(read_fp2(x0, x1)?, read_fp2(y0, y1)?)
}

fn check<G: Group>(sum: Sum<G>) -> Result<Option<Point<G>>, PrecompileHalt> {
    match sum.0 {
        Some(point) if !G::has(&point) => Err(G::OUTSIDE),
        point => Ok(point),
    }
}

fn write_g1(sum: &Sum<G1>) -> [u8; G1_BYTES] {
    let mut bytes = [0; G1_BYTES];
    if let Some(Point { x, y }) = &sum.0 {
        write(&mut bytes, [x, y]);
    }
    bytes
}

fn write_g2(sum: &Sum<G2>) -> [u8; G2_BYTES] {
    let mut bytes = [0; G2_BYTES];
    if let Some(Point { x, y }) = &sum.0 {
        write(&mut bytes, [&x.c0, &x.c1, &y.c0, &y.c1]);
    }
    bytes
}

fn write<const N: usize>(bytes: &mut [u8], numbers: [&Fp; N]) {
    for (bytes, number) in bytes.chunks_exact_mut(FP_BYTES).zip(numbers) {
        number.write(bytes);
    }
}

pub fn g1_add(a: &G1Coordinates, b: &G1Coordinates) -> Result<[u8; G1_BYTES], PrecompileHalt> {
    let mut sum = read_on_g1(a)?;
    sum.add_sum(&read_on_g1(b)?);
    Ok(write_g1(&sum))
}

pub fn g2_add(a: &G2Coordinates, b: &G2Coordinates) -> Result<[u8; G2_BYTES], PrecompileHalt> {
    let mut sum = read_on_g2(a)?;
    sum.add_sum(&read_on_g2(b)?);
    Ok(write_g2(&sum))
}

type Terms<'a, Coordinates> =
    &'a mut dyn Iterator<Item = Result<(Coordinates, [u8; SCALAR_BYTES]), PrecompileHalt>>;

fn msm<G: Group, Coordinates>(
    terms: Terms<'_, Coordinates>,
    read: impl Fn(&Coordinates) -> Result<Sum<G>, PrecompileHalt>,
) -> Result<Sum<G>, PrecompileHalt> {
    let mut points = Vec::new();
    for term in terms {
        let (point, scalar) = term?;
        if let Some(point) = check(read(&point)?)? {
            points.push((point, scalar));
        }
    }
    Ok(multiply_sum(&points))
}

pub fn g1_msm(terms: Terms<'_, G1Coordinates>) -> Result<[u8; G1_BYTES], PrecompileHalt> {
    Ok(write_g1(&msm(terms, read_on_g1)?))
}

pub fn g2_msm(terms: Terms<'_, G2Coordinates>) -> Result<[u8; G2_BYTES], PrecompileHalt> {
    Ok(write_g2(&msm(terms, read_on_g2)?))
}

pub fn pairing_check(pairs: &[(G1Coordinates, G2Coordinates)]) -> Result<bool, PrecompileHalt> {
    let pairs = pairs
        .iter()
        .map(|(p, q)| Ok((check(read_on_g1(p)?)?, check(read_on_g2(q)?)?)));
    Ok(is_pairing_one(pairs.collect::<Result<_, _>>()?))
}

/// Points that are on the curves, and hardly ever in the groups.
#[cfg(test)]
pub mod for_tests {
    use super::{map::square_root_of_complex, *};

    /// A point with an x coordinate from this number on.
    pub fn on_g1_curve(start: &[u8; FP_BYTES]) -> [u8; G1_BYTES] {
        let mut x = read_fp(start).unwrap();
        loop {
            if let Some(y) = map::square_root(&G1::right_side(&x)) {
                return write_g1(&Sum(Some(Point::new(x, y).unwrap())));
            }
            x = x.add(Fp::one());
        }
    }

    pub fn on_g2_curve(start: &[u8; FP_BYTES]) -> [u8; G2_BYTES] {
        let mut x = read_fp2(start, start).unwrap();
        loop {
            if let Some(y) = square_root_of_complex(&G2::right_side(&x)) {
                return write_g2(&Sum(Some(Point::new(x, y).unwrap())));
            }
            x = x.add(Fp2::one());
        }
    }
}
