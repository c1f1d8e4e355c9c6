//! Makes folders and files that are still there after a crash.
//!
//! A new folder or file is an entry of the folder above it, and on the disk only once that one is
//! synced.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Makes a folder and those above it that are missing, so that they survive a crash.
///
/// # Errors
/// A folder that cannot be made or synced, or a file in its place.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    make_with(&missing(dir), sync_dir)
}

/// Makes a folder in one that is there, so that it survives a crash. Does nothing if the folder
/// exists.
///
/// # Errors
/// As [`make_dir`], and a folder above that is missing.
pub(crate) fn make_dir_below(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    make_with(&[dir.to_owned()], sync_dir)
}

/// Makes missing folders, in this order, and syncs the folder above each.
fn make_with(missing: &[PathBuf], mut sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for new in missing {
        match fs::create_dir(new) {
            Ok(()) => {}
            // Another process was first; whether it has synced is not known.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && new.is_dir() => {}
            Err(e) => return Err(e),
        }
        sync(above(new))?;
    }
    Ok(())
}

/// Syncs the entries of a folder to the disk.
///
/// # Errors
/// A folder that cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The folder that a path is an entry of.
pub fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}

/// The folders of a path that are not there, the highest first.
fn missing(dir: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = dir
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_that_is_missing_is_made_below_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(missing(&path), [dir.path().join("a/b"), path.clone()]);
        let mut synced = Vec::new();
        let sync = |dir: &Path| {
            synced.push(dir.to_owned());
            sync_dir(dir)
        };
        make_with(&missing(&path), sync).unwrap();
        assert_eq!(synced, [dir.path().join("a"), dir.path().join("a/b")]);
        assert!(path.is_dir() && missing(&path).is_empty());
        make_dir(&path).unwrap();
        make_dir(&dir.path().join("d/e")).unwrap();
        assert!(dir.path().join("d/e").is_dir());
        assert_eq!(
            (above(&path), above(Path::new("data"))),
            (path.parent().unwrap(), Path::new("."))
        );

        fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_dir(&dir.path().join("file/x")).is_err());
        make_dir_below(&path.join("d")).unwrap();
        make_dir_below(&path.join("d")).unwrap();
        assert!(path.join("d").is_dir());
        assert!(make_dir_below(&path.join("e/f")).is_err());
    }
}
