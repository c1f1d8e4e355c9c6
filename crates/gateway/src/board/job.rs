//! One job while the service has it in mind: its state, its tasks, and the events of its stream.

use std::path::PathBuf;

use myriad_api::{Job, JobState, News, Problem, Progress, Proof};
use myriad_core::JobId;
use myriad_net::text;
use myriad_node::{Event, Outcome};

use super::{
    End, NewEntry,
    note::{Note, VERSION, proof_of},
    tasks::TaskBook,
};

/// Most characters of a text that may come from a peer or a program.
const TEXT_MAX: usize = 500;
/// Most characters of why a job failed.
const DETAIL_MAX: usize = 2000;
/// Larger public values are left out where many jobs are shown.
const VALUES_SHOWN_MAX: usize = 2 + 2 * 1024;

/// A job that was submitted since the start.
#[derive(Debug)]
pub(super) struct Live {
    /// Which of the submissions of the same job this is.
    pub number: u64,
    pub entry: NewEntry,
    pub state: JobState,
    pub submitted_ms: u64,
    /// When this submission came.
    begun_ms: u64,
    updated_ms: u64,
    ended_ms: Option<u64>,
    tasks_total: Option<u64>,
    segments: u64,
    instructions: u64,
    reused: u64,
    public_values: Option<String>,
    proof: Option<Proof>,
    files: Option<(PathBuf, Option<PathBuf>)>,
    error: Option<Problem>,
    pub tasks: TaskBook,
    /// What was noted of it before this submission.
    pub earlier: Option<Note>,
    /// An earlier submission, which is over: until something happens to this one.
    pub replaced: Option<Box<Self>>,
    /// Its proof is one of other public values than were asked for.
    has_other_values: bool,
}

impl Live {
    pub(super) fn new(
        number: u64,
        entry: NewEntry,
        earlier: Option<Note>,
        (first_ms, now_ms): (u64, u64),
    ) -> Self {
        Self {
            number,
            entry,
            state: JobState::Queued,
            submitted_ms: first_ms,
            begun_ms: now_ms,
            updated_ms: now_ms,
            ended_ms: None,
            tasks_total: None,
            segments: 0,
            instructions: 0,
            reused: 0,
            public_values: None,
            proof: None,
            files: None,
            error: None,
            tasks: TaskBook::default(),
            earlier,
            replaced: None,
            has_other_values: false,
        }
    }

    /// Takes an event in, and says what the readers of the job's stream hear.
    pub(super) fn apply(&mut self, event: &Event, now_ms: u64) -> Vec<News> {
        let mut news = Vec::new();
        match event {
            Event::Queued => news.extend(self.turn(JobState::Queued)),
            Event::Preparing | Event::Planning => news.extend(self.turn(JobState::Planning)),
            Event::Cut {
                segments,
                reused,
                kept,
                ..
            } => {
                news.extend(self.turn(JobState::Proving));
                (self.segments, self.reused) = (*segments as u64, *reused as u64);
                self.tasks.cut(small(*segments));
                self.tasks.kept(kept);
                news.push(News::Cut {
                    segments: self.segments,
                    reused: self.reused,
                });
            }
            Event::Planned { .. } => {
                news.extend(self.turn(JobState::Proving));
                news.push(self.planned(event));
            }
            Event::Joined { prover, name, .. } => {
                let (machine, name) = (small(*prover), text::printable(name, TEXT_MAX));
                self.tasks.joined(machine, name.clone());
                news.push(News::Joined { machine, name });
            }
            Event::NoticeToAll { text, .. } | Event::Notice { text } => news.push(News::Notice {
                text: text::printable(text, TEXT_MAX),
            }),
            _ => news.extend(self.of_task(event, now_ms)),
        }
        if !news.is_empty() {
            self.updated_ms = now_ms;
        }
        news
    }

    /// An event about a single task or machine.
    fn of_task(&mut self, event: &Event, now_ms: u64) -> Option<News> {
        let news = match event {
            Event::Left { prover } => {
                let machine = small(*prover);
                self.tasks.left(machine, now_ms);
                News::Left { machine }
            }
            Event::Started { prover, task } => {
                let machine = small(*prover);
                self.tasks.started(*task, machine, now_ms);
                News::Started {
                    machine,
                    task: super::tasks::name_of(*task),
                }
            }
            Event::Done {
                prover,
                task,
                proof_bytes,
                ..
            } => {
                let (machine, bytes) = (small(*prover), *proof_bytes as u64);
                self.tasks.accepted(*task, machine, bytes, now_ms);
                News::Accepted {
                    machine,
                    task: super::tasks::name_of(*task),
                    bytes,
                    done: self.tasks.done(),
                }
            }
            Event::Idle { prover, task } => {
                let machine = small(*prover);
                self.tasks.revoked(*task, machine, now_ms);
                News::Revoked {
                    machine,
                    task: super::tasks::name_of(*task),
                }
            }
            Event::Retrying { task, reason } => News::Retrying {
                task: super::tasks::name_of(*task),
                reason: text::printable(reason, TEXT_MAX),
            },
            Event::Reopened { task, reason } => {
                self.tasks.reopened(*task);
                News::Reopened {
                    task: super::tasks::name_of(*task),
                    reason: text::printable(reason, TEXT_MAX),
                }
            }
            _ => return None,
        };
        Some(news)
    }

