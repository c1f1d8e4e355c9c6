//! The description of the API (OpenAPI 3.1), and the viewer of it.

use std::{borrow::Cow, sync::Arc};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use myriad_api::{
    Event, IDEMPOTENCY_KEY, Job, JobList, JobRequest, Kind, MEDIA_TYPE, Peers, Problem, Service, Tasks,
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;
use utoipa_swagger_ui::Config;

use super::{
    App, assets,
    errors::written,
    operations::{Access, Answer, OPERATIONS, Operation, Parameter},
};
use crate::refusal::Refusal;

/// The viewer draws with styles of its own, and has its images in them.
const VIEWER_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; \
                             form-action 'none'; frame-ancestors 'none'";

/// The documents of the API, with all that they consist of.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Event, Job, JobList, JobRequest, Kind, Peers, Problem, Service, Tasks)))]
struct Documents;

/// `GET /openapi.json`.
pub(super) async fn description(State(app): State<App>) -> Response {
    written(StatusCode::OK, app.description.clone())
}

/// `GET /docs`, `GET /docs/` and the files below.
pub(super) async fn viewer(uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    let Some(path) = uri.path().strip_prefix("/docs/") else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        let place = HeaderValue::from_static("/docs/");
        response.headers_mut().insert(header::LOCATION, place);
        return Ok(response);
    };
    let nothing = || Refusal::new(Kind::NotFound, "the viewer has no such file; it begins at /docs/");
    let config = Config::from("/openapi.json");
    let file = utoipa_swagger_ui::serve(path, Arc::new(config))
        .ok()
        .flatten()
        .ok_or_else(nothing)?;
    let media_type = HeaderValue::from_str(&file.content_type).map_err(|_| nothing())?;
    let tag = format!("\"{}\"", &blake3::hash(&file.bytes).to_hex()[..16]);
    // Those who read slowly share what is part of the program.
    let bytes = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let mut response = assets::answer(media_type, bytes, &tag, &headers);
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(VIEWER_POLICY),
    );
    Ok(response)
}

/// The description, of the table of operations.
pub(super) fn describe(build: &str, private: bool) -> Value {
    let documents = serde_json::to_value(Documents::openapi()).expect("a description is plain data");
    let mut components = documents["components"].clone();
    components["securitySchemes"] = json!({
        "key": {"type": "http", "scheme": "bearer", "description": "A key that `myriad keys add` has printed."},
    });
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[operation.method.to_ascii_lowercase()] = of_operation(operation, private);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Myriad",
            "version": "1",
            "description": format!("The HTTP API of Myriad's service, version 1, as {build} serves it. Every error is a \
                problem document (RFC 9457)."),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": components,
    })
}

fn of_operation(operation: &Operation, private: bool) -> Value {
    let mut responses = Map::new();
    for Answer {
        status,
        what,
        media_type,
        document,
    } in operation.answers
    {
        let mut answer = json!({"description": what});
        if let Some(media_type) = media_type {
            answer["content"] = json!({*media_type: match document {
                Some(document) => json!({"schema": schema(document)}),
                None => json!({}),
            }});
        }
        responses.insert(status.to_string(), answer);
    }
    // Kinds with the same status share their place.
    for kind in operation.all_problems() {
        let answer = responses.entry(kind.status().to_string()).or_insert_with(
            || json!({"description": "", "content": {MEDIA_TYPE: {"schema": schema("Problem")}}}),
        );
        let said = answer["description"].as_str().unwrap_or_default();
        let separator = if said.is_empty() { "" } else { "; " };
        answer["description"] = format!("{said}{separator}{}: {}", kind.as_str(), kind.title()).into();
    }
    let parameters: Vec<_> = operation.parameters.iter().map(of_parameter).collect();
    let security = match operation.access {
        Access::Open => json!([]),
        Access::Read if private => json!([{"key": []}]),
        Access::Read => json!([{}, {"key": []}]),
        Access::Submit => json!([{"key": []}]),
    };
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
        "security": security,
    });
    if operation.id == "submit" {
        described["requestBody"] = submission();
    }
    described
}

fn schema(document: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{document}")})
}

fn of_parameter(parameter: &Parameter) -> Value {
    let (name, place, what) = match parameter {
        Parameter::Id => ("id", "path", "The job's id: 64 digits of lower-case hex."),
        Parameter::Kind => ("kind", "path", "The kind of a problem."),
        Parameter::State => ("state", "query", "Only jobs in this state."),
        Parameter::Before => (
            "before",
            "query",
            "The `next` of the part of the list before this one.",
        ),
        Parameter::Limit => (
            "limit",
            "query",
            "The most jobs, 1 to 1,000; 100 if it is not given.",
        ),
        Parameter::IdempotencyKey => (
            IDEMPOTENCY_KEY,
            "header",
            "1 to 255 visible ASCII characters. The same submission with the same key within 24 hours is the same job; \
             another submission with that key is refused.",
        ),
        Parameter::LastEventId => (
            "last-event-id",
            "header",
            "The id of the last event that the client has: the stream goes on behind it, or begins with a snapshot if \
             that event is not kept any more.",
        ),
        Parameter::Range => ("range", "header", "The bytes that are wanted, as one range."),
    };
    let schema = match parameter {
        Parameter::Limit => json!({"type": "integer", "minimum": 1, "maximum": 1000}),
        Parameter::State => schema("JobState"),
        _ => json!({"type": "string"}),
    };
    json!({"name": name, "in": place, "required": place == "path", "description": what, "schema": schema})
}

/// The body of a submission.
fn submission() -> Value {
    let bytes = |what: &str| json!({"type": "string", "format": "binary", "description": what});
    let files = |what: &str| json!({"type": "array", "items": bytes(what), "description": what});
    json!({"required": true, "content": {"multipart/form-data": {
        "schema": {"type": "object", "properties": {
            "job": schema("JobRequest"),
            "program": bytes("The program's file."),
            "config": bytes("The text that configures the program's virtual machine, where it needs one."),
            "input": files("A file of the input: each is one item."),
            "block": files("A file of a block with its witness; several are a batch. Without `program`."),
        }},
        "encoding": {"job": {"contentType": "application/json"}},
    }}})
}
