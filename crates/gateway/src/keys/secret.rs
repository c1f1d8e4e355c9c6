//! The secret of a key, and what is kept of it.

use std::{fmt, io};

/// Every key begins with this, so that people and scanners of leaked secrets know it.
const BEGINNING: &str = "myr_";
/// Random bytes of a secret.
const BYTES: usize = 32;
/// They are written in base32, since the letters of base64 include some at which a double click
/// stops: 5 bits a letter.
const LETTERS: usize = (BYTES * 8).div_ceil(5);
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// What lists show of a secret: 8 letters, which leave 216 bits unknown.
const PREFIX: usize = BEGINNING.len() + 8;

/// A key as its holder has it. The service keeps no more than its hash.
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; BYTES];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(Self(written(&random)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that may be shown.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX]
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", self.prefix())
    }
}

fn written(random: &[u8; BYTES]) -> String {
    let mut text = String::with_capacity(BEGINNING.len() + LETTERS);
    text.push_str(BEGINNING);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in random {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
        }
    }
    if held > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - held)) as usize & 31]));
    }
    text
}

/// The part of a text that may be shown, if it can be a secret at all.
pub(super) fn prefix_of(text: &str) -> Option<&str> {
    let letters = text.strip_prefix(BEGINNING)?;
    let is_one = letters.len() == LETTERS && letters.bytes().all(|letter| ALPHABET.contains(&letter));
    is_one.then(|| &text[..PREFIX])
}

/// Whether a text can be what [`prefix_of`] gives.
pub(super) fn is_prefix(text: &str) -> bool {
    let letters = text.strip_prefix(BEGINNING);
    letters.is_some_and(|letters| {
        text.len() == PREFIX && letters.bytes().all(|letter| ALPHABET.contains(&letter))
    })
}

/// What is kept of a secret. A slow hash would protect secrets that people choose; nobody tries
/// 2^216 of them, however fast the hash is.
///
/// Hashes are compared in constant time: that is how [`blake3::Hash`] compares.
pub(super) fn hash_of(secret: &str) -> blake3::Hash {
    blake3::Hasher::new_derive_key("myriad gateway key v1")
        .update(secret.as_bytes())
        .finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4648, continued to 32 bytes.
    #[test]
    fn secrets_are_base32() {
        let mut bytes = [0; BYTES];
        bytes[..6].copy_from_slice(b"foobar");
        let text = written(&bytes);
        assert!(text.starts_with("myr_mzxw6ytboi"), "{text}");
        assert_eq!(text.len(), 56);
        assert!(text.ends_with('a'));
        assert_eq!(written(&[255; BYTES]), format!("myr_{}q", "7".repeat(51)));
    }

    #[test]
    fn secrets_differ_and_show_their_beginning_alone() {
        let (one, other) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_ne!(one.as_str(), other.as_str());
        assert_eq!(prefix_of(one.as_str()), Some(one.prefix()));
        assert!(is_prefix(one.prefix()));
        let shown = format!("{one:?}");
        assert!(
            shown.contains(one.prefix()) && !shown.contains(&one.as_str()[..PREFIX + 1]),
            "{shown}"
        );
    }

    #[test]
    fn what_has_another_form_is_no_secret() {
        let secret = Secret::new().unwrap();
        let text = secret.as_str();
        for wrong in [
            "",
            "myr_",
            &text[..55],
            &format!("{text}a"),
            &text.to_uppercase(),
            &text.replacen("myr_", "myr-", 1),
            &format!("{}1", &text[..55]),
            &format!("{}é", &text[..54]),
        ] {
            assert_eq!(prefix_of(wrong), None, "{wrong}");
        }
        for wrong in ["", "myr_", "myr_abcdefg", "myr_abcdefghi", "myr_abcdefg1"] {
            assert!(!is_prefix(wrong), "{wrong}");
        }
    }
}
