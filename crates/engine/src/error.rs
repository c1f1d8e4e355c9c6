//! One error type for each operation. Each says the actual value, the allowed one, and what to do.
//!
//! The errors of operations that run in a child process are serializable: they cross a pipe.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most bytes that an error quotes of a text whose length a stranger has chosen.
const QUOTED_BYTES_MAX: usize = 512;

/// The text as an error quotes it. A long text is cut to its start, with the number of all its
/// bytes.
pub fn quoted(text: &str) -> String {
    if text.len() <= QUOTED_BYTES_MAX {
        return text.into();
    }
    let cut = (0..=QUOTED_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at));
    let start = &text[..cut.unwrap_or(0)];
    format!("{start}... ({} bytes in all)", text.len())
}

/// Why an input was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum InputError {
    #[error("the input has {actual} bytes, and {max} are allowed")]
    TooLarge { actual: usize, max: usize },
    #[error("the input has {actual} items, and {max} are allowed; have the program read more at a time")]
    TooManyItems { actual: u64, max: usize },
    #[error("the input cannot be decoded: {reason}")]
    Malformed { reason: String },
    #[error("the input is empty; an empty stream is written {{\"input\": []}}, an empty item 0x01")]
    Empty,
    #[error("the input is neither a hex string nor JSON: {reason}; for raw bytes use --input-bytes")]
    Syntax { reason: String },
    #[error("the JSON input has no array under the key \"input\"; write {{\"input\": [\"0x01...\"]}}")]
    NoArray,
    #[error("input item {index} is not a hex string")]
    NotAString { index: usize },
    #[error("input item {index} is not hex: {reason}")]
    Hex { index: usize, reason: String },
    #[error(
        "input item {index} starts with {actual}; it has to start with 01 (bytes follow) or 02 (field elements \
         follow, 32 bits each, little endian)"
    )]
    Prefix { index: usize, actual: String },
    #[error("input item {index} starts with 02, but the {actual} bytes after it are not a multiple of 4")]
    FieldElements { index: usize, actual: usize },
    #[error("input item {index} has the field element {actual}, which is not below the modulus {modulus}")]
    FieldElement { index: usize, actual: u32, modulus: u32 },
}

/// Why an execution failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum ExecuteError {
    #[error("the program ended with exit code {code}{}", said(.output))]
    Failed { code: u32, output: String },
    #[error(
        "the program did not end within {max} instructions, and has executed {actual}; if it needs more, raise \
         --max-instructions{}",
        said(.output)
    )]
    TooLong {
        max: u64,
        /// The number of instructions after which it was stopped.
        actual: u64,
        output: String,
    },
    #[error(
        "the program asks for more input than it was given (at pc {pc:#x}); check --input: every read takes \
         one item{}",
        said(.output)
    )]
    InputExhausted { pc: u32, output: String },
    #[error("the program did something that the VM does not allow: {reason}{}", said(.output))]
    Trapped { reason: String, output: String },
    #[error(
        "a memory budget of {budget} bytes is too small for this program: its smallest segment needs about \
         {needed} bytes; raise --memory"
    )]
    BudgetTooSmall { budget: u64, needed: u64 },
    #[error(
        "within a memory budget of {budget} bytes the execution comes to more than {max} segments, which are the most \
         that are planned; raise --memory, or prove less at once"
    )]
    TooManySegments { budget: u64, max: usize },
    #[error(
        "the execution cannot be cut finely enough, whatever the memory: {reason}; have the program do less in each \
         thousand of its instructions"
    )]
    Indivisible { reason: String },
    #[error(transparent)]
    Keys(#[from] KeyError),
}

impl ExecuteError {
    /// Whether more memory would help.
    pub fn asks_for_memory(&self) -> bool {
        matches!(self, Self::BudgetTooSmall { .. } | Self::TooManySegments { .. })
    }
}

/// The end of an error message: the text that the program printed.
fn said(output: &str) -> String {
    match output.trim() {
        "" => String::new(),
        text => format!("; it said:\n{text}"),
    }
}

/// Why keys could not be read or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum KeyError {
    #[error(
        "cannot use the key cache at {}: {reason}; name a folder that can be written with --data-dir or \
         MYRIAD_DATA_DIR, or free some space",
        path.display()
    )]
    Io { path: PathBuf, reason: String },
    #[error(
        "the keys of this VM configuration, {}, are missing or damaged; run the command again, which has them made first: \
         an engine child that runs programs cannot write them",
        path.display()
    )]
    Missing { path: PathBuf },
    #[error("keys cannot be made for this VM configuration: {reason}")]
    Keygen { reason: String },
}

