// SPDX-License-Identifier: GPL-2.0

//! What is sent: an endless sequence of bytes for each seed, in which each place is different.

/// A position in the bytes of a seed.
pub struct Pattern {
    seed: u64,
    offset: u64,
}

impl Pattern {
    /// The start of the bytes of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, offset: 0 }
    }

    /// Writes the next bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let mut skip = usize::try_from(self.offset % 8).unwrap_or(0);
        let mut word = self.offset / 8;
        let mut rest = &mut *buffer;
        while !rest.is_empty() {
            let bytes = word_of(self.seed, word).to_le_bytes();
            let count = rest.len().min(8 - skip);
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&bytes[skip..skip + count]);
            (rest, word, skip) = (later, word + 1, 0);
        }
        self.offset += buffer.len() as u64;
    }

    /// Compares the next bytes. If one differs, returns the place of the first one that does.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), u64> {
        let start = self.offset;
        let mut right = vec![0; bytes.len()];
        self.fill(&mut right);
        if right == bytes {
            return Ok(());
        }
        let wrong = right.iter().zip(bytes).position(|(a, b)| a != b);
        Err(start + wrong.unwrap_or(0) as u64)
    }
}

/// The bytes of a datagram, which its size tells.
pub fn datagram(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Pattern::new(size as u64).fill(&mut bytes);
    bytes
}

/// The answer to it.
pub fn answer(size: usize) -> Vec<u8> {
    datagram(size).iter().map(|byte| !byte).collect()
}

/// A word of the pattern.
fn word_of(seed: u64, word: u64) -> u64 {
    random::mix(seed ^ word.wrapping_add(1).wrapping_mul(random::STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole() {
        let mut whole = [0; 100];
        Pattern::new(7).fill(&mut whole);
        let mut pattern = Pattern::new(7);
        let mut at = 0;
        for size in [1, 7, 8, 9, 0, 3, 64, 8] {
            let mut piece = vec![0; size];
            pattern.fill(&mut piece);
            assert_eq!(piece, whole[at..at + size]);
            at += size;
        }
    }

    #[test]
    fn a_byte_that_is_wrong_or_misplaced_is_found() {
        let mut bytes = datagram(100);
        assert_eq!(Pattern::new(100).check(&bytes), Ok(()));
        bytes[77] ^= 1;
        assert_eq!(Pattern::new(100).check(&bytes), Err(77));
        assert!(Pattern::new(100).check(&datagram(100)[8..]).is_err());
        assert!(Pattern::new(99).check(&datagram(100)).is_err());
    }
}
