//! `myriad keys`: the keys of the HTTP service.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::common::{DONE, FAILED, Run, USAGE, finish, myriad};

fn keys(data: &Path, args: &[&str]) -> Run {
    let mut command = myriad(["keys"]);
    finish(command.args(args).env("MYRIAD_DATA_DIR", data))
}

#[test]
fn a_key_is_printed_once_and_kept_as_a_hash() {
    let data = tempfile::tempdir().unwrap();
    let limits = [
        "--jobs",
        "20",
        "--upload-per-day",
        "50GiB",
        "--requests-per-minute",
        "600",
    ];
    let made = keys(data.path(), &[&["add", "rollup"], &limits[..]].concat()).exits(DONE);
    let secret = made.stdout.strip_suffix('\n').unwrap();
    assert!(secret.starts_with("myr_") && secret.len() == 56, "{secret}");
    assert!(made.stderr.contains("cannot be shown again"), "{}", made.stderr);
    assert!(!made.stderr.contains(secret));

    let file = data.path().join("gateway/keys/rollup.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains(&secret[12..]));

    let listed = keys(data.path(), &["list"]).exits(DONE).stdout;
    assert!(
        listed.contains(&secret[..12]) && !listed.contains(secret),
        "{listed}"
    );
    assert!(
        listed.contains("submit    20 jobs at once, 50.00 GiB per day, 600 requests per minute"),
        "{listed}"
    );
    let json = keys(data.path(), &["list", "--json"]).exits(DONE).json();
    assert_eq!(json["keys"][0]["quota"]["upload_bytes_per_day"], 50_u64 << 30);

    let json = keys(data.path(), &["add", "board", "--role", "read", "--json"])
        .exits(DONE)
        .json();
    assert_eq!(
        (json["name"].as_str(), json["role"].as_str()),
        (Some("board"), Some("read"))
    );
    assert!(json["key"].as_str().unwrap().starts_with("myr_"));
}

#[test]
fn a_revoked_key_stays_in_the_list() {
    let data = tempfile::tempdir().unwrap();
    let none = keys(data.path(), &["list"]).exits(DONE).stdout;
    assert!(none.starts_with("no keys in "), "{none}");
    keys(data.path(), &["add", "ci"]).exits(DONE);
    let said = keys(data.path(), &["revoke", "ci"]).exits(DONE).stdout;
    assert!(said.contains("within two seconds"), "{said}");
    let listed = keys(data.path(), &["list"]).exits(DONE).stdout;
    assert!(listed.contains("revoked"), "{listed}");
    let json = keys(data.path(), &["list", "--json"]).exits(DONE).json();
    assert!(json["keys"][0]["revoked_ms"].as_u64().is_some());
}

#[test]
fn keys_that_cannot_be_are_named() {
    let data = tempfile::tempdir().unwrap();
    keys(data.path(), &["add", "a"]).exits(DONE);
    for (args, said) in [
        (vec!["add", "a"], "already"),
        (vec!["add", "A"], "is no name for a key"),
        (vec!["add", "../a"], "is no name for a key"),
        (vec!["add", "cookie"], "service makes itself"),
        (vec!["add", "b", "--jobs", "0"], "--jobs"),
        (vec!["add", "b", "--upload-per-day", "0"], "leave it out"),
        (vec!["add", "b", "--role", "admin"], "admin"),
        (vec!["revoke", "b"], "there is no key `b`"),
    ] {
        keys(data.path(), &args).exits(USAGE).says(said);
    }
    let file = data.path().join("gateway/keys/a.json");
    fs::write(&file, "{").unwrap();
    let listed = keys(data.path(), &["list"]).exits(DONE).stdout;
    assert!(
        listed.contains("refused") && listed.contains("damaged"),
        "{listed}"
    );
    keys(data.path(), &["revoke", "a"]).exits(FAILED).says("damaged");
}
