//! Programs and inputs that cannot be used: each error names the fault.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::common::{FAILED, guest, run};

/// The most bytes that the engine takes as an input.
const INPUT_BYTES_MAX: u64 = 256 << 20;

#[test]
fn what_is_no_program_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let this_test = std::env::current_exe().unwrap();
    let fibonacci = fs::read(guest("fibonacci")).unwrap();
    for (program, text) in [
        (write("empty.elf", b""), "the program file is empty"),
        (write("script.elf", b"#!/bin/sh\necho hello\n"), "neither an ELF"),
        (write("magic.elf", b"\x7fELF"), "inside its header"),
        (
            write("half.elf", &fibonacci[..fibonacci.len() / 2]),
            "cannot be loaded",
        ),
        (write("half.vmexe", &fibonacci[1000..2000]), "nor a .vmexe"),
        (
            this_test.to_str().unwrap().to_owned(),
            "not for 32-bit little-endian RISC-V",
        ),
        (
            dir.path().join("missing.elf").to_str().unwrap().to_owned(),
            "No such file",
        ),
        (dir.path().to_str().unwrap().to_owned(), "directory"),
    ] {
        for command in ["execute", "prove"] {
            let ended = run([command, &program, "--input", "0x0101000000", "--json"])
                .exits(FAILED)
                .says(text);
            let json = ended.json();
            assert!(json["error"].as_str().unwrap().contains(text), "{json}");
            assert!(json["kind"] == "program" || json["kind"] == "file", "{json}");
        }
    }
}

#[test]
fn a_bad_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("fibonacci.elf");
    fs::copy(guest("fibonacci"), &program).unwrap();
    let program = program.to_str().unwrap();
    let config = dir.path().join("other.toml");
    for (toml, text) in [
        (
            "[app_vm_config.rv32i]\n[app_vm_config.frobnicate]\n",
            "unknown extension `frobnicate`",
        ),
        ("[app_vm_config", "not valid"),
        ("[something]\nelse = 1\n", "no [app_vm_config]"),
        ("[app_vm_config.deferral]\n", "deferral"),
    ] {
        fs::write(&config, toml).unwrap();
        run(["execute", program, "--config", config.to_str().unwrap()])
            .exits(FAILED)
            .says(text)
            .says("other.toml");
        // The `openvm.toml` beside the program is used, and the output says so.
        let beside = dir.path().join("fibonacci.openvm.toml");
        fs::write(&beside, toml).unwrap();
        run(["execute", program])
            .exits(FAILED)
            .says("note: using")
            .says(text)
            .says("fibonacci.openvm.toml");
        fs::remove_file(&beside).unwrap();
    }
    run(["execute", program, "--config", "missing.toml"])
        .exits(FAILED)
        .says("missing.toml");
}

#[test]
fn a_bad_input_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (content, text) in [
        ("", "the input is empty"),
        (" \n", "the input is empty"),
        ("hello", "neither a hex string nor JSON"),
        ("{\"input\": [", "neither a hex string nor JSON"),
        ("{}", "no array"),
        ("{\"input\": [7]}", "item 0 is not a hex string"),
        ("{\"input\": [\"0x01\", \"0x05\"]}", "item 1 starts with 05"),
        ("0x02ffffffff", "modulus"),
    ] {
        fs::write(path("input"), content).unwrap();
        run(["execute", &guest("fibonacci"), "--input", &path("input")])
            .exits(FAILED)
            .says(text);
    }
    oversized(dir.path().join("huge").as_path());
    for flag in ["--input", "--input-bytes"] {
        run(["execute", &guest("fibonacci"), flag, &path("huge")])
            .exits(FAILED)
            .says("has more than");
        run(["execute", &guest("fibonacci"), flag, &path("missing")])
            .exits(FAILED)
            .says("No such file");
    }
}

/// A file of zeros that takes no room on the disk.
fn oversized(path: &Path) {
    File::create(path).unwrap().set_len(INPUT_BYTES_MAX + 1).unwrap();
}
