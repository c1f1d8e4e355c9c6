//! What is submitted, and how it is sent: as multipart/form-data that is read from the files.

use std::{
    collections::VecDeque,
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Cursor, Read, Take},
    path::{Path, PathBuf},
};

use myriad_api::{Job, JobRequest};

use crate::Error;

/// Characters of a file's name that are sent.
const NAME_MAX: usize = 100;

/// A program with its input, or blocks, to be proven.
#[derive(Clone, Debug)]
pub struct Submission {
    request: JobRequest,
    files: Vec<(&'static str, PathBuf)>,
    pub(crate) idempotency_key: Option<String>,
}

/// A job of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub job: Job,
    pub was: Was,
}

/// What the service had of a job before it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    /// Nothing.
    New,
    /// It had ended without a proof, and goes on now.
    Over,
    /// It is in work, or has its proof already.
    There,
}

impl Submission {
    /// A program: a file that the service's engines run.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self::of(vec![("program", path.into())])
    }

    /// A block with its witness: a file of `myriad block import` or `sample`.
    pub fn block(path: impl Into<PathBuf>) -> Self {
        Self::of(vec![("block", path.into())])
    }

    /// Blocks that follow each other, proven as one batch.
    pub fn blocks(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self::of(paths.into_iter().map(|path| ("block", path.into())).collect())
    }

    fn of(files: Vec<(&'static str, PathBuf)>) -> Self {
        Self {
            request: JobRequest::default(),
            files,
            idempotency_key: None,
        }
    }

    /// The file that configures the program's virtual machine (`openvm.toml`).
    #[must_use]
    pub fn config(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(("config", path.into()));
        self
    }

    /// A file whose bytes are one more item of the program's input.
    #[must_use]
    pub fn input(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(("input", path.into()));
        self
    }

    /// How it is to be proven.
    #[must_use]
    pub fn request(mut self, request: JobRequest) -> Self {
        self.request = request;
        self
    }

    /// With the same key, the service takes the same submission once within 24 hours, however often
    /// it comes. It has 1 to 255 visible ASCII characters.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Opens the files.
    pub(crate) fn body(&self) -> Result<Body, Error> {
        let boundary = boundary();
        let mut pieces = VecDeque::new();
        let mut text = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"job\"\r\nContent-Type: application/json\r\n\r\n{}",
            serde_json::to_string(&self.request).expect("it has nothing but numbers and text")
        );
        for (field, path) in &self.files {
            let cannot = |source| Error::File {
                path: path.clone(),
                source,
            };
            let file = File::open(path).map_err(cannot)?;
            let metadata = file.metadata().map_err(cannot)?;
            if !metadata.is_file() {
                return Err(cannot(io::Error::other("it is no plain file")));
            }
            text += &format!(
                "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{}\"\r\nContent-Type: \
                 application/octet-stream\r\n\r\n",
                sent_name(path)
            );
            pieces.push_back(Piece::Text(Cursor::new(std::mem::take(&mut text).into_bytes())));
            pieces.push_back(Piece::File {
                file: file.take(metadata.len()),
                path: path.clone(),
            });
        }
        text += &format!("\r\n--{boundary}--\r\n");
        pieces.push_back(Piece::Text(Cursor::new(text.into_bytes())));
        let bytes = pieces.iter().map(Piece::bytes).sum();
        Ok(Body {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            bytes,
            pieces,
            failed: None,
        })
    }
}

/// The body of a submission, as it is read.
pub(crate) struct Body {
    pub(crate) content_type: String,
    pub(crate) bytes: u64,
    pieces: VecDeque<Piece>,
    /// The file that could not be read.
    pub(crate) failed: Option<Error>,
}

enum Piece {
    Text(Cursor<Vec<u8>>),
    File { file: Take<File>, path: PathBuf },
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Text(text) => text.get_ref().len() as u64,
            Self::File { file, .. } => file.limit(),
        }
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while let Some(piece) = self.pieces.front_mut() {
            let read = match piece {
                Piece::Text(text) => text.read(into)?,
                Piece::File { file, path } => {
                    let read = file
                        .read(into)
                        .and_then(|read| match read == 0 && file.limit() > 0 {
                            // The length that was announced is not there any more.
                            true => Err(io::Error::other("it has become shorter while it was sent")),
                            false => Ok(read),
                        });
                    match read {
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
                        Err(source) => {
                            let failed = io::Error::other("a file cannot be read");
                            let path = path.clone();
                            self.failed = Some(Error::File { path, source });
                            return Err(failed);
                        }
                        Ok(read) => read,
                    }
                }
            };
            if read > 0 {
                return Ok(read);
            }
            self.pieces.pop_front();
        }
        Ok(0)
    }
}

/// A text that no file has in it: 128 bits that nobody knows before.
fn boundary() -> String {
    let bits = || RandomState::new().build_hasher().finish();
    format!("myriad-{:016x}{:016x}", bits(), bits())
}

/// A file's name in letters that need no quoting.
fn sent_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().take(NAME_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_body_has_the_announced_length_and_the_files_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (program, input) = (dir.path().join("a \"b\".elf"), dir.path().join("empty"));
        fs::write(&program, b"\x7fELF\r\n--").unwrap();
        fs::write(&input, b"").unwrap();
        let submission = Submission::program(&program).input(&input).request(JobRequest {
            priority: 7,
            ..JobRequest::default()
        });
        let mut body = submission.body().unwrap();
        let boundary = body.content_type.split_once("boundary=").unwrap().1.to_owned();
        let announced = body.bytes;
        let mut sent = Vec::new();
        body.read_to_end(&mut sent).unwrap();
        assert_eq!(sent.len() as u64, announced);
        let text = String::from_utf8(sent).unwrap();
        let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 5, "{text}");
        assert!(parts[1].contains("name=\"job\"") && parts[1].ends_with("\r\n\r\n{\"priority\":7}\r\n"));
        assert!(
            parts[2].contains("name=\"program\"; filename=\"a__b_.elf\"\r\n"),
            "{text}"
        );
        assert!(parts[2].ends_with("\r\n\r\n\x7fELF\r\n--\r\n"));
        assert!(
            parts[3].contains("name=\"input\"; filename=\"empty\"") && parts[3].ends_with("\r\n\r\n\r\n")
        );
        assert_eq!(parts[4], "--\r\n");
    }

    #[test]
    fn files_that_fail_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        for path in [missing.as_path(), dir.path()] {
            let error = Submission::block(path).body().err().unwrap();
            assert!(
                matches!(&error, Error::File { path: named, .. } if named == path),
                "{error}"
            );
        }
        let shrinks = dir.path().join("shrinks");
        fs::write(&shrinks, [0; 100_000]).unwrap();
        let mut body = Submission::block(&shrinks).body().unwrap();
        fs::write(&shrinks, [0; 10]).unwrap();
        io::copy(&mut body, &mut io::sink()).unwrap_err();
        let error = body.failed.unwrap();
        assert!(error.to_string().contains("shorter"), "{error}");
    }

    /// Bytes that come after the length was announced would be read as another request.
    #[test]
    fn a_file_that_grows_is_sent_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let grows = dir.path().join("grows");
        fs::write(&grows, [0; 10]).unwrap();
        let mut body = Submission::block(&grows).body().unwrap();
        fs::write(&grows, [0; 1_000]).unwrap();
        let bytes = body.bytes;
        assert_eq!(io::copy(&mut body, &mut io::sink()).unwrap(), bytes);
    }
}
