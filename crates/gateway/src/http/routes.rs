//! The router: each operation of the table with its handler.

use axum::{
    Router,
    extract::Request,
    handler::Handler,
    http::Method,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use myriad_api::Kind;

use super::{
    App, guard, jobs, openapi,
    operations::{Access, OPERATIONS, Operation},
    page, service, stream,
};
use crate::refusal::Refusal;

/// A router that is being made of the table's operations.
struct Routes {
    app: App,
    router: Router<App>,
    /// The operations that have a handler.
    served: Vec<&'static str>,
}

impl Routes {
    fn add<T: 'static>(mut self, id: &'static str, handler: impl Handler<T, App>) -> Self {
        let operation = OPERATIONS.iter().find(|operation| operation.id == id);
        let Operation {
            method, path, access, ..
        } = operation.expect("the table has all operations");
        let method = Method::from_bytes(method.as_bytes()).expect("the table has methods of HTTP");
        let method = MethodFilter::try_from(method).expect("the table has methods of HTTP");
        let route = on(method, handler);
        let route = match access {
            Access::Open => route,
            Access::Read => route.route_layer(from_fn_with_state(self.app.clone(), guard::read)),
            Access::Submit => route.route_layer(from_fn_with_state(self.app.clone(), guard::submit)),
        };
        self.router = self.router.route(path, route);
        self.served.push(id);
        self
    }
}

/// The router of a service.
pub(super) fn router(app: &App) -> Router {
    let routes = Routes {
        app: app.clone(),
        router: Router::new(),
        served: Vec::new(),
    };
    let routes = routes
        .add("submit", jobs::submit)
        .add("jobs", jobs::list)
        .add("job", jobs::job)
        .add("cancel", jobs::cancel)
        .add("tasks", jobs::tasks)
        .add("proof", jobs::proof)
        .add("baseline", jobs::baseline)
        .add("job_events", stream::of_job)
        .add("events", stream::of_all)
        .add("peers", service::peers)
        .add("service", service::service)
        .add("healthz", service::healthz)
        .add("readyz", service::readyz)
        .add("metrics", service::figures)
        .add("openapi", openapi::description)
        .add("docs", openapi::viewer)
        .add("page", page::file)
        .add("problem", service::problem);
    routes
        .router
        // The files of the viewer and of the page.
        .route("/docs/", on(MethodFilter::GET, openapi::viewer))
        .route("/docs/{*file}", on(MethodFilter::GET, openapi::viewer))
        .route("/job", on(MethodFilter::GET, page::file))
        .route("/page/{*file}", on(MethodFilter::GET, page::file))
        .fallback(nothing)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(app.clone(), guard::all))
        .with_state(app.clone())
}

async fn nothing(request: Request) -> Response {
    guard::linger(request).await;
    Refusal::new(
        Kind::NotFound,
        "the service has no such path; /openapi.json lists all, and /docs shows them",
    )
    .into_response()
}

async fn not_allowed(request: Request) -> Response {
    let method: String = request.method().as_str().chars().take(20).collect();
    guard::linger(request).await;
    Refusal::new(
        Kind::MethodNotAllowed,
        format!("the path does not have the method {method}; the header `Allow` has those that it has"),
    )
    .into_response()
}
