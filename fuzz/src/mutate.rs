//! Changes to valid bytes, which know what formats are made of: lengths, counts, and parts that
//! repeat.

/// Numbers at which decoders change their minds.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 33,
    i64::MAX as u64,
    u64::MAX,
];
/// Changes to one input.
const CHANGES_MAX: u64 = 6;
/// Most bytes that are inserted or copied at once.
const PIECE_MAX: u64 = 64;

/// Random numbers, the same ones from the same seed. Steele, Lea, Flood 2014: splitmix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Makes inputs from samples, the same ones from the same seed.
pub struct Mutator(Rng);

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self(Rng(seed))
    }

    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        (self.0.number() % (end.max(1) as u64)) as usize
    }

    /// One of the samples, with some changes.
    pub fn input(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        let which = self.below(samples.len());
        let mut bytes = samples[which].clone();
        for _ in 0..=self.0.number() % CHANGES_MAX {
            self.change(&mut bytes, samples);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let piece = 1 + (self.0.number() % PIECE_MAX) as usize;
        let end = (at + piece).min(bytes.len());
        match self.0.number() % 9 {
            0 if at < bytes.len() => bytes[at] ^= 1 << (self.0.number() % 8),
            1 if at < bytes.len() => bytes[at] = EDGES[self.below(EDGES.len())] as u8,
            // An integer, as little-endian formats have it.
            2 => {
                let width = [2, 4, 8][self.below(3)];
                let number = EDGES[self.below(EDGES.len())].to_le_bytes();
                let end = (at + width).min(bytes.len());
                bytes.splice(at..end, number[..width].iter().copied());
            }
            // A number as postcard has it, in place of a byte.
            3 => {
                let mut number = EDGES[self.below(EDGES.len())];
                let mut varint = Vec::new();
                while number > 0x7f {
                    varint.push(number as u8 | 0x80);
                    number >>= 7;
                }
                varint.push(number as u8);
                let end = (at + 1).min(bytes.len());
                bytes.splice(at..end, varint);
            }
            4 => drop(bytes.drain(at..end)),
            5 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            6 => {
                let other = &samples[self.below(samples.len())];
                let from = self.below(other.len() + 1);
                let part = other[from..(from + piece).min(other.len())].to_vec();
                bytes.splice(at..end, part);
            }
            7 => bytes.truncate(at),
            _ => {
                let noise: Vec<u8> = (0..piece).map(|_| self.0.number() as u8).collect();
                bytes.splice(at..at, noise);
            }
        }
    }
}
