// SPDX-License-Identifier: GPL-2.0

//! Tables in Markdown, to be pasted where people talk.

use super::{Outcome, Part, Work, again, latency, mean};

/// Makes the tables of some files.
pub fn table(parts: &[Part]) -> String {
    let mut text = "# rust-virtio, compared\n".to_owned();
    for part in parts {
        text += &speeds(part);
        text += &latencies(part);
        for work in &part.works() {
            text += &costs(part, work);
        }
    }
    text += &repeated(parts);
    text += "\nWhere it was measured:\n";
    for part in parts {
        text += &format!("\n* {}\n", escape(&part.file));
        for (name, fact) in part.document.about.facts() {
            text += &format!("  * {name}: {}\n", escape(&fact));
        }
    }
    text
}

fn speeds(part: &Part) -> String {
    let groups = part.groups();
    if groups.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n## How fast\n\n{}. Above 1, ours is faster; a verdict is said only if the interval does not \
         contain 1.\n\n\
         | scenario | other | theirs | ours | unit | best | median | 95 % | verdict |\n\
         |:--|:--|--:|--:|:--|--:|--:|--:|:--|\n",
        escape(&part.place())
    );
    for outcome in groups.iter().flat_map(|group| &group.outcomes) {
        text += &speed(outcome);
    }
    let mut means: Vec<_> = groups
        .iter()
        .filter_map(|group| Some(format!("{} {:.2}", escape(group.name), group.mean()?)))
        .collect();
    if let Some(mean) = mean(part.document.outcomes.iter()) {
        means.push(format!("**all {mean:.2}**"));
    }
    if means.is_empty() {
        return text;
    }
    text + &format!(
        "\nGeometric mean of the medians, without controls: {}.\n",
        means.join(", ")
    )
}

fn speed(outcome: &Outcome) -> String {
    let comparison = &outcome.comparison;
    let (low, high) = comparison.interval;
    format!(
        "| {} | {} | {:.1} | {:.1} | {} | {:.2} | {:.2} | {low:.2}..{high:.2} | {} |\n",
        escape(&outcome.name),
        escape(&outcome.other),
        comparison.theirs.median(),
        comparison.ours.median(),
        escape(&outcome.unit),
        comparison.best,
        comparison.median,
        comparison.verdict().text()
    )
}

/// Says how long operations take.
fn latencies(part: &Part) -> String {
    let mut rows = String::new();
    for outcome in &part.document.outcomes {
        let Some(latencies) = &outcome.latencies else {
            continue;
        };
        rows += &format!("| {} |", escape(&outcome.name));
        for mark in latency::MARKS {
            if let Some((theirs, ours)) = latency::at(latencies, mark) {
                rows += &format!(" {theirs:.0} | {ours:.0} |");
            }
        }
        rows += "\n";
    }
    if rows.is_empty() {
        return rows;
    }
    let (mut head, mut rule) = (String::new(), String::new());
    for mark in latency::MARKS {
        head += &format!(" {} | ours |", latency::name(mark));
        rule += "--:|--:|";
    }
    format!(
        "\n## How long\n\nMicroseconds in which so many operations are done, with the other and with \
         ours.\n\n| scenario |{head}\n|:--|{rule}\n{rows}"
    )
}

/// Says what came out of what was run twice.
fn repeated(parts: &[Part]) -> String {
    let pairs = again::pairs(parts);
    if pairs.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n## Run again\n\n{}\n\n| scenario | median | 95 % | again | 95 % | |\n\
         |:--|--:|--:|--:|--:|:--|\n",
        again::summary(&pairs)
    );
    for pair in &pairs {
        text += &format!("| {} |", escape(&pair.first.name));
        for outcome in [pair.first, pair.second] {
            let (low, high) = outcome.comparison.interval;
            text += &format!(" {:.2} | {low:.2}..{high:.2} |", outcome.comparison.median);
        }
        text += if pair.agrees() {
            " overlap |\n"
        } else {
            " **apart** |\n"
        };
    }
    text
}

fn costs(part: &Part, work: &Work<'_>) -> String {
    let mut text = format!(
        "\n## Instructions: {}\n\n{}. Below 1, ours takes fewer.\n\n\
         | {0} | theirs | driver | ours | driver | whole | driver |\n\
         |:--|--:|--:|--:|--:|--:|--:|\n",
        escape(work.name),
        escape(&part.place())
    );
    for row in &work.rows {
        text += &format!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.3} | {:.3} |\n",
            escape(&row.name),
            row.theirs.whole,
            row.theirs.driver,
            row.ours.whole,
            row.ours.driver,
            row.whole(),
            row.driver()
        );
    }
    match work.whole().zip(work.driver()) {
        Some((whole, driver)) => {
            text + &format!("\nGeometric mean: **{whole:.3}**, of the driver's part {driver:.3}.\n")
        }
        None => text,
    }
}

/// Makes a text one of Markdown, in a cell of a table.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn each_scenario_is_a_line() -> anyhow::Result<()> {
        let text = table(&[samples::part()?, samples::part()?]);
        assert!(text.contains("| nic tcp in | in-tree | 101.5 | 203.0 | IO/s | 2.00 | 2.00 |"));
        assert!(text.contains("| disk &lt;three> \\| \"four\" &amp; five | in-tree |"));
        assert!(text.contains("disk 1.22, nic 2.00, **all 1.44**."));
        assert!(text.contains("| nic tcp in | 100 | 80 | 200 | 210 | 200 | 210 | 900 | 450 |"));
        assert!(text.contains("| nic tcp in | 2.00 | 1.9"));
        assert!(text.contains("the intervals of 4 overlap"));
        assert!(text.contains("| small | 1000.0 | 400.0 | 500.0 | 300.0 | 0.500 | 0.750 |"));
        assert!(text.contains("Geometric mean: **1.000**, of the driver's part 0.750."));
        Ok(())
    }
}
