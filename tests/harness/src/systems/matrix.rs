// SPDX-License-Identifier: GPL-2.0

//! What is shown of whole systems, as tables. A row names a test, or cases of one, and says what came out
//! of that the last time: nothing is filled in by hand, but why something has no test.

mod disk;
mod emulated;
mod finding;
mod outside;
mod table;
mod ways;

use crate::{
    cx::Verdict,
    report::{self, Stamp},
    results::{Entry, Results},
};
use anyhow::{Context, Result, ensure};
use std::{fmt, fs, path::PathBuf};

/// All systems.
const SYSTEMS: &[System] = &[
    outside::SYSTEM,
    disk::SYSTEM,
    finding::SYSTEM,
    emulated::SYSTEM,
    ways::SYSTEM,
];

/// Tests that rows name, and that are still being written: who adds one takes it from here.
#[cfg(test)]
const COMING: &[&str] = &[];

/// A way from a guest to what it uses, and what is shown of it.
#[derive(Clone, Copy, Debug)]
struct System {
    title: &'static str,
    /// What the rows say together, in a sentence.
    sentence: &'static str,
    rows: &'static [Row],
}

/// Something that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    what: &'static str,
    device: Device,
    driver: Driver,
    transport: Transport,
    ring: Ring,
    kernel: Kernel,
    by: By,
}

impl Row {
    /// What our driver does with a network device on PCI, with split rings, in the stock kernel.
    const fn net(what: &'static str, by: By) -> Self {
        Self {
            what,
            device: Device::Net,
            driver: Driver::Ours,
            transport: Transport::Pci,
            ring: Ring::Split,
            kernel: Kernel::Stock,
            by,
        }
    }

    /// The same with a disk.
    const fn blk(what: &'static str, by: By) -> Self {
        Self {
            device: Device::Blk,
            ..Self::net(what, by)
        }
    }

    /// The same with devices of both kinds.
    const fn both(what: &'static str, by: By) -> Self {
        Self {
            device: Device::Both,
            ..Self::net(what, by)
        }
    }

    /// The kernel's own driver does it.
    const fn in_tree(self) -> Self {
        Self {
            driver: Driver::InTree,
            ..self
        }
    }

    /// The device is elsewhere.
    const fn on(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// The rings are others.
    const fn ring(self, ring: Ring) -> Self {
        Self { ring, ..self }
    }

    /// The kernel is the one with every check.
    const fn debug(self) -> Self {
        Self {
            kernel: Kernel::Debug,
            ..self
        }
    }
}

/// Names, as the tables have them.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$of:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum $type {
            $($(#[$of])* $variant,)*
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $name,)*
                })
            }
        }
    };
}

names! {
    /// Devices.
    Device {
        Net = "net",
        Blk = "blk",
        Both = "both",
    }
}

names! {
    /// Whose driver.
    Driver {
        InTree = "in-tree",
        Ours = "ours",
    }
}

names! {
    /// How a guest finds devices, and reaches them.
    Transport {
        Pci = "PCI",
        /// PCI, both modern and legacy.
        Transitional = "transitional",
        PciLegacy = "PCI legacy",
        Acpi = "MMIO, ACPI",
        AcpiLegacy = "MMIO legacy",
        CommandLine = "MMIO, cmdline",
        Fdt = "MMIO, FDT",
        FdtLegacy = "FDT legacy",
        /// That of an Arm machine.
        PciArm = "PCI, arm64",
        Vdpa = "vDPA",
    }
}

names! {
    /// Rings.
    Ring {
        Split = "split",
        Packed = "packed",
        InOrder = "in order",
        /// Split and packed ones.
        Both = "both",
        /// Those of every form that the test has.
        Every = "every",
        /// Those of a device that is not a virtio one.
        Own = "its own",
    }
}

names! {
    /// Kernels of guests.
    Kernel {
        Stock = "stock",
        Debug = "debug",
    }
}

/// By what something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// By a test.
    Test(&'static str),
    /// By those cases of a test whose names begin with something: see [`begins`].
    Cases(&'static str, &'static str),
    /// By nothing, as it cannot run anywhere here, for this reason.
    Unable(&'static str),
    /// By nothing, as there is no test, for this reason.
    Lacking(&'static str),
}

impl By {
    /// Returns the name of the test, if there is one.
    const fn test(self) -> Option<&'static str> {
        match self {
            Self::Test(test) | Self::Cases(test, _) => Some(test),
            Self::Unable(_) | Self::Lacking(_) => None,
        }
    }
}

/// Tells whether the name of a case begins with some of its parts, which are divided by `/`: with `split`
/// begin `split` and `split/ping`, but not `split_in_order`, which begins with `split_`.
fn begins(case: &str, beginning: &str) -> bool {
    case.strip_prefix(beginning).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('/') || beginning.ends_with(['/', '_'])
    })
}

