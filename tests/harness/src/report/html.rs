// SPDX-License-Identifier: GPL-2.0

//! A page, which needs nothing but itself.

use super::{Group, Outcome, Part, Work, again, bars, forest, latency, mean, svg::escape};
use crate::race::statistics::Verdict;

const STYLE: &str = include_str!("page.css");

const TITLE: &str = "rust-virtio, compared";

/// What is what in the picture of ratios.
const KEY: &str = "<p class=\"key\">Dot: ratio of the medians. Whisker: 95 % interval. Tick: ratio of the \
                   best legs. Diamond: geometric mean. Coloured: told apart from 1.</p>\n";

/// How the pictures and tables are to be read.
const READING: &[(&str, &str)] = &[
    (
        "Dot: median",
        "The ratio of the medians of all legs that count, ours to the other: above 1, ours is faster. The \
         legs of both sides take turns, in one guest, in the order A B B A, after one of each to warm up.",
    ),
    (
        "Whisker: 95 %",
        "Where that ratio is in 95 of 100 cases, when legs are drawn by chance. Faster and slower are said, \
         and coloured, only if it does not contain 1. An arrow goes on beyond the scale, which is \
         logarithmic: twice as fast is as far from 1 as half as fast.",
    ),
    (
        "Tick: best",
        "The ratio of the best legs. What else the host does makes a leg slower, never faster: so the best \
         are nearest to what either side can do.",
    ),
    (
        "Control",
        "One side against itself. What that is away from 1 is noise; it is in no mean.",
    ),
    (
        "How long",
        "Which part of the operations was done in what time: a curve that is further to the left is faster. \
         All legs of a side are put together.",
    ),
    (
        "Diamond: geometric mean",
        "Of the ratios of the medians. Of things that differ much, look at each.",
    ),
    (
        "Instructions",
        "What the guest's kernel executes for one piece of work, which is the same each time: below 1, ours \
         takes fewer. They are not all that takes time.",
    ),
];

/// Makes the page of some files.
pub fn page(parts: &[Part]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{TITLE}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{TITLE}</h1>\n\
         <p class=\"lead\">Linux guest drivers and devices in Rust, against those that were there \
         before.</p>\n"
    );
    page += &tiles(parts);
    parts.iter().for_each(|part| page += &speeds(part));
    page += &repeated(parts);
    parts.iter().for_each(|part| page += &latencies(part));
    let costs: String = parts.iter().map(costs).collect();
    if !costs.is_empty() {
        page += &format!("<h2>What it costs</h2>\n{costs}");
    }
    page += &reading();
    page += &provenance(parts);
    page + "</main>\n</body>\n</html>\n"
}

/// Says the means.
fn tiles(parts: &[Part]) -> String {
    let raced: Vec<_> = parts
        .iter()
        .filter(|part| !part.document.outcomes.is_empty())
        .collect();
    let mut all = String::new();
    for part in &raced {
        all += &speed_tiles(part, raced.len() > 1);
    }
    let works: String = parts.iter().flat_map(Part::works).map(cost_tile).collect();
    if !works.is_empty() {
        all += &format!(
            "<p class=\"tiles-title\"><b>Instructions</b>, geometric mean: below 1, ours takes \
             fewer</p>\n<div class=\"tiles\">\n{works}</div>\n"
        );
    }
    all
}

/// Says the means of a file, which is named if it is not the only one.
fn speed_tiles(part: &Part, is_named: bool) -> String {
    let Some(mean) = mean(part.document.outcomes.iter()) else {
        return String::new();
    };
    let name = if is_named {
        format!(" in {}", escape(&part.file))
    } else {
        String::new()
    };
    let mut groups = part.groups();
    groups.retain(|group| !group.is_control());
    let mut tiles = String::new();
    if groups.len() > 1 {
        let outcomes = groups.iter().flat_map(|group| &group.outcomes);
        tiles += &tile("all", &two(mean), &verdicts(outcomes.copied()));
    }
    for group in &groups {
        let value = group.mean().map_or_else(String::new, two);
        let note = verdicts(group.outcomes.iter().copied());
        tiles += &tile(group.name, &value, &note);
    }
    format!(
        "<p class=\"tiles-title\"><b>Speed</b>{name}, geometric mean: above 1, ours is faster</p>\n\
         <div class=\"tiles\">\n{tiles}</div>\n"
    )
}

fn cost_tile(work: Work<'_>) -> String {
    let [whole, driver] =
        [work.whole(), work.driver()].map(|mean| mean.map_or_else(String::new, two));
    tile(work.name, &whole, &format!("the driver's part: {driver}"))
}

fn two(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn tile(name: &str, value: &str, note: &str) -> String {
    format!(
        "<div class=\"tile\"><div class=\"name\">{}</div><div class=\"value\">{value}</div>\
         <div class=\"note\">{}</div></div>\n",
        escape(name),
        escape(note)
    )
}

/// Counts what followed.
fn verdicts<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let verdicts: Vec<_> = outcomes
        .map(|outcome| outcome.comparison.verdict())
        .collect();
    let count = |wanted| {
        verdicts
            .iter()
            .filter(|verdict| **verdict == wanted)
            .count()
    };
    format!(
        "of {}: {} faster, {} slower",
        verdicts.len(),
        count(Verdict::Faster),
        count(Verdict::Slower)
    )
}

