//! `myriad block ...`, without the proving.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::PathBuf,
    thread,
};

use myriad_evm::{
    Fork,
    host::{
        BlockFile,
        batch::batch_file,
        sample::{SampleSpec, features, generate_chain, operations::operations, replayed},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{DONE, FAILED, PROOF_INVALID, finish, myriad, run};

/// A folder with a sample block of a few transactions, as JSON that can be changed.
struct Sample {
    dir: TempDir,
    json: Value,
}

impl Sample {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sample.json");
        run([
            "block",
            "sample",
            "--txs",
            "2",
            "--seed",
            "1",
            "--out",
            path.to_str().unwrap(),
        ])
        .exits(DONE);
        let json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        Self { dir, json }
    }

    /// The path of a copy in which something is different.
    fn changed(&self, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut json = self.json.clone();
        change(&mut json);
        self.path(name, json.to_string().as_bytes())
    }

    fn path(&self, name: &str, content: &[u8]) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// The sample without the header of its parent.
fn without_parent(json: &mut Value, parent_state_root: &Value) {
    json["parent"] = Value::Null;
    json["parentStateRoot"] = parent_state_root.clone();
}

#[test]
fn a_sample_is_deterministic_and_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, seed: &str| {
        let path = dir.path().join(name);
        let args = [
            "block",
            "sample",
            "--txs",
            "3",
            "--seed",
            seed,
            "--out",
            path.to_str().unwrap(),
            "--json",
        ];
        let json = run(args).exits(DONE).json();
        assert_eq!(
            (json["transactions"].as_u64(), json["synthetic"].as_bool()),
            (Some(3), Some(true))
        );
        fs::read(path).unwrap()
    };
    let one = make("one.json.gz", "7");
    assert_eq!(one[..2], [0x1f, 0x8b], "gzip");
    assert!(one == make("two.json.gz", "7") && one != make("three.json.gz", "8"));

    let inspected = run([
        "block",
        "inspect",
        dir.path().join("one.json.gz").to_str().unwrap(),
    ])
    .exits(DONE)
    .stdout;
    assert!(
        inspected.contains("(synthetic)") && inspected.contains("3 EIP-1559"),
        "{inspected}"
    );
}

/// The share of a kind of operations in the cells of a block. The account is compared with another
/// execution: everything that was executed is of some kind.
fn shares(executed: &Value) -> impl Fn(&str) -> f64 {
    let kinds = executed["spent"].as_array().unwrap().clone();
    let sum = |key: &str| kinds.iter().map(|kind| kind[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("instructions"), executed["instructions"].as_u64().unwrap());
    assert_eq!(sum("cells"), executed["cells"].as_u64().unwrap());
    let cells = kinds.iter().map(|kind| kind["cells"].as_u64().unwrap());
    assert!(cells.is_sorted_by(|a, b| a >= b), "the most expensive is first");
    move |name| {
        let kind = kinds.iter().find(|kind| kind["kind"] == name);
        kind.map_or(0.0, |kind| kind["share"].as_f64().unwrap())
    }
}

#[test]
fn a_block_is_executed_natively_and_in_the_zkvm() {
    let sample = Sample::new();
    let path = sample.changed("block.json", |_| {});
    let summary = run(["block", "inspect", &path, "--json"]).exits(DONE).json();
    let executed = run(["block", "execute", &path, "--json"]).exits(DONE).json();
    for key in [
        "chain_id",
        "number",
        "block_hash",
        "state_root",
        "parent_state_root",
        "gas_used",
        "transactions",
    ] {
        assert_eq!(executed[key], summary[key], "{key}");
        assert!(!executed[key].is_null(), "{key}");
    }
    assert_eq!(executed["skipped"], json!([]));
    let gas = executed["gas_used"].as_f64().unwrap();
    let instructions = executed["instructions"].as_f64().unwrap();
    assert!((executed["instructions_per_gas"].as_f64().unwrap() - instructions / gas).abs() < 1e-6);
    let shares = shares(&executed);
    for kind in [
        "Keccak",
        "signatures",
        "state and trie",
        "interpreter",
        "input decoding",
        "memory management",
    ] {
        assert!(shares(kind) > 0.001, "{kind}: {}", shares(kind));
    }
    // Two payments are half hashes and signatures, and no precompile is called.
    assert!(shares("other") < 0.1 && shares("BN254 pairing") == 0.0 && shares("ecrecover") == 0.0);

    // The same block without its parent's header runs, with less checked, and says so.
    let root = &summary["parent_state_root"];
    let path = sample.changed("no-parent.json", |json| without_parent(json, root));
    let less = run(["block", "execute", &path, "--json"]).exits(DONE).json();
    assert_eq!(less["state_root"], executed["state_root"]);
    assert_ne!(less["public_values"], executed["public_values"]);
    assert!(!less["skipped"].as_array().unwrap().is_empty());
    let refused = run(["block", "prove", &path, "--json"]).exits(FAILED);
    assert_eq!(refused.json()["kind"], "parent-unknown");
    for check in less["skipped"].as_array().unwrap() {
        assert!(
            refused.stderr.contains(check.as_str().unwrap()),
            "{}",
            refused.stderr
        );
    }
    run(["verify", &path, "--block", &path])
        .exits(FAILED)
        .says("no header of the block's parent");
}

#[test]
fn bad_blocks_are_named() {
    let sample = Sample::new();
    let zip = sample.dir.path().join("whole.json.gz");
    run(["block", "sample", "--txs", "2", "--out", zip.to_str().unwrap()]).exits(DONE);
    let zip = fs::read(zip).unwrap();
    for (path, kind, text) in [
        (
            sample.path("half.json.gz", &zip[..zip.len() / 2]),
            "block-file",
            "truncated",
        ),
        (sample.path("text.json", b"hello"), "block-file", "not the JSON"),
        (sample.path("empty.json", b""), "block-file", "empty"),
        (
            sample.dir.path().join("missing.json").to_str().unwrap().into(),
            "file",
            "No such file",
        ),
        (
            sample.changed("chain.json", |json| json["chainConfig"] = Value::Null),
            "block-file",
            "not built in",
        ),
        (
            sample.changed("block.json", |json| json["block"] = json!("0x01")),
            "block-invalid",
            "RLP",
        ),
        (
            sample.changed("witness.json", |json| {
                json["witness"]["state"].as_array_mut().unwrap().clear();
            }),
            "block-invalid",
            "missing",
        ),
        (
            sample.changed("root.json", |json| {
                without_parent(json, &json!(format!("0x{}", "11".repeat(32))));
            }),
            "block-invalid",
            "missing",
        ),
    ] {
        for command in ["execute", "prove"] {
            let ended = run(["block", command, &path, "--json"]).exits(FAILED).says(text);
            assert_eq!(ended.json()["kind"], kind, "{path}");
        }
    }
}

#[test]
fn a_file_that_is_no_proof_proves_no_block() {
    let sample = Sample::new();
    let path = sample.changed("block.json", |_| {});
    run(["verify", &path, "--block", &path])
        .exits(PROOF_INVALID)
        .says("proves nothing");
}

#[test]
fn a_block_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("sample.json.gz");
    run(["block", "sample", "--txs", "1", "--out", below.to_str().unwrap()])
        .exits(FAILED)
        .says("cannot write");
}

/// A made-up block of each fork, with all that its rules know.
#[test]
fn blocks_of_each_fork_are_executed() {
    let dir = tempfile::tempdir().unwrap();
    for fork in Fork::ALL {
        let path = dir.path().join(format!("{fork}.json.gz"));
        features(fork).unwrap().write(&path).unwrap();
        let json = run(["block", "execute", path.to_str().unwrap(), "--json"])
            .exits(DONE)
            .json();
        assert_eq!(json["number"], 1_048_576, "{fork}");
        assert_eq!(json["skipped"], json!([]), "{fork}");
    }
}

/// A pairing in software would take 480 instructions per gas.
#[test]
fn a_block_full_of_precompiles_is_executed_by_their_instructions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("block.json.gz");
    let all = operations();
    let pairing = all
        .iter()
        .find(|operation| operation.name == "BN254 pairing of 2")
        .unwrap();
    pairing.block(pairing.gas_min()).unwrap().write(&path).unwrap();
    let json = run(["block", "execute", path.to_str().unwrap(), "--json"])
        .exits(DONE)
        .json();
    let per_gas = json["instructions_per_gas"].as_f64().unwrap();
    assert!((1.0..60.0).contains(&per_gas), "{per_gas}");
    // The first kind of operations in the list.
    assert_eq!(json["spent"][0]["kind"], "BN254 pairing");
    assert!(shares(&json)("BN254 pairing") > 0.5);
    let shown = run(["block", "execute", path.to_str().unwrap()])
        .exits(DONE)
        .stdout;
    assert!(
        shown.contains("spent on") && shown.contains("BN254 pairing"),
        "{shown}"
    );
}

