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
    make_all_with(dir, sync_dir)
}

fn make_all_with(dir: &Path, mut sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let missing = missing(dir);
    // The process that made the lowest existing folder may have been killed before it was synced:
    // it makes one after the other.
    match sync(above(missing.first().map_or(dir, |first| above(first)))) {
        // The folder above belongs to another user, which has made this one, or to a file system
        // that syncs no folders.
        Err(e) if cannot_sync(&e) => {}
        synced => synced?,
    }
    missing.iter().try_for_each(|new| make_with(new, &mut sync))
}

fn cannot_sync(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported)
}

/// Makes a folder in one that is there, if need be. Its name is on the disk when this returns, even
/// if the process that made the folder was killed before that.
///
/// # Errors
/// As [`make_dir`], and a folder above that is missing.
pub(crate) fn make_dir_below(dir: &Path) -> io::Result<()> {
    make_with(dir, sync_dir)
}

/// Makes a folder if it is missing, and has it in the folder above it.
fn make_with(new: &Path, mut sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    match fs::create_dir(new) {
        Ok(()) => {}
        // Another process was first; whether it has synced is not known.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && new.is_dir() => {}
        Err(e) => return Err(e),
    }
    sync(above(new))
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

    /// Makes a folder and gives those that were synced for it.
    fn synced(dir: &Path) -> Vec<PathBuf> {
        let mut synced = Vec::new();
        make_all_with(dir, |dir| {
            synced.push(dir.to_owned());
            sync_dir(dir)
        })
        .unwrap();
        synced
    }

    #[test]
    fn each_folder_that_is_missing_is_made_below_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let path = at("a/b/c");
        fs::create_dir(at("a")).unwrap();
        assert_eq!(missing(&path), [at("a/b"), path.clone()]);
        // The first of them is there, and whether it is on the disk is not known.
        assert_eq!(synced(&path), [dir.path().to_owned(), at("a"), at("a/b")]);
        assert!(path.is_dir() && missing(&path).is_empty());
        make_dir(&at("d/e")).unwrap();
        assert!(at("d/e").is_dir());
        assert_eq!(
            (above(&path), above(Path::new("data"))),
            (path.parent().unwrap(), Path::new("."))
        );

        fs::write(at("file"), "").unwrap();
        assert!(make_dir(&at("file/x")).is_err());
        make_dir_below(&path.join("d")).unwrap();
        make_dir_below(&path.join("d")).unwrap();
        assert!(path.join("d").is_dir());
        assert!(make_dir_below(&path.join("e/f")).is_err());
    }

    /// A process that was killed between making and syncing a folder leaves one that a failing
    /// machine forgets, with all that others have put into it since.
    #[test]
    fn a_folder_that_somebody_else_has_made_is_synced_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        fs::create_dir_all(&path).unwrap();
        assert_eq!(synced(&path), [dir.path().join("a")]);
        let mut above_it = Vec::new();
        make_with(&path, |dir| {
            above_it.push(dir.to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(above_it, [dir.path().join("a")]);
    }

    #[test]
    fn a_folder_above_that_is_another_users_is_left_to_its_owner() {
        let denied = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
        let dir = tempfile::tempdir().unwrap();
        make_all_with(dir.path(), denied).unwrap();
        // This process has to sync the folders that it makes.
        assert!(make_all_with(&dir.path().join("new"), denied).is_err());
        let broken = |_: &Path| Err(io::Error::other("no disk"));
        assert!(make_all_with(dir.path(), broken).is_err());
    }
}
