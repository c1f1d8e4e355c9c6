//! The layout of deposit logs (EIP-6110). Called by [`run`](super::run), before alloy-evm makes
//! requests of them.

use alloy_primitives::{B256, U256, b256};

use crate::{BlockError, ChainConfig};

type Receipt = alloy_consensus::ReceiptEnvelope;

/// Keccak of `DepositEvent(bytes,bytes,bytes,bytes,bytes)`.
const DEPOSIT_EVENT: B256 = b256!("649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");
/// Bytes of a deposit event's data.
const DEPOSIT_EVENT_BYTES: usize = 576;
const WORD_BYTES: usize = 32;
/// Where a word stands, in bytes, and what it has to say: the offsets of the five fields, and their
/// sizes in bytes.
const LAYOUT: [(usize, u64); 10] = [
    (0, 160),
    (32, 256),
    (64, 320),
    (96, 384),
    (128, 512),
    (160, 48),
    (256, 32),
    (320, 8),
    (384, 96),
    (512, 8),
];

/// Checks that each deposit event has the one layout that EIP-6110 allows.
///
/// alloy-evm decodes the event by the rules of Solidity's ABI, for which fields may have any offset
/// and any size.
pub(super) fn check_deposits(chain: &ChainConfig, receipts: &[Receipt]) -> Result<(), BlockError> {
    let Some(contract) = chain.deposit_contract else {
        return Ok(());
    };
    for (index, receipt) in (0..).zip(receipts) {
        for log in receipt.logs() {
            let is_deposit = log.address == contract && log.topics().first() == Some(&DEPOSIT_EVENT);
            if is_deposit && !is_laid_out(&log.data.data) {
                return Err(BlockError::DepositLayout { index });
            }
        }
    }
    Ok(())
}

fn is_laid_out(data: &[u8]) -> bool {
    data.len() == DEPOSIT_EVENT_BYTES
        && LAYOUT
            .iter()
            .all(|&(at, expected)| U256::from_be_slice(&data[at..at + WORD_BYTES]) == U256::from(expected))
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    #[test]
    fn only_the_fixed_layout_is_taken() {
        let mut data = vec![7; DEPOSIT_EVENT_BYTES];
        for (at, word) in LAYOUT {
            data[at..at + WORD_BYTES].copy_from_slice(&U256::from(word).to_be_bytes::<32>());
        }
        assert!(is_laid_out(&data));
        for (at, _) in LAYOUT {
            // Its last byte, and its first.
            for byte in [at, at + WORD_BYTES - 1] {
                let mut other = data.clone();
                other[byte] ^= 1;
                assert!(!is_laid_out(&other), "byte {byte}");
            }
        }
        assert!(!is_laid_out(&data[1..]) && !is_laid_out(&[data.as_slice(), &[0]].concat()));
        assert!(!is_laid_out(&Vec::new()));
    }
}
