//! `myriad jobs`: the jobs that were started on this machine.

use std::time::Duration;

use anstyle::Style;
use myriad_engine::MemoryBudget;
use myriad_node::{
    Fleet, open_blobs,
    records::{Jobs, Keep, Listed, Record, State},
};
use serde::Serialize;

use crate::{
    args::{CancelJob, CleanJobs, JobsCommand, ListJobs, ProverFlags, ResumeJob, ShowJob},
    engines::Choice,
    error::Error,
    files::ProgramFile,
    proving::{self, prove, verify_command},
    report::{self, Rows},
    settings::{Settings, days},
    terminal::{self, BOLD, CYAN, DIM, GREEN, YELLOW, bytes, count, duration, now_s, plural},
};

/// Characters of an id in a list: enough to tell a thousand jobs apart.
const ID_SHOWN: usize = 12;

pub fn run(command: JobsCommand) -> Result<(), Error> {
    match command {
        JobsCommand::List(args) => list(&args),
        JobsCommand::Show(args) => show(&args),
        JobsCommand::Cancel(args) => cancel(&args),
        JobsCommand::Resume(args) => resume(&args),
        JobsCommand::Clean(args) => clean(&args),
    }
}

/// A job in the JSON document.
#[derive(Serialize)]
struct Entry<'a> {
    id: String,
    running: bool,
    /// None if the record cannot be read.
    #[serde(flatten)]
    record: Option<&'a Record>,
}

impl<'a> Entry<'a> {
    fn of(job: &'a Listed) -> Self {
        Self {
            id: job.id.to_string(),
            running: job.running,
            record: job.record.as_ref(),
        }
    }
}

fn list(args: &ListJobs) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    let jobs = Jobs::of(&settings.data_dir).list()?;
    if args.data.json {
        #[derive(Serialize)]
        struct Document<'a> {
            jobs: Vec<Entry<'a>>,
        }
        let jobs = jobs.iter().map(Entry::of).collect();
        return terminal::print_json(&Document { jobs }).map_err(Error::Stdout);
    }
    let mut text = String::new();
    for job in &jobs {
        let id = &job.id.to_string()[..ID_SHOWN];
        let (name, done, begun) = match &job.record {
            Some(record) => (record.name.as_str(), progress(record), ago(record.begun)),
            None => ("", String::new(), String::new()),
        };
        let (style, state) = state(job);
        text += &format!(
            "{CYAN}{id}{CYAN:#}  {name:24}  {style}{state:14}{style:#}  {done:>18}  {DIM}{begun}{DIM:#}\n"
        );
    }
    if jobs.is_empty() {
        text = format!("no jobs in {}\n", settings.data_dir.display());
    }
    terminal::print(&text).map_err(Error::Stdout)
}

/// One word on a job, and its colour.
fn state(job: &Listed) -> (Style, &'static str) {
    match (&job.record, job.running) {
        (_, true) => (BOLD, "running"),
        (None, _) => (YELLOW, "unreadable"),
        (Some(record), _) => match record.state {
            State::Open => (YELLOW, "stopped"),
            State::Done => (GREEN, "done"),
            State::Cancelled => (DIM, "cancelled"),
        },
    }
}

fn progress(record: &Record) -> String {
    match record.tasks {
        Some(tasks) => format!("{} of {} tasks", count(record.done as u64), count(tasks as u64)),
        None => "not planned".into(),
    }
}

fn ago(then: u64) -> String {
    format!(
        "{} ago",
        duration(Duration::from_secs(now_s().saturating_sub(then)))
    )
}

