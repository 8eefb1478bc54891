// SPDX-License-Identifier: GPL-2.0

//! A connection between a server and the standard streams.

use crate::tcp::Server;
use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};
use std::{
    io::{self, copy},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsRawFd,
};

/// Says to a server what comes from standard input, and prints what it says. The kernel routes it by a
/// mark, if there is one.
pub fn run(server: &Server, mark: Option<u32>) -> Result<()> {
    let family = if server.address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if let Some(mark) = mark {
        setsockopt(&socket, sockopt::Mark, &mark).context("marking a socket")?;
    }
    let address = SocketAddr::new(server.address, server.port);
    connect(socket.as_raw_fd(), &SockaddrStorage::from(address))
        .with_context(|| format!("connecting to {address}"))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(server.patience))?;
    copy(&mut io::stdin().lock(), &mut stream)?;
    stream.shutdown(Shutdown::Write)?;
    copy(&mut stream, &mut io::stdout().lock())?;
    Ok(())
}
