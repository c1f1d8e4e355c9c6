//! `myriad verify`

use std::{path::Path, time::Instant};

use myriad_engine::{FINAL_PROOF_BYTES_MAX, FinalProof, Verifier, VerifyError};
use serde::Serialize;

use crate::{
    args::Verify,
    commands::block,
    error::Error,
    files::{self, ProgramFile},
    guest::{self, Variant},
    progress::Spinner,
    report::Rows,
    settings::Settings,
    terminal::{self, bytes, hex0x},
};

/// What is said of a good proof.
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
    block: Option<&'a block::Claim>,
}

pub fn run(args: &Verify) -> Result<(), Error> {
    let settings = Settings::load(&args.data)?;
    // The variants of the block guest say the same, so that a proof by any of them will do.
    let mut programs = match &args.program {
        Some(path) => vec![ProgramFile::read(path, args.config.as_deref())?],
        None => Variant::ALL
            .into_iter()
            .map(Variant::load)
            .collect::<Result<_, _>>()?,
    };
    let claim = block::Claim::read(&args.block)?;
    let proof = read_proof(&args.proof)?;
    let expected = match (&claim, &args.public_values) {
        (Some(claim), _) => Some(claim.public_values().to_vec()),
        (None, values) => values.as_ref().map(|values| values.0.clone()),
    };

    let (program, verifier, shown, start) = loop {
        let program = programs.remove(0);
        let verifier = {
            let _spinner = Spinner::new("loading keys");
            Verifier::new(&program.program, &settings.keys())?
        };
        let start = Instant::now();
        match verifier.final_proof(&proof) {
            Err(VerifyError::OtherProgram { .. }) if !programs.is_empty() => {}
            result => {
                let shown = result
                    .and_then(|shown| check_public_values(shown, expected.as_deref()))
                    .map_err(|source| Error::Proof {
                        path: args.proof.clone(),
                        source,
                    })?;
                break (program, verifier, shown, start);
            }
        }
    };
    let report = Report {
        verified: true,
        proof: args.proof.display().to_string(),
        proof_bytes: proof.len(),
        program: &program.name,
        program_commitment: verifier.program_commitment(),
        public_values: hex0x(&shown.public_values),
        verify_ms: start.elapsed().as_secs_f64() * 1e3,
        block: claim.as_ref(),
    };
    if args.data.json {
        return terminal::print_json(&report).map_err(Error::Stdout);
    }
    summary(&report, guest::is_evm_block(&program)).print()
}

/// A file that is too long for a proof is no proof, and no other kind of failure.
fn read_proof(path: &Path) -> Result<Vec<u8>, Error> {
    files::read("the proof", path, FINAL_PROOF_BYTES_MAX).map_err(|error| match error {
        Error::TooLarge { path, bytes_max, .. } => Error::Proof {
            source: VerifyError::Malformed {
                reason: format!("it has more than {bytes_max} bytes"),
            },
            path,
        },
        other => other,
    })
}

fn check_public_values(shown: FinalProof, expected: Option<&[u8]>) -> Result<FinalProof, VerifyError> {
    match expected {
        Some(expected) if expected != shown.public_values => Err(VerifyError::PublicValues {
            actual: hex0x(&shown.public_values),
            expected: hex0x(expected),
        }),
        _ => Ok(shown),
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
            "not asked for: --block FILE checks that it is the one in FILE",
        ),
        None => {}
    }
    rows.row("verified in", &format!("{:.0} ms", report.verify_ms));
    rows
}
