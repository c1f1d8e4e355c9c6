//! Changes valid blocks and their witnesses at random: each must be refused, or mean the same.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use alloy_consensus::{Header, proofs};
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Bytes, U256};
use alloy_rlp::Decodable;
use myriad_evm::{Block, Parent, StatelessInput, host::sample::Rng, validate};

use crate::{guard::catch, oracle, report::Mutations, run::Subject};

/// Longest input that is mutated, in bytes, and most gas of its block: larger ones are a small
/// part, and take most of the time.
const SUBJECT_BYTES_MAX: usize = 128 << 10;
const SUBJECT_GAS_MAX: u64 = 2_000_000;
/// Between the seeds of two mutations, so that those of neighbouring seeds have nothing in common:
/// 2^64 by the golden ratio.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A change of an input. It gives `None` where the input has nothing of that kind, or is none
/// afterwards.
type Mutate = fn(&mut StatelessInput, &mut Rng, &StatelessInput) -> Option<()>;

const KINDS: [(&str, Mutate); 15] = [
    ("bits of the block", |input, rng, _| flip(&mut input.block, rng)),
    ("length of the block", |input, rng, _| {
        resize(&mut input.block, rng)
    }),
    ("field of the header", |input, rng, _| {
        with_block(input, |block| header_field(&mut block.header, rng))
    }),
    ("body", |input, rng, other| body(input, rng, other)),
    ("bits of the parent", |input, rng, _| match &mut input.parent {
        Parent::Header(header) => flip(header, rng),
        Parent::StateRoot(_) => None,
    }),
    ("bits of a node", |input, rng, _| {
        flip(pick(&mut input.state, rng)?, rng)
    }),
    ("length of a node", |input, rng, _| {
        resize(pick(&mut input.state, rng)?, rng)
    }),
    ("node gone", |input, rng, _| remove(&mut input.state, rng)),
    ("node of another block", |input, rng, other| {
        replace(&mut input.state, &other.state, rng)
    }),
    ("nodes swapped", |input, rng, _| {
        let (a, b) = (index(&input.state, rng)?, index(&input.state, rng)?);
        input.state.swap(a, b);
        Some(())
    }),
    ("bits of a code", |input, rng, _| {
        flip(pick(&mut input.codes, rng)?, rng)
    }),
    ("length of a code", |input, rng, _| {
        resize(pick(&mut input.codes, rng)?, rng)
    }),
    ("code of another block", |input, rng, other| {
        replace(&mut input.codes, &other.codes, rng)
    }),
    ("header of an ancestor", |input, rng, _| match rng.below(2) {
        0 => flip(pick(&mut input.headers, rng)?, rng),
        _ => remove(&mut input.headers, rng),
    }),
    ("bits of the input", |input, rng, _| {
        let mut bytes = Bytes::from(input.encode());
        flip(&mut bytes, rng)?;
        *input = StatelessInput::decode(bytes).ok()?;
        Some(())
    }),
];

/// Mutates so many times, each as its number and the seed have it.
pub fn run(subjects: &[Subject], times: u64, seed: u64, threads: usize) -> Mutations {
    let small = |subject: &&Subject| {
        subject.input.encoded_bytes() <= SUBJECT_BYTES_MAX && subject.outcome.gas_used <= SUBJECT_GAS_MAX
    };
    let subjects: Vec<_> = subjects.iter().filter(small).collect();
    let next = AtomicU64::new(0);
    let total = Mutex::new(Mutations {
        seed,
        tried: times,
        blocks: subjects.len(),
        ..Mutations::default()
    });
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= times || subjects.is_empty() {
                return;
            }
            let mut rng = Rng::new(seed.wrapping_add(number.wrapping_mul(SEED_STEP)));
            let subject = subjects[rng.index(subjects.len())];
            let other = subjects[rng.index(subjects.len())];
            let (kind, mutated) = mutated(&subject.input, &other.input, &mut rng);
            let verdict = judge(subject, mutated.as_ref());
            let mut total = total.lock().expect("nothing panics with it");
            *total.by_kind.entry(kind).or_default() += 1;
            let fault = match verdict {
                Verdict::Refused => {
                    total.refused += 1;
                    continue;
                }
                Verdict::Same => {
                    total.same += 1;
                    continue;
                }
                Verdict::OtherValid => {
                    total.other_valid += 1;
                    continue;
                }
                Verdict::WrongAccept => {
                    total.wrong_accepts += 1;
                    "accepted".to_owned()
                }
                Verdict::Panic(message) => {
                    total.panics += 1;
                    message
                }
            };
            total
                .faults
                .push((number, format!("{kind} of {}: {fault}", subject.name)));
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut total = total.into_inner().expect("nothing panics with it");
    total.faults.sort();
    total
}

