// SPDX-License-Identifier: GPL-2.0

//! The kernel's own tests of network drivers (`drivers/net` of its selftests), in a guest that has the
//! toolbox as its root, with two devices on one network: the one that is tested, and that of the other
//! end, which the kernel's own driver has, in a name space.

use super::super::{
    lan::Lan,
    rig::{self, Driver},
};
use crate::{
    cx::{Cx, Skip},
    guest::Guest,
    kernel::STOCK,
    ktap::{self, Case, Outcome},
    paths,
};
use anyhow::{Context, Result, ensure};
use std::{path::PathBuf, process::Command, time::Duration};

/// Scripts that take seconds.
pub const SHORT: &[&str] = &["queues.py", "napi_id.py", "hw/csum.py", "hw/irq.py"];

/// Scripts that take minutes, or are in a hurry.
pub const LONG: &[&str] = &[
    "stats.py",
    "ring_reconfig.py",
    "ping.py",
    "so_txtime.py",
    "gro.py",
    "macsec.py",
    "hw/uso.py",
    "hw/pp_alloc_fail.py",
    "hw/tso.py",
];

/// How long a script may take.
const LIMIT: Duration = Duration::from_secs(500);

/// What may fail with ours though it passes with theirs: what the names of the subtests begin with, and
/// what ours lacks.
const LACKING: &[(&str, &str)] = &[
    ("queues.check_xsk", "AF_XDP"),
    ("ping.test_xdp_native", "XDP"),
];

/// Modules of the kernel that the scripts have loaded.
const MODULES: &[&str] = &[
    "virtio_net",
    "sch_fq",
    "sch_etf",
    "macsec",
    "8021q",
    "ipip",
    "ip6_tunnel",
    "vxlan",
];

/// The peer gets frames like those of a wire: with their checksums, and cut into segments.
const PEER: &str = ",addr=0x11,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ufo=off,guest_uso4=off,guest_uso6=off,guest_tunnel=off";

/// Our driver does not know of tunnels.
const TESTED: &str = ",addr=0x10,mq=on,vectors=6,host_tunnel=off,guest_tunnel=off";

/// How often a driver has the scripts that end worse with ours: some have half a second for what takes
/// longer now and then, in an emulated guest.
const TRIES: u32 = 3;

/// No subtest ends worse than with the kernel's own driver.
pub fn are_passed(cx: &mut Cx, scripts: &[&str]) -> Result<()> {
    let mut theirs = results(cx, Driver::InTree, scripts)?;
    let mut ours = results(cx, Driver::Ours, scripts)?;
    for _ in 1..TRIES {
        let again: Vec<&str> = scripts
            .iter()
            .copied()
            .filter(|script| is_worse(&theirs, &ours, name(script)))
            .collect();
        if again.is_empty() {
            break;
        }
        println!("once more: {again:?}");
        keep_best(&mut theirs, results(cx, Driver::InTree, &again)?);
        keep_best(&mut ours, results(cx, Driver::Ours, &again)?);
    }
    let passed = theirs
        .iter()
        .filter(|case| case.outcome == Outcome::Passed)
        .count();
    ensure!(passed > scripts.len(), "theirs passes {passed}: {theirs:?}");
    for their in &theirs {
        cx.case(&their.name.replace('.', "_"), |_| {
            let our = ours.iter().find(|our| our.name == their.name);
            let our = our.map(|our| &our.outcome);
            compare(&their.name, &their.outcome, our)
        });
    }
    Ok(())
}

/// Tells whether a subtest of a script ends worse with ours, for no known reason.
fn is_worse(theirs: &[Case], ours: &[Case], script: &str) -> bool {
    theirs
        .iter()
        .filter(|case| case.name.split('.').next() == Some(script))
        .any(|their| {
            let our = ours.iter().find(|our| our.name == their.name);
            let result = compare(&their.name, &their.outcome, our.map(|our| &our.outcome));
            result.is_err_and(|error| !error.is::<Skip>())
        })
}

/// Replaces results by better ones.
fn keep_best(cases: &mut Vec<Case>, others: Vec<Case>) {
    for other in others {
        match cases.iter_mut().find(|case| case.name == other.name) {
            Some(case) if other.outcome == Outcome::Passed => *case = other,
            Some(_) => {}
            None => cases.push(other),
        }
    }
}

/// Returns what the names of a script's subtests begin with.
fn name(script: &str) -> &str {
    let (_, file) = script.rsplit_once('/').unwrap_or(("", script));
    file.trim_end_matches(".py")
}

/// Compares how a subtest has ended.
fn compare(name: &str, theirs: &Outcome, ours: Option<&Outcome>) -> Result<()> {
    let worse = match (theirs, ours) {
        (_, Some(Outcome::Passed)) | (Outcome::Failed(_), Some(_)) => false,
        (Outcome::Skipped(_), Some(Outcome::Skipped(_))) => false,
        (_, None | Some(_)) => true,
    };
    if !worse {
        return Ok(());
    }
    let lacking = LACKING.iter().find(|(start, _)| name.starts_with(start));
    if let Some((_, what)) = lacking {
        return Err(Skip(format!("there is no {what} in our driver")).into());
    }
    anyhow::bail!("with the kernel's own driver {theirs:?}, with ours {ours:?}")
}

