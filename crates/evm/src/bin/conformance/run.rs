//! Runs the tests of one file.

use std::{collections::BTreeMap, path::Path, rc::Rc};

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Decodable;
use myriad_evm::{
    BlockError, ChainConfig, Outcome, Parent, StatelessInput, codes::padded, error::WitnessError,
    host::sample::chain_state::ChainState, input::HEADERS_MAX, validate, validate_with_changes,
};

use crate::{
    cause,
    fixture::{Content, Test, TestBlock},
    guard::catch,
    mend,
    report::{Counts, Fault, Kind, Report},
};

/// Most parts of a witness that are taken out, one by one; of a larger one, as many that are spread
/// evenly over it.
const TAKEN_OUT_MAX: usize = 64;
/// Most roots that are mended in one block: there are fewer in a header.
const MENDS_MAX: usize = 8;
/// Folders of a path that are counted apart.
const FOLDER_DEPTH: usize = 2;

/// A valid block with what it needs, to be mutated.
pub struct Subject {
    /// File, test and place in it.
    pub name: String,
    pub input: StatelessInput,
    pub outcome: Outcome,
}

/// Runs all tests of a file, by the name that it has in the report.
pub fn file(name: &str, tests: Vec<Test>) -> (Report, Vec<Subject>) {
    let mut report = Report::default();
    let mut subjects = Vec::new();
    let folders: Vec<_> = Path::new(name).parent().into_iter().flatten().collect();
    let folder: Vec<_> = folders
        .iter()
        .take(FOLDER_DEPTH)
        .map(|part| part.to_string_lossy())
        .collect();
    for test in tests {
        let content = match test.content {
            Ok(content) => content,
            Err(reason) => {
                *report.skipped.entry(reason).or_default() += 1;
                continue;
            }
        };
        let mut run = Run {
            file: name,
            test: &test.name,
            block: 0,
            counts: Counts::default(),
            faults: Vec::new(),
            subjects: Vec::new(),
        };
        match run.test(&content) {
            Ok(()) => run.counts.tests = 1,
            Err(Stopped::Fault) => run.counts.tests = 1,
            Err(Stopped::Unsupported) => {
                let reason = format!("{} is not supported", test.network);
                *report.skipped.entry(reason).or_default() += 1;
            }
        }
        report.count(&test.network, &folder.join("/"), &run.counts);
        report.faults.extend(run.faults);
        subjects.extend(run.subjects);
    }
    (report, subjects)
}

/// Why a test does not go on.
enum Stopped {
    /// A block has rules that `validate` says it does not have.
    Unsupported,
    /// A block that should have been accepted was not. The state after it is not known.
    Fault,
}

/// A block that the next ones can build on.
struct Known {
    /// The header in RLP.
    header: Bytes,
    parent: B256,
    chain_state: ChainState,
    /// All nodes and codes of the state after it.
    witness: (Vec<Bytes>, Vec<Bytes>),
}

impl Known {
    fn new(header: Bytes, chain_state: ChainState) -> Self {
        let parent = parent_in_header(&mut header.as_ref()).unwrap_or_default();
        let codes = chain_state
            .codes
            .values()
            .filter(|code| !code.is_empty())
            .map(|code| padded(code))
            .collect();
        let witness = (chain_state.nodes(), codes);
        Self {
            header,
            parent,
            chain_state,
            witness,
        }
    }
}

struct Run<'a> {
    file: &'a str,
    test: &'a str,
    block: usize,
    counts: Counts,
    faults: Vec<Fault>,
    subjects: Vec<Subject>,
}

