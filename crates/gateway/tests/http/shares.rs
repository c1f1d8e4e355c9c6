//! One client among others: what a key has of the places, how long an upload may take, and what
//! becomes of one whose key is revoked.

use std::{
    fs,
    io::{BufReader, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use myriad_gateway::keys::{self, Quota, Role};

use crate::{
    client::{FORM, ask, connect, form, head, read},
    site::{PROGRAM, Plan, Site, key, wait},
};

/// An upload whose head is sent, and whose body has so many bytes.
fn begun(site: &Site, bearer: &str, length: usize) -> TcpStream {
    let length = length.to_string();
    let headers = [("authorization", bearer), FORM, ("content-length", &length)];
    let mut stream = connect(site.address);
    let head = head("POST", "/v1/jobs", &headers);
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn second_key(plan: &Plan) -> String {
    let key = key(plan.dir.path(), "second", Role::Submit, Quota::default());
    format!("Bearer {key}")
}

#[test]
fn a_key_has_a_quarter_of_the_places_of_uploads() {
    let plan = Plan::new().limits(|limits| limits.uploads = 8);
    let second = second_key(&plan);
    let site = plan.start();
    let bearer = site.bearer();
    let held = [begun(&site, &bearer, 1000), begun(&site, &bearer, 1000)];
    wait(|| site.uploads() == 2);
    let refused = site.submit("a");
    let detail = refused.is_problem(429, "quota-exceeded");
    assert!(detail.starts_with("2 uploads of this key"), "{detail}");
    assert!(refused.header("retry-after").is_some());
    let headers = [("authorization", second.as_str()), FORM];
    let other = ask(site.address, "POST", "/v1/jobs", &headers, &form(&[PROGRAM]));
    other.is(201);
    drop(held);
    wait(|| site.submit("a").status == 201);
}

#[test]
fn an_upload_that_never_stalls_ends_all_the_same() {
    let plan = Plan::new().limits(|limits| {
        limits.upload_time = Duration::from_secs(1);
        limits.upload_rate = 1;
    });
    let site = plan.start();
    let stream = begun(&site, &site.bearer(), 100_000);
    let mut writer = stream.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        let whole = form(&[("program", &[b'p'; 5000])]);
        for byte in whole.chunks(1) {
            if writer.write_all(byte).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let detail = read(&mut BufReader::new(stream)).is_problem(400, "bad-request");
    assert!(detail.contains("more than the 1 s"), "{detail}");
    dripping.join().unwrap();
    wait(|| site.uploads() == 0);
}

/// Revokes the second key, and waits until the service knows.
fn revoke(site: &Site, bearer: &str) {
    keys::revoke(site.dir.path(), "second").unwrap();
    wait(|| site.ask("GET", "/v1/jobs", &[("authorization", bearer)]).status == 401);
}

fn has_no_job(site: &Site) {
    let listed = site.get("/v1/jobs").is(200);
    assert!(listed["jobs"].as_array().unwrap().is_empty(), "{listed}");
    wait(|| site.uploads() == 0);
}

#[test]
fn an_upload_whose_key_is_revoked_is_refused() {
    let plan = Plan::new();
    let second = second_key(&plan);
    let site = plan.start();
    let whole = form(&[("program", &[b'p'; 5000])]);
    let mut stream = begun(&site, &second, whole.len());
    stream.write_all(&whole[..3000]).unwrap();
    wait(|| site.uploads() == 1);
    revoke(&site, &second);
    stream.write_all(&whole[3000..]).unwrap();
    read(&mut BufReader::new(stream)).is_problem(401, "unauthorized");
    has_no_job(&site);
}

#[test]
fn a_submission_whose_key_is_revoked_while_it_is_prepared_becomes_no_job() {
    let plan = Plan::new();
    let second = second_key(&plan);
    let site = plan.start();
    let waits = site.dir.path().join("wait");
    fs::write(&waits, "").unwrap();
    let whole = form(&[("program", b"slow")]);
    let mut stream = begun(&site, &second, whole.len());
    stream.write_all(&whole).unwrap();
    wait(|| site.made.load(std::sync::atomic::Ordering::SeqCst) == 1);
    revoke(&site, &second);
    fs::remove_file(&waits).unwrap();
    read(&mut BufReader::new(stream)).is_problem(401, "unauthorized");
    has_no_job(&site);
}

#[test]
fn folders_of_proofs_go_with_their_jobs() {
    let site = Site::new();
    let id = site.job("a");
    let folder = site.dir.path().join("gateway").join("proofs").join(&id);
    assert!(folder.is_dir());
    site.delete(&id).is(202);
    site.wait_for(&id, "cancelled");
    wait(|| !folder.exists());
    let (kept, gone) = (site.job("b"), site.job("c"));
    let dir = site.stop();
    let folder_of = |id: &str| dir.path().join("gateway").join("proofs").join(id);
    for id in [&kept, &gone] {
        fs::create_dir_all(folder_of(id)).unwrap();
        fs::write(folder_of(id).join("proof"), "p").unwrap();
    }
    fs::create_dir_all(dir.path().join("jobs").join(&kept)).unwrap();
    let _ = fs::remove_dir_all(dir.path().join("jobs").join(&gone));
    let site = Plan::of(dir.clone()).start();
    wait(|| !folder_of(&gone).exists());
    assert!(folder_of(&kept).join("proof").is_file());
    site.get(&format!("/v1/jobs/{gone}")).is_problem(404, "not-found");
}
