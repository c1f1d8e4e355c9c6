//! Executing a program without proving it, for `execute`, `block execute` and `plan`.

use myriad_engine::{
    Input, Plan,
    worker::{Usage, Worker, make_keys},
};

use crate::{error::Error, files::ProgramFile, progress::Spinner, settings::Settings};

/// Executes in an engine child, and cuts for the memory budget.
///
/// # Errors
/// A program that does not end well, or a child that does not.
pub fn plan(program: &ProgramFile, input: Input, settings: &Settings) -> Result<(Plan, Usage), Error> {
    let config = settings.sole_worker()?;
    {
        let _spinner = Spinner::new("getting keys ready");
        make_keys(&config, program.openvm_toml.clone())?;
    }
    let _spinner = Spinner::new(format!("executing {}", program.name));
    let mut worker = Worker::spawn(&config)?;
    worker.load(program.image.clone(), program.openvm_toml.clone(), input)?;
    Ok(worker.plan(settings.memory, settings.max_instructions)?)
}
