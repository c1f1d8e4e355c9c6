//! The facts of a key's AIRs that memory depends on.

use openvm_stark_backend::{
    keygen::types::StarkVerifyingKey,
    p3_field::{ExtensionField, PrimeCharacteristicRing, TwoAdicField},
};

use crate::{PackedConfig, constraints::sizes};

/// An AIR of a key.
pub(super) struct AirShape {
    pub name: String,
    /// Widths of the preprocessed trace and of the cached ones.
    pub others: Vec<usize>,
    pub common: usize,
    pub needs_next: bool,
    pub degree: usize,
    pub interactions: usize,
    pub compiled: sizes::Compiled,
}

impl AirShape {
    pub(super) fn new<SC>(name: &str, key: &StarkVerifyingKey<SC::F, SC::Digest>, l_skip: usize) -> Self
    where
        SC: PackedConfig,
        SC::EF: TwoAdicField + ExtensionField<SC::F>,
    {
        let width = &key.params.width;
        let public_values = vec![SC::F::ZERO; key.params.num_public_values];
        Self {
            name: name.to_owned(),
            others: width
                .preprocessed
                .iter()
                .chain(&width.cached_mains)
                .copied()
                .collect(),
            common: width.common_main,
            needs_next: key.params.need_rot,
            degree: usize::from(key.max_constraint_degree),
            interactions: key.num_interactions(),
            compiled: sizes::compiled::<SC::F, SC::EF>(
                &key.symbolic_constraints,
                &public_values,
                width.preprocessed.is_some(),
                l_skip,
            ),
        }
    }

    /// Columns of all traces.
    pub(super) fn width(&self) -> usize {
        self.common + self.others.iter().sum::<usize>()
    }
}
