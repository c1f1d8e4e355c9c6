//! Events as they happen, over connections that may be lost.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    io::{BufReader, Read},
    thread,
    time::{Duration, Instant},
};

use myriad_api::{Event, EventId, News};

use crate::{
    Error,
    connection::Connection,
    lines::{Message, Messages},
};

/// The first pause before it comes back, unless the service names another one. It doubles with each
/// failure.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The shortest pause that the service may ask for.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// It gives up when it has come to nothing for this long.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Bytes of an id: two numbers.
const ID_BYTES_MAX: usize = 41;

/// An event, and its place in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// None if the event is complete only with the next one.
    pub id: Option<EventId>,
    pub event: Event,
}

/// The events of a stream. The next one is waited for, over new connections if need be. An error is
/// the last item.
pub struct Events {
    connection: Connection,
    path: String,
    /// Whether the stream is that of a job, which ends with it.
    is_of_job: bool,
    stream: Option<Messages<BufReader<Box<dyn Read>>>>,
    last: Option<EventId>,
    pause: Duration,
    /// Failures since the last message.
    failures: u32,
    /// The first of them.
    failing_since: Option<Instant>,
    patience: Duration,
    is_over: bool,
    wait: fn(Duration),
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("path", &self.path)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(connection: Connection, path: String, is_of_job: bool) -> Self {
        Self {
            connection,
            path,
            is_of_job,
            stream: None,
            last: None,
            pause: PAUSE,
            failures: 0,
            failing_since: None,
            patience: PATIENCE,
            is_over: false,
            wait: thread::sleep,
        }
    }

    /// Begins after an event that is known already: the last one that had an id.
    #[must_use]
    pub fn after(mut self, id: EventId) -> Self {
        self.last = Some(id);
        self
    }

    /// Gives up when no connection has brought anything for this long; by default 10 minutes.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The next message, over the connection that is open, or a new one.
    fn message(&mut self) -> Result<Message, Error> {
        let url = self.connection.at(&self.path);
        let failed = |reason: String| Error::Transport {
            url: url.clone(),
            reason,
        };
        if self.stream.is_none() {
            let after = self.last.map(|id| id.to_string());
            let stream = self.connection.stream(&self.path, after.as_deref())?;
            self.stream = Some(Messages::new(BufReader::new(Box::new(stream))));
        }
        let Some(stream) = &mut self.stream else {
            return Err(failed("there is no connection".into()));
        };
        match stream.next() {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(failed("the stream has ended".into())),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Err(Error::Malformed {
                url,
                reason: e.to_string(),
            }),
            Err(e) => Err(failed(e.to_string())),
        }
    }

    /// Waits before the next try, or gives the error that is the end.
    fn recover(&mut self, error: Error) -> Result<(), Error> {
        self.stream = None;
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if !error.is_transient() || since.elapsed() >= self.patience {
            return Err(error);
        }
        let doubled = self
            .pause
            .saturating_mul(1 << self.failures.min(16))
            .min(PAUSE_MAX);
        self.failures += 1;
        // Clients that have lost one service do not all come back at one moment.
        let pause = doubled / 2 + random_part(doubled / 2);
        (self.wait)(pause.max(error.retry_after().unwrap_or_default().min(PAUSE_MAX)));
        Ok(())
    }

    /// The event of a message; none if it is of a kind that this release does not know.
    fn event(&mut self, message: &Message) -> Result<Option<Received>, Error> {
        self.failures = 0;
        self.failing_since = None;
        if let Some(ms) = message.retry_ms {
            self.pause = Duration::from_millis(ms).clamp(PAUSE_MIN, PAUSE_MAX);
        }
        let id = message
            .id
            .as_deref()
            .filter(|id| id.len() <= ID_BYTES_MAX)
            .and_then(|id| id.parse().ok());
        let event = match serde_json::from_str::<Event>(&message.data) {
            Ok(event) => Some(event),
            Err(e) => {
                let known = serde_json::from_str::<Kind>(&message.data);
                if known.is_ok_and(|kind| !NAMES.contains(&kind.name.as_str())) {
                    None
                } else {
                    return Err(Error::Malformed {
                        url: self.connection.at(&self.path),
                        reason: format!("an event is none: {e}"),
                    });
                }
            }
        };
        self.last = id.or(self.last);
        Ok(event.map(|event| {
            self.is_over = self.is_of_job && is_last(&event.news);
            Received { id, event }
        }))
    }
}

