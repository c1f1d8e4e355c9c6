//! Nodes as a whole, each with the methods, shapes and refusals that its source has: geth, reth,
//! Nethermind, Besu, and one that follows the draft of a specification
//! (<https://github.com/ethereum/execution-apis/pull/847>), as Erigon does.

use std::sync::{Arc, Mutex};

use super::*;
use crate::{Block, Fork, host::sample::features};

/// A chain of which one block can be imported, and some of its ancestors' headers are known.
struct Chain {
    file: BlockFile,
    block: Block,
    ancestors: Vec<Header>,
}

impl Chain {
    fn new() -> Self {
        let mut file = features(Fork::Osaka).unwrap();
        // No node says that a block is synthetic.
        (file.synthetic, file.description) = (false, None);
        let decoded = |header: &Bytes| alloy_rlp::decode_exact(header).unwrap();
        Self {
            block: file.decode_block().unwrap(),
            ancestors: file.witness.headers.iter().map(decoded).collect(),
            file,
        }
    }

    fn number(&self) -> u64 {
        self.block.header.number
    }

    fn hash(&self) -> B256 {
        self.block.header.hash_slow()
    }

    /// Whether a parameter names the block, as a node understands it.
    fn names(&self, param: &Value) -> bool {
        let number = format!("{:#x}", self.number());
        [json!(number), json!("latest"), json!(self.hash())].contains(param)
    }

    fn header(&self, param: &Value) -> Option<&Header> {
        let number = |header: &&Header| param == &json!(format!("{:#x}", header.number));
        self.ancestors.iter().find(number)
    }

    /// The headers that a witness has: those that BLOCKHASH reads, with all in between.
    fn rlp_headers(&self) -> Value {
        json!(self.file.witness.headers)
    }

    /// Headers as geth's types marshal them: a field that a fork has not brought is `null`, and
    /// each has its hash.
    fn json_headers(&self) -> Value {
        let marshalled = |header: &Header| {
            let mut json = json!(header);
            json["hash"] = json!(header.hash_slow());
            for field in ["requestsHash", "balHash", "slotNumber"] {
                if json.get(field).is_none() {
                    json[field] = Value::Null;
                }
            }
            json
        };
        self.ancestors.iter().map(marshalled).collect()
    }

    fn rlp(&self, method: &str, param: &Value, missing: &Value) -> Reply {
        let found = match method {
            "debug_getRawBlock" => self.names(param).then(|| json!(self.file.block)),
            _ => self
                .header(param)
                .map(|header| json!(Bytes::from(alloy_rlp::encode(header)))),
        };
        found.map_or_else(|| Reply::Refusal(missing.clone()), Reply::Result)
    }

    /// The block with Besu's fields: `v` beside `yParity`, a price of gas in each transaction, and
    /// addresses in mixed case.
    fn besu_block(&self) -> Value {
        let header = &self.block.header;
        let mut json = json!(header);
        json["hash"] = json!(self.hash());
        json["miner"] = json!(header.beneficiary.to_checksum(None));
        json["size"] = json!("0x220");
        json["uncles"] = json!([]);
        json["withdrawals"] = json!(self.block.body.withdrawals);
        let transactions = self
            .block
            .body
            .transactions
            .iter()
            .enumerate()
            .map(|(index, tx)| {
                let mut json = json!(tx);
                json["blockHash"] = json!(self.hash());
                json["blockNumber"] = json!(format!("{:#x}", header.number));
                json["blockTimestamp"] = json!(format!("{:#x}", header.timestamp));
                json["transactionIndex"] = json!(format!("{index:#x}"));
                json["from"] = json!("0x00000000219ab540356cBB839Cbe05303d7705Fa");
                if json.get("gasPrice").is_none() {
                    json["gasPrice"] = json!("0x3b9aca00");
                }
                if json["type"] != "0x0" {
                    json["v"] = json["yParity"].clone();
                }
                json
            });
        json["transactions"] = transactions.collect();
        json
    }
}

