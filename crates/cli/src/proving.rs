//! The parts that all proving commands share: `demo`, `prove`, `block prove` and `jobs resume`.

use std::{fs, path::Path, sync::Arc};

use myriad_engine::Input;
use myriad_node::{Job, Options, Outcome, local};

use crate::{
    args::ProverFlags, error::Error, execution::loaded, files::ProgramFile, interrupt, network,
    progress::Progress, settings::Settings,
};

/// The job to prove `program` on `input`, by the engine of the settings. `name` is the stem of the
/// output files, `verify` what `myriad verify` needs beside the proof.
///
/// # Errors
/// See [`loaded`].
pub fn job(
    name: String,
    program: ProgramFile,
    input: Input,
    verify: String,
    settings: &Settings,
) -> Result<Arc<Job>, Error> {
    Ok(Arc::new(Job {
        name,
        loaded: loaded(&program, &input, settings)?,
        image: program.image,
        program_config: program.config,
        input,
        verify,
    }))
}

/// The settings of a job's proving. Makes the folder for the output: now, and not after minutes of
/// proving.
///
/// # Errors
/// A folder for the output that cannot be made.
pub fn options(settings: &Settings, flags: &ProverFlags) -> Result<Options, Error> {
    fs::create_dir_all(&settings.out).map_err(|source| Error::Write {
        what: "the folder",
        path: settings.out.clone(),
        source,
    })?;
    Ok(Options {
        data_dir: settings.data_dir.clone(),
        out_dir: settings.out.clone(),
        memory: settings.memory,
        children: settings.children,
        max_instructions: settings.max_instructions,
        final_form: settings.proof,
        deadline: settings.deadline,
        priority: 0,
        fleet: flags.kind(),
        keep_jobs: Some(settings.keep_jobs),
        worker: settings.worker()?,
    })
}

/// Proves a job with a progress display.
///
/// # Errors
/// A folder for the output that cannot be made, and what [`local::run`] fails of.
pub fn prove(job: &Arc<Job>, settings: &Settings, flags: &ProverFlags, json: bool) -> Result<Outcome, Error> {
    let options = options(settings, flags)?;
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
