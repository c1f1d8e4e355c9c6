//! The engines that this binary has. The greeting, the children of commands and of a prover, the
//! calibration, and the jobs that are resumed all follow from this one list.

use myriad_core::{EngineId, EngineName};
use myriad_engine::{EngineFacts, worker::NoEngine};

/// An engine of this binary.
#[derive(Clone, Debug)]
pub struct OwnEngine {
    pub facts: EngineFacts,
    /// The command of this binary that is a child of the engine.
    pub subcommand: &'static str,
}

/// All of them. The first one proves programs for which no engine is named.
pub fn all() -> [OwnEngine; 1] {
    [OwnEngine {
        facts: myriad_openvm::facts(),
        subcommand: "engine-worker",
    }]
}

/// The engine of programs for which none is named.
pub fn first() -> OwnEngine {
    let [first] = all();
    first
}

/// The engines that this build greets with, and whose measurements it believes.
pub fn ids() -> Vec<EngineId> {
    all().iter().map(|engine| engine.facts.id).collect()
}

/// The engine of this name.
///
/// # Errors
/// [`NoEngine`]
pub fn find(name: EngineName) -> Result<OwnEngine, NoEngine> {
    let found = all().into_iter().find(|engine| engine.facts.id.name == name);
    found.ok_or_else(|| NoEngine {
        wanted: name,
        there: ids().iter().map(|id| id.name).collect(),
    })
}