names! {
    /// What came out.
    Outcome {
        Passed = "passed",
        Failed = "FAILED",
        Skipped = "skipped",
        NotRun = "not run",
        Unable = "cannot run",
        Lacking = "no test",
    }
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Passed,
        Self::Failed,
        Self::Skipped,
        Self::NotRun,
        Self::Unable,
        Self::Lacking,
    ];

    /// Tells whether this is what must not be when all tests have run.
    const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::NotRun)
    }
}

/// What came out for a row.
struct Judgement<'a> {
    outcome: Outcome,
    /// How many seconds it took, or why it did not run.
    remark: String,
    /// Of what that is, if it ran.
    stamp: Option<&'a Stamp>,
}

impl<'a> Judgement<'a> {
    /// Looks up what shows a row.
    fn of(by: By, results: &'a Results) -> Self {
        let without = |outcome, why: &str| Self {
            outcome,
            remark: why.to_owned(),
            stamp: None,
        };
        let found = |test| results.find(test);
        match by {
            By::Unable(why) => without(Outcome::Unable, why),
            By::Lacking(why) => without(Outcome::Lacking, why),
            By::Test(test) => match found(test) {
                Some(entry) => Self::from(entry, &entry.verdict),
                None => without(Outcome::NotRun, "no result"),
            },
            By::Cases(test, beginning) => match found(test) {
                Some(entry) => match worst(entry, beginning) {
                    Some(verdict) => Self::from(entry, verdict),
                    None => Self {
                        stamp: Some(&entry.stamp),
                        ..without(Outcome::NotRun, &format!("no case {beginning}"))
                    },
                },
                None => without(Outcome::NotRun, "no result"),
            },
        }
    }

    fn from(entry: &'a Entry, verdict: &Verdict) -> Self {
        let seconds = format!("{:.1}", entry.seconds);
        let (outcome, remark) = match verdict {
            Verdict::Passed => (Outcome::Passed, seconds),
            Verdict::Failed(_) => (Outcome::Failed, seconds),
            Verdict::Skipped(why) if why.trim().is_empty() => {
                (Outcome::Skipped, "for no reason".to_owned())
            }
            Verdict::Skipped(why) => (Outcome::Skipped, why.clone()),
        };
        Self {
            outcome,
            remark,
            stamp: Some(&entry.stamp),
        }
    }
}

/// Returns the worst verdict of some cases. A test that came to none of them has one, too, unless it
/// passed.
fn worst<'a>(entry: &'a Entry, beginning: &str) -> Option<&'a Verdict> {
    let rank = |verdict: &&Verdict| match verdict {
        Verdict::Passed => 0,
        Verdict::Skipped(_) => 1,
        Verdict::Failed(_) => 2,
    };
    entry
        .cases
        .iter()
        .filter(|case| begins(&case.name, beginning))
        .map(|case| &case.verdict)
        .max_by_key(rank)
        .or((entry.verdict != Verdict::Passed).then_some(&entry.verdict))
}

/// What is made of which file.
pub struct Options {
    /// The results.
    pub results: PathBuf,
    /// The document into which the tables are put. They are printed without one.
    pub document: Option<PathBuf>,
    /// Whether a row fails this that has failed, or has not run.
    pub is_strict: bool,
}

/// Makes the tables. Returns whether they are as they should be.
pub fn run(options: &Options) -> Result<bool> {
    if !options.results.exists() {
        eprintln!("there is no {}: nothing has run", options.results.display());
    }
    let results = Results::read(&options.results)?;
    let tables = table::text(SYSTEMS, &results);
    match &options.document {
        None => print!("{tables}"),
        Some(path) => {
            let name = path.display();
            let text = fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
            let text = replace(&text, &tables).with_context(|| format!("{name} has no place"))?;
            report::write(path, &text)?;
        }
    }
    Ok(!options.is_strict || none_is_bad(&results))
}

/// Tells which rows have failed, or have not run. Returns whether there is none.
fn none_is_bad(results: &Results) -> bool {
    let mut is_fine = true;
    for system in SYSTEMS {
        for row in system.rows {
            let Judgement { outcome, .. } = Judgement::of(row.by, results);
            if outcome.is_bad() {
                is_fine = false;
                let test = row.by.test().unwrap_or_default();
                eprintln!("{outcome}: {}: {row}: {test}", system.title);
            }
        }
    }
    is_fine
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.device, self.what)
    }
}

/// The lines of a document between which the tables are.
const BEGIN: &str = ".. matrix: begin";
const END: &str = ".. matrix: end";

