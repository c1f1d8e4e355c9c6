//! Limits that messages, records and dialling share.

/// The most addresses of a peer that another peer hears of.
pub(crate) const ADDRESSES_MAX: usize = 8;
/// The most bytes of one such address.
pub(crate) const ADDRESS_BYTES_MAX: usize = 160;
/// The most bytes of a peer record: its addresses, and a key, a signature, a name and the lengths
/// of all parts.
pub(crate) const RECORD_BYTES_MAX: usize = ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 8) + 256;
