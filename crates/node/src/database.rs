//! Opens a redb database whose file may be damaged.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use redb::Database;

/// Memory that a database may keep of its file, which has some hundred bytes for each task or peer.
const CACHE_BYTES: usize = 8 << 20;

/// A database of redb. redb panics over some damaged files, when it opens, reads, writes and even
/// when it closes them. Here such panics are errors, and closing leaves the file as it is.
pub(crate) struct GuardedDatabase(Option<Database>);

impl GuardedDatabase {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`redb::Error::Corrupted`] for a panic, too.
    pub(crate) fn open(path: &Path) -> Result<Self, redb::Error> {
        let open = || Database::builder().set_cache_size(CACHE_BYTES).create(path);
        caught(|| open().map_err(redb::Error::from)).map(|database| Self(Some(database)))
    }

    /// # Errors
    /// The error of `work`, and [`redb::Error::Corrupted`] for a panic.
    pub(crate) fn run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let database = self.0.as_ref().expect("it is there until it is dropped");
        caught(|| work(database))
    }
}

impl Drop for GuardedDatabase {
    fn drop(&mut self) {
        let database = self.0.take();
        // Committed changes are durable already.
        let _ = caught(|| {
            drop(database);
            Ok(())
        });
    }
}

fn caught<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let reason = "the database panics over what it reads";
        Err(redb::Error::Corrupted(reason.into()))
    })
}

#[cfg(test)]
mod tests {
    use redb::{ReadableDatabase, ReadableTable, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("rows");
    const ROWS: u32 = 200;
    const PAGE: usize = 4096;

    fn write(database: &Database, from: u32) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for row in from..from + ROWS {
                table.insert(row, [7; 100].as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(database: &Database) -> Result<usize, redb::Error> {
        let transaction = database.begin_read()?;
        let table = transaction.open_table(TABLE)?;
        table
            .iter()?
            .try_fold(0, |count, row| row.map(|_| count + 1))
            .map_err(redb::Error::from)
    }

    /// Damages each page of a file in turn. Every operation then succeeds or is refused, and the
    /// process lives on.
    #[test]
    fn no_damaged_page_ends_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whole.redb");
        GuardedDatabase::open(&path)
            .unwrap()
            .run(|database| write(database, 0))
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for start in (0..whole.len()).step_by(PAGE) {
            for bytes in [16, PAGE] {
                let mut damaged = whole.clone();
                let end = whole.len().min(start + bytes);
                damaged[start..end].fill(0xff);
                let path = dir.path().join("damaged.redb");
                std::fs::write(&path, damaged).unwrap();
                let all = GuardedDatabase::open(&path).and_then(|database| {
                    let count = database.run(read)?;
                    database.run(|database| write(database, ROWS))?;
                    Ok(count)
                });
                match all {
                    Ok(count) => assert_eq!(count, ROWS as usize),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 0, "some of its pages are needed");
    }
}
