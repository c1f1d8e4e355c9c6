//! The greeting that two peers exchange first.

use myriad_core::EngineId;
use serde::{Deserialize, Serialize};

use super::{Announcement, Bounded, PROTOCOL_VERSION, WireError, bound, printable};

/// The most open jobs that a requester names in its greeting. Peers hear of the others by gossip.
pub(crate) const JOBS_MAX: usize = 16;
/// The most engines of a node.
pub const ENGINES_MAX: usize = 8;
/// The most bytes of the name of a build.
const BUILD_BYTES_MAX: usize = 64;

/// The first message on a connection, and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::PROTOCOL_VERSION`] of the sender. Stays the first field in every version.
    pub version: u32,
    /// Name and version of its software, for people.
    #[serde(deserialize_with = "printable")]
    pub build: String,
    /// Its engines: which proofs it makes, or accepts.
    pub engines: Vec<EngineId>,
    pub role: Role,
    /// Jobs of its own that want provers.
    pub jobs: Vec<Announcement>,
    /// The number of its start. If it is another than before, no process is left at the other end
    /// of older connections.
    pub boot: u32,
    /// The time by its clock, in milliseconds since 1970. People are told if it is far off; it
    /// decides nothing.
    pub clock_ms: u64,
}

/// The purpose of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Requester,
    Prover,
    /// Helps others to find each other.
    Bootstrap,
}

impl Bounded for Hello {
    fn check(&self) -> Result<(), WireError> {
        bound("bytes of a build's name", self.build.len(), BUILD_BYTES_MAX)?;
        bound("engines in a greeting", self.engines.len(), ENGINES_MAX)?;
        bound("jobs in a greeting", self.jobs.len(), JOBS_MAX)?;
        self.jobs.iter().try_for_each(Bounded::check)
    }

    /// Only the number of another version is understood, which is enough to report it.
    fn of_other_version(bytes: &[u8]) -> Option<Self> {
        let (version, _) = postcard::take_from_bytes::<u32>(bytes).ok()?;
        (version != PROTOCOL_VERSION).then(|| Self {
            version,
            build: "another build".into(),
            engines: Vec::new(),
            role: Role::Bootstrap,
            jobs: Vec::new(),
            boot: 0,
            clock_ms: 0,
        })
    }
}
