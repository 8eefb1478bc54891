// SPDX-License-Identifier: GPL-2.0

//! What drivers, and QEMU, say to the backend: see `backend::fuzz`.

use backend::fuzz;

/// A queue of a disk.
pub fn backend_blk(data: &[u8]) {
    fuzz::blk_queue(data);
}

/// The queue of a network device that transmits.
pub fn backend_net(data: &[u8]) {
    fuzz::net_queue(data);
}

/// The one that receives.
pub fn backend_receive(data: &[u8]) {
    fuzz::receive_queue(data);
}

/// The one for commands.
pub fn backend_control(data: &[u8]) {
    fuzz::control_queue(data);
}

/// Messages of QEMU.
pub fn backend_messages(data: &[u8]) {
    fuzz::messages(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;
    use std::{fs, path::Path};

    /// Runs a function on each input of a corpus, by its name.
    fn run(target: &str, function: fn(&[u8]) -> u64) -> Vec<(String, u64)> {
        let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = crate_directory.join("corpus").join(target);
        let files = fs::read_dir(directory).expect("a corpus");
        let mut results: Vec<_> = files
            .map(|file| {
                let path = file.expect("a file").path();
                let text = fs::read_to_string(&path).expect("a text");
                let name = path.file_stem().expect("a name").to_string_lossy();
                let bytes = hex::parse(&text).expect("bytes");
                (name.into_owned(), function(&bytes))
            })
            .collect();
        results.sort();
        results
    }

    #[test]
    fn requests_of_the_corpora_are_served() {
        for (name, served) in run("backend_blk", fuzz::blk_queue) {
            assert_eq!(served, 1, "{name}");
        }
        for (name, served) in run("backend_net", fuzz::net_queue) {
            assert_eq!(served, 1, "{name}");
        }
        for (name, served) in run("backend_control", fuzz::control_queue) {
            assert_eq!(served, 2, "{name}");
        }
    }

    #[test]
    fn buffers_of_the_corpus_are_filled() {
        let filled = run("backend_receive", fuzz::receive_queue);
        // A frame of 3000 bytes is in three of them where they are merged.
        let wanted = [("buffers", 3), ("merged", 5)];
        let wanted: Vec<_> = wanted.map(|(name, count)| (name.to_owned(), count)).into();
        assert_eq!(filled, wanted);
    }

    #[test]
    fn messages_of_the_corpus_are_taken() {
        let taken = run("backend_messages", fuzz::messages);
        let wanted = [("config", 8), ("inflight", 8), ("slots", 8), ("start", 13)];
        let wanted: Vec<_> = wanted.map(|(name, count)| (name.to_owned(), count)).into();
        assert_eq!(taken, wanted);
    }
}
