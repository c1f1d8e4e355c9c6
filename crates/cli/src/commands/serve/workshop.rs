//! Makes jobs of what was uploaded to the service.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use myriad_api::{BlockFacts, JobRequest, Kind, Problem, ProofForm};
use myriad_core::JobId;
use myriad_engine::{CONFIG_BYTES_MAX, FinalForm, INPUT_BYTES_MAX, Input, MemoryBudget, PROGRAM_BYTES_MAX};
use myriad_evm::{
    Outcome as BlockOutcome,
    host::{BlockFile, BlockFileError},
};
use myriad_gateway::{Made, Upload, Workshop};
use myriad_node::{Fleet, Job, Options, open_blobs, records::Jobs};

use crate::{
    blocks::validate,
    engines::{Choice, Signs},
    error::{Error, block_file},
    execution::load,
    files::{self, ProgramFile, stem},
    proving::{options_for, quoted},
    settings::Settings,
};

/// Makes jobs with the engines of this machine.
pub(super) struct OwnWorkshop {
    settings: Settings,
    fleet: Fleet,
}

/// The files of a program that was uploaded.
struct ProgramUpload<'a> {
    program: &'a Path,
    name: &'a str,
    config: Option<&'a Path>,
    input: &'a [PathBuf],
}

impl OwnWorkshop {
    pub(super) fn new(settings: Settings, fleet: Fleet) -> Self {
        Self { settings, fleet }
    }

    fn of_program(&self, upload: &ProgramUpload<'_>, request: &JobRequest) -> Result<Made, Problem> {
        let named = request.engine.as_deref().map(engine).transpose()?;
        let image = uploaded("the program", upload.program, PROGRAM_BYTES_MAX)?;
        let config = upload
            .config
            .map(|path| uploaded("the configuration", path, CONFIG_BYTES_MAX));
        let config = config.transpose()?.map(String::from_utf8).transpose();
        let config = config.map_err(|e| invalid(format!("the configuration is no UTF-8 text: {e}")))?;
        let mut items = Vec::new();
        for path in upload.input {
            items.push(uploaded("the input", path, INPUT_BYTES_MAX)?);
        }
        let input = Input::from_items(items).map_err(|e| invalid(format!("cannot use the input: {e}")))?;
        let signs = Signs { named, proof: None };
        let found = signs.engine_of(&image).name();
        let name = request.name.clone().unwrap_or_else(|| stem(upload.name.as_ref()));
        let mut verify = format!("--program {}", quoted(upload.name.as_ref()));
        if let Some(named) = named {
            verify += &format!(" --engine {}", named.name());
        }
        // The holder of a key is a stranger.
        let program = ProgramFile::of_stranger(found, name, image, config);
        self.job(program, input, verify, request)
    }

    fn of_blocks(&self, files: &[PathBuf], name: &str, request: &JobRequest) -> Result<Made, Problem> {
        if let Some(other) = request.engine.as_deref().filter(|name| *name != "openvm") {
            return Err(invalid(format!(
                "blocks are proven with the engine `openvm`, and the request names `{other}`: leave `engine` out"
            )));
        }
        // Errors name the files of a batch by their places.
        let names: Vec<PathBuf> = match files.len() {
            1 => vec![name.into()],
            count => (1..=count)
                .map(|file| format!("{name} ({file} of {count})").into())
                .collect(),
        };
        let mut blocks: Vec<BlockFile> = Vec::new();
        let mut kept_bytes = 0;
        for (path, name) in files.iter().zip(&names) {
            let file = BlockFile::read(path).map_err(|e| unread(e, name))?;
            // A small file may inflate to hundreds of MB, and all are kept until they are joined.
            kept_bytes += block_bytes(&file);
            if kept_bytes > INPUT_BYTES_MAX {
                return Err(Problem::new(
                    Kind::TooLarge,
                    format!(
                        "the files of this batch have {kept_bytes} bytes of blocks and witnesses up to {}, and \
                         {INPUT_BYTES_MAX} are allowed: submit fewer blocks at once",
                        name.display()
                    ),
                ));
            }
            blocks.push(file);
        }
        let (block, input, variant) = validate(&names, &blocks).map_err(problem)?;
        if !block.skipped.is_empty() {
            return Err(problem(Error::ParentUnknown {
                path: names[0].clone(),
                skipped: block.skipped,
            }));
        }
        let input = Input::from_bytes(input).map_err(|e| invalid(format!("cannot use the block: {e}")))?;
        let mut program = variant.load().map_err(problem)?;
        program.name = request.name.clone().unwrap_or_else(|| stem(name.as_ref()));
        let verify = match files.len() {
            1 => format!("--block {}", quoted(name.as_ref())),
            // Their names are not kept.
            count => (1..=count)
                .map(|file| format!("--block FILE{file}"))
                .collect::<Vec<_>>()
                .join(" "),
        };
        let mut made = self.job(program, input, verify, request)?;
        made.expected_public_values = Some(block.public_values.to_vec());
        made.block = Some(facts(&block));
        Ok(made)
    }

