//! The settings of the service.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

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
    /// service listens on a loopback address. Elsewhere every name is right.
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

/// What clients may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, and those of one address.
    pub connections: usize,
    pub connections_per_address: usize,
    /// Bytes of a request's head, and its headers.
    pub header_bytes: usize,
    pub headers: usize,
    /// The time for a request's head, TLS's handshake or an idle connection.
    pub header_time: Duration,
    /// The time without a byte after which a connection is closed while one side has some to send.
    pub stall: Duration,
    /// The bytes per second that an upload has to come with, on average, after `stall` has passed.
    pub upload_rate: u64,
    /// Bytes of a whole upload.
    pub upload_bytes: u64,
    pub program_bytes: u64,
    pub config_bytes: u64,
    /// Bytes of one file of the input, or of one file of blocks.
    pub file_bytes: u64,
    /// Files of the input, or of blocks.
    pub files: usize,
    /// Uploads at once.
    pub uploads: usize,
    /// Jobs that are prepared at once, and those that wait for that.
    pub preparing: usize,
    pub preparing_queue: usize,
    /// Bytes of the disk that uploads leave to proofs.
    pub disk_reserve: u64,
    /// Streams of events at once, and those of one address.
    pub streams: usize,
    pub streams_per_address: usize,
    /// The pause after which a silent stream says that it lives.
    pub keep_alive: Duration,
    /// The time that requests have to end when the service stops.
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            connections_per_address: 256,
            header_bytes: 16 * KIB as usize,
            headers: 64,
            header_time: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            upload_rate: 8 * KIB,
            upload_bytes: GIB,
            program_bytes: 256 * MIB,
            config_bytes: 64 * KIB,
            file_bytes: 512 * MIB,
            files: 64,
            uploads: 16,
            preparing: 2,
            preparing_queue: 16,
            disk_reserve: GIB,
            streams: 1000,
            streams_per_address: 64,
            keep_alive: Duration::from_secs(15),
            stop_time: Duration::from_secs(10),
        }
    }
}
