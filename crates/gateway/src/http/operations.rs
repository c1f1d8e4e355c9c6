//! The operations of the API, as the description has them and the router serves them.

use myriad_api::Kind;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Open,
    /// Everybody, unless the service is private: then whoever has a key.
    Read,
    /// Whoever has a key that may submit.
    Submit,
}

/// An operation.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) id: &'static str,
    pub(super) method: &'static str,
    /// The template of its path.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) parameters: &'static [Parameter],
    pub(super) answers: &'static [Answer],
    /// The kinds of problems of this operation, beside those of all.
    problems: &'static [Kind],
}

/// What a request may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Id,
    Kind,
    State,
    Before,
    Limit,
    IdempotencyKey,
    LastEventId,
    Range,
}

/// An answer that is no problem.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) what: &'static str,
    pub(super) media_type: Option<&'static str>,
    /// The name of the document's schema.
    pub(super) document: Option<&'static str>,
}

impl Operation {
    /// The kinds of problems that it may answer with, by their statuses.
    pub(super) fn all_problems(&self) -> Vec<Kind> {
        let of_guard: &[Kind] = match self.access {
            Access::Open => &[],
            Access::Read | Access::Submit => &[Kind::Unauthorized, Kind::Forbidden, Kind::QuotaExceeded],
        };
        let of_all = [Kind::BadRequest, Kind::Misdirected, Kind::Internal];
        let mut kinds = [&of_all, of_guard, self.problems].concat();
        kinds.sort_by_key(|kind| (kind.status(), kind.as_str()));
        kinds.dedup();
        kinds
    }

    const fn new(
        id: &'static str,
        (method, path): (&'static str, &'static str),
        access: Access,
        summary: &'static str,
    ) -> Self {
        Self {
            id,
            method,
            path,
            summary,
            access,
            parameters: &[],
            answers: &[],
            problems: &[],
        }
    }

