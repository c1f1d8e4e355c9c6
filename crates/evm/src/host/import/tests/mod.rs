//! Imports from a server in this process, which answers as each test likes.

mod ancestors;
mod nodes;
mod range;
mod request;
mod retries;
mod shapes;

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    thread,
};

use super::*;
use crate::{
    host::sample::{SampleSpec, generate},
    validate,
};

/// The server's reaction to a request.
enum Reply {
    /// A JSON-RPC result.
    Result(Value),
    /// A JSON-RPC error.
    Error(i64, &'static str),
    /// The `error` of JSON-RPC, in any shape.
    Refusal(Value),
    /// An HTTP status with a body.
    Http(u16, Vec<u8>),
    /// An HTTP status, and the seconds to wait before the next try.
    Later(u16, &'static str),
    /// A body of so many bytes is announced, and does not come.
    Announce(u64),
    /// The server sends these bytes, and is silent then.
    Hang(&'static [u8]),
    /// Byte after byte without end.
    Drip,
    /// Less than announced, and then the end.
    Break,
    /// Gzip that inflates to more than is read.
    Bomb,
}

/// Starts a server and gives its address. It ends with the test process.
fn serve(reply: impl Fn(&str, &Value) -> Reply + Send + 'static) -> String {
    serve_headers(move |_, method, params| reply(method, params))
}

/// Starts a server that also sees the lines of the request's header, in lower case.
fn serve_headers(reply: impl Fn(&[String], &str, &Value) -> Reply + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        // Kept open, so that a hanging connection does not end.
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (header, request) = request::read(&mut stream);
            let method = request["method"].as_str().unwrap();
            // The client may have left in the meantime.
            let _ = send(&mut stream, reply(&header, method, &request["params"]));
            open.push(stream);
        }
    });
    url
}

fn send(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let mut respond = |status: u16, headers: &str, body: &[u8]| {
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
        )?;
        stream.write_all(body)
    };
    let json = |rest: Value| {
        let mut answer = json!({ "jsonrpc": "2.0", "id": 1 });
        answer
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        answer.to_string().into_bytes()
    };
    match reply {
        Reply::Result(result) => respond(200, "", &json(json!({ "result": result }))),
        Reply::Error(code, message) => respond(
            200,
            "",
            &json(json!({ "error": { "code": code, "message": message } })),
        ),
        Reply::Refusal(error) => respond(200, "", &json(json!({ "error": error }))),
        Reply::Http(status, body) => respond(status, "", &body),
        Reply::Later(status, seconds) => respond(status, &format!("Retry-After: {seconds}\r\n"), b""),
        Reply::Announce(bytes) => write!(stream, "HTTP/1.1 200 x\r\nContent-Length: {bytes}\r\n\r\n"),
        Reply::Hang(start) => stream.write_all(start),
        Reply::Drip => {
            stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 1000000\r\n\r\n")?;
            loop {
                stream.write_all(b" ")?;
                thread::sleep(Duration::from_millis(50));
            }
        }
        Reply::Break => {
            stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n{")?;
            stream.shutdown(std::net::Shutdown::Both)
        }
        Reply::Bomb => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            for _ in 0..=crate::host::block_file::JSON_BYTES_MAX >> 20 {
                gzip.write_all(&[b' '; 1 << 20])?;
            }
            respond(200, "Content-Encoding: gzip\r\n", &gzip.finish()?)
        }
    }
}

/// An honest node that has only this block.
fn honest(file: &BlockFile, method: &str) -> Reply {
    let Parent::Header(parent) = &file.parent else {
        panic!("the parent is not known")
    };
    let witness = &file.witness;
    Reply::Result(match method {
        "eth_chainId" => json!(format!("{:#x}", file.chain_id)),
        "debug_getRawBlock" => json!(file.block),
        "debug_getRawHeader" => json!(parent),
        "debug_executionWitness" => json!({
            "state": witness.state, "codes": witness.codes, "headers": witness.headers,
            "keys": ["0x00"],
        }),
        "debug_chainConfig" => json!(file.chain_config),
        _ => return Reply::Error(-32_601, "no such method"),
    })
}

fn sample() -> BlockFile {
    let spec = SampleSpec {
        txs: 5,
        seed: 1,
        accounts: 500,
        token_holders: 100,
    };
    // No node says that a block is synthetic.
    BlockFile {
        synthetic: false,
        description: None,
        ..generate(&spec).unwrap()
    }
}

const NUMBER: BlockId = BlockId::Number(1_048_576);

/// Options that do not wait long.
fn impatient() -> ImportOptions {
    ImportOptions {
        timeout: Duration::from_secs(2),
        retries: Retries {
            tries: 1,
            first_pause: Duration::ZERO,
        },
        ..ImportOptions::default()
    }
}

