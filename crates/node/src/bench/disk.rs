//! Measures how fast this machine hashes, and how fast the disk of its data folder is.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    time::Instant,
};

use myriad_cost::profile::Disk;
use myriad_net::durable::make_dir;

use super::{BenchError, Step};

/// The bytes that are written and read back: so many that one sync is a small part, and fewer than
/// any disk has to spare.
const FILE_BYTES: usize = 128 << 20;
/// The bytes of one write, as for blobs.
const CHUNK_BYTES: usize = 1 << 20;
/// The number of times that it is hashed.
const HASH_ROUNDS: usize = 64;

/// Measures the bytes that one thread hashes in a second, and the disk of `folder`.
pub(super) fn measure(folder: &Path, observe: &mut dyn FnMut(&Step)) -> Result<(f64, Disk), BenchError> {
    let what = "hashing and disk";
    observe(&Step::Begins { what: what.into() });
    let start = Instant::now();
    // Not zeroes, which some disks do not write.
    let chunk: Vec<u8> = (0..CHUNK_BYTES)
        .map(|i| ((i * 2_654_435_761) >> 7) as u8)
        .collect();
    let hashing = Instant::now();
    for _ in 0..HASH_ROUNDS {
        std::hint::black_box(blake3::hash(std::hint::black_box(&chunk)));
    }
    let hash_bytes_per_s = (HASH_ROUNDS * CHUNK_BYTES) as f64 / seconds(hashing);
    let disk = on_disk(folder, chunk).map_err(|reason| BenchError::Disk {
        folder: folder.to_owned(),
        reason,
    })?;
    observe(&Step::Measured {
        what: what.into(),
        wall: start.elapsed(),
        peak_bytes: 0,
    });
    Ok((hash_bytes_per_s, disk))
}

fn on_disk(folder: &Path, mut chunk: Vec<u8>) -> io::Result<Disk> {
    make_dir(folder)?;
    // The file removes itself, however this ends.
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let writing = Instant::now();
    let mut writer = file.as_file();
    for _ in 0..FILE_BYTES / CHUNK_BYTES {
        writer.write_all(&chunk)?;
    }
    writer.sync_all()?;
    let write_bytes_per_s = FILE_BYTES as f64 / seconds(writing);
    let reading = Instant::now();
    let mut reader = File::open(file.path())?;
    while reader.read(&mut chunk)? > 0 {}
    Ok(Disk {
        write_bytes_per_s,
        read_bytes_per_s: FILE_BYTES as f64 / seconds(reading),
    })
}

/// More than zero, whatever the clock says.
fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64().max(1e-9)
}
