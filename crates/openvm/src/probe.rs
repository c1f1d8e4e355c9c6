//! Lets a test see, change or replace the proofs that this process makes. No worker of this build
//! uses it.
//!
//! A test could also have an engine of its own, but everything that is generic over engines would
//! then be compiled once more, which takes minutes. OpenVM's aggregation makes its engine itself,
//! of nothing but parameters. So a probe is not handed over: it belongs to a thread.

use std::{cell::RefCell, rc::Rc};

use myriad_swirl::SwirlError;
use openvm_sdk::SC;
use openvm_stark_backend::{
    proof::Proof,
    prover::{DeviceMultiStarkProvingKey, ProvingContext},
};

use crate::backend::Backend;

/// The key that a proof is made with.
pub type Key = DeviceMultiStarkProvingKey<Backend>;
/// The traces that are to be proven.
pub type Context = ProvingContext<Backend>;
/// Proves as this build does.
pub type Prove<'a> = &'a dyn Fn(Context) -> Result<Proof<SC>, SwirlError>;
/// A function that takes the place of proving.
type Probe = dyn Fn(&Key, Context, Prove<'_>) -> Result<Proof<SC>, SwirlError>;

thread_local! {
    static PROBE: RefCell<Option<Rc<Probe>>> = const { RefCell::new(None) };
}

/// Runs `work`. For each proof that this thread makes meanwhile, `probe` takes its place.
pub fn with<T>(
    probe: impl Fn(&Key, Context, Prove<'_>) -> Result<Proof<SC>, SwirlError> + 'static,
    work: impl FnOnce() -> T,
) -> T {
    /// Puts the earlier probe back, even if the work panics.
    struct Earlier(Option<Rc<Probe>>);

    impl Drop for Earlier {
        fn drop(&mut self) {
            PROBE.set(self.0.take());
        }
    }

    let _earlier = Earlier(PROBE.replace(Some(Rc::new(probe))));
    work()
}

/// The probe of this thread.
pub(crate) fn current() -> Option<Rc<Probe>> {
    PROBE.with_borrow(Clone::clone)
}
