//! Imports of consecutive blocks from one node.

use super::*;
use crate::{
    host::{
        batch::{batch, batch_file},
        sample::generate_chain,
    },
    input::BLOCKS_MAX,
};

const FIRST: u64 = 1_048_576;
const LAST: u64 = FIRST + 3;

fn chain() -> Vec<BlockFile> {
    let spec = SampleSpec {
        txs: 8,
        seed: 2,
        accounts: 500,
        token_holders: 100,
    };
    let real = |file| BlockFile {
        synthetic: false,
        description: None,
        ..file
    };
    generate_chain(&spec, 4).unwrap().into_iter().map(real).collect()
}

/// An honest node with all blocks of a chain.
fn honest_chain(chain: &[BlockFile], method: &str, params: &Value) -> Reply {
    let Some(number) = params.get(0).and_then(Value::as_str) else {
        return honest(&chain[0], method);
    };
    let number = u64::from_str_radix(number.trim_start_matches("0x"), 16).unwrap();
    // A header is that of the block's parent.
    let at = match method {
        "debug_getRawHeader" => number + 1 - FIRST,
        _ => number - FIRST,
    };
    honest(&chain[at as usize], method)
}

#[test]
fn consecutive_blocks_become_one_file() {
    let chain = chain();
    let node = chain.clone();
    let url = serve(move |method, params| honest_chain(&node, method, params));
    let file = import_range(&url, FIRST..=LAST, &impatient()).unwrap();
    assert_eq!(file.decode_blocks().unwrap().len(), 4);
    let (_, imported) = batch(std::slice::from_ref(&file)).unwrap();
    let (_, expected) = batch(&chain).unwrap();
    assert_eq!(imported, expected);
    assert!(!file.synthetic && imported.skipped.is_empty());
    // The file has no more of the witnesses than is needed.
    assert_eq!(
        file.witness.state.len(),
        batch_file(&chain).unwrap().witness.state.len()
    );

    // A range of one is a single block.
    let one = import_range(&url, LAST..=LAST, &impatient()).unwrap();
    assert_eq!((one.block, one.later.len()), (chain[3].block.clone(), 0));
}

/// Imports the chain from a node that is honest but for what `reply` says otherwise.
fn refused(reply: impl Fn(&[BlockFile], &str, u64) -> Option<Reply> + Send + 'static) -> ImportError {
    let node = chain();
    let url = serve(move |method, params| {
        let number = params.get(0).and_then(Value::as_str).unwrap_or("0x0");
        let number = u64::from_str_radix(number.trim_start_matches("0x"), 16).unwrap();
        reply(&node, method, number).unwrap_or_else(|| honest_chain(&node, method, params))
    });
    import_range(&url, FIRST..=LAST, &impatient()).unwrap_err()
}

/// The fault, and the block that it is said of.
fn of_block(error: ImportError) -> (u64, ImportError) {
    let text = error.to_string();
    match error {
        ImportError::InRange { number, source, .. } => {
            assert!(
                text.contains(&format!("block {number}, of {FIRST} to {LAST}: ")),
                "{text}"
            );
            (number, *source)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_fault_names_its_block() {
    const BLOCK: &str = "debug_getRawBlock";
    const WITNESS: &str = "debug_executionWitness";
    let (number, error) = of_block(refused(|_, method, number| {
        (method == BLOCK && number == FIRST + 2).then_some(Reply::Result(Value::Null))
    }));
    assert!(matches!(error, ImportError::NotFound { .. }), "{error}");
    assert_eq!(number, FIRST + 2);
    let (number, error) = of_block(refused(|_, method, number| {
        (method == WITNESS && number == FIRST + 1).then_some(Reply::Break)
    }));
    assert!(matches!(error, ImportError::Connection { .. }), "{error}");
    assert_eq!(number, FIRST + 1);
    let (number, error) = of_block(refused(|chain, method, number| {
        let mut witness = json!({"state": chain[3].witness.state, "codes": [], "headers": []});
        witness["headers"] = json!(chain[3].witness.headers);
        (method == WITNESS && number == LAST).then_some(Reply::Result(witness))
    }));
    assert!(matches!(error, ImportError::Incomplete { .. }), "{error}");
    assert_eq!(number, LAST);
    // No witness is asked for where a later block is refused.
    let (number, error) = of_block(refused(|chain, method, number| match method {
        BLOCK if number == LAST => {
            let mut block = chain[3].decode_block().unwrap();
            block.header.parent_hash = B256::ZERO;
            Some(Reply::Result(json!(Bytes::from(alloy_rlp::encode(&block)))))
        }
        WITNESS => Some(Reply::Error(-32_000, "asked for a witness")),
        _ => None,
    }));
    assert!(
        matches!(
            error,
            ImportError::OtherParent {
                named: B256::ZERO,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(number, LAST);
}

#[test]
fn ranges_are_read() {
    assert_eq!("7".parse(), Ok(Blocks::One(BlockId::Number(7))));
    assert_eq!("latest".parse(), Ok(Blocks::One(BlockId::Latest)));
    assert_eq!("7..7".parse(), Ok(Blocks::Range(7..=7)));
    assert_eq!("0x10..17".parse(), Ok(Blocks::Range(16..=17)));
    let last = BLOCKS_MAX as u64;
    assert_eq!(format!("1..{last}").parse(), Ok(Blocks::Range(1..=last)));
    for (text, expected) in [
        ("7..latest", "both ends"),
        ("..7", "it is no number"),
        ("7..", "it is no number"),
        ("7..=9", "it is no number"),
        ("7..9..11", "it is no number"),
        ("9..7", "block 7 comes before block 9"),
        ("0..1024", "1025 blocks, and 1024"),
        ("0..18446744073709551615", "18446744073709551616 blocks"),
    ] {
        let error = text.parse::<Blocks>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(matches!(
        import_range("http://127.0.0.1:1", 0..=BLOCKS_MAX as u64, &impatient()),
        Err(ImportError::Range(_))
    ));
}
