// SPDX-License-Identifier: GPL-2.0

//! Buffers that are returned together, where the driver has agreed to have them in order: it is told of the
//! last one, and takes it that those before are used, too, and were written to in full.

use super::{Done, Queue};
use crate::ring::Result;

/// Buffers that are done, and that the driver was not told of.
#[derive(Debug, Default)]
pub struct Batch {
    ids: Vec<u16>,
    /// How many descriptors they have.
    descriptors: u16,
    /// How much was written to the last one.
    written: u32,
    /// The last one was written to in full, so that another one may follow.
    is_full: bool,
}

impl<J> Queue<J> {
    /// Returns a buffer with those before, if these can be in one batch, when the driver is
    /// [notified](Queue::notify).
    pub(super) fn give_back_in_batch(&mut self, done: &Done) -> Result<()> {
        let follows = self.batch.as_ref().is_some_and(|batch| batch.is_full);
        if !follows {
            self.end_batch()?;
        }
        let batch = self.batch.get_or_insert_default();
        batch.ids.push(done.buffer.id);
        batch.descriptors = batch.descriptors.saturating_add(done.buffer.count);
        batch.written = done.written;
        batch.is_full = u64::from(done.written) == done.buffer.writable_length();
        Ok(())
    }

    /// Tells the driver of the buffers that are done.
    pub fn end_batch(&mut self) -> Result<()> {
        let (Some(batch), Some(ring)) = (self.batch.take(), &mut self.ring) else {
            return Ok(());
        };
        let Some((&last, others)) = batch.ids.split_last() else {
            return Ok(());
        };
        let buffers = u16::try_from(batch.ids.len()).unwrap_or(u16::MAX);
        ring.push_batch(last, batch.written, (buffers, batch.descriptors))?;
        self.counters.spared += u64::try_from(others.len()).unwrap_or(u64::MAX);
        for id in &batch.ids {
            self.note_returned(*id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        memory::tests::memory,
        order::Order,
        queue::{Done, Join, Queue},
        ring::{Form, tests::driver::Driver},
    };

    /// Adds buffers with so many readable and writable elements, returns them with so many bytes written,
    /// and then sees what the driver is told.
    fn told(form: Form, returned: &[(u16, u16, u32)]) -> Vec<(usize, u32)> {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        let mut queue = Queue::<()>::new();
        let ring = driver.ring(&memory, None).expect("a ring");
        queue.start(ring, Order::Came, true);
        for (readable, writable, _) in returned {
            driver.add(&memory, *readable, *writable);
        }
        let taken = queue.take(&memory, 8).expect("buffers");
        let ids: Vec<_> = taken.iter().map(|buffer| buffer.id).collect();
        for (buffer, (_, _, written)) in taken.into_iter().zip(returned) {
            let done = Done {
                buffer,
                written: *written,
                actions: Vec::new(),
                join: Join::Last,
            };
            queue.give_back(&memory, &done).expect("a return");
        }
        queue.notify().expect("a notification");
        let mut seen = Vec::new();
        let mut first = 0;
        while let Some((id, written)) = driver.used(&memory) {
            let last = ids
                .iter()
                .position(|other| *other == id)
                .expect("one of these");
            driver.skip(&ids[first..last]);
            first = last + 1;
            seen.push((last, written));
        }
        assert_eq!(queue.counters.returned, 3);
        assert_eq!(queue.counters.spared, 3 - seen.len() as u64);
        assert!(queue.out.is_empty());
        seen
    }

    #[test]
    fn the_last_one_stands_for_those_before() {
        for packed in [false, true] {
            let form = Form {
                packed,
                ..Form::default()
            };
            // Frames that were sent: nothing is written to any of them.
            assert_eq!(told(form, &[(1, 0, 0), (2, 0, 0), (1, 0, 0)]), [(2, 0)]);
            // One that was not written to in full is the last of its batch.
            assert_eq!(
                told(form, &[(1, 1, 16), (1, 1, 3), (1, 1, 16)]),
                [(1, 3), (2, 16)]
            );
        }
    }
}
