// SPDX-License-Identifier: GPL-2.0

//! A backend is killed before any of its writes, and another one takes up what it has left.

use super::{super::*, FORMS, driver::Driver};
use crate::memory::{
    Area,
    tests::{LEFT, file, memory},
};

const SIZE: u16 = 8;

/// Returns a record that nothing is in yet.
pub fn record() -> Area {
    let length = inflight::length(SIZE);
    let file = file(u64::try_from(length).expect("a length"));
    Area::of_file(file, 0, length).expect("a record")
}

/// Takes two buffers, returns them in the other order, again and again, until it is killed.
fn serve(driver: &Driver, memory: &Memory, record: &Area) -> Result<()> {
    let mut ring = driver.ring(memory, Some(record))?;
    loop {
        let mut taken = Vec::new();
        while let Some(buffer) = ring.pop(memory)? {
            taken.push(buffer);
            if taken.len() == 2 {
                break;
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        for buffer in taken.iter().rev() {
            ring.push(buffer, 1)?;
        }
    }
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice() {
    for form in FORMS {
        for kill in 0..250 {
            let memory = memory(0x10000);
            let record = record();
            let mut driver = Driver::new(&memory, SIZE, form);
            let (mut added, mut used) = (Vec::new(), Vec::new());
            for round in 0..12 {
                let many = if round % 3 == 2 { 1 } else { 3 };
                for i in 0..many {
                    added.push(if i == 1 {
                        driver.add_indirect(&memory, 1, 1)
                    } else {
                        driver.add(&memory, 1, 1)
                    });
                }
                // It is killed once, somewhere in the middle.
                LEFT.set(if round == 4 { kill } else { u32::MAX });
                let killed = serve(&driver, &memory, &record).is_err();
                LEFT.set(u32::MAX);
                if killed {
                    // As QEMU does it: the base of a split ring is the used index; that of a packed
                    // ring is what the first backend was told.
                    let mut index = [0; 2];
                    memory
                        .read(crate::memory::tests::GUEST + 0x2002, &mut index)
                        .expect("a read");
                    if !form.packed {
                        driver.setup.base = u16::from_le_bytes(index).into();
                    }
                    if round % 2 == 0 {
                        // The driver goes on before the next one comes.
                        used.extend(std::iter::from_fn(|| driver.used(&memory)));
                    }
                    serve(&driver, &memory, &record).expect("the next one");
                }
                used.extend(std::iter::from_fn(|| driver.used(&memory)));
            }
            let mut ids: Vec<_> = used.iter().map(|(id, _)| *id).collect();
            ids.sort_unstable();
            added.sort_unstable();
            assert_eq!(ids, added, "{form:?}, killed before write {kill}");
        }
    }
}

#[test]
fn what_is_held_is_served_in_its_order() {
    for form in FORMS {
        let memory = memory(0x10000);
        let record = record();
        let mut driver = Driver::new(&memory, SIZE, form);
        let ids: Vec<_> = (0..4).map(|_| driver.add(&memory, 1, 1)).collect();
        let mut ring = driver.ring(&memory, Some(&record)).expect("a ring");
        let taken: Vec<_> = (0..4)
            .map(|_| ring.pop(&memory).expect("a pop").expect("a buffer"))
            .collect();
        ring.push(&taken[1], 1).expect("a push");
        drop(ring);
        if !form.packed {
            driver.setup.base = 1;
        }

        let mut ring = driver.ring(&memory, Some(&record)).expect("a ring");
        assert_eq!(ring.to_resume(), 3);
        let again: Vec<_> = std::iter::from_fn(|| ring.pop(&memory).expect("a pop")).collect();
        let numbers: Vec<_> = again.iter().map(|buffer| buffer.id).collect();
        assert_eq!(numbers, [ids[0], ids[2], ids[3]]);
        assert_eq!(again[0].elements, taken[0].elements);
    }
}

#[test]
fn a_damaged_record_is_refused_or_used() {
    for form in FORMS {
        for at in 0..inflight::length(SIZE) {
            let memory = memory(0x10000);
            let record = record();
            let mut driver = Driver::new(&memory, SIZE, form);
            let mut ring = driver.ring(&memory, Some(&record)).expect("a ring");
            for _ in 0..3 {
                driver.add(&memory, 1, 1);
            }
            let first = ring.pop(&memory).expect("a pop").expect("a buffer");
            ring.pop(&memory).expect("a pop").expect("a buffer");
            ring.push(&first, 1).expect("a push");
            for value in [0xff, 1, 2, 0x80] {
                let [old] = record.read::<1>(at).expect("a read");
                record.write(at, &[value]).expect("damage");
                if let Ok(mut ring) = driver.ring(&memory, Some(&record)) {
                    for _ in 0..2 * SIZE {
                        let Ok(Some(buffer)) = ring.pop(&memory) else {
                            break;
                        };
                        let _ = ring.push(&buffer, 1);
                    }
                }
                record.write(at, &[old]).expect("a repair");
            }
        }
    }
}
