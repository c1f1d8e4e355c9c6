//! Calls of a pretended program.

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
    for (descriptor, page, bytes) in [(STDOUT, 0, 1), (STDOUT, 0, 2), (JOURNAL, 7, 1), (STDERR, 9, 1025)] {
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