/// A changed input and the kind of change; no input where the bytes are none any more.
fn mutated(
    original: &StatelessInput,
    other: &StatelessInput,
    rng: &mut Rng,
) -> (&'static str, Option<StatelessInput>) {
    loop {
        let (kind, mutate) = KINDS[rng.index(KINDS.len())];
        let mut input = original.clone();
        if mutate(&mut input, rng, other).is_some() {
            return (kind, Some(input));
        }
        if kind == KINDS[KINDS.len() - 1].0 {
            return (kind, None);
        }
    }
}

enum Verdict {
    Refused,
    Same,
    OtherValid,
    WrongAccept,
    Panic(String),
}

fn judge(subject: &Subject, mutated: Option<&StatelessInput>) -> Verdict {
    let Some(mutated) = mutated else {
        return Verdict::Refused;
    };
    match catch(|| validate(mutated)) {
        Err(panic) => Verdict::Panic(panic),
        Ok(Err(_)) => Verdict::Refused,
        Ok(Ok(outcome)) if outcome == subject.outcome => Verdict::Same,
        Ok(Ok(outcome)) => {
            let is_other = outcome.public_values != subject.outcome.public_values;
            if is_other && oracle::may_be_valid(&subject.input, mutated) {
                Verdict::OtherValid
            } else {
                Verdict::WrongAccept
            }
        }
    }
}

fn index<T>(items: &[T], rng: &mut Rng) -> Option<usize> {
    (!items.is_empty()).then(|| rng.index(items.len()))
}

fn pick<'a, T>(items: &'a mut [T], rng: &mut Rng) -> Option<&'a mut T> {
    let index = index(items, rng)?;
    items.get_mut(index)
}

fn remove(items: &mut Vec<Bytes>, rng: &mut Rng) -> Option<()> {
    items.remove(index(items, rng)?);
    Some(())
}

fn replace(items: &mut [Bytes], others: &[Bytes], rng: &mut Rng) -> Option<()> {
    let other = others.get(index(others, rng)?)?;
    *pick(items, rng)? = other.clone();
    Some(())
}

/// Flips one to three bits.
fn flip(bytes: &mut Bytes, rng: &mut Rng) -> Option<()> {
    let mut changed = bytes.to_vec();
    for _ in 0..=rng.below(3) {
        let byte = index(&changed, rng)?;
        changed[byte] ^= 1 << rng.below(8);
    }
    *bytes = changed.into();
    Some(())
}

/// Cuts the end off, puts bytes behind it, or takes some out of the middle.
fn resize(bytes: &mut Bytes, rng: &mut Rng) -> Option<()> {
    let mut changed = bytes.to_vec();
    let at = index(&changed, rng)?;
    match rng.below(3) {
        0 => changed.truncate(at),
        1 => changed.extend_from_slice(&rng.hash()[..=rng.index(32)]),
        _ => {
            let end = changed.len().min(at + 1 + rng.index(40));
            changed.drain(at..end);
        }
    }
    *bytes = changed.into();
    Some(())
}

fn with_block(input: &mut StatelessInput, change: impl FnOnce(&mut Block)) -> Option<()> {
    let mut block = Block::decode(&mut input.block.as_ref()).ok()?;
    change(&mut block);
    input.block = alloy_rlp::encode(&block).into();
    Some(())
}

/// A number near another one, or far from it.
fn number(before: u64, rng: &mut Rng) -> u64 {
    match rng.below(6) {
        0 => before.wrapping_add(1),
        1 => before.wrapping_sub(1),
        2 => 0,
        3 => u64::MAX,
        4 => before ^ 1 << rng.below(64),
        _ => rng.below(1 << 40),
    }
}