/// Returns how their subtests end.
fn results(cx: &mut Cx, driver: Driver, scripts: &[&str]) -> Result<Vec<Case>> {
    let place = installed()?;
    let mut lan = Lan::new(cx)?;
    let mut builder = driver
        .builder(cx, STOCK)?
        .name(driver.module())
        .memory(1536)
        .toolbox();
    for module in MODULES {
        builder = builder.kernel_module(module);
    }
    let netdevs = [lan.tap("tap0", 2)?, lan.tap("tap1", 1)?];
    for (number, (netdev, options)) in netdevs.iter().zip([TESTED, PEER]).enumerate() {
        builder = rig::device(builder, number, netdev, &format!("tap{number}"), options);
    }
    let guest = cx.boot(&builder)?;
    guest.sh(&format!(
        "echo 0 >/sys/bus/virtio/drivers_autoprobe
         modprobe virtio_net && modprobe {tested} || exit
         bind() {{
             cd /sys/bus/pci/devices/0000:00:$1.0 && echo virtio* >/sys/bus/virtio/drivers/$2/bind
         }}
         bind 10 {tested} && bind 11 virtio_net || exit
         {ROOT}",
        tested = driver.module()
    ))?;
    let nic = guest.sh("nic 0")?.trim().to_owned();
    guest.sh(&format!(
        "peer=$(nic 1) && {INSIDE} /bin/sh -ec '
             ip netns add remote
             ip link set '$peer' netns remote
             ip -n remote link set lo up
             ip -n remote link set '$peer' up
             ip -n remote addr add 192.0.2.2/24 dev '$peer'
             ip -n remote addr add 2001:db8::2/64 dev '$peer' nodad
             ip link set lo up'"
    ))?;

    let mut cases = Vec::new();
    for script in scripts {
        // With the device, its address of IPv6 goes.
        guest.sh(&format!(
            "{INSIDE} /bin/sh -ec '
                 ip link set {nic} up
                 ip addr replace 192.0.2.1/24 dev {nic}
                 ip addr replace 2001:db8::1/64 dev {nic} nodad'"
        ))?;
        cases.extend(run(&guest, &place, script, &nic)?);
    }
    guest.sh(&format!("{INSIDE} ip netns del remote"))?;
    cx.end(&guest)?;
    Ok(cases)
}

/// Runs a script.
fn run(guest: &Guest, place: &std::path::Path, script: &str, nic: &str) -> Result<Vec<Case>> {
    let (directory, file) = script.rsplit_once('/').unwrap_or(("", script));
    let directory = place.join("drivers/net").join(directory);
    let said = guest.run_within(
        &format!(
            "{INSIDE} env -C {} PYTHONDONTWRITEBYTECODE=1 NO_COLOR=1 KSFT_MACHINE_SLOW=1 NETIF={nic} \
                 LOCAL_V4=192.0.2.1 LOCAL_V6=2001:db8::1 \
                 REMOTE_V4=192.0.2.2 REMOTE_V6=2001:db8::2 REMOTE_TYPE=netns REMOTE_ARGS=remote \
                 python3 {file} 2>&1",
            directory.display()
        ),
        LIMIT,
    )?;
    println!("{script}, driver {}:\n{}", guest.name(), said.text);
    Ok(ktap::parse(&said.text).unwrap_or_else(|error| {
        vec![Case {
            name: name(script).to_owned(),
            outcome: Outcome::Failed(format!("{error:#}: {}", said.text)),
        }]
    }))
}

/// Runs a program of the toolbox. `chroot` takes programs by their names for those of busybox.
const INSIDE: &str =
    "chroot /mnt/toolbox /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/tmp LC_ALL=C.UTF-8";

/// Makes the toolbox a root for programs: what they write is in memory.
const ROOT: &str = "cd /mnt/toolbox &&
    mount -t proc proc proc && mount -t sysfs sysfs sys && mount -t devtmpfs devtmpfs dev &&
    mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp && mkdir run/lock";

/// Builds them, if they are not there.
fn installed() -> Result<PathBuf> {
    let output = Command::new(paths::project().join("scripts/selftests"))
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("running scripts/selftests")?;
    ensure!(output.status.success(), "the kernel's tests are not built");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_is_what_ends_worse() {
        let passed = Outcome::Passed;
        let skipped = Outcome::Skipped(String::new());
        let failed = Outcome::Failed(String::new());
        let is_worse = |theirs: &Outcome, ours| compare("a.b", theirs, ours).is_err();
        assert!(is_worse(&passed, Some(&failed)));
        assert!(is_worse(&passed, Some(&skipped)));
        assert!(is_worse(&skipped, Some(&failed)));
        assert!(is_worse(&failed, None));
        assert!(!is_worse(&passed, Some(&passed)));
        assert!(!is_worse(&failed, Some(&passed)));
        assert!(!is_worse(&failed, Some(&skipped)));
        assert!(!is_worse(&skipped, Some(&skipped)));
    }

    #[test]
    fn what_is_lacking_is_skipped() {
        let error = compare("queues.check_xsk", &Outcome::Passed, None).expect_err("it is worse");
        assert!(error.is::<Skip>());
    }

    #[test]
    fn the_best_result_counts() {
        let case = |outcome: &Outcome| Case {
            name: "a.b".to_owned(),
            outcome: outcome.clone(),
        };
        let (passed, failed) = (Outcome::Passed, Outcome::Failed(String::new()));
        let theirs = [case(&passed)];
        let mut ours = vec![case(&failed)];
        assert!(is_worse(&theirs, &ours, name("hw/a.py")));
        keep_best(&mut ours, vec![case(&failed)]);
        assert!(is_worse(&theirs, &ours, "a"));
        assert!(!is_worse(&theirs, &ours, "b"));
        keep_best(&mut ours, vec![case(&passed)]);
        assert!(!is_worse(&theirs, &ours, "a"));
        keep_best(&mut ours, vec![case(&failed)]);
        assert!(!is_worse(&theirs, &ours, "a"));
    }
}
