// SPDX-License-Identifier: GPL-2.0

//! Sockets with a place in the file system, at which this program listens.
//!
//! A socket outlives the program that made it, if that was killed. Such a file is *stale*: nobody has
//! the socket open, and it is replaced. One that somebody has open is not touched.

use crate::log::warning;
use rustix::io::Errno;
use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::{UnixDatagram, UnixListener},
    },
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Why nobody can connect there.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Somebody listens.
    #[error(
        "socket {0} is in use: another program listens there; end that one, or choose another path"
    )]
    Busy(PathBuf),
    /// There is a file, and it is no socket.
    #[error("{0} is there, and is no socket: remove it, or choose another path")]
    NoSocket(PathBuf),
    /// Something else.
    #[error("listening at {0}")]
    Io(PathBuf, #[source] io::Error),
}

/// The file of a socket, which is removed with this, unless somebody has replaced it.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    /// What tells it from another file of that name.
    identity: Option<(u64, u64)>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.identity.is_some() && self.identity == identity(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let there = fs::symlink_metadata(path).ok()?;
    Some((there.dev(), there.ino()))
}

/// Listens at a place, where a stale socket may be.
///
/// # Errors
///
/// Somebody else listens there, or the place cannot be used.
pub fn listen(path: &Path) -> Result<(UnixListener, Bound), SocketError> {
    let failed = |error| SocketError::Io(path.to_owned(), error);
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            UnixListener::bind(path)
        }
        result => result,
    };
    let listener = listener.map_err(failed)?;
    let bound = Bound {
        path: path.to_owned(),
        identity: identity(path),
    };
    Ok((listener, bound))
}

/// Removes what a program has left that was killed.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |error| SocketError::Io(path.to_owned(), error);
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        // Its owner has just removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !there.file_type().is_socket() {
        return Err(SocketError::NoSocket(path.to_owned()));
    }
    if is_open(path).map_err(failed)? {
        return Err(SocketError::Busy(path.to_owned()));
    }
    warning!("{}: a stale socket is replaced", path.display());
    fs::remove_file(path).map_err(failed)
}

/// Returns whether somebody has a socket open.
///
/// It is asked with a socket of another type: who listens does not see that, and need not take note
/// of one that connects and goes.
fn is_open(path: &Path) -> io::Result<bool> {
    let error = match UnixDatagram::unbound()?.connect(path) {
        Ok(()) => return Ok(true),
        Err(error) => error,
    };
    match Errno::from_io_error(&error) {
        Some(Errno::PROTOTYPE) => Ok(true),
        Some(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("rv-{}-socket-{name}", std::process::id()))
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let path = place("stale");
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(UnixStream::connect(&path).is_err(), "nobody listens");

        let (_listener, bound) = listen(&path).expect("a listener");

        UnixStream::connect(&path).expect("a connection");
        drop(bound);
        assert!(!path.exists(), "the socket is removed");
    }

    #[test]
    fn one_that_is_in_use_stays() {
        let path = place("busy");
        let (listener, _bound) = listen(&path).expect("a listener");

        let error = listen(&path).expect_err("it is in use").to_string();

        let wanted = format!("socket {} is in use: another program", path.display());
        assert!(error.starts_with(&wanted), "{error}");
        UnixStream::connect(&path).expect("a connection");
        listener.set_nonblocking(true).expect("not to wait");
        listener.accept().expect("the connection");
        assert!(listener.accept().is_err(), "it was not called to ask");
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let path = place("file");
        fs::write(&path, "precious").expect("a file");

        let error = listen(&path).expect_err("it is no socket");

        assert!(matches!(error, SocketError::NoSocket(_)), "{error}");
        assert_eq!(fs::read(&path).expect("the file"), b"precious");
        fs::remove_file(&path).expect("to be removed");
    }

    #[test]
    fn a_place_that_is_not_there_is_said() {
        let error = listen(Path::new("/nowhere/socket")).expect_err("no directory");
        assert_eq!(error.to_string(), "listening at /nowhere/socket");
    }

    #[test]
    fn the_socket_of_another_is_not_removed() {
        let path = place("another");
        let (_listener, bound) = listen(&path).expect("a listener");
        let aside = place("aside");
        fs::rename(&path, &aside).expect("to be renamed");
        let (_other, _other_bound) = listen(&path).expect("another listener");

        drop(bound);

        assert!(path.exists());
        fs::remove_file(&aside).expect("to be removed");
    }
}
