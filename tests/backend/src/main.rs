// SPDX-License-Identifier: GPL-2.0

//! The program: see the crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    match backend::run(lexopt::Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtio-backend: {error:#}");
            ExitCode::FAILURE
        }
    }
}
