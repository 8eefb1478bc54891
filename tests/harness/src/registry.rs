// SPDX-License-Identifier: GPL-2.0

//! The list of all tests.

use crate::{backend, blk, block, cx::Test, foundation, gate, net, selftest, systems, virtio};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;

/// Returns every test. Those of group `selftest` fail on purpose.
pub fn all() -> impl Iterator<Item = Test> {
    foundation::TESTS
        .iter()
        .chain(virtio::TESTS)
        .chain(block::TESTS)
        .chain(blk::tests())
        .chain(net::tests())
        .chain(backend::TESTS)
        .chain(systems::TESTS)
        .chain(gate::TESTS)
        .chain(selftest::TESTS)
        .copied()
}

/// Which tests are asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Parts of their names; none means any.
    pub patterns: Vec<String>,
    /// Whether the exhaustive ones are among them.
    pub all: bool,
}

/// The tests that were asked for, and those that are left out, as they are exhaustive.
#[derive(Clone, Default)]
pub struct Found {
    /// The tests.
    pub tests: Vec<Test>,
    /// Those left out.
    pub left_out: Vec<Test>,
}

/// Returns the tests whose name contains one of the patterns, or all if there is none. Those that
/// fail on purpose must be asked for.
pub fn find(wanted: &Wanted) -> Result<Found> {
    let patterns = &wanted.patterns;
    let hidden = |test: &Test| test.name.starts_with("selftest::");
    let (left_out, tests): (Vec<_>, Vec<_>) = all()
        .filter(|test| {
            if patterns.is_empty() {
                return !hidden(test);
            }
            patterns.iter().any(|pattern| {
                test.name.contains(pattern.as_str())
                    && (!hidden(test) || pattern.starts_with("selftest"))
            })
        })
        .partition(|test| test.exhaustive && !wanted.all);
    let names = patterns.join(" or ");
    ensure!(
        !tests.is_empty() || !left_out.is_empty(),
        "no test is called {names}; make test-all LIST=1 lists them"
    );
    ensure!(
        !tests.is_empty(),
        "what is called {names} is long: make test-all runs it"
    );
    Ok(Found { tests, left_out })
}

/// Returns the kernels whose modules the tests load.
pub fn kernels(tests: &[Test]) -> BTreeSet<&'static str> {
    tests
        .iter()
        .flat_map(|test| test.kernels)
        .copied()
        .collect()
}

/// Returns the kernels that the tests boot or build for, beside those.
pub fn trees(tests: &[Test]) -> BTreeSet<&'static str> {
    tests.iter().flat_map(|test| test.trees).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_have_a_group() {
        let names: Vec<_> = all().map(|test| test.name).collect();
        let unique: BTreeSet<_> = names.iter().collect();

        assert_eq!(unique.len(), names.len());
        assert!(names.iter().all(|name| name.contains("::")));
    }

    #[test]
    fn patterns_select() {
        let found = |pattern: &str, all| {
            let patterns = pattern.split_whitespace().map(str::to_owned).collect();
            find(&Wanted { patterns, all })
        };
        let of_foundation = found("foundation", false).expect("tests").tests;
        assert!(
            of_foundation
                .iter()
                .all(|test| test.name.starts_with("foundation::"))
        );
        assert!(found("no-such-test", true).is_err());
        assert!(
            found("", true)
                .expect("tests")
                .tests
                .iter()
                .all(|test| !test.name.starts_with("selftest"))
        );
    }

    #[test]
    fn exhaustive_tests_must_be_wanted() {
        let count = |names: &[&str], all| {
            let patterns = names
                .iter()
                .map(|name| format!("selftest::{name}"))
                .collect();
            let found = find(&Wanted { patterns, all });
            found
                .map(|found| (found.tests.len(), found.left_out.len()))
                .ok()
        };
        assert_eq!(count(&["passes", "is_long"], false), Some((1, 1)));
        assert_eq!(count(&["passes", "is_long"], true), Some((2, 0)));
        assert_eq!(count(&["is_long"], false), None);
    }
}
