//! Jobs: submits, lists, shows and cancels them, and gives out their proofs.

use std::path::PathBuf;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use myriad_api::{IDEMPOTENCY_KEY, Kind};
use myriad_core::JobId;
use tokio::task::spawn_blocking;

use super::{
    App, Stage,
    errors::document,
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
        self.intake.check(announced)?;
        let grant = grant.ok_or_else(|| {
            Refusal::new(
                Kind::Internal,
                "the request has passed without a key, which is a bug in myriad",
            )
        })?;
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
    blocking(move || Ok(document(StatusCode::OK, &app.board.list(&filter)))).await
}

/// `GET /v1/jobs/{id}`.
pub(super) async fn job(State(app): State<App>, Id(id): Id) -> Result<Response, Refusal> {
    blocking(move || {
        let job = app.board.job(id).ok_or_else(|| no_job(id))?;
        Ok(document(StatusCode::OK, &job))
    })
    .await
}

/// `GET /v1/jobs/{id}/tasks`.
pub(super) async fn tasks(State(app): State<App>, Id(id): Id) -> Result<Response, Refusal> {
    blocking(move || {
        let tasks = app.board.tasks(id).ok_or_else(|| no_job(id))?;
        Ok(document(StatusCode::OK, &tasks))
    })
    .await
}

/// `DELETE /v1/jobs/{id}`.
pub(super) async fn cancel(State(app): State<App>, Id(id): Id) -> Result<Response, Refusal> {
    blocking(move || Ok(document(StatusCode::ACCEPTED, &app.intake.jobs.cancel(id)?))).await
}

/// `GET /v1/jobs/{id}/proof`.
pub(super) async fn proof(
    State(app): State<App>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (proof, _) = files_of(app, id).await?;
    files::answer(&proof, &headers).await
}

/// `GET /v1/jobs/{id}/baseline`.
pub(super) async fn baseline(
    State(app): State<App>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (_, baseline) = files_of(app, id).await?;
    let baseline = baseline.ok_or_else(|| {
        Refusal::new(
            Kind::NotFound,
            format!("job {id} has no baseline: its engine's proofs are verified without one"),
        )
    })?;
    files::answer(&baseline, &headers).await
}

/// The files of a job that is done.
async fn files_of(app: App, id: JobId) -> Result<(PathBuf, Option<PathBuf>), Refusal> {
    blocking(move || {
        let job = app.board.job(id).ok_or_else(|| no_job(id))?;
        app.board.files(id).ok_or_else(|| {
            Refusal::new(
                Kind::Conflict,
                format!("job {id} is {}: it has no proof", job.state.as_str()),
            )
        })
    })
    .await
}

/// Answers in a thread that may wait.
async fn blocking<T: Send + 'static>(
    answer: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(answer).await.unwrap_or_else(|_| {
        Err(Refusal::new(
            Kind::Internal,
            "a bug in myriad kept this request from being answered; the service's log says more",
        ))
    })
}
