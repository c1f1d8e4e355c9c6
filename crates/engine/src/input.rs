//! The input stream of a program, in the forms that `cargo openvm run --input` reads.

use serde::{Deserialize, Serialize};

use crate::error::InputError;

/// The most bytes of an input, in any form. A 30 Mgas block with its witness has about 10 MB.
pub const INPUT_BYTES_MAX: usize = 256 << 20;

/// The most items of an input. Each takes about a hundred bytes of memory beside its own, so an
/// input of [`INPUT_BYTES_MAX`] bytes could otherwise have items that take gibibytes. The EVM block
/// guest reads one.
pub const INPUT_ITEMS_MAX: usize = 1 << 20;

/// The most bytes of an encoded input: one item of [`INPUT_BYTES_MAX`] bytes, and the lengths
/// before it.
pub const ENCODED_INPUT_BYTES_MAX: usize = INPUT_BYTES_MAX + 64;

/// The modulus of BabyBear, OpenVM's field: the elements of an input are below it.
pub const FIELD_MODULUS: u32 = (15 << 27) + 1;

/// The input of a program: a stream of items, one for each read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    items: Vec<Item>,
}

/// What a program reads at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    Bytes(Vec<u8>),
    /// Field elements below [`FIELD_MODULUS`]. Not every engine takes them.
    Field(Vec<u32>),
}

impl Input {
    /// A stream of one item of raw bytes (`--input-bytes`).
    ///
    /// # Errors
    /// More than [`INPUT_BYTES_MAX`] bytes. An empty item is allowed.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InputError> {
        check_size(bytes.len())?;
        Ok(Self {
            items: vec![Item::Bytes(bytes)],
        })
    }

    /// A stream of raw bytes, an item for each of `items`.
    ///
    /// # Errors
    /// More than [`INPUT_BYTES_MAX`] bytes, or more than [`INPUT_ITEMS_MAX`] items.
    pub fn from_items(items: Vec<Vec<u8>>) -> Result<Self, InputError> {
        check_items(items.len() as u64)?;
        check_size(items.iter().map(Vec::len).sum())?;
        Ok(Self {
            items: items.into_iter().map(Item::Bytes).collect(),
        })
    }

    /// Reads one hex string, or JSON with an array of them under the key `input`.
    ///
    /// A hex string has an optional `0x`, then `01` and bytes, or `02` and field elements of 32
    /// bits, little endian. White space around the text is ignored.
    ///
    /// # Errors
    /// Anything else, and more than [`INPUT_BYTES_MAX`] bytes of text.
    pub fn parse(text: &[u8]) -> Result<Self, InputError> {
        check_size(text.len())?;
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(InputError::Empty);
        }
        if text[0] != b'{' {
            let text = std::str::from_utf8(text).map_err(|e| InputError::Syntax {
                reason: e.to_string(),
            })?;
            let digits = text.strip_prefix("0x").unwrap_or(text);
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                let reason = format!("it starts with {:?}", text.chars().take(16).collect::<String>());
                return Err(InputError::Syntax { reason });
            }
            return Ok(Self {
                items: vec![Item::parse(0, text)?],
            });
        }
        let json: serde_json::Value = serde_json::from_slice(text).map_err(|e| InputError::Syntax {
            reason: e.to_string(),
        })?;
        let array = json
            .get("input")
            .and_then(|v| v.as_array())
            .ok_or(InputError::NoArray)?;
        check_items(array.len() as u64)?;
        let items = array
            .iter()
            .enumerate()
            .map(|(index, value)| Item::parse(index, value.as_str().ok_or(InputError::NotAString { index })?))
            .collect::<Result<_, _>>()?;
        Ok(Self { items })
    }

    /// The form in which inputs are kept and sent.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("an input is plain data")
    }

    /// Decodes bytes from anywhere.
    ///
    /// # Errors
    /// Bytes that no [`Input::encode`] makes, and, checked first, more than
    /// [`ENCODED_INPUT_BYTES_MAX`] bytes or [`INPUT_ITEMS_MAX`] items.
    pub fn decode(bytes: &[u8]) -> Result<Self, InputError> {
        if bytes.len() > ENCODED_INPUT_BYTES_MAX {
            return Err(InputError::TooLarge {
                actual: bytes.len(),
                max: ENCODED_INPUT_BYTES_MAX,
            });
        }
        let malformed = |e: postcard::Error| InputError::Malformed {
            reason: e.to_string(),
        };
        // The items come after their number.
        let (items, _) = postcard::take_from_bytes::<u64>(bytes).map_err(malformed)?;
        check_items(items)?;
        let (input, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(InputError::Malformed {
                reason: format!("{} bytes follow its end", rest.len()),
            });
        }
        for (index, item) in input.items.iter().enumerate() {
            if let Item::Field(elements) = item {
                check_elements(index, elements)?;
            }
        }
        Ok(input)
    }

    /// The items, in the order in which the program reads them.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Bytes of all items together.
    pub fn byte_len(&self) -> usize {
        self.items
            .iter()
            .map(|item| match item {
                Item::Bytes(bytes) => bytes.len(),
                Item::Field(elements) => 4 * elements.len(),
            })
            .sum()
    }

    /// BLAKE3 of the items: equal for equal streams, in whatever form they were written.
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("myriad input v1");
        for item in &self.items {
            match item {
                Item::Bytes(bytes) => {
                    hasher
                        .update(&[1])
                        .update(&(bytes.len() as u64).to_le_bytes())
                        .update(bytes);
                }
                Item::Field(elements) => {
                    hasher.update(&[2]).update(&(elements.len() as u64).to_le_bytes());
                    for element in elements {
                        hasher.update(&element.to_le_bytes());
                    }
                }
            }
        }
        *hasher.finalize().as_bytes()
    }
}

