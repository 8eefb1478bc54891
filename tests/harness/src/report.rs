// SPDX-License-Identifier: GPL-2.0

//! What was measured, as files, so that the next run goes on where one has ended.
//!
//! A [`Document`] is what a command has measured, and where ([`About`]). It has outcomes of scenarios,
//! which are against the clock, or rows of costs, which are in instructions.

mod about;
mod cost;
mod document;
mod field;
mod outcome;
mod record;
#[cfg(test)]
mod samples;

pub use about::{About, accelerator};
pub use cost::{CostRow, Spent};
pub use document::Document;
pub use outcome::{Features, Outcome};
pub use record::{Record, write};
