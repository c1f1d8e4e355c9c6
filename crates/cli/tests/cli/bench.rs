//! `myriad bench`, and the use of its profile. The test that proves calls it at its end, so that it
//! has all cores.

use std::{fs, path::Path};

use myriad_core::Kind;
use myriad_cost::{
    model::{Below, CostModel},
    profile::{Profile, Vm},
};
use myriad_node::prover::{Calibration, profile_file};

use crate::common::{DONE, finish, myriad, run};

/// A quick look: real proofs, whose numbers a model is fitted to, that `plan` plans with and
/// `prover` offers by.
pub fn a_machine_is_measured(data: &Path) {
    let plots = data.join("plots");
    let mut bench = myriad([
        "bench",
        "--quick",
        "--threads",
        "2",
        "--name",
        "under test",
        "--json",
    ]);
    let bench = bench.arg("--data-dir").arg(data).arg("--plots").arg(&plots);
    let report = finish(bench).exits(DONE).json();
    let path = data.join(profile_file(myriad_openvm::facts().id.name));
    assert_eq!(report["path"], path.to_str().unwrap());
    assert_eq!(report["plots"].as_array().unwrap().len(), 4);
    for plot in report["plots"].as_array().unwrap() {
        assert!(
            fs::read_to_string(plot.as_str().unwrap())
                .unwrap()
                .contains("under test")
        );
    }

    let profile = Profile::load(&path).unwrap();
    let program = profile.program("fibonacci").unwrap();
    assert_eq!((profile.programs.len(), program.vm), (1, Vm::Plain));
    let budgets: Vec<u64> = program.cuts.iter().map(|cut| cut.budget_bytes).collect();
    assert!(budgets.len() >= 4 && program.cuts.iter().all(|cut| cut.peak_bytes <= cut.budget_bytes));
    let tasks = program.segments.iter().map(|s| &s.measured);
    for measured in tasks.chain(program.nodes.iter().map(|n| &n.measured)) {
        assert_eq!(measured.threads, 2);
        assert!(measured.wall_s > 0.1 && measured.cpu_s > 0.1, "{measured:?}");
        assert!(
            measured.peak_bytes < 5 << 30 && measured.proof_bytes > 100_000,
            "{measured:?}"
        );
    }
    let model = CostModel::fit(&profile).unwrap();
    let law = model.of(Vm::Plain).unwrap();
    for stage in [
        Kind::Leaf,
        Kind::InternalForLeaf,
        Kind::InternalRecursive,
        Kind::Final,
    ] {
        assert!(law.node(stage, 1, Below::More, 2).is_some(), "{stage:?}");
    }
    let (small, large) = (law.load(100_000.0), law.load(600_000.0));
    assert!(law.segment(small, 2).peak_bytes < law.segment(large, 2).peak_bytes);

    let plan = |file: &Path| {
        let file = file.to_str().unwrap();
        let args = [
            "plan",
            "--gas",
            "1000000",
            "--nodes",
            "20",
            "--json",
            "--profile",
            file,
        ];
        run(args).exits(DONE).json()["expected_s"].as_f64().unwrap()
    };
    assert!(plan(&path) > 10.0);
    let (measured, unused) = Calibration::measured(data, &[myriad_openvm::facts().id], 2);
    assert!(unused.is_empty(), "{unused:?}");
    let calibration = measured.unwrap().calibration;
    assert!(
        calibration.speed > 0.01 && calibration.core_speed > 0.01,
        "{calibration:?}"
    );
}
