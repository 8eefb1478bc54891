// SPDX-License-Identifier: GPL-2.0

//! Each allocation fails in turn while a device is bound: that is an error, and nothing else.

use super::load::{Driver, file, image};
use crate::{
    cx::{Cx, Test},
    guest::{NO_IRQ_FILES, NO_TAGS},
    kernel::DEBUG,
    paths::Scratch,
};
use anyhow::{Context, Result, ensure};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("blk::memory::fails_once", |cx| fails_once(cx, 17))
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(600),
    Test::new("blk::memory::each_fails_once", |cx| fails_once(cx, 1))
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(1800),
];

/// Binds the device again and again, with more and more allocations that succeed before one fails,
/// until none does. Nothing but that is allocated meanwhile: there is one process, and one buffer.
const BINDER: &str = r#"
    my ($driver, $device, $step) = @ARGV;
    my $place = "/sys/bus/virtio/drivers/$driver";
    open(my $bind, ">", "$place/bind") or die "bind: $!";
    open(my $unbind, ">", "$place/unbind") or die "unbind: $!";
    open(my $nth, "+<", "/proc/self/fail-nth") or die "fail-nth: $!";
    my ($n, $left, $failed, $bound, $error, $unnamed) = (0, 0, 0, 0, 0, 0);
    while (1) {
        # Each reads once: it cannot go back to the front.
        open(my $rest, "<", "/proc/self/fail-nth") or die "fail-nth: $!";
        syswrite($nth, "$n") or die "fail-nth: $!";
        my $done = syswrite($bind, $device);
        $error = $! + 0;
        sysread($rest, $left, 16) or die "reading fail-nth: $!";
        syswrite($nth, "0");
        if ($done) {
            $bound++;
            syswrite($unbind, $device) or die "unbinding after $n: $!";
        } else {
            # ENOMEM. The kernel does not look whether there was memory for the name of a disk: it
            # finds, and tells of with EINVAL, that there is no name.
            $unnamed++ if $error == 22;
            $error == 12 || $error == 22 && $unnamed == 1
                or die "binding with $n ends with error $error";
            $failed++;
        }
        last if $n && $left > 0;
        $n += $step;
    }
    print "$failed $bound $n\n";
"#;

/// Has one allocation in `step` fail, one at a time.
fn fails_once(cx: &mut Cx, step: u32) -> Result<()> {
    let driver = Driver::Ours;
    let scratch = Scratch::new()?;
    let builder = file(driver.builder(cx, DEBUG)?, &image(scratch.path())?, "")
        .tool("perl")
        .file("/binder", BINDER.as_bytes())
        .device("virtio-blk-pci,drive=d0,num-queues=2");
    let guest = cx.boot(&builder)?;
    driver.load(&guest)?;
    let (module, disk) = (driver.module(), driver.disk());

    let said = guest.sh(&format!(
        "for i in failslab fail_page_alloc; do
             cd /sys/kernel/debug/$i; echo N >ignore-gfp-wait; echo 0 >verbose
         done
         echo 0 >min-order; echo N >ignore-gfp-highmem
         echo virtio0 >/sys/bus/virtio/drivers/{module}/unbind
         perl /binder {module} virtio0 {step}"
    ))?;
    let counts: Vec<u32> = said.split_whitespace().flat_map(str::parse).collect();
    let [failed, bound, last] = counts[..] else {
        return Err(anyhow::anyhow!("{said}")).context("the binder does not count");
    };
    ensure!(
        failed > 50 / step && bound > 0 && last > 100,
        "{failed} attempts fail, {bound} do not, the last is {last}"
    );

    guest.sh(&format!(
        "echo virtio0 >/sys/bus/virtio/drivers/{module}/bind &&
         dd if=/dev/{disk} of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null"
    ))?;
    driver.unload(&guest)?;
    guest.excuse(&[NO_TAGS, NO_IRQ_FILES])?;
    cx.end(&guest)
}
