// SPDX-License-Identifier: GPL-2.0

//! The list of all tests.

use crate::{backend, blk, block, cx::Test, foundation, selftest, virtio};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;

/// Returns every test. Those of group `selftest` fail on purpose.
pub fn all() -> impl Iterator<Item = Test> {
    foundation::TESTS
        .iter()
        .chain(virtio::TESTS)
        .chain(block::TESTS)
        .chain(blk::TESTS)
        .chain(backend::TESTS)
        .chain(selftest::TESTS)
        .copied()
}

/// Returns the tests whose name contains one of `patterns`, or all if there is none. Those that
/// fail on purpose must be asked for.
pub fn matching(patterns: &[String]) -> Result<Vec<Test>> {
    let hidden = |test: &Test| test.name.starts_with("selftest::");
    let found: Vec<_> = all()
        .filter(|test| {
            if patterns.is_empty() {
                return !hidden(test);
            }
            patterns.iter().any(|pattern| {
                test.name.contains(pattern.as_str())
                    && (!hidden(test) || pattern.starts_with("selftest"))
            })
        })
        .collect();
    ensure!(
        !found.is_empty(),
        "no test is called {}; make test LIST=1 lists them",
        patterns.join(" or ")
    );
    Ok(found)
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
        let found = matching(&["foundation".to_owned()]).expect("tests");
        assert!(
            found
                .iter()
                .all(|test| test.name.starts_with("foundation::"))
        );
        assert!(matching(&["no such test".to_owned()]).is_err());
        assert!(
            matching(&[])
                .expect("tests")
                .iter()
                .all(|test| !test.name.starts_with("selftest"))
        );
    }
}
