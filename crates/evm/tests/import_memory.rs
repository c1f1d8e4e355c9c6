//! The memory of `block import` where a node answers with as much as is read of it. A server in
//! this process makes the answer while it sends it, so that it takes none itself.

#[path = "common/peak.rs"]
mod peak;
#[path = "../src/host/import/tests/request.rs"]
mod request;

use std::{
    io::{self, BufWriter, Write},
    net::{TcpListener, TcpStream},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use myriad_evm::{
    host::{
        BlockFile,
        block_file::JSON_BYTES_MAX,
        import::{BlockId, ImportOptions, Retries, import},
        sample::{SampleSpec, generate},
    },
    input::{CODES_MAX, INPUT_BYTES_MAX, STATE_NODES_MAX},
};
use serde_json::json;

/// The memory of an import, in parts of the bytes that a node may answer with.
const MEMORY_MAX: f64 = 0.8;
/// One test at a time: they share the process's memory.
static ALONE: Mutex<()> = Mutex::new(());

/// The witness of a node: that of a block, and more that the block does not need.
#[derive(Clone)]
struct Answer {
    file: BlockFile,
    /// `state` or `codes`.
    list: &'static str,
    item_bytes: usize,
    items: usize,
    /// Keys of 32 bytes each, which nobody reads and which count all the same.
    keys: usize,
}

impl Answer {
    /// As much as the guest takes and as is read of a node, or so much of it.
    fn filling(file: &BlockFile, list: &'static str, item_bytes: usize, share: f64) -> Self {
        const KEY_BYTES: usize = "\"0x\",".len() + 64;
        let input = file.to_input().unwrap().encoded_bytes();
        let of_input = (INPUT_BYTES_MAX as f64 * share) as usize - input;
        let there = match list {
            "state" => STATE_NODES_MAX - file.witness.state.len(),
            _ => CODES_MAX - file.witness.codes.len(),
        };
        let items = (of_input / (4 + item_bytes.next_multiple_of(4))).min(there);
        let json = (JSON_BYTES_MAX as f64 * share) as usize;
        // Some bytes are left for the block's own witness and the keys of the JSON.
        let own = 2 * input + 1024;
        let keys = (json - own - items * (2 * item_bytes + 5)) / KEY_BYTES;
        Self {
            file: file.clone(),
            list,
            item_bytes,
            items,
            keys,
        }
    }

    fn send(&self, to: impl Write) -> io::Result<()> {
        let witness = &self.file.witness;
        let mut to = BufWriter::with_capacity(64 << 10, to);
        write!(to, r#"{{"jsonrpc":"2.0","id":1,"result":{{"headers":"#)?;
        serde_json::to_writer(&mut to, &witness.headers)?;
        for (list, own) in [("state", &witness.state), ("codes", &witness.codes)] {
            write!(to, r#","{list}":["#)?;
            for (index, item) in own.iter().enumerate() {
                write!(to, r#"{}"{item}""#, if index == 0 { "" } else { "," })?;
            }
            if list == self.list {
                let digits = 2 * self.item_bytes;
                for item in 0..self.items {
                    write!(to, r#","0x{item:0>digits$x}""#)?;
                }
            }
            write!(to, "]")?;
        }
        write!(to, r#","keys":["0x""#)?;
        for key in 0..self.keys {
            write!(to, r#","0x{key:064x}""#)?;
        }
        write!(to, "]}}}}")?;
        to.flush()
    }

    fn reply(&self, method: &str, to: &mut TcpStream) -> io::Result<()> {
        write!(to, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        let result = match method {
            "eth_chainId" => json!(self.file.chain_id),
            "debug_getRawBlock" => json!(self.file.block),
            "debug_executionWitness" => return self.send(to),
            _ => {
                let error = json!({ "code": -32_601, "message": "no such method" });
                return write!(to, "{}", json!({ "error": error }));
            }
        };
        write!(to, "{}", json!({ "result": result }))
    }
}

/// Starts a server and gives its address. It ends with the test process.
fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (_, asked) = request::read(&mut stream);
            // The client leaves where it is told too much.
            let _ = answer.reply(asked["method"].as_str().unwrap(), &mut stream);
        }
    });
    url
}

/// Imports a block from a node whose answers have this share of what is allowed, writes its file,
/// and looks at the memory of each.
fn takes(share: f64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let spec = SampleSpec {
        txs: 5,
        seed: 1,
        accounts: 500,
        token_holders: 100,
    };
    let file = generate(&spec).unwrap();
    let number = file.decode_block().unwrap().header.number;
    let options = ImportOptions {
        timeout: Duration::from_secs(600),
        chain_config: file.chain_config.clone(),
        retries: Retries {
            tries: 1,
            first_pause: Duration::ZERO,
        },
        ..ImportOptions::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("block.json.gz");
    // Memory that the allocator keeps from one answer counts for the next one, too.
    let before = peak::forget();
    for (list, item_bytes) in [("state", 250), ("codes", 24_576)] {
        let answer = Answer::filling(&file, list, item_bytes, share);
        let mut bytes = Counted(0);
        answer.send(&mut bytes).unwrap();
        let bytes = bytes.0;
        let allowed = JSON_BYTES_MAX as f64 * share;
        assert!((0.95 * allowed..=allowed).contains(&(bytes as f64)), "{bytes}");
        let url = serve(answer.clone());

        peak::forget();
        let imported = import(&url, BlockId::Number(number), &options).unwrap();
        let taken = peak::bytes() - before;
        assert_eq!(
            imported.witness.state.len() + imported.witness.codes.len(),
            file.witness.state.len() + file.witness.codes.len() + answer.items
        );
        let held = peak::forget();
        imported.write(&path).unwrap();
        let written = peak::bytes() - held;
        drop(imported);
        eprintln!(
            "{list}: an answer of {bytes} bytes took {taken} bytes of memory, and writing it {written}"
        );
        assert!(
            taken as f64 <= MEMORY_MAX * bytes as f64,
            "{list}: {taken} bytes of memory for {bytes}"
        );
        assert!(
            written < 16 << 20,
            "{list}: {written} bytes of memory to write it"
        );
        // The written file can be read.
        let read = BlockFile::read(&path).unwrap();
        assert_eq!(read.block, file.block);
    }
}

/// Counts what is written.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_import_takes_no_more_memory_than_its_node_says() {
    takes(1.0 / 16.0);
}

#[test]
#[ignore = "takes 20 s of CPU time and 450 MB: the same with as much as is read of a node"]
fn an_import_of_as_much_as_is_read_takes_no_more() {
    takes(1.0);
}
