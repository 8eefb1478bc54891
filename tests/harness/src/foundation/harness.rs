// SPDX-License-Identifier: GPL-2.0

//! The harness tells failures: it runs tests that fail on purpose, and reads its own report.

use crate::{cx::Cx, results::Results};
use anyhow::{Context, Result, ensure};
use std::{env, fs, path::PathBuf, process::Command};

/// What a run of the harness printed, whether it succeeded, and where it left artefacts.
struct Report {
    text: String,
    success: bool,
    artefacts: PathBuf,
    results: PathBuf,
}

fn run(cx: &Cx, patterns: &[&str]) -> Result<Report> {
    let artefacts = cx.artefacts().join("inner");
    // What fails on purpose is not for the results of the tests.
    let results = cx.artefacts().join("results.json");
    let output = Command::new(env::current_exe()?)
        .arg("run")
        .arg("--artefacts")
        .arg(&artefacts)
        .arg("--results")
        .arg(&results)
        .args(patterns)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(Report {
        text,
        success: output.status.success(),
        artefacts,
        results,
    })
}

impl Report {
    fn has(&self, parts: &[&str]) -> Result<()> {
        for part in parts {
            ensure!(
                self.text.contains(part),
                "{part:?} is missing in\n{}",
                self.text
            );
        }
        Ok(())
    }
}

/// Passed, failed, skipped, panicked, died; in cases and as a whole.
pub fn tells_verdicts(cx: &mut Cx) -> Result<()> {
    let report = run(
        cx,
        &[
            "selftest::passes",
            "selftest::fails",
            "selftest::panics",
            "selftest::dies",
            "selftest::skips",
            "selftest::has_cases",
        ],
    )?;
    report.has(&[
        "ok      selftest::passes\n",
        "FAILED  selftest::fails\n        this is the reason\n",
        "FAILED  selftest::panics\n        it panics: this is the panic\n",
        "FAILED  selftest::dies\n        its process ends with signal: 6",
        "skipped selftest::skips: this is the reason\n",
        "ok      selftest::has_cases/good\n        5 of 6\n",
        "FAILED  selftest::has_cases/bad\n        the reason of a case\n",
        "skipped selftest::has_cases/unable: no such thing\n",
        "FAILED  selftest::has_cases\n        1 of its cases failed\n",
        "\n2 passed, 5 failed, 2 skipped\n",
    ])?;
    ensure!(!report.success, "a run with failures succeeds");
    ensure!(
        report.artefacts.join("selftest.fails/log").exists(),
        "a failed test leaves nothing"
    );
    ensure!(
        !report.artefacts.join("selftest.passes").exists(),
        "a passed test leaves something"
    );

    let kept_of = |name: &str| {
        let kept = Results::read(&report.results)?.find(name).cloned();
        kept.with_context(|| format!("nothing of {name} is kept"))
    };
    for (name, verdict, cases) in [
        ("selftest::passes", "passed", 0),
        ("selftest::dies", "failed", 0),
        ("selftest::skips", "skipped", 0),
        ("selftest::has_cases", "failed", 3),
    ] {
        let kept = kept_of(name)?;
        ensure!(
            kept.verdict.words().0 == verdict && kept.cases.len() == cases,
            "what is kept of {name} is {kept:?}"
        );
    }

    let said: Vec<_> = kept_of("selftest::has_cases")?
        .cases
        .into_iter()
        .map(|case| case.said)
        .collect();
    ensure!(said == [vec!["5 of 6"], vec![], vec![]], "{said:?} is kept");

    let report = run(cx, &["selftest::passes"])?;
    // It adds to what is kept.
    kept_of("selftest::fails")?;
    report.has(&["\n1 passed, 0 failed, 0 skipped\n"])?;
    ensure!(report.success, "a run without failures fails");
    ensure!(
        !report.text.contains("left out"),
        "nothing is left out: {}",
        report.text
    );
    Ok(())
}

/// Long tests are left out, which is said, and run with all.
pub fn leaves_long_tests_out(cx: &mut Cx) -> Result<()> {
    let report = run(cx, &["selftest::passes", "selftest::is_long"])?;
    report.has(&[
        "make test-all runs them:\n    selftest::is_long\n",
        "\n1 passed, 0 failed, 0 skipped\n",
    ])?;
    let report = run(cx, &["--all", "selftest::passes", "selftest::is_long"])?;
    report.has(&[
        "ok      selftest::is_long\n",
        "\nran for 0 min ",
        "\n2 passed, 0 failed, 0 skipped\n",
    ])
}

/// Processes, interfaces, name spaces.
pub fn finds_leftovers(cx: &mut Cx) -> Result<()> {
    let report = run(cx, &["selftest::leaves"])?;
    report.has(&[
        "sleep 1000",
        "left over: process ",
        "left over: network interface left0\n",
        "left over: network name space left\n",
        "\n0 passed, 3 failed, 0 skipped\n",
    ])
}

/// In the test itself, in a command of the guest, in its kernel.
pub fn looks_into_a_hang(cx: &mut Cx) -> Result<()> {
    let report = run(cx, &["selftest::hangs"])?;
    report.has(&[
        "it hangs: it has not ended within its limit of 2 s",
        "it hangs: it has not ended within its limit of 20 s",
        "\n0 passed, 3 failed, 0 skipped\n",
    ])?;
    for (test, log_has) in [
        // The kernel answers with what sleeps and what runs.
        (
            "selftest.hangs_in_a_command",
            "sysrq: Show backtrace of all active CPUs",
        ),
        // No CPU takes interrupts: the backtrace is that of an NMI.
        ("selftest.hangs_in_the_kernel", "? die+0x"),
    ] {
        let state = fs::read_to_string(report.artefacts.join(test).join("guest.hang.txt"))?;
        ensure!(state.contains("\"status\": \"running\""), "{test}: {state}");
        ensure!(state.contains("RIP="), "{test} has no registers: {state}");
        let log = fs::read_to_string(report.artefacts.join(test).join("guest.serial.log"))?;
        ensure!(log.contains(log_has), "{test} has no {log_has:?}: {log}");
    }
    Ok(())
}

/// A boot that was repeated is told, and its log is kept, although the test passes.
pub fn tells_repeated_boots(cx: &mut Cx) -> Result<()> {
    let report = run(cx, &["selftest::boots_twice"])?;
    report.has(&[
        "ok      selftest::boots_twice\n        a guest was booted again, see ",
        "booted again: 1 of selftest::boots_twice\nboots repeated: 1\n",
        "\n1 passed, 0 failed, 0 skipped\n",
    ])?;
    let left = report.artefacts.join("selftest.boots_twice");
    ensure!(
        left.join("guest.stalled.log").exists() && !left.join("guest.serial.log").exists(),
        "the log of the first boot is not what is left"
    );
    Ok(())
}

/// A complaint that no test expects fails the test in which it comes.
pub fn fails_on_complaints(cx: &mut Cx) -> Result<()> {
    let report = run(cx, &["selftest::ignores"])?;
    report.has(&[
        "the kernel of guest complains: WARN: WARNING: ",
        "the kernel of guest complains: kmemleak: unreferenced object",
        "\n0 passed, 2 failed, 0 skipped\n",
    ])
}
