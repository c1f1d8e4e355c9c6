//! The arguments of `myriad serve`.

use std::{net::SocketAddr, path::PathBuf};

use bytesize::ByteSize;
use clap::{Args, ValueHint};
use serde::Serialize;

use super::{
    NetFlags, ProverFlags,
    shared::{LimitFlags, ProofForm},
};
use crate::engines::Choice;

/// Take jobs over HTTP, and show on a page what is proven
///
/// Serves an HTTP API, a live page and metrics, and proves what is submitted with all provers that
/// the network finds, or with some on this machine. It listens on this machine alone unless it is
/// told otherwise. Submitting a job needs a key: `myriad keys add` makes one, and the file
/// gateway/cookie in the folder of data has one for the user of this machine. Ctrl-C ends it; the
/// next start continues what was not done.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  myriad serve --provers 2                             two provers on this machine; http://127.0.0.1:8080
  myriad serve --bootstrap /dns4/example.org/udp/4001/quic-v1
  myriad serve --http 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --private
  curl -H \"Authorization: Bearer $KEY\" -F block=@block.json.gz http://127.0.0.1:8080/v1/jobs"
)]
pub struct Serve {
    /// The address and port of the HTTP service
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8080",
        help_heading = "Service"
    )]
    pub http: SocketAddr,
    /// A name by which a proxy on this machine calls the service
    #[arg(long, value_name = "NAME", help_heading = "Service")]
    pub host: Vec<String>,
    /// Ask for a key for reading, too
    #[arg(long, help_heading = "Service")]
    pub private: bool,
    /// The certificates of TLS, a PEM file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_key", help_heading = "Service")]
    pub tls_cert: Option<PathBuf>,
    /// The key of TLS, a PEM file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_cert", help_heading = "Service")]
    pub tls_key: Option<PathBuf>,
    /// Most bytes of a whole upload [default: 1GiB]
    #[arg(long, value_name = "SIZE", help_heading = "Service")]
    pub max_upload: Option<ByteSize>,
    /// An origin whose pages may use the API: scheme, host, and port if it has one
    #[arg(long, value_name = "ORIGIN", help_heading = "Service")]
    pub allow_origin: Vec<String>,
    /// Leave jobs alone that an earlier start has not finished
    #[arg(long, help_heading = "Service")]
    pub no_resume: bool,
    /// Serve although this kernel cannot confine the children that load what clients upload
    #[arg(long, help_heading = "Service")]
    pub unconfined: bool,
    /// With --provers: the zkVM that they prove for
    #[arg(long, value_name = "NAME", default_value = "openvm", help_heading = "Provers")]
    pub engine: Choice,
    #[command(flatten)]
    pub provers: ProverFlags,
    #[command(flatten)]
    pub work: ServeFlags,
}

/// The settings of the jobs of a service.
#[derive(Debug, Args, Serialize)]
pub struct ServeFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub limits: LimitFlags,
    /// The form of proofs whose request names none
    #[arg(long, value_name = "FORM", value_enum, help_heading = "General")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofForm>,
    /// Folder of keys, accepted proofs and API keys [env: MYRIAD_DATA_DIR]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "General")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The binary of RISC Zero's engine [default: myriad-engine-risc0 beside this one]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath, help_heading = "General")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_risc0: Option<PathBuf>,
}

/// The command line's flags for a service, as one layer of settings.
#[derive(Serialize)]
pub struct ServeLayer<'a> {
    #[serde(flatten)]
    pub work: &'a ServeFlags,
    #[serde(flatten)]
    pub net: &'a NetFlags,
}
