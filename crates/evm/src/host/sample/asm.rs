//! A small EVM assembler, for the two contracts of the sample chain. Called by
//! [`contracts`](super::contracts) only.
//!
//! A source is a list of words, separated by white space; `;` begins a comment.
//!
//! | word | meaning |
//! |---|---|
//! | `ADD`, `SWAP1`, ... | the instruction |
//! | `PUSH 0x20`, `PUSH 1000` | the shortest push of a number (`PUSH0` for zero) |
//! | `PUSH NAME` | the push of a constant |
//! | `PUSH @label` | `PUSH2` of the label's place in the code |
//! | `PUSH selector(transfer(address,uint256))` | `PUSH4` of a function's or an error's selector |
//! | `PUSH topic(Transfer(address,address,uint256))` | `PUSH32` of an event's topic |
//! | `label:` | a `JUMPDEST` with a name |
//! | `const NAME = 0x80` | a constant, from here on |

use std::collections::BTreeMap;

use alloy_primitives::{U256, keccak256};
use revm::bytecode::opcode::{self, OpCode};

/// The fault of a source, and its line (from 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct AsmError {
    line: usize,
    detail: String,
}

/// Assembles a source into runtime code.
pub(super) fn assemble(source: &str) -> Result<Vec<u8>, AsmError> {
    assemble_with(source, true)
}

/// Assembles a source into code for a fork that need not have `PUSH0`.
pub(super) fn assemble_with(source: &str, has_push0: bool) -> Result<Vec<u8>, AsmError> {
    let mut words = Words::new(source);
    let mut code = Vec::new();
    let mut constants = BTreeMap::new();
    let mut labels = BTreeMap::new();
    // The places into which a label's address goes, once all are known.
    let mut references = Vec::new();

    while let Some(word) = words.next() {
        if let Some(label) = word.strip_suffix(':') {
            if labels.insert(label, code.len()).is_some() {
                return words.fail(format!("label `{label}` is there twice"));
            }
            code.push(opcode::JUMPDEST);
        } else if word == "const" {
            let (name, equals, value) = (words.operand()?, words.operand()?, words.operand()?);
            match number(value) {
                Some(value) if equals == "=" => constants.insert(name, value),
                _ => return words.fail(format!("`{name} {equals} {value}` is no constant")),
            };
        } else if word == "PUSH" {
            let operand = words.operand()?;
            if let Some(label) = operand.strip_prefix('@') {
                code.push(opcode::PUSH2);
                references.push((words.line, label, code.len()));
                code.extend([0, 0]);
            } else if let Some(signature) = signature(operand, "selector") {
                push(&mut code, &keccak256(signature)[..4]);
            } else if let Some(signature) = signature(operand, "topic") {
                push(&mut code, &keccak256(signature)[..]);
            } else if let Some(value) = number(operand).or_else(|| constants.get(operand).copied()) {
                match value.to_be_bytes_trimmed_vec() {
                    zero if zero.is_empty() && !has_push0 => push(&mut code, &[0]),
                    bytes => push(&mut code, &bytes),
                }
            } else {
                return words.fail(format!("nothing is known by the name of `{operand}`"));
            }
        } else {
            match mnemonic(word) {
                Some(byte) if OpCode::is_push_by_op(byte) => {
                    return words.fail(format!("write `PUSH`, not `{word}`"));
                }
                Some(byte) => code.push(byte),
                None => return words.fail(format!("there is no instruction `{word}`")),
            }
        }
    }
    for (line, label, at) in references {
        let place = labels.get(label).and_then(|&place| u16::try_from(place).ok());
        let Some(place) = place else {
            return Err(AsmError {
                line,
                detail: format!("there is no label `{label}`"),
            });
        };
        code[at..at + 2].copy_from_slice(&place.to_be_bytes());
    }
    Ok(code)
}

fn push(code: &mut Vec<u8>, bytes: &[u8]) {
    code.push(opcode::PUSH0 + bytes.len() as u8);
    code.extend_from_slice(bytes);
}

fn number(word: &str) -> Option<U256> {
    word.starts_with(|first: char| first.is_ascii_digit())
        .then(|| word.parse().ok())?
}

/// The text within the parentheses of `kind(...)`.
fn signature<'a>(operand: &'a str, kind: &str) -> Option<&'a str> {
    operand.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')')
}

fn mnemonic(word: &str) -> Option<u8> {
    (0..=u8::MAX).find(|&byte| OpCode::new(byte).is_some_and(|op| op.as_str() == word))
}

/// The words of a source, and the line of the last one.
struct Words<'a> {
    words: Box<dyn Iterator<Item = (usize, &'a str)> + 'a>,
    line: usize,
}

impl<'a> Words<'a> {
    fn new(source: &'a str) -> Self {
        let words = source.lines().zip(1..).flat_map(|(text, line)| {
            let code = text.split(';').next().unwrap_or_default();
            code.split_whitespace().map(move |word| (line, word))
        });
        Self {
            words: Box::new(words),
            line: 0,
        }
    }

    fn next(&mut self) -> Option<&'a str> {
        let (line, word) = self.words.next()?;
        self.line = line;
        Some(word)
    }

    fn operand(&mut self) -> Result<&'a str, AsmError> {
        match self.next() {
            Some(word) => Ok(word),
            None => self.fail("the source ends within an instruction".to_owned()),
        }
    }

    fn fail<T>(&self, detail: String) -> Result<T, AsmError> {
        Err(AsmError {
            line: self.line,
            detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    #[test]
    fn each_kind_of_word_is_assembled() {
        let source = "
            const SLOT = 0x80
                PUSH 0 PUSH 1000 PUSH SLOT          ; numbers
                PUSH selector(transfer(address,uint256)) POP
                PUSH @end JUMP
            end: STOP";
        let expected = hex!("5f 6103e8 6080 63a9059cbb 50 610010 56 5b 00");
        assert_eq!(hex::encode(assemble(source).unwrap()), hex::encode(expected));

        let code = assemble("PUSH topic(Transfer(address,address,uint256))").unwrap();
        let topic = hex!("7fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
        assert_eq!(code, topic);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (source, error) in [
            ("ADD\nADDD", "line 2: there is no instruction `ADDD`"),
            ("PUSH1 5", "line 1: write `PUSH`, not `PUSH1`"),
            ("PUSH @nowhere", "line 1: there is no label `nowhere`"),
            ("a:\na:", "line 2: label `a` is there twice"),
            ("PUSH SIZE", "line 1: nothing is known by the name of `SIZE`"),
            ("PUSH", "line 1: the source ends within an instruction"),
            ("const A 5 6", "line 1: `A 5 6` is no constant"),
        ] {
            assert_eq!(assemble(source).unwrap_err().to_string(), error);
        }
    }
}
