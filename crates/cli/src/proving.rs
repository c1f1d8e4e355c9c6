//! The parts that all proving commands share: `demo`, `prove`, `block prove` and `jobs resume`.

use std::{fs, path::Path, sync::Arc};

use myriad_core::EngineName;
use myriad_engine::Input;
use myriad_node::{Fleet, Job, Options, Outcome, local};

use crate::{
    args::ProverFlags, error::Error, execution::loaded, files::ProgramFile, interrupt, network,
    progress::Progress, settings::Settings,
};

/// A job of the user's own.
pub struct OwnJob {
    pub job: Arc<Job>,
    /// The engine that its program is for.
    pub engine: EngineName,
}

/// The job to prove `program` on `input`, by the program's engine. `name` is the stem of the output
/// files, `verify` what `myriad verify` needs beside the proof.
///
/// # Errors
/// See [`loaded`].
pub fn job(
    name: String,
    program: ProgramFile,
    input: Input,
    verify: String,
    settings: &Settings,
) -> Result<OwnJob, Error> {
    let engine = program.engine;
    let job = Job {
        name,
        loaded: loaded(&program, &input, settings)?,
        image: program.image,
        program_config: program.config,
        input,
        verify,
    };
    Ok(OwnJob {
        job: Arc::new(job),
        engine,
    })
}

/// The settings of the proving of jobs of an engine. Makes the folder for the output: now, and not
/// after minutes of proving.
///
/// # Errors
/// An engine that this machine lacks, or a folder for the output that cannot be made.
pub fn options(engine: EngineName, settings: &Settings, flags: &ProverFlags) -> Result<Options, Error> {
    let options = options_for(engine, settings, flags.kind())?;
    fs::create_dir_all(&options.out_dir).map_err(|source| Error::Write {
        what: "the folder",
        path: options.out_dir.clone(),
        source,
    })?;
    Ok(options)
}

/// [`options`] for a fleet, without the folder for the output.
///
/// # Errors
/// An engine that this machine has not.
pub fn options_for(engine: EngineName, settings: &Settings, fleet: Fleet) -> Result<Options, Error> {
    let worker = settings.worker(settings.engines.get(engine)?)?;
    Ok(Options {
        data_dir: settings.data_dir.clone(),
        out_dir: settings.out.clone(),
        memory: settings.memory,
        children: settings.children,
        max_instructions: settings.max_instructions,
        final_form: settings.proof,
        deadline: settings.deadline,
        priority: 0,
        fleet,
        keep_jobs: Some(settings.keep_jobs),
        worker,
    })
}

/// Proves a job with a progress display.
///
/// # Errors
/// Those of [`options`], and what [`local::run`] fails of.
pub fn prove(own: &OwnJob, settings: &Settings, flags: &ProverFlags, json: bool) -> Result<Outcome, Error> {
    let options = options(own.engine, settings, flags)?;
    let job = &own.job;
    let mut progress = Progress::new(json, settings.memory);
    interrupt::on_interrupt(json, progress.clearer());
    let result = if flags.of_network() {
        network::prove(job, options, settings, flags, &mut progress)
    } else {
        local::run(job, &options, &mut progress).map_err(Error::from)
    };
    if result.is_err() {
        progress.clearer()();
    }
    result
}

/// The command that verifies a proof; `with` has its further arguments.
pub fn verify_command(proof: &Path, with: &str) -> String {
    let proof = proof.strip_prefix(".").unwrap_or(proof);
    format!("myriad verify {} {with}", quoted(proof))
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("a/b-1.elf")), "a/b-1.elf");
        assert_eq!(quoted(Path::new("it's mine.elf")), r"'it'\''s mine.elf'");
        assert_eq!(
            verify_command(Path::new("./x.stark.proof"), "--program x.elf"),
            "myriad verify x.stark.proof --program x.elf"
        );
    }
}
