//! The frames between a caller and its engine child.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::usage::Usage;
use crate::{
    AggregateError, Boundary, ExecuteError, Input, Level, MemoryBudget, Plan, ProgramError, ProveError,
    Segment,
};

/// Most bytes of a frame: the largest program and the largest input together, and some more.
pub const FRAME_BYTES_MAX: usize = 512 << 20;

/// What a caller asks of its child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Work on this program and input from now on.
    Load {
        image: Vec<u8>,
        openvm_toml: Option<String>,
        input: Input,
    },
    Plan {
        budget: MemoryBudget,
        max_instructions: u64,
    },
    /// Execute so many instructions, and nothing else.
    Execute {
        instructions: u64,
    },
    /// Where each segment of the plan starts and ends.
    Boundaries(Vec<Segment>),
    Prove(Segment),
    Aggregate {
        level: Level,
        children: Vec<Vec<u8>>,
    },
    Finish {
        level: Level,
        top: Vec<u8>,
        last_segment: Vec<u8>,
    },
}

/// The answer to one request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Response {
    pub usage: Usage,
    pub result: Result<Answer, Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Loaded,
    Plan(Plan),
    Executed,
    Boundaries(Vec<Boundary>),
    Proof(Vec<u8>),
}

/// Why a request failed, with the child alive and ready for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Failure {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Prove(#[from] ProveError),
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    #[error("the engine child was asked to work before it was given a program")]
    NothingLoaded,
}

/// Writes one frame.
pub(super) fn write_frame(writer: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if bytes.len() > FRAME_BYTES_MAX {
        let text = format!(
            "a frame of {} bytes, and {FRAME_BYTES_MAX} are allowed",
            bytes.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    writer.write_all(&(bytes.len() as u32).to_le_bytes())?;
    writer.write_all(&bytes)?;
    writer.flush()
}

/// Reads one frame, or none where the stream ends before it starts.
///
/// Memory grows with the bytes that arrive, not with the length that was announced.
pub(super) fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match reader.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => reader.read_exact(&mut length[1..])?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        let text = format!("a frame of {length} bytes, and {FRAME_BYTES_MAX} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::new();
    reader.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = postcard::from_bytes(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &"one").unwrap();
        write_frame(&mut bytes, &"two").unwrap();
        let mut reader = bytes.as_slice();
        assert_eq!(read_frame::<String>(&mut reader).unwrap().as_deref(), Some("one"));
        assert_eq!(read_frame::<String>(&mut reader).unwrap().as_deref(), Some("two"));
        assert_eq!(read_frame::<String>(&mut reader).unwrap(), None);
    }

    #[test]
    fn bad_frames_are_errors() {
        let read = |mut bytes: &[u8]| read_frame::<String>(&mut bytes).unwrap_err().kind();
        assert_eq!(read(&[1, 0]), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&[4, 0, 0, 0, 1]), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&[0xff; 8]), io::ErrorKind::InvalidData);
        assert_eq!(read(&[1, 0, 0, 0, 0xff]), io::ErrorKind::InvalidData);
    }
}
