//! Reads `multipart/form-data` (RFC 7578) piece by piece, with bounds on all that it keeps: the
//! head of one part, and as much of the data as a delimiter has bytes.

use std::fmt;

use memchr::memmem;

/// Most bytes of the head of a part.
const HEAD_BYTES_MAX: usize = 4096;
/// Most bytes of a boundary, as RFC 2046 has it.
const BOUNDARY_BYTES_MAX: usize = 70;

/// A body is no `multipart/form-data`, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Malformed {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What a part says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
}

/// What comes next in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More of the body has to come first.
    More,
    Part(Head),
    /// Data of the part that was begun last.
    Data(Vec<u8>),
    /// That part is whole.
    PartEnd,
    /// The body is whole. What follows is ignored.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Start,
    /// Behind a delimiter.
    Delimited,
    Head,
    Data,
    End,
}

/// The state between two pieces of a body.
#[derive(Debug)]
pub(crate) struct Reader {
    /// A line break, two hyphens and the boundary.
    delimiter: Vec<u8>,
    kept: Vec<u8>,
    state: State,
}

impl Reader {
    /// A reader for a body with this `Content-Type`; none if that is no `multipart/form-data`.
    ///
    /// # Errors
    /// If it has no usable boundary.
    pub(crate) fn new(content_type: &str) -> Result<Option<Self>, Malformed> {
        let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Ok(None);
        }
        let boundary = parameters_of(parameters)?
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
            .map(|(_, value)| value)
            .ok_or_else(|| Malformed::new("the Content-Type multipart/form-data has no boundary"))?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        if !(1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
            || !boundary.bytes().all(is_plain)
            || boundary.ends_with(' ')
        {
            return Err(Malformed::new(format!(
                "the boundary of the body has {} bytes; 1 to {BOUNDARY_BYTES_MAX} of the characters that RFC 2046 \
                 allows are",
                boundary.len()
            )));
        }
        Ok(Some(Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            // So the first delimiter looks like all others.
            kept: b"\r\n".to_vec(),
            state: State::Start,
        }))
    }

    /// Takes the next piece of the body, after [`Step::More`].
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if self.state != State::End {
            self.kept.extend_from_slice(piece);
        }
    }

    /// What comes next.
    ///
    /// # Errors
    /// If the body is malformed: nothing comes after that.
    pub(crate) fn step(&mut self) -> Result<Step, Malformed> {
        loop {
            let state = self.state;
            let step = match state {
                State::Start => self.start()?,
                State::Delimited => self.delimited()?,
                State::Head => self.head()?,
                State::Data => Some(self.data()),
                State::End => Some(Step::End),
            };
            match step {
                Some(step) => return Ok(step),
                None if self.state == state => return Ok(Step::More),
                None => {}
            }
        }
    }

    fn start(&mut self) -> Result<Option<Step>, Malformed> {
        let enough = self.kept.len().min(self.delimiter.len());
        if self.kept[..enough] != self.delimiter[..enough] {
            return Err(Malformed::new("the body does not begin with its boundary"));
        }
        if enough == self.delimiter.len() {
            self.kept.drain(..enough);
            self.state = State::Delimited;
        }
        Ok(None)
    }

    fn delimited(&mut self) -> Result<Option<Step>, Malformed> {
        let padding = self
            .kept
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        if padding > HEAD_BYTES_MAX {
            return Err(Malformed::new(
                "the body has a boundary that does not end its line",
            ));
        }
        match self.kept.get(padding..padding + 2) {
            None => {}
            Some(b"--") if padding == 0 => {
                self.state = State::End;
                self.kept = Vec::new();
            }
            Some(b"\r\n") => {
                // The head begins with the line break, so that one without lines ends like others.
                self.kept.drain(..padding);
                self.state = State::Head;
            }
            Some(_) => {
                return Err(Malformed::new(
                    "the body has a boundary that does not end its line",
                ));
            }
        }
        Ok(None)
    }

    fn head(&mut self) -> Result<Option<Step>, Malformed> {
        let end = memmem::find(&self.kept, b"\r\n\r\n");
        if end.unwrap_or(self.kept.len()) > HEAD_BYTES_MAX {
            return Err(Malformed::new(format!(
                "the head of a part is longer than the {HEAD_BYTES_MAX} bytes that are allowed"
            )));
        }
        let Some(end) = end else {
            return Ok(None);
        };
        let head = head_of(&self.kept[..end])?;
        self.kept.drain(..end + 4);
        self.state = State::Data;
        Ok(Some(Step::Part(head)))
    }

    fn data(&mut self) -> Step {
        if let Some(at) = memmem::find(&self.kept, &self.delimiter) {
            if at > 0 {
                return Step::Data(self.kept.drain(..at).collect());
            }
            self.kept.drain(..self.delimiter.len());
            self.state = State::Delimited;
            return Step::PartEnd;
        }
        // The delimiter may have begun.
        let sure = self.kept.len().saturating_sub(self.delimiter.len() - 1);
        if sure == 0 {
            return Step::More;
        }
        let rest = self.kept.split_off(sure);
        Step::Data(std::mem::replace(&mut self.kept, rest))
    }
}