impl Iterator for Events {
    type Item = Result<Received, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let event = self.message().and_then(|message| self.event(&message));
            let ended = match event {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => continue,
                Err(error) => self.recover(error),
            };
            if let Err(error) = ended {
                self.is_over = true;
                return Some(Err(error));
            }
        }
        self.stream = None;
        None
    }
}

/// Whether nothing comes after an event of a job. An interrupted job goes on at the next start of
/// its service.
fn is_last(news: &News) -> bool {
    match news {
        News::Snapshot { now } => now.state.is_final(),
        News::State { state, .. } => state.is_final(),
        _ => false,
    }
}

/// What each event says of itself.
#[derive(serde::Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    name: String,
}

/// The kinds of events that this release knows.
const NAMES: [&str; 13] = [
    "snapshot", "state", "cut", "planned", "joined", "left", "started", "accepted", "revoked", "retrying",
    "reopened", "notice", "service",
];

/// Some time from none to this much.
fn random_part(most: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    most.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static WAITED: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

    fn events() -> Events {
        let connection = Connection::new("http://127.0.0.1:9").unwrap();
        let mut events = Events::new(connection, "/v1/events".into(), false);
        events.wait = |pause| WAITED.lock().unwrap().push(pause);
        events
    }

    #[test]
    fn pauses_grow_to_a_minute_and_have_an_end() {
        let mut events = events();
        let lost = || Error::Transport {
            url: String::new(),
            reason: String::new(),
        };
        for _ in 0..12 {
            events.recover(lost()).unwrap();
        }
        let waited = std::mem::take(&mut *WAITED.lock().unwrap());
        for (n, pause) in waited.iter().enumerate() {
            let most = PAUSE.saturating_mul(1 << n).min(PAUSE_MAX);
            assert!(*pause >= most / 2 && *pause <= most, "{n}: {pause:?}");
        }
        events.patience = Duration::ZERO;
        assert!(events.recover(lost()).is_err());
        let mut other = self::events();
        assert!(other.recover(Error::Key).is_err(), "trying again would not help");
    }

    #[test]
    fn events_of_a_later_release_are_passed_over_and_broken_ones_are_not() {
        let mut events = events();
        let mut take = |id: &str, data: &str| {
            events.event(&Message {
                id: Some(id.into()),
                data: data.into(),
                retry_ms: Some(0),
            })
        };
        assert_eq!(
            take("1-1", r#"{"at_ms":1,"type":"applause","for":"all"}"#).unwrap(),
            None
        );
        take("1-2", r#"{"at_ms":1,"type":"left"}"#).unwrap_err();
        take("1-2", "[]").unwrap_err();
        let left = take("no id", r#"{"at_ms":1,"type":"left","machine":2,"more":1}"#)
            .unwrap()
            .unwrap();
        assert_eq!((left.id, left.event.news), (None, News::Left { machine: 2 }));
        assert_eq!(
            events.last,
            "1-1".parse().ok(),
            "it stays at the last that is one"
        );
        assert_eq!(events.pause, PAUSE_MIN);
    }

    #[test]
    fn the_names_are_those_of_all_events() {
        let named = |news: News| assert!(NAMES.contains(&news.name()));
        named(News::Left { machine: 1 });
        named(News::Notice { text: String::new() });
        for name in NAMES {
            let data = format!(r#"{{"at_ms":1,"type":{name:?}}}"#);
            let error = serde_json::from_str::<Event>(&data).unwrap_err().to_string();
            assert!(error.starts_with("missing field"), "{name}: {error}");
        }
        let error = serde_json::from_str::<Event>(r#"{"at_ms":1,"type":"x"}"#)
            .unwrap_err()
            .to_string();
        for name in NAMES {
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
        assert_eq!(error.matches('`').count() / 2, NAMES.len() + 1, "{error}");
    }
}
