//! Signed peer records: a peer's own statement of where it can be reached, wherever it is read.
//!
//! The form is libp2p's (RFC 0002 and 0003), as go-libp2p and js-libp2p write it. Its sequence
//! number is ignored: it comes from a clock, and the announcement that carries the record shows
//! which of two is later.

use libp2p::{
    Multiaddr, PeerId,
    core::{PeerRecord, SignedEnvelope},
    identity::Keypair,
};
use thiserror::Error;

use crate::limits::{ADDRESSES_MAX, RECORD_BYTES_MAX};

/// Why a record does not count.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    #[error("a peer record of {bytes} bytes, and {RECORD_BYTES_MAX} are allowed")]
    Size { bytes: usize },
    #[error("not a signed peer record: {0}")]
    Syntax(String),
    #[error("a peer record of {named}, where one of {expected} itself is needed")]
    OfAnother { named: String, expected: String },
    #[error("a peer record with {count} addresses, and {ADDRESSES_MAX} are allowed")]
    Addresses { count: usize },
}

/// Signs that this peer is reached at `addresses`; nothing where there are none.
pub(crate) fn sign(key: &Keypair, addresses: Vec<Multiaddr>) -> Vec<u8> {
    if addresses.is_empty() {
        return Vec::new();
    }
    let signed = PeerRecord::new_interop(key, addresses).expect("Ed25519 signs whatever it is given");
    signed.into_signed_envelope().into_protobuf_encoding()
}

/// The addresses where `peer` says that it is reached; none where the record is empty.
///
/// # Errors
/// See [`RecordError`].
pub(crate) fn read(bytes: &[u8], peer: &PeerId) -> Result<Vec<Multiaddr>, RecordError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(RecordError::Size { bytes: bytes.len() });
    }
    let syntax = |e: &dyn std::fmt::Display| RecordError::Syntax(e.to_string());
    let envelope = SignedEnvelope::from_protobuf_encoding(bytes).map_err(|e| syntax(&e))?;
    let record = PeerRecord::from_signed_envelope_interop(envelope).map_err(|e| syntax(&e))?;
    if record.peer_id() != *peer {
        return Err(RecordError::OfAnother {
            named: record.peer_id().to_string(),
            expected: peer.to_string(),
        });
    }
    let count = record.addresses().len();
    if count > ADDRESSES_MAX {
        return Err(RecordError::Addresses { count });
    }
    Ok(record.addresses().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ADDRESS_BYTES_MAX;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/203.0.113.7/udp/{port}/quic-v1").parse().unwrap()
    }

    #[test]
    fn what_a_peer_has_signed_is_read() {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let signed = vec![address(1), address(2)];
        assert_eq!(read(&sign(&key, signed.clone()), &id).unwrap(), signed);
        assert_eq!(sign(&key, Vec::new()), []);
        assert_eq!(read(&[], &id).unwrap(), []);
        // The addresses are as long as they may be.
        let long: Multiaddr = format!("/dns4/{}/udp/65535/quic-v1", "a".repeat(130))
            .parse()
            .unwrap();
        assert!(long.to_string().len() <= ADDRESS_BYTES_MAX);
        let most = sign(&key, vec![long; ADDRESSES_MAX]);
        assert_eq!(
            read(&most, &id).unwrap().len(),
            ADDRESSES_MAX,
            "{} bytes",
            most.len()
        );
    }

    #[test]
    fn nobody_says_where_another_is() {
        let [key, other] = [(); 2].map(|()| Keypair::generate_ed25519());
        let id = key.public().to_peer_id();
        let signed = sign(&other, vec![address(1)]);
        assert!(matches!(read(&signed, &id), Err(RecordError::OfAnother { .. })));
        let mut changed = sign(&key, vec![address(1)]);
        for place in 0..changed.len() {
            changed[place] ^= 1;
            assert!(read(&changed, &id).is_err(), "byte {place}");
            changed[place] ^= 1;
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let many = sign(&key, (0..=ADDRESSES_MAX as u16).map(address).collect());
        assert!(matches!(
            read(&many, &id),
            Err(RecordError::Addresses { count: 9 })
        ));
        let bytes = vec![0; RECORD_BYTES_MAX + 1];
        assert!(matches!(read(&bytes, &id), Err(RecordError::Size { .. })));
    }
}
