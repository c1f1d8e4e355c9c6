//! The keys that are kept, and the files that are refused.

use std::sync::{
    Barrier,
    atomic::{AtomicUsize, Ordering},
};

use super::*;

/// The name of the keys of a text.
fn name(text: Option<&str>) -> String {
    Description::of(text).key_name(&[3; 32])
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_a_child_makes_of_one_text_is_the_keys_of_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let cache = KeyFolder::new(dir.path());
    let fill = |text: Option<&str>, file: Vec<u8>| {
        cache.fill(&name(text), Filling::Missing, || true, || Ok::<_, KeyError>(file))
    };
    let others = |but: &str| -> Vec<(String, Vec<u8>)> {
        let names = names(dir.path())
            .into_iter()
            .filter(|name| !name.starts_with(but));
        let read = |name: String| (name.clone(), fs::read(dir.path().join(name)).unwrap());
        names.map(read).collect()
    };
    fill(None, KeyFolder::file_of(b"plain")).unwrap();
    fill(Some("a"), KeyFolder::file_of(b"of a")).unwrap();
    let of_b = name(Some("b"));
    let before = others(&of_b);
    // The answer spoils no other keys, whatever it says, in whatever form.
    for wrong in [
        Vec::new(),
        b"keys".to_vec(),
        [MAGIC.as_slice(), &[7; 100]].concat(),
    ] {
        let error = fill(Some("b"), wrong).unwrap_err();
        assert!(matches!(error, KeyError::Keygen { .. }), "{error}");
        assert_eq!(others("none"), before, "nothing is left of it");
    }
    fill(Some("b"), KeyFolder::file_of(b"plain")).unwrap();
    assert_eq!(others(&of_b), before);
    // Keys that are there are not made again.
    let made = cache.fill(
        &name(Some("a")),
        Filling::Missing,
        || true,
        || -> Result<_, KeyError> { unreachable!() },
    );
    assert_eq!(made, Ok(()));
    assert_eq!(cache.has(&of_b), Ok(true));
    assert_eq!(cache.read(&of_b), Ok(Some(b"plain".to_vec())));
}

#[test]
fn two_at_once_make_the_keys_once() {
    let dir = tempfile::tempdir().unwrap();
    let made_by = |filling| {
        let (made, start) = (AtomicUsize::new(0), Barrier::new(4));
        let slowly = || {
            made.fetch_add(1, Ordering::SeqCst);
            // The sleep is long enough for all to have looked.
            thread::sleep(20 * OTHERS_POLL);
            Ok::<_, KeyError>(KeyFolder::file_of(b"keys"))
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let cache = KeyFolder::new(dir.path());
                    cache.fill(&name(None), filling, || true, slowly).unwrap();
                });
            }
        });
        made.into_inner()
    };
    assert_eq!(made_by(Filling::Missing), 1);
    assert_eq!(made_by(Filling::Missing), 0);
    let path = KeyFolder::new(dir.path()).path(&name(None));
    fs::write(&path, KeyFolder::file_of(b"rot")).unwrap();
    assert_eq!(made_by(Filling::Rotten), 1);
    // A caller that does not wait, since it is to be stopped, makes them too.
    let lock = File::create(dir.path().join(format!("{}.lock", name(Some("a"))))).unwrap();
    lock.lock().unwrap();
    let start = Instant::now();
    let stopped = KeyFolder::new(dir.path()).fill(
        &name(Some("a")),
        Filling::Missing,
        || false,
        || {
            Err(KeyError::Keygen {
                reason: "stopped".into(),
            })
        },
    );
    assert!(stopped.is_err() && start.elapsed() < OTHERS_PATIENCE / 4);
}

#[test]
fn what_killed_processes_have_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let old = SystemTime::now() - 2 * LEFT_OVER_AFTER;
    for (name, modified) in [
        ("a.keys", Some(old)),
        ("a.lock", Some(old)),
        ("b.lock", Some(old)),
        (".tmpx.part", Some(old)),
        ("c.lock", None),
        (".tmpy.part", None),
    ] {
        let file = File::create(dir.path().join(name)).unwrap();
        if let Some(modified) = modified {
            file.set_modified(modified).unwrap();
        }
    }
    KeyFolder::new(dir.path()).prepare().unwrap();
    assert_eq!(names(dir.path()), [".tmpy.part", "a.keys", "a.lock", "c.lock"]);
}

#[test]
fn strangers_keys_do_not_pile_up() {
    const SURPLUS: usize = 3;
    let dir = tempfile::tempdir().unwrap();
    let start = std::time::SystemTime::UNIX_EPOCH;
    for number in 0..KEY_SETS_MAX + SURPLUS {
        let file = File::create(dir.path().join(format!("{number:03}.keys"))).unwrap();
        let made = start + std::time::Duration::from_secs(number as u64);
        file.set_modified(made).unwrap();
        File::create(dir.path().join(format!("{number:03}.lock"))).unwrap();
    }
    // The keys that were made first are in use.
    touch(&dir.path().join("000.keys"));
    KeyFolder::new(dir.path()).prepare().unwrap();
    let left = names(dir.path());
    assert_eq!(left.len(), 2 * (KEY_SETS_MAX - 1), "there is room for one more");
    let gone = SURPLUS + 1;
    assert_eq!(
        left[..3],
        [
            "000.keys".into(),
            "000.lock".into(),
            format!("{:03}.keys", gone + 1)
        ],
        "those that were used longest ago are gone"
    );
}

#[test]
fn keys_that_are_used_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = KeyFolder::new(dir.path());
    let fill = || {
        let make = || Ok::<_, KeyError>(KeyFolder::file_of(b"keys"));
        cache.fill(&name(None), Filling::Missing, || true, make).unwrap();
    };
    fill();
    let path = cache.path(&name(None));
    let old = SystemTime::now() - LEFT_OVER_AFTER;
    File::open(&path).unwrap().set_modified(old).unwrap();
    fill();
    assert!(fs::metadata(&path).unwrap().modified().unwrap() > old);
}

/// A file as left by a broken disk, or by an attacker that has taken over the child that makes
/// keys.
#[test]
fn a_file_that_is_whole_and_has_no_keys_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let cache = KeyFolder::new(dir.path());
    let (rotten, anew) = (KeyFolder::file_of(b"rot"), KeyFolder::file_of(b"anew"));
    let fill = |filling, file: &[u8]| {
        cache
            .fill(&name(None), filling, || true, || Ok::<_, KeyError>(file.to_vec()))
            .unwrap();
        fs::read(cache.path(&name(None))).unwrap()
    };
    assert_eq!(fill(Filling::Missing, &rotten), rotten);
    // A caller that has not tried to read it sees nothing wrong.
    assert_eq!(fill(Filling::Missing, &anew), rotten);
    assert_eq!(fill(Filling::Rotten, &anew), anew);
}

#[test]
fn damaged_and_missing_files_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let cache = KeyFolder::new(dir.path());
    assert_eq!(cache.read("x"), Ok(None));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    for content in [b"".as_slice(), b"myriad", &[MAGIC.as_slice(), &[7; 100]].concat()] {
        fs::write(cache.path("x"), content).unwrap();
        assert_eq!(cache.read("x"), Ok(None));
        assert_eq!(cache.has("x"), Ok(false));
    }
}
