//! Clients that want to take what they can: none of them keeps others from being answered.

use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    client::{connect, head, read, read_head, send},
    site::{Plan, Site, wait},
};

/// What a connection still says, until its end.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest
}

#[test]
fn heads_have_bounds() {
    let site = Site::new();
    let many = vec![("x", "1"); 65];
    assert_eq!(
        send(site.address, head("GET", "/healthz", &many).as_bytes()).status,
        431
    );
    let long = "x".repeat(17 << 10);
    assert_eq!(
        send(site.address, head("GET", "/healthz", &[("x", &long)]).as_bytes()).status,
        431
    );
    let path = format!("/{long}");
    let answer = send(site.address, head("GET", &path, &[]).as_bytes());
    assert!([414, 431].contains(&answer.status), "{answer:?}");
    for rubbish in [
        b"\x16\x03\x01\x02\x00".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut stream = connect(site.address);
        stream.write_all(rubbish).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let said = rest(stream);
        assert!(
            said.is_empty() || said.starts_with(b"HTTP/1.1 4"),
            "{rubbish:?}: {said:?}"
        );
    }
    assert_eq!(site.get("/healthz").status, 200);
}

#[test]
fn bodies_of_two_lengths_are_refused() {
    let site = Site::new();
    for lengths in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: -1",
        "content-length: 5\r\ntransfer-encoding: x",
    ] {
        let head = format!(
            "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\nconnection: close\r\n\r\nhello"
        );
        let mut stream = connect(site.address);
        stream.write_all(head.as_bytes()).unwrap();
        let said = rest(stream);
        assert!(
            said.starts_with(b"HTTP/1.1 4"),
            "{lengths}: {}",
            String::from_utf8_lossy(&said)
        );
    }
}

#[test]
fn slow_heads_and_idle_connections_end() {
    let plan = Plan::new().limits(|limits| limits.header_time = Duration::from_millis(700));
    let site = plan.start();
    let begun = Instant::now();
    let idle = connect(site.address);
    let mut slow = connect(site.address);
    slow.write_all(b"GET /healthz HT").unwrap();
    let mut kept = connect(site.address);
    kept.write_all(head("GET", "/healthz", &[]).as_bytes()).unwrap();
    let mut kept = BufReader::new(kept);
    assert_eq!(read(&mut kept).status, 200);
    for stream in [idle, slow, kept.into_inner()] {
        rest(stream);
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
    // A drip does not help.
    let begun = Instant::now();
    let mut drip = connect(site.address);
    for byte in b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long-header: "
        .iter()
        .cycle()
    {
        if drip.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(30), "it goes on");
    }
}

#[test]
fn connections_are_bounded() {
    let plan = Plan::new().limits(|limits| limits.connections_per_address = 4);
    let site = plan.start();
    // Each has its place when it is answered: places are not taken in the order of connecting.
    let held: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect(site.address);
            stream.write_all(head("GET", "/healthz", &[]).as_bytes()).unwrap();
            let mut stream = BufReader::new(stream);
            assert_eq!(read(&mut stream).status, 200);
            stream
        })
        .collect();
    // Where a request is on its way, the end of the connection may come before the answer.
    wait(|| {
        let mut stream = connect(site.address);
        let patience = Some(Duration::from_millis(500));
        stream.set_read_timeout(patience).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 503"
    });
    drop(held);
    wait(|| {
        let mut stream = connect(site.address);
        let _ = stream.write_all(head("GET", "/healthz", &[("connection", "close")]).as_bytes());
        rest(stream).starts_with(b"HTTP/1.1 200")
    });
}

#[test]
fn streams_are_bounded_and_their_places_come_back() {
    let plan = Plan::new().limits(|limits| limits.streams_per_address = 2);
    let site = plan.start();
    let id = site.job("a");
    let path = format!("/v1/jobs/{id}/events");
    let held = [site.events(&path, &[]), site.events("/v1/events", &[])];
    let refused = site.get(&path);
    refused.is_problem(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    drop(held);
    let open = || {
        let mut stream = connect(site.address);
        stream.write_all(head("GET", &path, &[]).as_bytes()).unwrap();
        read_head(&mut BufReader::new(stream)).status
    };
    wait(|| open() == 200);
}

#[test]
fn a_reader_that_has_stalled_is_let_go_and_holds_nobody() {
    let plan = Plan::new().limits(|limits| {
        limits.stall = Duration::from_secs(1);
        limits.keep_alive = Duration::from_millis(1);
    });
    let site = plan.start();
    // Answers that nobody reads, until the buffers of both sides are full.
    let mut stalled = connect(site.address);
    stalled.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = head("GET", "/docs/swagger-ui-bundle.js", &[]);
    let begun = Instant::now();
    let let_go = loop {
        match stalled.write_all(request.as_bytes()) {
            Ok(()) => assert!(begun.elapsed() < Duration::from_secs(60), "it is never let go"),
            Err(error) => break error,
        }
        assert_eq!(site.get("/healthz").status, 200);
    };
    assert_ne!(let_go.kind(), std::io::ErrorKind::WouldBlock, "it still waits");
    let figures = || site.get("/metrics");
    wait(|| figures().text().contains("myriad_http_connections 1\n"));
}