fn refusal(code: i64, message: &str) -> Reply {
    Reply::Refusal(json!({ "code": code, "message": message }))
}

fn is_hash(param: &Value) -> bool {
    param.as_str().is_some_and(|text| text.len() == 66)
}

/// Geth's witness has JSON headers, and keys that are always `null`.
fn geth(chain: &Chain, method: &str, params: &Value) -> Reply {
    let w = &chain.file.witness;
    match method {
        "eth_chainId" => Reply::Result(json!(format!("{:#x}", chain.file.chain_id))),
        "debug_chainConfig" => Reply::Result(json!(chain.file.chain_config)),
        "debug_getRawBlock" | "debug_getRawHeader" => {
            let missing = json!({"code": -32_000, "message": "block #5 not found"});
            chain.rlp(method, &params[0], &missing)
        }
        "debug_executionWitness" if chain.names(&params[0]) => Reply::Result(json!({
            "headers": chain.json_headers(), "codes": w.codes, "state": w.state, "keys": null,
        })),
        "debug_executionWitness" => refusal(-32_000, "block {0x0 <nil> false} not found"),
        _ => refusal(
            -32_601,
            &format!("the method {method} does not exist/is not available"),
        ),
    }
}

/// Before one method took both, there were two.
fn geth_of_two_methods(chain: &Chain, method: &str, params: &Value) -> Reply {
    match method {
        "debug_executionWitness" if is_hash(&params[0]) => {
            refusal(-32_602, "invalid argument 0: hex number > 64 bits")
        }
        "debug_executionWitnessByHash" => geth(chain, "debug_executionWitness", params),
        _ => geth(chain, method, params),
    }
}

/// Reth's witness has headers in RLP, and the addresses and slots that were read as keys.
fn reth(chain: &Chain, method: &str, params: &Value) -> Reply {
    let w = &chain.file.witness;
    match method {
        "debug_executionWitness" if is_hash(&params[0]) => refusal(-32_602, "Invalid params"),
        "debug_executionWitness" | "debug_executionWitnessByBlockHash" if chain.names(&params[0]) => {
            Reply::Result(json!({
                "state": w.state, "codes": w.codes, "headers": chain.rlp_headers(),
                "keys": [json!(chain.block.header.beneficiary), json!(B256::ZERO)],
            }))
        }
        "debug_executionWitness" | "debug_executionWitnessByBlockHash" => {
            refusal(-32_001, "block not found: 0x5")
        }
        "debug_getRawBlock" | "debug_getRawHeader" => {
            let missing = json!({"code": -32_001, "message": "block not found: hash 0x05"});
            chain.rlp(method, &params[0], &missing)
        }
        "eth_chainId" | "debug_chainConfig" => geth(chain, method, params),
        _ => refusal(-32_601, "Method not found"),
    }
}

fn nethermind(chain: &Chain, method: &str, params: &Value) -> Reply {
    let w = &chain.file.witness;
    match method {
        "eth_chainId" => geth(chain, method, params),
        "debug_getRawBlock" | "debug_getRawHeader" => {
            let missing = json!({"code": -32_001, "message": "Block 5 was not found"});
            chain.rlp(method, &params[0], &missing)
        }
        "debug_executionWitness" if chain.names(&params[0]) => Reply::Result(json!({
            "codes": w.codes, "state": w.state, "keys": [B256::ZERO], "headers": chain.rlp_headers(),
        })),
        "debug_executionWitness" => refusal(-32_001, "Unable to find block 5"),
        _ => refusal(-32_601, &format!("The method '{method}' is not supported.")),
    }
}

