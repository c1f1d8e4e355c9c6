//! Flags that several commands share. They are also settings: they serialize to the topmost layer.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    str::FromStr,
};

use bytesize::ByteSize;
use clap::{Args, ValueEnum, ValueHint};
use myriad_engine::MemoryBudget;
use serde::{Serialize, Serializer};

/// The input of a program.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub struct InputFlags {
    /// The input stream: a hex string, or a file with one or with JSON
    ///
    /// The format is that of `cargo openvm run --input`: 01 and bytes, or 02 and field elements of
    /// 4 bytes, little endian; JSON has a list of such strings, {"input": ["0x01..."]}.
    #[arg(
        long,
        value_name = "FILE|HEX",
        conflicts_with = "input_bytes",
        verbatim_doc_comment
    )]
    pub input: Option<String>,
    /// A file whose bytes are the input, as one item
    #[arg(long, value_name = "FILE")]
    pub input_bytes: Option<PathBuf>,
}

/// The folder of data, and the form of the output.
#[derive(Clone, Debug, Args, Serialize)]
#[command(next_help_heading = "General")]
pub struct DataFlags {
    /// Print one JSON document to stdout, also for an error
    #[arg(long)]
    #[serde(skip)]
    pub json: bool,
    /// Folder of keys and accepted proofs [env: MYRIAD_DATA_DIR]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The binary of RISC Zero's engine [default: myriad-engine-risc0 beside this one]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_risc0: Option<PathBuf>,
}

/// The limits of an execution, and of its segments.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Most memory of each engine child: segments are cut to fit it [default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_bytes")]
    pub memory: Option<MemoryBudget>,
    /// Most instructions of the execution [default: 200 billion]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_instructions: Option<u64>,
}

/// The settings of an execution.
#[derive(Debug, Args, Serialize)]
pub struct RunFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub limits: LimitFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub data: DataFlags,
}

/// The settings of proving.
#[derive(Debug, Args, Serialize)]
pub struct WorkFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub limits: LimitFlags,
    /// Most engine children at once; fewer if memory is short [default: the number of cores]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<NonZeroUsize>,
    /// Threads of each engine child [default: twice its share of the cores]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
    /// Seconds for the proof to be done; the job continues after them, and a notice says so
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<NonZeroU64>,
    /// The proof's form: `fast` skips the layer that shrinks it
    #[arg(long, value_name = "FORM", value_enum, help_heading = "General")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofForm>,
    /// Folder for the proof and its baseline [default: the working folder]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "General")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub data: DataFlags,
}

/// The form of the final proof: the words of [`myriad_engine::FinalForm`]. OpenVM's verifier takes
/// both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofForm {
    /// One more layer, as OpenVM does it (the default)
    Small,
    /// The top of the tree as it is
    Fast,
}

/// Bytes that a program reveals, written in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicValues(pub Vec<u8>);

impl FromStr for PublicValues {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        hex::decode(text.strip_prefix("0x").unwrap_or(text))
            .map(Self)
            .map_err(|e| format!("not hex: {e}"))
    }
}

/// A count of something: 90000000, or 90e6.
pub(super) fn count(text: &str) -> Result<u64, String> {
    /// A float cannot have all whole numbers above it.
    const EXACT_MAX: f64 = (1_u64 << 53) as f64;
    if let Ok(count) = text.parse() {
        return Ok(count);
    }
    match text.parse::<f64>() {
        Ok(count) if (0.0..=EXACT_MAX).contains(&count) && count.fract() == 0.0 => Ok(count as u64),
        _ => Err("it is not a whole number from 0 to 18446744073709551615, such as 90000000 or 90e6".into()),
    }
}

pub(super) fn size_as_bytes<S: Serializer>(
    size: &Option<ByteSize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    size.map(|size| size.as_u64()).serialize(serializer)
}

pub(super) fn as_bytes<S: Serializer>(
    memory: &Option<MemoryBudget>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    memory.map(MemoryBudget::bytes).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_may_have_an_exponent_and_nothing_behind_the_point() {
        assert_eq!(count("90000000"), Ok(90_000_000));
        assert_eq!(count("90e6"), Ok(90_000_000));
        assert_eq!(count("1.5e3"), Ok(1500));
        assert_eq!(count("18446744073709551615"), Ok(u64::MAX));
        for wrong in [
            "",
            "1.5",
            "-1",
            "1e300",
            "inf",
            "NaN",
            "1e-3",
            "9 000",
            "18446744073709551616",
        ] {
            assert!(count(wrong).is_err(), "{wrong:?}");
        }
    }
}
