//! How a batch of subtasks lies in its row: keys and payloads apart, each compressed, so that a search by key reads no payload.

use carillon_core::parallel::MAX_SUBTASK_BYTES;

use crate::StoreError;
use crate::subtasks::SubtaskPayload;

/// The longest key to search a subtask by, as the trait promises.
const MAX_KEY_CHARACTERS: usize = 128;

/// The most payload bytes of a batch: written in hexadecimal it is half of the packet that a server with default settings takes.
pub(super) const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Refuses what is larger than the trait promises to store.
pub(super) fn check(subtasks: &[SubtaskPayload]) -> Result<(), StoreError> {
    let mut bytes = 0;
    for subtask in subtasks {
        bytes += subtask.payload.len();
        if subtask.payload.len() > MAX_SUBTASK_BYTES {
            return Err(limit("a subtask's payload in bytes", MAX_SUBTASK_BYTES));
        }
        if subtask.key.chars().count() > MAX_KEY_CHARACTERS {
            return Err(limit("a subtask's key in characters", MAX_KEY_CHARACTERS));
        }
    }
    if bytes > MAX_BATCH_BYTES {
        return Err(limit("a batch's payloads in bytes", MAX_BATCH_BYTES));
    }
    Ok(())
}

fn limit(what: &'static str, limit: usize) -> StoreError {
    StoreError::LimitExceeded { what, limit: limit as u64 }
}

/// Packs texts: each as its length in four bytes, lowest first, and its bytes; all of it compressed.
pub(super) fn pack<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut packed = Vec::new();
    for text in texts {
        let length = u32::try_from(text.len()).expect("texts are checked to be small");
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(text);
    }
    lz4_flex::block::compress_prepend_size(&packed)
}

/// Reads what [`pack`] wrote.
pub(super) fn unpack(action: &'static str, packed: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    let broken = |detail: String| StoreError::Corrupt { action, detail };
    let bytes = lz4_flex::block::decompress_size_prepended(packed)
        .map_err(|error| broken(format!("a batch does not decompress: {error}")))?;
    let mut rest = bytes.as_slice();
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let cut = || broken("a batch ends in the middle of a subtask".to_owned());
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (text, after) = after.split_at_checked(length).ok_or_else(cut)?;
        texts.push(text.to_vec());
        rest = after;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_unpack_as_they_were_packed() {
        let texts: Vec<&[u8]> = vec![b"", b"a", "\u{94a7}\u{949f}".as_bytes(), &[0; 70_000]];
        let packed = pack(texts.iter().copied());
        assert_eq!(unpack("test", &packed).unwrap(), texts);
        assert!(packed.len() < 1_000);
    }

    #[test]
    fn a_cut_row_is_an_error_not_a_panic() {
        let packed = pack([b"abcdef".as_slice()].into_iter());
        for end in 0..packed.len() {
            assert!(unpack("test", &packed[..end]).is_err(), "{end}");
        }
    }
}
