//! The precompiles of BN254 (EIP-196, EIP-197), by the VM's instructions.

use alloc::vec::Vec;

use myriad_evm::crypto::PrecompileHalt;

use crate::{
    field::{Complex, Coordinate, Field, hex},
    fields::{Bn254Fp as Fp, Bn254Fp2 as Fp2},
    pairing::{Fp12, Pair, Pairing, Twist, miller_loop, walks},
    point::{Curve, Point, SignedDigits, Sum, multiply_sum},
};

const BYTES: usize = 32;

/// The number that the curve is made of, `u`.
const SEED: u128 = 4_965_661_367_192_848_881;
const ROUNDS: SignedDigits = SignedDigits::new(6 * SEED + 2);

const fn fp(digits: &str) -> Fp {
    Fp::from_const_bytes(hex(digits))
}

const fn fp2(c0: &str, c1: &str) -> Fp2 {
    Fp2::new(fp(c0), fp(c1))
}

pub struct G1;
pub struct G2;

impl Curve for G1 {
    type Field = Fp;

    fn right_side(x: &Fp) -> Fp {
        static B: Fp = fp("0000000000000000000000000000000000000000000000000000000000000003");
        x.square().mul(x).add(&B)
    }

    fn derivative(x: &Fp) -> Fp {
        x.square().triple()
    }
}

impl Curve for G2 {
    type Field = Fp2;

    fn right_side(x: &Fp2) -> Fp2 {
        // 3 / ξ
        static B: Fp2 = fp2(
            "2b149d40ceb8aaae81be18991be06ac3b5b4c5e559dbefa33267e6dc24a138e5",
            "009713b03af0fed4cd2cafadeed8fdf4a74fa084e52d1852e4a2bd0685c315d2",
        );
        x.square().mul(x).add(&B)
    }

    fn derivative(x: &Fp2) -> Fp2 {
        x.square().triple()
    }
}

pub struct Bn254;

impl Pairing for Bn254 {
    type Fp2 = Fp2;
    type G1 = G1;
    type G2 = G2;

    const TWIST: Twist = Twist::Divisive;

    fn xi() -> &'static Fp2 {
        static XI: Fp2 = fp2(
            "0000000000000000000000000000000000000000000000000000000000000009",
            "0000000000000000000000000000000000000000000000000000000000000001",
        );
        &XI
    }

    fn frobenius_coefficients() -> &'static [Fp2; 6] {
        static COEFFICIENTS: [Fp2; 6] = [
            fp2(
                "0000000000000000000000000000000000000000000000000000000000000001",
                "0000000000000000000000000000000000000000000000000000000000000000",
            ),
            fp2(
                "1284b71c2865a7dfe8b99fdd76e68b605c521e08292f2176d60b35dadcc9e470",
                "246996f3b4fae7e6a6327cfe12150b8e747992778eeec7e5ca5cf05f80f362ac",
            ),
            fp2(
                "2fb347984f7911f74c0bec3cf559b143b78cc310c2c3330c99e39557176f553d",
                "16c9e55061ebae204ba4cc8bd75a079432ae2a1d0b7c9dce1665d51c640fcba2",
            ),
            fp2(
                "063cf305489af5dcdc5ec698b6e2f9b9dbaae0eda9c95998dc54014671a0135a",
                "07c03cbcac41049a0704b5a7ec796f2b21807dc98fa25bd282d37f632623b0e3",
            ),
            fp2(
                "05b54f5e64eea80180f3c0b75a181e84d33365f7be94ec72848a1f55921ea762",
                "2c145edbe7fd8aee9f3a80b03b0b1c923685d2ea1bdec763c13b4711cd2b8126",
            ),
            fp2(
                "0183c1e74f798649e93a3661a4353ff4425c459b55aa1bd32ea2c810eab7692f",
                "12acf2ca76fd0675a27fb246c7729f7db080cb99678e2ac024c6b8ee6e0c2c4b",
            ),
        ];
        &COEFFICIENTS
    }
}

/// The Frobenius map on the twisted curve: `(x, y)` goes to the curve, is taken to the power of `p`
/// there, and comes back.
fn frobenius(point: &Point<G2>) -> Point<G2> {
    let coefficients = Bn254::frobenius_coefficients();
    let x = point.x.conjugate().mul(&coefficients[2]);
    let y = point.y.conjugate().mul(&coefficients[3]);
    Point::unchecked(x, y)
}

