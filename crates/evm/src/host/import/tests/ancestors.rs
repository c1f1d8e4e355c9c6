//! Headers of ancestors that BLOCKHASH asks for, and the witness does not have.

use std::sync::{Arc, Mutex};

use super::*;
use crate::{Fork, host::sample::features};

/// A block that asks for the hash of the third block before it; all headers that it can need; and
/// its number.
fn asking() -> (BlockFile, Vec<Bytes>, u64) {
    let mut file = features(Fork::Prague).unwrap();
    (file.synthetic, file.description) = (false, None);
    let headers = std::mem::take(&mut file.witness.headers);
    let number = file.decode_block().unwrap().header.number;
    (file, headers, number)
}

fn decoded(header: &Bytes) -> Header {
    alloy_rlp::decode_exact(header).unwrap()
}

/// A node whose witnesses have no headers, and which gives each header by its number; and the
/// numbers that it was asked for. If it has no method for RLP, it gives JSON.
fn serve_by_number(file: &BlockFile, headers: &[Bytes], has_rlp: bool) -> (String, Arc<Mutex<Vec<u64>>>) {
    let asked: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (node, headers, noted) = (file.clone(), headers.to_vec(), Arc::clone(&asked));
    let url = serve(move |method, params| match method {
        "debug_getRawHeader" if !has_rlp => Reply::Error(-32_601, "no such method"),
        "debug_getRawHeader" | "eth_getBlockByNumber" => {
            let digits = params[0].as_str().unwrap().strip_prefix("0x").unwrap();
            let number = u64::from_str_radix(digits, 16).unwrap();
            noted.lock().unwrap().push(number);
            let header = headers.iter().find(|header| decoded(header).number == number);
            Reply::Result(match header {
                Some(header) if has_rlp => json!(header),
                Some(header) => {
                    let header = decoded(header);
                    let mut json = json!(header);
                    json["hash"] = json!(header.hash_slow());
                    json
                }
                None => Value::Null,
            })
        }
        method => honest(&node, method),
    });
    (url, asked)
}

#[test]
fn headers_that_a_witness_lacks_are_asked_for_by_number() {
    let (file, headers, number) = asking();
    for has_rlp in [true, false] {
        let (url, asked) = serve_by_number(&file, &headers, has_rlp);
        let imported = import(&url, BlockId::Number(number), &impatient()).unwrap();
        // The parent's header names the second block before, and that one's the third.
        assert_eq!(*asked.lock().unwrap(), [number - 1, number - 2]);
        let numbers: Vec<u64> = imported
            .witness
            .headers
            .iter()
            .map(|header| decoded(header).number)
            .collect();
        assert_eq!(numbers, [number - 2]);
        validate(&imported.to_input().unwrap()).unwrap();
    }
}

#[test]
fn a_header_that_the_node_does_not_have_is_named() {
    let (file, headers, number) = asking();
    let parent = &headers[headers.len() - 1..];
    let (url, asked) = serve_by_number(&file, parent, true);
    let error = import(&url, BlockId::Number(number), &impatient()).unwrap_err();
    let shown = error.to_string();
    assert!(
        matches!(error, ImportError::NotFound { what: "header", .. })
            && shown.contains(&(number - 2).to_string()),
        "{shown}"
    );
    assert_eq!(*asked.lock().unwrap(), [number - 1, number - 2]);
}

/// Headers of another chain are of no use, and there is an end of asking for more.
#[test]
fn a_node_that_gives_other_headers_is_not_asked_for_ever() {
    let (file, headers, number) = asking();
    let mut foreign = decoded(&headers[0]);
    foreign.extra_data = Bytes::from_static(b"of another chain");
    let node = file.clone();
    let asked: Arc<Mutex<usize>> = Arc::default();
    let noted = Arc::clone(&asked);
    let url = serve(move |method, params| match method {
        // The parent is the right one.
        "debug_getRawHeader" if params[0] == format!("{:#x}", number - 1) => honest(&node, method),
        "debug_getRawHeader" => {
            *noted.lock().unwrap() += 1;
            Reply::Result(json!(Bytes::from(alloy_rlp::encode(&foreign))))
        }
        method => honest(&node, method),
    });
    let error = import(&url, BlockId::Number(number), &impatient()).unwrap_err();
    let missing = number - 2;
    assert!(
        matches!(
            &error,
            ImportError::Incomplete {
                source: WitnessError::MissingHeader { missing: of, .. },
                ..
            } if *of == missing
        ),
        "{error:?}"
    );
    assert!(*asked.lock().unwrap() <= HEADERS_MAX, "{asked:?}");
}
