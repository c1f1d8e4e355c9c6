//! Server-sent events, of bytes: the format of the HTML Living Standard, bounded.

use std::io::{self, BufRead};

/// Bytes of an event. A snapshot of a job has some kilobytes.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// What a stream says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// None if it has none of its own.
    pub id: Option<String>,
    pub data: String,
    /// Milliseconds that the service asks a client to wait before it comes back.
    pub retry_ms: Option<u64>,
}

/// The messages of a stream.
pub(crate) struct Messages<R> {
    from: R,
    /// The last line ended with a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    begun: bool,
}

impl<R: BufRead> Messages<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            after_return: false,
            begun: false,
        }
    }

    /// The next message with data; none at the end. One that the end cuts is no message.
    pub(crate) fn next(&mut self) -> io::Result<Option<Message>> {
        let mut message = Message::default();
        let mut has_data = false;
        let mut left = EVENT_BYTES_MAX;
        while let Some(line) = self.line(&mut left)? {
            if line.is_empty() {
                if has_data {
                    return Ok(Some(message));
                }
                let retry_ms = message.retry_ms;
                message = Message {
                    retry_ms,
                    ..Message::default()
                };
                left = EVENT_BYTES_MAX;
                continue;
            }
            let line = String::from_utf8_lossy(&line);
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" => {
                    if has_data {
                        message.data.push('\n');
                    }
                    message.data.push_str(value);
                    has_data = true;
                }
                "id" if !value.contains('\0') => message.id = Some(value.to_owned()),
                "retry" => message.retry_ms = value.parse().ok().or(message.retry_ms),
                // A comment, which shows that the service lives; or a field of a later release.
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next line without its end; none at the end of the stream.
    fn line(&mut self, left: &mut usize) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let bytes = self.from.fill_buf()?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                self.from.consume(1);
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            *left = left.checked_sub(part.len()).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("an event has more than the {EVENT_BYTES_MAX} bytes that are read"),
                )
            })?;
            line.extend_from_slice(part);
            let Some(end) = end else {
                let all = bytes.len();
                self.from.consume(all);
                continue;
            };
            self.after_return = bytes[end] == b'\r';
            self.from.consume(end + 1);
            if !std::mem::replace(&mut self.begun, true) && line.starts_with("\u{feff}".as_bytes()) {
                line.drain(..3);
            }
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    fn all(text: &[u8], chunk: usize) -> io::Result<Vec<Message>> {
        let mut messages = Messages::new(BufReader::with_capacity(chunk, text));
        let mut all = Vec::new();
        while let Some(message) = messages.next()? {
            all.push(message);
        }
        Ok(all)
    }

    #[test]
    fn messages_are_the_same_however_their_bytes_and_lines_are_cut() {
        let text = "\u{feff}retry: 2000\n\n: here\n\nid: 1-1\nevent: state\ndata: {\ndata:}\n\nid: 1-2\n\ndata\n\nfoo: 1\ndata: a:b\nid: 1-3\n\ndata: cut";
        let expected = [
            (Some("1-1"), "{\n}", Some(2000)),
            (None, "", None),
            (Some("1-3"), "a:b", None),
        ];
        for end in ["\n", "\r", "\r\n"] {
            let text = text.replace('\n', end);
            for chunk in 1..text.len() {
                let found = all(text.as_bytes(), chunk).unwrap();
                let found: Vec<_> = found
                    .iter()
                    .map(|m| (m.id.as_deref(), m.data.as_str(), m.retry_ms))
                    .collect();
                assert_eq!(found, expected, "{end:?} {chunk}");
            }
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        for line in [&b"data: "[..], b"data: a\n", b": comment"] {
            let mut endless = Messages::new(BufReader::new(io::repeat(b'a')));
            if line.ends_with(b"\n") {
                let lines = line.repeat(1 << 20);
                let mut messages = Messages::new(BufReader::new(lines.as_slice().chain(io::repeat(b'a'))));
                assert_eq!(messages.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
            }
            assert_eq!(endless.next().unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
