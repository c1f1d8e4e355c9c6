//! The body of an upload: it comes as fast as it has to, is no larger than it may be, and counts in
//! its key's quota.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use myriad_api::{Kind, Problem};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::{keys::Admission, limits::Limits, refusal::Refusal};

/// So many bytes are counted at once.
const COUNT_BYTES: u64 = 1 << 20;

/// The body, as fast as it has to come.
pub(super) struct Pieces<'a> {
    body: Body,
    limits: &'a Limits,
    begun: Instant,
    bytes: u64,
    /// Away while a thread counts.
    admission: Option<Admission>,
    /// Bytes that are not counted yet.
    uncounted: u64,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(body: Body, limits: &'a Limits, admission: Admission) -> Self {
        Self {
            body,
            limits,
            begun: Instant::now(),
            bytes: 0,
            admission: Some(admission),
            uncounted: 0,
        }
    }

    /// Counts the bytes that came, in the quota of the key.
    async fn count(&mut self) -> Result<(), Refusal> {
        let mut admission = self.admission.take().ok_or_else(gone)?;
        let bytes = std::mem::take(&mut self.uncounted);
        let counted = spawn_blocking(move || admission.upload(bytes).map(|()| admission)).await;
        self.admission = Some(counted.map_err(|_| gone())??);
        Ok(())
    }

    pub(super) async fn end(mut self) -> Result<(u64, Admission), Refusal> {
        self.count().await?;
        Ok((self.bytes, self.admission.take().ok_or_else(gone)?))
    }

    fn too_long(&self) -> String {
        format!(
            "the upload takes more than the {} s that one may take; send it by a faster connection",
            self.limits.upload_time.as_secs_f32()
        )
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let stall = self.limits.stall;
            let left = self.limits.upload_time.saturating_sub(self.begun.elapsed());
            let frame = timeout(stall.min(left), self.body.frame()).await.map_err(|_| {
                bad(if left <= stall {
                    self.too_long()
                } else {
                    format!(
                        "the upload has stalled for {} s; send it again",
                        stall.as_secs_f32()
                    )
                })
            })?;
            if left.is_zero() {
                return Err(bad(self.too_long()).into());
            }
            let data = match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(bad("the body has ended early").into()),
                Some(Ok(frame)) => frame.into_data(),
            };
            // Trailers are of no use.
            let Ok(data) = data else { continue };
            self.bytes += data.len() as u64;
            if self.bytes > self.limits.upload_bytes {
                return Err(too_large("the upload", self.limits.upload_bytes).into());
            }
            let enough = Duration::from_secs_f64(self.bytes as f64 / self.limits.upload_rate.max(1) as f64);
            if self.begun.elapsed() > stall + enough {
                let detail = format!(
                    "the upload comes with less than {} bytes a second; send it by a faster connection",
                    self.limits.upload_rate
                );
                return Err(bad(detail).into());
            }
            self.uncounted += data.len() as u64;
            if self.uncounted >= COUNT_BYTES {
                self.count().await?;
            }
            return Ok(Some(data));
        }
    }
}

/// The thread that had it has ended without a word.
fn gone() -> Problem {
    Problem::new(
        Kind::Internal,
        "a bug in myriad ended this upload; the service's log says more",
    )
}

/// The problem of an upload, or a part, that is too large.
pub(super) fn too_large(what: &str, bytes_max: u64) -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("{what} has more than the {bytes_max} bytes that are allowed"),
    )
}

pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadRequest, detail)
}