fn optional(before: Option<u64>, rng: &mut Rng) -> Option<u64> {
    match before {
        Some(_) if rng.below(5) == 0 => None,
        before => Some(number(before.unwrap_or_default(), rng)),
    }
}

fn header_field(header: &mut Header, rng: &mut Rng) {
    let hash = rng.hash();
    match rng.below(21) {
        0 => header.parent_hash = hash,
        1 => header.ommers_hash = hash,
        2 => header.beneficiary = alloy_primitives::Address::from_word(hash),
        3 => header.state_root = hash,
        4 => header.transactions_root = hash,
        5 => header.receipts_root = hash,
        6 => header.logs_bloom.0[rng.index(256)] ^= 1 << rng.below(8),
        7 => header.difficulty = U256::from(number(0, rng)),
        8 => header.number = number(header.number, rng),
        9 => header.gas_limit = number(header.gas_limit, rng),
        10 => header.gas_used = number(header.gas_used, rng),
        11 => header.timestamp = number(header.timestamp, rng),
        12 => header.extra_data = hash[..rng.index(33)].to_vec().into(),
        13 => header.mix_hash = hash,
        14 => header.nonce.0[rng.index(8)] ^= 1 << rng.below(8),
        15 => header.base_fee_per_gas = optional(header.base_fee_per_gas, rng),
        16 => header.withdrawals_root = Some(hash).filter(|_| rng.below(2) == 0),
        17 => header.blob_gas_used = optional(header.blob_gas_used, rng),
        18 => header.excess_blob_gas = optional(header.excess_blob_gas, rng),
        19 => header.parent_beacon_block_root = Some(hash).filter(|_| rng.below(4) != 0),
        _ => header.requests_hash = Some(hash).filter(|_| rng.below(2) == 0),
    }
}

/// Changes the body, and has the header commit to it.
fn body(input: &mut StatelessInput, rng: &mut Rng, other: &StatelessInput) -> Option<()> {
    let other = Block::decode(&mut other.block.as_ref()).ok()?;
    let foreign = index(&other.body.transactions, rng).map(|at| other.body.transactions[at].clone());
    with_block(input, |block| {
        let transactions = &mut block.body.transactions;
        let place = index(transactions, rng);
        match (rng.below(6), place, &mut block.body.withdrawals) {
            (0, Some(place), _) => drop(transactions.remove(place)),
            (1, Some(place), _) => transactions.insert(place, transactions[place].clone()),
            (2, Some(place), _) => {
                let with = rng.index(transactions.len());
                transactions.swap(place, with);
            }
            (3, place, _) => transactions
                .splice(place.unwrap_or(0)..place.unwrap_or(0), foreign)
                .for_each(drop),
            (_, _, Some(withdrawals)) => withdrawal(withdrawals, rng),
            _ => block.body.ommers.push(Header::default()),
        }
        let header = &mut block.header;
        header.transactions_root = proofs::calculate_transaction_root(&block.body.transactions);
        header.ommers_hash = proofs::calculate_ommers_root(&block.body.ommers);
        let withdrawals = block.body.withdrawals.as_ref();
        header.withdrawals_root = withdrawals.map(|list| proofs::calculate_withdrawals_root(list));
    })
}

fn withdrawal(list: &mut Vec<Withdrawal>, rng: &mut Rng) {
    let Some(place) = index(list, rng).filter(|_| rng.below(6) != 0) else {
        list.push(Withdrawal {
            index: rng.below(9),
            validator_index: rng.below(9),
            address: alloy_primitives::Address::from_word(rng.hash()),
            amount: rng.below(3),
        });
        return;
    };
    let chosen = &mut list[place];
    match rng.below(5) {
        0 => chosen.index = number(chosen.index, rng),
        1 => chosen.validator_index = number(chosen.validator_index, rng),
        2 => chosen.amount = number(chosen.amount, rng),
        3 => chosen.address.0[rng.index(20)] ^= 1 << rng.below(8),
        _ => drop(list.remove(place)),
    }
}
