//! The rows that each chip of the VM needs for a segment: what only this engine reads of its
//! description.

use myriad_engine::SEGMENT_DETAILS_BYTES_MAX;

/// The details of a segment whose chips have traces of these heights.
pub(crate) fn encode(heights: &[u32]) -> Vec<u8> {
    postcard::to_stdvec(heights).expect("heights are plain data")
}

/// The heights in the details of a segment from anywhere.
///
/// # Errors
/// The fault of the details: too many bytes, or not heights alone.
pub(crate) fn decode(details: &[u8]) -> Result<Vec<u32>, String> {
    let bytes = details.len();
    if bytes > SEGMENT_DETAILS_BYTES_MAX {
        return Err(format!(
            "its details have {bytes} bytes, and {SEGMENT_DETAILS_BYTES_MAX} are allowed"
        ));
    }
    match postcard::take_from_bytes(details) {
        Ok((heights, [])) => Ok(heights),
        Ok((_, rest)) => Err(format!("{} bytes follow its trace heights", rest.len())),
        Err(e) => Err(format!("its trace heights cannot be decoded: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_heights_and_nothing_else() {
        let heights = vec![0, 1 << 20, u32::MAX];
        let bytes = encode(&heights);
        assert_eq!(decode(&bytes), Ok(heights));
        for (wrong, text) in [
            (bytes[..bytes.len() - 1].to_vec(), "cannot be decoded"),
            ([bytes.as_slice(), &[0]].concat(), "1 bytes follow"),
            (vec![0; SEGMENT_DETAILS_BYTES_MAX + 1], "are allowed"),
            // It claims more heights than there are bytes.
            (vec![0xff, 0xff, 0xff, 0x7f, 1], "cannot be decoded"),
        ] {
            let refused = decode(&wrong).unwrap_err();
            assert!(refused.contains(text), "{refused}");
        }
    }
}
