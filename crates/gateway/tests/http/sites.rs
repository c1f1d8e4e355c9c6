//! What browsers ask for pages of other sites, and by names that are not the service's.

use crate::site::{Plan, Site};

#[test]
fn pages_of_other_sites_get_nothing_without_an_origin_that_may() {
    let site = Site::new();
    let cross = ("sec-fetch-site", "cross-site");
    for path in ["/v1/jobs", "/v1/service", "/metrics"] {
        for headers in [&[cross][..], &[cross, ("origin", "https://evil.example")]] {
            site.ask("GET", path, headers).is_problem(403, "forbidden");
        }
        for site_of in ["same-origin", "none", "same-site"] {
            let answer = site.ask("GET", path, &[("sec-fetch-site", site_of)]);
            assert_eq!(answer.status, 200, "{path} of {site_of}");
        }
    }
    for path in ["/", "/healthz", "/openapi.json"] {
        assert_eq!(site.ask("GET", path, &[cross]).status, 200, "{path}");
    }
    drop(site);
    let origin = "https://rollup.example";
    let site = Plan::new()
        .config(|config| config.origins.push(origin.into()))
        .start();
    let ask = |origin| site.ask("GET", "/v1/jobs", &[cross, ("origin", origin)]);
    assert_eq!(ask(origin).status, 200);
    ask("https://evil.example").is_problem(403, "forbidden");
}

#[test]
fn a_service_off_loopback_has_the_names_that_it_was_given() {
    let of = |hosts: &[&str]| {
        let plan = Plan::new().config(|config| {
            config.listen = "0.0.0.0:0".parse().unwrap();
            config.hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        });
        plan.start()
    };
    let status = |site: &Site, host: &str| site.ask("GET", "/v1/jobs", &[("host", host)]).status;
    let site = of(&["Proving.Example"]);
    for host in [
        "proving.example",
        "proving.example:8080",
        "localhost",
        "10.1.2.3:80",
        "[2001:db8::1]",
    ] {
        assert_eq!(status(&site, host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "proving.example.evil.example",
        "10.1.2.3.evil.example",
    ] {
        site.ask("GET", "/v1/jobs", &[("host", host)])
            .is_problem(421, "misdirected");
    }
    drop(site);
    assert_eq!(status(&of(&[]), "any.example"), 200);
}
