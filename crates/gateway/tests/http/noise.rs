//! Requests at random: none is a fault of the service, and every refusal is a problem document.

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use proptest::{prelude::*, test_runner::TestRunner};
use tower_service::Service as _;

use crate::site::Site;

const PIECES: [&str; 24] = [
    "/",
    "v1",
    "jobs",
    "events",
    "peers",
    "service",
    "tasks",
    "proof",
    "baseline",
    "..",
    ".",
    "%2e%2e",
    "%2f",
    "%00",
    "%ff",
    "docs",
    "problems",
    "too-large",
    "metrics",
    "healthz",
    "readyz",
    "?state=done",
    "?limit=5&before=x",
    "index.html",
];
const ID: &str = "00000000000000000000000000000000000000000000000000000000000000ab";

fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES.to_vec()).prop_map(ToOwned::to_owned),
        2 => Just(ID.to_owned()),
        1 => prop::collection::vec(0x21u8..0x7f, 0..12)
            .prop_map(|bytes| bytes.into_iter().map(char::from).filter(|c| *c != '#').collect()),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("/{}", pieces.join("/")))
}

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let names = vec![
        "host",
        "authorization",
        "content-type",
        "content-length",
        "idempotency-key",
        "last-event-id",
        "range",
        "if-range",
        "if-none-match",
        "origin",
        "access-control-request-method",
        "expect",
        "x",
    ];
    let values = vec![
        "localhost",
        "bytes=0-",
        "bytes=-1",
        "multipart/form-data; boundary=xYzZy",
        "multipart/form-data",
        "5-7",
        "*",
        "",
        "Bearer x",
        "https://a.example",
        "100-continue",
        "18446744073709551616",
    ];
    let value = prop_oneof![
        3 => prop::sample::select(values).prop_map(|value| value.as_bytes().to_vec()),
        1 => prop::collection::vec(0x20u8..=0xff, 0..40).prop_map(|mut bytes| {
            bytes.retain(|byte| *byte != 0x7f);
            bytes
        }),
    ];
    (prop::sample::select(names).prop_map(ToOwned::to_owned), value)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"--xYzZy\r\n".to_vec()),
        Just(b"\r\n--xYzZy\r\n".to_vec()),
        Just(b"\r\n--xYzZy--".to_vec()),
        Just(b"content-disposition: form-data; name=program; filename=\"a.b\"\r\n\r\n".to_vec()),
        Just(b"content-disposition: form-data; name=job\r\n\r\n{\"priority\": 1}".to_vec()),
        Just(b"content-disposition: form-data; name=input\r\n\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..50),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

#[test]
fn no_request_is_a_fault_and_every_refusal_is_a_document() {
    let site = Site::new();
    let bearer = site.bearer();
    let methods = vec![
        "GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS", "TRACE", "CONNECT", "BREW",
    ];
    let request = (
        prop::sample::select(methods),
        prop_oneof![2 => path(), 1 => Just("/v1/jobs".to_owned())],
        prop::collection::vec(header(), 0..5),
        any::<bool>(),
        body(),
    );
    // Requests without a host or with a wrong key are refused before anything else, and wrong keys
    // are counted: most have neither.
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&request, |(method, path, headers, plain, body)| {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(&path);
        if plain {
            request = request
                .header("host", "localhost")
                .header("authorization", &bearer)
                .header("content-type", "multipart/form-data; boundary=xYzZy");
        }
        let is_dropped = |name: &str| plain && ["host", "authorization", "content-type"].contains(&name);
        for (name, value) in headers.iter().filter(|(name, _)| !is_dropped(name)) {
            request = request.header(name, value.as_slice());
        }
        // Not all of these are paths or headers of HTTP at all.
        let Ok(request) = request.body(Body::from(body)) else {
            return Ok(());
        };
        site.block_on(async {
            let response = site.router.clone().call(request).await.unwrap();
            let status = response.status();
            prop_assert_ne!(status.as_u16(), 500, "{} {}", method, path);
            if status.is_client_error() || status.is_server_error() {
                let kind = response.headers().get("content-type").cloned();
                prop_assert_eq!(
                    kind.unwrap(),
                    "application/problem+json",
                    "{} {} {}",
                    method,
                    path,
                    status
                );
                if method != "HEAD" {
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    prop_assert_eq!(&problem["status"], status.as_u16());
                }
            }
            Ok(())
        })
    });
    outcome.unwrap();
    assert_eq!(site.uploads(), 0);
}
