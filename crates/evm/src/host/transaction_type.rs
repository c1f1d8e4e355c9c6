//! Names transactions of types that are not known here, and the chains that they belong to. Called
//! where a block does not decode.

use std::fmt;

use alloy_rlp::{Buf as _, EMPTY_LIST_CODE, Header};

/// The highest type that is known: set-code transactions (EIP-7702).
const TYPE_MAX: u8 = 4;

/// A transaction whose type no supported rule knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction {index} has type {tx_type:#04x}{}, which is not supported: the types 0 to {TYPE_MAX} are", Family(*.tx_type))]
pub struct UnsupportedType {
    /// Place in the block, from 0.
    pub index: usize,
    /// Its type (EIP-2718).
    pub tx_type: u8,
}

impl UnsupportedType {
    /// The type, if a transaction in a JSON block is of an unsupported one; `None` for a supported
    /// type, and for text that is no type.
    pub(super) fn of_json(index: usize, tx_type: &str) -> Option<Self> {
        let tx_type = u8::from_str_radix(tx_type.strip_prefix("0x")?, 16).ok()?;
        (tx_type > TYPE_MAX).then_some(Self { index, tx_type })
    }

    /// The first one in a block's RLP; `None` where there is none, or no block.
    pub(super) fn in_block(mut rlp: &[u8]) -> Option<Self> {
        let rlp = &mut rlp;
        Header::decode(rlp).ok()?.list.then_some(())?;
        let header = Header::decode(rlp).ok()?;
        rlp.get(header.payload_length..)?;
        rlp.advance(header.payload_length);
        let mut transactions = Header::decode_bytes(rlp, true).ok()?;
        for index in 0.. {
            let is_legacy = *transactions.first()? >= EMPTY_LIST_CODE;
            let content = Header::decode_bytes(&mut transactions, is_legacy).ok()?;
            match content.first() {
                Some(&tx_type) if !is_legacy && tx_type > TYPE_MAX => return Some(Self { index, tx_type }),
                _ => {}
            }
        }
        None
    }
}

/// The chains that have a type, for the message.
struct Family(u8);

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0x64..=0x6a | 0x78 => " (Arbitrum)",
            0x71 | 0xfe | 0xff => " (ZKsync)",
            0x7a..=0x7c => " (Celo)",
            0x7e => " (a deposit of the OP Stack, or a message from L1 of Scroll)",
            0x7f => " (a state sync of Polygon PoS)",
            _ => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block as RLP, with an empty header and these transactions.
    fn block(transactions: &[&[u8]]) -> Vec<u8> {
        let list = |payload: Vec<u8>| {
            let mut out = Vec::new();
            let payload_length = payload.len();
            Header {
                list: true,
                payload_length,
            }
            .encode(&mut out);
            out.extend(payload);
            out
        };
        let transactions = transactions.concat();
        list([list(Vec::new()), list(transactions), list(Vec::new())].concat())
    }

    #[test]
    fn the_first_unknown_type_is_found() {
        let legacy: &[u8] = &[0xc1, 0x80];
        let known: &[u8] = &[0x83, 0x02, 0xc1, 0x80];
        let deposit: &[u8] = &[0x83, 0x7e, 0xc1, 0x80];
        let found = UnsupportedType::in_block(&block(&[legacy, known, deposit, deposit]));
        let expected = UnsupportedType {
            index: 2,
            tx_type: 0x7e,
        };
        assert_eq!(found, Some(expected));
        let text = expected.to_string();
        assert!(
            text.contains("type 0x7e (a deposit of the OP Stack") && text.contains("types 0 to 4"),
            "{text}"
        );
        assert_eq!(UnsupportedType::in_block(&block(&[legacy, known])), None);
        for cut in 0..6 {
            assert_eq!(UnsupportedType::in_block(&block(&[deposit])[..cut]), None);
        }
        assert_eq!(
            UnsupportedType::of_json(7, "0x7e").map(|found| found.index),
            Some(7)
        );
        assert_eq!(UnsupportedType::of_json(7, "0x4"), None);
    }
}
