// SPDX-License-Identifier: GPL-2.0

//! A guest for a person: booted, shown, and powered off.

use crate::{
    guest::{Builder, accelerator},
    kernel::{self, Kernel},
    paths::Scratch,
};
use anyhow::Result;
use lexopt::prelude::*;

/// Boots a guest as the command line describes it, and shows what its commands print.
pub fn guest(arguments: &mut lexopt::Parser) -> Result<()> {
    let mut flavour = kernel::STOCK.to_owned();
    let (mut modules, mut commands) = (Vec::new(), Vec::new());
    let mut interactive = false;
    let mut apply: Vec<Box<dyn Fn(Builder) -> Builder>> = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("kernel") => flavour = arguments.value()?.string()?,
            Long("module") => modules.push(arguments.value()?.string()?),
            Long("kernel-module") => {
                let name = arguments.value()?.string()?;
                apply.push(Box::new(move |builder| builder.kernel_module(&name)));
            }
            Long("tool") => {
                let name = arguments.value()?.string()?;
                apply.push(Box::new(move |builder| builder.tool(&name)));
            }
            Long("device") => {
                let device = arguments.value()?.string()?;
                apply.push(Box::new(move |builder| builder.device(&device)));
            }
            Long("qemu") => {
                let argument = arguments.value()?.string()?;
                apply.push(Box::new(move |builder| builder.qemu(&[&argument])));
            }
            Long("run") => commands.push(arguments.value()?.string()?),
            Long("interactive") => interactive = true,
            other => return Err(other.unexpected().into()),
        }
    }

    let kernel = Kernel::find(&flavour)?;
    let mut builder = Builder::new(&kernel);
    for module in &modules {
        builder = builder.module(module)?;
    }
    for change in apply {
        builder = change(builder);
    }
    if interactive {
        return builder.interactive();
    }

    let scratch = Scratch::new()?;
    println!("booting {} ({}) ...", kernel.release, accelerator());
    let guest = builder.boot(scratch.path())?;
    println!("booted in {:.1} s", guest.boot_time().as_secs_f32());
    for command in &commands {
        println!("# {command}");
        print!("{}", guest.sh(command)?);
    }
    guest.end()?;
    println!("powered off, without a complaint of the kernel");
    Ok(())
}
