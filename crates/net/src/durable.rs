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
    for new in missing(dir) {
        match fs::create_dir(&new) {
            Ok(()) => {}
            // Another process was first; whether it has synced is not known.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && new.is_dir() => {}
            Err(e) => return Err(e),
        }
        sync_dir(above(&new))?;
    }
    Ok(())
}

/// Has the entries of a folder on the disk.
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
        make_dir(&path).unwrap();
        assert!(path.is_dir() && missing(&path).is_empty());
        make_dir(&path).unwrap();
        assert_eq!(
            (above(&path), above(Path::new("data"))),
            (path.parent().unwrap(), Path::new("."))
        );

        fs::write(dir.path().join("file"), "").unwrap();
        assert!(make_dir(&dir.path().join("file/x")).is_err());
    }
}
