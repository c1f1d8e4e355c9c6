//! The files that have no keys.

use std::fs;

use super::*;

#[test]
fn files_without_keys_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, config) = (KeyCache::new(dir.path()), VmConfig::riscv32());
    let path = cache.0.path(&config.key_name());
    for content in [
        b"".as_slice(),
        b"myriad",
        &KeyFolder::file_of(&[7; 100]),
        &KeyFolder::file_of(b"rot"),
    ] {
        fs::write(&path, content).unwrap();
        assert!(!cache.has(&config));
        assert!(matches!(cache.get(&config), Err(KeyError::Missing { .. })));
    }
}

#[test]
fn keys_that_are_not_there_are_missed_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let cache = KeyCache::new(dir.path());
    let error = cache.get(&VmConfig::riscv32()).err().unwrap();
    assert!(
        matches!(&error, KeyError::Missing { path } if path.starts_with(dir.path())),
        "{error}"
    );
    assert!(!cache.has(&VmConfig::riscv32()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
