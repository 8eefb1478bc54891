// SPDX-License-Identifier: GPL-2.0

//! A picture of ratios: for each scenario, where it is likely to be, to the left or to the right of 1.

use super::{
    Group, Outcome,
    svg::{Anchor, Place, Svg},
};
use crate::race::statistics::Verdict;

/// From the left: names, the picture, figures.
const WIDTH: f64 = 940.0;
const NAMES: f64 = 12.0;
const LEFT: f64 = 290.0;
const RIGHT: f64 = 744.0;
const MEDIANS: f64 = 830.0;
const INTERVALS: f64 = 928.0;

/// From the top: the scale, and then rows.
const HEAD: f64 = 46.0;
const ROW: f64 = 26.0;
/// What is free above a group.
const GAP: f64 = 14.0;

/// How far the scale goes: at least, and at most. What is further away is an arrow.
const LEAST: (f64, f64) = (0.9, 1.11);
const MOST: (f64, f64) = (0.4, 2.5);

/// How far the ends of the scale are from what is in it.
const MARGIN: f64 = 1.02;

/// What may be between two marks of the scale, and how far these are from each other at least.
const STEPS: [f64; 5] = [0.02, 0.05, 0.1, 0.2, 0.5];
const MARKS: f64 = 38.0;

/// Draws the scenarios of a file.
pub fn draw(groups: &[Group<'_>]) -> String {
    let outcomes: Vec<_> = groups
        .iter()
        .flat_map(|group| group.outcomes.iter().copied())
        .collect();
    let scale = Scale::of(&outcomes);

    let mut svg = Svg::new(WIDTH);
    let bottom = HEAD
        + groups
            .iter()
            .map(|group| GAP + ROW + rows(group.outcomes.len()))
            .sum::<f64>();
    draw_scale(&mut svg, &scale, bottom);
    let mut top = HEAD;
    for group in groups {
        top += GAP;
        draw_group(&mut svg, &scale, group, top);
        top += ROW;
        for outcome in &group.outcomes {
            draw_row(&mut svg, &scale, outcome, top);
            top += ROW;
        }
    }
    svg.finish(
        bottom + 10.0,
        "The ratio of the medians in each scenario, with its interval; the table has the figures",
    )
}

/// Returns how high some rows are.
fn rows(count: usize) -> f64 {
    (0..count).map(|_| ROW).sum()
}

/// Which ratios are where. Twice as fast is as far from 1 as half as fast.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(outcomes: &[&Outcome]) -> Self {
        let (mut low, mut high) = LEAST;
        for comparison in outcomes.iter().map(|outcome| &outcome.comparison) {
            let (from, to) = comparison.interval;
            for ratio in [from, to, comparison.median, comparison.best] {
                low = low.min(ratio / MARGIN);
                high = high.max(ratio * MARGIN);
            }
        }
        Self {
            low: low.max(MOST.0),
            high: high.min(MOST.1),
        }
    }

    /// Returns where a ratio is; one that is too far away is at the end.
    fn x(&self, ratio: f64) -> f64 {
        let ratio = ratio.clamp(self.low, self.high);
        LEFT + (RIGHT - LEFT) * (ratio / self.low).ln() / (self.high / self.low).ln()
    }

    /// Returns the marks.
    fn marks(&self) -> Vec<f64> {
        let marks = |step: f64| {
            let first = (self.low / step).ceil();
            // Added up, steps would not be 1 any more when they come there.
            let mut marks = vec![];
            let mut number = first;
            while number * step <= self.high {
                marks.push(number * step);
                number += 1.0;
            }
            marks
        };
        let fits = |marks: &Vec<f64>| {
            let xs: Vec<_> = marks.iter().map(|mark| self.x(*mark)).collect();
            xs.is_sorted_by(|one, next| next - one >= MARKS)
        };
        STEPS.into_iter().map(marks).find(fits).unwrap_or_default()
    }
}

fn draw_scale(svg: &mut Svg, scale: &Scale, bottom: f64) {
    let one = scale.x(1.0);
    svg.text(
        "axis-title",
        Place(one - 10.0, 14.0),
        Anchor::End,
        "ours is slower",
    );
    svg.text(
        "axis-title",
        Place(one + 10.0, 14.0),
        Anchor::Start,
        "ours is faster",
    );
    let heads = [(MEDIANS, "median"), (INTERVALS, "95 %")];
    for (x, head) in heads {
        svg.text("axis", Place(x, HEAD - 10.0), Anchor::End, head);
    }
    for mark in scale.marks() {
        let x = scale.x(mark);
        svg.line("grid", Place(x, HEAD), Place(x, bottom));
        svg.text(
            "axis",
            Place(x, HEAD - 10.0),
            Anchor::Middle,
            &format!("{mark:.2}"),
        );
    }
    svg.line("one", Place(one, 4.0), Place(one, 20.0));
    svg.line("one", Place(one, HEAD), Place(one, bottom));
}

