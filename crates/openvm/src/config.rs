//! The VM configuration of a program: its extensions, and the parameters of its proof.

use myriad_engine::{CONFIG_BYTES_MAX, Description};
use openvm_sdk::config::AppConfig;
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::{MAX_APP_LOG_STACKED_HEIGHT, app_params_with_100_bits_security};
use serde::Deserialize;
use std::{fmt, sync::LazyLock};

use crate::{OPENVM_VERSION, error::ConfigError};

/// The lowest log2 of the stacked height that is used.
///
/// 19 is the least that plain RV32IM can be proven with (its lookup tables have 2^19 rows), 20 lets
/// a segment of it grow to 1.7 million instructions. OpenVM's own default of 24 commits to every
/// program as if it had 2^24 instructions: seconds and a gigabyte for nothing on a machine of this
/// size.
const LOG_STACKED_HEIGHT_MIN: usize = 20;

/// The most bytes that a program reveals: 128 times OpenVM's default.
const PUBLIC_VALUES_MAX: usize = 4096;

/// Extensions that `openvm.toml` may name under `[app_vm_config]`.
const EXTENSIONS: [&str; 12] = [
    "system", "rv32i", "rv32m", "io", "keccak", "sha2", "bigint", "modular", "fp2", "pairing", "ecc",
    "deferral",
];

/// The VM that a program runs on: its extensions, and the parameters of its segment proofs.
///
/// Proving and verifying keys follow from this alone, not from the program; see [`Fingerprint`].
#[derive(Clone)]
pub struct VmConfig {
    vm: SdkVmConfig,
    system_params: SystemParams,
    described: Description,
}

/// BLAKE3 of everything that keys follow from: two builds that agree on it can exchange proofs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

#[derive(Deserialize)]
struct ConfigFile {
    app_vm_config: SdkVmConfig,
    system_params: Option<SystemParams>,
}

impl VmConfig {
    /// Plain RV32IM with input and output: the configuration of a program without `openvm.toml`.
    pub fn riscv32() -> Self {
        Self::new(SdkVmConfig::riscv32(), None, Description::of(None))
            .expect("the plain configuration is valid")
    }

