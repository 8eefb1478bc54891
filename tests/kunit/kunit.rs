// SPDX-License-Identifier: GPL-2.0

//! Carries the KUnit suites of the `kernel_ext` crate, which run when it is loaded.

#![forbid(unsafe_code)]

use kernel::prelude::*;
use kernel_ext as _;

module! {
    type: KunitModule,
    name: "kernel_ext_kunit",
    authors: ["The rust-virtio developers"],
    description: "KUnit suites of kernel_ext",
    license: "GPL",
}

struct KunitModule;

impl kernel::Module for KunitModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
