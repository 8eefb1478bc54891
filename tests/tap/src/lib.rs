// SPDX-License-Identifier: GPL-2.0

//! Tap interfaces of Linux.
//!
//! A [`Tap`] is a file: a read returns a frame that the host sends, a write is a frame that it
//! receives. Each has a header of [`HEADER`] bytes before it, that of virtio 1 in little-endian
//! bytes, so that large frames and partial checksums go through.
//!
//! See `Documentation/networking/tuntap.rst` of the kernel, and its header `linux/if_tun.h`.

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    ioctl::{IntegerSetter, Setter, Updater, ioctl},
};
use std::{ffi::c_int, fs::File, os::fd::AsFd};
use thiserror::Error;

/// The length of the header.
pub const HEADER: usize = 12;

/// Why there is no tap interface.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel, or whoever runs this, has none.
    #[error(
        "this machine has no tap interfaces: /dev/net/tun is missing; as root: modprobe tun, or give \
         a container that device"
    )]
    Missing,
    /// It was not allowed.
    #[error(
        "tap interface {0} may not be made or used: it takes CAP_NET_ADMIN, or an interface that \
         root has made for this user (ip tuntap add {0} mode tap vnet_hdr user ...)"
    )]
    Permission(String),
    /// Somebody else has it.
    #[error("tap interface {0} is in use by another program, or at another port")]
    Busy(String),
    /// It cannot be a name of an interface.
    #[error("{0:?} is no name of an interface: it has 1 to 15 bytes, without / % : and spaces")]
    Name(String),
    /// There is an interface of that name which is something else.
    #[error(
        "interface {0} is no tap interface with headers of virtio and one queue; choose another \
         name, or make one as root: ip tuntap add NAME mode tap vnet_hdr"
    )]
    Kind(String),
    /// Something else.
    #[error("{0}")]
    Other(&'static str, #[source] Errno),
}

/// What the host may send in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// Partial checksums, and TCP that is to be segmented.
    pub tcp: bool,
    /// UDP that is to be segmented.
    pub udp: bool,
}

/// A tap interface. It ends with this, unless somebody has made it to stay.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    offloads: Offloads,
}

const TUNSETIFF: u32 = 0x4004_54ca;
const TUNSETOFFLOAD: u32 = 0x4004_54d0;
const TUNSETVNETHDRSZ: u32 = 0x4004_54d8;
const TUNSETVNETLE: u32 = 0x4004_54dc;

const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO4: usize = 0x02;
const TUN_F_TSO6: usize = 0x04;
const TUN_F_TSO_ECN: usize = 0x08;
const TUN_F_USO4: usize = 0x20;
const TUN_F_USO6: usize = 0x40;

/// The length of the name of an interface, with the zero behind it.
const IFNAMSIZ: usize = 16;

/// `struct ifreq`, of which only the flags are used beside the name.
#[repr(C)]
struct Request {
    name: [u8; IFNAMSIZ],
    flags: u16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == 40);

impl Request {
    /// Makes one for an interface of that name.
    fn new(name: &str) -> Result<Self, Error> {
        let mut request = Self {
            name: [0; IFNAMSIZ],
            flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
            rest: [0; 22],
        };
        let valid = !name.is_empty() && !name.contains(['/', '%', ':', '\0', ' ']);
        match request.name.get_mut(..name.len()) {
            // The last byte of the name stays zero.
            Some(place) if valid && name.len() < IFNAMSIZ => place.copy_from_slice(name.as_bytes()),
            _ => return Err(Error::Name(name.to_owned())),
        }
        Ok(request)
    }
}

