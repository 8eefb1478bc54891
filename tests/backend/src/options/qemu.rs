// SPDX-License-Identifier: GPL-2.0

//! What QEMU has to be told.

use super::{DeviceOptions, Kind};
use crate::service::Meeting;

/// What any guest needs: memory that can be shared.
const MEMORY: &str = "-object memory-backend-memfd,id=memory,size=512M,share=on \
                      -machine q35,memory-backend=memory";

/// Returns the arguments with which QEMU finds devices: a line for the memory, and one for each.
pub fn arguments(devices: &[DeviceOptions]) -> String {
    let lines = devices.iter().map(device);
    [MEMORY.to_owned()]
        .into_iter()
        .chain(lines)
        .map(|line| line + "\n")
        .collect()
}

fn device(device: &DeviceOptions) -> String {
    let name = &device.name;
    // Where it connects again, QEMU does not wait for a device that tells what it is.
    let tells = matches!(&device.kind, Kind::Net(net) if net.control);
    let socket = match &device.meeting {
        Meeting::Listen(path) if tells => format!("path={}", path.display()),
        Meeting::Listen(path) => format!("path={},reconnect-ms=200", path.display()),
        Meeting::Connect(path) => format!("path={},server=on", path.display()),
    };
    let chardev = format!("-chardev socket,id={name},{socket}");
    match &device.kind {
        Kind::Blk(blk) => format!(
            "{chardev} -device vhost-user-blk-pci,chardev={name},num-queues={}",
            blk.queues
        ),
        Kind::Net(net) if tells => format!(
            "{chardev} -device vhost-user-test-device-pci,chardev={name},virtio-id=1,\
             num_vqs={},config_size=24",
            net.queues * 2 + 1
        ),
        Kind::Net(net) => {
            let pairs = net.queues;
            // A vector for each queue, one for the control queue, one for the configuration.
            let several = match pairs {
                1 => String::new(),
                _ => format!(",mq=on,vectors={}", pairs * 2 + 2),
            };
            format!(
                "{chardev} -netdev vhost-user,id={name},chardev={name},queues={pairs} \
                 -device virtio-net-pci,netdev={name}{several}"
            )
        }
    }
}
