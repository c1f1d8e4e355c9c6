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
/// Most bytes of the name of a system call. The longest that there is has 55.
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
    /// Of a text of so many bytes, those that are read.
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
mod tests {
    use std::io::Read;

    use risc0_binfmt::ByteAddr;

    use super::*;

    /// Where the text is: in the first bytes of it, a page ends.
    const TEXT: u32 = 0x0020_0000 - 20;

    /// A program that has nothing but registers, and one text. The rest of its memory is zero.
    struct Caller {
        registers: [u32; 32],
        text: Vec<u8>,
        /// Pages that were read.
        pages: usize,
    }

    impl Caller {
        fn new(name: &str) -> Self {
            Self {
                registers: [0; 32],
                text: format!("{NAMES}{name}\0").into_bytes(),
                pages: 0,
            }
        }

        /// A caller that hands over so many bytes of memory at an address.
        fn writing(descriptor: u32, at: u32, bytes: u32) -> Self {
            let mut caller = Self::new("SYS_WRITE");
            for (register, value) in [(REG_A3, descriptor), (REG_A4, at), (REG_A5, bytes)] {
                caller.registers[register] = value;
            }
            caller
        }
    }

    impl SyscallContext for Caller {
        fn peek_register(&mut self, index: usize) -> Result<u32> {
            Ok(self.registers[index])
        }

        fn peek_u32(&mut self, _address: ByteAddr) -> Result<u32> {
            bail!("nobody asks for words")
        }

        fn peek_u8(&mut self, _address: ByteAddr) -> Result<u8> {
            bail!("nobody asks for bytes")
        }

        fn peek_region(&mut self, _address: ByteAddr, _size: usize) -> Result<Vec<u8>> {
            bail!("nobody has the executor go through words")
        }

        fn read_region(&mut self, _address: ByteAddr, _size: usize) -> Result<impl Read> {
            Err::<std::io::Empty, _>(anyhow::anyhow!("nobody has the executor go through words"))
        }

        fn peek_page(&mut self, page: u32) -> Result<Vec<u8>> {
            self.pages += 1;
            let start = page as usize * PAGE_BYTES;
            let text = |at: usize| self.text.get(at.checked_sub(TEXT as usize)?).copied();
            Ok((start..start + PAGE_BYTES)
                .map(|at| text(at).unwrap_or(0))
                .collect())
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
        assert_eq!(host.host_read(caller, TEXT, &mut buffer)? as usize, bytes);
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

    /// The executor holds what it has looked at, though no segment has it.
    #[test]
    fn pages_that_are_handed_over_count_once() {
        let host = host(b"", b"");
        let far = |page: u32| 0x0100_0000 + page * PAGE_BYTES as u32;
        for (descriptor, page, bytes) in [(STDOUT, 0, 1), (STDOUT, 0, 2), (JOURNAL, 7, 1), (STDERR, 9, 1025)]
        {
            called(&host, &mut Caller::writing(descriptor, far(page), bytes), 0).unwrap();
        }
        assert_eq!(host.said().pages(), 4);
    }

    #[test]
    fn a_name_without_an_end_is_refused() {
        let mut caller = Caller::new("SYS_READ");
        caller.text = vec![b'x'; 4096];
        let error = called(&host(b"", b""), &mut caller, 0).unwrap_err();
        assert!(error.to_string().contains("more than 128 bytes"), "{error}");
        caller.text = b"\xff\0".to_vec();
        assert!(called(&host(b"", b""), &mut caller, 0).is_err());
        for address in [4, USER_START_ADDR.0 - 1, USER_END_ADDR.0, u32::MAX] {
            let error = host(b"", b"")
                .host_read(&mut caller, address, &mut [])
                .unwrap_err();
            assert!(
                error.to_string().contains("it hands over memory at 0x"),
                "{error}"
            );
        }
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

    #[test]
    fn what_a_program_hands_over_is_read_page_by_page() {
        let host = host(b"", b"");
        let mut caller = Caller::writing(JOURNAL, TEXT, 40);
        called(&host, &mut caller, 0).unwrap();
        assert_eq!(host.said().journal, &caller.text[..40]);
        // Two for the name, and two for the bytes.
        assert_eq!(caller.pages, 4);
        // An empty slice may point anywhere.
        called(&host, &mut Caller::writing(JOURNAL, 1, 0), 0).unwrap();
        let past_the_end = Caller::writing(JOURNAL, USER_END_ADDR.0 - 1, 2);
        for mut caller in [Caller::writing(JOURNAL, 1, 1), past_the_end] {
            let error = called(&host, &mut caller, 0).unwrap_err();
            assert!(error.to_string().contains("it hands over memory at"), "{error}");
        }
    }

    #[test]
    fn text_is_read_up_to_a_limit() {
        let host = host(b"", b"");
        for (descriptor, bytes, pages) in [
            (STDOUT, 60 << 10, 61),
            (STDERR, 60 << 10, 5),
            (STDOUT, u32::MAX, 0),
            (STDERR, 1, 0),
        ] {
            let mut caller = Caller::writing(descriptor, TEXT, bytes);
            called(&host, &mut caller, 0).unwrap();
            let names = 2;
            assert_eq!(caller.pages - names, pages, "{bytes} bytes");
        }
        let unread = (56_u64 << 10) + u64::from(u32::MAX) + 1;
        let note = format!("(and {unread} bytes more: the first 65536 are read)");
        assert!(
            host.said().printed().ends_with(&note),
            "{}",
            host.said().printed()
        );
        // What the kernel prints counts, too.
        host.host_write(&mut Caller::new("SYS_READ"), 0, b"text").unwrap();
        assert_eq!(host.said().unread, unread + 4);
    }
}