/// Besu knows blocks by their numbers alone where it gives RLP. Its witness has no more headers
/// than the parent's where it is made of the trie log.
fn besu(chain: &Chain, method: &str, params: &Value) -> Reply {
    let w = &chain.file.witness;
    match method {
        "eth_chainId" => geth(chain, method, params),
        "debug_getRawBlock" | "debug_getRawHeader" if is_hash(&params[0]) => {
            refusal(-32_602, "Invalid block params")
        }
        "debug_getRawBlock" | "debug_getRawHeader" => {
            let missing = json!({"code": -32_000, "message": "Block not found"});
            chain.rlp(method, &params[0], &missing)
        }
        "eth_getBlockByHash" if params == &json!([chain.hash(), true]) => Reply::Result(chain.besu_block()),
        "eth_getBlockByNumber" | "eth_getBlockByHash" => Reply::Result(Value::Null),
        "debug_executionWitness" if chain.names(&params[0]) => {
            let parent = chain.file.decode_parent().unwrap().unwrap();
            Reply::Result(json!({
                "state": w.state, "codes": w.codes, "headers": [Bytes::from(alloy_rlp::encode(&parent))],
            }))
        }
        "debug_executionWitness" => refusal(-32_000, "Block not found"),
        _ => refusal(-32_601, "Method not found"),
    }
}

/// One method takes numbers, tags and hashes, and its answer has no keys.
fn specified(chain: &Chain, method: &str, params: &Value) -> Reply {
    match reth(chain, "debug_executionWitnessByBlockHash", params) {
        Reply::Result(mut witness) if method == "debug_executionWitness" => {
            witness.as_object_mut().unwrap().remove("keys");
            Reply::Result(witness)
        }
        refused if method == "debug_executionWitness" => refused,
        _ => geth(chain, method, params),
    }
}

type NodeKind = fn(&Chain, &str, &Value) -> Reply;

const NODES: [(&str, NodeKind); 6] = [
    ("geth", geth),
    ("geth of two methods", geth_of_two_methods),
    ("reth", reth),
    ("Nethermind", nethermind),
    ("Besu", besu),
    ("the specification", specified),
];

/// The methods that were called, with their first parameters.
type Calls = Arc<Mutex<Vec<(String, Value)>>>;

fn start(kind: NodeKind) -> (String, Calls) {
    let calls = Calls::default();
    let (chain, noted) = (Chain::new(), Arc::clone(&calls));
    let url = serve(move |method, params| {
        noted.lock().unwrap().push((method.to_owned(), params[0].clone()));
        kind(&chain, method, params)
    });
    (url, calls)
}

/// The rules of the chain are the user's: not every node says them.
fn options(chain: &Chain) -> ImportOptions {
    ImportOptions {
        chain_config: chain.file.chain_config.clone(),
        ..impatient()
    }
}

