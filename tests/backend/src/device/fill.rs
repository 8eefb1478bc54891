// SPDX-License-Identifier: GPL-2.0

//! Queues whose buffers are filled when there is something for the driver.

use super::{BATCH, Device};
use crate::{
    class::{Class, Next, Use},
    queue::Join,
    ring::{self, Buffer},
    rule::Action,
};

/// The buffers for what is next.
enum Taken {
    /// There is enough room.
    Room(Vec<Buffer>),
    /// There is not, until the driver has notified.
    Wait,
    /// There never will be.
    Never,
}

impl<C: Class> Device<C> {
    /// Takes what has come for the driver.
    pub fn woken(&mut self) {
        self.class.collect();
        for index in 0..self.queues.len() {
            if self.class.queue_use(index) == Use::Filled {
                self.fill(index);
            }
        }
    }

    /// Fills buffers of a queue, as long as there are some, and something to fill them with.
    pub(super) fn fill(&mut self, index: usize) {
        let mut filled = 0;
        loop {
            let runs = self.queues.get(index).is_some_and(|queue| queue.runs());
            let next = if runs { self.class.next(index) } else { None };
            let more = match next {
                Some(next) => match self.fill_next(index, &next) {
                    Ok(more) => more,
                    Err(error) => {
                        if let Some(queue) = self.queues.get_mut(index) {
                            queue.fail(&format!("{error:#}"));
                        }
                        return;
                    }
                },
                None => false,
            };
            filled += 1;
            if !more || filled % BATCH == 0 {
                self.notify(index);
            }
            if !more {
                return;
            }
        }
    }

    /// Fills buffers with what is next. Returns whether there may be more to do.
    fn fill_next(&mut self, index: usize, next: &Next) -> anyhow::Result<bool> {
        let buffers = match self.room(index, next)? {
            Taken::Room(buffers) => buffers,
            Taken::Wait => return Ok(false),
            Taken::Never => {
                self.class.skip(index);
                return Ok(true);
            }
        };
        let bytes = if self.rules.look_for_patterns() {
            self.class.peek(index).map(<[u8]>::to_vec)
        } else {
            None
        };
        let actions = self.apply(&next.facts, index, &buffers, &bytes.unwrap_or_default());
        if actions.contains(&Action::Drop) {
            self.put_back(index, &buffers)?;
            self.class.skip(index);
            return Ok(true);
        }
        let jobs = self.class.fill(&self.memory, index, &buffers, &actions)?;
        let count = buffers.len();
        if let Some(queue) = self.queues.get_mut(index) {
            for buffer in &buffers {
                queue.note_taken(buffer);
            }
        }
        for (at, (buffer, job)) in buffers.into_iter().zip(jobs).enumerate() {
            let join = if at + 1 < count {
                Join::Next
            } else {
                Join::Last
            };
            self.accept_job(index, (buffer, job), actions.clone(), join);
        }
        Ok(true)
    }

    /// Takes as many buffers as what is next needs.
    fn room(&mut self, index: usize, next: &Next) -> ring::Result<Taken> {
        let mut buffers = Vec::new();
        let mut room = 0;
        let Some(queue) = self.queues.get_mut(index) else {
            return Ok(Taken::Wait);
        };
        let size = usize::from(queue.setup.size);
        let Some(ring) = &mut queue.ring else {
            return Ok(Taken::Wait);
        };
        while room < next.length && (next.several || buffers.is_empty()) {
            match ring.pop(&self.memory)? {
                Some(buffer) => {
                    let length = usize::try_from(buffer.writable_length());
                    room = room.saturating_add(length.unwrap_or(usize::MAX));
                    buffers.push(buffer);
                }
                // Asked for here, the driver notifies of the first buffer that is not there yet.
                None if ring.ask_for_kicks()? => {}
                None => break,
            }
        }
        if room >= next.length {
            ring.refuse_kicks()?;
            return Ok(Taken::Room(buffers));
        }
        let never = !next.several && !buffers.is_empty() || buffers.len() >= size;
        self.put_back(index, &buffers)?;
        Ok(if never { Taken::Never } else { Taken::Wait })
    }

    /// Puts buffers back that were taken last.
    fn put_back(&mut self, index: usize, buffers: &[Buffer]) -> ring::Result<()> {
        let ring = self
            .queues
            .get_mut(index)
            .and_then(|queue| queue.ring.as_mut());
        let Some(ring) = ring else {
            return Ok(());
        };
        buffers
            .iter()
            .rev()
            .try_for_each(|buffer| ring.unpop(buffer))
    }
}
