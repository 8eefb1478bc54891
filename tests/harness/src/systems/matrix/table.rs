// SPDX-License-Identifier: GPL-2.0

//! Tables in reStructuredText.

use super::{Judgement, Outcome, System};
use crate::{report::Stamp, results::Results};
use std::collections::BTreeSet;

/// How wide a page is.
const WIDTH: usize = 107;

/// The heads of the columns. The last one has the room that is left.
const HEAD: [&str; COLUMNS] = [
    "what",
    "driver",
    "transport",
    "ring",
    "kernel",
    "verdict",
    "seconds",
];

const COLUMNS: usize = 7;
const LAST: usize = COLUMNS - 1;

/// Makes a table of each system, and says of what the results are.
pub fn text(systems: &[System], results: &Results) -> String {
    let mut text = String::new();
    let mut stamps = BTreeSet::new();
    let mut outcomes = Vec::new();
    for system in systems {
        let sentence = format!("*{}*: {}", system.title, system.sentence);
        text += &paragraph(&sentence);
        let mut rows = vec![HEAD.map(str::to_owned)];
        for row in system.rows {
            let judgement = Judgement::of(row.by, results);
            stamps.extend(judgement.stamp);
            outcomes.push(judgement.outcome);
            rows.push([
                row.to_string(),
                row.driver.to_string(),
                row.transport.to_string(),
                row.ring.to_string(),
                row.kernel.to_string(),
                judgement.outcome.to_string(),
                escape(&judgement.remark),
            ]);
        }
        text += &table(&rows);
        text += &figures(system, results);
    }
    text += &paragraph(&format!("{} {}", counts(&outcomes), sources(&stamps)));
    // What follows has its own empty line before it.
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Says how many rows there are, by what came out.
fn counts(outcomes: &[Outcome]) -> String {
    let of = |wanted: Outcome| outcomes.iter().filter(|found| **found == wanted).count();
    let counts = Outcome::ALL.map(|outcome| format!("{} {outcome}", of(outcome)));
    format!("Of {} rows: {}.", outcomes.len(), counts.join(", "))
}

/// Says of what the results are.
fn sources(stamps: &BTreeSet<&Stamp>) -> String {
    let each: Vec<_> = stamps
        .iter()
        .map(|stamp| format!("{} ({})", escape(&stamp.commit), stamp.day))
        .collect();
    match each.as_slice() {
        [] => "There is no result yet.".to_owned(),
        [one] => format!("All results are those of commit {one}."),
        several => format!("The results are those of commits {}.", several.join(", ")),
    }
}

/// Makes a paragraph.
fn paragraph(text: &str) -> String {
    wrap(text, WIDTH).join("\n") + "\n\n"
}

/// Shows what the tests of a system have found out, if that is anything.
fn figures(system: &System, results: &Results) -> String {
    let mut text = String::new();
    let mut shown = BTreeSet::new();
    for test in system.rows.iter().filter_map(|row| row.by.test()) {
        let Some(entry) = results.find(test).filter(|_| shown.insert(test)) else {
            continue;
        };
        let cases = entry.cases.iter().flat_map(|case| &case.said);
        let said: Vec<_> = cases.chain(&entry.said).collect();
        if said.is_empty() {
            continue;
        }
        text += &format!("    {test}\n");
        for line in said {
            let lines = wrap(line, WIDTH - 10);
            text += &format!("      {}\n", lines.join("\n          "));
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("What these tests have found out::\n\n{text}\n")
}

/// Makes a table. Its first row is the head; a line whose first column is empty goes on with the one
/// before it.
fn table(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(length(cell));
        }
    }
    let start: usize = widths[..LAST].iter().map(|width| width + 1).sum();
    let wrapped: Vec<_> = rows
        .iter()
        .map(|row| wrap(&row[LAST], WIDTH.saturating_sub(start).max(1)))
        .collect();
    let lengths = wrapped.iter().flatten().map(|line| length(line));
    widths[LAST] = lengths.max().unwrap_or_default();

    let border = widths.map(|width| "=".repeat(width)).join(" ") + "\n";
    let mut text = border.clone();
    for (index, (row, lines)) in rows.iter().zip(&wrapped).enumerate() {
        for (cell, width) in row.iter().zip(&widths).take(LAST) {
            text += &format!("{cell:<width$} ");
        }
        text += &lines.join(&format!("\n{}", " ".repeat(start)));
        text += "\n";
        if index == 0 {
            text += &border;
        }
    }
    text + &border + "\n"
}

/// Cuts a text into lines, between words. A word that is longer has a line of its own. There is always one
/// line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if length(line) + 1 + length(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Makes a text one of reStructuredText, in which it means nothing but itself.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        // At the end of a word, an underscore makes a link.
        let is_link = character == '_' && !rest.peek().is_some_and(char::is_ascii_alphanumeric);
        if is_link || matches!(character, '\\' | '*' | '`' | '|') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            By::{self, Cases, Lacking, Test, Unable},
            Ring, Row, SYSTEMS, Transport,
        },
        *,
    };
    use crate::{
        cx::Verdict::{self, Failed, Passed, Skipped},
        results::{Case, Entry},
    };
    use anyhow::Result;

    const MADE_UP: &[System] = &[
        System {
            title: "Frames",
            sentence: "they go.",
            rows: &[
                Row::net("passes", Test("a::passes")),
                Row::net("fails", Test("a::fails")).in_tree(),
                Row::net("is skipped", Test("a::skips")).ring(Ring::Packed),
                Row::net("has not run", Test("a::none")),
                Row::net("has good cases", Cases("a::cases", "good")),
                Row::net("has bad cases", Cases("a::cases", "bad/")),
                Row::net("has odd cases", Cases("a::cases", "odd")),
                Row::net("has no such case", Cases("a::passes", "good")),
                Row::net("fails before its case", Cases("a::fails", "good")),
            ],
        },
        System {
            title: "Disks",
            sentence: "they keep.",
            rows: &[
                Row::blk("cannot be", Unable("no *such* thing_")).on(Transport::Fdt),
                Row::both("is left out", Lacking("nobody has written one")).debug(),
            ],
        },
    ];

    const WANTED: &str = "\
*Frames*: they go.

