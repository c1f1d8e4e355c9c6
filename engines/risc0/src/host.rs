//! Answers the system calls of a program.
//!
//! RISC Zero's own host gives a program random bytes of the machine, and takes assumptions, which
//! another receipt has to resolve. This one gives every machine the same bytes, and refuses what
//! would need further proofs. What it shares with RISC Zero's is the convention of the calls: the
//! kernel `v1compat` reads from a descriptor that is the address of the call's name, and then the
//! two registers of its result from descriptor 0.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use myriad_engine::PUBLIC_VALUES_BYTES_MAX;
use risc0_binfmt::ByteAddr;
use risc0_circuit_rv32im::execute::{REG_A3, REG_A4, REG_A5, Syscall, SyscallContext};

/// What all names of system calls start with.
const NAMES: &str = "risc0_zkvm_platform::syscall::nr::";
/// Most bytes of the name of a system call. The longest that there is has 55.
const NAME_BYTES_MAX: usize = 128;
/// Bytes of the program's prints that are kept.
const PRINTED_BYTES_MAX: usize = 8 << 10;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const JOURNAL: u32 = 3;

/// What a program has said so far.
#[derive(Default)]
pub(crate) struct Said {
    /// The values that it reveals.
    pub journal: Vec<u8>,
    /// The end of what it has printed.
    printed: VecDeque<u8>,
}

impl Said {
    fn print(&mut self, text: &[u8]) {
        self.printed.extend(text);
        let excess = self.printed.len().saturating_sub(PRINTED_BYTES_MAX);
        self.printed.drain(..excess);
    }

    pub(crate) fn printed(&self) -> String {
        let (first, second) = self.printed.as_slices();
        String::from_utf8_lossy(&[first, second].concat()).into_owned()
    }
}

/// The host of one execution.
pub(crate) struct Host {
    said: Arc<Mutex<Said>>,
    state: RefCell<State>,
}

struct State {
    stdin: Arc<Vec<u8>>,
    /// Bytes of stdin that were read.
    read: usize,
    random: blake3::OutputReader,
    /// The registers of the last call's result.
    returned: (u32, u32),
}

impl Host {
    /// `seed` names the program and its input.
    pub(crate) fn new(stdin: Arc<Vec<u8>>, seed: &[u8], said: Arc<Mutex<Said>>) -> Self {
        let random = blake3::Hasher::new_derive_key("myriad risc0 random bytes v1")
            .update(seed)
            .finalize_xof();
        let state = RefCell::new(State {
            stdin,
            read: 0,
            random,
            returned: (0, 0),
        });
        Self { said, state }
    }

    fn call(&self, name: &str, ctx: &mut impl SyscallContext, buffer: &mut [u8]) -> Result<(u32, u32)> {
        let mut state = self.state.borrow_mut();
        match name {
            "SYS_READ" => state.read(ctx, buffer),
            "SYS_WRITE" => {
                let descriptor = ctx.peek_register(REG_A3)?;
                let (at, bytes) = (ctx.peek_register(REG_A4)?, ctx.peek_register(REG_A5)?);
                self.write(ctx, descriptor, at, bytes)
            }
            "SYS_LOG" => {
                let (at, bytes) = (ctx.peek_register(REG_A3)?, ctx.peek_register(REG_A4)?);
                self.write(ctx, STDOUT, at, bytes)?;
                self.said().print(b"\n");
                Ok((0, 0))
            }
            "SYS_PANIC" => {
                let (at, bytes) = (ctx.peek_register(REG_A3)?, ctx.peek_register(REG_A4)?);
                let text = region(ctx, at, bytes, PRINTED_BYTES_MAX)?;
                bail!("it panicked: {}", String::from_utf8_lossy(&text))
            }
            "SYS_CYCLE_COUNT" => {
                let cycles = ctx.get_cycle();
                Ok(((cycles >> 32) as u32, cycles as u32))
            }
            "SYS_RANDOM" => {
                state.random.fill(buffer);
                Ok((buffer.len() as u32, 0))
            }
            // There are no arguments, and no variables.
            "SYS_ARGC" => Ok((0, 0)),
            "SYS_GETENV" => Ok((u32::MAX, 0)),
            "SYS_KECCAK" => bail!(
                "it has the keccak coprocessor hash for it (SYS_KECCAK), whose proofs this engine does not make; \
                 build it with keccak in software"
            ),
            "SYS_VERIFY_INTEGRITY" | "SYS_VERIFY_INTEGRITY2" => bail!(
                "it assumes another receipt (env::verify), and this engine does not resolve assumptions"
            ),
            other => bail!("it makes the system call {other}, which this engine does not answer"),
        }
    }