/// Shows what was reached against the clock.
fn speeds(part: &Part) -> String {
    let groups = part.groups();
    if groups.is_empty() {
        return String::new();
    }
    let rows: String = groups
        .iter()
        .flat_map(|group| &group.outcomes)
        .map(|outcome| speed(outcome))
        .collect();
    format!(
        "<h2>How fast</h2>\n<p class=\"place\">{}</p>\n<div class=\"card\">\n{}{KEY}</div>\n\
         <div class=\"card scroll\">\n<table>\n<thead><tr><th>scenario</th><th class=\"text\">other</th>\
         <th>theirs</th><th>ours</th><th class=\"text\">unit</th><th>best</th><th>median</th><th>95 %</th>\
         <th>rounds</th><th class=\"text\">verdict</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         </div>\n",
        escape(&part.place()),
        forest::draw(&groups)
    )
}

/// Returns a row of the table of scenarios.
fn speed(outcome: &Outcome) -> String {
    let comparison = &outcome.comparison;
    let (low, high) = comparison.interval;
    let class = forest::class(outcome);
    format!(
        "<tr class=\"{class}\"><td>{}</td><td class=\"text\">{}</td><td>{:.1}</td><td>{:.1}</td>\
         <td class=\"text\">{}</td><td>{:.2}</td><td>{:.2}</td><td>{low:.2}..{high:.2}</td><td>{}</td>\
         <td class=\"text\"><span class=\"pill {class}\">{}</span></td></tr>\n",
        escape(&outcome.name),
        escape(&outcome.other),
        comparison.theirs.median(),
        comparison.ours.median(),
        escape(&outcome.unit),
        comparison.best,
        comparison.median,
        outcome.rounds,
        comparison.verdict().text()
    )
}

/// Shows what came out of what was run twice.
fn repeated(parts: &[Part]) -> String {
    let pairs = again::pairs(parts);
    if pairs.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for pair in &pairs {
        rows += &format!("<tr><td>{}</td>", escape(&pair.first.name));
        for outcome in [pair.first, pair.second] {
            let (low, high) = outcome.comparison.interval;
            rows += &format!(
                "<td>{:.2}</td><td>{low:.2}..{high:.2}</td>",
                outcome.comparison.median
            );
        }
        let (class, word) = if pair.agrees() {
            ("alike", "overlap")
        } else {
            ("slower", "apart")
        };
        rows +=
            &format!("<td class=\"text\"><span class=\"pill {class}\">{word}</span></td></tr>\n");
    }
    format!(
        "<h2>Run again</h2>\n<p>{}</p>\n<details class=\"card scroll\"><summary>The figures</summary>\n\
         <table>\n<thead><tr><th>scenario</th><th>median</th><th>95 %</th><th>again</th><th>95 %</th>\
         <th class=\"text\">intervals</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</details>\n",
        again::summary(&pairs)
    )
}

/// Shows how long operations take, in the scenarios that tell it.
fn latencies(part: &Part) -> String {
    let (mut pictures, mut rows) = (String::new(), String::new());
    for outcome in &part.document.outcomes {
        let Some((picture, latencies)) = latency::draw(outcome).zip(outcome.latencies.as_ref())
        else {
            continue;
        };
        let name = escape(&outcome.name);
        pictures += &format!("<div class=\"card\">\n<h3>{name}</h3>\n{picture}</div>\n");
        rows += &format!("<tr><td>{name}</td>");
        for mark in latency::MARKS {
            if let Some((theirs, ours)) = latency::at(latencies, mark) {
                rows += &format!("<td>{theirs:.0}</td><td>{ours:.0}</td>");
            }
        }
        rows += "</tr>\n";
    }
    if pictures.is_empty() {
        return pictures;
    }
    let heads: String = latency::MARKS
        .iter()
        .map(|mark| format!("<th>{}</th><th>ours</th>", latency::name(*mark)))
        .collect();
    format!(
        "<h2>How long</h2>\n<p class=\"place\">{}</p>\n{pictures}<div class=\"card scroll\">\n\
         <table>\n<thead><tr><th>microseconds</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table>\n</div>\n",
        escape(&part.place())
    )
}

/// Shows what work costs.
fn costs(part: &Part) -> String {
    let show = |work: &Work<'_>| {
        format!(
            "<h3>Instructions: {}</h3>\n<p class=\"place\">{}</p>\n\
             <div class=\"card\">\n{}</div>\n<div class=\"card scroll\">\n{}</div>\n",
            escape(work.name),
            escape(&part.place()),
            bars::draw(work),
            cost_table(work)
        )
    };
    part.works().iter().map(show).collect()
}