/// Puts the tables into a document, instead of those that it has.
fn replace(document: &str, tables: &str) -> Result<String> {
    let lines: Vec<_> = document.lines().collect();
    let only = |wanted: &str| {
        let mut places = lines.iter().enumerate();
        let mut found = places.by_ref().filter(|(_, line)| **line == wanted);
        let place = found
            .next()
            .with_context(|| format!("there is no line \"{wanted}\""))?;
        ensure!(
            found.next().is_none(),
            "there are several lines \"{wanted}\""
        );
        Ok(place.0)
    };
    let (begin, end) = (only(BEGIN)?, only(END)?);
    ensure!(begin < end, "\"{END}\" comes before \"{BEGIN}\"");
    let before = lines[..=begin].join("\n");
    let after = lines[end..].join("\n");
    Ok(format!("{before}\n\n{tables}\n{after}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::DEBUG, paths::Scratch, registry};
    use std::collections::BTreeSet;

    fn rows() -> impl Iterator<Item = &'static Row> {
        SYSTEMS.iter().flat_map(|system| system.rows)
    }

    #[test]
    fn rows_name_tests_that_exist() {
        let known: BTreeSet<_> = registry::all().map(|test| test.name).collect();
        for row in rows() {
            let Some(test) = row.by.test() else {
                continue;
            };
            assert!(
                known.contains(test) || COMING.contains(&test),
                "there is no test {test}"
            );
        }
        for test in COMING {
            assert!(!known.contains(test), "{test} has come");
            assert!(
                rows().any(|row| row.by.test() == Some(test)),
                "no row names {test}"
            );
        }
    }

    #[test]
    fn rows_are_of_the_kernel_and_the_driver_that_their_tests_have() {
        for row in rows() {
            let test = registry::all().find(|test| Some(test.name) == row.by.test());
            let Some(test) = test else {
                continue;
            };
            let is_debug = test.kernels.iter().chain(test.trees).any(|k| *k == DEBUG);
            assert_eq!(row.kernel == Kernel::Debug, is_debug, "{row:?}");
            // Ours has to be built. Some tests have both, each in cases of its own.
            let has_ours = match row.by {
                By::Cases(_, cases) if cases.contains("in_tree") => false,
                _ => !test.kernels.is_empty(),
            };
            assert_eq!(row.driver == Driver::Ours, has_ours, "{row:?}");
        }
    }

    #[test]
    fn no_two_rows_are_equal() {
        for system in SYSTEMS {
            for (index, row) in system.rows.iter().enumerate() {
                assert!(!system.rows[..index].contains(row), "twice: {row:?}");
            }
        }
    }

    #[test]
    fn both_drivers_are_in_each_system() {
        for system in SYSTEMS {
            for driver in [Driver::InTree, Driver::Ours] {
                assert!(
                    system
                        .rows
                        .iter()
                        .any(|row| row.driver == driver && row.by.test().is_some()),
                    "{}: none is {driver}",
                    system.title
                );
            }
        }
    }

    #[test]
    fn cases_begin_with_whole_parts() {
        for (case, beginning, wanted) in [
            ("split", "split", true),
            ("split/ping", "split", true),
            ("split/ping", "split/", true),
            ("split/ping", "split/ping", true),
            ("split_in_order", "split_", true),
            ("split_in_order", "split", false),
            ("packed", "split", false),
        ] {
            assert_eq!(begins(case, beginning), wanted, "{case} {beginning}");
        }
    }

    #[test]
    fn tables_are_put_between_the_lines() -> Result<()> {
        let text = format!("head\n{BEGIN}\nold\n\nolder\n{END}\ntail\n");
        let wanted = format!("head\n{BEGIN}\n\nnew\n\n{END}\ntail\n");
        assert_eq!(replace(&text, "new\n")?, wanted);
        // Again, it is the same.
        assert_eq!(replace(&wanted, "new\n")?, wanted);

        let (begin, end) = (format!("{BEGIN}\n"), format!("{END}\n"));
        for (text, said) in [
            (String::new(), format!("there is no line \"{BEGIN}\"")),
            (begin.clone(), format!("there is no line \"{END}\"")),
            (
                format!("{end}{begin}"),
                format!("\"{END}\" comes before \"{BEGIN}\""),
            ),
            (
                format!("{begin}{begin}{end}"),
                format!("there are several lines \"{BEGIN}\""),
            ),
        ] {
            let refused = replace(&text, "new\n").err().context("it is replaced")?;
            assert_eq!(refused.to_string(), said);
        }
        Ok(())
    }

    #[test]
    fn a_document_gets_the_tables_and_what_has_not_run_is_not_strict() -> Result<()> {
        let scratch = Scratch::new()?;
        let document = scratch.path().join("page.rst");
        let run_with = |is_strict| {
            run(&Options {
                results: scratch.path().join("none"),
                document: Some(document.clone()),
                is_strict,
            })
        };
        fs::write(&document, "Nothing is to be put here.\n")?;
        assert!(run_with(false).is_err());
        fs::write(&document, format!("{BEGIN}\n{END}\n"))?;
        assert!(run_with(false)?);
        assert!(!run_with(true)?);
        let text = fs::read_to_string(&document)?;
        for system in SYSTEMS {
            assert!(text.contains(system.title), "{text}");
        }
        Ok(())
    }
}
