// SPDX-License-Identifier: GPL-2.0

//! A picture of instructions: for each row, how many there are on both sides, and where.

use super::{
    CostRow, Spent, Work,
    svg::{Anchor, Place, Svg},
};

/// From the left: names, whose it is, the bars, figures.
const WIDTH: f64 = 940.0;
const NAMES: f64 = 12.0;
const SIDES: f64 = 350.0;
const LEFT: f64 = 358.0;
/// The longest bar ends here, and what stands behind it, here.
const RIGHT: f64 = 745.0;
const WHOLES: f64 = 852.0;
const DRIVERS: f64 = 928.0;

/// From the top: what is what, and then rows, of two bars each.
const HEAD: f64 = 62.0;
const ROW: f64 = 42.0;
const BAR: f64 = 13.0;
const BARS: [f64; 2] = [7.0, 22.0];

/// How far what is in a legend is from the next.
const LEGEND: f64 = 150.0;

/// Draws what a piece of work costs.
pub fn draw(work: &Work<'_>) -> String {
    let most = work
        .rows
        .iter()
        .flat_map(|row| [row.theirs.whole, row.ours.whole])
        .fold(1.0, f64::max);
    let scale = (RIGHT - LEFT) / most;
    let mut svg = Svg::new(WIDTH);
    draw_head(&mut svg, work);
    let mut top = HEAD;
    for row in &work.rows {
        draw_row(&mut svg, row, scale, top);
        top += ROW;
    }
    svg.finish(
        top + 6.0,
        &format!(
            "Instructions on both sides: {}; the table has the figures",
            work.name
        ),
    )
}

/// Draws what the colours mean, and the heads of the figures.
fn draw_head(svg: &mut Svg, work: &Work<'_>) {
    let has_core = work.rows.iter().any(|row| row.theirs.core.is_some());
    let mut x = LEFT;
    for (part, name, is_there) in [
        ("driver", "driver and core", !has_core),
        ("driver", "driver", has_core),
        ("core", "virtio core", has_core),
        ("rest", "rest of the kernel", true),
    ] {
        if is_there {
            svg.rectangle(&format!("theirs {part}"), Place(x, 5.0), 10.0, 12.0);
            svg.rectangle(&format!("ours {part}"), Place(x + 11.0, 5.0), 10.0, 12.0);
            svg.text("axis", Place(x + 28.0, 15.5), Anchor::Start, name);
            x += LEGEND;
        }
    }
    svg.text(
        "axis",
        Place(DRIVERS, 34.0),
        Anchor::End,
        "ours to the other's",
    );
    for (x, head) in [(WHOLES, "all"), (DRIVERS, "driver's")] {
        svg.text("axis", Place(x, HEAD - 10.0), Anchor::End, head);
    }
}

fn draw_row(svg: &mut Svg, row: &CostRow, scale: f64, top: f64) {
    let middle = top + ROW / 2.0;
    svg.begin(
        "row",
        &format!(
            "{}: {:.1} instructions with {}, {:.1} with ours",
            row.name, row.theirs.whole, row.other, row.ours.whole
        ),
    );
    svg.rectangle("band", Place(0.0, top), WIDTH, ROW);
    svg.line("rule", Place(0.0, top), Place(WIDTH, top));
    svg.text(
        "label",
        Place(NAMES, middle + 4.5),
        Anchor::Start,
        &row.name,
    );
    let sides = [
        ("theirs", row.other.as_str(), &row.theirs),
        ("ours", "ours", &row.ours),
    ];
    for ((side, name, spent), offset) in sides.into_iter().zip(BARS) {
        let y = top + offset;
        svg.text("side", Place(SIDES, y + 10.5), Anchor::End, name);
        let end = draw_bar(svg, side, spent, scale, y);
        svg.text(
            "count",
            Place(end + 6.0, y + 10.5),
            Anchor::Start,
            &format!("{:.0}", spent.whole),
        );
    }
    for (x, ratio) in [(WHOLES, row.whole()), (DRIVERS, row.driver())] {
        svg.text(
            &format!("figure strong {}", class(ratio)),
            Place(x, middle + 4.5),
            Anchor::End,
            &format!("{ratio:.3}"),
        );
    }
    svg.end();
}

/// Draws a bar, and returns where it ends.
fn draw_bar(svg: &mut Svg, side: &str, spent: &Spent, scale: f64, y: f64) -> f64 {
    let core = spent.core.unwrap_or(0.0);
    let parts = [
        ("driver", spent.driver - core),
        ("core", core),
        ("rest", spent.whole - spent.driver),
    ];
    let mut x = LEFT;
    for (part, instructions) in parts {
        // What was measured twice may come out as a little less than nothing.
        let width = instructions.max(0.0) * scale;
        if width > 0.0 {
            svg.rectangle(&format!("{side} {part}"), Place(x, y), width, BAR);
            x += width;
        }
    }
    x
}

/// Returns how a ratio of costs looks: less is better.
pub fn class(ratio: f64) -> &'static str {
    if ratio < 1.0 { "faster" } else { "slower" }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn each_row_has_two_bars() -> anyhow::Result<()> {
        let part = samples::part()?;
        let pictures: Vec<_> = part.works().iter().map(draw).collect();
        let counts: Vec<_> = pictures
            .iter()
            .map(|picture| {
                let count = |what: &str| picture.matches(what).count();
                (count("<g class=\"row\">"), count("class=\"side\""))
            })
            .collect();
        assert_eq!(counts, [(2, 4), (1, 2)]);
        Ok(())
    }

    #[test]
    fn a_bar_is_as_long_as_its_parts() {
        let mut svg = Svg::new(WIDTH);
        let spent = Spent {
            whole: 100.0,
            driver: 40.0,
            core: Some(10.0),
            traffic: None,
        };
        assert_eq!(draw_bar(&mut svg, "ours", &spent, 2.0, 0.0), LEFT + 200.0);
    }
}
