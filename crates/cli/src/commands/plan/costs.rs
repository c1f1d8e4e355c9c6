//! The costs of which program a plan is made with.

use myriad_cost::model::{CostModel, ProgramModel};

use super::Work;
use crate::{args::Plan, error::Error};

/// The program whose costs are taken. Programs of two engines may have one name.
pub(super) fn program(args: &Plan, work: &Work, model: &CostModel) -> Result<ProgramModel, Error> {
    let engine = work.engine;
    let of_engine = || {
        model
            .programs()
            .iter()
            .filter(|program| program.engine() == engine)
    };
    let called = |name: &str| of_engine().find(|program| program.name() == name);
    let found = match &args.costs_of {
        Some(name) => called(name),
        None => called(&work.name).or_else(|| of_engine().find(|program| program.vm() == work.vm)),
    };
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = of_engine().map(ProgramModel::name).collect();
        let known = format!("of `{engine}`, it has those of {}", known.join(", "));
        let wanted = args.costs_of.as_deref().unwrap_or(&work.name);
        Error::Usage(match model.program(wanted) {
            Some(other) => format!(
                "the profile's costs of {wanted:?} are those of the engine `{}`, and the work is for `{engine}`; {known}: \
                 name one with --costs-of, or the other engine with --engine",
                other.engine()
            ),
            None => {
                format!("the profile has no costs of {wanted:?}; {known}: name one with --costs-of")
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use myriad_cost::{profile::Vm, reference};

    use super::*;
    use crate::{
        args::{Cli, Command},
        engines::Choice,
    };

    /// The program whose costs are taken for a program of this name.
    fn costs_of(engine: Choice, name: &str, wanted: Option<&str>) -> Result<String, String> {
        let mut line = vec!["myriad", "plan", "--instructions", "1"];
        line.extend(wanted.iter().flat_map(|&wanted| ["--costs-of", wanted]));
        let Command::Plan(args) = Cli::parse_from(line).command else {
            panic!("it is no plan");
        };
        let work = Work {
            instructions: 1.0,
            shared_bytes: 0,
            engine: engine.name(),
            vm: match engine {
                Choice::Openvm => Vm::Plain,
                Choice::Risc0 => Vm::Risc0,
            },
            name: name.into(),
        };
        let found = program(&args, &work, reference::model());
        found
            .map(|program| program.name().to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_program_takes_the_costs_of_its_own_engine_whatever_its_file_is_called() {
        let (openvm, risc0) = (Choice::Openvm, Choice::Risc0);
        for (engine, name, taken) in [
            (openvm, "fibonacci", "fibonacci"),
            (openvm, "evm-block", "evm-block"),
            (openvm, "other", "fibonacci"),
            (risc0, "fibonacci", "fibonacci-risc0"),
            (risc0, "evm-block", "fibonacci-risc0"),
            (openvm, "fibonacci-risc0", "fibonacci"),
        ] {
            assert_eq!(costs_of(engine, name, None).unwrap(), taken, "{engine:?} {name}");
        }
    }

    #[test]
    fn costs_of_another_engines_program_are_refused() {
        let (openvm, risc0) = (Choice::Openvm, Choice::Risc0);
        let own = costs_of(risc0, "other", Some("fibonacci-risc0"));
        assert_eq!(own.unwrap(), "fibonacci-risc0");
        for (engine, wanted, of, known) in [
            (
                risc0,
                "fibonacci",
                "`openvm`",
                "`risc0`, it has those of fibonacci-risc0",
            ),
            (
                openvm,
                "fibonacci-risc0",
                "`risc0`",
                "`openvm`, it has those of fibonacci, evm-block",
            ),
        ] {
            let error = costs_of(engine, "other", Some(wanted)).unwrap_err();
            assert!(error.contains(&format!("the engine {of}")), "{error}");
            assert!(error.contains(known) && error.contains("--engine"), "{error}");
        }
        let error = costs_of(openvm, "other", Some("nothing")).unwrap_err();
        assert!(error.contains("no costs of \"nothing\""), "{error}");
    }
}
