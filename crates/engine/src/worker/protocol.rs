//! The frames between a caller and its engine child.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::usage::Usage;
use crate::{
    Account, AggregateError, Boundary, CHILDREN_MAX, ExecuteError, FINAL_PROOF_BYTES_MAX, FinalForm,
    InputError, KEY_FILE_BYTES_MAX, KeyError, LABELS_MAX, Level, Loaded, MemoryBudget, NODE_PROOF_BYTES_MAX,
    PLAN_BYTES_MAX, PUBLIC_VALUES_BYTES_MAX, Plan, ProofOf, ProveError, SEGMENT_PROOF_BYTES_MAX, Segment,
    Shown, Statement, VerifyError, quoted,
};

/// The most bytes of the files of a request: the largest program and the largest input together,
/// and some more.
pub(super) const FILES_BYTES_MAX: u64 = 512 << 20;
/// The most files of a request: a program and an input, or the children of a leaf.
pub(super) const FILES_MAX: usize = CHILDREN_MAX;
/// The most bytes of a frame from a caller: the segments of a plan, each with its details.
pub(super) const REQUEST_BYTES_MAX: usize = 64 << 20;
/// The most bytes of a failure, which has up to 8 KiB that the program has printed, and three times
/// as many if they are no text.
pub(super) const FAILURE_BYTES_MAX: usize = 32 << 10;
/// The most bytes of an answer beside its largest part: the usage, lengths and numbers.
const AROUND_BYTES_MAX: usize = 1 << 10;
/// The most bytes of a boundary: two pcs, two digests of eight words, and an exit code.
const BOUNDARY_BYTES_MAX: usize = 2 * 5 + 2 * 8 * 5 + 6;
/// The most bytes of a statement, with the file that belongs to it.
const STATEMENT_BYTES_MAX: usize = 64 << 10;
/// The most bytes of an account: three numbers for each label.
const SPENT_BYTES_MAX: usize = LABELS_MAX * 3 * 10;

/// A request, and the number of bytes of each file that follows it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RequestHead {
    pub request: Request,
    pub files: Vec<u64>,
}

/// A request of a caller to its child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Make the keys of the configuration that this text describes. Only a child that was started
    /// to make keys serves this request, and it serves no other.
    MakeKeys {
        config: Option<String>,
    },
    /// Work on this program and input from now on. Their files follow: the program's, and the
    /// encoded input.
    Load {
        config: Option<String>,
    },
    Plan {
        budget: MemoryBudget,
        max_instructions: u64,
        /// If the execution has more segments than this, the child reports them as it cuts them.
        stream_from: Option<u32>,
    },
    /// Execute to the end, and count by the program's marks.
    Account {
        max_instructions: u64,
    },
    /// Execute this many instructions, and nothing else.
    Execute {
        instructions: u64,
    },
    /// Find the start and the end of each of these segments: the first of the plan, or those that
    /// follow the ones before.
    Boundaries(Vec<Segment>),
    Prove(Segment),
    /// The children's proofs follow.
    Aggregate {
        level: Level,
    },
    /// The proofs of the top and of the last segment follow.
    Finish {
        level: Level,
        form: FinalForm,
    },
    /// Make ready to verify proofs of the program.
    PrepareVerifier,
    /// The proof follows.
    Verify(ProofOf),
}

impl Request {
    /// The most bytes of an answer to it. A child may be in a stranger's hands, and its caller
    /// keeps the answer in memory.
    pub(super) fn answer_bytes_max(&self) -> usize {
        let most = match self {
            Self::MakeKeys { .. } => KEY_FILE_BYTES_MAX as usize,
            Self::Load { .. } | Self::Execute { .. } => 0,
            Self::Plan { .. } => PLAN_BYTES_MAX + PUBLIC_VALUES_BYTES_MAX,
            Self::Account { .. } => SPENT_BYTES_MAX + PUBLIC_VALUES_BYTES_MAX,
            Self::Boundaries(segments) => segments.len().saturating_mul(BOUNDARY_BYTES_MAX),
            Self::Prove(_) => SEGMENT_PROOF_BYTES_MAX,
            Self::Aggregate { .. } => NODE_PROOF_BYTES_MAX,
            Self::Finish { .. } => FINAL_PROOF_BYTES_MAX,
            Self::PrepareVerifier => STATEMENT_BYTES_MAX,
            // Only a final proof shows public values.
            Self::Verify(ProofOf::Final { .. }) => PUBLIC_VALUES_BYTES_MAX,
            Self::Verify(_) => BOUNDARY_BYTES_MAX,
        };
        most.max(FAILURE_BYTES_MAX).saturating_add(AROUND_BYTES_MAX)
    }
}

/// The answer to one request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Response {
    pub usage: Usage,
    pub result: Result<Answer, Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The file of the keys, which the caller writes.
    Keys(Vec<u8>),
    Loaded(Loaded),
    Plan(Plan),
    Executed,
    Boundaries(Vec<Boundary>),
    Proof(Vec<u8>),
    Statement(Statement),
    /// The proof is valid, and says this.
    Holds(Shown),
    Account(Account),
    /// Further segments of the plan. The answer comes later.
    Cut(#[serde(deserialize_with = "crate::plan::segments")] Vec<Segment>),
}

