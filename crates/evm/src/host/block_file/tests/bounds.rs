//! Files that are too large, and blocks that could run for ever.

use super::*;

#[test]
fn a_gzip_bomb_is_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let spaces = vec![b' '; 1 << 20];
    for _ in 0..=JSON_BYTES_MAX >> 20 {
        encoder.write_all(&spaces).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let error = BlockFile::from_bytes(&bomb).unwrap_err();
    assert!(
        matches!(error, BlockFileError::InflatesTooLarge { .. }),
        "{error}"
    );
}

#[test]
fn a_file_beyond_the_limit_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    fs::File::create(&path)
        .unwrap()
        .set_len(JSON_BYTES_MAX + 1)
        .unwrap();
    let error = BlockFile::read(&path).unwrap_err();
    assert!(matches!(error, BlockFileError::TooLarge { .. }), "{error}");
}

#[test]
fn a_list_without_end_is_refused() {
    let mut json = br#"{"witness":{"state":["#.to_vec();
    json.extend_from_slice(&br#""","#.repeat(crate::input::STATE_NODES_MAX + 2));
    let error = BlockFile::from_bytes(&json).unwrap_err();
    assert!(error.to_string().contains("1048576 items"), "{error}");
}

/// The limit is the block's own word, and its parent's is no better: nothing is executed before it
/// is looked at.
#[test]
fn a_block_that_could_run_for_ever_is_refused() {
    let spec = SampleSpec {
        txs: 1,
        seed: 1,
        accounts: 300,
        token_holders: 50,
    };
    let mut file = generate(&spec).unwrap();
    let mut with_limit = |gas_limit| {
        let mut parent = file.decode_parent().unwrap().unwrap();
        parent.gas_limit = gas_limit;
        let mut block = file.decode_block().unwrap();
        block.header.gas_limit = gas_limit;
        block.header.parent_hash = parent.hash_slow();
        file.block = alloy_rlp::encode(&block).into();
        file.parent = Parent::Header(alloy_rlp::encode(&parent).into());
        file.to_input()
    };
    for gas_limit in [GAS_LIMIT_MAX + 1, 1 << 62] {
        let error = with_limit(gas_limit).unwrap_err().to_string();
        assert!(
            error.contains(&gas_limit.to_string()) && error.contains("10000000000"),
            "{error}"
        );
    }
    // Half of the limit is the gas at which the base fee stays as it is, so that this block has the
    // wrong one.
    let outcome = validate(&with_limit(GAS_LIMIT_MAX).unwrap());
    assert!(
        matches!(outcome, Err(crate::BlockError::BaseFee { .. })),
        "{outcome:?}"
    );
}

/// Each block by itself is allowed, and what its header says that it used does not count: it would
/// be found out afterwards.
#[test]
fn a_batch_that_could_run_for_ever_is_refused() {
    let spec = SampleSpec {
        txs: 2,
        seed: 1,
        accounts: 300,
        token_holders: 50,
    };
    let files = generate_chain(&spec, 2).unwrap();
    // The block with this much gas in one transaction, and with room for it.
    let with_gas = |file: &BlockFile, gas: u64| {
        let mut block = file.decode_block().unwrap();
        block.header.gas_limit = GAS_LIMIT_MAX;
        let tx = block.body.transactions.last_mut().unwrap();
        let crate::Transaction::Eip1559(signed) = tx else {
            panic!("{tx:?}")
        };
        let (mut tx_1559, signature, _) = signed.clone().into_parts();
        tx_1559.gas_limit = gas;
        *tx = crate::Transaction::Eip1559(Signed::new_unhashed(tx_1559, signature));
        Bytes::from(alloy_rlp::encode(&block))
    };
    let others = |file: &BlockFile| {
        let block = file.decode_block().unwrap();
        let gas = block.body.transactions.iter().rev().skip(1);
        gas.map(alloy_consensus::Transaction::gas_limit).sum::<u64>()
    };
    let half = BATCH_GAS_MAX / 2;
    let mut batch = files[0].clone();
    batch.block = with_gas(&files[0], half - others(&files[0]));
    batch.later = vec![with_gas(&files[1], half - others(&files[1]))];
    // The later block names the changed one as its parent, so that only the gas is wrong.
    let follows = |batch: &mut BlockFile| {
        let before = batch.decode_block().unwrap().header.hash_slow();
        let mut later: crate::Block = alloy_rlp::decode_exact(&batch.later[0]).unwrap();
        later.header.parent_hash = before;
        batch.later[0] = alloy_rlp::encode(&later).into();
    };
    follows(&mut batch);
    batch.to_input().unwrap();
    batch.later = vec![with_gas(&files[1], half + 1 - others(&files[1]))];
    follows(&mut batch);
    let error = batch.to_input().unwrap_err();
    assert!(
        matches!(error, BlockFileError::BatchGas { actual } if actual == BATCH_GAS_MAX + 1),
        "{error}"
    );
    // Files of their own are bounded in the same way.
    let apart = [
        BlockFile {
            later: Vec::new(),
            ..batch.clone()
        },
        BlockFile {
            block: batch.later[0].clone(),
            later: Vec::new(),
            ..files[1].clone()
        },
    ];
    let error = crate::host::batch(&apart).unwrap_err();
    assert!(
        matches!(error, crate::host::BatchError::Gas { actual } if actual == BATCH_GAS_MAX + 1),
        "{error}"
    );
    // A transaction cannot take more than there is room for in its block.
    let mut single = files[0].clone();
    single.block = with_gas(&files[0], u64::MAX);
    single.to_input().unwrap();
}

/// The nodes share their bytes, so that the test takes no memory to speak of.
#[test]
fn an_input_beyond_the_guests_limit_is_refused() {
    const NODE_BYTES: usize = 1 << 20;
    let spec = SampleSpec {
        txs: 1,
        seed: 1,
        accounts: 300,
        token_holders: 50,
    };
    let mut file = generate(&spec).unwrap();
    let room = INPUT_BYTES_MAX - file.to_input().unwrap().encoded_bytes();
    let node = Bytes::from(vec![0; NODE_BYTES]);
    // Each node has a word for its length.
    let (whole, rest) = (room / (NODE_BYTES + 4), room % (NODE_BYTES + 4));
    file.witness.state.extend(vec![node.clone(); whole]);
    file.witness.state.push(node.slice(..rest - 4));
    assert_eq!(file.to_input().unwrap().encoded_bytes(), INPUT_BYTES_MAX);
    file.witness.state.push(Bytes::new());
    let error = file.to_input().unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, BlockFileError::InputTooLong { actual } if actual == INPUT_BYTES_MAX + 4)
            && text.contains("268435460 bytes")
            && text.contains("at most 268435456"),
        "{text}"
    );
}