    fn write(
        &self,
        ctx: &mut impl SyscallContext,
        descriptor: u32,
        at: u32,
        bytes: u32,
    ) -> Result<(u32, u32)> {
        match descriptor {
            STDOUT | STDERR => {
                let text = region(ctx, at, bytes, PRINTED_BYTES_MAX)?;
                self.said().print(&text);
            }
            JOURNAL => {
                let mut said = self.said();
                let total = said.journal.len() as u64 + u64::from(bytes);
                ensure!(
                    total <= PUBLIC_VALUES_BYTES_MAX as u64,
                    "it reveals {total} bytes, and {PUBLIC_VALUES_BYTES_MAX} are allowed; have it reveal their hash"
                );
                let values = region(ctx, at, bytes, PUBLIC_VALUES_BYTES_MAX)?;
                said.journal.extend_from_slice(&values);
            }
            other => bail!("it writes to descriptor {other}, which is not open"),
        }
        Ok((0, 0))
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads into `buffer`, which has the whole words, and the bytes of one more word into the
    /// second register. The kernel asks for 1 KiB at a time.
    fn read(&mut self, ctx: &mut impl SyscallContext, buffer: &mut [u8]) -> Result<(u32, u32)> {
        let descriptor = ctx.peek_register(REG_A3)?;
        ensure!(
            descriptor == STDIN,
            "it reads from descriptor {descriptor}, which is not open"
        );
        let wanted = ctx.peek_register(REG_A4)? as usize;
        let left = wanted
            .checked_sub(buffer.len())
            .context("it reads into a buffer that is longer than what it asks for")?;
        let mut read = self.take(buffer);
        let mut word = [0; 4];
        if read == buffer.len() && left <= word.len() {
            read += self.take(&mut word[..left]);
        }
        Ok((read as u32, u32::from_le_bytes(word)))
    }

    /// Moves as many bytes of stdin into `buffer` as there are.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.stdin[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        count
    }
}

impl Syscall for Host {
    fn host_read(&self, ctx: &mut impl SyscallContext, descriptor: u32, buffer: &mut [u8]) -> Result<u32> {
        if descriptor == 0 {
            let (first, second) = self.state.borrow().returned;
            let target = buffer
                .first_chunk_mut::<8>()
                .context("it reads the result of a system call into less than two words")?;
            target[..4].copy_from_slice(&first.to_le_bytes());
            target[4..].copy_from_slice(&second.to_le_bytes());
            return Ok(8);
        }
        let name = name_at(ctx, descriptor)?;
        let known = name
            .strip_prefix(NAMES)
            .with_context(|| format!("it makes the system call {name:?}, which RISC Zero does not have"))?;
        let returned = self.call(known, ctx, buffer)?;
        self.state.borrow_mut().returned = returned;
        Ok(buffer.len() as u32)
    }

    /// The kernel says here why it panics.
    fn host_write(&self, _ctx: &mut impl SyscallContext, _descriptor: u32, text: &[u8]) -> Result<u32> {
        self.said().print(text);
        Ok(text.len() as u32)
    }
}

/// The name of a system call, which ends with a zero byte.
fn name_at(ctx: &mut impl SyscallContext, address: u32) -> Result<String> {
    let mut name = Vec::new();
    for offset in 0..NAME_BYTES_MAX as u32 {
        let at = address
            .checked_add(offset)
            .context("the name of a system call is past the end of memory")?;
        match ctx.peek_u8(ByteAddr(at))? {
            0 => return Ok(String::from_utf8(name)?),
            byte => name.push(byte),
        }
    }
    bail!("the name of a system call has more than {NAME_BYTES_MAX} bytes")
}

