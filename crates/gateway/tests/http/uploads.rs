//! Uploads that are too large, too slow, malformed, or end early: each is refused, and leaves no
//! file.

use std::{
    io::{BufReader, Write},
    thread,
    time::Duration,
};

use crate::{
    client::{FORM, Part, ask, connect, form, head, read},
    site::{PROGRAM, Plan, Site, wait},
};

/// Submits parts that are refused for what they are.
#[track_caller]
fn refused(site: &Site, parts: &[Part<'_>]) -> String {
    let detail = site.submit_with(parts, &[]).is_problem(400, "bad-request");
    wait(|| site.uploads() == 0);
    detail
}

#[test]
fn parts_that_do_not_make_a_submission_are_refused() {
    let site = Site::new();
    refused(&site, &[]);
    refused(&site, &[("input", b"a")]);
    refused(&site, &[("job", b"{}")]);
    refused(&site, &[PROGRAM, PROGRAM]);
    refused(&site, &[PROGRAM, ("job", b"{}"), ("job", b"{}")]);
    refused(&site, &[PROGRAM, ("block", b"b")]);
    refused(&site, &[("block", b"b"), ("input", b"a")]);
    refused(&site, &[("block", b"b"), ("config", b"a")]);
    refused(&site, &[PROGRAM, ("job", b"{")]);
    refused(&site, &[PROGRAM, ("job", br#"{"priority": "high"}"#)]);
    refused(&site, &[PROGRAM, ("job", br#"{"surprise": 1}"#)]);
    let detail = refused(&site, &[PROGRAM, ("\"../../x\"", b"a")]);
    assert!(detail.contains("is not known"), "{detail}");
    refused(&site, &[("\"pro\u{fc}\"", b"a")]);
    let many = vec![("input", b"a".as_slice()); 65];
    refused(&site, &many);
    let name = site.submit_with(&[PROGRAM, ("job", br#"{"name": "../x"}"#)], &[]);
    name.is_problem(422, "invalid");
}

#[test]
fn bodies_that_are_no_forms_are_refused() {
    let site = Site::new();
    let bearer = site.bearer();
    let post = |content_type: &str, body: &[u8]| {
        let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
        ask(site.address, "POST", "/v1/jobs", &headers, body)
    };
    post("application/json", b"{}").is_problem(415, "unsupported-media-type");
    post("", b"{}").is_problem(415, "unsupported-media-type");
    post("multipart/form-data", b"{}").is_problem(400, "bad-request");
    post("multipart/form-data; boundary=", b"{}").is_problem(400, "bad-request");
    post(FORM.1, b"rubbish").is_problem(400, "bad-request");
    post(FORM.1, b"").is_problem(400, "bad-request");
    let whole = form(&[PROGRAM]);
    for end in [1, 10, 40, whole.len() - 5] {
        post(FORM.1, &whole[..end]).is_problem(400, "bad-request");
    }
    let latin =
        b"--xYzZy\r\ncontent-disposition: form-data; name=program; filename=\"\xfc\"\r\n\r\nx\r\n--xYzZy--";
    post(FORM.1, latin).is_problem(400, "bad-request");
    let long = [b"--xYzZy\r\n".as_slice(), &[b'x'; 100_000]].concat();
    post(FORM.1, &long).is_problem(400, "bad-request");
    wait(|| site.uploads() == 0);
}

fn small() -> Site {
    Plan::new()
        .limits(|limits| {
            limits.upload_bytes = 20_000;
            limits.program_bytes = 1000;
            limits.config_bytes = 500;
            limits.file_bytes = 2000;
        })
        .start()
}

#[test]
fn parts_have_the_sizes_that_are_allowed() {
    let site = small();
    let (program, config, input) = ([b'p'; 1001], [b'c'; 501], [b'i'; 2001]);
    site.submit_with(&[("program", &program)], &[])
        .is_problem(413, "too-large");
    site.submit_with(&[PROGRAM, ("config", &config)], &[])
        .is_problem(413, "too-large");
    site.submit_with(&[PROGRAM, ("input", &input)], &[])
        .is_problem(413, "too-large");
    site.submit_with(&[("block", &input)], &[])
        .is_problem(413, "too-large");
    site.submit_with(&[("job", &[b' '; 20 << 10])], &[])
        .is_problem(413, "too-large");
    wait(|| site.uploads() == 0);
    let largest = [
        ("program", &program[..1000]),
        ("config", &config[..500]),
        ("input", &input[..2000]),
    ];
    site.submit_with(&largest, &[]).is(201);
}

#[test]
fn an_upload_that_announces_too_much_is_refused_before_any_of_it_comes() {
    let site = small();
    let bearer = site.bearer();
    let headers = [
        ("authorization", bearer.as_str()),
        FORM,
        ("content-length", "20001"),
        ("expect", "100-continue"),
    ];
    let mut stream = connect(site.address);
    stream
        .write_all(head("POST", "/v1/jobs", &headers).as_bytes())
        .unwrap();
    let refused = read(&mut BufReader::new(stream));
    let detail = refused.is_problem(413, "too-large");
    assert!(detail.contains("20000 bytes"), "{detail}");
}

#[test]
fn an_upload_of_unknown_length_is_refused_when_it_is_too_large() {
    let site = small();
    let bearer = site.bearer();
    let headers = [
        ("authorization", bearer.as_str()),
        FORM,
        ("transfer-encoding", "chunked"),
    ];
    let mut stream = connect(site.address);
    stream
        .write_all(head("POST", "/v1/jobs", &headers).as_bytes())
        .unwrap();
    let part = |name: &str| {
        format!(
            "--xYzZy\r\ncontent-disposition: form-data; name={name}\r\n\r\n{}\r\n",
            "x".repeat(900)
        )
    };
    for number in 0..30 {
        let part = part(if number == 0 { "program" } else { "input" });
        if write!(stream, "{:x}\r\n{part}\r\n", part.len()).is_err() {
            break;
        }
    }
    read(&mut BufReader::new(stream)).is_problem(413, "too-large");
    wait(|| site.uploads() == 0);
}

#[test]
fn a_disk_without_room_is_said_before_the_upload() {
    let site = Plan::new()
        .limits(|limits| limits.disk_reserve = u64::MAX)
        .start();
    site.submit("a").is_problem(507, "disk-full");
    assert_eq!(site.uploads(), 0);
}

#[test]
fn an_upload_that_stalls_is_refused_and_leaves_no_file() {
    let plan = Plan::new().limits(|limits| limits.stall = Duration::from_millis(500));
    let site = plan.start();
    let bearer = site.bearer();
    let whole = form(&[("program", &[b'p'; 5000])]);
    let length = whole.len().to_string();
    let headers = [
        ("authorization", bearer.as_str()),
        FORM,
        ("content-length", &length),
    ];
    let mut stream = connect(site.address);
    stream
        .write_all(head("POST", "/v1/jobs", &headers).as_bytes())
        .unwrap();
    stream.write_all(&whole[..3000]).unwrap();
    let detail = read(&mut BufReader::new(stream)).is_problem(400, "bad-request");
    assert!(detail.contains("stalled"), "{detail}");
    wait(|| site.uploads() == 0);
}

#[test]
fn an_upload_that_drips_is_refused() {
    let plan = Plan::new().limits(|limits| {
        limits.stall = Duration::from_millis(500);
        limits.upload_rate = 100_000;
    });
    let site = plan.start();
    let bearer = site.bearer();
    let headers = [
        ("authorization", bearer.as_str()),
        FORM,
        ("content-length", "100000"),
    ];
    let mut stream = connect(site.address);
    stream
        .write_all(head("POST", "/v1/jobs", &headers).as_bytes())
        .unwrap();
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
    assert!(detail.contains("less than 100000 bytes a second"), "{detail}");
    dripping.join().unwrap();
}

#[test]
fn a_client_that_goes_away_leaves_no_file() {
    let site = Site::new();
    let bearer = site.bearer();
    let headers = [
        ("authorization", bearer.as_str()),
        FORM,
        ("content-length", "10000000"),
    ];
    let mut stream = connect(site.address);
    stream
        .write_all(head("POST", "/v1/jobs", &headers).as_bytes())
        .unwrap();
    let part = form(&[("program", &[b'p'; 3_000_000])]);
    stream.write_all(&part[..2_000_000]).unwrap();
    wait(|| site.uploads() == 1);
    drop(stream);
    wait(|| site.uploads() == 0);
}

#[test]
fn uploads_at_once_are_bounded() {
    let plan = Plan::new().limits(|limits| limits.uploads = 1);
    let site = plan.start();
    let bearer = site.bearer();
    let headers = [
        ("authorization", bearer.as_str()),
        FORM,
        ("content-length", "1000"),
    ];
    let mut stream = connect(site.address);
    stream
        .write_all(head("POST", "/v1/jobs", &headers).as_bytes())
        .unwrap();
    wait(|| site.uploads() == 1);
    let refused = site.submit("a");
    refused.is_problem(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    drop(stream);
    wait(|| site.submit("a").status == 201);
}
