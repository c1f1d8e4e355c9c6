//! A server for one test: it reads requests, and sends what the test says, byte for byte.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use myriad_client::Client;

pub struct Server {
    url: String,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// A request whose head was read.
pub struct Request {
    pub line: String,
    headers: Vec<(String, String)>,
    stream: BufReader<TcpStream>,
}

impl Server {
    /// Answers each request on a connection of its own. A test that fails in `answers` fails in
    /// [`Server::end`].
    pub fn start(answers: impl Fn(&mut Request) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(mut request) = Request::read(stream.unwrap()) {
                    let answer = answers(&mut request);
                    let _ = request.stream().write_all(&answer);
                }
            }
        });
        Self { url, stop, thread }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url).unwrap()
    }

    #[track_caller]
    pub fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.strip_prefix("http://").unwrap());
        self.thread.join().unwrap();
    }
}

impl Request {
    fn read(stream: TcpStream) -> Option<Self> {
        let mut stream = BufReader::new(stream);
        let mut next = || {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            Some(line.trim_end().to_owned())
        };
        let line = next().filter(|line| !line.is_empty())?;
        let mut headers = Vec::new();
        while let Some(header) = next().filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some(Self {
            line,
            headers,
            stream,
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(n, _)| n == name);
        let value = named.next().map(|(_, value)| value.as_str());
        assert!(named.next().is_none(), "{name} came twice");
        value
    }

    pub fn stream(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// Asks for the body, and reads as much as was announced.
    pub fn body(&mut self) -> Vec<u8> {
        self.stream().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let bytes = self.header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body).unwrap();
        body
    }
}

pub fn json(status: u16, body: &str) -> Vec<u8> {
    answer(status, "application/json", "", body.as_bytes())
}

/// An answer after which the connection ends.
pub fn answer(status: u16, content_type: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