fn show(args: &ShowJob) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    let jobs = Jobs::of(&settings.data_dir);
    let job = jobs.find(&args.id)?;
    if args.data.json {
        return terminal::print_json(&Entry::of(&job)).map_err(Error::Stdout);
    }
    let record = jobs.record(job.id)?;
    let mut rows = Rows::plain(&format!("{}: {}", record.name, state(&job).1));
    rows.row("id", &job.id.to_string());
    rows.row("tasks", &progress(&record));
    rows.row("begun", &ago(record.begun));
    rows.row("last heard of", &ago(record.updated));
    if job.running {
        rows.row("process", &record.pid.to_string());
    }
    rows.row("provers", &provers(record.fleet));
    rows.row("memory", &format!("{} for each", bytes(record.memory_bytes)));
    rows.row("proof into", &record.out_dir.display().to_string());
    match record.state {
        State::Done => rows.row("verify with", &verify_with(&record)),
        State::Open if job.running => {}
        State::Open | State::Cancelled => {
            rows.row(
                "continue with",
                &format!("myriad jobs resume {}", &job.id.to_string()[..ID_SHOWN]),
            );
        }
    }
    rows.print()
}

/// The command that verifies the proof of a job that is done.
fn verify_with(record: &Record) -> String {
    match Choice::named(record.engine) {
        Some(engine) => {
            let proof = format!("{}.{}", record.name, engine.facts().proof_ending);
            verify_command(&record.out_dir.join(proof), &record.verify)
        }
        // Nor does this build know what the file of the proof is called.
        None => format!(
            "a build of myriad that has the engine `{}`: this one has not",
            record.engine
        ),
    }
}

fn provers(fleet: Fleet) -> String {
    match fleet {
        Fleet::Children => "engine children of its own process".into(),
        Fleet::Cluster { provers } => format!("{} on this machine", plural(provers, "prover")),
        Fleet::Network { provers } => format!("all on the network; planned for {provers}"),
    }
}

fn cancel(args: &CancelJob) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    let jobs = Jobs::of(&settings.data_dir);
    let job = jobs.find(&args.id)?;
    jobs.cancel(job.id, CancelJob::PATIENCE)?;
    show(&ShowJob {
        id: job.id.to_string(),
        data: args.data.clone(),
    })
}

fn resume(args: &ResumeJob) -> Result<(), Error> {
    let mut settings = Settings::load(args)?;
    let jobs = Jobs::of(&settings.data_dir);
    let found = jobs.find(&args.id)?;
    let (kept, record) = {
        let blobs = open_blobs(&settings.data_dir, u64::MAX)?;
        jobs.load(found.id, &blobs)?
    };
    settings.engines.get(record.engine)?;
    // The child that reads the program has these limits, too.
    settings.memory = MemoryBudget::from_bytes(record.memory_bytes);
    settings.max_instructions = record.max_instructions;
    settings.proof = record.final_form;
    settings.out = record.out_dir;
    let path = kept.name.clone().into();
    let program = ProgramFile::of(record.engine, kept.name.clone(), kept.image, kept.program_config)
        .map_err(|source| Error::Program { path, source })?;
    let own = proving::job(kept.name, program, kept.input, kept.verify, &settings)?;
    let flags = ProverFlags::of(record.fleet, args.net.clone());
    let outcome = prove(&own, &settings, &flags, args.data.json)?;
    let context = report::Context {
        json: args.data.json,
        title: &own.job.name,
        memory: settings.memory,
        verify: &verify_command(&outcome.proof_path, &own.job.verify),
        block: None::<()>,
    };
    report::proof(&outcome, context)
}

fn clean(args: &CleanJobs) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    let keep = Keep {
        newer_than: args.older_than.map(days),
        bytes: args.keep.map(|size| size.as_u64()),
    };
    let removed = Jobs::of(&settings.data_dir).clean(keep)?;
    if args.data.json {
        return terminal::print_json(&removed).map_err(Error::Stdout);
    }
    let left = match removed.running {
        0 => String::new(),
        running => format!(
            "left {}, and all blobs that may be theirs\n",
            plural(running, "running job")
        ),
    };
    terminal::print(&format!(
        "removed {} and {} that no other job needs: freed {}\n{left}",
        plural(removed.jobs, "job"),
        plural(removed.blobs, "blob"),
        bytes(removed.bytes)
    ))
    .map_err(Error::Stdout)
}
