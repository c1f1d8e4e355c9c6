//! Proving and verifying keys, kept on disk by the fingerprint of the configuration they follow from.
//!
//! A set of keys has about 300 KB and takes seconds to make. Two processes that want the same set at
//! once make it once: the second waits for the first one's lock. A set is written to a temporary
//! name, synced and renamed, and carries its own hash, so that a torn or damaged file is made again.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use openvm_continuations::prover::InnerCpuProver;
use openvm_sdk::{
    DefaultStarkEngine, SC,
    config::{AggregationSystemParams, MAX_NUM_CHILDREN_INTERNAL},
    keygen::AppProvingKey,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::{
    SystemParams,
    keygen::types::{MultiStarkProvingKey, MultiStarkVerifyingKey},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use openvm_verify_stark_host::pvs::VkCommit;
use serde::{Deserialize, Serialize};

use crate::{VmConfig, aggregate::LeafCircuit, error::KeyError, program::caught};

/// First bytes of a key file; the number is the version of its layout.
const MAGIC: &[u8; 16] = b"myriad keys v1\n\0";
const HASH_BYTES: usize = 32;
/// Most bytes of a key file; the largest measured, for all extensions, has under 2 MB.
const KEY_FILE_BYTES_MAX: u64 = 64 << 20;

/// A folder of keys.
#[derive(Clone, Debug)]
pub struct KeyCache {
    dir: PathBuf,
}

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
        Self { dir: dir.into() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the keys of a configuration if they are not there yet.
    ///
    /// # Errors
    /// A folder that cannot be read or written, or a configuration that has no keys.
    pub fn ensure(&self, config: &VmConfig) -> Result<(), KeyError> {
        self.load(config).map(drop)
    }

    pub(crate) fn load(&self, config: &VmConfig) -> Result<KeySet, KeyError> {
        let path = self.dir.join(format!("{}.keys", config.fingerprint()));
        if let Some(keys) = read(&path)? {
            return Ok(keys);
        }
        fs::create_dir_all(&self.dir).map_err(|e| KeyError::io(&self.dir, e))?;
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path).map_err(|e| KeyError::io(&lock_path, e))?;
        lock.lock().map_err(|e| KeyError::io(&lock_path, e))?;
        // Another process may have made them while this one waited.
        if let Some(keys) = read(&path)? {
            return Ok(keys);
        }
        tracing::info!(fingerprint = %config.fingerprint(), "making keys");
        let keys = generate(config)?;
        write(&path, &keys)?;
        Ok(keys)
    }
}

fn generate(config: &VmConfig) -> Result<KeySet, KeyError> {
    caught(|| {
        let app = AppProvingKey::keygen(config.app_config()).map_err(|e| KeyError::Keygen {
            reason: e.to_string(),
        })?;
        let app_vk = app.app_vm_pk.vm_pk.get_vk();
        let params = AggregationSystemParams::default();
        let (leaf, app_commit) = match LeafCircuit::of(config) {
            LeafCircuit::One => leaf_key::<{ LeafCircuit::One.children_max() }>(app_vk, params.leaf),
            LeafCircuit::Four => leaf_key::<{ LeafCircuit::Four.children_max() }>(app_vk, params.leaf),
        };
        let internal = |child: &MultiStarkProvingKey<SC>, recursive| {
            InnerCpuProver::<MAX_NUM_CHILDREN_INTERNAL>::new::<DefaultStarkEngine>(
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

/// The leaf's key with room for `N` segment proofs, and the commitment to the key of those proofs.
fn leaf_key<const N: usize>(
    app_vk: MultiStarkVerifyingKey<SC>,
    params: SystemParams,
) -> (Arc<MultiStarkProvingKey<SC>>, VkCommit<F>) {
    let prover = InnerCpuProver::<N>::new::<DefaultStarkEngine>(Arc::new(app_vk), params, false, None);
    (prover.get_pk(), prover.get_vk_commit(false))
}

/// The keys in a file, or none where there is no file or it is damaged.
fn read(path: &Path) -> Result<Option<KeySet>, KeyError> {
    let bytes = match fs::metadata(path) {
        Ok(meta) if meta.len() > KEY_FILE_BYTES_MAX => return Ok(None),
        Ok(_) => fs::read(path).map_err(|e| KeyError::io(path, e))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(KeyError::io(path, e)),
    };
    let body = bytes
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_at_checked(HASH_BYTES))
        .and_then(|(hash, body)| (blake3::hash(body).as_bytes() == hash).then_some(body));
    let keys = body.and_then(|body| bitcode::deserialize(body).ok());
    if keys.is_none() {
        tracing::warn!(path = %path.display(), "this key file is damaged; making the keys again");
    }
    Ok(keys)
}

fn write(path: &Path, keys: &KeySet) -> Result<(), KeyError> {
    let body = bitcode::serialize(keys).map_err(|e| KeyError::Keygen {
        reason: e.to_string(),
    })?;
    let dir = path.parent().expect("a key file is in the cache's folder");
    let store = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(MAGIC)?;
        file.write_all(blake3::hash(&body).as_bytes())?;
        file.write_all(&body)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(dir)?.sync_all()
    };
    store().map_err(|e| KeyError::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_and_missing_files_are_no_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.keys");
        assert!(read(&path).unwrap().is_none());
        for content in [b"".as_slice(), b"myriad", &[MAGIC.as_slice(), &[7; 100]].concat()] {
            fs::write(&path, content).unwrap();
            assert!(read(&path).unwrap().is_none());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = KeyCache::new(file.path().join("below"))
            .ensure(&VmConfig::riscv32())
            .unwrap_err();
        assert!(matches!(error, KeyError::Io { .. }), "{error}");
    }
}