========================== ======= ========= ====== ====== ======= =====================================
what                       driver  transport ring   kernel verdict seconds
========================== ======= ========= ====== ====== ======= =====================================
net: passes                ours    PCI       split  stock  passed  1.5
net: fails                 in-tree PCI       split  stock  FAILED  2.0
net: is skipped            ours    PCI       packed stock  skipped there are no tap interfaces here, and
                                                                   none can be made by anybody
net: has not run           ours    PCI       split  stock  not run no result
net: has good cases        ours    PCI       split  stock  passed  3.0
net: has bad cases         ours    PCI       split  stock  FAILED  3.0
net: has odd cases         ours    PCI       split  stock  skipped no odd one
net: has no such case      ours    PCI       split  stock  not run no case good
net: fails before its case ours    PCI       split  stock  FAILED  2.0
========================== ======= ========= ====== ====== ======= =====================================

What these tests have found out::

    a::cases
      5 of *6*

*Disks*: they keep.

================= ====== ========= ===== ====== ========== ======================
what              driver transport ring  kernel verdict    seconds
================= ====== ========= ===== ====== ========== ======================
blk: cannot be    ours   MMIO, FDT split stock  cannot run no \\*such\\* thing\\_
both: is left out ours   PCI       split debug  no test    nobody has written one
================= ====== ========= ===== ====== ========== ======================

