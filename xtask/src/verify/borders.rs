//! The step that checks where `docs/SECURITY.md` says that things are done: some calls may stand
//! only in the files that are named here, except in tests.

use std::{fs, path::Path};

use anyhow::Result;

use super::{
    Finding,
    tree::{files, product},
};

/// A call, the files or folders that may make it, and why no others may.
struct Border {
    call: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

/// The crates that use OpenVM's own.
const OPENVMS: &[&str] = &[
    "crates/openvm/",
    "crates/swirl/",
    "crates/system/",
    "fuzz/",
    "guests/",
];
const ONE_CRATE: &str = "one crate makes an engine of OpenVM, with a prover and system chips of its own";

const BORDERS: &[Border] = &[
    Border {
        call: "Program::load(",
        allowed: &["crates/openvm/", "crates/cli/src/files.rs", "engines/", "fuzz/"],
        reason: "a stranger's program is loaded in the confined child; elsewhere only the user's own files are",
    },
    Border {
        call: "Input::decode(",
        allowed: &[
            "crates/engine/",
            "crates/evm/",
            "crates/node/src/records/",
            // The children themselves.
            "crates/openvm/src/child.rs",
            "engines/",
            "guests/",
            "fuzz/",
        ],
        reason: "a stranger's input is decoded in the confined child; elsewhere only that of the user's own job is",
    },
    Border {
        call: "VmConfig::from_toml",
        allowed: &["crates/openvm/", "fuzz/"],
        reason: "a stranger's openvm.toml is decoded in the confined child, and nobody else has to know what it says",
    },
    Border {
        call: "Verifier::new(",
        allowed: &["crates/openvm/"],
        reason: "proofs are verified in the confined child, whoever has made them",
    },
    Border {
        call: "Worker::spawn",
        allowed: &[
            "crates/engine/",
            "crates/node/src/group.rs",
            // Its own programs.
            "crates/node/src/bench/",
        ],
        reason: "a child is started with a limit of memory that the kernel keeps, by `LimitedWorker`",
    },
    Border {
        call: "Command::new(",
        allowed: &[
            "crates/cli/src/cluster.rs",
            "crates/engine/src/worker/",
            // It asks git which commit the report is of.
            "crates/sim/src/bin/myriad-sim/main.rs",
            "xtask/",
        ],
        reason: "nothing that a peer says starts a process; the engine child and this machine's own provers are all there is",
    },
    Border {
        call: "fs::create_dir",
        allowed: &[
            "crates/cli/",
            "crates/engine/",
            "crates/evm/",
            "crates/net/src/durable.rs",
            // Control groups.
            "crates/node/src/group.rs",
            "crates/sim/",
            "fuzz/",
            "guests/",
            "xtask/",
        ],
        reason: "a node's file is on the disk only once the folder above it is synced: use `durable::make_dir`",
    },
    Border {
        call: "commands::",
        allowed: &["crates/cli/src/main.rs"],
        reason: "commands import no commands: what two of them share lies beside them in `crates/cli/src`",
    },
    Border {
        call: "libp2p::",
        allowed: &["crates/net/"],
        reason: "bytes from peers are bounded in one crate",
    },
    Border {
        call: "myriad_openvm",
        allowed: &["crates/cli/", "crates/openvm/", "fuzz/"],
        reason: "the others know engines by what crosses the pipes of their children, in `myriad_engine`",
    },
    Border {
        call: "openvm_circuit",
        allowed: OPENVMS,
        reason: ONE_CRATE,
    },
    Border {
        call: "openvm_sdk",
        allowed: OPENVMS,
        reason: ONE_CRATE,
    },
    Border {
        call: "openvm_stark",
        allowed: OPENVMS,
        reason: ONE_CRATE,
    },
    Border {
        call: "devices::",
        allowed: &["crates/openvm/"],
        reason: "only tests and benchmarks choose the device that proves; the product proves with swirl's",
    },
    Border {
        call: "probe::",
        allowed: &["crates/openvm/"],
        reason: "only tests see or change the proofs that are made",
    },
    Border {
        call: "BabyBearPoseidon2CpuEngine",
        allowed: &[],
        reason: "only tests and benchmarks prove with OpenVM's device; the product proves with swirl's",
    },
    Border {
        call: "DefaultStarkEngine",
        allowed: &["crates/openvm/src/execute/mod.rs", "crates/openvm/src/prove.rs"],
        reason: "OpenVM's VM is bound to OpenVM's engine and executes with it; nothing else holds that engine",
    },
    Border {
        call: "CpuDevice",
        allowed: &[
            // It moves keys and traces to the types that both devices share.
            "crates/swirl/src/device.rs",
            // A trait of OpenVM's VM names it; chips make no proofs.
            "crates/system/src/chips.rs",
        ],
        reason: "only tests and benchmarks prove with OpenVM's device; the product proves with swirl's",
    },
    Border {
        call: ".engine.prove(",
        allowed: &[],
        reason: "the engine of OpenVM's VM proves with OpenVM's device; a field of another name holds swirl's engine",
    },
];

/// Whether the file is part of the product: tests and benchmarks may do what they want.
fn is_product(file: &Path) -> bool {
    let text = file.to_string_lossy();
    text.ends_with(".rs")
        && !["/tests/", "/tests.rs", "/benches/"]
            .iter()
            .any(|part| text.contains(part))
}

pub fn borders(repository: &Path) -> Result<Finding> {
    let mut problems = Vec::new();
    for file in files(repository)?.iter().filter(|file| is_product(file)) {
        // This file names them all.
        if file.ends_with("xtask/src/verify/borders.rs") {
            continue;
        }
        let text = fs::read_to_string(repository.join(file))?;
        problems.extend(crossed(&file.to_string_lossy(), &product(&text)));
    }
    Ok(Finding::from_problems(&problems))
}

fn crossed(file: &str, text: &str) -> Vec<String> {
    let text = code(text);
    BORDERS
        .iter()
        .filter(|border| !border.allowed.iter().any(|allowed| file.starts_with(allowed)))
        .filter(|border| calls(&text, border.call))
        .map(|border| format!("{file}: calls `{}`: {}", border.call, border.reason))
        .collect()
}

/// A text without the lines that are comments. Chains of calls are on one line each.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("//") {
            continue;
        }
        if !line.starts_with('.') {
            code.push('\n');
        }
        code.push_str(line);
    }
    code
}

