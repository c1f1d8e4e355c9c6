//! The engines of requesters and their jobs, compared with those of this machine.

use myriad_core::{EngineId, EngineName};

/// Why a machine with the engines `own` can prove nothing for a requester of this build with the
/// engines `theirs`; none if it can.
pub(super) fn other(own: &[EngineId], theirs: &[EngineId], build: &str) -> Option<String> {
    if theirs.iter().any(|id| own.contains(id)) {
        return None;
    }
    let mut names = theirs.iter().map(|id| id.name);
    Some(match names.find(|name| has(own, *name)) {
        Some(name) => {
            format!(
                "its engine `{name}` is that of another build ({build}): one of the two has to be updated"
            )
        }
        None => format!(
            "its engines are {}, and this machine has {}",
            named(theirs),
            named(own)
        ),
    })
}

/// Why a machine with the engines `own` can do nothing for a job of this engine; none if it can.
/// `theirs` are those that its requester has greeted with, if it has. The job itself does not say
/// which build of the engine it has: its fingerprint is that of its program's configuration.
pub(super) fn lacks(own: &[EngineId], theirs: Option<&[EngineId]>, wanted: EngineName) -> Option<String> {
    if !has(own, wanted) {
        let there = named(own);
        return Some(format!(
            "its job is of the engine `{wanted}`, and this machine has {there}"
        ));
    }
    let same = |theirs: &[EngineId]| theirs.iter().any(|id| id.name == wanted && own.contains(id));
    (!theirs.is_none_or(same)).then(|| {
        format!(
            "its job is of the engine `{wanted}`, and the requester's is that of another build: one of the two has to be \
             updated"
        )
    })
}

fn has(engines: &[EngineId], name: EngineName) -> bool {
    engines.iter().any(|id| id.name == name)
}

fn named(engines: &[EngineId]) -> String {
    let names: Vec<String> = engines.iter().map(|id| format!("`{}`", id.name)).collect();
    match &names[..] {
        [] => "none".into(),
        names => names.join(", "),
    }
}
