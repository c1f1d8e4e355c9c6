//! The rules for a header, alone and after its parent; and the hashes of its ancestors.

use alloc::{vec, vec::Vec};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};
use alloy_primitives::{B64, B256, Bytes, keccak256, map::B256Map};
use alloy_rlp::Decodable;

use crate::{
    BlobParams, BlockError, ChainConfig, Fork,
    error::{AMSTERDAM_FIELDS, WitnessError},
};

const EXTRA_DATA_BYTES_MAX: usize = 32;
/// Smallest gas limit of a block.
const GAS_LIMIT_MIN: u64 = 5_000;
/// Largest gas limit of a block: 2^63 - 1, so that clients may count gas in signed numbers. The
/// yellow paper has it, and no library that checks headers here does.
const GAS_LIMIT_MAX: u64 = i64::MAX as u64;
/// A block's gas limit differs from its parent's by less than the parent's divided by this.
const GAS_LIMIT_BOUND_DIVISOR: u64 = 1_024;
/// Blob gas of one blob (EIP-4844).
const GAS_PER_BLOB: u64 = 1 << 17;
/// Gas whose price a blob costs at least (EIP-7918).
const BLOB_BASE_COST: u128 = 1 << 13;

/// The checks that need the parent's header, by the names under which they are reported as skipped.
pub(crate) const PARENT_CHECKS: [&str; 7] = [
    "parent_hash",
    "parent_state_root",
    "number",
    "timestamp",
    "gas_limit",
    "base_fee",
    "excess_blob_gas",
];

/// Checks what a header has to be by itself.
pub(crate) fn check_header(header: &Header, fork: Fork) -> Result<(), BlockError> {
    if header.extra_data.len() > EXTRA_DATA_BYTES_MAX {
        return Err(BlockError::ExtraData {
            actual: header.extra_data.len(),
            max: EXTRA_DATA_BYTES_MAX,
        });
    }
    if header.gas_limit > GAS_LIMIT_MAX {
        return Err(BlockError::GasLimit {
            actual: header.gas_limit,
            min: GAS_LIMIT_MIN,
            max: GAS_LIMIT_MAX,
        });
    }
    if header.gas_used > header.gas_limit {
        return Err(BlockError::GasUsedOverLimit {
            gas_used: header.gas_used,
            gas_limit: header.gas_limit,
        });
    }
    let proof_of_work = [
        ("the difficulty", "0", header.difficulty.is_zero()),
        ("the nonce", "0", header.nonce == B64::ZERO),
        (
            "the ommers hash",
            "that of no ommers",
            header.ommers_hash == EMPTY_OMMER_ROOT_HASH,
        ),
    ];
    for (field, expected, is_right) in proof_of_work {
        if !is_right {
            return Err(BlockError::ProofOfWorkField { field, expected });
        }
    }
    check_presence(header, fork)
}

/// Checks that the header has the fields of its fork, and no other.
fn check_presence(header: &Header, fork: Fork) -> Result<(), BlockError> {
    let fields = [
        ("base fee", header.base_fee_per_gas.is_some(), Some(Fork::Paris)),
        (
            "withdrawals root",
            header.withdrawals_root.is_some(),
            Some(Fork::Shanghai),
        ),
        (
            "blob gas used",
            header.blob_gas_used.is_some(),
            Some(Fork::Cancun),
        ),
        (
            "excess blob gas",
            header.excess_blob_gas.is_some(),
            Some(Fork::Cancun),
        ),
        (
            "parent beacon block root",
            header.parent_beacon_block_root.is_some(),
            Some(Fork::Cancun),
        ),
        (
            "requests hash",
            header.requests_hash.is_some(),
            Some(Fork::Prague),
        ),
        (AMSTERDAM_FIELDS[0], header.block_access_list_hash.is_some(), None),
        (AMSTERDAM_FIELDS[1], header.slot_number.is_some(), None),
    ];
    for (field, is_there, since) in fields {
        match since.is_some_and(|since| fork >= since) {
            true if !is_there => return Err(BlockError::MissingField { field, fork }),
            false if is_there => return Err(BlockError::UnexpectedField { field, fork }),
            _ => {}
        }
    }
    Ok(())
}

