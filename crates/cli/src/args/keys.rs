//! The arguments of `myriad keys ...`.

use std::num::{NonZeroU32, NonZeroU64};

use bytesize::ByteSize;
use clap::{Args, Subcommand, ValueEnum};
use myriad_gateway::keys::{Quota, Role};

use super::DataFlags;

/// The keys of the HTTP service: make, list and revoke them
///
/// `myriad serve` notices each change within two seconds, without a restart. It keeps a hash of a
/// key and nothing more.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  myriad keys add rollup --jobs 20 --upload-per-day 50GiB
  myriad keys list
  myriad keys revoke rollup")]
pub enum KeysCommand {
    Add(AddKey),
    List(ListKeys),
    Revoke(RevokeKey),
}

/// Make a key, and print it: the only time that it can be read
///
/// Stdout has the key and nothing else. Without a limit, the holder may do as much as the service
/// can. Run it as the user that runs the service, on the same data folder.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad keys add rollup --jobs 20 --upload-per-day 50GiB --requests-per-minute 600
  myriad keys add dashboard --role read
  KEY=$(myriad keys add ci --jobs 2)"
)]
pub struct AddKey {
    /// Its name: 1 to 64 of a-z, 0-9, `.`, `_` and `-`, of which a letter or digit is the first
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What the key may do
    #[arg(long, value_name = "ROLE", value_enum, default_value = "submit")]
    pub role: KeyRole,
    /// Most of its jobs that are not over [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub jobs: Option<NonZeroU32>,
    /// Most bytes that it uploads from 00:00 UTC to 00:00 UTC [default: no limit]
    #[arg(long, value_name = "SIZE", help_heading = "Limits", value_parser = size)]
    pub upload_per_day: Option<NonZeroU64>,
    /// Most requests at once, and then per minute [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub requests_per_minute: Option<NonZeroU32>,
    #[command(flatten)]
    pub data: DataFlags,
}

/// List the keys, with what each may do; the keys themselves are kept nowhere
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad keys list
  myriad keys list --json | jq -r '.keys[] | select(.revoked_ms == null) | .name'")]
pub struct ListKeys {
    #[command(flatten)]
    pub data: DataFlags,
}

/// Revoke a key for good; jobs that it has submitted continue
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  myriad keys revoke rollup")]
pub struct RevokeKey {
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub data: DataFlags,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyRole {
    /// Look at everything, where the service is private
    Read,
    /// Also submit and cancel jobs
    Submit,
}

impl From<KeyRole> for Role {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::Read => Self::Read,
            KeyRole::Submit => Self::Submit,
        }
    }
}

impl AddKey {
    pub fn quota(&self) -> Quota {
        Quota {
            jobs: self.jobs.map(NonZeroU32::get),
            upload_bytes_per_day: self.upload_per_day.map(NonZeroU64::get),
            requests_per_minute: self.requests_per_minute.map(NonZeroU32::get),
        }
    }
}

impl KeysCommand {
    /// Whether stdout is for one JSON document.
    pub fn json(&self) -> bool {
        match self {
            Self::Add(args) => args.data.json,
            Self::List(args) => args.data.json,
            Self::Revoke(args) => args.data.json,
        }
    }
}

fn size(text: &str) -> Result<NonZeroU64, String> {
    let size: ByteSize = text.parse()?;
    NonZeroU64::new(size.as_u64()).ok_or_else(|| "0 bytes allow no upload; name more, or leave it out".into())
}