#[test]
fn a_block_comes_from_each_node_by_its_number_and_as_the_latest() {
    let chain = Chain::new();
    for (name, kind) in NODES {
        for id in [BlockId::Number(chain.number()), BlockId::Latest] {
            let (url, calls) = start(kind);
            let imported = import(&url, id, &options(&chain)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(imported.block, chain.file.block, "{name}");
            assert_eq!(imported.parent, chain.file.parent, "{name}");
            assert_eq!(imported.witness.state, chain.file.witness.state, "{name}");
            assert_eq!(imported.witness.codes, chain.file.witness.codes, "{name}");
            validate(&imported.to_input().unwrap()).unwrap();
            // Once asked for, the block has a number, and `latest` does not move on.
            let number = json!(format!("{:#x}", chain.number()));
            let calls = calls.lock().unwrap();
            let witnesses = calls
                .iter()
                .filter(|(method, _)| method.contains("Witness"))
                .collect::<Vec<_>>();
            assert_eq!(
                witnesses,
                [&("debug_executionWitness".to_owned(), number)],
                "{name}"
            );
        }
    }
}

/// The block that was asked for need not be part of the chain, so that its number is of no use.
#[test]
fn a_block_comes_from_each_node_by_its_hash_and_its_witness_does() {
    let chain = Chain::new();
    let hash = json!(chain.hash());
    for (name, kind) in NODES {
        let (url, calls) = start(kind);
        let id = BlockId::Hash(chain.hash());
        let imported = import(&url, id, &options(&chain)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (&imported.block, &imported.parent),
            (&chain.file.block, &chain.file.parent),
            "{name}"
        );
        let calls = calls.lock().unwrap();
        let mut witnesses = calls.iter().filter(|(method, _)| method.contains("Witness"));
        assert!(witnesses.all(|(_, param)| param == &hash), "{name}: {calls:?}");
    }
}

#[test]
fn a_block_that_a_node_does_not_have_is_named() {
    let chain = Chain::new();
    for (name, kind) in NODES {
        for id in [BlockId::Number(5), BlockId::Hash(B256::repeat_byte(5))] {
            let (url, _) = start(kind);
            let error = import(&url, id, &options(&chain)).unwrap_err();
            assert!(
                matches!(&error, ImportError::NotFound { what: "block", block } if *block == id.to_string()),
                "{name}: {error}"
            );
        }
    }
    // The witness alone is missing.
    for (name, kind) in NODES {
        let served = Chain::new();
        let url = serve(move |method, params| match method {
            method if method.contains("Witness") => kind(&served, method, &json!(["0x5"])),
            method => kind(&served, method, params),
        });
        let id = BlockId::Number(chain.number());
        let error = import(&url, id, &options(&chain)).unwrap_err();
        assert!(
            matches!(error, ImportError::NotFound { what: "witness", .. }),
            "{name}: {error}"
        );
    }
}

/// Older versions of Nethermind know no tags there.
#[test]
fn a_node_that_gives_rlp_by_numbers_alone_gives_json_of_the_latest() {
    let chain = Chain::new();
    let served = Chain::new();
    let url = serve(move |method, params| match (method, &params[0]) {
        ("debug_getRawBlock", tag) if tag == "latest" => refusal(-32_001, "Block Latest,  was not found"),
        ("eth_getBlockByNumber", tag) if tag == "latest" => Reply::Result(served.besu_block()),
        _ => nethermind(&served, method, params),
    });
    let imported = import(&url, BlockId::Latest, &options(&chain)).unwrap();
    assert_eq!(imported.block, chain.file.block);
}

/// The answer of each node whose `debug` namespace is not enabled leads to an error that says how
/// to enable it.
#[test]
fn a_node_without_the_namespace_is_told_from_one_without_the_block() {
    let disabled = "The method 'debug_executionWitness' is found but the namespace 'Debug' is disabled for \
                    http://127.0.0.1:8545. Consider adding the namespace 'Debug' to \
                    JsonRpc.AdditionalRpcUrls for an additional URL, or to JsonRpc.EnabledModules for \
                    the default URL.";
    for (code, message, flag) in [
        (
            -32_601,
            "the method debug_executionWitness does not exist/is not available",
            "--http.api eth,debug",
        ),
        (-32_601, "Method not found", "--http.api eth,debug"),
        (-32_600, disabled, "--JsonRpc.EnabledModules Eth,Debug"),
        (-32_604, "Method not enabled", "--rpc-http-api=ETH,DEBUG"),
    ] {
        let chain = Chain::new();
        let options = options(&chain);
        // The block itself comes as JSON then.
        let url = serve(move |method, params| match method {
            "eth_chainId" => geth(&chain, method, params),
            "eth_getBlockByNumber" => Reply::Result(chain.besu_block()),
            _ => Reply::Refusal(json!({ "code": code, "message": message })),
        });
        let error = import(&url, BlockId::Number(Chain::new().number()), &options).unwrap_err();
        assert!(
            matches!(
                &error,
                ImportError::MethodNotFound {
                    method: "debug_executionWitness",
                    ..
                }
            ) && error.to_string().contains(flag),
            "{error}"
        );
    }
}