impl Tap {
    /// Opens the interface of that name, or makes one, which is down.
    ///
    /// # Errors
    ///
    /// There are none, it is not allowed, or the name cannot be.
    pub fn open(name: &str) -> Result<Self, Error> {
        let request = Request::new(name)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match open("/dev/net/tun", flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => return Err(Error::Missing),
            Err(Errno::PERM | Errno::ACCESS) => return Err(Error::Permission(name.to_owned())),
            Err(error) => return Err(Error::Other("/dev/net/tun cannot be opened", error)),
        };
        set_interface(&file, name, request)?;
        let length = c_int::try_from(HEADER).unwrap_or(c_int::MAX);
        set::<TUNSETVNETHDRSZ>(&file, length)
            .and_then(|()| set::<TUNSETVNETLE>(&file, 1))
            .map_err(|error| Error::Other("the header cannot be set", error))?;
        let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        let udp = TUN_F_USO4 | TUN_F_USO6;
        // Linux before 6.2 does not know UDP.
        let offloads = if set_offloads(&file, tcp | udp).is_ok() {
            Offloads {
                tcp: true,
                udp: true,
            }
        } else {
            let tcp = set_offloads(&file, tcp).is_ok();
            Offloads { tcp, udp: false }
        };
        Ok(Self {
            file,
            name: name.to_owned(),
            offloads,
        })
    }

    /// Returns the file, from which reads do not wait.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the name of the interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the host may send.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }
}

#[expect(unsafe_code, reason = "a request to the driver")]
fn set_interface(file: &File, name: &str, mut request: Request) -> Result<(), Error> {
    // SAFETY: `TUNSETIFF` reads and writes a `struct ifreq`, of which `Request` has the layout.
    let updater = unsafe { Updater::<TUNSETIFF, Request>::new(&mut request) };
    // SAFETY: The request is valid, see above, and has no effect on memory but for `request`.
    let result = unsafe { ioctl(file.as_fd(), updater) };
    result.map_err(|error| match error {
        Errno::PERM | Errno::ACCESS => Error::Permission(name.to_owned()),
        Errno::BUSY => Error::Busy(name.to_owned()),
        Errno::INVAL => Error::Kind(name.to_owned()),
        error => Error::Other("a tap interface cannot be made", error),
    })
}

/// Sets a number of the driver.
#[expect(unsafe_code, reason = "a request to the driver")]
fn set<const OPCODE: u32>(file: &File, value: c_int) -> Result<(), Errno> {
    // SAFETY: The two requests that this is used for read an `int`.
    let setter = unsafe { Setter::<OPCODE, c_int>::new(value) };
    // SAFETY: The request is valid, see above, and has no effect on memory.
    unsafe { ioctl(file.as_fd(), setter) }
}

/// Sets what the host may send.
#[expect(unsafe_code, reason = "a request to the driver")]
fn set_offloads(file: &File, bits: usize) -> Result<(), Errno> {
    // SAFETY: `TUNSETOFFLOAD` takes the bits themselves, and no pointer.
    let setter = unsafe { IntegerSetter::<TUNSETOFFLOAD>::new_usize(bits) };
    // SAFETY: The request is valid, see above, and has no effect on memory.
    unsafe { ioctl(file.as_fd(), setter) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_anything_is_asked() {
        for name in ["", "a name", "sixteen-bytes-xx", "a/b", "tap%d", "a\0b"] {
            let error = Tap::open(name).expect_err("no name");
            assert!(matches!(error, Error::Name(_)), "{error}");
        }
        // It is none of the driver's files.
        let file = File::open("/dev/null").expect("a file");
        let request = Request::new("fifteen-bytes-x").expect("a name");
        let result = set_interface(&file, "fifteen-bytes-x", request);
        assert!(matches!(result, Err(Error::Other(..))));
    }

    #[test]
    fn an_error_says_what_to_do() {
        let name = || "tap0".to_owned();
        for (error, what) in [
            (Error::Permission(name()), "ip tuntap add tap0 mode tap"),
            (Error::Kind(name()), "ip tuntap add NAME mode tap"),
            (Error::Busy(name()), "another program"),
            (Error::Missing, "modprobe tun"),
        ] {
            let text = error.to_string();
            assert!(text.contains(what), "{text}");
        }
    }
}
