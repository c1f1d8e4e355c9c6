//! `block prove --each`: a proof for each file, the next one begun while the last is being
//! finished.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    slice,
    sync::{Arc, mpsc},
};

use myriad_node::{
    Event, Outcome, RunError, local,
    requester::{Limits, Service},
};
use serde::Serialize;

use super::{BlockReport, prove::Ready, read};
use crate::{
    args::ProveBlock, error::Error, interrupt, network, progress::Several, proving, report,
    settings::Settings, terminal,
};

/// Files that are proven by one command: their inputs are all in memory.
const FILES_MAX: usize = 256;

/// What a job's thread has to say.
enum News {
    Event(Event),
    Ended(Result<Outcome, RunError>),
}

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
/// Before anything is proven: a block that is not valid or not known well enough, and files whose
/// proofs would have the same name. [`Error::Several`] if some of them were not proven.
pub fn prove_each(args: &ProveBlock, settings: &Settings) -> Result<(), Error> {
    let priorities = priorities(&args.priority, args.files.len())?;
    let ready = |path| {
        let path = slice::from_ref(path);
        Ready::new(path, &read(path)?)
    };
    let blocks = args.files.iter().map(ready).collect::<Result<Vec<_>, Error>>()?;
    have_different_names(args, &blocks)?;
    let json = args.work.data.json;
    let names: Vec<String> = blocks.iter().map(|block| block.job.name.clone()).collect();
    let mut progress = Several::new(json, &names);
    interrupt::on_interrupt(json, progress.clearer());
    let outcomes = if args.provers.of_network() {
        side_by_side(args, settings, &blocks, &priorities, &mut progress)?
    } else {
        one_by_one(args, settings, &blocks, &priorities, &mut progress)?
    };
    progress.clearer()();
    let is_interrupted = outcomes.iter().any(Result::is_err) && interrupt::is_cause();
    let compared = blocks.iter().zip(outcomes).map(|(block, outcome)| match outcome {
        Ok(outcome) => block.compare(&outcome).map(|()| outcome),
        // The children may have died of the same signal.
        Err(_) if is_interrupted => Err(RunError::Interrupted.into()),
        Err(error) => Err(error),
    });
    let outcomes: Vec<Result<Outcome, Error>> = compared.collect();
    if json {
        print_document(args, &blocks, &outcomes)?;
    } else {
        for (block, outcome) in blocks.iter().zip(&outcomes) {
            match outcome {
                Ok(outcome) => block.report(outcome, settings, false)?,
                Err(error) => error.report_of(&block.job.name),
            }
        }
    }
    let errors: Vec<&Error> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .collect();
    let exits = errors.iter().map(|error| error.exit());
    match exits.max_by_key(|exit| *exit as u8) {
        None => Ok(()),
        Some(exit) => Err(Error::Several {
            failed: errors.len(),
            all: outcomes.len(),
            exit,
        }),
    }
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

/// Each proof has a file of its own.
fn have_different_names(args: &ProveBlock, blocks: &[Ready]) -> Result<(), Error> {
    let mut first = BTreeMap::new();
    for (block, path) in blocks.iter().zip(&args.files) {
        let name = block.job.name.as_str();
        if let Some(other) = first.insert(name, path) {
            return Err(Error::Usage(format!(
                "the proofs of {} and {} would both be {name}.stark.proof: rename one of the two",
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
) -> Result<Vec<Result<Outcome, Error>>, Error> {
    let options = proving::options(settings, &args.provers, 0)?;
    let (ended, cluster) = network::with_provers(settings, &args.provers, |joined, runtime| {
        let service = Service::start(joined, &settings.data_dir, Limits::default(), runtime);
        let (tell, news) = mpsc::channel();
        for (index, (block, &priority)) in blocks.iter().zip(priorities).enumerate() {
            let mut options = options.clone();
            options.priority = priority;
            let (of_event, of_end) = (tell.clone(), tell.clone());
            let observer = move |event: &Event| {
                // The loop below ends with the last job.
                let _ = of_event.send((index, News::Event(event.clone())));
            };
            let handle = service
                .submit(Arc::clone(&block.job), options, Box::new(observer))
                .expect("a service takes as many jobs as this command does");
            runtime.spawn(async move {
                let _ = of_end.send((index, News::Ended(handle.outcome().await)));
            });
        }
        drop(tell);
        let mut ended: Vec<Option<Result<Outcome, RunError>>> = blocks.iter().map(|_| None).collect();
        for (index, news) in news {
            match news {
                News::Event(event) => progress.event(index, &event),
                News::Ended(outcome) => {
                    show_end(progress, index, &outcome);
                    ended[index] = Some(outcome);
                }
            }
        }
        runtime.block_on(service.stop());
        ended
    })?;
    let ended = ended.into_iter().map(|outcome| {
        let outcome = outcome.expect("every job says how it has ended");
        outcome.map_err(|error| network::failed(error, cluster.as_ref()))
    });
    Ok(ended.collect())
}

/// Proves one after the other with engine children, which share this machine's memory.
fn one_by_one(
    args: &ProveBlock,
    settings: &Settings,
    blocks: &[Ready],
    priorities: &[i32],
    progress: &mut Several,
) -> Result<Vec<Result<Outcome, Error>>, Error> {
    let options = proving::options(settings, &args.provers, 0)?;
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|&index| Reverse(priorities[index]));
    let mut ended = BTreeMap::new();
    for &index in &order {
        progress.event(index, &Event::Queued);
    }
    for index in order {
        let observer = &mut |event: &Event| progress.event(index, event);
        let outcome = local::run(&blocks[index].job, &options, observer);
        show_end(progress, index, &outcome);
        ended.insert(index, outcome.map_err(Error::from));
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
    fn each_file_has_a_priority() {
        assert_eq!(priorities(&[], 2).unwrap(), [0, 0]);
        assert_eq!(priorities(&[3], 2).unwrap(), [3, 3]);
        assert_eq!(priorities(&[3, -1], 2).unwrap(), [3, -1]);
        for (given, files) in [(&[1, 2][..], 3), (&[1, 2], 1), (&[], FILES_MAX + 1)] {
            assert!(matches!(priorities(given, files), Err(Error::Usage(_))));
        }
    }
}
