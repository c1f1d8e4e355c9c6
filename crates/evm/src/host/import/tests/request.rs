//! The request that a test's server reads of a client. `tests/import_memory.rs` takes this file in,
//! too.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
};

use serde_json::Value;

/// The lines of a request's header, in lower case, and its body. All of the body is read: a socket
/// that is closed with unread bytes resets the connection, and the answer is lost.
pub(super) fn read(stream: &mut TcpStream) -> (Vec<String>, Value) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut header = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
        header.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (header, serde_json::from_slice(&body).unwrap())
}