#[test]
fn a_block_is_imported_by_its_number() {
    let file = sample();
    let node = file.clone();
    let url = serve(move |method, params| {
        match method {
            "debug_getRawBlock" | "debug_executionWitness" => assert_eq!(params, &json!(["0x100000"])),
            _ => assert_eq!(params, &json!([])),
        }
        honest(&node, method)
    });
    let imported = import(&url, NUMBER, &ImportOptions::default()).unwrap();
    assert_eq!(imported, file);
}

/// A chain that is not built in; `latest`; headers as geth writes them.
#[test]
fn a_block_of_another_chain_brings_its_rules() {
    let file = sample();
    let node = file.clone();
    let url = serve(move |method, params| match (method, honest(&node, method)) {
        ("debug_getRawBlock", reply) => {
            assert_eq!(params, &json!(["latest"]));
            reply
        }
        ("debug_executionWitness", Reply::Result(mut witness)) => {
            assert_eq!(params, &json!(["0x100000"]));
            witness["headers"] = json!([node.decode_parent().unwrap()]);
            Reply::Result(witness)
        }
        (_, reply) => reply,
    });
    let imported = import(&url, BlockId::Latest, &ImportOptions::default()).unwrap();
    assert_eq!(imported, file);
    validate(&imported.to_input().unwrap()).unwrap();
}

#[test]
fn a_parent_that_is_not_in_the_witness_is_asked_for() {
    let file = BlockFile {
        witness: Witness {
            headers: Vec::new(),
            ..sample().witness
        },
        ..sample()
    };
    let node = file.clone();
    let url = serve(move |method, _| match honest(&node, method) {
        // The user knows better than the node, which does not say.
        Reply::Result(_) if method == "debug_chainConfig" => Reply::Error(-32_601, "no such method"),
        reply => reply,
    });
    let options = ImportOptions {
        chain_config: file.chain_config.clone(),
        ..Default::default()
    };
    assert_eq!(import(&url, NUMBER, &options).unwrap(), file);

    let error = import(&url, NUMBER, &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::UnknownChain { .. }), "{error}");
}

/// The error when a node is honest but for one method.
fn fails(method: &'static str, id: BlockId, reply: impl Fn() -> Reply + Send + 'static) -> ImportError {
    let file = sample();
    let url = serve(move |asked, _| {
        if asked == method {
            reply()
        } else {
            honest(&file, asked)
        }
    });
    import(&url, id, &impatient()).unwrap_err()
}