fn is_pairing_one(pairs: Vec<Pair<Bn254>>) -> bool {
    let mut walks = walks::<Bn254>(pairs);
    if walks.is_empty() {
        return true;
    }
    let mut value = miller_loop(&mut walks, ROUNDS);
    for walk in &mut walks {
        let first = frobenius(walk.start());
        let second = frobenius(&first).negative();
        walk.add(&first, &mut value);
        walk.add(&second, &mut value);
    }
    final_exponentiation(&value).is_one()
}

/// Raises to the power of `(p¹² - 1)/r` times a number prime to r.
///
/// The method is from Fuentes-Castañeda, Knapp and Rodríguez-Henríquez, "Faster hashing to G2".
fn final_exponentiation(value: &Fp12<Bn254>) -> Fp12<Bn254> {
    let to_minus_seed = |value: &Fp12<Bn254>| value.power(SignedDigits::new(SEED)).conjugate();
    let r = value.easy_part();
    let y0 = to_minus_seed(&r);
    let y1 = y0.square();
    let y3 = y1.square().mul(&y1);
    let y4 = to_minus_seed(&y3);
    let y6 = to_minus_seed(&y4.square());
    let y8 = y6.conjugate().mul(&y4).mul(&y3.conjugate());
    let y9 = y8.mul(&y1);
    let y11 = y8.mul(&y4).mul(&r);
    let y13 = y9.frobenius().mul(&y11);
    let y14 = y8.frobenius_twice().mul(&y13);
    r.conjugate().mul(&y9).frobenius_twice().frobenius().mul(&y14)
}

fn read_fp(bytes: &[u8]) -> Result<Fp, PrecompileHalt> {
    Fp::read(bytes).ok_or(PrecompileHalt::Bn254FieldPointNotAMember)
}

/// 64 bytes; zeros are the point at infinity.
fn read_g1(bytes: &[u8]) -> Result<Option<Point<G1>>, PrecompileHalt> {
    let (x, y) = bytes.split_at(BYTES);
    let (x, y) = (read_fp(x)?, read_fp(y)?);
    if x.is_zero() && y.is_zero() {
        return Ok(None);
    }
    // The group of the curve has no other subgroup.
    let point = Point::new(x, y).ok_or(PrecompileHalt::Bn254AffineGFailedToCreate)?;
    Ok(Some(point))
}

/// 128 bytes, imaginary parts first; zeros are the point at infinity.
fn read_g2(bytes: &[u8]) -> Result<Option<Point<G2>>, PrecompileHalt> {
    let mut numbers = bytes.chunks_exact(BYTES).map(read_fp);
    let mut next = || numbers.next().expect("there are four numbers");
    let (x1, x0, y1, y0) = (next()?, next()?, next()?, next()?);
    let (x, y) = (Fp2::new(x0, x1), Fp2::new(y0, y1));
    if x.is_zero() && y.is_zero() {
        return Ok(None);
    }
    Point::new(x, y)
        .filter(is_in_g2)
        .map(Some)
        .ok_or(PrecompileHalt::Bn254AffineGFailedToCreate)
}

/// The test of section 4.3 of <https://eprint.iacr.org/2022/352>.
fn is_in_g2(point: &Point<G2>) -> bool {
    // 6u² times, which has too many digits for one step.
    point.times(SEED).times(6 * SEED).0.as_ref() == Some(&frobenius(point))
}

fn write_g1(sum: &Sum<G1>) -> [u8; 2 * BYTES] {
    let mut bytes = [0; 2 * BYTES];
    if let Some(point) = &sum.0 {
        let (x, y) = bytes.split_at_mut(BYTES);
        point.x.write(x);
        point.y.write(y);
    }
    bytes
}

pub fn add(a: &[u8], b: &[u8]) -> Result<[u8; 2 * BYTES], PrecompileHalt> {
    let mut sum = Sum(read_g1(a)?);
    sum.add_sum(&Sum(read_g1(b)?));
    Ok(write_g1(&sum))
}

pub fn mul(point: &[u8], scalar: &[u8]) -> Result<[u8; 2 * BYTES], PrecompileHalt> {
    let scalar = scalar.try_into().expect("a scalar has 32 bytes");
    let product = match read_g1(point)? {
        None => Sum(None),
        Some(point) => multiply_sum(&[(point, scalar)]),
    };
    Ok(write_g1(&product))
}

pub fn pairing_check(pairs: &[(&[u8], &[u8])]) -> Result<bool, PrecompileHalt> {
    let pairs = pairs.iter().map(|(p, q)| Ok((read_g1(p)?, read_g2(q)?)));
    Ok(is_pairing_one(pairs.collect::<Result<_, _>>()?))
}
