//! Every route: what it answers, and what it refuses.

use myriad_gateway::keys::{Quota, Role};

use crate::{
    client::{ask, connect, head, read, send},
    site::{PROGRAM, Plan, Site, key},
};

const NO_JOB: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn documents_of_the_service_are_there() {
    let site = Site::new();
    let service = site.get("/v1/service").is(200);
    assert_eq!(service["build"], "myriad 0.1.0");
    assert_eq!(service["engines"][0], "pretended");
    assert!(service["disk_bytes"].as_u64().unwrap() > 0);
    assert_eq!(site.get("/v1/peers").is(200)["connected"], 0);
    assert!(
        site.get("/v1/jobs").is(200)["jobs"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(site.get("/healthz").text(), "ok\n");
    assert_eq!(site.get("/readyz").text(), "ready\n");
    let kind = site.get("/problems/too-large");
    assert!(kind.text().contains("413"), "{kind:?}");
    site.get("/problems/none").is_problem(404, "not-found");
}

#[test]
fn jobs_are_listed_shown_and_cancelled() {
    let site = Site::new();
    let id = site.job("a");
    let job = site.get(&format!("/v1/jobs/{id}")).is(200);
    assert_eq!((&job["id"], &job["name"]), (&id.as_str().into(), &"fib".into()));
    let listed = site.get("/v1/jobs?limit=1").is(200);
    assert_eq!(listed["jobs"][0]["id"], *id);
    let tasks = site.get(&format!("/v1/jobs/{id}/tasks")).is(200);
    assert!(tasks["tasks"].as_array().unwrap().is_empty());
    for file in ["proof", "baseline"] {
        site.get(&format!("/v1/jobs/{id}/{file}"))
            .is_problem(409, "conflict");
    }
    assert_eq!(site.delete(&id).is(202)["id"], *id);
    site.wait_for(&id, "cancelled");
    site.delete(&id).is_problem(409, "conflict");
    let cancelled = site.get("/v1/jobs?state=cancelled").is(200);
    assert_eq!(cancelled["jobs"][0]["id"], *id);
    assert!(
        site.get("/v1/jobs?state=done").is(200)["jobs"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    site.get("/v1/jobs?state=over").is_problem(400, "bad-request");
    site.get("/v1/jobs?limit=0").is_problem(400, "bad-request");
}

#[test]
fn what_is_not_there_is_not_found_and_no_path_leads_out() {
    let site = Site::new();
    for file in ["", "/tasks", "/proof", "/baseline", "/events"] {
        site.get(&format!("/v1/jobs/{NO_JOB}{file}"))
            .is_problem(404, "not-found");
    }
    site.delete(NO_JOB).is_problem(404, "not-found");
    let upper = NO_JOB.replace('0', "A");
    for path in [
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/jobs/",
        "/v1/jobs/..%2f..%2fkeys",
        "/v1/jobs/..%2f",
        "/v1/jobs/%ff",
        "/v1/jobs/%00",
        "/v1/jobs/../jobs/x",
        &format!("/v1/jobs/{upper}"),
        &format!("/v1/jobs/{NO_JOB}0"),
        "/docs/..%2f..%2fCargo.toml",
        "/docs/../../etc/passwd",
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/page/../keys",
        "//etc/passwd",
        "/.%2e/keys",
    ] {
        site.get(path).is_problem(404, "not-found");
    }
}

#[test]
fn other_methods_are_refused_with_those_that_there_are() {
    let site = Site::new();
    let refused = site.ask("PUT", "/v1/jobs", &[]);
    refused.is_problem(405, "method-not-allowed");
    let allow = refused.header("allow").unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    for (method, path) in [
        ("POST", "/v1/peers"),
        ("BREW", "/healthz"),
        ("OPTIONS", "/v1/jobs"),
    ] {
        site.ask(method, path, &[]).is_problem(405, "method-not-allowed");
    }
    let head = site.ask("HEAD", "/v1/service", &[]);
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("application/json"))
    );
}

#[test]
fn keys_open_what_their_roles_say() {
    let plan = Plan::new().config(|config| config.private = true);
    let reader = key(plan.dir.path(), "reader", Role::Read, Quota::default());
    let reader = format!("Bearer {reader}");
    let site = plan.start();
    for path in ["/v1/jobs", "/v1/peers", "/v1/service", "/v1/events", "/metrics"] {
        let refused = site.get(path);
        refused.is_problem(401, "unauthorized");
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Bearer realm=\"myriad\"")
        );
    }
    assert_eq!(
        site.ask("GET", "/v1/jobs", &[("authorization", &reader)]).status,
        200
    );
    for path in [
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/docs/",
        "/problems/internal",
    ] {
        assert_eq!(site.get(path).status, 200, "{path}");
    }
    let refused = ask(
        site.address,
        "POST",
        "/v1/jobs",
        &[("authorization", &reader)],
        b"x",
    );
    refused.is_problem(403, "forbidden");
    let path = format!("/v1/jobs/{NO_JOB}");
    site.ask("DELETE", &path, &[("authorization", &reader)])
        .is_problem(403, "forbidden");
    site.ask("DELETE", &path, &[]).is_problem(401, "unauthorized");
    let basic = ("authorization", "Basic eDp5");
    site.ask("GET", "/v1/jobs", &[basic])
        .is_problem(401, "unauthorized");
    let twice = [
        ("authorization", reader.as_str()),
        ("authorization", reader.as_str()),
    ];
    site.ask("GET", "/v1/jobs", &twice).is_problem(400, "bad-request");
}

