//! The differences that a mutated block may have and still be valid.
//!
//! A validator accepts only what it has executed to the roots in the header, so a block that was
//! changed and is accepted differs where the rules leave a choice. This is the list of all such
//! places, apart from the validator's own code.

use alloy_consensus::Header;
use alloy_primitives::Bytes;
use alloy_rlp::Decodable;
use myriad_evm::{Block, Parent, StatelessInput, Transaction};

/// Longest extra data.
const EXTRA_DATA_BYTES_MAX: usize = 32;
/// The part of the parent's gas limit by which a block's may differ from it.
const GAS_LIMIT_BOUND_DIVISOR: u64 = 1_024;
const GAS_LIMIT_MIN: u64 = 5_000;

/// Whether `mutated`, which was accepted, may well be valid: it is another block than `original` by
/// a choice that its maker has, or it is run by the rules of another chain, which its public values
/// name.
pub fn may_be_valid(original: &StatelessInput, mutated: &StatelessInput) -> bool {
    if original.chain != mutated.chain {
        return true;
    }
    let decode = |bytes: &Bytes| {
        let block = Block::decode(&mut bytes.as_ref()).ok()?;
        // Nothing is left over, and nothing is written in another way.
        (alloy_rlp::encode(&block) == bytes.as_ref()).then_some(block)
    };
    let (Some(before), Some(after)) = (decode(&original.block), decode(&mutated.block)) else {
        return false;
    };
    let Parent::Header(parent) = &original.parent else {
        return false;
    };
    let Ok(parent) = Header::decode(&mut parent.as_ref()) else {
        return false;
    };
    original.parent == mutated.parent
        && may_have_header(&before.header, &after.header, &parent)
        && may_have_body(before, after)
}

fn may_have_header(before: &Header, after: &Header, parent: &Header) -> bool {
    let step = parent.gas_limit / GAS_LIMIT_BOUND_DIVISOR;
    let free = Header {
        // The state root tells whether execution reads another value of these.
        beneficiary: after.beneficiary,
        mix_hash: after.mix_hash,
        parent_beacon_block_root: after.parent_beacon_block_root,
        timestamp: after.timestamp,
        gas_limit: after.gas_limit,
        extra_data: after.extra_data.clone(),
        // The roots of the body, which is compared itself.
        transactions_root: after.transactions_root,
        withdrawals_root: after.withdrawals_root,
        ..before.clone()
    };
    free == *after
        && before.parent_beacon_block_root.is_some() == after.parent_beacon_block_root.is_some()
        && before.withdrawals_root.is_some() == after.withdrawals_root.is_some()
        && after.timestamp > parent.timestamp
        && after.gas_limit >= GAS_LIMIT_MIN
        && after.gas_limit.abs_diff(parent.gas_limit) < step
        && after.gas_used <= after.gas_limit
        && after.extra_data.len() <= EXTRA_DATA_BYTES_MAX
}

/// Transactions in another order, and withdrawals with other numbers or in another order; or
/// withdrawals of nothing.
fn may_have_body(before: Block, after: Block) -> bool {
    let hashes = |transactions: &[Transaction]| {
        let mut hashes: Vec<_> = transactions.iter().map(Transaction::tx_hash).copied().collect();
        hashes.sort_unstable();
        hashes
    };
    let paid = |block: &Block| {
        let withdrawals = block.body.withdrawals.as_ref()?;
        let paid = withdrawals.iter().filter(|withdrawal| withdrawal.amount != 0);
        let mut paid: Vec<_> = paid
            .map(|withdrawal| (withdrawal.address, withdrawal.amount))
            .collect();
        paid.sort_unstable();
        Some(paid)
    };
    hashes(&before.body.transactions) == hashes(&after.body.transactions)
        && before.body.ommers == after.body.ommers
        && paid(&before) == paid(&after)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use myriad_evm::{Fork, host::sample::features};

    use super::*;

    fn changed(change: impl FnOnce(&mut Block)) -> bool {
        let original = features(Fork::Prague).unwrap().to_input().unwrap();
        let mut mutated = original.clone();
        let mut block = Block::decode(&mut original.block.as_ref()).unwrap();
        change(&mut block);
        mutated.block = alloy_rlp::encode(&block).into();
        may_be_valid(&original, &mutated)
    }

    #[test]
    fn only_what_is_free_may_be_otherwise() {
        assert!(changed(|block| block.header.extra_data = vec![1; 32].into()));
        assert!(changed(|block| block.header.timestamp += 1));
        assert!(changed(|block| block.body.transactions.swap(0, 1)));
        assert!(changed(
            |block| block.body.withdrawals.as_mut().unwrap()[0].index += 1
        ));

        assert!(!changed(|block| block.header.extra_data = vec![1; 33].into()));
        assert!(!changed(|block| block.header.timestamp -= 2));
        assert!(!changed(|block| block.header.gas_limit *= 2));
        assert!(!changed(|block| block.header.gas_used -= 1));
        assert!(!changed(|block| block.header.state_root = B256::ZERO));
        assert!(!changed(|block| drop(block.body.transactions.pop())));
        assert!(!changed(
            |block| block.body.withdrawals.as_mut().unwrap()[0].amount += 1
        ));
    }

    #[test]
    fn a_block_with_bytes_behind_it_is_never_valid() {
        let original = features(Fork::Paris).unwrap().to_input().unwrap();
        let mut mutated = original.clone();
        mutated.block = [original.block.as_ref(), &[0]].concat().into();
        assert!(!may_be_valid(&original, &mutated));
    }
}