impl Run<'_> {
    fn test(&mut self, content: &Content) -> Result<(), Stopped> {
        let mut last = keccak256(&content.genesis);
        let genesis = Known::new(content.genesis.clone(), content.chain_state.clone());
        let mut chain = BTreeMap::from([(last, Rc::new(genesis))]);
        for (index, block) in content.blocks.iter().enumerate() {
            self.block = index;
            let named = parent_in_block(&block.rlp).and_then(|parent| chain.get(&parent));
            // A block that names no block of the chain is one after the last, with another parent's
            // hash.
            let parent = Rc::clone(named.unwrap_or(&chain[&last]));
            let input = full_input(&content.chain, &chain, &parent, block);
            if block.exception.is_some() {
                self.invalid_block(block, input)?;
            } else {
                let known = self.valid_block(&parent, input)?;
                last = keccak256(&known.header);
                chain.insert(last, Rc::new(known));
            }
        }
        if !chain.contains_key(&content.last_hash) {
            let message = format!("the last block, {}, was not accepted", content.last_hash);
            self.fault(Kind::WrongReject, message);
        }
        Ok(())
    }

    fn fault(&mut self, kind: Kind, message: String) {
        match kind {
            Kind::WrongAccept => self.counts.wrong_accepts += 1,
            Kind::WrongReject => self.counts.wrong_rejects += 1,
            Kind::WrongCause => self.counts.wrong_causes += 1,
            Kind::Panic => self.counts.panics += 1,
            Kind::Unusable => {}
        }
        self.faults.push(Fault {
            file: self.file.to_owned(),
            test: self.test.to_owned(),
            block: self.block,
            kind,
            message,
        });
    }

    fn valid_block(&mut self, parent: &Known, input: StatelessInput) -> Result<Known, Stopped> {
        let (outcome, used, changes) = match catch(|| validate_with_changes(&input)) {
            Ok(Ok(validated)) => validated,
            Ok(Err(BlockError::UnsupportedFork { .. })) => return Err(Stopped::Unsupported),
            Ok(Err(error)) => return self.stop(Kind::WrongReject, format!("with all state: {error}")),
            Err(panic) => return self.stop(Kind::Panic, format!("with all state: {panic}")),
        };
        if StatelessInput::decode(input.encode().into()).as_ref() != Ok(&input) {
            return self.stop(Kind::WrongReject, "it does not survive the encoding".to_owned());
        }
        let mut chain_state = parent.chain_state.clone();
        chain_state.apply(&changes);
        let root = chain_state.state_trie().root();
        if root != outcome.state_root {
            let expected = outcome.state_root;
            let message = format!("the state that follows has the root {root}, and not {expected}");
            return self.stop(Kind::WrongAccept, message);
        }
        let mut least = StatelessInput {
            state: kept(&input.state, &used.state),
            codes: kept(&input.codes, &used.codes),
            headers: Vec::new(),
            ..input.clone()
        };
        self.least_headers(&mut least, &input.headers, &outcome)?;
        self.take_out(&least, &outcome);
        self.counts.accepted += 1;
        let header = header_bytes(&input.block).unwrap_or_default();
        self.subjects.push(Subject {
            name: format!("{} {} {}", self.file, self.test, self.block),
            input: least,
            outcome,
        });
        Ok(Known::new(header, chain_state))
    }

    fn stop<T>(&mut self, kind: Kind, message: String) -> Result<T, Stopped> {
        self.fault(kind, message);
        Err(Stopped::Fault)
    }

    /// Gives the headers that the block asks for, and sees it accepted.
    fn least_headers(
        &mut self,
        input: &mut StatelessInput,
        headers: &[Bytes],
        expected: &Outcome,
    ) -> Result<(), Stopped> {
        loop {
            match catch(|| validate(input)) {
                Ok(Ok(outcome)) if outcome == *expected => return Ok(()),
                Ok(Ok(outcome)) => {
                    return self.stop(Kind::WrongAccept, format!("with the least witness: {outcome:?}"));
                }
                // The parent is there, and they are the ones before it, the latest first.
                Ok(Err(BlockError::Witness(WitnessError::MissingHeader { .. })))
                    if input.headers.len() < headers.len() =>
                {
                    input.headers.push(headers[input.headers.len()].clone());
                }
                Ok(Err(error)) => {
                    return self.stop(Kind::WrongReject, format!("with the least witness: {error}"));
                }
                Err(panic) => return self.stop(Kind::Panic, format!("with the least witness: {panic}")),
            }
        }
    }

    /// Sees the block refused without any one part of its witness, for what it lacks.
    fn take_out(&mut self, least: &StatelessInput, expected: &Outcome) {
        let (nodes, codes, headers) = (least.state.len(), least.codes.len(), least.headers.len());
        let parts = nodes + codes + headers;
        let tried = parts.min(TAKEN_OUT_MAX);
        let mut input = least.clone();
        for place in (0..tried).map(|index| index * parts / tried) {
            let (list, index, what) = match place {
                place if place < nodes => (&mut input.state, place, "node"),
                place if place < nodes + codes => (&mut input.codes, place - nodes, "code"),
                place => (&mut input.headers, place - nodes - codes, "header"),
            };
            let part = list.remove(index);
            let result = catch(|| validate(&input));
            let list = match what {
                "node" => &mut input.state,
                "code" => &mut input.codes,
                _ => &mut input.headers,
            };
            let hash = keccak256(&part);
            list.insert(index, part);
            let without = format!("without the {what} {hash}");
            match result {
                Ok(Err(BlockError::Witness(_))) => self.counts.taken_out += 1,
                Ok(Err(error)) => self.fault(Kind::WrongCause, format!("{without}: {error}")),
                // A code that is called with more value than there is does not run, and need not be
                // there. Where it is there it is read, so that it is in the least witness.
                Ok(Ok(outcome)) if what == "code" && outcome == *expected => self.counts.spare_codes += 1,
                Ok(Ok(_)) => self.fault(Kind::WrongAccept, without),
                Err(panic) => self.fault(Kind::Panic, format!("{without}: {panic}")),
            }
        }
    }

    fn invalid_block(&mut self, block: &TestBlock, mut input: StatelessInput) -> Result<(), Stopped> {
        let names = block.exception.as_deref().unwrap_or_default();
        let mut mended = Vec::new();
        loop {
            let after = if mended.is_empty() {
                String::new()
            } else {
                format!(", once mended: {}", mended.join(", "))
            };
            let error = match catch(|| validate(&input)) {
                Ok(Err(BlockError::UnsupportedFork { .. })) => return Err(Stopped::Unsupported),
                Ok(Err(error)) => error,
                Ok(Ok(_)) => {
                    self.fault(Kind::WrongAccept, format!("{names} is accepted{after}"));
                    return Ok(());
                }
                Err(panic) => {
                    self.fault(Kind::Panic, panic);
                    return Ok(());
                }
            };
            let message = match cause::is_expected(names, &error) {
                Ok(true) => {
                    self.counts.refused += 1;
                    self.counts.mended += u64::from(!mended.is_empty());
                    return Ok(());
                }
                Ok(false) => format!("{names} is refused for this: {error}{after}"),
                Err(unknown) => {
                    self.fault(Kind::WrongCause, format!("{unknown}: {error}"));
                    return Ok(());
                }
            };
            match mend::mend(&mut input, &error) {
                Some(field) if mended.len() < MENDS_MAX => mended.push(field),
                _ => {
                    self.fault(Kind::WrongCause, message);
                    return Ok(());
                }
            }
        }
    }
}

