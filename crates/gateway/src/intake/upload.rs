//! The upload of a submission: its parts go to disk as they come.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use axum::body::Body;
use myriad_api::{JobRequest, Kind, Problem};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{
    body::{Pieces, bad, too_large},
    multipart::{Head, Malformed, Reader, Step},
    spool::Spool,
};
use crate::{
    Upload,
    keys::Admission,
    limits::Limits,
    refusal::{Refusal, of_disk},
};

/// Most bytes of the part `job`.
const JOB_BYTES_MAX: u64 = 16 << 10;
/// So many bytes are written at once.
const WRITE_BYTES: usize = 1 << 20;
/// Most bytes of a job's name.
const NAME_BYTES_MAX: usize = 100;

/// An upload that came whole. Its files go with it.
pub(crate) struct Uploaded {
    _dir: TempDir,
    pub(crate) request: JobRequest,
    /// A hash of all that decides about the job: the same for the same submission.
    pub(crate) fingerprint: String,
    /// All bytes of the body.
    pub(crate) bytes: u64,
    /// The place of the job in its key's quota, until it is known.
    pub(super) admission: Admission,
    program: Option<PathBuf>,
    config: Option<PathBuf>,
    input: Vec<PathBuf>,
    blocks: Vec<PathBuf>,
    name: Option<String>,
}

impl Uploaded {
    pub(crate) fn parts(&self) -> Upload<'_> {
        let name = self.name.as_deref();
        match &self.program {
            Some(program) => Upload::Program {
                program,
                name,
                config: self.config.as_deref(),
                input: &self.input,
            },
            None => Upload::Blocks {
                files: &self.blocks,
                name,
            },
        }
    }
}

/// The parts that a submission may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Job,
    Program,
    Config,
    Input,
    Block,
}

impl Part {
    fn of(name: &str) -> Result<Self, Problem> {
        match name {
            "job" => Ok(Self::Job),
            "program" => Ok(Self::Program),
            "config" => Ok(Self::Config),
            "input" => Ok(Self::Input),
            "block" => Ok(Self::Block),
            _ => Err(bad(format!(
                "the part {:?} is not known: a submission has job, program, config, input and block",
                shortened(name)
            ))),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Program => "program",
            Self::Config => "config",
            Self::Input => "input",
            Self::Block => "block",
        }
    }

    const fn bytes_max(self, limits: &Limits) -> u64 {
        match self {
            Self::Job => JOB_BYTES_MAX,
            Self::Program => limits.program_bytes,
            Self::Config => limits.config_bytes,
            Self::Input | Self::Block => limits.file_bytes,
        }
    }

    const fn count_max(self, limits: &Limits) -> usize {
        match self {
            Self::Job | Self::Program | Self::Config => 1,
            Self::Input | Self::Block => limits.files,
        }
    }
}

/// Reads a body to its end.
pub(crate) async fn receive(
    body: Body,
    content_type: &str,
    limits: &Limits,
    spool: &Spool,
    admission: Admission,
) -> Result<Uploaded, Refusal> {
    let mut reader = Reader::new(content_type).map_err(malformed)?.ok_or_else(|| {
        Problem::new(
            Kind::UnsupportedMediaType,
            format!(
                "the body has the type {:?}; a submission is multipart/form-data with the parts job, program, \
                 config, input and block",
                shortened(content_type)
            ),
        )
    })?;
    let mut pieces = Pieces::new(body, limits, admission);
    let mut parts = Parts::new(spool, limits)?;
    loop {
        match reader.step().map_err(malformed)? {
            Step::More => match pieces.next().await? {
                Some(piece) => reader.feed(&piece),
                None => return Err(bad("the body ends before its last boundary").into()),
            },
            Step::Part(head) => parts.begin(&head).await?,
            Step::Data(data) => parts.data(data).await?,
            Step::PartEnd => parts.end().await?,
            Step::End => break,
        }
    }
    // The connection is of use only after the whole body.
    while pieces.next().await?.is_some() {}
    let (bytes, admission) = pieces.end().await?;
    Ok(parts.finish(bytes, admission)?)
}

