//! The hash of a trace: quick, since every event goes through it, and the same wherever it is computed.

use std::hash::Hasher;

/// A multiplicative hash over words.
#[derive(Clone, Default)]
pub(super) struct TraceHash(u64);

impl TraceHash {
    fn add(&mut self, word: u64) {
        // An odd constant without structure (the golden ratio's digits); the rotation brings high bits down again.
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for TraceHash {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.add(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.add(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }
}