impl KeyError {
    /// The error of a file of keys, or of their folder.
    pub fn io(path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::Io {
            path: path.into(),
            reason: error.to_string(),
        }
    }
}

/// Why a segment was not proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum ProveError {
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("segment {segment} does not fit the program and its input: {reason}")]
    Mismatch { segment: u32, reason: String },
    #[error("segment {segment} could not be proven: {reason}")]
    Failed { segment: u32, reason: String },
    #[error(
        "the new proof of segment {segment} is invalid ({reason}); if that happens again, the memory of this machine is \
         bad: test it"
    )]
    Unsound { segment: u32, reason: String },
}

/// Why proofs were not aggregated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum AggregateError {
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("{level} takes 1 to {max} children, not {actual}")]
    Arity {
        level: String,
        actual: usize,
        max: usize,
    },
    #[error("child {child} cannot be decoded: {reason}")]
    Child { child: usize, reason: String },
    #[error("the children cannot be aggregated to {level}: {reason}")]
    Failed { level: String, reason: String },
    #[error(
        "the new proof of {level} is invalid ({reason}); either no proof can be made over one of its children, or the \
         memory of this machine is bad"
    )]
    Unsound { level: String, reason: String },
}

/// Why a proof was refused. The proof shows nothing, whatever the cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum VerifyError {
    #[error("the proof has {actual} bytes, and {max} are allowed for {what}")]
    TooLarge { what: String, actual: usize, max: usize },
    #[error("the proof cannot be decoded: {reason}")]
    Malformed { reason: String },
    #[error(
        "the proof was made by {actual}, and this build verifies those of {expected}; verify it with a build for \
         {actual}, or have it made again with this one"
    )]
    Version { actual: String, expected: String },
    #[error("the proof does not hold: {reason}")]
    Invalid { reason: String },
    #[error(
        "the proof holds, but no proof can be made over it: {what} is {actual}, and the circuits above require \
         {required}"
    )]
    Unusable {
        what: String,
        actual: String,
        required: String,
    },
    #[error("the proof is of another program: its commitment is {actual}, this program's is {expected}")]
    OtherProgram { actual: String, expected: String },
    #[error("the proof is of another VM configuration or another level of the tree: {reason}")]
    OtherKeys { reason: String },
    #[error("the program failed, with exit code {code}")]
    ExitCode { code: u32 },
    #[error("the proof says that {what} is {actual}, but {expected} was expected")]
    Boundary {
        what: String,
        actual: String,
        expected: String,
    },
    #[error("the proof reveals the public values {actual}, but {expected} were expected")]
    PublicValues { actual: String, expected: String },
}

impl VerifyError {
    /// The error with its texts [`quoted`], so that its length has a bound.
    pub fn shortened(mut self) -> Self {
        let texts: Vec<&mut String> = match &mut self {
            Self::TooLarge { what, .. } => vec![what],
            Self::Malformed { reason } | Self::Invalid { reason } | Self::OtherKeys { reason } => {
                vec![reason]
            }
            Self::Version { actual, expected }
            | Self::OtherProgram { actual, expected }
            | Self::PublicValues { actual, expected } => vec![actual, expected],
            Self::Unusable {
                what,
                actual,
                required: expected,
            }
            | Self::Boundary {
                what,
                actual,
                expected,
            } => vec![what, actual, expected],
            Self::ExitCode { .. } => Vec::new(),
        };
        for text in texts {
            *text = quoted(text);
        }
        self
    }

    /// The proof says something else of the execution than was expected.
    pub fn boundary(what: &str, actual: impl ToString, expected: impl ToString) -> Self {
        Self::Boundary {
            what: what.into(),
            actual: actual.to_string(),
            expected: expected.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_quoted_by_its_start() {
        assert_eq!(quoted("short"), "short");
        assert_eq!(quoted(&"x".repeat(QUOTED_BYTES_MAX)).len(), QUOTED_BYTES_MAX);
        // Three bytes each, so that the limit is inside of one.
        let long = quoted(&"\u{20ac}".repeat(1000));
        assert!(long.ends_with("\u{20ac}... (3000 bytes in all)"), "{long}");
        assert!(long.len() < QUOTED_BYTES_MAX + 30, "{}", long.len());
    }
}