/// What came so far.
struct Parts<'a> {
    limits: &'a Limits,
    spool: &'a Spool,
    dir: TempDir,
    open: Option<Writing>,
    /// The bytes of the part `job`.
    job: Vec<u8>,
    files: BTreeMap<Part, Vec<PathBuf>>,
    /// The hashes of the parts, in their order.
    hashes: BTreeMap<Part, Vec<[u8; 32]>>,
    name: Option<String>,
}

/// A part that is being written.
struct Writing {
    part: Part,
    bytes: u64,
    buffer: Vec<u8>,
    /// Away while a thread writes.
    file: Option<Hashed>,
}

struct Hashed {
    file: File,
    path: PathBuf,
    hasher: blake3::Hasher,
}

impl Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }
}

impl<'a> Parts<'a> {
    fn new(spool: &'a Spool, limits: &'a Limits) -> Result<Self, Problem> {
        Ok(Self {
            limits,
            spool,
            dir: spool.begin()?,
            open: None,
            job: Vec::new(),
            files: BTreeMap::new(),
            hashes: BTreeMap::new(),
            name: None,
        })
    }

    async fn begin(&mut self, head: &Head) -> Result<(), Problem> {
        let part = Part::of(&head.name)?;
        let count = self.hashes.get(&part).map_or(0, Vec::len);
        let count_max = part.count_max(self.limits);
        if count >= count_max {
            return Err(bad(format!(
                "the submission has more than {count_max} parts {:?}",
                part.as_str()
            )));
        }
        if matches!(part, Part::Program | Part::Block) && self.name.is_none() {
            self.name = head.file_name.as_deref().and_then(stem);
        }
        // The name is ours: nothing of the client's gets into a path.
        let path = self.dir.path().join(format!("{}-{count}", part.as_str()));
        let file = if part == Part::Job {
            None
        } else {
            let opened = spawn_blocking(move || File::create_new(&path).map(|file| (file, path))).await;
            let (file, path) = opened
                .unwrap_or_else(|e| Err(io::Error::other(e)))
                .map_err(|e| of_disk("writing an upload", &e))?;
            Some(Hashed {
                file,
                path,
                hasher: blake3::Hasher::new(),
            })
        };
        self.open = Some(Writing {
            part,
            bytes: 0,
            buffer: Vec::new(),
            file,
        });
        Ok(())
    }

