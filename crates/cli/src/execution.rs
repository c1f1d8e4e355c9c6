//! Executing a program without proving it, for `execute`, `block execute` and `plan`.

use myriad_engine::{Account, Input, Loaded, Plan, worker::Usage};
use myriad_node::{LimitedWorker, make_keys, with_readable_keys};

use crate::{error::Error, files::ProgramFile, progress::Spinner, settings::Settings};

/// What the program's engine says of it and its input. A child reads what this process cannot.
///
/// # Errors
/// An engine that this machine lacks, a program or an input that the child refuses, or a child
/// that fails.
pub fn loaded(program: &ProgramFile, input: &Input, settings: &Settings) -> Result<Loaded, Error> {
    if let Some(loaded) = program.loaded_here(input) {
        return Ok(loaded);
    }
    let _spinner = Spinner::new(format!("reading {}", program.name));
    load(program, input, settings)
}

/// [`loaded`], without a word on the screen.
///
/// # Errors
/// The errors of [`loaded`].
pub fn load(program: &ProgramFile, input: &Input, settings: &Settings) -> Result<Loaded, Error> {
    if let Some(loaded) = program.loaded_here(input) {
        return Ok(loaded);
    }
    let config = settings.sole_worker(settings.engines.get(program.engine)?)?;
    let mut worker = LimitedWorker::spawn(&config, settings.memory)?;
    let loaded = worker.within(|child| child.load(&program.image[..], program.config.clone(), input))?;
    Ok(loaded)
}

/// Executes in an engine child, and cuts for the memory budget.
///
/// # Errors
/// A program that fails, or a child that does.
pub fn plan(program: &ProgramFile, input: Input, settings: &Settings) -> Result<(Plan, Usage), Error> {
    let (plan, usage, _) = planned(program, &input, settings)?;
    Ok((plan, usage))
}

/// [`plan`], with a second execution that counts by the marks in the program.
///
/// # Errors
/// The errors of [`plan`].
pub fn plan_and_account(
    program: &ProgramFile,
    input: Input,
    settings: &Settings,
) -> Result<(Plan, Usage, Account), Error> {
    let (plan, usage, mut worker) = planned(program, &input, settings)?;
    let _spinner = Spinner::new("counting instructions by kinds of operations");
    let (account, _) = worker.within(|child| child.account(settings.max_instructions))?;
    Ok((plan, usage, account))
}

/// Executes and cuts. Also returns the child, with the program loaded.
fn planned(
    program: &ProgramFile,
    input: &Input,
    settings: &Settings,
) -> Result<(Plan, Usage, LimitedWorker), Error> {
    let config = settings.sole_worker(settings.engines.get(program.engine)?)?;
    {
        let _spinner = Spinner::new("getting keys ready");
        make_keys(&config, settings.memory, program.config.clone())?;
    }
    let _spinner = Spinner::new(format!("executing {}", program.name));
    let text = program.config.as_deref();
    let planned = with_readable_keys(&config, settings.memory, text, || {
        let mut worker = LimitedWorker::spawn(&config, settings.memory)?;
        let (plan, usage) = worker.within(|child| {
            child.load(&program.image[..], program.config.clone(), input)?;
            child.plan(settings.memory, settings.max_instructions)
        })?;
        Ok((plan, usage, worker))
    });
    Ok(planned?)
}
