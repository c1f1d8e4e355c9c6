//! Expressions compiled to straight-line programs over registers.

use std::collections::{HashMap, HashSet};

use openvm_stark_backend::{
    air_builders::symbolic::{SymbolicExpressionNode, symbolic_variable::Entry},
    p3_field::{Algebra, Field, PrimeCharacteristicRing},
};

use crate::packed::Pack;

/// A value that a program is given for each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// A column of one of the AIR's matrices, in this row or the next one.
    Column {
        matrix: usize,
        column: usize,
        next: bool,
    },
    IsFirst,
    IsTransition,
    IsLast,
}

/// The meaning of an AIR's nodes that are no operations.
pub(crate) struct Context<'a, F> {
    pub public_values: &'a [F],
    /// Whether the first matrix is the preprocessed one.
    pub has_preprocessed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Code {
    Add,
    Sub,
    Mul,
    Neg,
    /// Addition with a constant as second operand.
    AddConstant,
    MulConstant,
    /// A constant less a register.
    SubFromConstant,
    /// Gives the first operand to the sink of this number.
    Sink,
}

#[derive(Clone, Copy, Debug)]
struct Op {
    code: Code,
    /// A register, or a sink's number.
    target: u32,
    a: u32,
    /// A register, or a constant's number.
    b: u32,
}

/// A straight-line program. Its first registers are its inputs.
pub(crate) struct Program<F: Field> {
    ops: Vec<Op>,
    constants: Vec<Pack<F>>,
    registers: usize,
    /// For each input, whether it is read.
    pub reads: Vec<bool>,
    /// Sinks of constant expressions, with their values.
    pub constant_sinks: Vec<(usize, F)>,
}

/// The registers of inputs, and the places of constants, by their value.
struct Places<F> {
    inputs: HashMap<Input, u32>,
    constants: HashMap<F, u32>,
}

#[derive(Clone, Copy)]
enum Value<F> {
    Constant(F),
    Register(u32),
}

impl<F: Field> Program<F> {
    /// A program that gives each sink the value of its node.
    ///
    /// `sinks` names the node of each. `inputs` has all that these depend on, and may have more:
    /// programs that are compiled with the same inputs can share them.
    pub(crate) fn compile(
        nodes: &[SymbolicExpressionNode<F>],
        context: &Context<'_, F>,
        sinks: &[usize],
        inputs: &[Input],
    ) -> Self {
        let mut last_use: Vec<usize> = vec![0; nodes.len()];
        let mut sinks_of: Vec<Vec<u32>> = vec![vec![]; nodes.len()];
        let mut needed = vec![false; nodes.len()];
        for (sink, &node) in sinks.iter().enumerate() {
            sinks_of[node].push(sink as u32);
            needed[node] = true;
        }
        for (index, node) in nodes.iter().enumerate().rev() {
            if needed[index] {
                last_use[index] = last_use[index].max(index);
                for operand in operands(node) {
                    needed[operand] = true;
                    last_use[operand] = last_use[operand].max(index);
                }
            }
        }
        let mut program = Self {
            ops: vec![],
            constants: vec![],
            registers: inputs.len(),
            reads: vec![false; inputs.len()],
            constant_sinks: vec![],
        };
        let places = inputs.iter().zip(0..).map(|(&input, register)| (input, register));
        let mut places = Places {
            inputs: places.collect(),
            constants: HashMap::new(),
        };
        let mut values: Vec<Value<F>> = vec![Value::Constant(F::ZERO); nodes.len()];
        let mut free: Vec<u32> = vec![];
        for (index, node) in nodes.iter().enumerate() {
            if !needed[index] {
                continue;
            }
            values[index] = program.emit(node, context, &values, &mut places, |program, operands| {
                // Registers whose last use this is may take the result.
                for &operand in operands {
                    if let Value::Register(register) = values[operand]
                        && last_use[operand] == index
                        && register as usize >= inputs.len()
                        && !free.contains(&register)
                    {
                        free.push(register);
                    }
                }
                free.pop().unwrap_or_else(|| {
                    program.registers += 1;
                    program.registers as u32 - 1
                })
            });
            for &sink in &sinks_of[index] {
                match values[index] {
                    Value::Constant(value) => program.constant_sinks.push((sink as usize, value)),
                    Value::Register(a) => program.push(Code::Sink, sink, a, 0),
                }
            }
            if let Value::Register(register) = values[index]
                && last_use[index] == index
                && register as usize >= inputs.len()
            {
                free.push(register);
            }
        }
        program
    }

