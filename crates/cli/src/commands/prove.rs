//! `myriad prove`

use crate::{
    args::{Prove, ProveLayer},
    engines::Signs,
    error::Error,
    files::{self, ProgramFile},
    proving::{job, prove, quoted, verify_command},
    report,
    settings::Settings,
};

pub fn run(args: &Prove) -> Result<(), Error> {
    let settings = Settings::load(&ProveLayer::new(&args.work, &args.provers))?;
    let signs = Signs {
        named: args.engine,
        proof: None,
    };
    let program = ProgramFile::read(&args.program, args.config.as_deref(), signs)?;
    let input = files::read_input(&args.input)?;
    let title = program.name.clone();
    let json = args.work.data.json;
    let mut verify = format!("--program {}", quoted(&args.program));
    if let Some(config) = &args.config {
        verify += &format!(" --config {}", quoted(config));
    }
    if let Some(engine) = args.engine {
        verify += &format!(" --engine {}", engine.name());
    }
    let job = job(title.clone(), program, input, verify.clone(), &settings)?;
    let outcome = prove(&job, &settings, &args.provers, json)?;

    let verify = verify_command(&outcome.proof_path, &verify);
    let context = report::Context {
        json,
        title: &title,
        memory: settings.memory,
        verify: &verify,
        block: None::<()>,
    };
    report::proof(&outcome, context)
}