    /// Reads the text of an `openvm.toml`.
    ///
    /// # Errors
    /// More than [`CONFIG_BYTES_MAX`] bytes, text that is not TOML, an extension that OpenVM
    /// 2.0 does not have, an extension that this engine does not prove (`deferral`), or
    /// `system_params` other than OpenVM's own for 100 bits.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge {
                actual: text.len(),
                max: CONFIG_BYTES_MAX,
            });
        }
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| ConfigError::Syntax(e.to_string()))?;
        let vm = table
            .get("app_vm_config")
            .and_then(|v| v.as_table())
            .ok_or(ConfigError::NoVmConfig)?;
        // OpenVM's own reader passes over unknown names, and the program then fails at its first
        // custom instruction, far from the cause.
        if let Some(name) = vm.keys().find(|name| !EXTENSIONS.contains(&name.as_str())) {
            return Err(ConfigError::UnknownExtension {
                name: name.clone(),
                known: EXTENSIONS.join(", "),
            });
        }
        if vm.contains_key("deferral") {
            return Err(ConfigError::Deferral);
        }
        // Other sizes would need another security analysis, and hostile ones take all memory.
        let system = vm.get("system").and_then(|system| system.get("config"));
        if system.is_some_and(|config| config.get("memory_config").is_some()) {
            return Err(ConfigError::Memory);
        }
        let file: ConfigFile = toml::from_str(text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        Self::new(
            file.app_vm_config,
            file.system_params,
            Description::of(Some(text)),
        )
    }

    fn new(
        vm: SdkVmConfig,
        system_params: Option<SystemParams>,
        described: Description,
    ) -> Result<Self, ConfigError> {
        let vm = vm.optimize();
        let system = &vm.system.config;
        let public_values = system.num_public_values;
        if !(8..=PUBLIC_VALUES_MAX).contains(&public_values) || !public_values.is_power_of_two() {
            return Err(ConfigError::PublicValues {
                actual: public_values,
                most: PUBLIC_VALUES_MAX,
            });
        }
        let needed = log_tallest_table(&vm);
        if needed > MAX_APP_LOG_STACKED_HEIGHT {
            return Err(ConfigError::Table {
                rows_log: needed,
                most: MAX_APP_LOG_STACKED_HEIGHT,
            });
        }
        let system_params = match system_params {
            None => app_params_with_100_bits_security(needed.max(LOG_STACKED_HEIGHT_MIN)),
            Some(params) => {
                let height = params.log_stacked_height();
                if !(needed..=MAX_APP_LOG_STACKED_HEIGHT).contains(&height) {
                    return Err(ConfigError::StackedHeight {
                        actual: height,
                        least: needed,
                        most: MAX_APP_LOG_STACKED_HEIGHT,
                    });
                }
                let sound = app_params_with_100_bits_security(height);
                // Other parameters may be sound too, but nobody has shown it, and a verifier would
                // have to take the requester's word for it.
                if params != sound {
                    return Err(ConfigError::SystemParams { height });
                }
                sound
            }
        };
        Ok(Self {
            vm,
            system_params,
            described,
        })
    }

    /// The name of the keys that this build makes for it.
    pub(crate) fn key_name(&self) -> String {
        static BUILD: LazyLock<Fingerprint> = LazyLock::new(|| VmConfig::riscv32().fingerprint());
        self.described.key_name(BUILD.as_bytes())
    }

    /// Identifies the keys that belong to this configuration.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_derive_key("myriad engine keys v3");
        hasher.update(OPENVM_VERSION.as_bytes());
        for part in [
            self.vm.to_toml().expect("a parsed configuration has a TOML form"),
            toml::to_string(&self.system_params).expect("parameters have a TOML form"),
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Fingerprint(*hasher.finalize().as_bytes())
    }

    /// Whether it has no extension but RV32IM and input and output.
    pub fn is_plain(&self) -> bool {
        self.extensions() == 0
    }

    /// The number of extensions besides RV32IM and input and output, where each modulus and each
    /// curve counts as one. The more there are, the more chips the circuit of a leaf has to verify.
    pub(crate) fn extensions(&self) -> usize {
        let SdkVmConfig {
            system: _,
            rv32i: _,
            rv32m: _,
            io: _,
            keccak,
            sha2,
            bigint,
            modular,
            fp2,
            pairing,
            ecc,
            deferral,
        } = &self.vm;
        let single = [
            keccak.is_some(),
            sha2.is_some(),
            bigint.is_some(),
            deferral.is_some(),
        ];
        single.into_iter().filter(|&is_there| is_there).count()
            + modular
                .as_ref()
                .map_or(0, |modular| modular.supported_moduli.len())
            + fp2.as_ref().map_or(0, |fp2| fp2.supported_moduli.len())
            + ecc.as_ref().map_or(0, |ecc| ecc.supported_curves.len())
            + pairing
                .as_ref()
                .map_or(0, |pairing| pairing.supported_curves.len())
    }

    /// Number of bytes that a program of this configuration reveals.
    pub fn public_value_bytes(&self) -> usize {
        self.vm.system.config.num_public_values
    }

    /// Log2 of the stacked height of segment proofs, which bounds the rows of a chip's trace.
    pub fn log_stacked_height(&self) -> usize {
        self.system_params.log_stacked_height()
    }

    pub(crate) fn vm(&self) -> &SdkVmConfig {
        &self.vm
    }

    pub(crate) fn app_config(&self) -> AppConfig<SdkVmConfig> {
        AppConfig::new(self.vm.clone(), self.system_params.clone())
    }
}