    fn emit(
        &mut self,
        node: &SymbolicExpressionNode<F>,
        context: &Context<'_, F>,
        values: &[Value<F>],
        places: &mut Places<F>,
        mut result: impl FnMut(&mut Self, &[usize]) -> u32,
    ) -> Value<F> {
        use SymbolicExpressionNode as Node;
        use Value::{Constant, Register};
        if let Some(input) = input(node, context) {
            let register = places.inputs[&input];
            self.reads[register as usize] = true;
            return Register(register);
        }
        let (code, a, b) = match *node {
            Node::Constant(value) => return Constant(value),
            Node::Variable(variable) => return Constant(context.public_values[variable.index]),
            Node::IsFirstRow | Node::IsLastRow | Node::IsTransition => unreachable!("it is an input"),
            Node::Neg { idx, .. } => match values[idx] {
                Constant(value) => return Constant(-value),
                Register(a) => (Code::Neg, a, 0),
            },
            Node::Add {
                left_idx, right_idx, ..
            } => match (values[left_idx], values[right_idx]) {
                (Constant(a), Constant(b)) => return Constant(a + b),
                (Register(a), Constant(b)) | (Constant(b), Register(a)) => {
                    (Code::AddConstant, a, self.constant(places, b))
                }
                (Register(a), Register(b)) => (Code::Add, a, b),
            },
            Node::Sub {
                left_idx, right_idx, ..
            } => match (values[left_idx], values[right_idx]) {
                (Constant(a), Constant(b)) => return Constant(a - b),
                (Register(a), Constant(b)) => (Code::AddConstant, a, self.constant(places, -b)),
                (Constant(b), Register(a)) => (Code::SubFromConstant, a, self.constant(places, b)),
                (Register(a), Register(b)) => (Code::Sub, a, b),
            },
            Node::Mul {
                left_idx, right_idx, ..
            } => match (values[left_idx], values[right_idx]) {
                (Constant(a), Constant(b)) => return Constant(a * b),
                (Register(a), Constant(b)) | (Constant(b), Register(a)) => {
                    (Code::MulConstant, a, self.constant(places, b))
                }
                (Register(a), Register(b)) => (Code::Mul, a, b),
            },
        };
        let target = result(self, &operands(node));
        self.push(code, target, a, b);
        Register(target)
    }

    fn push(&mut self, code: Code, target: u32, a: u32, b: u32) {
        self.ops.push(Op { code, target, a, b });
    }

    fn constant(&mut self, places: &mut Places<F>, value: F) -> u32 {
        *places.constants.entry(value).or_insert_with(|| {
            self.constants.push(Pack::<F>::from(value));
            self.constants.len() as u32 - 1
        })
    }

    /// Gives each sink another number: `numbers` has it at the place of the old one.
    pub(crate) fn renumber_sinks(&mut self, numbers: &[usize]) {
        for op in &mut self.ops {
            if matches!(op.code, Code::Sink) {
                op.target = numbers[op.target as usize] as u32;
            }
        }
    }

    /// The number of values that [`Self::run`] works on, inputs included.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }

    /// Bytes that the program takes.
    pub(crate) fn bytes(&self) -> usize {
        self.ops.capacity() * size_of::<Op>()
            + self.constants.capacity() * size_of::<Pack<F>>()
            + self.reads.capacity()
            + self.constant_sinks.capacity() * size_of::<(usize, F)>()
    }