/// Files of consecutive blocks are a batch, in their order only; and so is one file with all of
/// them.
#[test]
fn a_batch_of_blocks_is_executed() {
    let dir = tempfile::tempdir().unwrap();
    let spec = SampleSpec {
        txs: 6,
        seed: 3,
        accounts: 300,
        token_holders: 50,
    };
    let chain = generate_chain(&spec, 3).unwrap();
    let write = |(number, file): (usize, &BlockFile)| {
        let path = dir.path().join(format!("{number}.json.gz"));
        file.write(&path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let paths: Vec<_> = chain.iter().enumerate().map(write).collect();
    run(["block", "execute", &paths[0], &paths[2]])
        .exits(FAILED)
        .says("the block before it in the batch");
    let json = run(["block", "execute", &paths[0], &paths[1], &paths[2], "--json"])
        .exits(DONE)
        .json();
    assert_eq!((&json["blocks"], &json["transactions"]), (&json!(3), &json!(6)));

    let whole = dir.path().join("whole.json.gz");
    batch_file(&chain).unwrap().write(&whole).unwrap();
    let whole = whole.to_str().unwrap();
    let again = run(["block", "execute", whole, "--json"]).exits(DONE).json();
    assert_eq!(again["public_values"], json["public_values"]);
    let shown = run(["block", "inspect", whole]).exits(DONE).stdout;
    assert!(shown.contains("blocks 1048576 to 1048578"), "{shown}");
    let refused = run(["block", "prove", whole, &paths[1], "--json"]).exits(FAILED);
    assert_eq!(refused.json()["kind"], "block-invalid");
}

/// A replay file of Linea's tracer becomes a batch, which says that its state is made up.
#[test]
fn a_replay_file_is_executed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut replay = replayed("NUMBER PUSH 2 SSTORE PUSH 0 PUSH 1 SSTORE STOP", 3).unwrap();
    let (file, rules, out) = (path("replay.json"), path("rules.json"), path("batch.json.gz"));
    fs::write(&file, replay.json.to_string()).unwrap();
    fs::write(&rules, replay.chain_config.to_string()).unwrap();
    let args = ["block", "replay", &file, "--out", &out, "--json"];
    // The chain is not built in.
    let refused = run(args).exits(FAILED).says("--chain-config");
    assert_eq!(refused.json()["kind"], "replay");
    let with_rules = || [&args[..], &["--chain-config", &rules]].concat();
    let json = run(with_rules()).exits(DONE).json();
    assert_eq!((&json["blocks"], &json["synthetic"]), (&json!(3), &json!(true)));
    let executed = run(["block", "execute", &out, "--json"]).exits(DONE).json();
    assert_eq!(
        (&executed["blocks"], &executed["transactions"]),
        (&json!(3), &json!(9))
    );
    let shown = run(["block", "inspect", &out]).exits(DONE).stdout;
    assert!(
        shown.contains("(synthetic)") && shown.contains("state roots and block hashes"),
        "{shown}"
    );

    fs::remove_file(&out).unwrap();
    replay.json["blocks"][2]["txs"][1]["outcome"]["gasUsed"] = json!(7);
    fs::write(&file, replay.json.to_string()).unwrap();
    run(with_rules()).exits(DONE).says("the block's header agrees");
    fs::remove_file(&out).unwrap();
    replay.json["blocks"][2]["header"]["receiptsRoot"] = json!(format!("0x{}", "11".repeat(32)));
    replay.json["blockHashes"] = json!([]);
    fs::write(&file, replay.json.to_string()).unwrap();
    run(with_rules())
        .exits(FAILED)
        .says("transaction 1 of block 1048578: the gas before refunds is")
        .says("and the file says 7");
    assert!(!fs::exists(&out).unwrap());
}

#[test]
#[ignore = "needs block files of mainnet in the folder that MYRIAD_REAL_BLOCKS names"]
fn real_blocks_are_executed() {
    let folder = std::env::var("MYRIAD_REAL_BLOCKS").expect("MYRIAD_REAL_BLOCKS names a folder");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut blocks: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    blocks.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    assert!(!blocks.is_empty(), "there is no block in {folder}");
    for path in blocks {
        let json = run(["block", "execute", path.to_str().unwrap(), "--json"])
            .exits(DONE)
            .json();
        assert_eq!(json["chain_id"], 1, "{}", path.display());
        assert!(path.to_str().unwrap().contains(&json["number"].to_string()));
        eprintln!(
            "{}: {:.1} instructions per gas",
            path.display(),
            json["instructions_per_gas"].as_f64().unwrap()
        );
    }
}

/// The node is behind the proxy that the environment names: it is the proxy that is asked for it,
/// and that carries the answer.
#[test]
fn import_goes_through_the_proxy_of_the_environment() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut header = || {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    return lines;
                }
                lines.push(line.trim().to_owned());
            }
        };
        let connect = header();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let request = header();
        let length = request.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().unwrap())
        });
        // A socket that is closed with unread bytes resets the connection, and the answer is lost.
        let mut asked = vec![0; length.expect("the request has a length")];
        reader.read_exact(&mut asked).unwrap();
        let body = r#"{"error": {"code": -32000, "message": "told through the proxy"}}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        (connect, request)
    });
    let args = [
        "block",
        "import",
        "--rpc",
        "http://node.example:8545/v1",
        "--block",
        "latest",
    ];
    let mut command = myriad(args);
    command.args(["--header", "X-Key: k1", "--out", "never-written.json"]);
    for name in [
        "NO_PROXY",
        "no_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
        "https_proxy",
    ] {
        command.env_remove(name);
    }
    command.env("HTTP_PROXY", format!("http://{address}"));
    finish(&mut command).exits(FAILED).says("told through the proxy");
    let (connect, request) = proxy.join().unwrap();
    assert!(connect[0].starts_with("CONNECT node.example:8545"), "{connect:?}");
    assert!(request[0].starts_with("POST /v1"), "{request:?}");
    assert!(
        request.iter().any(|line| line.eq_ignore_ascii_case("x-key: k1")),
        "{request:?}"
    );
}

/// Text from a file, and its quotation in an error, is shown without characters that a terminal
/// would obey.
#[test]
fn a_block_file_steers_no_terminal() {
    const HOSTILE: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}gnp.exe\u{2066}\u{61c}";
    let obeyed = |text: &str| text.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{2066}', '\u{61c}']);
    let sample = Sample::new();
    let described = sample.changed("described.json", |json| json["description"] = json!(HOSTILE));
    let shown = run(["block", "inspect", &described]).exits(DONE);
    assert!(
        shown.stdout.contains("?]0;title??[2J?gnp.exe??"),
        "{}",
        shown.stdout
    );
    assert!(!obeyed(&shown.stdout), "{:?}", shown.stdout);
    let quoted = sample.changed("quoted.json", |json| json["block"] = json!(HOSTILE));
    let refused = run(["block", "inspect", &quoted]).exits(FAILED);
    assert!(
        refused.stderr.contains("gnp.exe"),
        "it quotes what is wrong: {}",
        refused.stderr
    );
    assert!(!obeyed(&refused.stderr), "{:?}", refused.stderr);
}