/// The rows of the 17-bit range check, which every memory access uses.
const RANGE_CHECK_ROWS: u64 = 1 << 18;

/// Log2 of the rows of the tallest lookup table, which the stacked height must not be below.
///
/// The tables are the 2-dimensional range checks of the multiplication and 256-bit extensions
/// (`range_tuple_checker_sizes`), and that of [`RANGE_CHECK_ROWS`].
fn log_tallest_table(vm: &SdkVmConfig) -> usize {
    let tuple = |sizes: &[u32; 2]| u64::from(sizes[0]) * u64::from(sizes[1]);
    let tallest = [
        vm.rv32m.as_ref().map(|m| tuple(&m.range_tuple_checker_sizes)),
        vm.bigint.as_ref().map(|b| tuple(&b.range_tuple_checker_sizes)),
    ]
    .into_iter()
    .flatten()
    .fold(RANGE_CHECK_ROWS, u64::max);
    // The next power of two; the tables of a hostile file can have 2^64 rows.
    (u64::BITS - (tallest - 1).leading_zeros()) as usize
}

impl Fingerprint {
    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_toml_is_the_default() {
        let toml = "[app_vm_config.rv32i]\n[app_vm_config.rv32m]\n[app_vm_config.io]\n";
        let parsed = VmConfig::from_toml(toml).unwrap();
        assert_eq!(parsed.fingerprint(), VmConfig::riscv32().fingerprint());
        assert_eq!(parsed.log_stacked_height(), LOG_STACKED_HEIGHT_MIN);
    }

    #[test]
    fn extensions_change_the_fingerprint() {
        let toml =
            "[app_vm_config.rv32i]\n[app_vm_config.rv32m]\n[app_vm_config.io]\n[app_vm_config.keccak]\n";
        assert_ne!(
            VmConfig::from_toml(toml).unwrap().fingerprint(),
            VmConfig::riscv32().fingerprint()
        );
    }

    #[test]
    fn bigint_raises_the_stacked_height() {
        let toml =
            "[app_vm_config.rv32i]\n[app_vm_config.rv32m]\n[app_vm_config.io]\n[app_vm_config.bigint]\n";
        assert_eq!(
            VmConfig::from_toml(toml)
                .unwrap()
                .system_params
                .log_stacked_height(),
            21
        );
    }

    #[test]
    fn other_sizes_of_memory_are_refused() {
        let toml =
            "[app_vm_config.rv32i]\n[app_vm_config.system.config.memory_config]\npointer_max_bits = 31\n";
        assert!(matches!(
            VmConfig::from_toml(toml).err(),
            Some(ConfigError::Memory)
        ));
    }

    #[test]
    fn tables_that_no_machine_holds_are_refused() {
        for size in [65_536u64, 4_294_967_295] {
            let toml = format!(
                "[app_vm_config.rv32i]\n[app_vm_config.io]\n[app_vm_config.rv32m]\n\
                 range_tuple_checker_sizes = [{size}, {size}]\n"
            );
            let error = VmConfig::from_toml(&toml).err().unwrap();
            assert!(matches!(error, ConfigError::Table { .. }), "{error}");
        }
    }

    #[test]
    fn bad_toml_is_named() {
        let unknown = VmConfig::from_toml("[app_vm_config.rv32i]\n[app_vm_config.frobnicate]\n")
            .err()
            .unwrap();
        assert!(matches!(&unknown, ConfigError::UnknownExtension { name, .. } if name == "frobnicate"));
        assert!(matches!(
            VmConfig::from_toml("= nonsense").err(),
            Some(ConfigError::Syntax(_))
        ));
        assert!(matches!(
            VmConfig::from_toml("x = 1").err(),
            Some(ConfigError::NoVmConfig)
        ));
        assert!(matches!(
            VmConfig::from_toml("[app_vm_config.deferral]\n").err(),
            Some(ConfigError::Deferral)
        ));
    }
}