#[test]
fn writes_need_a_key_and_a_wrong_one_is_wrong_for_reads_too() {
    let site = Site::new();
    ask(site.address, "POST", "/v1/jobs", &[], b"x").is_problem(401, "unauthorized");
    let wrong = [("authorization", "Bearer myriad_nonsense")];
    site.ask("GET", "/v1/jobs", &wrong)
        .is_problem(401, "unauthorized");
    ask(site.address, "POST", "/v1/jobs", &wrong, b"x").is_problem(401, "unauthorized");
    assert_eq!(site.uploads(), 0);
}

#[test]
fn quotas_are_of_keys() {
    let plan = Plan::new();
    let quota = Quota {
        jobs: Some(1),
        upload_bytes_per_day: Some(1000),
        requests_per_minute: Some(100),
    };
    let small = key(plan.dir.path(), "small", Role::Submit, quota);
    let mut site = plan.start();
    site.key = small;
    let id = site.job("a");
    let refused = site.submit("b");
    refused.is_problem(429, "quota-exceeded");
    assert!(refused.header("retry-after").is_some());
    site.delete(&id).is(202);
    site.wait_for(&id, "cancelled");
    site.submit_with(&[PROGRAM, ("input", &[b'x'; 1000])], &[])
        .is_problem(429, "quota-exceeded");
    site.job("b");
}

#[test]
fn hosts_of_others_are_refused_on_loopback() {
    let site = Plan::new()
        .config(|config| config.hosts.push("Myriad.example".into()))
        .start();
    for host in [
        "localhost:99",
        "127.0.0.1",
        "[::1]:1",
        "myriad.EXAMPLE:8080",
        "LOCALHOST",
    ] {
        assert_eq!(
            site.ask("GET", "/healthz", &[("host", host)]).status,
            200,
            "{host}"
        );
    }
    for host in ["evil.example", "127.0.0.2", "localhost.evil.example"] {
        site.ask("GET", "/v1/jobs", &[("host", host)])
            .is_problem(421, "misdirected");
    }
    let absolute = site.ask("GET", "http://evil.example/healthz", &[]);
    absolute.is_problem(421, "misdirected");
    for head in [
        "GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: a@localhost\r\nconnection: close\r\n\r\n",
    ] {
        send(site.address, head.as_bytes()).is_problem(400, "bad-request");
    }
}

