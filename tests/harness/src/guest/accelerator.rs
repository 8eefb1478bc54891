// SPDX-License-Identifier: GPL-2.0

//! What QEMU runs guests with.

use std::{
    env,
    fs::{self, File},
    sync::OnceLock,
};

/// What QEMU runs the guest with: KVM where it works, as far as can be told without trying.
///
/// A machine may have `/dev/kvm` without a processor that can do it. `RUST_VIRTIO_ACCEL` overrides.
pub fn accelerator() -> &'static str {
    static CHOICE: OnceLock<&str> = OnceLock::new();
    CHOICE.get_or_init(|| {
        if let Ok(choice) = env::var("RUST_VIRTIO_ACCEL") {
            return if choice == "kvm" {
                "kvm"
            } else {
                "tcg,thread=multi"
            };
        }
        let capable = fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
            text.lines()
                .filter(|line| line.starts_with("flags"))
                .any(|line| line.split(' ').any(|flag| flag == "vmx" || flag == "svm"))
        });
        let allowed = File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok();
        if capable && allowed {
            "kvm"
        } else {
            "tcg,thread=multi"
        }
    })
}