    async fn data(&mut self, data: Vec<u8>) -> Result<(), Problem> {
        let open = self
            .open
            .as_mut()
            .expect("the reader begins a part before its data");
        open.bytes += data.len() as u64;
        let bytes_max = open.part.bytes_max(self.limits);
        if open.bytes > bytes_max {
            return Err(too_large(
                &format!("the part {:?}", open.part.as_str()),
                bytes_max,
            ));
        }
        open.buffer.extend_from_slice(&data);
        if open.part != Part::Job && open.buffer.len() >= WRITE_BYTES {
            self.spool.check(open.buffer.len() as u64)?;
            open.flush().await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Problem> {
        let mut open = self.open.take().expect("the reader ends a part that it began");
        let hash = if open.part == Part::Job {
            self.job = open.buffer;
            *blake3::hash(&self.job).as_bytes()
        } else {
            open.flush().await?;
            let Hashed { path, hasher, .. } = open.file.take().expect("it is back from the thread");
            self.files.entry(open.part).or_default().push(path);
            *hasher.finalize().as_bytes()
        };
        self.hashes.entry(open.part).or_default().push(hash);
        Ok(())
    }

    fn finish(mut self, bytes: u64, admission: Admission) -> Result<Uploaded, Problem> {
        let request = request_of(&self.job)?;
        let mut take = |part| self.files.remove(&part).unwrap_or_default();
        let program = take(Part::Program).pop();
        let config = take(Part::Config).pop();
        let (input, blocks) = (take(Part::Input), take(Part::Block));
        match (&program, blocks.is_empty()) {
            (None, true) => {
                return Err(bad(
                    "the submission has neither a part \"program\" nor a part \"block\"",
                ));
            }
            (Some(_), false) => {
                return Err(bad(
                    "the submission has a part \"program\" and a part \"block\": a block has its own program",
                ));
            }
            (None, false) if config.is_some() || !input.is_empty() => {
                return Err(bad(
                    "the submission has a part \"block\", and \"config\" or \"input\", which go with a program",
                ));
            }
            _ => {}
        }
        let fingerprint = fingerprint(&request, self.name.as_deref(), &self.hashes);
        Ok(Uploaded {
            _dir: self.dir,
            request,
            fingerprint,
            bytes,
            admission,
            program,
            config,
            input,
            blocks,
            name: self.name,
        })
    }
}

impl Writing {
    async fn flush(&mut self) -> Result<(), Problem> {
        let (Some(mut file), buffer) = (self.file.take(), std::mem::take(&mut self.buffer)) else {
            return Ok(());
        };
        let written = spawn_blocking(move || file.write(&buffer).map(|()| file)).await;
        let file = written
            .unwrap_or_else(|e| Err(io::Error::other(e)))
            .map_err(|e| of_disk("writing an upload", &e))?;
        self.file = Some(file);
        Ok(())
    }
}

/// The part `job`; without it, the defaults.
fn request_of(job: &[u8]) -> Result<JobRequest, Problem> {
    if job.is_empty() {
        return Ok(JobRequest::default());
    }
    let request: JobRequest =
        serde_json::from_slice(job).map_err(|e| bad(format!("the part \"job\": {e}")))?;
    if let Some(name) = &request.name
        && !is_name(name)
    {
        return Err(Problem::new(
            Kind::Invalid,
            format!(
                "the job's name is {:?}; a name has 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and \
                 underscores, and begins with a letter or digit",
                shortened(name)
            ),
        ));
    }
    Ok(request)
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// The stem of a client's file name, in harmless letters.
fn stem(file_name: &str) -> Option<String> {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = Path::new(last).file_stem()?.to_str()?;
    let harmless = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => character,
        _ => '-',
    };
    let stem: String = stem.chars().map(harmless).collect();
    let stem = stem.trim_start_matches(['.', '-', '_']);
    let stem = &stem[..stem.len().min(NAME_BYTES_MAX)];
    is_name(stem).then(|| stem.to_owned())
}

fn fingerprint(request: &JobRequest, name: Option<&str>, hashes: &BTreeMap<Part, Vec<[u8; 32]>>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("myriad gateway 2026 submission");
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    // Written anew, so that white space and the order of fields do not count.
    add(&serde_json::to_vec(request).expect("a request is plain data"));
    add(name.unwrap_or_default().as_bytes());
    for (part, hashes) in hashes.iter().filter(|(part, _)| **part != Part::Job) {
        add(part.as_str().as_bytes());
        add(hashes.as_flattened());
    }
    hasher.finalize().to_hex().to_string()
}

fn malformed(reason: Malformed) -> Problem {
    bad(reason.to_string())
}

/// The beginning of a client's text, for a message.
fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_become_harmless_stems() {
        for (file_name, expected) in [
            ("fib.vmexe", Some("fib")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\x\\block 1.json", Some("block-1")),
            ("..", None),
            ("", None),
            (".hidden", Some("hidden")),
            ("a\u{0}b\u{fc}.bin", Some("a-b-")),
            ("---", None),
        ] {
            assert_eq!(stem(file_name).as_deref(), expected, "{file_name:?}");
        }
        assert_eq!(stem(&"x".repeat(300)).unwrap().len(), NAME_BYTES_MAX);
    }

    #[test]
    fn requests_are_checked() {
        assert_eq!(request_of(b""), Ok(JobRequest::default()));
        assert_eq!(request_of(b"{\"priority\":3}").unwrap().priority, 3);
        assert_eq!(request_of(b"{\"prio\":3}").unwrap_err().kind, Kind::BadRequest);
        assert_eq!(
            request_of(b"{\"name\":\"../x\"}").unwrap_err().kind,
            Kind::Invalid
        );
        assert_eq!(request_of(b"\xff").unwrap_err().kind, Kind::BadRequest);
    }
}
