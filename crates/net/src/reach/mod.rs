//! Decides where strangers may send this node. They name addresses in greetings, gossip, leases,
//! answers of the hash table and over mDNS, and all of these come through here before anything is
//! dialled.
//!
//! ```text
//!  who says it ──▶ Gate::learn: may it say so? ──▶ Redial, leases, the hash table ──▶ Swarm
//!                                                                                      │
//!  TCP, QUIC ◀── Gate::admit ◀── Gated ◀── DNS ◀── Gate::admit_name ◀── Named ◀────────┘
//! ```
//!
//! [`gate::Gate`] decides, and does no I/O. The transport below DNS asks it about every single
//! attempt, whichever part of libp2p wants it and however the address was written. The one above
//! DNS asks it about every name that would be looked up.
//! [`capped::Capped`] decides how many addresses a single dial tries.

mod budget;
mod capped;
mod gate;
mod scope;
mod transport;

pub use self::scope::Scope;
pub(crate) use self::{
    budget::Recent,
    capped::Capped,
    gate::{Gate, Informant, ScopeOf, Teller, best, teller},
    scope::{Host, Subnet, ip_of},
    transport::{Gated, Named, SharedGate},
};