    fn planned(&mut self, event: &Event) -> News {
        let Event::Planned {
            instructions,
            segments,
            nodes,
            arities,
            reused,
            kept,
            public_values,
            ..
        } = event
        else {
            unreachable!("the caller has looked")
        };
        let arities = myriad_api::Arities {
            leaf: arities.leaf,
            internal_for_leaf: arities.internal_for_leaf,
            internal: arities.internal_recursive,
        };
        (self.instructions, self.reused) = (*instructions, *reused as u64);
        self.segments = *segments as u64;
        // The final proof is a task, too.
        let tasks = (segments + nodes + 1) as u64;
        self.tasks_total = Some(tasks);
        self.tasks.planned(small(*segments), arities);
        self.tasks.kept(kept);
        let public_values = format!("0x{}", hex::encode(public_values));
        self.public_values = Some(public_values.clone());
        News::Planned {
            instructions: *instructions,
            segments: small(*segments),
            tasks,
            reused: self.reused,
            arities,
            public_values,
        }
    }

    fn turn(&mut self, state: JobState) -> Option<News> {
        let is_new = self.state != state;
        self.state = state;
        is_new.then_some(News::State { state, error: None })
    }

    pub(super) fn end(&mut self, id: JobId, end: End<'_>, now_ms: u64) -> News {
        self.tasks.end(now_ms);
        self.has_other_values = matches!(end, End::OtherValues(_));
        self.state = match end {
            End::Done(outcome) => {
                self.done(id, outcome);
                JobState::Done
            }
            End::Failed(mut problem) | End::OtherValues(mut problem) => {
                problem.detail = text::printable(&problem.detail, DETAIL_MAX);
                self.error = Some(problem);
                JobState::Failed
            }
            End::Cancelled => JobState::Cancelled,
            End::Interrupted => JobState::Interrupted,
        };
        (self.updated_ms, self.ended_ms) = (now_ms, Some(now_ms));
        News::State {
            state: self.state,
            error: self.error.clone(),
        }
    }

    fn done(&mut self, id: JobId, outcome: &Outcome) {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.public_values = Some(format!("0x{}", hex::encode(&outcome.public_values)));
        self.instructions = outcome.instructions;
        self.segments = outcome.segments as u64;
        self.tasks_total = Some((outcome.segments + outcome.nodes + 1) as u64);
        self.files = Some((outcome.proof_path.clone(), outcome.baseline_path.clone()));
        self.proof = Some(Proof {
            verify_ms: millis(outcome.verify),
            wall_ms: Some(millis(outcome.wall)),
            in_time: outcome.in_time,
            ..proof_of(
                id,
                outcome.proof_bytes as u64,
                outcome.baseline_path.is_some(),
                &self.entry.verify,
            )
        });
    }

    pub(super) fn document(&self, id: JobId) -> Job {
        let done = match self.state {
            // What an earlier run has left and a later one has not looked at counts, too.
            JobState::Done => self.tasks_total.unwrap_or_default(),
            _ => self.tasks.done(),
        };
        Job {
            id: id.to_string(),
            name: self.entry.name.clone(),
            engine: self.entry.engine.clone(),
            state: self.state,
            priority: self.entry.priority,
            submitted_ms: self.submitted_ms,
            updated_ms: self.updated_ms,
            ended_ms: self.ended_ms,
            deadline_s: self.entry.deadline_s,
            progress: Progress {
                done,
                tasks: self.tasks_total,
                segments: self.segments,
                instructions: self.instructions,
                reused: self.reused,
                running: self.tasks.running(),
            },
            public_values: self.public_values.clone(),
            block: self.entry.block.clone(),
            proof: self.proof.clone(),
            error: self.error.clone(),
        }
    }

    pub(super) fn tasks_document(&self, event: String) -> myriad_api::Tasks {
        self.tasks.document(event, self.begun_ms)
    }

    pub(super) fn files(&self) -> Option<(PathBuf, Option<PathBuf>)> {
        self.files.clone()
    }

    /// What is to be known of it after a restart.
    pub(super) fn note(&self) -> Note {
        Note {
            version: VERSION,
            name: self.entry.name.clone(),
            engine: self.entry.engine.clone(),
            owner: self.entry.owner.clone(),
            priority: self.entry.priority,
            deadline_s: self.entry.deadline_s,
            block: self.entry.block.clone(),
            submitted_ms: self.submitted_ms,
            end: self.state.is_over().then_some(self.state),
            ended_ms: self.ended_ms,
            error: self.error.clone(),
            verify_ms: self.proof.as_ref().map_or(0, |proof| proof.verify_ms),
            wall_ms: self.proof.as_ref().and_then(|proof| proof.wall_ms),
            in_time: self.proof.as_ref().and_then(|proof| proof.in_time),
            segments: self.segments,
            instructions: self.instructions,
            reused: self.reused,
            public_values: self.public_values.clone(),
            due_ms: self.entry.due_ms,
            expected_public_values: self.entry.expected_public_values.as_ref().map(hex::encode),
            has_other_values: self.has_other_values,
        }
    }
}

/// The job without large public values.
pub(super) fn shortened(mut job: Job) -> Job {
    job.public_values = job
        .public_values
        .filter(|values| values.len() <= VALUES_SHOWN_MAX);
    job
}

/// An event, as the stream of the whole service has it; none if it has no such events.
pub(super) fn for_all(news: &News) -> Option<News> {
    match news {
        News::Snapshot { now } => Some(News::Snapshot {
            now: Box::new(shortened((**now).clone())),
        }),
        News::Planned { public_values, .. } if public_values.len() > VALUES_SHOWN_MAX => {
            let mut news = news.clone();
            if let News::Planned { public_values, .. } = &mut news {
                public_values.clear();
            }
            Some(news)
        }
        News::State { .. }
        | News::Planned { .. }
        | News::Joined { .. }
        | News::Left { .. }
        | News::Notice { .. } => Some(news.clone()),
        _ => None,
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
