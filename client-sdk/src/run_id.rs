//! Identifiers as the wire and the console show them.

use std::fmt;

use carillon_proto::v1;

/// What identifies a run: the nominal instant, the job, and an ordinal that is 0 for the scheduled fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunKey {
    pub(crate) fire_time_ms: i64,
    pub(crate) job: u32,
    pub(crate) ordinal: u64,
}

/// One try of a run. A split and its reduce share run and attempt, so the phase belongs to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttemptKey {
    pub(crate) run: RunKey,
    pub(crate) attempt: u32,
    pub(crate) reduce: bool,
}

impl From<v1::RunRef> for RunKey {
    fn from(run: v1::RunRef) -> Self {
        Self { fire_time_ms: run.fire_time_ms, job: run.job, ordinal: run.ordinal }
    }
}

impl From<RunKey> for v1::RunRef {
    fn from(run: RunKey) -> Self {
        Self { fire_time_ms: run.fire_time_ms, job: run.job, ordinal: run.ordinal }
    }
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The run id of the console: Crockford's base 32 in lower case, nine digits of fire time, seven of job, then eleven of the ordinal
/// unless it is 0.
impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(27);
        push_digits(&mut text, self.fire_time_ms.max(0).unsigned_abs(), 9);
        push_digits(&mut text, u64::from(self.job), 7);
        if self.ordinal > 0 {
            push_digits(&mut text, self.ordinal, 11);
        }
        f.write_str(&text)
    }
}

fn push_digits(text: &mut String, number: u64, digits: usize) {
    for place in (0..digits).rev() {
        text.push(char::from(DIGITS[(number >> (5 * place) & 31) as usize]));
    }
}

/// A trace id as W3C writes it: 32 hexadecimal digits; empty when the server sent none.
pub(crate) fn trace_text(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with carillon-core's `RunKey`.
    const VECTORS: [(i64, u32, u64, &str); 4] = [
        (0, 1, 0, "0000000000000001"),
        (1_763_630_400_000, 1, 0, "1kag90gg00000001"),
        (1_763_630_400_000, 4_294_967_295, 7, "1kag90gg03zzzzzz00000000007"),
        (1_763_630_400_001, 42, (1 << 53) - 1, "1kag90gg1000001a7zzzzzzzzzz"),
    ];

    #[test]
    fn run_ids_are_written_as_the_core_writes_them() {
        for (fire_time_ms, job, ordinal, text) in VECTORS {
            assert_eq!(RunKey { fire_time_ms, job, ordinal }.to_string(), text);
        }
    }

    #[test]
    fn a_trace_id_is_thirty_two_hexadecimal_digits() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(trace_text(&bytes), "000102030405060708090a0b0c0d0e0f");
    }
}
