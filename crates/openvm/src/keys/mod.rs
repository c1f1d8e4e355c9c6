//! OpenVM's keys of a configuration, in files of [`KeyFolder`].

use myriad_engine::{Filling, KeyError, KeyFolder};
use openvm_continuations::prover::InnerCpuProver;
use openvm_sdk::{
    SC,
    config::{AggregationSystemParams, MAX_NUM_CHILDREN_INTERNAL, MAX_NUM_CHILDREN_LEAF},
    keygen::AppProvingKey,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::keygen::types::MultiStarkProvingKey;
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use openvm_verify_stark_host::pvs::VkCommit;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::info_span;

use crate::{VmConfig, own_engine::OwnEngine, program::caught};

/// A folder of keys.
#[derive(Clone, Debug)]
pub struct KeyCache(KeyFolder);

/// Everything that proves and verifies for one configuration.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeySet {
    pub app: AppProvingKey<SdkVmConfig>,
    pub leaf: Arc<MultiStarkProvingKey<SC>>,
    pub internal_for_leaf: Arc<MultiStarkProvingKey<SC>>,
    pub internal_recursive: Arc<MultiStarkProvingKey<SC>>,
    pub commits: VkCommits,
}

/// The commitments by which a proof says which keys its children were verified with.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct VkCommits {
    pub app: VkCommit<F>,
    pub leaf: VkCommit<F>,
    pub internal_for_leaf: VkCommit<F>,
    pub internal_recursive: VkCommit<F>,
}

impl KeyCache {
    /// Uses `dir`, which is made when the first keys are written to it.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(KeyFolder::new(dir))
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.0.dir()
    }

    /// Whether the keys of a configuration are there, and can be read.
    pub fn has(&self, config: &VmConfig) -> bool {
        matches!(self.read(config), Ok(Some(_)))
    }

    /// Makes the keys of a configuration in this process if they are not there: where the
    /// configuration is the caller's own.
    ///
    /// # Errors
    /// A folder that cannot be read or written, or a configuration that has no keys.
    pub fn ensure(&self, config: &VmConfig) -> Result<(), KeyError> {
        self.load(config).map(drop)
    }

    /// The keys of a configuration, which have to be there: an engine child that works with them
    /// cannot make them.
    pub(crate) fn get(&self, config: &VmConfig) -> Result<KeySet, KeyError> {
        let _span = info_span!("keys.read").entered();
        let path = self.0.path(&config.key_name());
        self.read(config)?.ok_or(KeyError::Missing { path })
    }

    /// The keys of a configuration, made if need be; see [`Self::ensure`].
    pub(crate) fn load(&self, config: &VmConfig) -> Result<KeySet, KeyError> {
        let mut filling = Filling::Missing;
        if self.0.has(&config.key_name())? {
            if let Some(keys) = self.read(config)? {
                return Ok(keys);
            }
            filling = Filling::Rotten;
        }
        let mut made = None;
        self.0.fill(
            &config.key_name(),
            filling,
            || true,
            || {
                let keys = generate(config)?;
                let file = encode(config, &keys)?;
                made = Some(keys);
                Ok::<_, KeyError>(file)
            },
        )?;
        // Another process may have made them meanwhile.
        made.map_or_else(|| self.get(config), Ok)
    }

    /// The keys of a configuration; none if the file is missing or damaged.
    fn read(&self, config: &VmConfig) -> Result<Option<KeySet>, KeyError> {
        let Some(body) = self.0.read(&config.key_name())? else {
            return Ok(None);
        };
        let stored: Option<([u8; 32], KeySet)> = bitcode::deserialize(&body).ok();
        let keys = stored.and_then(|(of, keys)| (of == *config.fingerprint().as_bytes()).then_some(keys));
        if keys.is_none() {
            let path = self.0.path(&config.key_name());
            tracing::warn!(path = %path.display(), "this key file is damaged; the keys have to be made again");
        }
        Ok(keys)
    }
}

/// The file of a configuration's keys, made now: what [`KeyFolder::fill`] takes.
pub(crate) fn make(config: &VmConfig) -> Result<Vec<u8>, KeyError> {
    encode(config, &generate(config)?)
}

fn generate(config: &VmConfig) -> Result<KeySet, KeyError> {
    caught(|| {
        let app = AppProvingKey::keygen(config.app_config()).map_err(|e| KeyError::Keygen {
            reason: e.to_string(),
        })?;
        let app_vk = app.app_vm_pk.vm_pk.get_vk();
        let params = AggregationSystemParams::default();
        let leaf = InnerCpuProver::<MAX_NUM_CHILDREN_LEAF>::new::<OwnEngine>(
            Arc::new(app_vk),
            params.leaf,
            false,
            None,
        );
        let (leaf, app_commit) = (leaf.get_pk(), leaf.get_vk_commit(false));
        let internal = |child: &MultiStarkProvingKey<SC>, recursive| {
            InnerCpuProver::<MAX_NUM_CHILDREN_INTERNAL>::new::<OwnEngine>(
                Arc::new(child.get_vk()),
                params.internal.clone(),
                recursive,
                None,
            )
        };
        let internal_for_leaf = internal(&leaf, false);
        let internal_recursive = internal(&internal_for_leaf.get_pk(), true);
        Ok(KeySet {
            app,
            commits: VkCommits {
                app: app_commit,
                leaf: internal_for_leaf.get_vk_commit(false),
                internal_for_leaf: internal_recursive.get_vk_commit(false),
                internal_recursive: internal_recursive.get_vk_commit(true),
            },
            leaf,
            internal_for_leaf: internal_for_leaf.get_pk(),
            internal_recursive: internal_recursive.get_pk(),
        })
    })
    .unwrap_or_else(|reason| Err(KeyError::Keygen { reason }))
}

fn encode(config: &VmConfig, keys: &KeySet) -> Result<Vec<u8>, KeyError> {
    let stored = (*config.fingerprint().as_bytes(), keys);
    let body = bitcode::serialize(&stored).map_err(|e| KeyError::Keygen {
        reason: e.to_string(),
    })?;
    Ok(KeyFolder::file_of(&body))
}

#[cfg(test)]
mod tests;
