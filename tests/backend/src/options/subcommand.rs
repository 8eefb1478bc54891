// SPDX-License-Identifier: GPL-2.0

//! Subcommands: what is wanted most often, in fewer characters. They say nothing that options cannot.

use super::{Keys, Options, add, help, read_file};
use anyhow::{Context, Result, bail, ensure};
use lexopt::ValueExt;
use std::{ffi::OsString, path::PathBuf};

/// What the first word says, and what the others have said since.
#[derive(Debug)]
pub enum Subcommand {
    /// A disk, or a network device, which has these keys.
    Device(&'static str, Keys),
    /// A switch, with what options say.
    Switch,
    /// What a file says, once it is known which.
    Run(Option<PathBuf>),
}

/// What there is to know of a subcommand.
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// What follows it.
    pub arguments: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    /// What else to know.
    more: &'static str,
    /// The lists that say what it takes.
    sections: &'static [&'static str],
}

/// All of them.
pub const SUBCOMMANDS: &[About] = &[
    About {
        name: "blk",
        arguments: "KEY=VALUE ...",
        what: "serve a disk, as --blk KEY=VALUE,... does",
        more: "virtio-backend blk socket=/tmp/disk file=disk.img read-only",
        sections: &["Keys of all devices", "Keys of a disk", "Options"],
    },
    About {
        name: "net",
        arguments: "KEY=VALUE ...",
        what: "serve a network device, as --net KEY=VALUE,... does",
        more: "virtio-backend net socket=/tmp/net queues=2 --port ip=10.0.0.1/24",
        sections: &[
            "Keys of all devices",
            "Keys of a network device, beside those of its port",
            "Keys of a port, and of a network device",
            "Options",
        ],
    },
    About {
        name: "switch",
        arguments: "--net SPEC|--port SPEC ...",
        what: "connect network devices and other ports",
        more: "virtio-backend switch --net socket=/tmp/net --port tap=tap0",
        sections: &[
            "Keys of a port, and of a network device",
            "Keys of a port, one of which says what is there",
            "Those of device \"switch\"",
            "Options",
        ],
    },
    About {
        name: "run",
        arguments: "FILE",
        what: "serve what a file of format TOML says, as --config FILE does",
        more: "virtio-backend run vlans.toml --log info",
        sections: &["Options"],
    },
];

impl Subcommand {
    /// Finds one by its name.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "blk" => Self::Device("blk", Keys::default()),
            "net" => Self::Device("net", Keys::default()),
            "switch" => Self::Switch,
            "run" => Self::Run(None),
            _ => bail!("there is no subcommand {name}; there are blk, net, switch and run"),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Device(name, _) => name,
            Self::Switch => "switch",
            Self::Run(_) => "run",
        }
    }

    /// Takes a word that is no option.
    pub fn take(&mut self, word: OsString, options: &mut Options) -> Result<()> {
        match self {
            Self::Device(_, keys) => keys.extend(&word.string()?),
            Self::Run(file @ None) => {
                let path = PathBuf::from(word);
                read_file(&path, options)?;
                *file = Some(path);
            }
            Self::Switch => bail!("switch takes no {}; see switch --help", word.display()),
            Self::Run(Some(path)) => bail!(
                "run takes one file, and has {}; --config takes another one",
                path.display()
            ),
        }
        Ok(())
    }

    /// Does what was said, at the end of the command line.
    pub fn finish(self, options: &mut Options) -> Result<()> {
        match self {
            Self::Device(name, keys) => add(options, name, keys).context(name),
            Self::Switch => {
                let networks = options.devices.len() + options.ports.len();
                ensure!(networks > 0, "a switch without --net and --port has no use");
                Ok(())
            }
            Self::Run(file) => {
                ensure!(file.is_some(), "run needs a file; see run --help");
                Ok(())
            }
        }
    }

    /// Returns what the program says of it.
    pub fn help(&self) -> String {
        let about = SUBCOMMANDS.iter().find(|about| about.name == self.name());
        about.map(About::help).unwrap_or_default()
    }
}

impl About {
    fn help(&self) -> String {
        let Self {
            name,
            arguments,
            what,
            more,
            ..
        } = self;
        let mut text = format!(
            "virtio-backend {name} {arguments} [OPTION ...]\n\nUse it to {what}. For example:\n\n    \
             {more}\n"
        );
        let sections = help::sections();
        // In the order in which they matter here.
        for title in self.sections {
            let section = sections.iter().find(|section| section.title == *title);
            text += &section.map(help::Section::draw).unwrap_or_default();
        }
        text
    }
}
