//! What every request passes: its host, its key, and what browsers are told.

use std::{net::IpAddr, panic::AssertUnwindSafe, time::Duration};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, uri::Authority};
use http_body_util::BodyExt as _;
use myriad_api::{IDEMPOTENCY_KEY, Kind};
use tokio::time::{Instant, timeout};

use super::{App, extract::Peer};
use crate::{
    keys::{self, Grant, Role},
    page,
    refusal::Refusal,
};

/// Browsers remember for so many seconds what an origin may ask.
const CORS_AGE: &str = "600";
/// Most bytes, and most time, of a body that is read for nothing.
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_secs(1);

/// The outermost of all: counts the request, and answers it whatever happens.
pub(super) async fn all(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match check(&app, &mut request) {
        Err(refusal) => refusal.into_response(),
        Ok(()) if is_preflight(&request) && allowed_origin(&app, origin.as_ref()).is_some() => preflight(),
        Ok(()) => {
            let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            answered.unwrap_or_else(|_| {
                tracing::error!(%method, route = route.as_ref().map(MatchedPath::as_str), "a handler has panicked");
                Refusal::new(
                    Kind::Internal,
                    "a bug in myriad kept this request from being answered; the service's log says more",
                )
                .into_response()
            })
        }
    };
    headers(response.headers_mut());
    cross_origin(&app, origin.as_ref(), response.headers_mut());
    app.metrics.request(
        &method,
        route.as_ref().map(MatchedPath::as_str),
        response.status(),
        begun.elapsed(),
    );
    response
}

/// The host of a request, and what no handler looks at.
fn check(app: &App, request: &mut Request) -> Result<(), Refusal> {
    let named = host(request.uri(), request.headers());
    if named.is_none() && request.version() >= Version::HTTP_11 {
        return Err(Refusal::new(
            Kind::BadRequest,
            "the request has no usable header `Host`; HTTP/1.1 needs one",
        ));
    }
    refuse_cross_site(app, request)?;
    let named = named.unwrap_or_default();
    if !is_ours(app, &named) {
        let named: String = named.chars().take(60).collect();
        return Err(Refusal::new(
            Kind::Misdirected,
            format!(
                "the request is for the host {named:?}, and the service is localhost; if it has this name, too, start it \
                 with `--host {named}`"
            ),
        ));
    }
    Ok(())
}

/// Whether a host is one of the service's. A page that lets its own name point here has a name that
/// is none of them, and cannot have an address for a name.
fn is_ours(app: &App, named: &str) -> bool {
    let hosts = &app.config.hosts;
    if !app.is_loopback && (hosts.is_empty() || is_address(named)) {
        return true;
    }
    ["localhost", "127.0.0.1", "[::1]"].contains(&named)
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(named))
}

fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse::<IpAddr>().is_ok()
}

/// Refuses what the page of another site makes a browser ask for, unless its origin may.
fn refuse_cross_site(app: &App, request: &Request) -> Result<(), Refusal> {
    let path = request.uri().path();
    let is_of_api = path == "/v1" || path.starts_with("/v1/") || path == "/metrics";
    let headers = request.headers();
    let is_cross_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site"));
    if !is_of_api || !is_cross_site || allowed_origin(app, headers.get(header::ORIGIN)).is_some() {
        return Ok(());
    }
    Err(Refusal::new(
        Kind::Forbidden,
        "a browser asks for this for a page of another site, whose origin is not allowed; if it is to be, start the \
         service with `--allow-origin` and that origin",
    ))
}

/// The host that a request names, without its port, in lower case.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(host) = uri.host() {
        return Some(host.to_ascii_lowercase());
    }
    let mut named = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return None;
    };
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    // A user before the host is no part of a Host.
    (!host.as_bytes().contains(&b'@')).then(|| authority.host().to_ascii_lowercase())
}

