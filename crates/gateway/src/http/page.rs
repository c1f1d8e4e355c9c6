//! The page of the service.

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri};
use myriad_api::Kind;

use super::assets;
use crate::{page, refusal::Refusal};

/// `GET /` and the other files of the page.
pub(super) async fn file(uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    let file = page::file(uri.path())
        .ok_or_else(|| Refusal::new(Kind::NotFound, "the page has no such file; it begins at /"))?;
    let media_type = HeaderValue::from_static(file.media_type);
    let bytes = Bytes::from_static(file.bytes);
    Ok(assets::answer(media_type, bytes, &file.etag, &headers))
}
