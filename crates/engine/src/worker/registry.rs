//! The engines that a machine has, by their names.

use std::collections::BTreeMap;

use myriad_core::EngineName;
use thiserror::Error;

use super::config::WorkerConfig;

/// The engines of this machine, each with the command that starts its children.
#[derive(Clone, Debug, Default)]
pub struct Engines(BTreeMap<EngineName, WorkerConfig>);

/// A job names an engine that this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("this machine has no engine `{wanted}`, but {}: use a build of myriad that has it", has(.there))]
pub struct NoEngine {
    pub wanted: EngineName,
    /// The engines that there are.
    pub there: Vec<EngineName>,
}

fn has(there: &[EngineName]) -> String {
    match there {
        [] => "none at all".into(),
        there => there
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

impl Engines {
    /// The command of an engine's children.
    ///
    /// # Errors
    /// [`NoEngine`]
    pub fn get(&self, name: EngineName) -> Result<&WorkerConfig, NoEngine> {
        self.0.get(&name).ok_or_else(|| NoEngine {
            wanted: name,
            there: self.0.keys().copied().collect(),
        })
    }
}

impl FromIterator<WorkerConfig> for Engines {
    /// # Panics
    /// Two engines of one name: jobs name theirs by nothing else.
    fn from_iter<I: IntoIterator<Item = WorkerConfig>>(engines: I) -> Self {
        let mut all = BTreeMap::new();
        for config in engines {
            let name = config.engine.id.name;
            let before = all.insert(name, config);
            assert!(before.is_none(), "there are two engines `{name}`");
        }
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineFacts;

    fn config() -> WorkerConfig {
        WorkerConfig {
            engine: EngineFacts::pretended(),
            command: "/bin/false".into(),
            args: Vec::new(),
            keys: "none".into(),
            threads: 1,
        }
    }

    #[test]
    #[should_panic = "there are two engines `pretended`"]
    fn two_engines_of_one_name_are_a_mistake() {
        let _: Engines = [config(), config()].into_iter().collect();
    }

    #[test]
    fn an_engine_that_is_not_there_is_named_with_those_that_are() {
        let config = config();
        let id = config.engine.id;
        let engines: Engines = [config].into_iter().collect();
        assert!(engines.get(id.name).is_ok());
        let missing = |engines: &Engines| engines.get("other".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(
            missing(&engines),
            "this machine has no engine `other`, but `pretended`: use a build of myriad that has it"
        );
        assert_eq!(
            missing(&Engines::default()),
            "this machine has no engine `other`, but none at all: use a build of myriad that has it"
        );
    }
}
