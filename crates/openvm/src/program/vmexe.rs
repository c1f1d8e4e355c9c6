//! Reads a `.vmexe`, OpenVM's own format of a program.
//!
//! OpenVM's reader makes room for as many instructions as four bytes of the file say; and in its
//! encoding, bitcode, an item of a list can take an eighth of a byte. So the same bytes are read
//! here into types with limits, and then converted to the types of OpenVM's reader.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use openvm_circuit::arch::instructions::{
    exe::{SparseMemoryImage, VmExe},
    instruction::Instruction,
    program::Program,
};
use openvm_sdk::F;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use super::{INITIAL_BYTES_MAX, INSTRUCTIONS_MAX, caught, start_of, within};
use crate::error::ProgramError;

thread_local! {
    /// The list that is too long in the file. The errors of bitcode have no text in a release
    /// build.
    static TOO_MUCH: RefCell<Option<ProgramError>> = const { RefCell::new(None) };
}

/// `VmExe` as it is written. Bitcode knows no names of fields, only their order.
#[derive(Deserialize)]
struct File {
    program: Code,
    pc_start: u32,
    init_memory: Memory,
    _fn_bounds: NoFunctions,
}

/// `Program` as it is written.
#[derive(Deserialize)]
struct Code {
    /// Each instruction with its place, and the number of places.
    instructions: (Instructions, u32),
    pc_base: u32,
}

struct Instructions(Vec<(Instruction<F>, u32)>);

struct Memory(SparseMemoryImage);

/// The bounds of functions, which only a build for measurements has, and nothing here reads.
struct NoFunctions;

/// Reads a `.vmexe`.
///
/// # Errors
/// [`ProgramError::NotAProgram`], and [`ProgramError::TooMuch`]; the bytes may be anything.
pub(super) fn read(image: &[u8]) -> Result<VmExe<F>, ProgramError> {
    let not_a_program = |reason: String| ProgramError::NotAProgram {
        start: start_of(image),
        reason,
    };
    TOO_MUCH.take();
    let file = caught(|| bitcode::deserialize::<File>(image).map_err(|e| e.to_string()))
        .unwrap_or_else(Err)
        .map_err(|reason| TOO_MUCH.take().unwrap_or_else(|| not_a_program(reason)))?;

    let (Instructions(instructions), places) = file.program.instructions;
    within("places for instructions", u64::from(places), INSTRUCTIONS_MAX)?;
    let mut placed = vec![None; places as usize];
    for (instruction, place) in instructions {
        let there = placed.get_mut(place as usize).ok_or_else(|| {
            not_a_program(format!(
                "it has an instruction at place {place}, and {places} places"
            ))
        })?;
        *there = Some((instruction, None));
    }
    Ok(VmExe {
        program: Program {
            instructions_and_debug_infos: placed,
            pc_base: file.program.pc_base,
        },
        pc_start: file.pc_start,
        init_memory: file.init_memory.0,
        fn_bounds: BTreeMap::new(),
    })
}

/// The number of items in a list, which bitcode tells before it makes room for them.
fn counted<E: Error>(what: &str, count: Option<usize>, max: u64) -> Result<usize, E> {
    let count = count.ok_or_else(|| E::custom("a list of unknown length"))?;
    within(what, count as u64, max).map_err(|error| {
        let text = error.to_string();
        TOO_MUCH.set(Some(error));
        E::custom(text)
    })?;
    Ok(count)
}

impl<'de> Deserialize<'de> for Instructions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Instructions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("instructions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Instructions, A::Error> {
                let count = counted("instructions", seq.size_hint(), INSTRUCTIONS_MAX)?;
                let mut items = Vec::new();
                while items.len() < count
                    && let Some(item) = seq.next_element()?
                {
                    items.push(item);
                }
                Ok(Instructions(items))
            }
        }

        deserializer.deserialize_seq(Items)
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Memory;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes of memory")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Memory, A::Error> {
                let count = counted("bytes of initial memory", map.size_hint(), INITIAL_BYTES_MAX)?;
                let mut memory = SparseMemoryImage::new();
                for _ in 0..count {
                    let Some((place, byte)) = map.next_entry()? else {
                        break;
                    };
                    memory.insert(place, byte);
                }
                Ok(Memory(memory))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for NoFunctions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NoEntries;

        impl<'de> Visitor<'de> for NoEntries {
            type Value = NoFunctions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("no bounds of functions")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NoFunctions, A::Error> {
                counted("bounds of functions", map.size_hint(), 0)?;
                Ok(NoFunctions)
            }
        }

        deserializer.deserialize_map(NoEntries)
    }
}

