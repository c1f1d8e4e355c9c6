//! A client that says exactly what it is told to, also what no well-behaved one says.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Far more than any answer takes, on a machine that does other work too.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// It is a problem document of this kind. Returns its detail.
    #[track_caller]
    pub fn is_problem(&self, status: u16, kind: &str) -> String {
        let shown = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{shown}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{shown}"
        );
        let problem = self.json();
        assert_eq!(problem["kind"], kind, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("/problems/{kind}"));
        problem["detail"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A request's head.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += "host: localhost\r\n";
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// Sends bytes, and reads the answer.
pub fn send(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = connect(address);
    // A service that refuses may end the connection before all is written.
    let _ = stream.write_all(bytes);
    read(&mut BufReader::new(stream))
}

pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    headers.push(("connection", "close"));
    if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-length") {
        headers.push(("content-length", &length));
    }
    let mut bytes = head(method, path, &headers).into_bytes();
    bytes.extend_from_slice(body);
    send(address, &bytes)
}

/// Reads the head of an answer.
pub fn read_head(reader: &mut impl BufRead) -> Answer {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {line:?}"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    Answer {
        status,
        headers,
        body: Vec::new(),
    }
}

/// Reads an answer.
pub fn read(reader: &mut impl BufRead) -> Answer {
    let mut answer = read_head(reader);
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = read_chunk(reader) {
            answer.body.extend(chunk);
        }
    } else if let Some(length) = answer.header("content-length") {
        answer.body = vec![0; length.parse().unwrap()];
        // An answer to HEAD has none.
        let _ = reader.read_exact(&mut answer.body);
    }
    answer
}

/// Reads a chunk of a body; none at the end.
pub fn read_chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(length);
    (length > 0).then_some(chunk)
}

/// A part of a submission: the rest of its disposition, and its data.
pub type Part<'a> = (&'a str, &'a [u8]);

pub const BOUNDARY: &str = "xYzZy";
pub const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=xYzZy");

/// The body of a submission.
pub fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, data) in parts {
        body.extend(format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name={name}\r\n\r\n").bytes());
        body.extend_from_slice(data);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

/// A stream of server-sent events.
pub struct Events {
    reader: BufReader<TcpStream>,
    text: String,
    opened: Instant,
}

#[derive(Debug)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
}

impl Events {
    pub fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = connect(address);
        stream.write_all(head("GET", path, headers).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let answer = read_head(&mut reader);
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            Some("text/event-stream; charset=utf-8")
        );
        Self {
            reader,
            text: String::new(),
            opened: Instant::now(),
        }
    }

    /// The next block of lines, comments too; none at the end.
    pub fn block(&mut self) -> Option<String> {
        // Comments that come all the while keep reads from failing.
        assert!(
            self.opened.elapsed() < PATIENCE,
            "the stream has not said what is awaited"
        );
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = read_chunk(&mut self.reader)?;
            self.text += str::from_utf8(&chunk).unwrap();
        }
    }

    /// The next event; none at the end.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block()?;
            let field = |name: &str| {
                let mut lines = block.lines().filter_map(|line| line.strip_prefix(name));
                lines.next().map(|value| value.trim_start().to_owned())
            };
            if let (Some(name), Some(data)) = (field("event:"), field("data:")) {
                return Some(Event {
                    id: field("id:"),
                    name,
                    data: serde_json::from_str(&data).unwrap(),
                });
            }
        }
    }

    /// The first event that is so.
    pub fn until(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().expect("the stream ends before the event");
            if is_it(&event) {
                return event;
            }
        }
    }
}
