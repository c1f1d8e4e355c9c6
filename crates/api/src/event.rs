//! The events of a job, and of the whole service, as a stream.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Arities, Job, JobState, Problem, Service, TaskName};

/// The place of an event in its stream: the number of the service's start, and a count within it.
/// As text, `START-COUNT`: the id of a server-sent event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    pub start: u64,
    pub count: u64,
}

/// A text is not the id of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventIdError;

impl fmt::Display for EventIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an event's id is two numbers of at most 20 digits with a hyphen between them, such as 17-204",
        )
    }
}

impl std::error::Error for EventIdError {}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.count)
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let number = |text: &str| {
            let is_plain = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| text.parse().ok()).flatten().ok_or(EventIdError)
        };
        let (start, count) = text.split_once('-').ok_or(EventIdError)?;
        Ok(Self {
            start: number(start)?,
            count: number(count)?,
        })
    }
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// When it happened.
    pub at_ms: u64,
    /// The job; in the stream of a job too. None for an event that is no single job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    #[serde(flatten)]
    pub news: News,
}

/// What happened. In a stream of server-sent events, `event` is the name of the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum News {
    /// The job as it is: at the beginning of its stream, wherever events before this one are not
    /// kept any more, when it is submitted again and when it has ended. The reader asks for its
    /// tasks again. The stream of the whole service has one of each job that is not over in these
    /// places, or else of the newest job, and its reader asks for the list again; public values of
    /// more than 1 KiB are left out there.
    Snapshot { now: Box<Job> },
    /// The job's state has changed.
    State {
        state: JobState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Problem>,
    },
    /// So many segments are cut and given out, and there will be more. An earlier run has left the
    /// proofs of `reused` of them. Where these are more than before, the reader asks for the tasks
    /// again.
    Cut {
        segments: u64,
        #[serde(default)]
        reused: u64,
    },
    /// The plan is there. Where any task is reused, the reader asks for the tasks again. In the
    /// stream of the whole service, public values of more than 1 KiB are left empty.
    Planned {
        instructions: u64,
        segments: u32,
        tasks: u64,
        reused: u64,
        arities: Arities,
        public_values: String,
    },
    /// A machine has taken its first task of the service.
    Joined { machine: u32, name: String },
    /// A machine is gone.
    Left { machine: u32 },
    /// A machine has begun a task. If the task is a reused one, its earlier proof is of no use.
    Started { machine: u32, task: TaskName },
    /// A proof was verified and stored.
    Accepted {
        machine: u32,
        task: TaskName,
        bytes: u64,
        done: u64,
    },
    /// The task was taken from the machine, or given back.
    Revoked { machine: u32, task: TaskName },
    /// A machine failed, and the task goes to another one.
    Retrying { task: TaskName, reason: String },
    /// A proof turned out to be of no use, and its task is open again.
    Reopened { task: TaskName, reason: String },
    /// Somebody may want to act on this.
    Notice { text: String },
    /// The service as it is, every second while somebody listens: in the stream of the whole
    /// service alone.
    Service { now: Box<Service> },
}

impl News {
    /// The name of the variant in documents.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::State { .. } => "state",
            Self::Cut { .. } => "cut",
            Self::Planned { .. } => "planned",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Started { .. } => "started",
            Self::Accepted { .. } => "accepted",
            Self::Revoked { .. } => "revoked",
            Self::Retrying { .. } => "retrying",
            Self::Reopened { .. } => "reopened",
            Self::Notice { .. } => "notice",
            Self::Service { .. } => "service",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_events_are_two_plain_numbers() {
        let id = EventId { start: 3, count: 204 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "3",
            "-",
            "3-",
            "-4",
            "+3-4",
            "3-4-5",
            "a-1",
            "3--4",
            "1-99999999999999999999",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(EventIdError), "{text}");
        }
    }

    #[test]
    fn events_are_flat_and_named_by_their_variant() {
        let event = Event {
            at_ms: 7,
            job: None,
            news: News::Left { machine: 2 },
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(json, r#"{"at_ms":7,"type":"left","machine":2}"#);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        assert_eq!(event.news.name(), "left");
    }
}