fn cost_table(work: &Work<'_>) -> String {
    let has_traffic = work.rows.iter().any(|row| row.theirs.traffic.is_some());
    let side = |name: &str| {
        let traffic = if has_traffic {
            "<th>kicks</th><th>irqs</th>"
        } else {
            ""
        };
        format!("<th>{name}</th><th>driver</th>{traffic}")
    };
    let mut rows = String::new();
    for row in &work.rows {
        rows += &format!("<tr><td>{}</td>", escape(&row.name));
        for spent in [&row.theirs, &row.ours] {
            rows += &format!("<td>{:.1}</td><td>{:.1}</td>", spent.whole, spent.driver);
            if has_traffic {
                let (kicks, interrupts) = spent.traffic.unwrap_or_default();
                rows += &format!("<td>{kicks:.4}</td><td>{interrupts:.4}</td>");
            }
        }
        for ratio in [row.whole(), row.driver()] {
            rows += &format!("<td class=\"{}\">{ratio:.3}</td>", bars::class(ratio));
        }
        rows += "</tr>\n";
    }
    let other = work.rows.first().map_or("theirs", |row| row.other.as_str());
    format!(
        "<table>\n<thead><tr><th>{}</th>{}{}<th>whole</th><th>driver</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n",
        escape(work.name),
        side(&escape(other)),
        side("ours")
    )
}

fn reading() -> String {
    let terms: String = READING
        .iter()
        .map(|(term, text)| format!("<dt>{term}</dt><dd>{text}</dd>\n"))
        .collect();
    format!("<h2>How to read it</h2>\n<dl>\n{terms}</dl>\n")
}

/// Says where it was measured, and which features were negotiated.
fn provenance(parts: &[Part]) -> String {
    let heads: String = parts
        .iter()
        .map(|part| format!("<th>{}</th>", escape(&part.file)))
        .collect();
    let mut rows = String::new();
    let names = parts.first().map(|part| part.document.about.facts());
    for (index, (name, _)) in names.into_iter().flatten().enumerate() {
        rows += &format!("<tr><td>{name}</td>");
        for part in parts {
            let facts = part.document.about.facts();
            let fact = facts.get(index).map_or("", |(_, fact)| fact.as_str());
            rows += &format!("<td>{}</td>", escape(fact));
        }
        rows += "</tr>\n";
    }
    rows += "<tr><td>features</td>";
    for part in parts {
        rows += &format!("<td>{}</td>", features(&part.groups()));
    }
    format!(
        "<h2>Where it was measured</h2>\n<div class=\"card scroll\">\n<table class=\"facts\">\n\
         <thead><tr><th></th>{heads}</tr></thead>\n<tbody>\n{rows}</tr>\n</tbody>\n</table>\n</div>\n"
    )
}

/// Says which features the drivers of each kind of scenario have negotiated: the same ones.
fn features(groups: &[Group<'_>]) -> String {
    let features: Vec<_> = groups
        .iter()
        .filter(|group| !group.is_control())
        .filter_map(|group| {
            let found = group
                .outcomes
                .iter()
                .find_map(|one| one.features.as_ref())?;
            Some(format!("{}: {}", escape(group.name), escape(&found.ours)))
        })
        .collect();
    features.join("<br>")
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn each_scenario_has_a_row_in_the_picture_and_in_the_table() -> anyhow::Result<()> {
        let page = page(&[samples::part()?]);
        for class in ["faster", "alike", "control"] {
            let wanted = samples::outcomes()?
                .iter()
                .filter(|outcome| forest::class(outcome) == class)
                .count();
            for row in [
                format!("<tr class=\"{class}\">"),
                format!("<g class=\"row {class}\">"),
            ] {
                assert_eq!(page.matches(&row).count(), wanted, "{row}");
            }
        }
        // Two kinds of work, and one scenario with latencies.
        assert_eq!(page.matches("<h3>").count(), 3);
        Ok(())
    }

    #[test]
    fn it_needs_nothing_but_itself() -> anyhow::Result<()> {
        let page = page(&[samples::part()?]);
        for other in ["http", "<script", "url(", "@import", "src=", "href"] {
            assert!(!page.contains(other), "{other}");
        }
        Ok(())
    }

    #[test]
    fn what_comes_from_files_is_escaped() -> anyhow::Result<()> {
        let page = page(&[samples::part()?]);
        assert!(page.contains("disk &lt;three&gt; | &quot;four&quot; &amp; five"));
        assert!(!page.contains("<three>") && !page.contains("<Debian>"));
        Ok(())
    }

    #[test]
    fn each_part_of_it_ends() -> anyhow::Result<()> {
        let page = page(&[samples::part()?, samples::part()?]);
        for part in [
            "div", "table", "tr", "td", "th", "svg", "g", "text", "p", "h2", "span",
        ] {
            let begins = page.matches(&format!("<{part} ")).count()
                + page.matches(&format!("<{part}>")).count();
            assert_eq!(
                page.matches(&format!("</{part}>")).count(),
                begins,
                "{part}"
            );
        }
        Ok(())
    }
}