impl Item {
    fn parse(index: usize, text: &str) -> Result<Self, InputError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let bytes = hex::decode(digits).map_err(|e| InputError::Hex {
            index,
            reason: e.to_string(),
        })?;
        match bytes.split_first() {
            Some((1, rest)) => Ok(Self::Bytes(rest.to_vec())),
            Some((2, rest)) => {
                let (words, []) = rest.as_chunks::<4>() else {
                    return Err(InputError::FieldElements {
                        index,
                        actual: rest.len(),
                    });
                };
                let elements: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
                check_elements(index, &elements)?;
                Ok(Self::Field(elements))
            }
            other => {
                let actual = other.map_or("nothing".into(), |(first, _)| format!("{first:02x}"));
                Err(InputError::Prefix { index, actual })
            }
        }
    }
}

fn check_size(actual: usize) -> Result<(), InputError> {
    if actual > INPUT_BYTES_MAX {
        return Err(InputError::TooLarge {
            actual,
            max: INPUT_BYTES_MAX,
        });
    }
    Ok(())
}

fn check_items(actual: u64) -> Result<(), InputError> {
    if actual > INPUT_ITEMS_MAX as u64 {
        return Err(InputError::TooManyItems {
            actual,
            max: INPUT_ITEMS_MAX,
        });
    }
    Ok(())
}

fn check_elements(index: usize, elements: &[u32]) -> Result<(), InputError> {
    match elements.iter().find(|&&e| e >= FIELD_MODULUS) {
        Some(&actual) => Err(InputError::FieldElement {
            index,
            actual,
            modulus: FIELD_MODULUS,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_agree() {
        let bytes = Input::from_bytes(vec![0xab, 0xcd]).unwrap();
        assert_eq!(Input::parse(b"0x01abcd").unwrap(), bytes);
        assert_eq!(Input::parse(b" 01ABCD\n").unwrap(), bytes);
        assert_eq!(Input::parse(br#"{"input": ["0x01abcd"]}"#).unwrap(), bytes);
        assert_eq!(Input::parse(br#"{"input": []}"#).unwrap(), Input::default());
        assert_eq!(
            Input::parse(b"0x0201000000").unwrap().items,
            [Item::Field(vec![1])]
        );
    }

    #[test]
    fn hashes_tell_streams_apart() {
        let one = Input::parse(br#"{"input": ["0x01aabb"]}"#).unwrap();
        let two = Input::parse(br#"{"input": ["0x01aa", "0x01bb"]}"#).unwrap();
        let field = Input::parse(br#"{"input": ["0x02aabb0000"]}"#).unwrap();
        assert_ne!(one.hash(), two.hash());
        assert_ne!(one.hash(), field.hash());
    }

    #[test]
    fn what_is_sent_is_what_was_encoded_and_nothing_else() {
        let input = Input::parse(br#"{"input": ["0x01aabb", "0x0201000000"]}"#).unwrap();
        let bytes = input.encode();
        assert_eq!(Input::decode(&bytes).unwrap(), input);
        let longer = [bytes.as_slice(), &[0]].concat();
        for hostile in [&bytes[..bytes.len() - 1], &longer, &[], &[0xff; 20]] {
            let error = Input::decode(hostile).unwrap_err();
            assert!(
                matches!(error, InputError::Malformed { .. }),
                "{hostile:?}: {error}"
            );
        }
        // One item, of one field element that is none.
        let element = Input {
            items: vec![Item::Field(vec![u32::MAX])],
        };
        assert!(matches!(
            Input::decode(&element.encode()),
            Err(InputError::FieldElement { .. })
        ));
    }

    #[test]
    fn more_items_than_memory_holds_are_refused_before_they_are_decoded() {
        // Empty items, of two bytes each: decoded, they would take sixteen times as much.
        let items = 3 << 20;
        let mut bytes = postcard::to_stdvec(&(items as u64)).unwrap();
        bytes.resize(bytes.len() + 2 * items, 0);
        let expected = InputError::TooManyItems {
            actual: items as u64,
            max: INPUT_ITEMS_MAX,
        };
        assert_eq!(Input::decode(&bytes).unwrap_err(), expected);
    }

    #[test]
    fn bad_input_is_named() {
        let error = |text: &[u8]| Input::parse(text).unwrap_err();
        assert_eq!(error(b""), InputError::Empty);
        assert_eq!(error(b" \n"), InputError::Empty);
        assert!(matches!(error(b"hello"), InputError::Syntax { .. }));
        assert!(matches!(error(b"\xff\xfe"), InputError::Syntax { .. }));
        assert!(matches!(error(b"{"), InputError::Syntax { .. }));
        assert_eq!(error(b"{}"), InputError::NoArray);
        assert_eq!(error(br#"{"input": [1]}"#), InputError::NotAString { index: 0 });
        assert!(matches!(error(b"0x012"), InputError::Hex { index: 0, .. }));
        assert!(matches!(error(b"0x"), InputError::Prefix { .. }));
        assert!(matches!(error(b"0x03"), InputError::Prefix { .. }));
        assert_eq!(
            error(b"0x02010000"),
            InputError::FieldElements { index: 0, actual: 3 }
        );
        assert!(matches!(
            error(b"0x02ffffffff"),
            InputError::FieldElement { actual: u32::MAX, .. }
        ));
        let large = vec![b'0'; INPUT_BYTES_MAX + 1];
        assert!(matches!(error(&large), InputError::TooLarge { .. }));
    }
}
