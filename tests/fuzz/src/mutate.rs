// SPDX-License-Identifier: GPL-2.0

//! Making new inputs from those of a corpus.

use crate::hex;
use random::Random;
use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// The longest input.
const MOST: usize = 1024;

/// Numbers at which something may change.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    6,
    8,
    14,
    16,
    20,
    34,
    64,
    0x7f,
    0x80,
    0xff,
    0x100,
    512,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x003f_ffff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// Inputs to begin with.
#[derive(Clone, Debug, Default)]
pub struct Corpus(Vec<Vec<u8>>);

impl Corpus {
    /// Reads the files of a directory, in the order of their names.
    ///
    /// # Errors
    ///
    /// The directory or a file cannot be read, or a file is not what it should be.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut paths = fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        let inputs = paths
            .iter()
            .map(|path| read(path))
            .collect::<Result<_, _>>();
        inputs.map(Self)
    }

    /// Returns the inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Returns a new input.
    pub fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let mut input = match random.pick(&self.0) {
            Some(input) if random.below(16) != 0 => input.clone(),
            _ => (0..random.below(256)).map(|_| random.byte()).collect(),
        };
        for _ in 0..=random.below(8) {
            self.mutate(&mut input, random);
        }
        input.truncate(MOST);
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(input.len() + 1);
        match random.below(8) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.byte();
                }
            }
            2 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add(random.byte() % 9).wrapping_sub(4);
                }
            }
            3 => {
                let length = 1 << random.below(4);
                let edge = random.pick(EDGES).copied().unwrap_or(0);
                for (to, from) in input
                    .iter_mut()
                    .skip(at)
                    .take(length)
                    .zip(edge.to_le_bytes())
                {
                    *to = from;
                }
            }
            4 => {
                let number = random.below(24);
                let bytes: Vec<u8> = (0..number).map(|_| random.byte()).collect();
                input.splice(at..at, bytes);
            }
            5 => {
                let end = (at + random.below(24)).min(input.len());
                input.drain(at..end);
            }
            6 => input.truncate(at),
            _ => {
                let Some(other) = random.pick(&self.0) else {
                    return;
                };
                let from = random.below(other.len());
                let to = (from + random.below(64)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
}

/// Reads an input from a file.
///
/// # Errors
///
/// The file cannot be read, or is not what it should be.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let text = fs::read_to_string(path)?;
    hex::parse(&text).map_err(|error| {
        let error = format!("{}: {error}", path.display());
        io::Error::new(ErrorKind::InvalidData, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let corpus = Corpus(vec![vec![1, 2, 3], vec![0; 40]]);
        let inputs = |seed| {
            let mut random = Random::new(seed);
            (0..100)
                .map(|_| corpus.mutated(&mut random))
                .collect::<Vec<_>>()
        };

        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }

    #[test]
    fn a_corpus_may_be_empty() {
        let mut random = Random::new(1);
        for _ in 0..100 {
            assert!(Corpus::default().mutated(&mut random).len() <= MOST);
        }
    }
}
