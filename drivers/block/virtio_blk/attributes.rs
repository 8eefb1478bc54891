// SPDX-License-Identifier: GPL-2.0

//! Files of the disk in sysfs.

use super::{
    shape::{
        self,
        Shape, //
    },
    Data,
    Io, //
};
use core::{
    mem::offset_of,
    pin::Pin, //
};
use kernel::prelude::*;
use kernel_ext::block::{
    Attribute,
    Direction,
    Disk,
    DiskOptions,
    Text, //
};
use virtio_wire::blk::{
    CacheMode,
    ConfigLayout,
    DeviceId,
    Feature,
    Lifetime,
    LifetimeLayout,
    RequestHeader,
    RequestKind, //
};

const WRITE_BACK: &str = "write back";
const WRITE_THROUGH: &str = "write through";

/// Adds the files that a disk with these features has.
pub(crate) fn add(options: DiskOptions<Io>, shape: &Shape) -> Result<DiskOptions<Io>> {
    let cache_type = if shape.has_cache_mode() {
        Attribute::<Io>::read_write(c"cache_type", show_cache_type, store_cache_type)
    } else {
        Attribute::<Io>::read_only(c"cache_type", show_cache_type)
    };
    let options = options
        .attribute(Attribute::<Io>::read_only(c"serial", show_serial))?
        .attribute(cache_type)?;
    if shape.has_lifetime() {
        return options.attribute(Attribute::<Io>::read_only(c"lifetime", show_lifetime));
    }
    Ok(options)
}

fn disk<'a>(this: &'a Data<'_>) -> Result<&'a Disk<Io>> {
    this.disk.as_ref().ok_or(ENODEV)
}

/// Has the device write something about itself.
fn ask(this: &Data<'_>, kind: RequestKind, answer: &mut [u8]) -> Result {
    let header = RequestHeader::new(kind, 0).to_bytes();
    disk(this)?.execute(
        Direction::FromDevice,
        answer,
        |frame| *frame.header() = header,
        |_| (),
    )
}

/// Asks the device for its serial number, if it has one.
pub(crate) fn serial(this: &Data<'_>) -> Result<Option<DeviceId>> {
    let mut answer = [0; DeviceId::LENGTH];
    match ask(this, RequestKind::GetId, &mut answer) {
        Err(error) if error == EOPNOTSUPP => Ok(None),
        result => result.map(|()| Some(DeviceId::from_bytes(answer))),
    }
}

fn show_serial(this: Pin<&Data<'_>>, text: &mut Text<'_>) -> Result {
    match serial(&this)? {
        Some(serial) => text.append(serial.name()),
        None => Ok(()),
    }
}

fn show_lifetime(this: Pin<&Data<'_>>, text: &mut Text<'_>) -> Result {
    let mut answer = [0; LifetimeLayout::SIZE];
    ask(&this, RequestKind::GetLifetime, &mut answer)?;
    let layout = LifetimeLayout::from_bytes(&answer);
    Lifetime::new(&layout).map_err(|_| EIO)?;
    text.format(fmt!(
        "{} {} {}\n",
        layout.pre_eol_info.get(),
        layout.device_lifetime_est_typ_a.get(),
        layout.device_lifetime_est_typ_b.get()
    ))
}

fn show_cache_type(this: Pin<&Data<'_>>, text: &mut Text<'_>) -> Result {
    let mode = Shape::read(this.vdev, this.features)?.cache(this.vdev)?;
    text.format(fmt!(
        "{}\n",
        match mode {
            CacheMode::WriteBack => WRITE_BACK,
            CacheMode::WriteThrough => WRITE_THROUGH,
        }
    ))
}

fn store_cache_type(this: Pin<&Data<'_>>, text: &[u8]) -> Result {
    let mode = match text.trim_ascii() {
        text if text == WRITE_BACK.as_bytes() => CacheMode::WriteBack,
        text if text == WRITE_THROUGH.as_bytes() => CacheMode::WriteThrough,
        _ => return Err(EINVAL),
    };
    if !this.features.has(Feature::CONFIG_WCE) {
        return Err(EOPNOTSUPP);
    }
    let offset = offset_of!(ConfigLayout, writeback);
    this.vdev
        .write_config::<ConfigLayout>(offset, &[mode.byte()])?;

    // The device decides.
    let mode = Shape::read(this.vdev, this.features)?.cache(this.vdev)?;
    disk(&this)?.set_write_cache(shape::write_cache(mode))
}
