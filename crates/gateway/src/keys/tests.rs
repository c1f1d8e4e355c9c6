//! Keys from their files to the requests that they are presented with.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    time::Instant,
};

use super::{file::KEYS_MAX, *};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn new(name: &str, role: Role) -> NewKey {
    NewKey {
        name: name.into(),
        role,
        quota: Quota::default(),
    }
}

fn data() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn key_file(data: &Path, name: &str) -> std::path::PathBuf {
    file::keys_dir(data).join(format!("{name}.json"))
}

fn bearer_of(secret: &str) -> Vec<u8> {
    format!("Bearer {secret}").into_bytes()
}

/// Waits for something that has to happen within two seconds, and some for a busy machine.
#[track_caller]
fn soon(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(6), "it has not happened");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_key_is_what_it_was_made_as_and_its_secret_is_on_no_disk() {
    let data = data();
    let quota = Quota {
        jobs: Some(3),
        upload_bytes_per_day: Some(1 << 40),
        requests_per_minute: Some(600),
    };
    let asked = NewKey {
        quota,
        ..new("rollup-1", Role::Submit)
    };
    let (secret, facts) = add(data.path(), &asked).unwrap();
    assert_eq!(facts.prefix, secret.prefix());
    let listed = list(data.path()).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].key.as_ref(), Ok(&facts));

    let path = key_file(data.path(), "rollup-1");
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        !text.contains(&secret.as_str()[secret.prefix().len()..]),
        "{text}"
    );

    let keys = Keys::open(data.path()).unwrap();
    let grant = keys.check(secret.as_str()).unwrap();
    assert_eq!(
        (grant.name.as_str(), grant.role, grant.quota),
        ("rollup-1", Role::Submit, quota)
    );
    assert_eq!(
        keys.identify(Some(&bearer_of(secret.as_str())), HERE),
        Ok(Some(grant))
    );
}

#[test]
fn names_are_files_of_the_folder_and_nothing_else() {
    let data = data();
    for name in ["a", "0", "rollup.example-1_x", &"a".repeat(64)] {
        add(data.path(), &new(name, Role::Read)).unwrap();
    }
    for name in [
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "-a",
        ".half-a",
        "A",
        "a b",
        "é",
        "a\0",
        &"a".repeat(65),
    ] {
        let error = add(data.path(), &new(name, Role::Read)).unwrap_err();
        assert!(matches!(error, KeysError::Name { .. }), "{name:?}: {error}");
        assert!(matches!(revoke(data.path(), name), Err(KeysError::Name { .. })));
    }
    assert!(matches!(
        add(data.path(), &new("cookie", Role::Read)),
        Err(KeysError::Reserved)
    ));
    let again = add(data.path(), &new("a", Role::Submit)).unwrap_err();
    assert!(matches!(again, KeysError::Exists { .. }), "{again}");
    assert_eq!(list(data.path()).unwrap().len(), 4);
    let nothing = NewKey {
        quota: Quota {
            jobs: Some(0),
            ..Quota::default()
        },
        ..new("zero", Role::Submit)
    };
    assert!(matches!(
        add(data.path(), &nothing),
        Err(KeysError::Zero { what: "jobs" })
    ));
}

#[test]
fn a_running_service_notices_keys_that_come_and_go() {
    let data = data();
    let keys = Keys::open(data.path()).unwrap();
    let (secret, _) = add(data.path(), &new("late", Role::Submit)).unwrap();
    soon(|| keys.check(secret.as_str()).is_some());
    let grant = keys.check(secret.as_str()).unwrap();
    assert!(!keys.is_stale(&grant));

    let revoked = revoke(data.path(), "late").unwrap();
    assert!(revoked.revoked_ms.is_some());
    assert_eq!(revoke(data.path(), "late").unwrap(), revoked, "it stays as it is");
    soon(|| keys.check(secret.as_str()).is_none());
    assert!(keys.is_stale(&grant));
    let refusal = keys
        .identify(Some(&bearer_of(secret.as_str())), HERE)
        .unwrap_err();
    assert!(
        refusal.problem.detail.contains("`late` was revoked"),
        "{refusal:?}"
    );

    let (secret, _) = add(data.path(), &new("removed", Role::Submit)).unwrap();
    soon(|| keys.check(secret.as_str()).is_some());
    fs::remove_file(key_file(data.path(), "removed")).unwrap();
    soon(|| keys.check(secret.as_str()).is_none());
}

#[test]
fn revoking_what_is_not_there_says_so() {
    let data = data();
    assert!(matches!(revoke(data.path(), "a"), Err(KeysError::None { .. })));
    assert!(list(data.path()).unwrap().is_empty());
    add(data.path(), &new("b", Role::Read)).unwrap();
    let error = revoke(data.path(), "a").unwrap_err();
    assert!(error.to_string().contains("no key `a`"), "{error}");
}

