//! What clients may take, and what counts as one client.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use myriad_engine::{CONFIG_BYTES_MAX, INPUT_BYTES_MAX, PROGRAM_BYTES_MAX};

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

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
    /// The time for a whole upload.
    pub upload_time: Duration,
    /// Bytes of a whole upload.
    pub upload_bytes: u64,
    pub program_bytes: u64,
    pub config_bytes: u64,
    /// Bytes of one file of the input, or of one file of blocks.
    pub file_bytes: u64,
    /// Files of the input, or of blocks.
    pub files: usize,
    /// Uploads at once. One key has a quarter of them.
    pub uploads: usize,
    /// Jobs that are prepared at once, and those that wait for that. One key has half of the queue.
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
            connections: 1024,
            connections_per_address: 64,
            header_bytes: 16 * KIB as usize,
            headers: 64,
            header_time: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            upload_rate: 8 * KIB,
            upload_time: Duration::from_secs(6 * 60 * 60),
            upload_bytes: GIB,
            program_bytes: PROGRAM_BYTES_MAX as u64,
            config_bytes: CONFIG_BYTES_MAX as u64,
            file_bytes: INPUT_BYTES_MAX as u64,
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

/// What one client has: an address of IPv4, or the 64 bits of a network of IPv6.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_of_ipv4_or_a_network_of_ipv6() {
        let of = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::1"), "::1", "it is this machine, and no network");
    }
}
