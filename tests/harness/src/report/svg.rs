// SPDX-License-Identifier: GPL-2.0

//! Pictures, as SVG within HTML: how they look is up to the classes of `page.css`.

/// Where a text begins, or ends.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A place, from the left and from the top.
#[derive(Clone, Copy)]
pub struct Place(pub f64, pub f64);

/// A picture.
pub struct Svg {
    width: f64,
    body: String,
}

impl Svg {
    /// Begins one that is so wide.
    pub fn new(width: f64) -> Self {
        Self {
            width,
            body: String::new(),
        }
    }

    /// Draws a line.
    pub fn line(&mut self, class: &str, Place(x1, y1): Place, Place(x2, y2): Place) {
        self.body += &format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        );
    }

    /// Draws a circle.
    pub fn circle(&mut self, class: &str, Place(x, y): Place, radius: f64) {
        self.body +=
            &format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/>\n");
    }

    /// Draws a rectangle.
    pub fn rectangle(&mut self, class: &str, Place(x, y): Place, width: f64, height: f64) {
        self.body += &format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\"/>\n"
        );
    }

    /// Draws a line from place to place.
    pub fn polyline(&mut self, class: &str, places: &[Place]) {
        self.shape("polyline", class, places);
    }

    /// Draws a shape with these corners.
    pub fn polygon(&mut self, class: &str, corners: &[Place]) {
        self.shape("polygon", class, corners);
    }

    fn shape(&mut self, shape: &str, class: &str, places: &[Place]) {
        let places: Vec<_> = places
            .iter()
            .map(|Place(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.body += &format!(
            "<{shape} class=\"{class}\" points=\"{}\"/>\n",
            places.join(" ")
        );
    }

    /// Writes a text, whose line stands at a place.
    pub fn text(&mut self, class: &str, Place(x, y): Place, anchor: Anchor, text: &str) {
        self.body += &format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{}\">{}</text>\n",
            anchor.name(),
            escape(text)
        );
    }

    /// Begins a part, which says this when it is pointed at.
    pub fn begin(&mut self, class: &str, title: &str) {
        self.body += &format!("<g class=\"{class}\"><title>{}</title>\n", escape(title));
    }

    /// Ends a part.
    pub fn end(&mut self) {
        self.body += "</g>\n";
    }

    /// Ends the picture, which is so high; who cannot see it is told what it is.
    pub fn finish(self, height: f64, label: &str) -> String {
        let Self { width, body } = self;
        format!(
            "<div class=\"chart\"><svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             aria-label=\"{}\">\n{body}</svg></div>\n",
            escape(label)
        )
    }
}

/// Makes a text one of HTML, in which nothing has a meaning.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_is_escaped() {
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
        let mut svg = Svg::new(10.0);
        svg.begin("row", "1 < 2");
        svg.text("label", Place(1.0, 2.0), Anchor::Start, "3 & 4");
        svg.end();
        let picture = svg.finish(20.0, "5 \" 6");
        for escaped in ["1 &lt; 2", "3 &amp; 4", "5 &quot; 6"] {
            assert!(picture.contains(escaped), "{picture}");
        }
    }
}
