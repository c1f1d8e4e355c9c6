//! The choice of the label that counts. `tests/metering` compares the counts with OpenVM's own:
//! here the virtual machine would be compiled once more.

use super::*;

const FIBONACCI: &[u8] = include_bytes!("../../../../guests/elf/fibonacci.elf");
const WHOLE: u32 = 1 << 8;
const LEAVE: u32 = 1 << 9;

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
