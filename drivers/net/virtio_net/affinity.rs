// SPDX-License-Identifier: GPL-2.0

//! Which CPUs use which queues.

use kernel::{
    cpu::{
        self,
        CpuId, //
    },
    cpumask::CpumaskVar,
    prelude::*, //
};

/// Returns the CPUs for one of `count` pairs of queues: each is for one of them, in turn.
pub(crate) fn share(pair: u32, count: u32) -> Result<CpumaskVar> {
    let mut cpus = CpumaskVar::new_zero(GFP_KERNEL)?;
    let all = (0..cpu::nr_cpu_ids()).filter(|cpu| cpu.checked_rem(count) == Some(pair));
    for cpu in all.filter_map(CpuId::from_u32) {
        cpus.set(cpu);
    }
    Ok(cpus)
}