#[cfg(test)]
mod tests {
    use openvm_circuit::arch::instructions::exe::FnBound;

    use super::*;
    use crate::Program;

    type Instructions = Vec<(Instruction<F>, u32)>;

    /// A file with these instructions and places, up to where its initial memory begins.
    fn up_to_memory(instructions: Instructions, places: u32) -> Vec<u8> {
        let (pc_base, pc_start) = (0u32, 0u32);
        bitcode::serialize(&(((instructions, places), pc_base), pc_start)).unwrap()
    }

    /// The length of a list, as bitcode writes it where it is 255 or more: a mark, that of a number
    /// that is not packed, and the number.
    fn length(count: u64) -> Vec<u8> {
        [[255, 0].as_slice(), &count.to_le_bytes()].concat()
    }

    fn too_much(image: &[u8]) -> (String, u64) {
        match Program::load(image, None).err().expect("refused") {
            ProgramError::TooMuch { what, actual, .. } => (what, actual),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_file_is_read_as_openvm_reads_it() {
        let elf = include_bytes!("../../../../guests/elf/fibonacci.elf");
        let mut exe = Program::load(elf, None).unwrap().exe().as_ref().clone();
        // Holes in the code, which the file leaves out.
        let code = &mut exe.program.instructions_and_debug_infos;
        code[3] = None;
        code.push(None);
        let file = bitcode::serialize(&exe).unwrap();
        let openvms: VmExe<F> = bitcode::deserialize(&file).unwrap();
        let ours = read(&file).unwrap();
        let code = |exe: &VmExe<F>| -> Vec<Option<Instruction<F>>> {
            let code = exe.program.instructions_and_debug_infos.iter();
            code.map(|there| there.as_ref().map(|(instruction, _)| instruction.clone()))
                .collect()
        };
        assert_eq!(code(&ours), code(&openvms));
        assert_eq!(code(&ours), code(&exe));
        assert_eq!(
            (ours.program.pc_base, ours.pc_start, &ours.init_memory),
            (openvms.program.pc_base, openvms.pc_start, &openvms.init_memory)
        );
        for end in 0..file.len().min(300) {
            assert!(read(&file[..end]).is_err());
        }
    }

    /// OpenVM's reader makes room for 2^32 instructions of 80 bytes each.
    #[test]
    fn places_for_instructions_are_counted() {
        let mut file = up_to_memory(Vec::new(), u32::MAX);
        // No memory and no functions.
        file.extend([0, 0]);
        assert!(file.len() < 30);
        assert_eq!(
            too_much(&file),
            ("places for instructions".into(), u32::MAX.into())
        );
        let nowhere = (Instruction::default(), 7);
        let mut file = up_to_memory(vec![nowhere], 7);
        file.extend([0, 0]);
        let error = read(&file).err().unwrap();
        assert!(error.to_string().contains("place 7"), "{error}");
    }

    /// An instruction takes 9 bits of the file, and 100 bytes once it is read.
    #[test]
    fn instructions_are_counted() {
        let count = INSTRUCTIONS_MAX + 1;
        let one = (Instruction::default(), 0);
        let mut file = up_to_memory(vec![one; count as usize], 1);
        file.extend([0, 0]);
        assert!((file.len() as u64) < count * 5 / 4);
        assert_eq!(too_much(&file), ("instructions".into(), count));
        // The count alone is enough.
        assert_eq!(too_much(&length(1 << 40)), ("instructions".into(), 1 << 40));
    }

    #[test]
    fn memory_and_functions_are_counted() {
        let mut file = up_to_memory(Vec::new(), 0);
        file.extend(length(INITIAL_BYTES_MAX + 1));
        assert_eq!(
            too_much(&file),
            ("bytes of initial memory".into(), INITIAL_BYTES_MAX + 1)
        );
        let mut exe = VmExe::<F>::default();
        assert!(read(&bitcode::serialize(&exe).unwrap()).is_ok());
        exe.fn_bounds.insert(0, FnBound::default());
        assert_eq!(
            too_much(&bitcode::serialize(&exe).unwrap()),
            ("bounds of functions".into(), 1)
        );
    }
}
