//! The real answers of nodes: all shapes of witnesses, blocks and failures.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// `debug_executionWitness` as several nodes give it.
#[test]
fn witnesses_of_all_shapes_are_read() {
    let file = sample();
    let hex = |list: &[Bytes]| json!(list);
    let by_hash = |list: &[Bytes]| {
        let entries = list.iter().map(|item| (keccak256(item).to_string(), json!(item)));
        Value::Object(entries.collect())
    };
    let w = &file.witness;
    let parent = file.decode_parent().unwrap().unwrap();
    for witness in [
        // geth and reth.
        json!({"state": hex(&w.state), "codes": hex(&w.codes), "headers": hex(&w.headers), "keys": ["0x00"]}),
        json!({"state": hex(&w.state), "codes": hex(&w.codes), "headers": [parent], "keys": null}),
        // op-geth.
        json!({"headers": [parent], "codes": by_hash(&w.codes), "state": by_hash(&w.state)}),
        // Older versions of reth.
        json!({"state": by_hash(&w.state), "codes": by_hash(&w.codes), "keys": by_hash(&w.codes)}),
        json!({"state": hex(&w.state), "codes": by_hash(&w.codes), "headers": null, "keys": []}),
    ] {
        let node = file.clone();
        let shape: Vec<_> = witness.as_object().unwrap().keys().cloned().collect();
        let url = serve(move |method, _| match method {
            "debug_executionWitness" => Reply::Result(witness.clone()),
            method => honest(&node, method),
        });
        let mut imported =
            import(&url, NUMBER, &impatient()).unwrap_or_else(|error| panic!("{shape:?}: {error}"));
        for list in [&mut imported.witness.state, &mut imported.witness.codes] {
            list.sort();
        }
        let mut expected = file.witness.clone();
        expected.state.sort();
        expected.codes.sort();
        assert_eq!(imported.witness.state, expected.state, "{shape:?}");
        assert_eq!(imported.witness.codes, expected.codes, "{shape:?}");
        assert_eq!(imported.parent, file.parent, "{shape:?}");
    }
}

/// The block as `eth_getBlockByNumber` has it, with more fields than are needed.
fn json_block(file: &BlockFile) -> Value {
    let block = file.decode_block().unwrap();
    let mut json = json!(block.header);
    json["hash"] = json!(block.header.hash_slow());
    json["size"] = json!("0x220");
    json["uncles"] = json!([]);
    json["withdrawals"] = json!(block.body.withdrawals);
    let transactions = block.body.transactions.iter().map(|tx| {
        let mut json = json!(tx);
        json["from"] = json!(B256::ZERO);
        json["blockNumber"] = json!("0x100000");
        json
    });
    json["transactions"] = transactions.collect();
    json
}

/// A node that gives neither blocks nor headers as RLP.
fn without_rlp(file: &BlockFile, method: &str) -> Reply {
    match method {
        "debug_getRawBlock" | "debug_getRawHeader" => {
            Reply::Refusal(json!({"code": "-32601", "message": null}))
        }
        "eth_getBlockByNumber" | "eth_getBlockByHash" => Reply::Result(json_block(file)),
        "debug_executionWitness" => {
            let w = &file.witness;
            Reply::Result(json!({"state": w.state, "codes": w.codes}))
        }
        method => honest(file, method),
    }
}

#[test]
fn a_block_in_json_is_built_again_and_compared() {
    let file = sample();
    let parent = file.decode_parent().unwrap().unwrap();
    let hash = file.decode_block().unwrap().header.hash_slow();
    for id in [NUMBER, BlockId::Hash(hash)] {
        let (node, parent) = (file.clone(), parent.clone());
        let url = serve(move |method, params| match (method, &params[0]) {
            ("eth_getBlockByNumber", number) if number == "0xfffff" => {
                let mut json = json!(parent);
                json["hash"] = json!(parent.hash_slow());
                Reply::Result(json)
            }
            ("eth_getBlockByHash", asked) => {
                assert_eq!((asked, &params[1]), (&json!(hash), &json!(true)));
                without_rlp(&node, method)
            }
            (method, _) => without_rlp(&node, method),
        });
        let imported = import(&url, id, &impatient()).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!((&imported.block, &imported.parent), (&file.block, &file.parent));
    }
    let changed = |change: fn(&mut Value)| {
        let node = file.clone();
        let url = serve(move |method, _| match without_rlp(&node, method) {
            Reply::Result(mut json) if method == "eth_getBlockByNumber" => {
                change(&mut json);
                Reply::Result(json)
            }
            reply => reply,
        });
        import(&url, NUMBER, &impatient()).unwrap_err()
    };
    let error = changed(|json| json["gasUsed"] = json!("0x1"));
    assert!(
        matches!(error, ImportError::OtherContent { what: "hash", .. }),
        "{error}"
    );
    let error = changed(|json| json["transactions"][0]["value"] = json!("0x1234567"));
    assert!(
        matches!(
            error,
            ImportError::OtherContent {
                what: "transactions root",
                ..
            }
        ),
        "{error}"
    );
    let error = changed(|json| json["transactions"][2]["type"] = json!("0x7e"));
    assert!(
        error
            .to_string()
            .contains("transaction 2 has type 0x7e (a deposit of the OP Stack"),
        "{error}"
    );
    let error = changed(|json| json["transactions"] = json!([B256::ZERO]));
    assert!(error.to_string().contains("`transactions[0]`"), "{error}");
}

