// SPDX-License-Identifier: GPL-2.0

//! A picture of how long operations take: which part of them is done in what time.

use super::{
    Outcome,
    svg::{Anchor, Place, Svg},
};
use crate::race::latency::Point;

/// The frame of the picture.
const WIDTH: f64 = 940.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 900.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 264.0;

/// The parts that have a mark, and that the table has.
pub const MARKS: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Where the scale of parts begins.
const FIRST: f64 = 0.1;

/// Returns in what time a part was done, by the other and by ours.
pub fn at((theirs, ours): &(Vec<Point>, Vec<Point>), part: f64) -> Option<(f64, f64)> {
    let find = |points: &[Point]| {
        let found = points.iter().find(|point| point.part >= part);
        found.map(|point| point.microseconds)
    };
    find(theirs).zip(find(ours))
}

/// Says a part in words.
pub fn name(part: f64) -> String {
    format!("{} %", (part * 1000.0).round() / 10.0)
}

/// Draws a scenario, if it has latencies.
pub fn draw(outcome: &Outcome) -> Option<String> {
    let (theirs, ours) = outcome.latencies.as_ref()?;
    let scale = Scale::of(theirs.iter().chain(ours))?;
    let mut svg = Svg::new(WIDTH);
    for part in MARKS {
        let y = Scale::y(part);
        svg.line("grid", Place(LEFT, y), Place(RIGHT, y));
        svg.text("axis", Place(LEFT - 8.0, y + 4.0), Anchor::End, &name(part));
    }
    for mark in scale.marks() {
        let x = scale.x(mark);
        svg.line("grid", Place(x, TOP), Place(x, BOTTOM));
        svg.text("axis", Place(x, BOTTOM + 18.0), Anchor::Middle, &time(mark));
    }
    let sides = [
        ("theirs", outcome.other.as_str(), theirs),
        ("ours", "ours", ours),
    ];
    let mut x = LEFT;
    for (class, name, points) in sides {
        svg.begin(class, name);
        svg.line("curve", Place(x, 18.0), Place(x + 24.0, 18.0));
        svg.text("axis", Place(x + 32.0, 22.0), Anchor::Start, name);
        let shown = points.iter().filter(|point| point.part >= FIRST);
        let places: Vec<_> = shown
            .map(|point| Place(scale.x(point.microseconds), Scale::y(point.part)))
            .collect();
        svg.polyline("curve", &places);
        svg.end();
        x += 140.0;
    }
    let label = format!(
        "{}: which part was done in what time; the table has the figures",
        outcome.name
    );
    Some(svg.finish(BOTTOM + 28.0, &label))
}

/// Which times are where: twice as long is as far anywhere.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    fn of<'a>(points: impl Iterator<Item = &'a Point>) -> Option<Self> {
        let times: Vec<_> = points
            .filter(|point| point.part >= FIRST && point.microseconds > 0.0)
            .map(|point| point.microseconds)
            .collect();
        let least = times.iter().copied().reduce(f64::min)?;
        let most = times.iter().copied().reduce(f64::max)?;
        Some(Self {
            least: least / 1.05,
            most: most * 1.05,
        })
    }

    fn x(&self, microseconds: f64) -> f64 {
        let microseconds = microseconds.clamp(self.least, self.most);
        LEFT + (RIGHT - LEFT) * (microseconds / self.least).ln() / (self.most / self.least).ln()
    }

    /// Nine of ten is as far from 99 of 100 as that is from 999 of 1000.
    fn y(part: f64) -> f64 {
        let depth = |part: f64| (1.0 - part).ln();
        let (first, last) = (depth(FIRST), depth(0.999));
        BOTTOM - (BOTTOM - TOP) * (depth(part) - first) / (last - first)
    }

    /// Returns the marks: 1, 2 and 5, and their tens.
    fn marks(&self) -> Vec<f64> {
        let tens = (0..8).map(|power| 10_f64.powi(power));
        tens.flat_map(|ten| [ten, 2.0 * ten, 5.0 * ten])
            .filter(|mark| (self.least..=self.most).contains(mark))
            .collect()
    }
}

/// Says a time.
fn time(microseconds: f64) -> String {
    if microseconds >= 1000.0 {
        format!("{} ms", microseconds / 1000.0)
    } else {
        format!("{microseconds} \u{b5}s")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};
    use anyhow::{Context, Result};

    #[test]
    fn rare_and_slow_ones_are_at_the_top_and_right() -> Result<()> {
        let parts = [0.1, 0.5, 0.9, 0.99, 0.999];
        assert!(parts.map(Scale::y).is_sorted_by(|one, next| one > next));
        assert!((Scale::y(0.999) - TOP).abs() < 1e-9);

        let points = [100.0, 1000.0].map(|microseconds| Point {
            part: 0.5,
            microseconds,
        });
        let scale = Scale::of(points.iter()).context("there are two")?;
        assert_eq!(scale.marks(), [100.0, 200.0, 500.0, 1000.0]);
        assert!(scale.x(100.0) > LEFT && scale.x(1000.0) < RIGHT);
        Ok(())
    }

    #[test]
    fn both_sides_are_there() -> Result<()> {
        let outcomes = samples::outcomes()?;
        let with = outcomes.iter().filter_map(draw);
        assert_eq!(with.count(), 1);
        let last = outcomes.last().context("there are some")?;
        let latencies = last.latencies.as_ref().context("it has them")?;
        assert_eq!(at(latencies, 0.99), Some((200.0, 210.0)));
        assert_eq!(name(0.999), "99.9 %");
        Ok(())
    }
}
