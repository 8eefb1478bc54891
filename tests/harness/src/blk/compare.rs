// SPDX-License-Identifier: GPL-2.0

//! Side by side: what group `backend` sees of the kernel's own driver is seen of ours, too; and where
//! the disks of both differ, the documentation says so.

use super::{
    data::{disk, is_kept},
    driver::{Driver, IN_TREE, RENAMED},
};
use crate::{
    backend::blk,
    cx::Cx,
    guest::Guest,
    kernel::STOCK,
    paths::{self, Scratch},
};
use anyhow::{Result, ensure};
use std::{collections::BTreeMap, fs};

pub fn keeps_data(cx: &mut Cx) -> Result<()> {
    blk::keeps_data(cx, &RENAMED)
}

pub fn behaves(cx: &mut Cx) -> Result<()> {
    blk::behaves(cx, &RENAMED)
}

pub fn survives_its_backend(cx: &mut Cx) -> Result<()> {
    blk::is_killed_while_it_is_used(cx, &RENAMED)
}

pub fn comes_and_goes(cx: &mut Cx) -> Result<()> {
    blk::comes_and_goes(cx, &RENAMED)
}

/// The other way round: the in-tree driver does what ours has to.
pub fn in_tree_keeps_data(cx: &mut Cx) -> Result<()> {
    is_kept(cx, &IN_TREE, STOCK, 16)
}

/// The head of the table.
const HEAD: &str = "attribute                              virtio_blk (7.3) virtio_blk_rs";

/// How wide its first two columns are.
const WIDTHS: (usize, usize) = (38, 16);

/// The attributes of the disks of both drivers, on the same device, differ as the table of the
/// documentation says.
pub fn differs_as_documented(cx: &mut Cx) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = RENAMED.builder(cx, STOCK)?.kernel_module(IN_TREE.module);
    let builder = disk(builder, scratch.path(), 0, ",num-queues=2")?;
    let guest = cx.boot(&builder)?;
    let theirs = attributes(&guest, &IN_TREE)?;
    let ours = attributes(&guest, &RENAMED)?;
    ensure!(theirs.len() > 40, "few attributes: {theirs:?}");

    let none = "none".to_owned();
    let mut names: Vec<_> = theirs.keys().chain(ours.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let of = |attributes: &BTreeMap<String, String>, name: &String| {
        attributes.get(name).unwrap_or(&none).clone()
    };
    let found: Vec<_> = names
        .into_iter()
        .map(|name| (name.clone(), of(&theirs, name), of(&ours, name)))
        .filter(|(_, theirs, ours)| theirs != ours)
        .collect();
    let documented = documented()?;
    let rows: Vec<_> = found
        .iter()
        .map(|(name, theirs, ours)| format!("{name:<0$} {theirs:<1$} {ours}", WIDTHS.0, WIDTHS.1))
        .collect();
    ensure!(
        found == documented,
        "the table should be\n{}\nbut is {documented:#?}",
        rows.join("\n")
    );
    Ok(())
}

/// Returns what the files of a disk say, but what is not the same twice, and how its interrupts are
/// called.
fn attributes(guest: &Guest, driver: &Driver) -> Result<BTreeMap<String, String>> {
    driver.load(guest, "", 1)?;
    let text = guest.sh(&format!(
        "cd /sys/block/{}
         for i in * queue/* mq/0/*; do
             case $i in stat | diskseq | uevent) continue ;; esac
             [ ! -f $i ] || echo \"$i $(tr -s '\\n' ' ' <$i 2>/dev/null)\"
         done
         echo interrupts $(awk '/virtio/ {{ print $NF }}' /proc/interrupts)",
        driver.disk(0)
    ))?;
    guest.sh(&format!("rmmod {}", driver.module))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name.to_owned(), value.trim().replace("  ", " ")))
        .collect())
}

/// Reads the table of the documentation.
fn documented() -> Result<Vec<(String, String, String)>> {
    let path = paths::project().join("Documentation/virtio-blk.rst");
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines().skip_while(|line| *line != HEAD);
    ensure!(lines.next().is_some(), "there is no table with {HEAD:?}");
    let rows = lines.skip(1).take_while(|line| !line.starts_with('='));
    Ok(rows
        .map(|row| {
            let cell = |from: usize, to: usize| {
                let cell = row.get(from..to.min(row.len())).unwrap_or_default();
                cell.trim().to_owned()
            };
            let (first, second) = (WIDTHS.0, WIDTHS.0 + 1 + WIDTHS.1);
            (
                cell(0, first),
                cell(first + 1, second),
                cell(second + 1, usize::MAX),
            )
        })
        .collect())
}