/// Why a request failed, with the child alive and ready for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Failure {
    /// The program was refused, for this reason.
    #[error("{0}")]
    Program(String),
    #[error(transparent)]
    Input(#[from] InputError),
    /// The text that configures its virtual machine was refused, for this reason.
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Prove(#[from] ProveError),
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("the engine child was asked to work before it was given a program")]
    NothingLoaded,
    #[error("the engine child was given {actual} files with a request that has {expected}")]
    Files { actual: usize, expected: usize },
    #[error("a child makes keys or runs programs, and this request is for the other kind of child")]
    NotItsTask,
    #[error(
        "the engine child failed, and gives {bytes} bytes of reason where {FAILURE_BYTES_MAX} are allowed"
    )]
    Untold { bytes: usize },
}

impl Failure {
    /// The failure with texts that are short enough to be told. What blames a stranger stays of its
    /// kind, however long the text is that the stranger has made it quote; of another kind, only
    /// the length may be told.
    pub(super) fn tellable(self) -> Self {
        let bytes = self.bytes();
        if bytes <= FAILURE_BYTES_MAX {
            return self;
        }
        let shortened = match self {
            Self::Verify(error) => Self::Verify(error.shortened()),
            Self::Program(reason) => Self::Program(quoted(&reason)),
            Self::Config(reason) => Self::Config(quoted(&reason)),
            Self::Input(error) => Self::Input(InputError::Malformed {
                reason: quoted(&error.to_string()),
            }),
            Self::Keys(KeyError::Keygen { reason }) => Self::Keys(KeyError::Keygen {
                reason: quoted(&reason),
            }),
            _ => Self::Untold { bytes },
        };
        debug_assert!(shortened.bytes() <= FAILURE_BYTES_MAX);
        shortened
    }

    fn bytes(&self) -> usize {
        postcard::to_stdvec(self).expect("a failure is plain data").len()
    }

    /// Whether the child could not read its keys.
    pub fn is_of_keys(&self) -> bool {
        matches!(
            self,
            Self::Keys(_)
                | Self::Execute(ExecuteError::Keys(_))
                | Self::Prove(ProveError::Keys(_))
                | Self::Aggregate(AggregateError::Keys(_))
        )
    }
}

/// Writes one frame, of at most this many bytes.
pub(super) fn write_frame(writer: &mut impl Write, message: &impl Serialize, max: usize) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    check_length(bytes.len(), max, io::ErrorKind::InvalidInput)?;
    writer.write_all(&(bytes.len() as u32).to_le_bytes())?;
    writer.write_all(&bytes)?;
    writer.flush()
}

/// Reads one frame of at most this many bytes, or none where the stream ends before it starts.
///
/// Memory grows with the bytes that arrive, not with the length that was announced.
pub(super) fn read_frame<T: DeserializeOwned>(reader: &mut impl Read, max: usize) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match reader.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => reader.read_exact(&mut length[1..])?,
    }
    let length = u32::from_le_bytes(length) as usize;
    check_length(length, max, io::ErrorKind::InvalidData)?;
    let bytes = read_exactly(reader, length as u64)?;
    let message = postcard::from_bytes(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(Some(message))
}