/// The name and the file's name in the head of a part.
fn head_of(head: &[u8]) -> Result<Head, Malformed> {
    let text = std::str::from_utf8(head)
        .map_err(|_| Malformed::new("the head of a part is not UTF-8: give files ASCII names"))?;
    let disposition = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let disposition = disposition.ok_or_else(|| Malformed::new("a part has no Content-Disposition"))?;
    let (kind, parameters) = disposition.split_once(';').unwrap_or((disposition, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(Malformed::new("a part's Content-Disposition is not form-data"));
    }
    let (mut part, mut file_name) = (None, None);
    for (name, value) in parameters_of(parameters)? {
        let place = match name.to_ascii_lowercase().as_str() {
            "name" => &mut part,
            "filename" => &mut file_name,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(Malformed::new(
                "a part's Content-Disposition says something twice",
            ));
        }
    }
    let name = part.ok_or_else(|| Malformed::new("a part's Content-Disposition has no name"))?;
    Ok(Head { name, file_name })
}

/// Parameters such as `; name="a"; filename=b`, without the first semicolon.
fn parameters_of(text: &str) -> Result<Vec<(&str, String)>, Malformed> {
    let malformed = || Malformed::new("a header of the body has parameters that cannot be read");
    let mut parameters = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(malformed)?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or_else(malformed)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        parameters.push((name.trim(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(';') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return Err(malformed()),
        };
    }
    Ok(parameters)
}

/// The text up to a quotation mark, and what is behind that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            // Browsers write a backslash as it is; it stands for itself unless it quotes a mark.
            '\\' => match characters.clone().next() {
                Some((_, marked @ ('"' | '\\'))) => {
                    value.push(marked);
                    characters.next();
                }
                _ => value.push(character),
            },
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = Vec<(Head, Vec<u8>)>;

    /// The parts of a body that comes in pieces of this size.
    fn parts(body: &[u8], size: usize) -> Result<Option<Parts>, Malformed> {
        let mut reader = Reader::new("multipart/form-data; boundary=B").unwrap().unwrap();
        let mut pieces = body.chunks(size);
        let mut parts = Vec::new();
        loop {
            match reader.step()? {
                Step::More => match pieces.next() {
                    Some(piece) => reader.feed(piece),
                    None => return Ok(None),
                },
                Step::Part(head) => parts.push((head, Vec::new())),
                Step::Data(data) => parts.last_mut().unwrap().1.extend(data),
                Step::PartEnd => {}
                Step::End => return Ok(Some(parts)),
            }
        }
    }

    fn head(name: &str, file_name: Option<&str>) -> Head {
        Head {
            name: name.into(),
            file_name: file_name.map(Into::into),
        }
    }

    #[test]
    fn parts_are_the_same_in_pieces_of_any_size() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x\\\"y.bin\"\r\n\
            content-type: text/plain\r\n\r\none\r\n--C\r\n\r\n--B \r\n\
            content-disposition: form-data; name=b\r\n\r\n\r\n--B--rest";
        for size in 1..=body.len() {
            let parts = parts(body, size).unwrap().unwrap();
            let expected = [
                (head("a", Some("x\"y.bin")), b"one\r\n--C\r\n".to_vec()),
                (head("b", None), Vec::new()),
            ];
            assert_eq!(parts, expected, "pieces of {size}");
        }
    }

    #[test]
    fn bodies_without_end_and_malformed_ones_are_no_bodies() {
        assert_eq!(
            parts(b"--B\r\nContent-Disposition: form-data; name=a\r\n\r\n1", 4),
            Ok(None)
        );
        let long = [b"--B\r\n".as_slice(), &[b'a'; 5000]].concat();
        for body in [
            b"preamble".as_slice(),
            b"--Bxx",
            b"--B\r\n\r\n",
            b"--B\r\nContent-Disposition: attachment; name=a\r\n\r\n",
            b"--B\r\nContent-Disposition: form-data; filename=a\r\n\r\n",
            b"--B\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n",
            b"--B\r\nContent-Disposition: form-data; name=\"a\r\n\r\n",
            b"--B\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n",
            &long,
        ] {
            assert!(parts(body, 7).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn other_media_types_are_told_from_bad_boundaries() {
        for other in ["application/json", "", "multipart/mixed; boundary=a"] {
            assert!(Reader::new(other).unwrap().is_none(), "{other}");
        }
        for bad in [
            "",
            "; boundary=",
            "; boundary=\"",
            "; boundary=\"a;\"",
            "; boundary=\"a \"",
        ] {
            assert!(
                Reader::new(&format!("multipart/form-data{bad}")).is_err(),
                "{bad}"
            );
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        assert!(Reader::new(&long).is_err());
        assert!(
            Reader::new("Multipart/Form-Data; x=1; Boundary=\"a b\"")
                .unwrap()
                .is_some()
        );
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic_or_keep_much(
            body in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'B'), any::<u8>()], 0..300),
            size in 1usize..50,
        ) {
            let mut reader = Reader::new("multipart/form-data; boundary=B").unwrap().unwrap();
            reader.feed(b"--B\r\nContent-Disposition: form-data; name=a\r\n\r\n");
            let mut out = 0;
            'body: for piece in body.chunks(size) {
                reader.feed(piece);
                loop {
                    match reader.step() {
                        Ok(Step::Data(data)) => out += data.len(),
                        Ok(Step::More) => break,
                        Ok(Step::End) | Err(_) => break 'body,
                        Ok(_) => {}
                    }
                }
                prop_assert!(reader.kept.len() <= HEAD_BYTES_MAX + size);
            }
            prop_assert!(out <= body.len());
        }
    }
}
