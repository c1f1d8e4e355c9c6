//! A node of Ethereum that answers one question with given bytes, and all others rightly.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use myriad_evm::{
    Parent,
    host::{
        BlockFile,
        import::{BlockId, ImportOptions, Retries, import},
    },
};
use serde_json::{Value, json};

/// Its answers are on loopback; where one does not come, the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that lives as long as the process.
pub(crate) struct Node {
    url: String,
    /// The method that is answered wrongly, and the answer.
    changed: Arc<Mutex<(String, Vec<u8>)>>,
}

impl Node {
    pub(crate) fn start(file: BlockFile) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound");
        let changed: Arc<Mutex<(String, Vec<u8>)>> = Arc::default();
        thread::spawn({
            let changed = Arc::clone(&changed);
            move || {
                for stream in listener.incoming().flatten() {
                    let changed = changed.lock().unwrap_or_else(PoisonError::into_inner);
                    // The client may have hung up.
                    let _ = serve(&file, &changed, stream);
                }
            }
        });
        Self {
            url: format!("http://{address}"),
            changed,
        }
    }

    /// Whether a block is imported when `method` is answered with `body`.
    pub(crate) fn import(&self, method: &str, body: &[u8]) -> bool {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = (method.to_owned(), body.to_vec());
        let options = ImportOptions {
            timeout: PATIENCE,
            // The same answer would come again.
            retries: Retries {
                tries: 1,
                first_pause: Duration::ZERO,
            },
            ..ImportOptions::default()
        };
        import(&self.url, BlockId::Latest, &options).is_ok()
    }
}

fn serve(file: &BlockFile, changed: &(String, Vec<u8>), mut stream: TcpStream) -> io::Result<()> {
    let request = read_request(&mut stream)?;
    let method = request["method"].as_str().unwrap_or_default();
    let body = if changed.0 == method {
        changed.1.clone()
    } else if changed.0 == AS_JSON && method == "debug_getRawBlock" {
        // Only then is the block asked for as JSON.
        br#"{"error": {"code": -32601, "message": "no such method"}}"#.to_vec()
    } else {
        answer(file, method)
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

fn read_request(stream: &mut TcpStream) -> io::Result<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// The method that gives a block as JSON.
const AS_JSON: &str = "eth_getBlockByNumber";

/// The methods that an import calls.
pub(crate) const METHODS: [&str; 6] = [
    "eth_chainId",
    "debug_getRawBlock",
    "debug_getRawHeader",
    "debug_executionWitness",
    "debug_chainConfig",
    AS_JSON,
];

/// The body of the right answer.
pub(crate) fn answer(file: &BlockFile, method: &str) -> Vec<u8> {
    let witness = &file.witness;
    let parent = match &file.parent {
        Parent::Header(header) => json!(header),
        Parent::StateRoot(_) => Value::Null,
    };
    let result = match method {
        "eth_chainId" => json!(format!("{:#x}", file.chain_id)),
        "debug_getRawBlock" => json!(file.block),
        AS_JSON => json_block(file),
        "debug_getRawHeader" => parent,
        "debug_executionWitness" => json!({
            "state": witness.state, "codes": witness.codes, "headers": witness.headers, "keys": [],
        }),
        _ => json!(file.chain_config),
    };
    json!({ "jsonrpc": "2.0", "id": 1, "result": result })
        .to_string()
        .into_bytes()
}

fn json_block(file: &BlockFile) -> Value {
    let block = file.decode_block().expect("it is valid");
    let mut json = json!(block.header);
    json["hash"] = json!(block.header.hash_slow());
    json["transactions"] = json!(block.body.transactions);
    json["withdrawals"] = json!(block.body.withdrawals);
    json
}
