//! The decoders of the engine: programs, their configuration, inputs, segments.

use std::{fs, path::Path};

use myriad_engine::{Input, Segment};
use myriad_openvm::{Program, VmConfig};

use super::posted;

fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guests/elf")
        .join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(super) fn openvm_tomls() -> Vec<Vec<u8>> {
    vec![
        guest("evm-block.openvm.toml"),
        guest("evm-block-precompiles.openvm.toml"),
        b"[app_vm_config.rv32i]\n[app_vm_config.io]\n".to_vec(),
    ]
}

pub(super) fn openvm_toml(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    VmConfig::from_toml(&text).is_ok()
}

pub(super) fn elves() -> Vec<Vec<u8>> {
    vec![guest("fibonacci.elf"), guest("misbehave.elf")]
}

pub(super) fn program(bytes: &[u8]) -> bool {
    Program::load(bytes, None).is_ok()
}

pub(super) fn inputs() -> Vec<Vec<u8>> {
    vec![
        b"0x0110270000".to_vec(),
        br#"{"input": ["0x0110270000", "0x0201000000"]}"#.to_vec(),
    ]
}

pub(super) fn input(bytes: &[u8]) -> bool {
    let Ok(input) = Input::parse(bytes) else {
        return false;
    };
    // Each byte takes two digits.
    assert!(2 * input.byte_len() <= bytes.len());
    true
}

/// A program as OpenVM writes it.
pub const VMEXE: &[u8] = include_bytes!("../../samples/fibonacci.vmexe");

pub(super) fn vmexes() -> Vec<Vec<u8>> {
    vec![VMEXE.to_vec()]
}

/// As blobs have inputs.
pub(super) fn input_blobs() -> Vec<Vec<u8>> {
    let parsed = |text: Vec<u8>| posted(&Input::parse(&text).expect("a sample"));
    inputs().into_iter().map(parsed).collect()
}

pub(super) fn a_segment() -> Segment {
    Segment {
        index: 3,
        instret_start: 300_000,
        num_insns: 100_000,
        details: vec![0, 1, 0x80, 0x80, 0x40],
        last: false,
        cells: 40_000_000,
        interactions: 9_000_000,
        peak_bytes: 2 << 30,
    }
}

pub(super) fn segments() -> Vec<Vec<u8>> {
    vec![posted(&a_segment())]
}