    /// Runs on the inputs in the first registers, which it leaves as they are.
    #[inline]
    pub(crate) fn run<T>(&self, registers: &mut [T], mut sink: impl FnMut(usize, T))
    where
        T: Copy + PrimeCharacteristicRing + Algebra<Pack<F>>,
    {
        let registers = &mut registers[..self.registers];
        for op in &self.ops {
            let a = registers[op.a as usize];
            let value = match op.code {
                Code::Add => a + registers[op.b as usize],
                Code::Sub => a - registers[op.b as usize],
                Code::Mul => a * registers[op.b as usize],
                Code::Neg => -a,
                Code::AddConstant => a + self.constants[op.b as usize],
                Code::MulConstant => a * self.constants[op.b as usize],
                Code::SubFromConstant => -a + self.constants[op.b as usize],
                Code::Sink => {
                    sink(op.target as usize, a);
                    continue;
                }
            };
            registers[op.target as usize] = value;
        }
    }
}

fn operands<F>(node: &SymbolicExpressionNode<F>) -> Vec<usize> {
    use SymbolicExpressionNode as Node;
    match *node {
        Node::Add {
            left_idx, right_idx, ..
        }
        | Node::Sub {
            left_idx, right_idx, ..
        }
        | Node::Mul {
            left_idx, right_idx, ..
        } => vec![left_idx, right_idx],
        Node::Neg { idx, .. } => vec![idx],
        _ => vec![],
    }
}

fn input<F: Field>(node: &SymbolicExpressionNode<F>, context: &Context<'_, F>) -> Option<Input> {
    use SymbolicExpressionNode as Node;
    match *node {
        Node::IsFirstRow => Some(Input::IsFirst),
        Node::IsLastRow => Some(Input::IsLast),
        Node::IsTransition => Some(Input::IsTransition),
        Node::Variable(variable) => {
            let (matrix, offset) = match variable.entry {
                Entry::Preprocessed { offset } => (0, offset),
                Entry::Main { part_index, offset } => {
                    (usize::from(context.has_preprocessed) + part_index, offset)
                }
                Entry::Public | Entry::Challenge => return None,
            };
            Some(Input::Column {
                matrix,
                column: variable.index,
                next: offset > 0,
            })
        }
        _ => None,
    }
}

/// The inputs that the nodes of these sinks depend on.
pub(crate) fn inputs_of<F: Field>(
    nodes: &[SymbolicExpressionNode<F>],
    context: &Context<'_, F>,
    sinks: impl IntoIterator<Item = usize>,
) -> Vec<Input> {
    let mut needed = vec![false; nodes.len()];
    for sink in sinks {
        needed[sink] = true;
    }
    let mut inputs = vec![];
    for (index, node) in nodes.iter().enumerate().rev() {
        if needed[index] {
            for operand in operands(node) {
                needed[operand] = true;
            }
            inputs.extend(input(node, context));
        }
    }
    inputs.reverse();
    let mut seen = HashSet::new();
    inputs.retain(|&input| seen.insert(input));
    inputs
}

/// Whether all columns and public values that the nodes name are there.
pub(crate) fn check<F: Field>(
    nodes: &[SymbolicExpressionNode<F>],
    has_preprocessed: bool,
    widths: &[usize],
    public_values: usize,
) -> Result<(), String> {
    for node in nodes {
        let SymbolicExpressionNode::Variable(variable) = node else {
            continue;
        };
        let (what, index, count) = match variable.entry {
            Entry::Preprocessed { .. } if !has_preprocessed => ("preprocessed columns", variable.index, 0),
            Entry::Preprocessed { .. } => ("preprocessed columns", variable.index, widths[0]),
            Entry::Main { part_index, .. } => {
                let width = widths.get(usize::from(has_preprocessed) + part_index);
                (
                    "columns of a main trace",
                    variable.index,
                    width.copied().unwrap_or(0),
                )
            }
            Entry::Public => ("public values", variable.index, public_values),
            Entry::Challenge => return Err("its constraints name a challenge, which is not supported".into()),
        };
        if index >= count {
            return Err(format!(
                "there are {count} {what}, its constraints name number {index}"
            ));
        }
        if variable.entry.offset().is_some_and(|offset| offset > 1) {
            return Err("its constraints name a row further than the next one".into());
        }
    }
    Ok(())
}