/// Checks a header against its parent.
pub(crate) fn check_child(
    header: &Header,
    parent: &Header,
    parent_hash: B256,
    chain: &ChainConfig,
    fork: Fork,
) -> Result<(), BlockError> {
    if header.parent_hash != parent_hash {
        return Err(BlockError::ParentHash {
            actual: parent_hash,
            expected: header.parent_hash,
        });
    }
    if parent.number.checked_add(1) != Some(header.number) {
        return Err(BlockError::Number {
            actual: header.number,
            parent: parent.number,
        });
    }
    if header.timestamp <= parent.timestamp {
        return Err(BlockError::Timestamp {
            actual: header.timestamp,
            parent: parent.timestamp,
        });
    }
    check_gas_limit(header.gas_limit, parent.gas_limit)?;
    let base_fee = next_base_fee(parent);
    if header.base_fee_per_gas != Some(base_fee) {
        return Err(BlockError::BaseFee {
            actual: header.base_fee_per_gas.unwrap_or_default(),
            expected: base_fee,
        });
    }
    if let Some(blobs) = chain.blobs(fork, header.timestamp) {
        let expected = next_excess_blob_gas(parent, blobs, fork);
        if header.excess_blob_gas != Some(expected) {
            return Err(BlockError::ExcessBlobGas {
                actual: header.excess_blob_gas.unwrap_or_default(),
                expected,
            });
        }
    }
    Ok(())
}

fn check_gas_limit(actual: u64, parent: u64) -> Result<(), BlockError> {
    // The bound itself is out of bounds.
    let step = (parent / GAS_LIMIT_BOUND_DIVISOR).saturating_sub(1);
    let min = parent.saturating_sub(step).max(GAS_LIMIT_MIN);
    let max = parent.saturating_add(step);
    if (min..=max).contains(&actual) {
        Ok(())
    } else {
        Err(BlockError::GasLimit { actual, min, max })
    }
}

/// EIP-1559. From Paris on, a parent without a base fee is none that a block can have.
fn next_base_fee(parent: &Header) -> u64 {
    calc_next_block_base_fee(
        parent.gas_used,
        parent.gas_limit,
        parent.base_fee_per_gas.unwrap_or_default(),
        BaseFeeParams::ethereum(),
    )
}

/// EIP-4844, and from Osaka on EIP-7918: where blobs are cheaper than the gas that each of them
/// stands for, there is more excess. The parameters are the block's own, for the price of its
/// parent's blobs as well.
fn next_excess_blob_gas(parent: &Header, blobs: BlobParams, fork: Fork) -> u64 {
    // A parent without the fields is one with zeros in them.
    let excess = parent.excess_blob_gas.unwrap_or(0);
    let used = parent.blob_gas_used.unwrap_or(0);
    let target = blobs.target.saturating_mul(GAS_PER_BLOB);
    let sum = excess.saturating_add(used);
    if sum < target {
        return 0;
    }
    if fork >= Fork::Osaka {
        let least = BLOB_BASE_COST * u128::from(parent.base_fee_per_gas.unwrap_or_default());
        let price = blobs.price(excess).saturating_mul(GAS_PER_BLOB.into());
        if least > price {
            let above_target = u128::from(blobs.max.saturating_sub(blobs.target));
            // No more than `used`.
            let scaled = u128::from(used) * above_target / u128::from(blobs.max.max(1));
            return excess.saturating_add(scaled as u64);
        }
    }
    sum - target
}

/// Checks the blob gas in the header against that of the transactions.
pub(crate) fn check_blob_gas(
    header: &Header,
    blobs_used: u64,
    chain: &ChainConfig,
    fork: Fork,
) -> Result<(), BlockError> {
    let Some(params) = chain.blobs(fork, header.timestamp) else {
        return Ok(());
    };
    let expected = blobs_used.saturating_mul(GAS_PER_BLOB);
    let max = params.max.saturating_mul(GAS_PER_BLOB);
    if expected > max {
        return Err(BlockError::BlobGasOverLimit {
            actual: expected,
            max,
        });
    }
    if header.blob_gas_used != Some(expected) {
        return Err(BlockError::BlobGasUsed {
            actual: header.blob_gas_used.unwrap_or_default(),
            expected,
        });
    }
    Ok(())
}