/// The block with a witness of all state, and all headers that BLOCKHASH can ask for, the latest
/// first.
fn full_input(
    chain: &ChainConfig,
    known: &BTreeMap<B256, Rc<Known>>,
    parent: &Known,
    block: &TestBlock,
) -> StatelessInput {
    let mut headers = Vec::new();
    let mut next = known.get(&parent.parent);
    while let Some(ancestor) = next.filter(|_| headers.len() < HEADERS_MAX) {
        headers.push(ancestor.header.clone());
        next = known.get(&ancestor.parent);
    }
    StatelessInput {
        chain: chain.clone(),
        block: block.rlp.clone(),
        later: Vec::new(),
        parent: Parent::Header(parent.header.clone()),
        headers,
        state: parent.witness.0.clone(),
        codes: parent.witness.1.clone(),
    }
}

fn kept(items: &[Bytes], used: &[bool]) -> Vec<Bytes> {
    let items = items.iter().zip(used).filter(|(_, used)| **used);
    items.map(|(item, _)| item.clone()).collect()
}

/// The header of a block in RLP, itself in RLP.
fn header_bytes(block: &Bytes) -> Option<Bytes> {
    let mut rest = block.as_ref();
    alloy_rlp::Header::decode(&mut rest).ok()?;
    let start = block.len() - rest.len();
    let header = alloy_rlp::Header::decode(&mut rest).ok()?;
    let end = block.len() - rest.len() + header.payload_length;
    (end <= block.len()).then(|| block.slice(start..end))
}

fn parent_in_block(block: &Bytes) -> Option<B256> {
    let mut rest = block.as_ref();
    alloy_rlp::Header::decode(&mut rest).ok()?;
    parent_in_header(&mut rest)
}

fn parent_in_header(bytes: &mut &[u8]) -> Option<B256> {
    alloy_rlp::Header::decode(bytes).ok()?;
    B256::decode(bytes).ok()
}
