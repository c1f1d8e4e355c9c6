//! `block prove --each`: a proof for each file, the next one begun while the last is being
//! finished.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    slice,
    sync::{Arc, mpsc},
    time::Instant,
};

use myriad_node::{
    Event, Outcome, RunError, job_id, local,
    requester::{JOBS_MAX, Limits, Service, Submission},
};
use serde::Serialize;

use super::{BlockReport, prove::Ready, read};
use crate::{
    args::ProveBlock,
    error::{Error, Exit},
    interrupt, network,
    progress::Several,
    proving, report,
    settings::Settings,
    terminal,
};

/// Files that are proven by one command: as many as a service takes.
const FILES_MAX: usize = JOBS_MAX;

/// What a job's thread has to say.
enum News {
    Event(Event),
    Ended(Result<Outcome, RunError>),
}

/// How a job has ended, and when.
type Ended<E> = (Result<Outcome, E>, Instant);

/// A block in the JSON document.
#[derive(Serialize)]
struct Entry<'a> {
    file: String,
    #[serde(flatten)]
    proof: Option<report::ProofReport<'a, BlockReport>>,
    #[serde(flatten)]
    error: Option<Failed>,
}

#[derive(Serialize)]
struct Failed {
    error: String,
    kind: &'static str,
}

/// Proves the block, or the batch, in each file, and prints the results in the order of the files.
///
/// # Errors
/// Before anything is proven: a block that is not valid or not known well enough, files whose
/// proofs would have the same name, and files of the same block. [`Error::Several`] if some of them
/// were not proven.
pub fn prove_each(args: &ProveBlock, settings: &Settings) -> Result<(), Error> {
    let priorities = priorities(&args.priority, args.files.len())?;
    let ready = |path| {
        let path = slice::from_ref(path);
        Ready::new(path, &read(path)?, settings)
    };
    let blocks = args.files.iter().map(ready).collect::<Result<Vec<_>, Error>>()?;
    are_different(args, &blocks)?;
    let json = args.work.data.json;
    let names: Vec<String> = blocks.iter().map(|block| block.own.job.name.clone()).collect();
    let mut progress = Several::new(json, &names);
    interrupt::on_interrupt(json, progress.clearer());
    let outcomes = if args.provers.of_network() {
        side_by_side(args, settings, &blocks, &priorities, &mut progress)?
    } else {
        one_by_one(args, settings, &blocks, &priorities, &mut progress)?
    };
    progress.clearer()();
    let is_interrupted = outcomes.iter().any(|(outcome, _)| outcome.is_err()) && interrupt::is_cause();
    let compared = blocks
        .iter()
        .zip(outcomes)
        .map(|(block, (outcome, at))| match outcome {
            Ok(outcome) => block.compare(&outcome).map(|()| outcome),
            // The children may have died of the same signal.
            Err(_) if is_interrupted && interrupt::may_have_caused(at) => Err(RunError::Interrupted.into()),
            Err(error) => Err(error),
        });
    let outcomes: Vec<Result<Outcome, Error>> = compared.collect();
    if json {
        print_document(args, &blocks, &outcomes)?;
    } else {
        print_reports(settings, &blocks, &outcomes)?;
    }
    let errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let exits: Vec<Exit> = errors.map(Error::exit).collect();
    match exit(&exits, is_interrupted) {
        None => Ok(()),
        Some(exit) => Err(Error::Several {
            failed: exits.len(),
            all: outcomes.len(),
            exit,
        }),
    }
}

/// The exit code of the command, by those of the jobs that failed.
fn exit(failed: &[Exit], is_interrupted: bool) -> Option<Exit> {
    let worst = failed.iter().copied().max_by_key(|exit| match exit {
        Exit::Interrupted => 0,
        exit => *exit as u8,
    })?;
    Some(if is_interrupted { Exit::Interrupted } else { worst })
}

/// Prints all results; errors too if stdout is closed.
fn print_reports(
    settings: &Settings,
    blocks: &[Ready],
    outcomes: &[Result<Outcome, Error>],
) -> Result<(), Error> {
    let mut printed = Ok(());
    for (block, outcome) in blocks.iter().zip(outcomes) {
        match outcome {
            Ok(outcome) => printed = printed.and_then(|()| block.report(outcome, settings, false)),
            Err(error) => error.report_of(&block.own.job.name),
        }
    }
    printed
}

/// The priority of each file.
fn priorities(given: &[i32], files: usize) -> Result<Vec<i32>, Error> {
    if files > FILES_MAX {
        return Err(Error::Usage(format!(
            "--each takes at most {FILES_MAX} files, and there are {files}: prove them by several commands"
        )));
    }
    match given {
        [] => Ok(vec![0; files]),
        [all] => Ok(vec![*all; files]),
        each if each.len() == files => Ok(each.to_vec()),
        each => Err(Error::Usage(format!(
            "--priority has {} numbers, and there are {files} files: give one number for all of them, or one for each",
            each.len()
        ))),
    }
}

/// Each proof has a file of its own, and each block is proven once.
fn are_different(args: &ProveBlock, blocks: &[Ready]) -> Result<(), Error> {
    let (mut first, mut jobs) = (BTreeMap::new(), BTreeMap::new());
    for (block, path) in blocks.iter().zip(&args.files) {
        let name = block.own.job.name.as_str();
        if let Some(other) = first.insert(name, path) {
            return Err(Error::Usage(format!(
                "the proofs of {} and {} would both be {name}.stark.proof: rename one of the two",
                other.display(),
                path.display()
            )));
        }
        if let Some(other) = jobs.insert(job_id(&block.own.job.loaded), path) {
            return Err(Error::Usage(format!(
                "{} and {} are the same block: leave one of the two out",
                other.display(),
                path.display()
            )));
        }
    }
    Ok(())
}

