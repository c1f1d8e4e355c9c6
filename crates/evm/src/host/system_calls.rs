//! The gas of a batch's system calls: EIP-4788 and EIP-2935 before the transactions of each block,
//! EIP-7002 and EIP-7251 after them.
//!
//! Each may take as much as a small block, and no header counts it. Ethereum's own codes at the
//! called addresses take at most some hundred thousand gas, whatever their storage is; what a
//! made-up state has there is bounded.

use alloy_consensus::{Block, Header};
use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::TrieAccount;

use super::block_file::gas_max;
use crate::{
    ChainConfig, Fork, Parent, StatelessInput, Transaction,
    trie::{Arena, NodeStore, Trie},
};

/// Gas of one such call (EIP-4788, and the others after it).
const CALL_GAS: u64 = 30_000_000;

struct SystemCall {
    to: Address,
    /// The code that Ethereum has there.
    code: &'static Bytes,
    since: Fork,
    /// Whether the call is to a queue of requests, which not every chain has.
    is_queue: bool,
}

static CALLS: [SystemCall; 4] = [
    SystemCall {
        to: eip4788::BEACON_ROOTS_ADDRESS,
        code: &eip4788::BEACON_ROOTS_CODE,
        since: Fork::Cancun,
        is_queue: false,
    },
    SystemCall {
        to: eip2935::HISTORY_STORAGE_ADDRESS,
        code: &eip2935::HISTORY_STORAGE_CODE,
        since: Fork::Prague,
        is_queue: false,
    },
    SystemCall {
        to: eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
        code: &eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE,
        since: Fork::Prague,
        is_queue: true,
    },
    SystemCall {
        to: eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
        code: &eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE,
        since: Fork::Prague,
        is_queue: true,
    },
];

/// Most gas that the system calls of so many blocks take, with the codes of which these are the
/// hashes. Nobody can put another code to these addresses by a transaction. The code that is there
/// before the first block, if any, is there until the last.
pub(super) fn gas(
    blocks: usize,
    fork: Fork,
    has_queues: bool,
    mut code_hash: impl FnMut(Address) -> B256,
) -> u64 {
    let is_made = |call: &&SystemCall| fork >= call.since && (has_queues || !call.is_queue);
    let calls = CALLS.iter().filter(is_made).filter(|call| {
        let hash = code_hash(call.to);
        hash != KECCAK256_EMPTY && hash != keccak256(call.code)
    });
    (calls.count() as u64 * CALL_GAS).saturating_mul(blocks as u64)
}

/// Most gas that the transactions and the system calls of a batch take; none of a single block, or
/// of what is no batch, which is not executed.
pub(super) fn batch_gas(input: &StatelessInput) -> u64 {
    if input.later.is_empty() {
        return 0;
    }
    let decode = |bytes| alloy_rlp::decode_exact::<Block<Transaction>>(bytes).ok();
    let Some(first) = decode(&input.block) else {
        return 0;
    };
    let mut last = first.header.clone();
    let mut transactions = gas_max(&first);
    for block in &input.later {
        let Some(block) = decode(block) else { return 0 };
        transactions = transactions.saturating_add(gas_max(&block));
        last = block.header;
    }
    transactions.saturating_add(calls_gas(input, &last))
}

/// Forks only follow one another: no block has more system calls than the last one.
fn calls_gas(input: &StatelessInput, last: &Header) -> u64 {
    let chain: &ChainConfig = &input.chain;
    let Ok(fork) = chain.fork_at(last.number, last.timestamp) else {
        return 0;
    };
    let root = match &input.parent {
        Parent::StateRoot(root) => *root,
        Parent::Header(header) => match alloy_rlp::decode_exact::<Header>(header) {
            Ok(header) => header.state_root,
            Err(_) => return 0,
        },
    };
    let (mut arena, mut accounts) = (Arena::new(NodeStore::new(&input.state)), Trie::new(root));
    // If the witness lacks the account, executing the first block fails for that reason.
    let code_hash = |address| {
        let leaf = arena.get(&mut accounts, &keccak256(address)).ok().flatten();
        let account = leaf.and_then(|mut leaf| TrieAccount::decode(&mut leaf).ok());
        account.map_or(KECCAK256_EMPTY, |account| account.code_hash)
    };
    gas(
        1 + input.later.len(),
        fork,
        chain.rules.has_request_queues,
        code_hash,
    )
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;
    use crate::host::{
        BatchError, BlockFile, batch,
        block_file::BATCH_GAS_MAX,
        sample::{SampleSpec, generate_chain},
    };

    /// A batch of so many empty blocks on a state that has one account, with a code of this hash.
    fn batch_on(blocks: usize, address: Address, code_hash: B256) -> BlockFile {
        let spec = SampleSpec {
            txs: 2,
            seed: 5,
            accounts: 50,
            token_holders: 20,
        };
        let mut file = generate_chain(&spec, 1).unwrap().remove(0);
        let account = TrieAccount {
            nonce: 1,
            balance: U256::ZERO,
            storage_root: crate::trie::EMPTY_ROOT_HASH,
            code_hash,
        };
        // A leaf with an even number of nibbles.
        let path = [&[0x20], keccak256(address).as_slice()].concat();
        let leaf = [Bytes::from(path), alloy_rlp::encode(account).into()];
        let leaf = Bytes::from(alloy_rlp::encode(leaf.to_vec()));
        file.parent = Parent::StateRoot(keccak256(&leaf));
        file.witness.state = vec![leaf];
        let mut block = file.decode_block().unwrap();
        block.body.transactions.clear();
        let mut encoded = (0..blocks).map(|_| {
            let bytes = Bytes::from(alloy_rlp::encode(&block));
            block.header.parent_hash = block.header.hash_slow();
            block.header.number += 1;
            block.header.timestamp += 1;
            bytes
        });
        file.block = encoded.next().unwrap();
        file.later = encoded.collect();
        file
    }

    /// As many blocks as may be in a batch, each of which would compute for as long as four system
    /// calls may.
    #[test]
    fn a_batch_whose_system_calls_could_run_for_ever_is_refused() {
        let other = B256::repeat_byte(7);
        for call in &CALLS {
            let refused = |blocks| match batch(&[batch_on(blocks, call.to, other)]) {
                Err(BatchError::SystemCalls { actual }) => Some(actual),
                Err(BatchError::Invalid(_)) => None,
                made => panic!("{made:?}"),
            };
            assert_eq!(refused(1024), Some(1024 * CALL_GAS));
            let most = (BATCH_GAS_MAX / CALL_GAS) as usize;
            assert_eq!(refused(most), None);
            assert_eq!(refused(most + 1), Some((most as u64 + 1) * CALL_GAS));
        }
    }

    #[test]
    fn the_codes_of_ethereum_take_nothing_to_speak_of() {
        for call in &CALLS {
            for code_hash in [KECCAK256_EMPTY, keccak256(call.code)] {
                let input = batch_on(1024, call.to, code_hash).to_input().unwrap();
                assert_eq!(batch_gas(&input), 0);
            }
            let earlier = Fork::ALL.into_iter().filter(|&fork| fork < call.since);
            let other = |address| {
                if address == call.to {
                    B256::repeat_byte(7)
                } else {
                    KECCAK256_EMPTY
                }
            };
            assert!(earlier.clone().all(|fork| gas(2, fork, true, other) == 0));
            assert_eq!(gas(2, Fork::Osaka, true, other), 2 * CALL_GAS);
            let without_queues = gas(2, Fork::Osaka, false, other);
            assert_eq!(without_queues, if call.is_queue { 0 } else { 2 * CALL_GAS });
        }
    }
}
