//! Our counts against OpenVM's own.

use openvm_sdk::keygen::AppProvingKey;

use super::*;
use crate::program::marks::tests::with_marks;

const FIBONACCI: &[u8] = include_bytes!("../../../../guests/elf/fibonacci.elf");
const WHOLE: u32 = 1 << 8;
const LEAVE: u32 = 1 << 9;

/// Tallies a number of additions, with these marks.
fn tally(marks: &[(u32, u32)], max: u64) -> (State, u64, u64) {
    let program = Program::load(&with_marks(FIBONACCI, marks), None).unwrap();
    let input = Input::from_bytes(500u64.to_le_bytes().to_vec()).unwrap();
    let keys = AppProvingKey::keygen(program.config().app_config()).unwrap();
    let vm = vm(&keys).unwrap();
    let exe = program.exe();

    let interpreter = vm.metered_cost_interpreter(exe).unwrap();
    let (cost, after) = interpreter
        .execute_metered_cost(input.to_stdin(), vm.build_metered_cost_ctx())
        .unwrap();

    let inventory = VmExecutionConfig::<F>::create_executors(program.config().vm()).unwrap();
    let code = Code::new(exe, &inventory, &vm.executor_idx_to_air_idx()).unwrap();
    let system = &program.config().vm().system.config;
    let state = VmState::initial(system, &exe.init_memory, exe.pc_start, input.to_stdin());
    let tally = Tally::new(&program, vm.build_metered_cost_ctx().widths, max);
    let mut state = VmExecState::new(state, tally);
    code.run(&mut state);
    if max == u64::MAX {
        let public = |state: &VmState<F>| extract_public_values(32, &state.memory.memory);
        assert_eq!(public(&state.vm_state), public(&after));
    }
    (state, cost.instret, cost.cost)
}

fn sum(spent: &[Spent]) -> Spent {
    spent.iter().fold(Spent::default(), |sum, spent| Spent {
        times: sum.times + spent.times,
        instructions: sum.instructions + spent.instructions,
        cells: sum.cells + spent.cells,
    })
}

/// Wherever the marks are, and whether they make sense or not.
#[test]
fn what_is_counted_is_what_openvm_counts() {
    let start = Program::load(FIBONACCI, None).unwrap().exe().pc_start;
    let base = Program::load(FIBONACCI, None).unwrap().exe().program.pc_base;
    let everywhere: Vec<_> = (0..600)
        .map(|place| {
            let word =
                (place % 7) | if place % 3 == 0 { LEAVE } else { 0 } | if place % 5 == 0 { WHOLE } else { 0 };
            (base + 4 * place, word)
        })
        .collect();
    let lists: [&[(u32, u32)]; 4] = [&[], &[(start, 1)], &[(0, 1), (u32::MAX, 1)], &everywhere];
    for marks in lists {
        let (state, instructions, cells) = tally(marks, u64::MAX);
        assert!(matches!(state.exit_code, Ok(Some(0))), "{:?}", state.exit_code);
        let all = sum(state.ctx.spent.as_slice());
        assert_eq!((all.instructions, all.cells), (instructions, cells), "{marks:?}");
    }
    // All of it where it begins at the first instruction.
    let (state, instructions, _) = tally(&[(start, 1)], u64::MAX);
    assert_eq!(state.ctx.spent[1].instructions, instructions);
    assert_eq!(state.ctx.spent[0], Spent::default());
}

#[test]
fn an_execution_ends_at_its_bound() {
    let (state, instructions, _) = tally(&[], 1_000);
    assert!(matches!(state.exit_code, Ok(None)) && instructions > 1_000);
    assert_eq!(
        (state.ctx.executed, state.ctx.spent[0].instructions),
        (1_000, 1_000)
    );
}

/// Goes by marks, each as if its address had been reached, and gives the label after each.
fn passed(words: &[u32]) -> Vec<u8> {
    let program = Program::load(FIBONACCI, None).unwrap();
    let mut tally = Tally::new(&program, Vec::new(), 0);
    let go = |word: &u32| {
        let [label, ..] = word.to_le_bytes();
        let mark = Mark {
            pc: 0,
            label,
            whole: word & WHOLE != 0,
            leave: word & LEAVE != 0,
        };
        tally.marks = vec![mark];
        tally.pass(0, 1);
        tally.label
    };
    words.iter().map(go).collect()
}

#[test]
fn the_innermost_label_counts() {
    assert_eq!(passed(&[1, 2, 2 | LEAVE, 1 | LEAVE]), [1, 2, 1, 0]);
    // A label for all that is called.
    assert_eq!(
        passed(&[1, 2 | WHOLE, 3, 3 | LEAVE, 1, 2 | LEAVE, 3, 3 | LEAVE, 1 | LEAVE]),
        [1, 2, 2, 2, 2, 1, 3, 1, 0]
    );
    // Begins again at the begin of a loop, and ends where it has not begun.
    assert_eq!(passed(&[1, 1, 1, 1 | LEAVE]), [1, 1, 1, 0]);
    assert_eq!(
        passed(&[2 | LEAVE, 1, 2 | LEAVE, 1 | LEAVE, 1 | LEAVE]),
        [0, 1, 1, 0, 0]
    );
    assert_eq!(passed(&[0, LEAVE, 1, 0, LEAVE, 1 | LEAVE]), [0, 0, 1, 0, 1, 0]);
}

#[test]
fn labels_are_bounded_in_depth() {
    let begins: Vec<u32> = (0..1_000).map(|number| 1 + number % 2).collect();
    let mut program = passed(&begins);
    program.dedup();
    assert!(program.len() <= OPEN_MAX + 1, "{}", program.len());
}
