//! Jobs: submits, lists, shows and cancels them, and gives out their proofs.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use myriad_api::{IDEMPOTENCY_KEY, Kind};
use myriad_core::JobId;
use tokio::task::spawn_blocking;

use super::{
    App, Stage,
    errors::{document, written},
    extract::{Id, filter},
    files, guard,
};
use crate::{
    intake::{Sender, Taken, no_job, stopping},
    keys::Grant,
    refusal::Refusal,
};

/// Most bytes of an idempotency key.
const KEY_BYTES_MAX: usize = 255;
/// Most documents of tasks that are kept: one has up to some megabytes.
const TASKS_KEPT: usize = 4;

/// `POST /v1/jobs`.
pub(super) async fn submit(State(app): State<App>, request: Request) -> Response {
    let headers = request.headers().clone();
    let grant = request.extensions().get::<Grant>().cloned();
    match app.check_submission(&headers, grant).await {
        Ok((admission, sender, content_type)) => {
            let body = request.into_body();
            let taken = async {
                let uploaded = app.intake.receive(body, &content_type, admission).await?;
                app.metrics.uploaded(uploaded.bytes);
                app.intake.submit(sender, uploaded).await
            };
            match taken.await {
                Ok(taken) => submitted(&taken),
                Err(refusal) => refusal.into_response(),
            }
        }
        Err(refusal) => {
            guard::linger(request).await;
            refusal.into_response()
        }
    }
}

fn submitted(taken: &Taken) -> Response {
    let status = match taken {
        Taken::New(_) => StatusCode::CREATED,
        Taken::Continued(_) => StatusCode::ACCEPTED,
        Taken::There(_) => StatusCode::OK,
    };
    let job = taken.job();
    let mut response = document(status, job);
    let place = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id)).expect("an id is hex");
    response.headers_mut().insert(header::LOCATION, place);
    response
}

impl super::Shared {
    /// Looks at the head of a submission, before any of its body is read.
    async fn check_submission(
        &self,
        headers: &HeaderMap,
        grant: Option<Grant>,
    ) -> Result<(crate::keys::Admission, Sender, String), Refusal> {
        if self.stage() != Stage::Serving {
            return Err(stopping());
        }
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .map_or(Ok(""), HeaderValue::to_str);
        let content_type = content_type
            .map_err(|_| Refusal::new(Kind::BadRequest, "the header `Content-Type` is not ASCII"))?
            .to_owned();
        let idempotency_key = idempotency_key(headers)?;
        // The connection's code has refused one that is no number.
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let grant = grant.ok_or_else(|| {
            Refusal::new(
                Kind::Internal,
                "the request has passed without a key, which is a bug in myriad",
            )
        })?;
        self.intake.check(&grant.name, announced)?;
        let owner = grant.name.clone();
        let jobs = self.intake.jobs.count_of(&owner) as u64;
        let keys = self.keys.clone();
        let admitted = spawn_blocking(move || keys.admit(&grant, jobs, announced)).await;
        let admission =
            admitted.map_err(|_| Refusal::new(Kind::Internal, "a bug in myriad ended this request"))??;
        let sender = Sender {
            owner,
            idempotency_key,
        };
        Ok((admission, sender, content_type))
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let bytes = key.as_bytes();
    let is_plain = bytes.iter().all(u8::is_ascii_graphic) && (1..=KEY_BYTES_MAX).contains(&bytes.len());
    match (key.to_str(), is_plain, keys.next()) {
        (Ok(key), true, None) => Ok(Some(key.to_owned())),
        _ => Err(Refusal::new(
            Kind::BadRequest,
            format!(
                "the header `{IDEMPOTENCY_KEY}` has {} bytes; one with 1 to {KEY_BYTES_MAX} visible ASCII characters is \
                 allowed, once",
                bytes.len()
            ),
        )),
    }
}

/// `GET /v1/jobs`.
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Response, Refusal> {
    let filter = filter(&uri)?;
    // Jobs of earlier starts are on the disk.
    let board = app.board.clone();
    app.reads
        .answer(move || Ok(document(StatusCode::OK, &board.list(&filter))))
        .await
}

/// `GET /v1/jobs/{id}`.
pub(super) async fn job(State(app): State<App>, Id(id): Id) -> Result<Response, Refusal> {
    if let Some(job) = app.board.job_in_mind(id) {
        return Ok(document(StatusCode::OK, &job));
    }
    let board = app.board.clone();
    let read = move || {
        let job = board.job(id).ok_or_else(|| no_job(id))?;
        Ok(document(StatusCode::OK, &job))
    };
    app.reads.answer(read).await
}

/// Documents of tasks, with their last events: those who read them slowly share them.
#[derive(Default)]
pub(super) struct LastTasks(Mutex<VecDeque<(JobId, String, Bytes)>>);

impl LastTasks {
    fn find(&self, id: JobId, event: &str) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = kept.iter().filter(|(of, at, _)| *of == id && at == event);
        found.next().map(|(_, _, written)| written.clone())
    }

    fn keep(&self, id: JobId, event: String, written: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, ..)| *of != id);
        kept.push_back((id, event, written));
        if kept.len() > TASKS_KEPT {
            kept.pop_front();
        }
    }
}

/// `GET /v1/jobs/{id}/tasks`.
pub(super) async fn tasks(State(app): State<App>, Id(id): Id) -> Result<Response, Refusal> {
    let last = app.board.last_event(id).map(|event| event.to_string());
    if let Some(written_before) = last.and_then(|event| app.tasks.find(id, &event)) {
        return Ok(written(StatusCode::OK, written_before));
    }
    let reader = Arc::clone(&app);
    let read = move || {
        let tasks = reader.board.tasks(id).ok_or_else(|| no_job(id))?;
        let json = Bytes::from(serde_json::to_vec(&tasks).expect("a document is plain data"));
        if let Some(event) = tasks.event {
            reader.tasks.keep(id, event, json.clone());
        }
        Ok(written(StatusCode::OK, json))
    };
    app.reads.answer(read).await
}

/// `DELETE /v1/jobs/{id}`.
pub(super) async fn cancel(
    State(app): State<App>,
    Id(id): Id,
    Extension(grant): Extension<Grant>,
) -> Result<Response, Refusal> {
    let jobs = Arc::clone(&app.intake.jobs);
    app.reads
        .answer(move || Ok(document(StatusCode::ACCEPTED, &jobs.cancel(id, &grant.name)?)))
        .await
}

/// `GET /v1/jobs/{id}/proof`.
pub(super) async fn proof(
    State(app): State<App>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (proof, _) = files_of(&app, id).await?;
    files::answer(&app.reads, &proof, &headers).await
}

/// `GET /v1/jobs/{id}/baseline`.
pub(super) async fn baseline(
    State(app): State<App>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (_, baseline) = files_of(&app, id).await?;
    let baseline = baseline.ok_or_else(|| {
        Refusal::new(
            Kind::NotFound,
            format!("job {id} has no baseline: its engine's proofs are verified without one"),
        )
    })?;
    files::answer(&app.reads, &baseline, &headers).await
}

/// The files of a job that is done.
async fn files_of(app: &App, id: JobId) -> Result<(PathBuf, Option<PathBuf>), Refusal> {
    let board = app.board.clone();
    let read = move || {
        let job = board.job(id).ok_or_else(|| no_job(id))?;
        board.files(id).ok_or_else(|| {
            Refusal::new(
                Kind::Conflict,
                format!("job {id} is {}: it has no proof", job.state.as_str()),
            )
        })
    };
    app.reads.answer(read).await
}