/// The hashes that BLOCKHASH asks for, proven by a chain of headers back from the block.
#[derive(Debug)]
pub(crate) struct Ancestors<'a> {
    /// Number of the block itself.
    number: u64,
    /// Hash of the parent, of its parent, and so on, as far as they have been asked for.
    hashes: Vec<B256>,
    headers: [&'a [Bytes]; 2],
    parent: Option<&'a Bytes>,
    /// The headers by their hashes; made when it is first needed.
    by_hash: Option<B256Map<&'a Bytes>>,
}

impl<'a> Ancestors<'a> {
    /// The headers come in two lists, in any order.
    pub(crate) fn new(header: &Header, parent: Option<&'a Bytes>, headers: [&'a [Bytes]; 2]) -> Self {
        let hashes = vec![header.parent_hash];
        Self {
            number: header.number,
            hashes,
            headers,
            parent,
            by_hash: None,
        }
    }

    /// The hash of an earlier block. The EVM asks for none but the last 256.
    pub(crate) fn hash(&mut self, number: u64) -> Result<B256, WitnessError> {
        let Some(back) = self
            .number
            .checked_sub(number)
            .and_then(|back| back.checked_sub(1))
        else {
            return Ok(B256::ZERO);
        };
        loop {
            let known = self.hashes.len() as u64;
            if back < known {
                return Ok(self.hashes[back as usize]);
            }
            let missing = self.number - known;
            let oldest = self.hashes[self.hashes.len() - 1];
            let parent = self.parent_of(&oldest);
            self.hashes
                .push(parent.ok_or(WitnessError::MissingHeader { number, missing })?);
        }
    }

    /// The parent hash in the header that has this hash.
    fn parent_of(&mut self, hash: &B256) -> Option<B256> {
        let by_hash = self.by_hash.get_or_insert_with(|| {
            let headers = self.headers.into_iter().flatten().chain(self.parent);
            headers.map(|header| (keccak256(header), header)).collect()
        });
        let mut bytes = by_hash.get(hash)?.as_ref();
        alloy_rlp::Header::decode(&mut bytes).ok()?;
        B256::decode(&mut bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares it with alloy-eips's own formulas, where those do not overflow.
    #[test]
    fn excess_blob_gas_is_that_of_others() {
        use alloy_eips::eip7840::BlobParams as Theirs;

        let mut reserve_price_decides = 0;
        let schedules = [
            (BlobParams::PRAGUE, Theirs::osaka()),
            (BlobParams::BPO1, Theirs::bpo1()),
            (BlobParams::BPO2, Theirs::bpo2()),
        ];
        for (blobs, theirs) in schedules {
            for excess in [0, 1, 40, 100, 400, 1_000].map(|blobs| blobs * GAS_PER_BLOB + 7) {
                for used in (0..=blobs.max).map(|blobs| blobs * GAS_PER_BLOB) {
                    for base_fee in [0, 7, 16, 17, 1_000_000_000, u64::MAX] {
                        let parent = Header {
                            excess_blob_gas: Some(excess),
                            blob_gas_used: Some(used),
                            base_fee_per_gas: Some(base_fee),
                            ..Header::default()
                        };
                        let expected = theirs.next_block_excess_blob_gas_osaka(excess, used, base_fee);
                        assert_eq!(next_excess_blob_gas(&parent, blobs, Fork::Osaka), expected);
                        let plain = (excess + used).saturating_sub(blobs.target * GAS_PER_BLOB);
                        assert_eq!(next_excess_blob_gas(&parent, blobs, Fork::Prague), plain);
                        reserve_price_decides += usize::from(expected != plain);
                    }
                }
            }
        }
        assert!(reserve_price_decides > 100, "{reserve_price_decides}");
    }

    /// A header can be made up, and its numbers with it.
    #[test]
    fn excess_blob_gas_does_not_overflow() {
        let parent = Header {
            excess_blob_gas: Some(u64::MAX),
            blob_gas_used: Some(u64::MAX),
            base_fee_per_gas: Some(u64::MAX),
            ..Header::default()
        };
        let target = BlobParams::PRAGUE.target * GAS_PER_BLOB;
        let next = next_excess_blob_gas(&parent, BlobParams::PRAGUE, Fork::Osaka);
        assert_eq!(next, u64::MAX - target);
        let cheap = BlobParams {
            update_fraction: u64::MAX,
            ..BlobParams::PRAGUE
        };
        assert_eq!(next_excess_blob_gas(&parent, cheap, Fork::Osaka), u64::MAX);
    }
}