/// The bytes of the program's memory at an address, or the first `max` of them.
fn region(ctx: &mut impl SyscallContext, at: u32, bytes: u32, max: usize) -> Result<Vec<u8>> {
    let bytes = (bytes as usize).min(max);
    let mut region = vec![0; bytes];
    ctx.read_region(ByteAddr(at), bytes)?.read_exact(&mut region)?;
    Ok(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that has nothing but registers, and one text at address 4.
    struct Caller {
        registers: [u32; 32],
        text: Vec<u8>,
    }

    impl Caller {
        fn new(name: &str) -> Self {
            Self {
                registers: [0; 32],
                text: format!("{NAMES}{name}\0").into_bytes(),
            }
        }
    }

    impl SyscallContext for Caller {
        fn peek_register(&mut self, index: usize) -> Result<u32> {
            Ok(self.registers[index])
        }

        fn peek_u32(&mut self, _address: ByteAddr) -> Result<u32> {
            bail!("nobody asks for words")
        }

        fn peek_u8(&mut self, address: ByteAddr) -> Result<u8> {
            let byte = self.text.get(address.0 as usize - 4);
            byte.copied().context("there is no more memory")
        }

        fn peek_region(&mut self, address: ByteAddr, size: usize) -> Result<Vec<u8>> {
            let start = address.0 as usize - 4;
            let region = self.text.get(start..start + size);
            Ok(region.context("there is no more memory")?.to_vec())
        }

        fn read_region(&mut self, address: ByteAddr, size: usize) -> Result<impl Read> {
            Ok(std::io::Cursor::new(self.peek_region(address, size)?))
        }

        fn peek_page(&mut self, _page: u32) -> Result<Vec<u8>> {
            bail!("nobody asks for pages")
        }

        fn get_cycle(&self) -> u64 {
            (3 << 32) + 2
        }

        fn get_pc(&self) -> u32 {
            0
        }
    }

    fn host(stdin: &[u8], seed: &[u8]) -> Host {
        Host::new(Arc::new(stdin.to_vec()), seed, Arc::default())
    }

    /// The buffer and the two registers of a call with room for so many bytes.
    fn called(host: &Host, caller: &mut Caller, bytes: usize) -> Result<(Vec<u8>, u32, u32)> {
        let mut buffer = vec![0; bytes];
        assert_eq!(host.host_read(caller, 4, &mut buffer)? as usize, bytes);
        let mut words = [0; 8];
        host.host_read(caller, 0, &mut words)?;
        let word = |at: usize| u32::from_le_bytes(*words[at..].first_chunk().unwrap());
        Ok((buffer, word(0), word(4)))
    }

    #[test]
    fn random_bytes_follow_from_the_seed() {
        let of = |seed: &[u8]| {
            let host = host(b"", seed);
            let mut caller = Caller::new("SYS_RANDOM");
            [(); 2].map(|()| called(&host, &mut caller, 32).unwrap().0)
        };
        assert_eq!(of(b"one"), of(b"one"));
        assert_ne!(of(b"one"), of(b"two"));
        let [first, second] = of(b"one");
        assert_ne!(first, second, "a stream, and not the same bytes again");
    }

    #[test]
    fn stdin_is_read_in_words_and_the_rest_in_a_register() {
        let host = host(b"abcdefghijk", b"");
        let mut caller = Caller::new("SYS_READ");
        caller.registers[REG_A4] = 7;
        let (bytes, read, rest) = called(&host, &mut caller, 4).unwrap();
        assert_eq!((bytes.as_slice(), read), (&b"abcd"[..], 7));
        assert_eq!(rest.to_le_bytes(), *b"efg\0");
        caller.registers[REG_A4] = 8;
        let (bytes, read, _) = called(&host, &mut caller, 8).unwrap();
        assert_eq!((&bytes[..4], read), (&b"hijk"[..], 4), "stdin ends");
        assert_eq!(called(&host, &mut caller, 8).unwrap().1, 0);
        // A kernel that is none of RISC Zero's.
        caller.registers[REG_A4] = 3;
        assert!(called(&host, &mut caller, 4).is_err());
        caller.registers[REG_A3] = JOURNAL;
        assert!(called(&host, &mut caller, 0).is_err());
    }

    #[test]
    fn a_name_without_an_end_is_refused() {
        let mut caller = Caller::new("SYS_READ");
        caller.text = vec![b'x'; 4096];
        let error = called(&host(b"", b""), &mut caller, 0).unwrap_err();
        assert!(error.to_string().contains("more than 128 bytes"), "{error}");
        caller.text = b"\xff\0".to_vec();
        assert!(called(&host(b"", b""), &mut caller, 0).is_err());
        let mut clock = Caller::new("SYS_CYCLE_COUNT");
        assert_eq!(
            called(&host(b"", b""), &mut clock, 0).unwrap(),
            (Vec::new(), 3, 2)
        );
    }

    #[test]
    fn the_end_of_a_long_text_is_kept() {
        let mut said = Said::default();
        said.print(&[b'x'; PRINTED_BYTES_MAX]);
        said.print(b"end");
        assert_eq!(said.printed().len(), PRINTED_BYTES_MAX);
        assert!(said.printed().ends_with("xend"));
    }
}