    /// The job of a program and its input, with the settings that the request asks for.
    fn job(
        &self,
        program: ProgramFile,
        input: Input,
        verify: String,
        request: &JobRequest,
    ) -> Result<Made, Problem> {
        let mut options = options_for(program.engine, &self.settings, self.fleet).map_err(problem)?;
        options.priority = request.priority;
        options.deadline = request.deadline_s.map(Duration::from_secs);
        if let Some(form) = request.proof {
            options.final_form = match form {
                ProofForm::Small => FinalForm::Small,
                ProofForm::Fast => FinalForm::Fast,
            };
        }
        self.made(program, input, verify, options).map_err(problem)
    }

    /// The job of a program that is no block's.
    fn made(
        &self,
        program: ProgramFile,
        input: Input,
        verify: String,
        options: Options,
    ) -> Result<Made, Error> {
        let job = Job {
            loaded: load(&program, &input, &self.settings)?,
            name: program.name,
            image: program.image,
            program_config: program.config,
            input,
            verify,
        };
        Ok(Made {
            job: Arc::new(job),
            options,
            block: None,
            expected_public_values: None,
        })
    }

    fn kept(&self, id: JobId) -> Result<Made, Error> {
        let jobs = Jobs::of(&self.settings.data_dir);
        let (kept, record) = {
            let blobs = open_blobs(&self.settings.data_dir, u64::MAX)?;
            jobs.load(id, &blobs)?
        };
        let mut options = options_for(record.engine, &self.settings, self.fleet)?;
        // A plan for other limits is another plan.
        options.memory = MemoryBudget::from_bytes(record.memory_bytes);
        options.max_instructions = record.max_instructions;
        options.final_form = record.final_form;
        let program = ProgramFile::of_stranger(record.engine, kept.name, kept.image, kept.program_config);
        self.made(program, kept.input, kept.verify, options)
    }
}

impl Workshop for OwnWorkshop {
    fn make(&self, upload: &Upload<'_>, request: &JobRequest) -> Result<Made, Problem> {
        match *upload {
            Upload::Program {
                program,
                name,
                config,
                input,
            } => {
                let name = name.unwrap_or("program");
                let upload = ProgramUpload {
                    program,
                    name,
                    config,
                    input,
                };
                self.of_program(&upload, request)
            }
            Upload::Blocks { files, name } => self.of_blocks(files, name.unwrap_or("block"), request),
        }
    }

    fn resume(&self, id: JobId) -> Result<Made, Problem> {
        self.kept(id).map_err(problem)
    }

    fn engines(&self) -> Vec<String> {
        let engines = self.settings.engines.iter();
        engines.map(|engine| engine.facts.id.name.to_string()).collect()
    }
}

/// Bytes of the blocks, the witness and the texts of a block file.
fn block_bytes(file: &BlockFile) -> usize {
    let witness = [&file.witness.state, &file.witness.codes, &file.witness.headers];
    let lists = witness.into_iter().chain([&file.later]).flatten();
    // An empty item takes memory, too.
    let items: usize = lists.map(|item| item.len() + size_of_val(item)).sum();
    items + file.block.len() + file.description.as_ref().map_or(0, String::len)
}

fn engine(name: &str) -> Result<Choice, Problem> {
    let named = name.parse().ok().and_then(Choice::named);
    named.ok_or_else(|| {
        invalid(format!(
            "there is no engine `{name}`: the engines are `openvm` and `risc0`"
        ))
    })
}

/// The bytes of an uploaded file.
fn uploaded(what: &'static str, path: &Path, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    files::read(what, path, bytes_max).map_err(|error| match error {
        Error::TooLarge { .. } => Problem::new(
            Kind::TooLarge,
            format!("{what} has more than the {bytes_max} bytes that are allowed"),
        ),
        // The path is no client's business.
        Error::Read { source, .. } => Problem::new(
            Kind::Internal,
            format!("{what} was uploaded and cannot be read: {source}"),
        ),
        error => problem(error),
    })
}

fn unread(error: BlockFileError, name: &Path) -> Problem {
    match error {
        BlockFileError::Read { source, .. } => Problem::new(
            Kind::Internal,
            format!("the block file was uploaded and cannot be read: {source}"),
        ),
        error => problem(block_file(name)(error)),
    }
}

fn invalid(detail: String) -> Problem {
    Problem::new(Kind::Invalid, detail)
}

/// An error in the words of the command line.
fn problem(error: Error) -> Problem {
    let kind = match error.kind() {
        "program" | "input" | "execution" | "block-file" | "block-invalid" | "parent-unknown" | "memory"
        | "engine" => Kind::Invalid,
        "busy" => Kind::Conflict,
        _ => Kind::Internal,
    };
    Problem::new(kind, error.chain())
}

fn facts(block: &BlockOutcome) -> BlockFacts {
    BlockFacts {
        chain_id: block.chain_id,
        number: block.number,
        block_hash: block.block_hash.to_string(),
        parent_state_root: block.parent_state_root.to_string(),
        state_root: block.state_root.to_string(),
        blocks: block.blocks as u64,
        gas_used: block.gas_used,
        transactions: block.transactions as u64,
    }
}
