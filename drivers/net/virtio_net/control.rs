// SPDX-License-Identifier: GPL-2.0

//! The control queue.
//!
//! A command waits for an interrupt, and not for ever: somebody who waits for a command has locks
//! that the whole network stack needs. A device that does not answer in time is reset.

use kernel::{
    device::Bound,
    new_mutex,
    prelude::*,
    sync::Mutex,
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic, //
    },
};
use kernel_ext::{
    fmt::Plain,
    sync::Completion,
    virtio::{
        Context,
        Device,
        Message,
        Virtqueue, //
    },
};
use virtio_wire::net::{
    ctrl::CtrlRules,
    Ack,
    Command,
    CtrlError, //
};

/// How long a command may take, in milliseconds.
const LIMIT: u32 = 2000;

/// The most bytes that a command has, but for those that tell their length.
const USUAL_LENGTH: usize = 64;

/// The queue for commands.
pub(crate) type Ring<'bound> = Virtqueue<'bound, Message>;

/// What sends commands, one at a time.
#[pin_data]
pub(crate) struct Control<'bound> {
    vdev: &'bound Device<Bound>,
    rules: CtrlRules,
    #[pin]
    ring: Mutex<Option<Ring<'bound>>>,
    /// Something has come back.
    #[pin]
    answered: Completion,
}

/// Why a command was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// It cannot be sent, because of what was negotiated.
    Refused(CtrlError),
    /// The device has refused it.
    Denied,
    /// The device is not there now: the state is set when it is.
    Absent,
    /// There was no answer that makes sense: the device is to be reset.
    Broken,
    /// Something else.
    Other(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(_) => EOPNOTSUPP,
            Failure::Denied => EINVAL,
            Failure::Absent => ENETDOWN,
            Failure::Broken => EIO,
            Failure::Other(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl<'bound> Control<'bound> {
    pub(crate) fn new(
        vdev: &'bound Device<Bound>,
        rules: CtrlRules,
        ring: Ring<'bound>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            vdev,
            rules,
            ring <- new_mutex!(Some(ring)),
            answered <- Completion::new(),
        })
    }

    /// Gives it a ring, after the device was reset.
    pub(crate) fn set_ring(&self, ring: Ring<'bound>) {
        *self.ring.lock() = Some(ring);
    }

    /// Takes the ring away.
    pub(crate) fn take_ring(&self) -> Option<Ring<'bound>> {
        // Whoever waits for an answer has the lock, and finds that the ring is broken.
        self.answered.complete();
        self.ring.lock().take()
    }

    /// Something has come back.
    pub(crate) fn used(&self) {
        self.answered.complete();
    }

    /// Sends a command, and waits until it is done.
    pub(crate) fn send(&self, command: &Command<'_>) -> Result<(), Failure> {
        self.send_long(command, USUAL_LENGTH)
    }

    /// Sends a command of at most `length` bytes, and waits until it is done.
    pub(crate) fn send_long(&self, command: &Command<'_>, length: usize) -> Result<(), Failure> {
        let message = self.encode(command, length)?;
        let mut ring = self.ring.lock();
        let Some(ring) = &mut *ring else {
            return Err(Failure::Absent);
        };

        self.answered.reset();
        // One that nobody waited for, because its task was killed.
        while ring.outstanding() > 0 {
            drop(self.answer(ring)?);
        }
        ring.add(message, Context::Process)
            .map_err(|error| Failure::Other(error.error))?;
        ring.kick();
        let message = self.answer(ring)?;
        let byte = message.writable().first().copied();
        match Ack::new(byte.unwrap_or(Ack::UNWRITTEN)) {
            Ok(Ack::Ok) => Ok(()),
            Ok(Ack::Error) => Err(Failure::Denied),
            Err(error) => {
                self.vdev
                    .complain(|| dev_err!(self.vdev, "{}\n", Plain(error)));
                Err(Failure::Denied)
            }
        }
    }

    fn encode(&self, command: &Command<'_>, length: usize) -> Result<Message, Failure> {
        let mut bytes = KVec::from_elem(0, length, GFP_KERNEL).map_err(Error::from)?;
        let length = self.rules.encode(command, &mut bytes);
        bytes.truncate(length.map_err(Failure::Refused)?);

        let room = 1 + command.result_length();
        let result = KVec::from_elem(Ack::UNWRITTEN, room, GFP_KERNEL).map_err(Error::from)?;
        Ok(Message::new(bytes, result, GFP_KERNEL)?)
    }

    /// Waits for what the device has.
    fn answer(&self, ring: &mut Ring<'bound>) -> Result<Message, Failure> {
        let start = Instant::<Monotonic>::now();
        loop {
            match ring.pop() {
                Ok(Some(used)) => return Ok(used.buffer),
                Ok(None) => {}
                Err(_) => return Err(Failure::Broken),
            }
            // It may interrupt for nothing, as often as it likes.
            let passed = u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX);
            match LIMIT.checked_sub(passed) {
                Some(left) if left > 0 => match self.answered.wait(msecs_to_jiffies(left)) {
                    Ok(()) => {}
                    Err(error) if error == ETIMEDOUT => {}
                    Err(error) => return Err(Failure::Other(error)),
                },
                _ => {
                    dev_err!(self.vdev, "a command was not answered\n");
                    ring.break_down();
                    return Err(Failure::Broken);
                }
            }
        }
    }
}