/// The error when a node's block is another than it should be.
fn changed(id: BlockId, change: fn(&mut BlockFile)) -> ImportError {
    let mut file = sample();
    change(&mut file);
    let url = serve(move |method, _| honest(&file, method));
    import(&url, id, &ImportOptions::default()).unwrap_err()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn each_way_to_misbehave_is_named() {
    use ImportError as E;
    use Reply::{Break, Drip, Error, Hang, Http};

    const BLOCK: &str = "debug_getRawBlock";
    const WITNESS: &str = "debug_executionWitness";
    let is = |error: ImportError, expected: fn(&E) -> bool, text: &str| {
        let shown = error.to_string();
        assert!(
            expected(&error) && shown.contains(text),
            "{text}: {error:?}: {shown}"
        );
    };
    let fails = |method, reply: fn() -> Reply| fails(method, NUMBER, reply);

    let e = fails(BLOCK, || Http(500, b"overloaded".to_vec()));
    is(
        e,
        |e| matches!(e, E::HttpStatus { status: 500, .. }),
        "`overloaded`",
    );
    let e = fails(BLOCK, || Http(302, Vec::new()));
    is(e, |e| matches!(e, E::HttpStatus { status: 302, .. }), "302");
    let e = fails(BLOCK, || Http(200, b"<html>".to_vec()));
    is(e, |e| matches!(e, E::Malformed { .. }), "`<html>`");
    let e = fails(BLOCK, || Http(200, b"{}".to_vec()));
    is(
        e,
        |e| matches!(e, E::Malformed { .. }),
        "neither result nor error",
    );
    let e = fails(BLOCK, || Reply::Result(json!("0xzz")));
    is(e, |e| matches!(e, E::Malformed { .. }), BLOCK);
    let e = fails(BLOCK, || Reply::Result(json!("0xc0")));
    is(e, |e| matches!(e, E::Malformed { .. }), "RLP");
    let e = fails(BLOCK, || Reply::Result(Value::Null));
    is(
        e,
        |e| matches!(e, E::NotFound { .. }),
        "no block for block 1048576",
    );
    let e = fails(BLOCK, || Error(-32_000, "block #7 not found"));
    is(e, |e| matches!(e, E::NotFound { .. }), "synced");
    let e = fails(BLOCK, || Error(-32_005, "rate limit"));
    is(e, |e| matches!(e, E::Rpc { code: -32_005, .. }), "rate limit");
    let e = fails(BLOCK, || Reply::Refusal(json!({"code": "E17", "message": null})));
    is(e, |e| matches!(e, E::Rpc { code: 0, .. }), "refused");
    let e = fails(BLOCK, || Hang(b"HTTP/1.1 200 x\r\n"));
    is(e, |e| matches!(e, E::Timeout { seconds: 2, .. }), "2 s");
    let e = fails(BLOCK, || Drip);
    is(e, |e| matches!(e, E::Timeout { .. }), BLOCK);
    let e = fails(BLOCK, || Break);
    is(e, |e| matches!(e, E::Connection { .. }), BLOCK);
    let e = fails(BLOCK, || Hang(b"SSH-2.0-x\r\n\r\n"));
    is(e, |e| matches!(e, E::Connection { .. }), BLOCK);
    let e = fails(WITNESS, || Error(-32_601, "the method does not exist"));
    is(
        e,
        |e| matches!(e, E::MethodNotFound { .. }),
        "--http.api eth,debug",
    );
    let e = fails(WITNESS, || Reply::Result(Value::Null));
    is(e, |e| matches!(e, E::NotFound { .. }), "no witness");
    let e = fails(WITNESS, || Reply::Result(json!({ "codes": [] })));
    is(e, |e| matches!(e, E::Malformed { .. }), "witness.state");
    let e = fails(WITNESS, || {
        Reply::Result(json!({ "state": [{}], "codes": [], "headers": [] }))
    });
    is(e, |e| matches!(e, E::Malformed { .. }), "hex string");
    let e = fails(WITNESS, || {
        Reply::Result(json!({ "state": [], "codes": [], "headers": [] }))
    });
    is(e, |e| matches!(e, E::OtherWitness { .. }), "reorganise");
    let e = fails("eth_chainId", || Reply::Result(json!("main")));
    is(e, |e| matches!(e, E::Malformed { .. }), "main");
    let e = fails("debug_chainConfig", || Reply::Result(json!({ "chainId": 1 })));
    is(e, |e| matches!(e, E::ChainConfig(_)), "of chain 1,");

    let e = changed(NUMBER, |file| {
        file.witness.headers.clear();
        file.parent = Parent::Header(Bytes::from_static(&[0xc0]));
    });
    is(e, |e| matches!(e, E::OtherParent { .. }), "reorganise");
    let e = changed(BlockId::Number(7), |_| {});
    is(e, |e| matches!(e, E::OtherBlock { wanted: 7, .. }), "1048576");
    let e = changed(BlockId::Number(0), |file| {
        let mut block = file.decode_block().unwrap();
        block.header.number = 0;
        file.block = alloy_rlp::encode(&block).into();
    });
    is(e, |e| matches!(e, E::Genesis), "genesis");
}

#[test]
fn an_answer_without_end_is_refused() {
    let file = sample();
    let url = serve(move |method, _| match method {
        "debug_executionWitness" => Reply::Bomb,
        method => honest(&file, method),
    });
    let error = import(&url, NUMBER, &ImportOptions::default()).unwrap_err();
    let ImportError::TooLarge { bytes, bytes_max, .. } = error else {
        panic!("{error}");
    };
    assert!(bytes > bytes_max && bytes_max == crate::host::block_file::JSON_BYTES_MAX);
}

/// Nothing is read of an answer that says itself that it is too long: this one never comes.
#[test]
fn an_answer_that_says_its_length_is_refused_before_it_is_read() {
    let bytes_max = crate::host::block_file::JSON_BYTES_MAX;
    let says = move |bytes| fails("debug_executionWitness", NUMBER, move || Reply::Announce(bytes));
    let error = says(bytes_max + 1);
    let shown = error.to_string();
    assert!(
        matches!(error, ImportError::TooLarge { bytes, .. } if bytes == bytes_max + 1)
            && shown.contains("629145601 bytes")
            && shown.contains("629145600 are read"),
        "{shown}"
    );
    let error = says(bytes_max);
    assert!(matches!(error, ImportError::Timeout { .. }), "{error}");
}

#[test]
fn nobody_there_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = import(&format!("http://{free}/key"), NUMBER, &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::Connect { .. }), "{error:?}");
    let shown = error.to_string();
    assert!(
        shown.contains(&free.to_string()) && !shown.contains("key"),
        "{shown}"
    );
}

#[test]
fn block_ids_are_read() {
    assert_eq!("latest".parse(), Ok(BlockId::Latest));
    assert_eq!("finalized".parse(), Ok(BlockId::Finalized));
    assert_eq!("0x13a86ea".parse(), Ok(BlockId::Number(20_612_842)));
    assert_eq!("20612842".parse(), Ok(BlockId::Number(20_612_842)));
    let hash = B256::repeat_byte(0xab);
    assert_eq!(hash.to_string().parse(), Ok(BlockId::Hash(hash)));
    for text in ["newest", "0x", "-1", "18446744073709551616"] {
        assert!(text.parse::<BlockId>().is_err(), "{text}");
    }
}
