// SPDX-License-Identifier: GPL-2.0

//! What is said of a change, in one line.

use super::{
    change::Way,
    hop::{Finding, Hop, many},
};
use std::fmt;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No fault was found.
    Passes {
        /// Frames of the guest.
        out: Flow,
        /// Frames for it.
        inward: Flow,
        /// What was seen beside that.
        remarks: Vec<String>,
        /// What could not be seen.
        unseen: Vec<&'static str>,
    },
    /// Frames do not go on.
    Stops {
        /// Where.
        at: At,
        /// Why, as far as is known.
        reason: String,
    },
    /// It cannot be told.
    Unknown(String),
}

/// Where frames stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At this hop.
    Hop(Hop, Way),
    /// Somewhere between these.
    Between(Hop, Hop, Way),
}

/// Frames of a direction, and what they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The frames.
    pub frames: Option<u64>,
    /// Notifications of the device.
    pub kicks: Option<u64>,
    /// Interrupts of the guest.
    pub interrupts: Option<u64>,
}

impl From<&Finding> for Verdict {
    fn from(finding: &Finding) -> Self {
        Self::Stops {
            at: At::Hop(finding.hop, finding.way),
            reason: finding.reason.clone(),
        }
    }
}

/// Writes how many there are for each frame, to the hundredth.
fn ratio(count: u64, frames: u64) -> String {
    let hundredths = u128::from(count) * 100;
    let rounded = (hundredths + u128::from(frames) / 2) / u128::from(frames.max(1));
    format!("{}.{:02}", rounded / 100, rounded % 100)
}

impl Flow {
    fn write(self, f: &mut fmt::Formatter<'_>, way: &str) -> fmt::Result {
        let Some(frames) = self.frames else {
            return write!(f, "an unknown number of frames {way}");
        };
        write!(f, "{} {way}", many(frames, "frame"))?;
        if frames == 0 {
            return Ok(());
        }
        let each: Vec<_> = [(self.kicks, "kicks"), (self.interrupts, "interrupts")]
            .into_iter()
            .filter_map(|(count, what)| Some(format!("{} {what}", ratio(count?, frames))))
            .collect();
        if !each.is_empty() {
            write!(f, " ({} for each)", each.join(" and "))?;
        }
        Ok(())
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hop(hop, _) => write!(f, "at {hop}"),
            Self::Between(first, second, _) => write!(f, "between {first} and {second}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes {
                out,
                inward,
                remarks,
                unseen,
            } => {
                f.write_str("no fault found: ")?;
                out.write(f, "out")?;
                f.write_str(", ")?;
                inward.write(f, "in")?;
                for remark in remarks {
                    write!(f, "; {remark}")?;
                }
                if !unseen.is_empty() {
                    write!(f, "; not seen: {}", unseen.join(", "))?;
                }
                Ok(())
            }
            Self::Stops { at, reason } => {
                let (At::Hop(_, way) | At::Between(_, _, way)) = at;
                write!(f, "frames stop {at}: {reason} (on the way {way})")
            }
            Self::Unknown(why) => write!(f, "cannot tell: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(out: Flow, inward: Flow) -> Verdict {
        Verdict::Passes {
            out,
            inward,
            remarks: Vec::new(),
            unseen: Vec::new(),
        }
    }

    #[test]
    fn what_passes_is_told() {
        let flow = |frames, kicks, interrupts| Flow {
            frames: Some(frames),
            kicks,
            interrupts,
        };
        let verdict = passes(flow(3, Some(2), Some(3)), flow(0, Some(1), None));
        assert_eq!(
            verdict.to_string(),
            "no fault found: 3 frames out (0.67 kicks and 1.00 interrupts for each), 0 frames in"
        );
        let verdict = passes(flow(1, None, None), Flow::default());
        assert_eq!(
            verdict.to_string(),
            "no fault found: 1 frame out, an unknown number of frames in"
        );
        let verdict = Verdict::Passes {
            out: flow(200, Some(1), None),
            inward: flow(200, None, Some(25)),
            remarks: vec!["1 frame is lost".to_owned()],
            unseen: vec!["interrupts", "tap"],
        };
        assert_eq!(
            verdict.to_string(),
            "no fault found: 200 frames out (0.01 kicks for each), 200 frames in (0.13 interrupts for \
             each); 1 frame is lost; not seen: interrupts, tap"
        );
    }

    #[test]
    fn what_stops_is_told() {
        let stops = |at| Verdict::Stops {
            at,
            reason: "somebody has cut the wire".to_owned(),
        };
        assert_eq!(
            stops(At::Hop(Hop::PortOut, Way::Out)).to_string(),
            "frames stop at switch port out: somebody has cut the wire (on the way out)"
        );
        assert_eq!(
            stops(At::Between(Hop::Tap, Hop::RxBuffers, Way::In)).to_string(),
            "frames stop between tap and RX buffers: somebody has cut the wire (on the way in)"
        );
        assert_eq!(
            Verdict::Unknown("nothing was seen".to_owned()).to_string(),
            "cannot tell: nothing was seen"
        );
    }
}