#[test]
fn a_block_is_imported_by_its_hash() {
    let file = sample();
    let hash = file.decode_block().unwrap().header.hash_slow();
    for witness_method in [
        "debug_executionWitnessByBlockHash",
        "debug_executionWitnessByHash",
        "debug_executionWitness",
    ] {
        let node = file.clone();
        let url = serve(move |method, params| match method {
            "debug_getRawBlock" => {
                assert_eq!(params, &json!([hash]));
                honest(&node, method)
            }
            method if method == witness_method => honest(&node, "debug_executionWitness"),
            "debug_executionWitness" => panic!("the node can do better"),
            method => honest(&node, method),
        });
        assert_eq!(
            import(&url, BlockId::Hash(hash), &impatient()).unwrap(),
            file,
            "{witness_method}"
        );
    }
    let node = file.clone();
    let url = serve(move |method, _| honest(&node, method));
    let error = import(&url, BlockId::Hash(B256::ZERO), &impatient()).unwrap_err();
    assert!(
        matches!(error, ImportError::OtherHash { given, .. } if given == hash),
        "{error}"
    );
}

/// A passing fault is waited for; a lasting one is reported.
#[test]
fn overloaded_nodes_are_asked_again() {
    let patient = |tries| ImportOptions {
        retries: Retries {
            tries,
            first_pause: Duration::from_millis(1),
        },
        ..impatient()
    };
    let failures: [fn() -> Reply; 6] = [
        || Reply::Http(429, b"slow down".to_vec()),
        || Reply::Http(503, Vec::new()),
        || Reply::Http(500, br#"{"error": {"code": -32000, "message": "busy"}}"#.to_vec()),
        || Reply::Error(-32_005, "limit exceeded"),
        || Reply::Break,
        || Reply::Hang(b"SSH-2.0-x\r\n\r\n"),
    ];
    for (at, failure) in failures.into_iter().enumerate() {
        let file = sample();
        let (node, asked) = (file.clone(), AtomicU32::new(0));
        let url = serve(move |method, _| match method {
            "debug_getRawBlock" if asked.fetch_add(1, Ordering::Relaxed) % 3 < 2 => failure(),
            method => honest(&node, method),
        });
        assert_eq!(import(&url, NUMBER, &patient(3)).unwrap(), file, "failure {at}");
        import(&url, NUMBER, &patient(2)).unwrap_err();
    }
    // A block that is not there does not come by asking.
    let asked: &'static AtomicU32 = Box::leak(Box::default());
    let node = sample();
    let url = serve(move |method, _| match method {
        "debug_getRawBlock" => {
            asked.fetch_add(1, Ordering::Relaxed);
            Reply::Error(-32_000, "block not found")
        }
        method => honest(&node, method),
    });
    let error = import(&url, NUMBER, &patient(3)).unwrap_err();
    assert!(matches!(error, ImportError::NotFound { .. }), "{error}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn the_users_headers_are_sent_with_each_request() {
    let file = sample();
    let node = file.clone();
    let url = serve_headers(move |header, method, _| {
        match header.contains(&"x-api-key: k1:2".to_owned()) && header.contains(&"x-two: b".to_owned()) {
            true => honest(&node, method),
            false => Reply::Http(401, b"no key".to_vec()),
        }
    });
    let options = ImportOptions {
        headers: vec!["X-Api-Key: k1:2".to_owned(), "X-Two:b".to_owned()],
        ..impatient()
    };
    assert_eq!(import(&url, NUMBER, &options).unwrap(), file);
    let error = import(&url, NUMBER, &impatient()).unwrap_err();
    assert!(
        matches!(error, ImportError::HttpStatus { status: 401, .. }),
        "{error}"
    );
}

/// A block that cannot be proven is refused before its witness is made, which can take minutes.
#[test]
fn what_is_not_supported_is_refused_before_the_witness() {
    let refused = |change: fn(&mut BlockFile)| {
        let mut file = sample();
        change(&mut file);
        let url = serve(move |method, _| match method {
            "debug_executionWitness" => Reply::Error(-32_000, "asked for the witness"),
            method => honest(&file, method),
        });
        import(&url, NUMBER, &impatient()).unwrap_err()
    };
    let error = refused(|file| file.chain_config.as_mut().unwrap()["amsterdamTime"] = json!(1));
    let text = error.to_string();
    assert!(
        matches!(error, ImportError::Fork { .. }) && text.contains("is of Amsterdam or a later fork"),
        "{text}"
    );
    // The configuration of the chain does not know of the fork.
    let error = refused(|file| {
        let mut block = file.decode_block().unwrap();
        block.header.block_access_list_hash = Some(B256::ZERO);
        file.block = alloy_rlp::encode(&block).into();
    });
    let text = error.to_string();
    assert!(
        matches!(error, ImportError::Invalid { .. })
            && text.contains("a block access list hash")
            && text.contains("it is of Amsterdam"),
        "{text}"
    );
    let error = refused(|file| file.chain_config.as_mut().unwrap()["optimism"] = json!({}));
    assert!(error.to_string().contains("`optimism`"), "{error}");
    let error = refused(|file| {
        let mut block = file.decode_block().unwrap();
        block.header.gas_limit = 1 << 40;
        file.block = alloy_rlp::encode(&block).into();
    });
    assert!(
        matches!(error, ImportError::Unusable { .. }) && error.to_string().contains("1099511627776"),
        "{error}"
    );
    let error = refused(|file| {
        let block = file.decode_block().unwrap();
        let header = alloy_rlp::encode(&block.header);
        // One transaction of type 0x7e, no ommers, no withdrawals.
        let payload = [header.as_slice(), &[0xc3, 0x82, 0x7e, 0xc0, 0xc0, 0xc0]].concat();
        let mut rlp = Vec::new();
        alloy_rlp::Header {
            list: true,
            payload_length: payload.len(),
        }
        .encode(&mut rlp);
        rlp.extend(payload);
        file.block = rlp.into();
    });
    let text = error.to_string();
    assert!(
        matches!(error, ImportError::TransactionType { .. }) && text.contains("type 0x7e"),
        "{text}"
    );
}

/// The OP Stack's chains by their ids, and its configurations where the user brings them: no block
/// is asked for.
#[test]
fn a_chain_that_is_not_supported_is_refused_before_its_block() {
    let refused = |chain_id: u64, chain_config: Option<Value>| {
        let url = serve(move |method, _| match method {
            "eth_chainId" => Reply::Result(json!(chain_id)),
            _ => Reply::Error(-32_000, "asked for more than the chain id"),
        });
        let options = ImportOptions {
            chain_config,
            ..impatient()
        };
        import(&url, NUMBER, &options).unwrap_err()
    };
    for (chain_id, name) in [
        (10, "OP Mainnet"),
        (8_453, "Base"),
        (11_155_420, "OP Sepolia"),
        (84_532, "Base Sepolia"),
    ] {
        let plain = json!({"chainId": chain_id, "pragueTime": 0});
        for config in [None, Some(plain)] {
            let error = refused(chain_id, config);
            assert!(
                matches!(error, ImportError::UnsupportedChain(_)) && error.to_string().contains(name),
                "{error}"
            );
        }
    }
    let own = json!({"chainId": 901, "isthmusTime": 0, "optimism": {"eip1559Elasticity": 6}});
    let error = refused(901, Some(own));
    assert!(
        matches!(error, ImportError::ChainConfig(_)) && error.to_string().contains("the OP Stack"),
        "{error}"
    );
}

/// Nothing is written that could not be proven, and the error names the missing part.
#[test]
fn a_block_that_does_not_hold_is_not_imported() {
    let refused = |change: fn(&mut BlockFile)| changed(NUMBER, change);
    let error = refused(|file| {
        let mut block = file.decode_block().unwrap();
        block.header.state_root = B256::ZERO;
        file.block = alloy_rlp::encode(&block).into();
    });
    let is_root = |source: &BlockError| matches!(source, BlockError::StateRoot { .. });
    assert!(
        matches!(&error, ImportError::Invalid { source, .. } if is_root(source)),
        "{error}"
    );
    let error = refused(|file| file.witness.codes.clear());
    let text = error.to_string();
    assert!(
        matches!(error, ImportError::Incomplete { .. })
            && text.contains("missing code")
            && text.contains("which account 0x"),
        "{text}"
    );
    let error = refused(|file| drop(file.witness.state.pop()));
    let text = error.to_string();
    assert!(
        matches!(error, ImportError::Incomplete { .. })
            && text.contains("missing trie node")
            && text.contains("on the way to"),
        "{text}"
    );
    // Some nodes say in this way that there are none.
    let file = sample();
    let url = serve(move |method, _| match honest(&file, method) {
        Reply::Result(mut witness) if method == "debug_executionWitness" => {
            witness["codes"] = Value::Null;
            Reply::Result(witness)
        }
        reply => reply,
    });
    let error = import(&url, NUMBER, &impatient()).unwrap_err();
    assert!(error.to_string().contains("missing code"), "{error}");
}