/// Files that are no keys: their names, what they have, and a part of what is said of them. `good`
/// is the file of a key whose secret begins with `prefix`.
fn bad_files(good: &str, prefix: &str) -> Vec<(&'static str, String, &'static str)> {
    let renamed = |name: &str| good.replace("\"good\"", &format!("{name:?}"));
    vec![
        ("bytes.json", "\u{0}\u{1b}[2J".to_owned(), "damaged"),
        ("cut.json", good[..good.len() / 2].to_owned(), "damaged"),
        ("copied.json", good.to_owned(), "file of the key"),
        ("cookie.json", renamed("cookie"), "service makes itself"),
        ("empty.json", String::new(), "damaged"),
        (
            "hash.json",
            renamed("hash").replace(&good_hash(good), "ab"),
            "64 hex digits",
        ),
        (
            "later.json",
            renamed("later").replace("\"version\": 1", "\"version\": 2"),
            "version 2",
        ),
        (
            "long.json",
            format!("{}{}", renamed("long"), " ".repeat(5_000)),
            "4096 bytes",
        ),
        ("Name.json", renamed("Name"), "not named"),
        (
            "more.json",
            renamed("more").replace("{\n", "{\n\"expires\": 1,\n"),
            "damaged",
        ),
        ("note.txt", good.to_owned(), "not named"),
        ("prefix.json", renamed("prefix").replace(prefix, "myr_"), "prefix"),
        (
            "role.json",
            renamed("role").replace("\"submit\"", "\"admin\""),
            "damaged",
        ),
        (
            "zero.json",
            renamed("zero").replace("\"quota\": {}", "\"quota\": {\"jobs\": 0}"),
            "is 0",
        ),
    ]
}

