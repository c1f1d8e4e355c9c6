//! Counts by marks, compared with OpenVM's own counts.

use myriad_engine::{Account, ExecuteError, Input, Spent};
use myriad_openvm::{KeyCache, Program, devices};
use openvm_circuit::system::memory::merkle::public_values::extract_public_values;
use openvm_sdk::StdIn;

use crate::{keys_of, marked::with_marks};

const FIBONACCI: &[u8] = include_bytes!("../../../../guests/elf/fibonacci.elf");
/// Bits of a mark's word, beside its label.
const WHOLE: u32 = 1 << 8;
const LEAVE: u32 = 1 << 9;

/// The input: how many numbers the program adds.
const INPUT: [u8; 8] = 500u64.to_le_bytes();

/// The program with these marks.
struct Job {
    program: Program,
    keys: KeyCache,
    input: Input,
}

impl Job {
    fn new(marks: &[(u32, u32)]) -> Self {
        let program = Program::load(&with_marks(FIBONACCI, marks), None).unwrap();
        Self {
            keys: keys_of(&program),
            program,
            input: Input::from_bytes(INPUT.to_vec()).unwrap(),
        }
    }

    fn account(&self, instructions_max: u64) -> Result<Account, ExecuteError> {
        devices::account(&self.program, &self.keys, &self.input, instructions_max)
    }

    /// Instructions and cells as OpenVM counts them, and what the program reveals.
    fn by_openvm(&self) -> (u64, u64, Vec<u8>) {
        let vm = devices::vm(&self.program, &self.keys).unwrap();
        let interpreter = vm.metered_cost_interpreter(&devices::exe(&self.program)).unwrap();
        let (cost, after) = interpreter
            .execute_metered_cost(StdIn::from_bytes(&INPUT), vm.build_metered_cost_ctx())
            .unwrap();
        (
            cost.instret,
            cost.cost,
            extract_public_values(32, &after.memory.memory),
        )
    }
}

/// Wherever the marks are, and whether they make sense or not.
#[test]
fn what_is_counted_is_what_openvm_counts() {
    let exe = devices::exe(&Program::load(FIBONACCI, None).unwrap());
    let (start, base) = (exe.pc_start, exe.program.pc_base);
    let everywhere: Vec<_> = (0..600)
        .map(|place| {
            let word =
                (place % 7) | if place % 3 == 0 { LEAVE } else { 0 } | if place % 5 == 0 { WHOLE } else { 0 };
            (base + 4 * place, word)
        })
        .collect();
    let lists: [&[(u32, u32)]; 4] = [&[], &[(start, 1)], &[(0, 1), (u32::MAX, 1)], &everywhere];
    for marks in lists {
        let job = Job::new(marks);
        let account = job.account(u64::MAX).unwrap();
        let counted = (account.instructions(), account.cells(), account.public_values);
        assert_eq!(counted, job.by_openvm(), "{marks:?}");
    }
    // All of it where it begins at the first instruction.
    let account = Job::new(&[(start, 1)]).account(u64::MAX).unwrap();
    assert_eq!(account.spent[1].instructions, account.instructions());
    assert_eq!(account.spent[0], Spent::default());
}

#[test]
fn an_execution_ends_at_its_bound() {
    let job = Job::new(&[]);
    let whole = job.account(u64::MAX).unwrap();
    let instructions = whole.instructions();
    assert!(instructions > 1_000);
    for bound in [0, 1_000, instructions - 1] {
        let ended = job.account(bound);
        assert!(
            matches!(ended, Err(ExecuteError::TooLong { max, actual, .. }) if (max, actual) == (bound, bound)),
            "{bound}: {ended:?}"
        );
    }
    assert_eq!(job.account(instructions), Ok(whole));
}
