//! The settings of the service.

use std::{net::SocketAddr, path::PathBuf};

use crate::limits::Limits;

/// The settings of the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of the data of all jobs: that of the requester's service.
    pub data_dir: PathBuf,
    /// The build, such as `myriad 0.1.0`.
    pub build: String,
    /// The service's id on the network.
    pub peer: String,
    /// The most jobs that are not over: the limit of the requester's service.
    pub jobs_max: usize,
    pub listen: SocketAddr,
    /// Names that a request's `Host` may have beside `localhost`, `127.0.0.1` and `[::1]` while the
    /// service listens on a loopback address. Elsewhere, every address is right, too; and every
    /// name if none is given here.
    pub hosts: Vec<String>,
    /// The origins whose pages may ask, such as `https://example.org`; `*` is all of them.
    pub origins: Vec<String>,
    /// None for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether reads need a key, too.
    pub private: bool,
    /// Whether jobs that the last process has left are continued.
    pub resume: bool,
    pub limits: Limits,
}

/// The PEM files of TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those between it and the root.
    pub certificates: PathBuf,
    pub key: PathBuf,
}
