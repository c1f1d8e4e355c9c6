//! The worst host: it gives another than the least representation wherever a proof allows it.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use openvm_algebra_guest::IntMod;

/// More often than that, no formula has to be computed anew.
const PASSES_MAX: usize = 2000;
/// Most primes that are added to a result.
const ADDED_MAX: u64 = 5;

/// A number of a field, or a complex one.
pub trait Number: Clone {
    /// The least representation.
    fn reduced(&self) -> Self;
    /// Takes a representation of the host's choice.
    fn choose(&mut self);
    /// Compares as the VM does: with another than the least representation of either there is
    /// no proof.
    fn is(&self, other: &Self) -> bool;
}

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// The choices of one computation.
struct Host {
    /// The seed of this choice among the possible ones. 0 takes a greater representation
    /// wherever there is one.
    seed: u64,
    /// How many results there were.
    results: u64,
    /// The results that have to be the least representation, by their places.
    least: HashSet<u64>,
    /// Where the last result comes from that is this other representation, of a number modulo
    /// this prime.
    places: HashMap<Key, u64>,
    /// Whether more results turned out to have to be the least representation, so that there is
    /// no proof.
    is_refused: bool,
}

impl Host {
    /// How many primes are added to the next result.
    fn added(&mut self) -> u64 {
        let place = self.results;
        self.results += 1;
        if self.least.contains(&place) {
            return 0;
        }
        let random = scramble(self.seed ^ place);
        match self.seed {
            0 => 1,
            _ if random.is_multiple_of(2) => 0,
            _ => 1 + random / 2 % ADDED_MAX,
        }
    }

    fn note<F: IntMod>(&mut self, number: &F) {
        self.places.insert(key(number), self.results - 1);
    }

    fn refuse<F: IntMod>(&mut self, number: &F) {
        // A number from outside is not the host's choice, and not asked for in this form.
        if let Some(place) = self.places.get(&key(number)) {
            self.is_refused = true;
            self.least.insert(*place);
        }
    }
}

/// Bytes of the longest number.
const BYTES_MAX: usize = 48;

/// The bytes of a number, and the prime's lowest ones, which no other prime has. Each result is
/// noted by one, so it needs no heap.
type Key = ([u8; BYTES_MAX], [u8; 8]);

fn key<F: IntMod>(number: &F) -> Key {
    let mut bytes = [0; BYTES_MAX];
    let own = number.as_le_bytes();
    bytes[..own.len()].copy_from_slice(own);
    (bytes, *F::MODULUS.as_ref().first_chunk().unwrap())
}

/// A number that looks random, by SplitMix64: each result asks for one.
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The result of `compute` by a host that gives another than the least representation wherever
/// there is a proof with one, and the number of results that it gave so.
pub fn worst<T>(seed: u64, compute: impl Fn() -> T) -> (T, usize) {
    let mut least = HashSet::new();
    for _ in 0..PASSES_MAX {
        let host = Host {
            seed,
            results: 0,
            least,
            places: HashMap::new(),
            is_refused: false,
        };
        HOST.set(Some(host));
        let outcome = compute();
        let host = HOST.take().unwrap();
        if !host.is_refused {
            return (outcome, host.places.len());
        }
        least = host.least;
    }
    panic!("after {PASSES_MAX} times, another result has to be the least representation");
}

pub fn operate<F: Number>(result: &mut F, other: &F, operation: impl FnOnce(&mut F, &F)) {
    // OpenVM's own operations outside of the VM are for the least representations.
    let other = other.reduced();
    *result = result.reduced();
    operation(result, &other);
    result.choose();
}

pub fn combine<F: Number>(place: &mut F, a: &F, b: &F, operation: impl FnOnce(&mut F, &F, &F)) {
    operation(place, &a.reduced(), &b.reduced());
    place.choose();
}

/// The limbs of a number that is less than 2^224. Has no proof with another than the least
/// representation.
pub fn small(number: &crate::fields::Secp256k1Coordinate) -> [u32; 8] {
    least(number);
    *crate::fields::limbs(number)
}

/// The limbs of a number. Has no proof with another than the least representation.
pub fn whole(number: &crate::fields::Secp256k1Coordinate) -> [u32; 8] {
    least(number);
    *crate::fields::limbs(number)
}

pub fn product<F: Number + for<'a> core::ops::MulAssign<&'a F>>(a: &F, b: &F) -> F {
    let mut product = a.clone();
    operate(&mut product, b, |a, b| *a *= b);
    product
}

pub fn equal<F: Number>(a: &F, b: &F) -> bool {
    a.is(b)
}

/// Has no proof with another than the least representation.
pub fn least<F: IntMod>(number: &F) {
    if !number.is_reduced() {
        HOST.with_borrow_mut(|host| {
            if let Some(host) = host {
                host.refuse(number);
            }
        });
    }
}

pub fn reduced<F: IntMod>(number: &F) -> F {
    if number.is_reduced() {
        return number.clone();
    }
    F::from_biguint(number.as_biguint() % F::modulus_biguint())
}

/// Adds the prime as often as the host chooses, and as there is room. By bytes: almost all
/// results pass here, and numbers of any size would be thrice as slow.
pub fn choose<F: IntMod>(number: &mut F) {
    HOST.with_borrow_mut(|host| {
        let Some(host) = host else { return };
        let mut greater = number.as_le_bytes().to_vec();
        let mut next = greater.clone();
        for _ in 0..host.added() {
            if add(&mut next, F::MODULUS.as_ref()) {
                break;
            }
            greater.copy_from_slice(&next);
        }
        if greater != number.as_le_bytes() {
            *number = F::from_le_bytes_unchecked(&greater);
            host.note(number);
        }
    });
}

/// Adds a number of as many bytes, the lowest first. Returns the carry.
fn add(number: &mut [u8], other: &[u8]) -> bool {
    let mut carry = false;
    for (byte, &other) in number.iter_mut().zip(other) {
        (*byte, carry) = byte.carrying_add(other, carry);
    }
    carry
}

pub fn is<F: IntMod>(a: &F, b: &F) -> bool {
    least(a);
    least(b);
    reduced(a) == reduced(b)
}

macro_rules! numbers {
    ($($prime:ident)*; $($complex:ident)*) => {
        $(
            impl Number for crate::fields::$prime {
                fn reduced(&self) -> Self {
                    reduced(self)
                }

                fn choose(&mut self) {
                    choose(self);
                }

                fn is(&self, other: &Self) -> bool {
                    is(self, other)
                }
            }
        )*
        $(
            impl Number for crate::fields::$complex {
                fn reduced(&self) -> Self {
                    Self::new(reduced(&self.c0), reduced(&self.c1))
                }

                fn choose(&mut self) {
                    choose(&mut self.c0);
                    choose(&mut self.c1);
                }

                fn is(&self, other: &Self) -> bool {
                    is(&self.c0, &other.c0) && is(&self.c1, &other.c1)
                }
            }
        )*
    };
}

numbers!(Secp256k1Coordinate Bn254Fp Bls12Fp P256Coordinate P256Scalar; Bn254Fp2 Bls12Fp2);

#[cfg(test)]
mod tests;