/// Reads the files of a request.
pub(super) fn read_files(reader: &mut impl Read, files: &[u64]) -> io::Result<Vec<Vec<u8>>> {
    let bytes = files.iter().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
    if files.len() > FILES_MAX || bytes > FILES_BYTES_MAX {
        let text = format!(
            "{} files of {bytes} bytes, and {FILES_MAX} of {FILES_BYTES_MAX} are allowed",
            files.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    files.iter().map(|&bytes| read_exactly(reader, bytes)).collect()
}

fn read_exactly(reader: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn check_length(length: usize, max: usize, kind: io::ErrorKind) -> io::Result<()> {
    if length > max {
        return Err(io::Error::new(
            kind,
            format!("a frame of {length} bytes, and {max} are allowed"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &"one", 100).unwrap();
        write_frame(&mut bytes, &"two", 100).unwrap();
        let mut reader = bytes.as_slice();
        let mut read = || read_frame::<String>(&mut reader, 100).unwrap();
        assert_eq!(read().as_deref(), Some("one"));
        assert_eq!(read().as_deref(), Some("two"));
        assert_eq!(read(), None);
    }

    #[test]
    fn a_failure_is_told_unless_it_is_too_long() {
        let failure = |bytes| {
            Failure::Prove(ProveError::Failed {
                segment: 0,
                reason: "x".repeat(bytes),
            })
        };
        assert_eq!(failure(1000).tellable(), failure(1000));
        let long = failure(FAILURE_BYTES_MAX).tellable();
        assert!(matches!(long, Failure::Untold { .. }), "{long}");
    }

    /// A false proof that makes the verifier quote a long text must not pass for a fault of this
    /// machine: its sender would not be banned.
    #[test]
    fn a_failure_that_blames_a_stranger_does_so_at_any_length() {
        let long = || "x".repeat(FAILURE_BYTES_MAX);
        let (reason, actual, expected) = (long, long, long);
        for error in [
            VerifyError::Malformed { reason: reason() },
            VerifyError::Invalid { reason: reason() },
            VerifyError::OtherKeys { reason: reason() },
            VerifyError::Version {
                actual: actual(),
                expected: expected(),
            },
            VerifyError::OtherProgram {
                actual: actual(),
                expected: expected(),
            },
            VerifyError::PublicValues {
                actual: actual(),
                expected: expected(),
            },
            VerifyError::boundary(&long(), actual(), expected()),
            VerifyError::Unusable {
                what: long(),
                actual: actual(),
                required: expected(),
            },
            VerifyError::TooLarge {
                what: long(),
                actual: 2,
                max: 1,
            },
        ] {
            let kind = std::mem::discriminant(&error);
            let told = Failure::Verify(error).tellable();
            assert!(told.bytes() <= FAILURE_BYTES_MAX);
            let Failure::Verify(told) = told else {
                panic!("{told}");
            };
            assert_eq!(std::mem::discriminant(&told), kind, "{told}");
        }
        let told = |failure: Failure| {
            let told = failure.tellable();
            assert!(told.bytes() <= FAILURE_BYTES_MAX);
            told
        };
        assert!(matches!(told(Failure::Program(long())), Failure::Program(_)));
        assert!(matches!(told(Failure::Config(long())), Failure::Config(_)));
        let input = InputError::Syntax { reason: long() };
        assert!(matches!(told(Failure::Input(input)), Failure::Input(_)));
        let keys = KeyError::Keygen { reason: long() };
        assert!(matches!(
            told(Failure::Keys(keys)),
            Failure::Keys(KeyError::Keygen { .. })
        ));
    }

    #[test]
    fn an_answer_has_room_for_the_largest_that_is_allowed() {
        let room = |request: Request, answer: Answer| {
            let usage = Usage {
                peak_bytes: u64::MAX,
                planned_bytes: u64::MAX,
                ..Usage::default()
            };
            let result = Ok(answer);
            let bytes = postcard::to_stdvec(&Response { usage, result }).unwrap().len();
            request.answer_bytes_max().checked_sub(bytes).unwrap()
        };
        let root = crate::Root([u32::MAX; 8]);
        let boundary = Boundary {
            initial_pc: u32::MAX,
            final_pc: u32::MAX,
            initial_root: root,
            final_root: root,
            exit_code: Some(u32::MAX),
        };
        let segment = Segment::only();
        let boundaries = Request::Boundaries(vec![segment.clone(); 1000]);
        room(boundaries, Answer::Boundaries(vec![boundary; 1000]));
        let proof = |bytes| Answer::Proof(vec![0; bytes]);
        let proven = room(Request::Prove(segment), proof(SEGMENT_PROOF_BYTES_MAX));
        assert!(proven < AROUND_BYTES_MAX, "and for no more: {proven}");
        let level = Level::LEAF;
        room(Request::Aggregate { level }, proof(NODE_PROOF_BYTES_MAX));
        let verify = Request::Verify(ProofOf::Node(level));
        room(verify, Answer::Holds(Shown::Piece(boundary)));
        let spent = crate::Spent {
            times: u64::MAX,
            instructions: u64::MAX,
            cells: u64::MAX,
        };
        let account = Account {
            spent: vec![spent; LABELS_MAX],
            public_values: vec![0; PUBLIC_VALUES_BYTES_MAX],
        };
        let max_instructions = u64::MAX;
        room(Request::Account { max_instructions }, Answer::Account(account));
    }

    #[test]
    fn bad_frames_are_errors() {
        let read = |mut bytes: &[u8]| read_frame::<String>(&mut bytes, 100).unwrap_err().kind();
        assert_eq!(read(&[1, 0]), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&[4, 0, 0, 0, 1]), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&[0xff; 8]), io::ErrorKind::InvalidData);
        assert_eq!(read(&[101, 0, 0, 0, 0]), io::ErrorKind::InvalidData);
        assert_eq!(read(&[1, 0, 0, 0, 0xff]), io::ErrorKind::InvalidData);
    }

    #[test]
    fn files_are_read_as_long_as_they_are_said_to_be_and_no_longer_than_allowed() {
        let read = |mut bytes: &[u8], files: &[u64]| read_files(&mut bytes, files).map_err(|e| e.kind());
        assert_eq!(
            read(b"abc", &[1, 0, 2]),
            Ok(vec![b"a".to_vec(), Vec::new(), b"bc".to_vec()])
        );
        assert_eq!(read(b"abc", &[4]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read(b"abc", &[0; FILES_MAX + 1]), Err(io::ErrorKind::InvalidData));
        assert_eq!(read(b"abc", &[u64::MAX, 2]), Err(io::ErrorKind::InvalidData));
    }
}
