//! OpenVM's own device, which proves what this build has proven once more.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use myriad_openvm::{
    devices::Backend,
    probe::{Context, Key, Prove},
};
use myriad_swirl::SwirlError;
use openvm_stark_backend::{
    FiatShamirTranscript, StarkEngine,
    codec::Encode,
    proof::Proof,
    prover::{AirProvingContext, CommittedTraceData, DeviceStarkProvingKey, Prover, TraceCommitter},
};
use openvm_stark_sdk::{
    config::baby_bear_poseidon2::{
        BabyBearPoseidon2Config as SC, BabyBearPoseidon2CpuEngine, CpuTranscript, Digest, F, poseidon2_perm,
    },
    p3_baby_bear::Poseidon2BabyBear,
};

type Stock = BabyBearPoseidon2CpuEngine<Replayed>;

/// OpenVM's device takes gigabytes for a proof, so it makes one at a time.
static STOCK: Mutex<()> = Mutex::new(());

thread_local! {
    /// The number of proofs that were compared.
    pub static COMPARED: Cell<usize> = const { Cell::new(0) };
    /// The chips that had traces in them.
    pub static CHIPS: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// A transcript whose proofs of work are those of another proof of the same: there are many, and
/// each search finds another one.
#[derive(Clone)]
struct Replayed {
    inner: CpuTranscript,
    /// The witnesses, in the reverse order of the questions for them.
    witnesses: Vec<F>,
}

impl Replayed {
    fn of(proof: &Proof<SC>) -> Self {
        let (gkr, whir) = (&proof.gkr_proof, &proof.whir_proof);
        let mut witnesses = vec![gkr.logup_pow_witness, whir.mu_pow_witness];
        // A round of WHIR folds several times, and is queried then.
        let (folding, queries) = (&whir.folding_pow_witnesses, &whir.query_phase_pow_witnesses);
        for (folding, query) in folding.chunks(folding.len() / queries.len()).zip(queries) {
            witnesses.extend(folding);
            witnesses.push(*query);
        }
        witnesses.reverse();
        Self {
            witnesses,
            ..Self::from(poseidon2_perm().clone())
        }
    }
}

impl From<Poseidon2BabyBear<16>> for Replayed {
    fn from(permutation: Poseidon2BabyBear<16>) -> Self {
        Self {
            inner: permutation.into(),
            witnesses: Vec::new(),
        }
    }
}

impl FiatShamirTranscript<SC> for Replayed {
    fn observe(&mut self, value: F) {
        self.inner.observe(value);
    }

    fn sample(&mut self) -> F {
        self.inner.sample()
    }

    fn observe_commit(&mut self, digest: Digest) {
        self.inner.observe_commit(digest);
    }

    fn grind(&mut self, bits: usize) -> F {
        let witness = self.witnesses.pop().expect("it is asked for as often as there");
        assert!(
            self.check_witness(bits, witness),
            "the proofs differ: the other one's proof of work does not hold here"
        );
        witness
    }
}

/// A probe that proves with both devices, and compares. OpenVM's traces of the same task are not
/// always in the same order, so that the context has to be one.
pub fn both(key: &Key, context: Context, prove: Prove<'_>) -> Result<Proof<SC>, SwirlError> {
    let stock = Stock::new(key.params.clone());
    let (stock_key, stock_context) = (stock_key(&stock, key), copy(&stock, &context));
    for (air, _) in &context.per_trace {
        let name = key.per_air[*air].air_name.clone();
        CHIPS.with_borrow_mut(|chips| chips.insert(name));
    }
    let ours = prove(context)?;
    let theirs = {
        let _one = STOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let mut prover = stock.prover_from_transcript(Replayed::of(&ours));
        prover.prove(&stock_key, stock_context).unwrap()
    };
    assert!(
        ours.encode_to_vec().unwrap() == theirs.encode_to_vec().unwrap(),
        "the proofs differ"
    );
    COMPARED.set(COMPARED.get() + 1);
    Ok(ours)
}

/// The same key with the data that OpenVM's device keeps of columns, which ours does not.
fn stock_key(stock: &Stock, key: &Key) -> Key {
    let of_air = |key: &DeviceStarkProvingKey<Backend>| DeviceStarkProvingKey {
        air_name: key.air_name.clone(),
        vk: key.vk.clone(),
        preprocessed_data: key.preprocessed_data.as_ref().map(|data| committed(stock, data)),
        other_data: (),
    };
    Key::new(
        key.per_air.iter().map(of_air).collect(),
        key.trace_height_constraints.clone(),
        key.max_constraint_degree,
        key.params.clone(),
        key.vk_pre_hash,
    )
}

fn copy(stock: &Stock, context: &Context) -> Context {
    let of_air = |(air, trace): &(usize, AirProvingContext<Backend>)| {
        let copy = AirProvingContext {
            cached_mains: trace
                .cached_mains
                .iter()
                .map(|data| committed(stock, data))
                .collect(),
            common_main: trace.common_main.clone(),
            public_values: trace.public_values.clone(),
        };
        (*air, copy)
    };
    Context {
        per_trace: context.per_trace.iter().map(of_air).collect(),
    }
}

/// The same columns, committed to by OpenVM's device.
fn committed(stock: &Stock, columns: &CommittedTraceData<Backend>) -> CommittedTraceData<Backend> {
    let (commitment, data) = stock.device().commit(&[&columns.trace]).unwrap();
    assert_eq!(commitment, columns.commitment, "the commitments differ");
    CommittedTraceData {
        commitment,
        trace: columns.trace.clone(),
        data: Arc::new(data),
    }
}
