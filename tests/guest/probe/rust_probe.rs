// SPDX-License-Identifier: GPL-2.0

//! An out-of-tree module that uses the `kernel` crate in a few ways: generic code that is compiled
//! here, functions that the kernel exports, procedural macros, C helpers.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

module! {
    type: Probe,
    name: "rust_probe",
    authors: ["The rust-virtio developers"],
    description: "Proof that a Rust module can be built for this kernel",
    license: "GPL",
}

struct Probe {
    sums: Arc<Mutex<KVec<u64>>>,
}

impl kernel::Module for Probe {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let sums = Arc::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?;
        for i in 1..=10u64 {
            sums.lock().push((1..=i).sum(), GFP_KERNEL)?;
        }
        pr_info!("sums {:?}\n", sums.lock().as_slice());
        Ok(Self { sums })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        pr_info!("bye, {} sums\n", self.sums.lock().len());
    }
}
