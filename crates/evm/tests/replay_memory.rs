//! The memory of a replay file that is made of what takes most memory for its bytes.

#[path = "common/peak.rs"]
mod peak;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use myriad_evm::host::replay::{ReplayError, replay};

/// Bytes of a file.
const FILE_BYTES: u64 = 48 << 20;
/// Its memory, in parts of its bytes.
const MEMORY_MAX: u64 = 3;

const WORD: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const ADDRESS: &str = "0000000000000000000000000000000000000000";

fn header(number: usize) -> String {
    let bloom = WORD.repeat(8);
    format!(
        r#"{{"parentHash":"{WORD}","ommersHash":"{WORD}","coinbase":"{ADDRESS}","stateRoot":"{WORD}","transactionRoot":"{WORD}","receiptsRoot":"{WORD}","logsBloom":"{bloom}","difficulty":0,"number":{number},"gasLimit":0,"gasUsed":0,"timestamp":0,"extraData":"","mixHashOrPrevRandao":"{WORD}","nonce":0}}"#
    )
}

/// The shortest transaction, with so many logs and keys of an access list, which are as short.
fn transaction(logs: usize, accesses: usize) -> String {
    let logs = vec![r#""""#; logs].join(",");
    let access = format!(r#"{{"address":"{ADDRESS}","storageKeys":[]}}"#);
    let accesses = vec![access; accesses].join(",");
    format!(
        r#"{{"r":0,"s":0,"v":0,"type":"","sender":"{ADDRESS}","nonce":0,"value":0,"payload":"","gasLimit":0,"chainId":2,"accessList":{{"value":[{accesses}]}},"outcome":{{"status":true,"gasUsed":0,"logs":[{logs}]}}}}"#
    )
}

/// As many blocks of so many such transactions as fill a file.
fn write(path: &Path, transaction: &str, count: usize) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let transactions = vec![transaction; count].join(",");
    let blocks = FILE_BYTES as usize / (transactions.len() + header(0).len());
    write!(file, r#"{{"accounts":[],"storage":[],"blocks":["#).unwrap();
    for number in 0..blocks {
        let comma = if number == 0 { "" } else { "," };
        let header = header(number);
        write!(file, r#"{comma}{{"header":{header},"txs":[{transactions}]}}"#).unwrap();
    }
    write!(file, "]}}").unwrap();
    file.flush().unwrap();
}

#[test]
fn what_is_short_in_a_file_takes_little_more_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replay.json");
    // Memory that the allocator keeps from one file counts for the next one, too.
    let before = peak::forget();
    for (what, transaction, count) in [
        ("transactions", transaction(0, 0), 300),
        ("entries of access lists", transaction(0, 4096), 1),
        ("logs without data", transaction(1 << 16, 0), 1),
    ] {
        write(&path, &transaction, count);
        let bytes = fs::metadata(&path).unwrap().len();
        assert!(bytes > FILE_BYTES / 2, "{what}: {bytes} bytes");
        peak::forget();
        let error = replay(&path, None).unwrap_err();
        assert!(
            matches!(error, ReplayError::UnknownChain { chain_id: 2 }),
            "{what}: {error}"
        );
        let taken = peak::bytes() - before;
        eprintln!("{what}: {taken} bytes of memory for {bytes}");
        assert!(
            taken <= MEMORY_MAX * bytes,
            "{what}: {taken} bytes of memory for {bytes}"
        );
    }
}
