// SPDX-License-Identifier: GPL-2.0

//! Reads the test results that a guest prints in the kernel's format, KTAP.
//!
//! The format is described in the kernel's `Documentation/dev-tools/ktap.rst`.

use anyhow::{Result, bail, ensure};

/// The result of a test that has no sub-tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name, after those of the tests that it is a part of, separated by dots.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// It did not run, for this reason.
    Skipped(String),
    /// It failed; these lines were printed until then.
    Failed(String),
}

/// A level of nesting: how many tests it announced, and how many results it has.
#[derive(Default)]
struct Level {
    indent: usize,
    plan: Option<usize>,
    results: usize,
    /// Where the cases of this level start in the list of all.
    first_case: usize,
    notes: String,
}

/// Reads KTAP out of a log, whose other lines are passed over.
///
/// # Errors
///
/// There are no results, or fewer or more than announced, or a suite tells another result than its
/// cases.
pub fn parse(log: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let mut levels: Vec<Level> = Vec::new();

    for line in log.lines() {
        let line = strip_time(line);
        let text = line.trim_start();
        let indent = line.len() - text.len();

        if text.starts_with("KTAP version ") || text.starts_with("TAP version ") {
            // The kernel may start a second document where the first has ended.
            levels.retain(|level| level.indent < indent);
            levels.push(Level {
                indent,
                first_case: cases.len(),
                ..Level::default()
            });
            continue;
        }
        let Some(depth) = levels.iter().rposition(|level| level.indent == indent) else {
            continue;
        };
        if let Some(plan) = text.strip_prefix("1..") {
            levels[depth].plan = plan.trim().parse().ok();
        } else if let Some((passed, rest)) = result(text) {
            let (name, directive) = split_directive(rest);
            let outcome = match directive {
                Some(reason) => Outcome::Skipped(reason),
                None if passed => Outcome::Passed,
                None => Outcome::Failed(std::mem::take(&mut levels[depth].notes)),
            };
            levels[depth].notes.clear();
            levels[depth].results += 1;
            if levels.len() > depth + 1 {
                let children = levels.split_off(depth + 1);
                close(&name, children, &mut cases, &outcome)?;
            } else {
                cases.push(Case { name, outcome });
            }
        } else if !text.is_empty() {
            levels[depth].notes.push_str(text);
            levels[depth].notes.push('\n');
        }
    }

    for level in &levels {
        check_plan("the tests", level)?;
    }
    ensure!(!cases.is_empty(), "there are no results of tests");
    Ok(cases)
}

/// Ends a suite: names its cases after it, and compares its result with theirs.
fn close(name: &str, levels: Vec<Level>, cases: &mut [Case], outcome: &Outcome) -> Result<()> {
    let mut failed = false;
    for level in levels {
        check_plan(name, &level)?;
        for case in &mut cases[level.first_case..] {
            case.name = format!("{name}.{}", case.name);
            failed |= matches!(case.outcome, Outcome::Failed(_));
        }
    }
    if failed != matches!(outcome, Outcome::Failed(_)) {
        bail!("suite {name} tells {outcome:?}, its cases do not");
    }
    Ok(())
}

fn check_plan(name: &str, level: &Level) -> Result<()> {
    if let Some(plan) = level.plan
        && plan != level.results
    {
        bail!(
            "{name}: {plan} results are announced, {} are told",
            level.results
        );
    }
    Ok(())
}

/// Reads "ok 1 name" or "not ok 1 name".
fn result(text: &str) -> Option<(bool, &str)> {
    let (passed, rest) = match text.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("ok ")?),
    };
    let rest = rest
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim_start();
    Some((passed, rest.trim_start_matches("- ")))
}

/// Splits "name # SKIP reason". What is expected to fail tells as little as what did not run.
fn split_directive(text: &str) -> (String, Option<String>) {
    let Some((name, directive)) = text.split_once('#') else {
        return (text.trim().to_owned(), None);
    };
    let directive = directive.trim_start();
    let reason = ["SKIP", "XFAIL"]
        .iter()
        .find_map(|word| directive.strip_prefix(word));
    let reason = reason.map(|reason| reason.trim().to_owned());
    (name.trim().to_owned(), reason)
}

fn strip_time(line: &str) -> &str {
    match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((stamp, rest)) if stamp.trim().starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[    5.100000] x: loaded
[    5.200000] KTAP version 1
[    5.200000] 1..1
[    5.200000]     KTAP version 1
[    5.200000]     # Subtest: suite
[    5.200000]     # module: m
[    5.200000]     1..4
[    5.200000]     ok 1 first
[    5.200000]     # second: EXPECTATION FAILED at x.rs:3
[    5.200000]     not ok 2 second
[    5.200000]     ok 3 third # SKIP no such thing
[    5.200000]     ok 4 fourth # XFAIL not yet
[    5.200000] # suite: pass:1 fail:1 skip:1 total:3
[    5.200000] not ok 1 suite
";

    #[test]
    fn nested_results_are_named_after_their_suite() {
        let cases = parse(LOG).expect("KTAP");

        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(
            names,
            ["suite.first", "suite.second", "suite.third", "suite.fourth"]
        );
        assert_eq!(cases[0].outcome, Outcome::Passed);
        assert!(
            matches!(&cases[1].outcome, Outcome::Failed(notes) if notes.contains("EXPECTATION"))
        );
        assert_eq!(
            cases[2].outcome,
            Outcome::Skipped("no such thing".to_owned())
        );
    }

    #[test]
    fn missing_results_are_an_error() {
        let cut: String = LOG
            .lines()
            .take(9)
            .map(|line| format!("{line}\n"))
            .collect();

        assert!(parse(&cut).is_err());
        assert!(parse("nothing here").is_err());
        assert!(parse(&LOG.replace("not ok 1 suite", "ok 1 suite")).is_err());
    }

    #[test]
    fn several_suites_follow_each_other() {
        let one = "KTAP version 1\n1..1\n    KTAP version 1\n    1..1\n    ok 1 a\nok 1 s\n";
        let two = one.replace(" a", " b").replace(" s", " t");
        let cases = parse(&format!("{one}{two}")).expect("KTAP");

        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["s.a", "t.b"]);
    }
}