/// Where reads need a key, one that is valid; what has a key, a valid one in any case.
pub(super) async fn read(State(app): State<App>, peer: Peer, request: Request, next: Next) -> Response {
    guarded(app, peer, request, next, Role::Read).await
}

/// A key that may submit.
pub(super) async fn submit(State(app): State<App>, peer: Peer, request: Request, next: Next) -> Response {
    guarded(app, peer, request, next, Role::Submit).await
}

async fn guarded(app: App, Peer(address): Peer, mut request: Request, next: Next, role: Role) -> Response {
    let mut presented = request.headers().get_all(header::AUTHORIZATION).iter();
    let key = presented.next().map(HeaderValue::as_bytes);
    if presented.next().is_some() {
        return Refusal::new(
            Kind::BadRequest,
            "the request has more than one header `Authorization`",
        )
        .into_response();
    }
    let needs_one = role == Role::Submit || app.config.private;
    match identified(&app, key, address, needs_one.then_some(role)) {
        Ok(grant) => {
            if let Some(grant) = grant {
                request.extensions_mut().insert(grant);
            }
            next.run(request).await
        }
        Err(refusal) => {
            linger(request).await;
            refusal.into_response()
        }
    }
}

fn identified(
    app: &App,
    key: Option<&[u8]>,
    address: IpAddr,
    needed: Option<Role>,
) -> Result<Option<Grant>, Refusal> {
    let grant = app.keys.identify(key, address)?;
    match (&grant, needed) {
        (Some(grant), Some(role)) => grant.require(role)?,
        (None, Some(_)) => return Err(keys::no_key()),
        (_, None) => {}
    }
    Ok(grant)
}

/// Reads a little of the body of a request that is refused: a client that still sends when the
/// connection ends may not see why.
pub(super) async fn linger(request: Request) {
    // This client waits for a word before it sends.
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    let mut body = request.into_body();
    let read = async {
        let mut left = LINGER_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = timeout(LINGER, read).await;
}

/// What all answers have.
fn headers(headers: &mut HeaderMap) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The origin of a request, if its pages may ask.
fn allowed_origin<'a>(app: &App, origin: Option<&'a HeaderValue>) -> Option<&'a HeaderValue> {
    let origin = origin?;
    let is_allowed = |allowed: &String| allowed == "*" || allowed.as_bytes() == origin.as_bytes();
    app.config.origins.iter().any(is_allowed).then_some(origin)
}

fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, DELETE"),
    );
    let allowed = format!("authorization, content-type, {IDEMPOTENCY_KEY}, last-event-id, range, if-range");
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_str(&allowed).expect("it is ASCII"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(CORS_AGE));
    response
}

/// Tells a browser whether a page of another origin may see the answer.
fn cross_origin(app: &App, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if app.config.origins.is_empty() {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = allowed_origin(app, origin) else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    let exposed = "location, etag, content-range, retry-after";
    headers.insert(
        HeaderName::from_static("access-control-expose-headers"),
        HeaderValue::from_static(exposed),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_names() {
        for address in ["10.1.2.3", "[2001:db8::1]", "127.0.0.1"] {
            assert!(is_address(address), "{address}");
        }
        for name in ["", "[]", "example.org", "10.1.2.3.example.org", "1.2.3"] {
            assert!(!is_address(name), "{name}");
        }
    }

    #[test]
    fn hosts_are_read_without_ports_and_users() {
        let of = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_static(host));
            }
            host(&Uri::from_static("/"), &headers)
        };
        assert_eq!(of(&["LOCALHOST:80"]).as_deref(), Some("localhost"));
        assert_eq!(of(&["[::1]:80"]).as_deref(), Some("[::1]"));
        assert_eq!(of(&["a@localhost"]), None);
        assert_eq!(of(&["localhost", "localhost"]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[""]), None);
        let absolute = Uri::from_static("http://example.org/x");
        assert_eq!(host(&absolute, &HeaderMap::new()).as_deref(), Some("example.org"));
    }
}