/// Draws the name of a group, and the mean of its ratios.
fn draw_group(svg: &mut Svg, scale: &Scale, group: &Group<'_>, top: f64) {
    let middle = top + ROW / 2.0;
    svg.line("rule", Place(0.0, top + ROW), Place(WIDTH, top + ROW));
    svg.text(
        "group",
        Place(NAMES, middle + 5.0),
        Anchor::Start,
        group.name,
    );
    let Some(mean) = group.mean() else {
        return;
    };
    let x = scale.x(mean);
    svg.begin("mean", &format!("geometric mean of {}", group.name));
    svg.polygon(
        "diamond",
        &[
            Place(x - 8.0, middle),
            Place(x, middle - 6.0),
            Place(x + 8.0, middle),
            Place(x, middle + 6.0),
        ],
    );
    svg.text(
        "figure strong",
        Place(MEDIANS, middle + 5.0),
        Anchor::End,
        &format!("{mean:.2}"),
    );
    svg.text(
        "axis",
        Place(INTERVALS, middle + 5.0),
        Anchor::End,
        "geom. mean",
    );
    svg.end();
}

fn draw_row(svg: &mut Svg, scale: &Scale, outcome: &Outcome, top: f64) {
    let comparison = &outcome.comparison;
    let ((low, high), middle) = (comparison.interval, top + ROW / 2.0);
    svg.begin(
        &format!("row {}", class(outcome)),
        &format!(
            "{}: {:.1} {unit} with {}, {:.1} {unit} with ours; best {:.2}; {}",
            outcome.name,
            comparison.theirs.median(),
            outcome.other,
            comparison.ours.median(),
            comparison.best,
            comparison.verdict().text(),
            unit = outcome.unit,
        ),
    );
    svg.rectangle("band", Place(0.0, top), WIDTH, ROW);
    svg.text(
        "label",
        Place(NAMES, middle + 4.5),
        Anchor::Start,
        &outcome.name,
    );
    draw_interval(svg, scale, (low, high), middle);
    let best = scale.x(comparison.best);
    svg.line("best", Place(best, middle - 7.0), Place(best, middle + 7.0));
    svg.circle("dot", Place(scale.x(comparison.median), middle), 4.5);
    svg.text(
        "figure strong",
        Place(MEDIANS, middle + 4.5),
        Anchor::End,
        &format!("{:.2}", comparison.median),
    );
    svg.text(
        "figure",
        Place(INTERVALS, middle + 4.5),
        Anchor::End,
        &format!("{low:.2}..{high:.2}"),
    );
    svg.end();
}

/// Draws an interval; an end of it that is beyond the scale is an arrow.
fn draw_interval(svg: &mut Svg, scale: &Scale, (low, high): (f64, f64), y: f64) {
    let (left, right) = (scale.x(low), scale.x(high));
    svg.line("whisker", Place(left, y), Place(right, y));
    let ends = [
        (left, low < scale.low, 6.0),
        (right, high > scale.high, -6.0),
    ];
    for (x, is_beyond, inwards) in ends {
        if is_beyond {
            let back = x + inwards;
            let corners = [Place(x, y), Place(back, y - 4.0), Place(back, y + 4.0)];
            svg.polygon("arrow", &corners);
        } else {
            svg.line("whisker", Place(x, y - 4.0), Place(x, y + 4.0));
        }
    }
}

/// Returns how an outcome looks.
pub fn class(outcome: &Outcome) -> &'static str {
    match outcome.comparison.verdict() {
        _ if outcome.is_control => "control",
        Verdict::Faster => "faster",
        Verdict::Slower => "slower",
        Verdict::Alike => "alike",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_in_the_middle_of_two_and_a_half() {
        let scale = Scale {
            low: 0.5,
            high: 2.0,
        };
        assert!((scale.x(1.0) - (LEFT + RIGHT) / 2.0).abs() < 1e-9);
        assert_eq!(scale.x(0.1), LEFT);
        assert!((scale.x(9.0) - RIGHT).abs() < 1e-9);
    }

    #[test]
    fn marks_are_apart_and_have_one() {
        for (low, high) in [(0.9, 1.11), (0.7, 1.6), (0.4, 2.5)] {
            let scale = Scale { low, high };
            let marks = scale.marks();
            assert!(marks.len() > 2, "{marks:?}");
            assert!(marks.iter().any(|mark| (mark - 1.0).abs() < 1e-9));
        }
    }
}