#[test]
fn damaged_and_foreign_files_give_no_rights_and_say_why() {
    let data = data();
    let (secret, facts) = add(data.path(), &new("good", Role::Submit)).unwrap();
    let good = fs::read_to_string(key_file(data.path(), "good")).unwrap();
    let write = |file: &str, text: &str| {
        let path = file::keys_dir(data.path()).join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    let cases = bad_files(&good, &facts.prefix);
    for (file, text, _) in &cases {
        write(file, text);
    }
    let listed = list(data.path()).unwrap();
    let reason = |file: &str| {
        let name = file.strip_suffix(".json").unwrap_or(file);
        let found = listed.iter().find(|listed| listed.name == name).unwrap();
        found.key.clone().expect_err(file)
    };
    for (file, _, said) in &cases {
        assert!(reason(file).contains(said), "{file}: {}", reason(file));
        assert!(!reason(file).contains('\u{1b}'));
    }
    assert_eq!(listed.iter().filter(|listed| listed.key.is_ok()).count(), 1);

    // They all have the hash of one secret, and one of them is its key.
    let keys = Keys::open(data.path()).unwrap();
    assert_eq!(keys.check(secret.as_str()).unwrap().name, "good");
    fs::remove_file(key_file(data.path(), "good")).unwrap();
    soon(|| keys.check(secret.as_str()).is_none());
    let error = revoke(data.path(), "cut").unwrap_err();
    assert!(matches!(error, KeysError::Refused { .. }), "{error}");
}

#[test]
fn what_is_no_plain_file_of_the_owner_alone_gives_no_rights() {
    let data = data();
    add(data.path(), &new("good", Role::Submit)).unwrap();
    fs::create_dir(file::keys_dir(data.path()).join("folder.json")).unwrap();
    std::os::unix::fs::symlink(
        key_file(data.path(), "good"),
        file::keys_dir(data.path()).join("link.json"),
    )
    .unwrap();
    let text = fs::read_to_string(key_file(data.path(), "good")).unwrap();
    fs::write(
        key_file(data.path(), "open"),
        text.replace("\"good\"", "\"open\""),
    )
    .unwrap();
    fs::set_permissions(key_file(data.path(), "open"), Permissions::from_mode(0o640)).unwrap();

    let listed = list(data.path()).unwrap();
    let of = |name: &str| &listed.iter().find(|listed| listed.name == name).unwrap().key;
    for (name, said) in [
        ("folder", "plain file"),
        ("link", "plain file"),
        ("open", "mode 640"),
    ] {
        let reason = of(name).as_ref().unwrap_err();
        assert!(reason.contains(said), "{name}: {reason}");
    }
    assert!(of("good").is_ok());
}

fn good_hash(text: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    document["hash"].as_str().unwrap().to_owned()
}

#[test]
fn no_key_is_valid_while_others_have_rights_in_the_folder() {
    let data = data();
    let (secret, _) = add(data.path(), &new("a", Role::Read)).unwrap();
    let dir = file::keys_dir(data.path());
    let keys = Keys::open(data.path()).unwrap();
    assert!(keys.check(secret.as_str()).is_some());
    fs::set_permissions(&dir, Permissions::from_mode(0o770)).unwrap();
    soon(|| keys.check(secret.as_str()).is_none());
    let cookie = fs::read_to_string(cookie_path(data.path())).unwrap();
    assert!(keys.check(cookie.trim()).is_some());
    for error in [
        Keys::open(data.path()).err().unwrap(),
        list(data.path()).unwrap_err(),
        add(data.path(), &new("b", Role::Read)).unwrap_err(),
        revoke(data.path(), "a").unwrap_err(),
    ] {
        assert!(error.to_string().contains("mode 770 instead of 700"), "{error}");
    }
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    soon(|| keys.check(secret.as_str()).is_some());
}

#[test]
fn each_start_has_a_cookie_of_its_own() {
    let data = data();
    let keys = Keys::open(data.path()).unwrap();
    let path = cookie_path(data.path());
    assert_eq!(mode(&path), 0o600);
    let first = fs::read_to_string(&path).unwrap();
    let grant = keys.check(first.trim()).unwrap();
    assert_eq!((grant.name.as_str(), grant.role), ("cookie", Role::Submit));
    drop(keys);
    let keys = Keys::open(data.path()).unwrap();
    assert!(keys.check(first.trim()).is_none());
    let second = fs::read_to_string(&path).unwrap();
    assert!(keys.check(second.trim()).is_some());
    assert!(list(data.path()).unwrap().is_empty());
}

#[test]
fn wrong_keys_are_refused_and_then_made_to_wait_and_right_ones_are_not() {
    let data = data();
    let (secret, _) = add(data.path(), &new("a", Role::Read)).unwrap();
    let keys = Keys::open(data.path()).unwrap();
    let right = bearer_of(secret.as_str());
    let mut other = secret.as_str().to_owned();
    let last = if other.ends_with('q') { "a" } else { "q" };
    other.replace_range(other.len() - 1.., last);
    let wrong = [
        bearer_of(&other),
        bearer_of(secret.prefix()),
        bearer_of(""),
        format!("Basic {}", secret.as_str()).into_bytes(),
        secret.as_str().as_bytes().to_vec(),
        b"Bearer \xff".to_vec(),
        bearer_of(&"a".repeat(10_000)),
        Vec::new(),
    ];
    for header in &wrong {
        let refusal = keys.identify(Some(header), HERE).unwrap_err();
        assert_eq!((refusal.problem.status, refusal.retry_after_s), (401, None));
        let said = serde_json::to_string(&refusal.problem).unwrap();
        assert!(!said.contains(&secret.as_str()[4..12]), "{said}");
    }
    let mut refused = 0;
    for _ in 0..WRONG_PER_MINUTE * 2 {
        let refusal = keys.identify(Some(&wrong[0]), HERE).unwrap_err();
        refused += u32::from(refusal.problem.status == 429 && refusal.retry_after_s.is_some());
    }
    assert!(refused >= WRONG_PER_MINUTE / 2, "{refused}");
    assert!(keys.identify(Some(&right), HERE).unwrap().is_some());
    assert!(
        keys.identify(
            Some(&[b"bearer ".as_slice(), secret.as_str().as_bytes()].concat()),
            HERE
        )
        .is_ok()
    );
    assert_eq!(keys.identify(None, HERE), Ok(None));
}

#[test]
fn a_key_for_reading_submits_nothing() {
    let data = data();
    let (reader, _) = add(data.path(), &new("page", Role::Read)).unwrap();
    let (submitter, _) = add(data.path(), &new("rollup", Role::Submit)).unwrap();
    let keys = Keys::open(data.path()).unwrap();
    let (reader, submitter) = (
        keys.check(reader.as_str()).unwrap(),
        keys.check(submitter.as_str()).unwrap(),
    );
    reader.require(Role::Read).unwrap();
    submitter.require(Role::Read).unwrap();
    submitter.require(Role::Submit).unwrap();
    let refusal = reader.require(Role::Submit).unwrap_err();
    assert_eq!(refusal.problem.status, 403);
    assert!(
        refusal
            .problem
            .detail
            .contains("has the role `read`, and this needs `submit`")
    );
}

#[test]
fn a_thousand_keys_are_the_most() {
    let data = data();
    let (_, _) = add(data.path(), &new("key", Role::Read)).unwrap();
    let text = fs::read_to_string(key_file(data.path(), "key")).unwrap();
    for n in 0..KEYS_MAX {
        let name = format!("k{n:04}");
        let path = key_file(data.path(), &name);
        fs::write(&path, text.replace("\"key\"", &format!("{name:?}"))).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let error = add(data.path(), &new("more", Role::Read)).unwrap_err();
    assert!(matches!(error, KeysError::Many { keys: 1001, .. }), "{error}");
    let listed = list(data.path()).unwrap();
    let refused: Vec<_> = listed.iter().filter(|listed| listed.key.is_err()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].name, "key");
    assert!(
        refused[0]
            .key
            .as_ref()
            .unwrap_err()
            .contains("more than 1000 keys")
    );
    // Which one is too many changes with the others, though its own file stays.
    let mut files = Files::new(file::keys_dir(data.path()), &Secret::new().unwrap());
    assert!(!files.look().unwrap().has_name("key"));
    assert!(files.look().is_none(), "nothing has changed");
    fs::remove_file(key_file(data.path(), "k0000")).unwrap();
    assert!(files.look().unwrap().has_name("key"));
}
