// SPDX-License-Identifier: GPL-2.0

//! Lies about memory: what the driver gets is not what it should be, or not when.

use super::Device;
use crate::{
    class::Class,
    log::warning,
    memory::{Memory, MemoryError},
    ring::Buffer,
    rule::Action,
};
use random::Random;
use std::time::Instant;
use virtio_wire::ring::{Table, split::Descriptor};

/// How many bytes change after a buffer was returned.
const LATE_BYTES: u16 = 4;

/// What is done to a buffer that was returned.
#[derive(Debug)]
pub struct After<J> {
    /// When.
    pub ready: Instant,
    buffer: Buffer,
    task: Task<J>,
}

#[derive(Debug)]
enum Task<J> {
    /// What should have been done before.
    Serve(J, Vec<Action>),
    /// Some bytes of so many become others, as a number determines.
    Change(u64, u64),
    /// Some bytes of its table of descriptors become others, as this number determines.
    ChangeTable(u64),
}

/// Returns how many bytes of the descriptors are changed, and how, if they are.
pub(super) fn scribbles(actions: &[Action]) -> Option<(u16, u64)> {
    actions.iter().find_map(|action| match *action {
        Action::Scribble(bytes, seed) => Some((bytes, seed)),
        _ => None,
    })
}

/// Makes a byte another one.
fn flip(memory: &Memory, address: u64, by: u8) -> Result<(), MemoryError> {
    let mut byte = [0];
    memory.read(address, &mut byte)?;
    memory.write(address, &byte.map(|byte| byte ^ by))
}

/// Makes bytes of a table of descriptors others.
fn change_table(memory: &Memory, table: Table, bytes: u16, seed: u64) -> Result<(), MemoryError> {
    let length = usize::from(table.entries.get()) * Descriptor::SIZE;
    let mut random = Random::new(seed);
    for at in random.places(length, bytes.into()) {
        let address = table.address.saturating_add(u64::try_from(at).unwrap_or(0));
        flip(memory, address, random.byte() | 1)?;
    }
    Ok(())
}

/// Makes bytes others, of those that the device may write, before `end`.
fn change(
    memory: &Memory,
    buffer: &Buffer,
    end: u64,
    bytes: u16,
    seed: u64,
) -> Result<(), MemoryError> {
    let end = usize::try_from(buffer.writable_length().min(end)).unwrap_or(usize::MAX);
    let mut random = Random::new(seed);
    for at in random.places(end, bytes.into()) {
        let mut at = u64::try_from(at).unwrap_or(0);
        let by = random.byte() | 1;
        for element in buffer.writable() {
            let length = u64::from(element.length);
            if at < length {
                flip(memory, element.address + at, by)?;
                break;
            }
            at -= length;
        }
    }
    Ok(())
}

impl<C: Class> Device<C> {
    /// Serves a request, unless that is done later, and returns how many bytes were written to it.
    pub(super) fn serve_job(
        &mut self,
        index: usize,
        buffer: &Buffer,
        job: C::Job,
        actions: &[Action],
    ) -> u32 {
        let now = Instant::now();
        let mut late = Vec::new();
        let after = |ready, task| After {
            ready,
            buffer: buffer.clone(),
            task,
        };
        let early = actions.iter().find_map(|action| match *action {
            Action::Early(time) => Some(time),
            _ => None,
        });
        let written = if let Some(time) = early {
            // A driver may give more than can be said of it.
            let all = || u32::try_from(buffer.writable_length()).unwrap_or(u32::MAX);
            let length = self.class.length(&job).unwrap_or_else(all);
            late.push(after(now + time, Task::Serve(job, actions.to_vec())));
            length
        } else {
            self.class.serve(&self.memory, &job, actions)
        };
        for action in actions {
            match *action {
                Action::Mutate(bytes, seed) => {
                    self.change(buffer, u64::from(written), bytes, seed);
                }
                Action::Late(time, seed) => {
                    late.push(after(now + time, Task::Change(written.into(), seed)));
                }
                Action::ScribbleTable(bytes, seed) => self.change_table(buffer, bytes, seed),
                Action::LateTable(time, seed) => {
                    late.push(after(now + time, Task::ChangeTable(seed)));
                }
                _ => {}
            }
        }
        if let Some(queue) = self.queues.get_mut(index) {
            queue.after.append(&mut late);
        }
        written
    }

    fn change(&self, buffer: &Buffer, end: u64, bytes: u16, seed: u64) {
        if let Err(error) = change(&self.memory, buffer, end, bytes, seed) {
            warning!("{}: a buffer cannot be changed: {error}", self.name);
        }
    }

    fn change_table(&self, buffer: &Buffer, bytes: u16, seed: u64) {
        if let Some(table) = buffer.table
            && let Err(error) = change_table(&self.memory, table, bytes, seed)
        {
            warning!("{}: a table cannot be changed: {error}", self.name);
        }
    }

    /// Does what is done after buffers were returned, and for which it is time.
    pub(super) fn do_late(&mut self, index: usize, now: Instant) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        if queue.after.is_empty() {
            return;
        }
        let all = std::mem::take(&mut queue.after);
        let (due, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.ready <= now);
        queue.after = rest;
        for After { buffer, task, .. } in due {
            match task {
                Task::Serve(job, actions) => {
                    self.class.serve(&self.memory, &job, &actions);
                }
                Task::ChangeTable(seed) => self.change_table(&buffer, LATE_BYTES, seed),
                Task::Change(end, seed) => self.change(&buffer, end, LATE_BYTES, seed),
            }
        }
    }
}