Of 11 rows: 2 passed, 3 FAILED, 2 skipped, 2 not run, 1 cannot run, 1 no test. The results are those of
commits 0011223344ff-dirty (2026-01-01), 5566778899aa (2026-01-02).
";

    fn results() -> Result<Results> {
        let entry = |verdict: Verdict, seconds, day: &str, commit: &str| Entry {
            verdict,
            said: Vec::new(),
            seconds,
            cases: Vec::new(),
            stamp: Stamp {
                day: format!("2026-01-{day}"),
                commit: commit.to_owned(),
            },
        };
        let failed = || Failed("a reason".to_owned());
        let skipped = |why: &str| Skipped(why.to_owned());
        let mut results = Results::default();
        let (one, other) = ("5566778899aa", "0011223344ff-dirty");
        results.insert("a::passes", entry(Passed, 1.5, "02", one));
        results.insert("a::fails", entry(failed(), 2.0, "01", other));
        let why = "there are no tap interfaces here,\nand none can be made by anybody";
        results.insert("a::skips", entry(skipped(why), 0.1, "02", one));
        let cases = [
            ("good", Passed),
            ("good/one", Passed),
            ("goodness", failed()),
            ("bad/one", Passed),
            ("bad/two", failed()),
            ("bad/three", skipped("never")),
            ("odd/one", Passed),
            ("odd/two", skipped("no odd one")),
        ];
        let cases = cases.map(|(name, verdict)| Case {
            name: name.to_owned(),
            verdict,
            said: if name == "good/one" {
                vec!["5 of *6*".to_owned()]
            } else {
                Vec::new()
            },
        });
        results.insert(
            "a::cases",
            Entry {
                cases: cases.to_vec(),
                ..entry(failed(), 3.04, "02", one)
            },
        );
        // What no row names is in no line.
        results.insert("a::other", entry(Passed, 1.0, "03", "another"));
        // As a file has it.
        Results::parse(&results.text()?)
    }

    #[test]
    fn rows_tell_what_came_out() -> Result<()> {
        assert_eq!(text(MADE_UP, &results()?), WANTED);
        Ok(())
    }

    #[test]
    fn without_results_nothing_has_run() {
        let text = text(MADE_UP, &Results::default());
        assert_eq!(text.matches("not run no result").count(), 9);
        assert!(text.ends_with("There is no result yet.\n"), "{text}");
    }

    #[test]
    fn tables_fit_on_a_page_and_have_no_empty_cell() -> Result<()> {
        let mut results = Results::default();
        let why = "a host that has none of the things that are needed for this, wherever one looks";
        for row in SYSTEMS.iter().flat_map(|system| system.rows) {
            if let By::Test(test) | By::Cases(test, _) = row.by {
                results.insert(
                    test,
                    Entry {
                        verdict: Skipped(why.to_owned()),
                        said: Vec::new(),
                        seconds: 1.0,
                        cases: Vec::new(),
                        stamp: Stamp {
                            day: "2026-01-02".to_owned(),
                            commit: "0011223344ff".to_owned(),
                        },
                    },
                );
            }
        }
        let text = text(SYSTEMS, &results);
        for line in text.lines() {
            assert!(length(line) <= WIDTH, "too wide: {line}");
            assert!(
                line.trim_end() == line,
                "there is nothing at the end: {line}"
            );
        }
        for row in SYSTEMS.iter().flat_map(|system| system.rows) {
            assert!(!row.what.is_empty(), "{row:?}");
            let judgement = Judgement::of(row.by, &results);
            assert!(!judgement.remark.is_empty(), "{row:?}");
        }
        // A reason that is cut after each word is no joy to read.
        let borders = text.lines().filter(|line| line.starts_with("==="));
        for border in borders {
            let last = border.rsplit(' ').next().unwrap_or_default();
            assert!(last.len() >= 18, "little room is left: {border}");
        }
        Ok(())
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("no vdpa_sim_net here"), "no vdpa_sim_net here");
        assert_eq!(
            escape("`a` *b* c_ d_) |e| \\"),
            "\\`a\\` \\*b\\* c\\_ d\\_) \\|e\\| \\\\"
        );
    }
}
