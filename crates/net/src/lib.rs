//! The network of Myriad. This is the only crate that knows libp2p: outside, a peer is a
//! [`myriad_core::Peer`], and a message is a type of [`wire`].
//!
//! It does not look inside jobs, and knows no zkVM. It finds peers, spreads announcements, carries
//! requests and answers, and moves blobs. The drivers in `myriad-node` decide what is asked and
//! answered.
//!
//! - [`Network`]: the handle of a node. [`Event`]s come out of it, in order.
//! - [`wire`]: all messages, with their bounds. Everything from a peer is bounded before it is
//!   decoded.
//! - [`blob`]: blobs that are kept on disk by their hashes, and moved in verified pieces.
//! - [`Identity`]: the key that a node is known by.
//! - [`Receipt`]: a statement that a requester signs for a proof that it has accepted.
//!
//! Each thing is found in its own way:
//!
//! ```text
//!  on the local network     mDNS
//!  elsewhere                bootstrap peers, then Kademlia: "who has jobs?"
//!  a job                    the requester's greeting, its notice, or gossip
//!  a blob                   the lease names its holders
//! ```

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod actor;
mod behaviour;
pub mod blob;
mod config;
mod counting_stream;
pub mod durable;
mod identity;
mod limits;
mod messages;
mod network;
mod patience;
mod peer;
mod providers;
mod reach;
mod receipt;
mod record;
mod serving;
mod shared;
mod slots;
mod suspension;
pub mod text;
mod transfer;
pub mod wire;

pub use config::{Address, Config, Limits, Listen, StartError};
pub use identity::{IDENTITY_FILE, Identity, IdentityError};
pub use messages::{AskError, Event, Reply};
pub use network::Network;
pub use peer::{parse_peer, peer_name, short_name};
pub use reach::Scope;
pub use receipt::{Receipt, SignedReceipt};
pub use shared::{PeerStatus, Traffic};
pub use slots::Regard;
pub use transfer::FetchFailed;
