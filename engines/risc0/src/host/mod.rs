//! Answers the system calls of a program.
//!
//! RISC Zero's own host gives a program random bytes of the machine, and takes assumptions, which
//! another receipt has to resolve. This one gives every machine the same bytes, and refuses what
//! would need further proofs. What it shares with RISC Zero's is the convention of the calls: the
//! kernel `v1compat` reads from a descriptor that is the address of the call's name, and then the
//! two registers of its result from descriptor 0.

use std::{
    cell::RefCell,
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use myriad_engine::PUBLIC_VALUES_BYTES_MAX;
use risc0_circuit_rv32im::execute::{
    PAGE_BYTES, REG_A3, REG_A4, REG_A5, Syscall, SyscallContext, USER_END_ADDR, USER_START_ADDR,
};

/// What all names of system calls start with.
const NAMES: &str = "risc0_zkvm_platform::syscall::nr::";
/// The most bytes of the name of a system call. The longest that there is has 55.
const NAME_BYTES_MAX: usize = 128;
/// Bytes of the program's prints that are kept.
const PRINTED_BYTES_MAX: usize = 8 << 10;
/// Bytes of the program's prints that are read. A print takes the program some hundred cycles,
/// however long its text is, and takes this process as long as the text is.
const TEXT_BYTES_MAX: usize = 64 << 10;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const JOURNAL: u32 = 3;

/// What a program has said so far.
#[derive(Default)]
pub(crate) struct Said {
    /// The values that it reveals.
    pub journal: Vec<u8>,
    /// The end of what it has printed, as far as that was read.
    printed: VecDeque<u8>,
    /// Bytes of its prints that were read.
    read: usize,
    /// And those that were not.
    unread: u64,
    /// Pages of memory that it has handed over. The executor holds them from then on. No segment
    /// has those that the program itself does not touch.
    pages: BTreeSet<u32>,
}

impl Said {
    /// Admits a text of so many bytes, and returns how many of them are read.
    fn admit(&mut self, bytes: u32) -> u32 {
        let read = (bytes as usize).min(TEXT_BYTES_MAX - self.read);
        self.read += read;
        self.unread += u64::from(bytes) - read as u64;
        read as u32
    }

    /// Pages that it has handed over.
    pub(crate) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// The bytes of the program's memory at an address.
    fn region(&mut self, ctx: &mut impl SyscallContext, at: u32, bytes: u32) -> Result<Vec<u8>> {
        let mut region = Vec::with_capacity(bytes as usize);
        while region.len() < bytes as usize {
            let next = at
                .checked_add(region.len() as u32)
                .context("it hands over memory past the end of it")?;
            let wanted = bytes as usize - region.len();
            let rest = rest_of_page(ctx, next)?;
            self.pages.insert(next / PAGE_BYTES as u32);
            region.extend_from_slice(&rest[..rest.len().min(wanted)]);
        }
        Ok(region)
    }

    /// Keeps the end of what was read.
    fn print(&mut self, text: &[u8]) {
        self.printed.extend(text);
        let excess = self.printed.len().saturating_sub(PRINTED_BYTES_MAX);
        self.printed.drain(..excess);
    }

    pub(crate) fn printed(&self) -> String {
        let (first, second) = self.printed.as_slices();
        let text = String::from_utf8_lossy(&[first, second].concat()).into_owned();
        match self.unread {
            0 => text,
            unread => format!("{text}\n(and {unread} bytes more: the first {TEXT_BYTES_MAX} are read)"),
        }
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
                self.print(ctx, at, bytes)?;
                self.said().print(b"\n");
                Ok((0, 0))
            }
            "SYS_PANIC" => {
                let (at, bytes) = (ctx.peek_register(REG_A3)?, ctx.peek_register(REG_A4)?);
                let text = self.said().region(ctx, at, bytes.min(PRINTED_BYTES_MAX as u32))?;
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
            STDOUT | STDERR => self.print(ctx, at, bytes)?,
            JOURNAL => {
                let mut said = self.said();
                let total = said.journal.len() as u64 + u64::from(bytes);
                ensure!(
                    total <= PUBLIC_VALUES_BYTES_MAX as u64,
                    "it reveals {total} bytes, and {PUBLIC_VALUES_BYTES_MAX} are allowed; have it reveal their hash"
                );
                let revealed = said.region(ctx, at, bytes)?;
                said.journal.extend(revealed);
            }
            other => bail!("it writes to descriptor {other}, which is not open"),
        }
        Ok((0, 0))
    }

    fn print(&self, ctx: &mut impl SyscallContext, at: u32, bytes: u32) -> Result<()> {
        let mut said = self.said();
        let bytes = said.admit(bytes);
        let text = said.region(ctx, at, bytes)?;
        said.print(&text);
        Ok(())
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
        let mut said = self.said();
        let read = said.admit(text.len() as u32);
        said.print(&text[..read as usize]);
        Ok(text.len() as u32)
    }
}

/// The name of a system call, which ends with a zero byte. It is read at each call: a program may
/// have changed what is at the address.
fn name_at(ctx: &mut impl SyscallContext, address: u32) -> Result<String> {
    let mut name = Vec::new();
    while name.len() < NAME_BYTES_MAX {
        let at = address
            .checked_add(name.len() as u32)
            .context("the name of a system call is past the end of memory")?;
        let wanted = NAME_BYTES_MAX - name.len();
        let rest = rest_of_page(ctx, at)?;
        let rest = &rest[..rest.len().min(wanted)];
        if let Some(end) = rest.iter().position(|&byte| byte == 0) {
            name.extend_from_slice(&rest[..end]);
            return Ok(String::from_utf8(name)?);
        }
        name.extend_from_slice(rest);
    }
    bail!("the name of a system call has more than {NAME_BYTES_MAX} bytes")
}

/// The bytes from an address to the end of its page. A page is copied at once, which takes this
/// process no longer than the call takes the program; word by word, it would take many times as
/// long.
fn rest_of_page(ctx: &mut impl SyscallContext, at: u32) -> Result<Vec<u8>> {
    let (start, end) = (USER_START_ADDR.0, USER_END_ADDR.0);
    ensure!(
        (start..end).contains(&at),
        "it hands over memory at {at:#x}, and has {start:#x} to {end:#x}"
    );
    let page_bytes = PAGE_BYTES as u32;
    let mut page = ctx.peek_page(at / page_bytes)?;
    Ok(page.split_off((at % page_bytes) as usize))
}

#[cfg(test)]
mod tests;