/// Whether a text has a call, and not only one whose name ends in the same way.
fn calls(text: &str, call: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut places = text.match_indices(call);
    places.any(|(at, _)| !call.starts_with(is_name) || !text[..at].ends_with(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_outside_of_their_files_alone() {
        let text = "let program = Program::load(&image, None)?;";
        assert_eq!(crossed("crates/node/src/prover/task.rs", text).len(), 1);
        assert!(crossed("crates/openvm/src/child.rs", text).is_empty());
        let text = "let vm = toml.map(VmConfig::from_toml);";
        assert_eq!(crossed("crates/node/src/prover/engine.rs", text).len(), 1);
        assert!(crossed("crates/openvm/src/child.rs", text).is_empty());
        assert_eq!(crossed("crates/engine/src/worker/client/mod.rs", text).len(), 1);
        let text = "let worker = Worker::spawn(&config)?;";
        assert_eq!(crossed("crates/node/src/verifier_pool.rs", text).len(), 1);
        assert_eq!(crossed("crates/cli/src/execution.rs", text).len(), 1);
        let text = "let worker = LimitedWorker::spawn(&config, memory)?;";
        assert!(crossed("crates/node/src/verifier_pool.rs", text).is_empty());
        let text = "use myriad_openvm::devices::{Backend, prove_segment};";
        // The binary may name the crate, and nobody the devices.
        assert_eq!(crossed("crates/cli/src/files.rs", text).len(), 1);
        assert_eq!(crossed("crates/node/src/prover/engine/mod.rs", text).len(), 2);
        assert!(crossed("crates/openvm/src/lib.rs", text).is_empty());
        let text = "let prover = SegmentProver::<BabyBearPoseidon2CpuEngine>::new()?;";
        assert_eq!(crossed("crates/openvm/src/child.rs", text).len(), 1);
        let text = "let stock = DefaultStarkEngine::new(params);";
        assert_eq!(crossed("crates/openvm/src/aggregate.rs", text).len(), 1);
        assert!(crossed("crates/openvm/src/prove.rs", text).is_empty());
        let text = "let device = CpuDevice::new(config);";
        assert_eq!(crossed("crates/openvm/src/prove.rs", text).len(), 1);
        assert!(crossed("crates/swirl/src/device.rs", text).is_empty());
        for text in [
            "let stark = vm.engine.prove(vm.pk(), context)?;",
            "let stark = vm\n    .engine\n    .prove(vm.pk(), context)?;",
        ] {
            assert_eq!(crossed("crates/openvm/src/prove.rs", text).len(), 1, "{text}");
        }
        let text = "/// Unlike CpuDevice.\n// vm.engine.prove(pk)\nstruct Device;";
        assert!(crossed("crates/openvm/src/prove.rs", text).is_empty());
        let text = "std::fs::create_dir_all(dir)?;";
        assert_eq!(crossed("crates/net/src/identity.rs", text).len(), 1);
        assert!(crossed("crates/net/src/durable.rs", text).is_empty());
    }

    #[test]
    fn engines_are_known_by_their_children_alone() {
        let text = "use myriad_openvm::Program;";
        for file in [
            "crates/core/src/tree.rs",
            "crates/cost/src/lib.rs",
            "crates/engine/src/lib.rs",
            "crates/net/src/wire/task.rs",
            "crates/node/src/job/mod.rs",
            "crates/sim/src/lib.rs",
        ] {
            assert_eq!(crossed(file, text).len(), 1, "{file}");
            assert_eq!(crossed(file, "use openvm_sdk::F;").len(), 1, "{file}");
        }
        assert!(crossed("crates/cli/src/files.rs", text).is_empty());
        assert_eq!(crossed("crates/cli/src/files.rs", "use openvm_sdk::F;").len(), 1);
        // The name of a file is no name of a crate.
        assert!(crossed("crates/node/src/job/mod.rs", "pub openvm_toml: Option<String>,").is_empty());
    }

    #[test]
    fn tests_are_free() {
        assert!(!is_product(Path::new("crates/cli/tests/cli/worker.rs")));
        assert!(!is_product(Path::new("crates/node/src/records/tests.rs")));
        assert!(is_product(Path::new("crates/node/src/prover/task.rs")));
        assert_eq!(product("a\n#[cfg(test)]\nmod tests {\nb"), "a\n");
        let text = "#[cfg(test)]\nmod bed {\n    {\n    }\n}\na\n#[cfg(test)]\nmod tests;\nb\n";
        assert_eq!(product(text), "a\nb\n");
    }
}
