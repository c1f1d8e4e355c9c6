//! `myriad verify`: a confined child decodes and verifies a final proof, since a stranger may have
//! made the file.

use std::{path::Path, sync::Arc, time::Instant};

use myriad_engine::{FINAL_PROOF_BYTES_MAX, ProofOf, Shown};
use myriad_node::{NoVerifier, Objection, ProgramOnly, VerifierPool, make_keys};
use serde::Serialize;

use crate::{
    args::Verify,
    blocks,
    engines::Signs,
    error::Error,
    files::{self, ProgramFile},
    guest::{self, Variant},
    progress::Spinner,
    report::Rows,
    settings::Settings,
    terminal::{self, bytes, hex0x},
};

/// The report on a good proof.
#[derive(Serialize)]
struct Report<'a> {
    verified: bool,
    proof: String,
    proof_bytes: usize,
    program: &'a str,
    program_commitment: String,
    public_values: String,
    verify_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<&'a blocks::Claim>,
}

pub fn run(args: &Verify) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    // The variants of the block guest say the same, so that a proof by any of them will do.
    let mut programs = match &args.program {
        Some(path) => {
            let signs = Signs {
                named: args.engine,
                proof: Some(&args.proof),
            };
            vec![ProgramFile::read(path, args.config.as_deref(), signs)?]
        }
        None => Variant::ALL
            .into_iter()
            .map(Variant::load)
            .collect::<Result<_, _>>()?,
    };
    let config = settings.sole_worker(settings.engines.get(programs[0].engine)?)?;
    let claim = blocks::Claim::read(&args.block)?;
    let proof = read_proof(&args.proof)?;
    let public_values = match (&claim, &args.public_values) {
        (Some(claim), _) => Some(claim.public_values().to_vec()),
        (None, values) => values.as_ref().map(|values| values.0.clone()),
    };
    let of = ProofOf::Final { public_values };

    let (program, program_commitment, shown, start) = loop {
        let program = programs.remove(0);
        let spinner = Spinner::new("getting keys ready");
        make_keys(&config, settings.memory, program.config.clone())?;
        let verifiers = VerifierPool::begin(Arc::new(ProgramOnly {
            image: program.image.clone(),
            program_config: program.config.clone(),
            config: config.clone(),
        }));
        // The child says this before it has seen the proof.
        let program_commitment = verifiers.statement()?.program_commitment.clone();
        drop(spinner);
        let start = Instant::now();
        match verifiers.verify(&of, &proof) {
            Ok(shown) => break (program, program_commitment, shown, start),
            Err(Objection::OtherProgram(_)) if !programs.is_empty() => {}
            Err(Objection::Invalid(reason) | Objection::OtherProgram(reason)) => {
                return Err(proves_nothing(&args.proof, reason));
            }
            Err(Objection::Unable(reason)) => return Err(NoVerifier { reason }.into()),
        }
    };
    let Shown::Whole(shown) = shown else {
        let reason = "the verifier says that it is the proof of a piece".into();
        return Err(NoVerifier { reason }.into());
    };
    let report = Report {
        verified: true,
        proof: args.proof.display().to_string(),
        proof_bytes: proof.len(),
        program: &program.name,
        program_commitment,
        public_values: hex0x(&shown.public_values),
        verify_ms: start.elapsed().as_secs_f64() * 1e3,
        block: claim.as_ref(),
    };
    if args.data.json {
        return terminal::print_json(&report).map_err(Error::Stdout);
    }
    summary(&report, guest::is_evm_block(&program)).print()
}

/// Reads a proof. A file that is too long for a proof is an invalid proof, not another kind of
/// failure.
fn read_proof(path: &Path) -> Result<Vec<u8>, Error> {
    files::read("the proof", path, FINAL_PROOF_BYTES_MAX).map_err(|error| match error {
        Error::TooLarge { path, bytes_max, .. } => {
            proves_nothing(&path, format!("it has more than {bytes_max} bytes"))
        }
        other => other,
    })
}

fn proves_nothing(path: &Path, reason: String) -> Error {
    Error::Proof {
        path: path.to_owned(),
        reason,
    }
}

fn summary(report: &Report<'_>, of_block: bool) -> Rows {
    let mut rows = Rows::new("The proof is valid");
    rows.row(
        "proof",
        &format!("{}, {}", report.proof, bytes(report.proof_bytes as u64)),
    );
    rows.row(
        "program",
        &format!("{}, commitment {}", report.program, report.program_commitment),
    );
    rows.row("public values", &report.public_values);
    match report.block {
        Some(claim) => claim.rows(&mut rows),
        None if of_block => rows.row(
            "block",
            "not checked: --block FILE checks that the proof is about the block in FILE",
        ),
        None => {}
    }
    rows.row("verified in", &format!("{:.0} ms", report.verify_ms));
    rows
}
