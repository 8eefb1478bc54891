// SPDX-License-Identifier: GPL-2.0

//! The program as a whole.

use super::*;
use rustix::process::{Signal, getpid, kill_process};
use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

fn place(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rv-{}-run-{name}", std::process::id()))
}

fn wait_for(path: &Path) {
    for _ in 0..2000 {
        if UnixStream::connect(path).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody listens at {}", path.display());
}

/// The one test that is told by signals: these are for the process, and so for all that runs in it.
#[test]
fn a_signal_ends_it_well() {
    let (control, disk) = (place("control"), place("disk"));
    for signal in [Signal::TERM, Signal::INT] {
        let spec = format!("ram=1M,socket={}", disk.display());
        let path = control.to_string_lossy().into_owned();
        let arguments =
            ["--summary", "none", "--control", &path, "--blk", &spec].map(str::to_owned);
        let program = thread::spawn(move || run(lexopt::Parser::from_args(arguments)));
        wait_for(&control);

        kill_process(getpid(), signal).expect("a signal");

        program.join().expect("no panic").expect("a good end");
        assert!(!control.exists() && !disk.exists(), "sockets are removed");
    }
}
