//! The names of jobs, tasks, peers, blobs and engines.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl Ord for $name {
            /// The order of the bytes. The first eight, which nearly always decide, are compared as
            /// one number, without the call that a comparison of slices is.
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                let first = |name: &Self| u64::from_be_bytes(*name.0.first_chunk().expect("it has 32 bytes"));
                first(self).cmp(&first(other)).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            /// The first four bytes, which tell apart what meets in one log.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(")")
            }
        }
    };
}

id! {
    /// A job: the hash of its canonical description, so that the same request has the same id.
    JobId
}
id! {
    /// A machine on the network: its public key. It says nothing about the owner, and making
    /// another one costs nothing.
    Peer
}
id! {
    /// Bytes, by their BLAKE3 hash.
    Blob
}

/// The most letters of an engine's name.
pub const ENGINE_NAME_MAX: usize = 16;

/// The name of an engine: a zkVM together with its prover, such as `openvm`. Nothing here depends
/// on which one it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineName {
    letters: [u8; ENGINE_NAME_MAX],
    count: u8,
}

/// Why a text is not the name of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "an engine's name has 1 to {ENGINE_NAME_MAX} small letters, digits and hyphens; this one has {bytes} bytes{}",
    .other.map_or(String::new(), |byte| format!(", among them 0x{byte:02x}"))
)]
pub struct EngineNameError {
    /// The bytes of the text.
    pub bytes: usize,
    /// The first byte that no name has.
    pub other: Option<u8>,
}

impl EngineName {
    /// The engine of records and profiles that name none: older builds wrote them, and had no
    /// other.
    pub fn of_older_builds() -> Self {
        "openvm".parse().expect("it is a name")
    }

    pub fn as_str(&self) -> &str {
        let letters = &self.letters[..usize::from(self.count)];
        str::from_utf8(letters).expect("they are letters of ASCII")
    }
}

impl FromStr for EngineName {
    type Err = EngineNameError;

    fn from_str(text: &str) -> Result<Self, EngineNameError> {
        let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let other = text.bytes().find(|byte| !is_letter(byte));
        if other.is_some() || !(1..=ENGINE_NAME_MAX).contains(&text.len()) {
            let bytes = text.len();
            return Err(EngineNameError { bytes, other });
        }
        let mut letters = [0; ENGINE_NAME_MAX];
        letters[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self {
            letters,
            count: text.len() as u8,
        })
    }
}

impl TryFrom<String> for EngineName {
    type Error = EngineNameError;

    fn try_from(text: String) -> Result<Self, EngineNameError> {
        text.parse()
    }
}

impl From<EngineName> for String {
    fn from(name: EngineName) -> Self {
        name.as_str().into()
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// An engine, and which of its builds can exchange proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EngineId {
    pub name: EngineName,
    /// The hash of all that its keys follow from: builds that agree on it make and accept the same
    /// proofs.
    pub fingerprint: [u8; 32],
}

/// One piece of work of a job.
///
/// The order is that of the tree: segments, the levels above them, the final proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskId {
    /// Prove a segment, counted from 0.
    Segment(u32),
    /// Aggregate the children of a node of the tree.
    Node(NodeId),
    /// Make the final proof of the tree's top node.
    Final,
}

/// A node of the aggregation tree: its level, from 1 for leaves, and its place on it, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId {
    pub level: u8,
    pub index: u32,
}

/// A task of one of several jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskRef {
    pub job: JobId,
    pub task: TaskId,
}

/// The kind of work that a task does. Its cost and a peer's speed at it follow from the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Segment,
    Leaf,
    InternalForLeaf,
    InternalRecursive,
    Final,
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Segment,
        Self::Leaf,
        Self::InternalForLeaf,
        Self::InternalRecursive,
        Self::Final,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Leaf => "leaf",
            Self::InternalForLeaf => "internal-for-leaf",
            Self::InternalRecursive => "internal-recursive",
            Self::Final => "final",
        }
    }
}

impl TaskId {
    pub const fn kind(self) -> Kind {
        match self {
            Self::Segment(_) => Kind::Segment,
            Self::Node(NodeId { level: 0 | 1, .. }) => Kind::Leaf,
            Self::Node(NodeId { level: 2, .. }) => Kind::InternalForLeaf,
            Self::Node(_) => Kind::InternalRecursive,
            Self::Final => Kind::Final,
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(index) => write!(f, "segment {index}"),
            Self::Node(NodeId { level, index }) => {
                write!(f, "{} node {index} of level {level}", self.kind().name())
            }
            Self::Final => f.write_str("the final proof"),
        }
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of job {:?}", self.task, self.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_engines_are_short_and_plain() {
        for name in ["openvm", "risc0", "a", "sixteen-letters-"] {
            assert_eq!(name.parse::<EngineName>().unwrap().as_str(), name);
        }
        for (text, bytes, other) in [
            ("", 0, None),
            ("seventeen-letters", 17, None),
            ("OpenVM", 6, Some(b'O')),
            ("../x", 4, Some(b'.')),
            ("risc0\n", 6, Some(b'\n')),
        ] {
            let refused = EngineNameError { bytes, other };
            assert_eq!(text.parse::<EngineName>(), Err(refused), "{text:?}");
        }
    }

    #[test]
    fn names_are_ordered_as_their_bytes_are() {
        let mut bytes = [[7; 32]; 6];
        (bytes[0][0], bytes[1][7], bytes[2][8]) = (255, 0, 6);
        (bytes[3][31], bytes[4][0]) = (8, 128);
        for one in bytes {
            for other in bytes {
                assert_eq!(Peer(one).cmp(&Peer(other)), one.cmp(&other));
            }
        }
    }
}