#[test]
fn pages_of_others_may_ask_only_where_they_are_named() {
    let origin = ("origin", "https://rollup.example");
    let preflight = [origin, ("access-control-request-method", "POST")];
    let site = Site::new();
    assert_eq!(
        site.ask("GET", "/v1/jobs", &[origin])
            .header("access-control-allow-origin"),
        None
    );
    site.ask("OPTIONS", "/v1/jobs", &preflight)
        .is_problem(405, "method-not-allowed");
    drop(site);
    let site = Plan::new()
        .config(|config| config.origins.push("https://rollup.example".into()))
        .start();
    let answer = site.ask("GET", "/v1/jobs", &[origin]);
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1));
    assert_eq!(answer.header("vary"), Some("origin"));
    let answer = site.ask("OPTIONS", "/v1/jobs", &preflight);
    assert_eq!(answer.status, 204);
    assert!(
        answer
            .header("access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );
    let other = [("origin", "https://evil.example"), preflight[1]];
    site.ask("OPTIONS", "/v1/jobs", &other)
        .is_problem(405, "method-not-allowed");
}

#[test]
fn answers_have_the_headers_that_keep_browsers_safe() {
    let site = Site::new();
    for path in ["/v1/jobs", "/nothing", "/docs/", "/openapi.json"] {
        let answer = site.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'"), "{policy}");
    }
}

#[test]
fn the_viewer_is_whole_and_loads_nothing_of_others() {
    let site = Site::new();
    let redirect = site.get("/docs");
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (308, Some("/docs/"))
    );
    let page = site.get("/docs/");
    assert_eq!(page.header("content-type"), Some("text/html"));
    for name in page
        .text()
        .split(['"', '\''])
        .filter_map(|name| name.strip_prefix("./"))
    {
        assert_eq!(site.get(&format!("/docs/{name}")).status, 200, "{name}");
    }
    assert!(
        !page.text().contains("http://") && !page.text().contains("https://"),
        "{page:?}"
    );
    let start = site.get("/docs/swagger-initializer.js");
    assert!(start.text().contains("/openapi.json"), "{start:?}");
    let known = [("if-none-match", start.header("etag").unwrap())];
    assert_eq!(
        site.ask("GET", "/docs/swagger-initializer.js", &known).status,
        304
    );
    site.get("/docs/nothing.js").is_problem(404, "not-found");
}

#[test]
fn the_description_names_the_paths_of_the_router() {
    let site = Site::new();
    let description = site.get("/openapi.json").is(200);
    assert_eq!(description["openapi"], "3.1.0");
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            for status in ["400", "421", "500"] {
                let content = &answers[status]["content"];
                let schema = &content["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {status}");
            }
            if path == "/v1/events" {
                // It has no end.
                continue;
            }
            let filled = path.replace("{id}", NO_JOB).replace("{kind}", "internal");
            let answer = site.ask(&method.to_uppercase(), &filled, &[]);
            assert_ne!(answer.status, 405, "{method} {path}");
            assert!(
                answers.contains_key(&answer.status.to_string()),
                "{method} {path} has answered {}, which is not described",
                answer.status
            );
        }
    }
    assert!(description["components"]["schemas"]["JobState"].is_object());
}

#[test]
fn figures_count_requests_by_route() {
    let site = Site::new();
    site.get("/nothing");
    site.get(&format!("/v1/jobs/{NO_JOB}"));
    site.job("a");
    let figures = site.get("/metrics");
    assert!(
        figures
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    for line in [
        "myriad_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"} 1",
        "myriad_http_requests_total{method=\"GET\",route=\"/v1/jobs/{id}\",status=\"404\"} 1",
        "myriad_http_requests_total{method=\"POST\",route=\"/v1/jobs\",status=\"201\"} 1",
        "myriad_build_info{version=\"0.1.0\"} 1",
        "myriad_http_connections 1",
        "myriad_event_streams 0",
    ] {
        assert!(
            figures.text().lines().any(|found| found == line),
            "{line} in {}",
            figures.text()
        );
    }
}

#[test]
fn a_service_whose_network_has_ended_ends_too_and_says_so() {
    let mut site = Site::new();
    site.network.close();
    let error = site.ended().to_string();
    assert!(error.contains("has ended by itself"), "{error}");
}

#[test]
fn a_connection_takes_several_requests() {
    use std::io::{BufReader, Write};
    let site = Site::new();
    let mut reader = BufReader::new(connect(site.address));
    for _ in 0..3 {
        let bytes = head("GET", "/v1/jobs", &[]);
        reader.get_mut().write_all(bytes.as_bytes()).unwrap();
        assert_eq!(read(&mut reader).status, 200);
    }
}
