//! Which subtasks are done and which failed for good, as bitmaps in chunks.

use super::{MapChunk, SUBTASKS_PER_CHUNK};

const WORDS_PER_CHUNK: usize = SUBTASKS_PER_CHUNK as usize / 64;

/// The bitmaps of a map. 10 million subtasks take 2.5 MB at most; chunks that nothing happened in take nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Completion {
    chunks: Vec<Chunk>,
    done: u64,
    failed: u64,
}

/// One chunk; a bitmap without a bit set is empty.
#[derive(Debug, Clone, Default)]
struct Chunk {
    done: Vec<u64>,
    failed: Vec<u64>,
    /// Changed since the last [`Completion::take_changed`].
    changed: bool,
}

impl Completion {
    /// The bitmaps as they were stored.
    pub(super) fn read(stored: &[MapChunk]) -> Self {
        let mut completion = Self::default();
        for chunk in stored {
            let number = chunk.number as usize;
            if completion.chunks.len() <= number {
                completion.chunks.resize_with(number + 1, Chunk::default);
            }
            completion.chunks[number] =
                Chunk { done: words(&chunk.done), failed: words(&chunk.failed), changed: false };
        }
        completion.done = completion.chunks.iter().map(|chunk| count(&chunk.done)).sum();
        completion.failed = completion.chunks.iter().map(|chunk| count(&chunk.failed)).sum();
        completion
    }

    /// How many are done.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// How many failed for good.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    /// Whether nothing further can happen to a subtask.
    pub(super) fn is_settled(&self, index: u64) -> bool {
        let (number, word, bit) = place(index);
        self.chunks.get(number).is_some_and(|chunk| chunk.settled(word) & bit != 0)
    }

    /// Records a subtask as done; false where it was settled already.
    pub(super) fn set_done(&mut self, index: u64) -> bool {
        let new = self.set(index, |chunk| &mut chunk.done);
        self.done += u64::from(new);
        new
    }

    /// Records a subtask as failed for good; false where it was settled already.
    pub(super) fn set_failed(&mut self, index: u64) -> bool {
        let new = self.set(index, |chunk| &mut chunk.failed);
        self.failed += u64::from(new);
        new
    }

    /// The first subtask in `from..end` that is not settled.
    pub(super) fn next_open(&self, from: u64, end: u64) -> Option<u64> {
        let mut index = from;
        while index < end {
            let (number, word, bit) = place(index);
            let Some(chunk) = self.chunks.get(number) else { return Some(index) };
            // Bits below the index count as settled, so that a whole word is skipped at once.
            let settled = chunk.settled(word) | (bit - 1);
            if settled != u64::MAX {
                let found = index / 64 * 64 + u64::from(settled.trailing_ones());
                return (found < end).then_some(found);
            }
            index = (index / 64 + 1) * 64;
        }
        None
    }

    /// The chunks that changed since the last call, as they are to be stored.
    pub(super) fn take_changed(&mut self) -> Vec<MapChunk> {
        let changed = self.chunks.iter_mut().enumerate().filter(|(_, chunk)| chunk.changed);
        changed
            .map(|(number, chunk)| {
                chunk.changed = false;
                MapChunk { number: number as u32, done: bytes(&chunk.done), failed: bytes(&chunk.failed) }
            })
            .collect()
    }

    fn set(&mut self, index: u64, bitmap: impl Fn(&mut Chunk) -> &mut Vec<u64>) -> bool {
        let (number, word, bit) = place(index);
        if self.chunks.len() <= number {
            self.chunks.resize_with(number + 1, Chunk::default);
        }
        let chunk = &mut self.chunks[number];
        if chunk.settled(word) & bit != 0 {
            return false;
        }
        chunk.changed = true;
        let bitmap = bitmap(chunk);
        if bitmap.is_empty() {
            bitmap.resize(WORDS_PER_CHUNK, 0);
        }
        bitmap[word] |= bit;
        true
    }
}

impl Chunk {
    fn settled(&self, word: usize) -> u64 {
        let of = |bitmap: &[u64]| bitmap.get(word).copied().unwrap_or(0);
        of(&self.done) | of(&self.failed)
    }
}

/// Chunk, word and bit of a subtask.
fn place(index: u64) -> (usize, usize, u64) {
    let within = index % SUBTASKS_PER_CHUNK;
    ((index / SUBTASKS_PER_CHUNK) as usize, (within / 64) as usize, 1 << (within % 64))
}

fn count(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

fn words(bytes: &[u8]) -> Vec<u64> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut words = vec![0; WORDS_PER_CHUNK];
    for (place, byte) in bytes.iter().enumerate().take(WORDS_PER_CHUNK * 8) {
        words[place / 8] |= u64::from(*byte) << (place % 8 * 8);
    }
    words
}

fn bytes(words: &[u64]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_map_and_survives_the_store(
            steps in prop::collection::vec((0u64..200_000, any::<bool>(), prop::bool::weighted(0.1)), 0..300),
            from in 0u64..200_000,
        ) {
            let mut completion = Completion::default();
            let mut plain: BTreeMap<u64, bool> = BTreeMap::new();
            let mut stored: BTreeMap<u32, MapChunk> = BTreeMap::new();
            for (index, done, store) in steps {
                let new = if done { completion.set_done(index) } else { completion.set_failed(index) };
                prop_assert_eq!(new, !plain.contains_key(&index));
                plain.entry(index).or_insert(done);
                if store {
                    stored.extend(completion.take_changed().into_iter().map(|chunk| (chunk.number, chunk)));
                    let chunks: Vec<_> = stored.values().cloned().collect();
                    completion = Completion::read(&chunks);
                }
            }
            prop_assert_eq!(completion.done(), plain.values().filter(|done| **done).count() as u64);
            prop_assert_eq!(completion.failed(), plain.values().filter(|done| !**done).count() as u64);
            prop_assert!(plain.keys().all(|index| completion.is_settled(*index)));
            let open = (from..200_000).find(|index| !plain.contains_key(index));
            prop_assert_eq!(completion.next_open(from, 200_000), open);
        }
    }

    #[test]
    fn a_full_word_and_a_full_chunk_are_skipped() {
        let mut completion = Completion::default();
        (0..SUBTASKS_PER_CHUNK + 70).for_each(|index| {
            completion.set_done(index);
        });
        assert_eq!(completion.next_open(0, 1_000_000), Some(SUBTASKS_PER_CHUNK + 70));
        assert_eq!(completion.next_open(0, SUBTASKS_PER_CHUNK + 70), None);
        let chunks = completion.take_changed();
        assert_eq!(chunks[0].done.len(), 8 * 1024, "a chunk is 8 KiB");
        assert!(
            chunks[0].failed.is_empty() && chunks[1].done.len() == 9,
            "and shorter where the rest is zero"
        );
        assert!(completion.take_changed().is_empty());
    }
}