/// Proves all of them with the same provers.
fn side_by_side(
    args: &ProveBlock,
    settings: &Settings,
    blocks: &[Ready],
    priorities: &[i32],
    progress: &mut Several,
) -> Result<Vec<Ended<Error>>, Error> {
    // The guests of all blocks are for one engine.
    let engine = blocks[0].own.engine;
    let options = proving::options(engine, settings, &args.provers)?;
    let (ended, cluster) = network::with_provers(engine, settings, &args.provers, |joined, runtime| {
        let service = Service::start(joined, &settings.data_dir, Limits::default(), runtime);
        let (tell, news) = mpsc::channel();
        let all = blocks.iter().zip(priorities).enumerate();
        let submissions = all.map(|(index, (block, &priority))| {
            let of_event = tell.clone();
            let observer = move |event: &Event| {
                // The loop below ends with the last job.
                let _ = of_event.send((index, News::Event(event.clone())));
            };
            let mut options = options.clone();
            options.priority = priority;
            Submission {
                job: Arc::clone(&block.own.job),
                options,
                observer: Box::new(observer),
            }
        });
        let handles = service
            .submit(submissions.collect())
            .expect("a service takes as many jobs as this command does");
        for (index, handle) in handles.into_iter().enumerate() {
            let of_end = tell.clone();
            runtime.spawn(async move {
                let _ = of_end.send((index, News::Ended(handle.outcome().await)));
            });
        }
        drop(tell);
        let mut ended: Vec<Option<Ended<RunError>>> = blocks.iter().map(|_| None).collect();
        for (index, news) in news {
            match news {
                News::Event(event) => progress.event(index, &event),
                News::Ended(outcome) => {
                    show_end(progress, index, &outcome);
                    ended[index] = Some((outcome, Instant::now()));
                }
            }
        }
        runtime.block_on(service.stop());
        ended
    })?;
    let ended = ended.into_iter().map(|outcome| {
        let (outcome, at) = outcome.expect("every job says how it has ended");
        (
            outcome.map_err(|error| network::failed(error, cluster.as_ref())),
            at,
        )
    });
    Ok(ended.collect())
}

/// Proves one after the other with engine children, which share this machine's memory. After a
/// signal, no further one is begun.
fn one_by_one(
    args: &ProveBlock,
    settings: &Settings,
    blocks: &[Ready],
    priorities: &[i32],
    progress: &mut Several,
) -> Result<Vec<Ended<Error>>, Error> {
    let engine = blocks[0].own.engine;
    let mut options = proving::options(engine, settings, &args.provers)?;
    let start = Instant::now();
    interrupt::will_end();
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|&index| Reverse(priorities[index]));
    let mut ended = BTreeMap::new();
    for &index in &order {
        progress.event(index, &Event::Queued);
    }
    for index in order {
        // The deadline is that of the command.
        options.deadline = settings.deadline.map(|all| all.saturating_sub(start.elapsed()));
        let outcome = if interrupt::has_come() {
            Err(RunError::Interrupted)
        } else {
            let observer = &mut |event: &Event| progress.event(index, event);
            local::run(&blocks[index].own.job, &options, observer)
        };
        show_end(progress, index, &outcome);
        ended.insert(index, (outcome.map_err(Error::from), Instant::now()));
    }
    Ok(ended.into_values().collect())
}

fn show_end(progress: &mut Several, index: usize, outcome: &Result<Outcome, RunError>) {
    match outcome {
        Ok(outcome) => progress.ended(index, Ok(outcome.wall)),
        Err(error) => progress.ended(index, Err(&error.to_string())),
    }
}

fn print_document(
    args: &ProveBlock,
    blocks: &[Ready],
    outcomes: &[Result<Outcome, Error>],
) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Document<'a> {
        proofs: Vec<Entry<'a>>,
    }
    let all = args.files.iter().zip(blocks).zip(outcomes);
    let proofs = all.map(|((path, block), outcome)| {
        let (proof, error) = match outcome {
            Ok(outcome) => (Some(report::document(outcome, Some(block.facts()))), None),
            Err(error) => (
                None,
                Some(Failed {
                    error: error.chain(),
                    kind: error.kind(),
                }),
            ),
        };
        Entry {
            file: path.display().to_string(),
            proof,
            error,
        }
    });
    let document = Document {
        proofs: proofs.collect(),
    };
    terminal::print_json(&document).map_err(Error::Stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_for_more_than_a_job_that_was_given_up_and_less_than_a_signal() {
        let (failed, given_up) = (Exit::Failed, Exit::Interrupted);
        assert_eq!(exit(&[], false), None);
        assert_eq!(exit(&[failed, given_up], false), Some(Exit::Failed));
        assert_eq!(
            exit(&[failed, Exit::ProofInvalid], false),
            Some(Exit::ProofInvalid)
        );
        assert_eq!(exit(&[given_up], false), Some(Exit::Interrupted));
        assert_eq!(exit(&[failed], true), Some(Exit::Interrupted));
    }

    #[test]
    fn each_file_has_a_priority() {
        assert_eq!(priorities(&[], 2).unwrap(), [0, 0]);
        assert_eq!(priorities(&[3], 2).unwrap(), [3, 3]);
        assert_eq!(priorities(&[3, -1], 2).unwrap(), [3, -1]);
        for (given, files) in [(&[1, 2][..], 3), (&[1, 2], 1), (&[], FILES_MAX + 1)] {
            assert!(matches!(priorities(given, files), Err(Error::Usage(_))));
        }
    }
}