    const fn takes(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    const fn answers(mut self, answers: &'static [Answer]) -> Self {
        self.answers = answers;
        self
    }

    const fn fails(mut self, problems: &'static [Kind]) -> Self {
        self.problems = problems;
        self
    }
}

const fn json(status: u16, what: &'static str, document: &'static str) -> Answer {
    Answer {
        status,
        what,
        media_type: Some("application/json"),
        document: Some(document),
    }
}

const fn other(status: u16, what: &'static str, media_type: Option<&'static str>) -> Answer {
    Answer {
        status,
        what,
        media_type,
        document: None,
    }
}

const FILE: &[Answer] = &[
    other(200, "The file.", Some("application/octet-stream")),
    other(
        206,
        "The range of the file that was asked for.",
        Some("application/octet-stream"),
    ),
    other(304, "The client has this version of the file.", None),
];
const EVENTS: &[Answer] = &[Answer {
    status: 200,
    what: "Server-sent events without an end: `event` is the type of the document in `data`.",
    media_type: Some("text/event-stream"),
    document: Some("Event"),
}];
const PAGE: &[Answer] = &[other(200, "A page.", Some("text/html"))];

/// All operations.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("submit", ("POST", "/v1/jobs"), Access::Submit, "Submits a job")
        .takes(&[Parameter::IdempotencyKey])
        .answers(&[
            json(200, "The job was there: it is being proven, or done.", "Job"),
            json(201, "The job is new. `Location` has its path.", "Job"),
            json(
                202,
                "The job had failed, or was cancelled or interrupted, and is continued.",
                "Job",
            ),
        ])
        .fails(&[
            Kind::Conflict,
            Kind::TooLarge,
            Kind::UnsupportedMediaType,
            Kind::Invalid,
            Kind::KeyReused,
            Kind::Unavailable,
            Kind::DiskFull,
        ]),
    Operation::new(
        "jobs",
        ("GET", "/v1/jobs"),
        Access::Read,
        "Lists jobs, those submitted last first",
    )
    .takes(&[Parameter::State, Parameter::Before, Parameter::Limit])
    .answers(&[json(200, "A part of the list.", "JobList")]),
    Operation::new(
        "job",
        ("GET", "/v1/jobs/{id}"),
        Access::Read,
        "Says how far a job is",
    )
    .takes(&[Parameter::Id])
    .answers(&[json(200, "The job.", "Job")])
    .fails(&[Kind::NotFound]),
    Operation::new(
        "cancel",
        ("DELETE", "/v1/jobs/{id}"),
        Access::Submit,
        "Cancels a job",
    )
    .takes(&[Parameter::Id])
    .answers(&[json(202, "The job as it is: it ends soon.", "Job")])
    .fails(&[Kind::NotFound, Kind::Conflict]),
    Operation::new(
        "tasks",
        ("GET", "/v1/jobs/{id}/tasks"),
        Access::Read,
        "Says which machine does which task of a job",
    )
    .takes(&[Parameter::Id])
    .answers(&[json(200, "The tasks.", "Tasks")])
    .fails(&[Kind::NotFound]),
    Operation::new(
        "proof",
        ("GET", "/v1/jobs/{id}/proof"),
        Access::Read,
        "Gives out the final proof of a job",
    )
    .takes(&[Parameter::Id, Parameter::Range])
    .answers(FILE)
    .fails(&[Kind::NotFound, Kind::Conflict, Kind::RangeNotSatisfiable]),
    Operation::new(
        "baseline",
        ("GET", "/v1/jobs/{id}/baseline"),
        Access::Read,
        "Gives out the baseline of a final proof",
    )
    .takes(&[Parameter::Id, Parameter::Range])
    .answers(FILE)
    .fails(&[Kind::NotFound, Kind::Conflict, Kind::RangeNotSatisfiable]),
    Operation::new(
        "job_events",
        ("GET", "/v1/jobs/{id}/events"),
        Access::Read,
        "Streams the events of a job",
    )
    .takes(&[Parameter::Id, Parameter::LastEventId])
    .answers(EVENTS)
    .fails(&[Kind::NotFound, Kind::Unavailable]),
    Operation::new(
        "events",
        ("GET", "/v1/events"),
        Access::Read,
        "Streams the events of the whole service",
    )
    .takes(&[Parameter::LastEventId])
    .answers(EVENTS)
    .fails(&[Kind::Unavailable]),
    Operation::new(
        "peers",
        ("GET", "/v1/peers"),
        Access::Read,
        "Lists the connected peers",
    )
    .answers(&[json(200, "The peers.", "Peers")])
    .fails(&[Kind::Unavailable]),
    Operation::new(
        "service",
        ("GET", "/v1/service"),
        Access::Read,
        "Says what the service is and does",
    )
    .answers(&[json(200, "The service.", "Service")])
    .fails(&[Kind::Unavailable]),
    Operation::new(
        "healthz",
        ("GET", "/healthz"),
        Access::Open,
        "Says that the process lives",
    )
    .answers(&[other(200, "It lives.", Some("text/plain"))]),
    Operation::new(
        "readyz",
        ("GET", "/readyz"),
        Access::Open,
        "Says whether the service takes jobs",
    )
    .answers(&[other(200, "It does.", Some("text/plain"))])
    .fails(&[Kind::Unavailable]),
    Operation::new(
        "metrics",
        ("GET", "/metrics"),
        Access::Read,
        "Figures for Prometheus",
    )
    .answers(&[other(
        200,
        "The figures, in OpenMetrics' text format.",
        Some("application/openmetrics-text"),
    )]),
    Operation::new(
        "openapi",
        ("GET", "/openapi.json"),
        Access::Open,
        "This description",
    )
    .answers(&[other(200, "The description.", Some("application/json"))]),
    Operation::new(
        "docs",
        ("GET", "/docs"),
        Access::Open,
        "Leads to the viewer of this description",
    )
    .answers(&[other(308, "The viewer is at `/docs/`.", None)]),
    Operation::new("page", ("GET", "/"), Access::Open, "The page of the service").answers(PAGE),
    Operation::new(
        "problem",
        ("GET", "/problems/{kind}"),
        Access::Open,
        "Says what a kind of problem is",
    )
    .takes(&[Parameter::Kind])
    .answers(&[other(200, "What the kind is.", Some("text/plain"))])
    .fails(&[Kind::NotFound]),
];
