// SPDX-License-Identifier: GPL-2.0

//! Fuzz targets for the parsers of `virtio_wire` and for the backend, and what drives them.
//!
//! A *target* is a function that takes any bytes, hands them to a parser as what the other end
//! says, and asserts what has to hold of whatever comes out; so it panics if there is a fault.
//! [`TARGETS`] lists them. A *corpus* of inputs that get far is in `corpus/TARGET/`, as text: see
//! [`hex`].
//!
//! cargo-fuzz needs the nightly compiler, which is not there: no coverage leads the way. The
//! program of this crate mutates the corpus at random instead, without a guide, but reproducibly:
//!
//! ```text
//! cargo run --release -p fuzz -- --target split_walk --seconds 60 --seed 1
//! ```
//!
//! Where there is a nightly compiler, a libFuzzer target is one line, and `--raw DIRECTORY` writes
//! the corpus as it wants it:
//!
//! ```text
//! libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::split_walk(data));
//! ```

pub mod hex;
pub mod input;
pub mod mutate;
pub mod targets;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its corpus.
    pub name: &'static str,
    /// Panics if there is a fault.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[
            $(Target { name: stringify!($name), run: targets::$name },)*
        ];
    };
}

targets! {
    backend_blk,
    backend_control,
    backend_messages,
    backend_net,
    backend_receive,
    blk_config,
    blk_request,
    features,
    net_command,
    net_config,
    net_receive,
    net_stats,
    net_transmit,
    packed_event,
    packed_walk,
    split_walk,
    status,
}

#[cfg(test)]
mod tests {
    use super::*;
    use mutate::Corpus;
    use random::Random;
    use std::path::Path;

    /// How often each target runs in the tests.
    const RUNS: usize = 3000;

    fn corpus(target: &Target) -> Corpus {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        Corpus::read(&directory.join(target.name)).expect("each target has a corpus")
    }

    #[test]
    fn each_target_takes_its_corpus() {
        for target in TARGETS {
            for input in corpus(target).inputs() {
                (target.run)(input);
            }
        }
    }

    #[test]
    fn each_target_takes_mutations_of_its_corpus() {
        for target in TARGETS {
            let corpus = corpus(target);
            let mut random = Random::new(1);
            for _ in 0..RUNS {
                (target.run)(&corpus.mutated(&mut random));
            }
        }
    }

    #[test]
    fn each_corpus_has_a_target() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let entries = std::fs::read_dir(directory).expect("there is a corpus");
        for entry in entries {
            let name = entry.expect("it can be read").file_name();
            assert!(
                TARGETS.iter().any(|target| name == target.name),
                "{} is no target",
                name.display()
            );
        }
    }
}
