// SPDX-License-Identifier: GPL-2.0

pub(crate) mod driver;
mod hostile;
mod killed;

use super::*;
use crate::memory::tests::{USER, memory};
use driver::Driver;

const FORMS: [Form; 4] = [
    Form {
        packed: false,
        event_index: false,
        indirect: true,
    },
    Form {
        packed: false,
        event_index: true,
        indirect: true,
    },
    Form {
        packed: true,
        event_index: false,
        indirect: true,
    },
    Form {
        packed: true,
        event_index: true,
        indirect: true,
    },
];

#[test]
fn buffers_come_and_go() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        let mut ring = driver.ring(&memory, None).expect("a ring");
        for round in 0..100_u32 {
            let read = driver.add(&memory, 2, 1);
            let write = driver.add_indirect(&memory, 1, 2);
            let first = ring.pop(&memory).expect("a pop").expect("a buffer");
            let second = ring.pop(&memory).expect("a pop").expect("a buffer");
            assert_eq!(ring.pop(&memory).expect("a pop"), None);
            assert_eq!((first.id, second.id), (read, write));
            assert_eq!(first.elements.len(), 3);
            assert_eq!(second.readable().count(), 1);
            assert_eq!(second.writable().count(), 2);
            assert_eq!(ring.out(), 2);

            // The second one is done first.
            ring.push(&second, round).expect("a push");
            ring.push(&first, 7).expect("a push");
            assert_eq!(driver.used(&memory), Some((write, round)));
            assert_eq!(driver.used(&memory), Some((read, 7)));
            assert_eq!(driver.used(&memory), None);
            assert_eq!(ring.out(), 0);
        }
    }
}

#[test]
fn a_ring_goes_on_where_it_ended() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        for _ in 0..50 {
            let mut ring = driver.ring(&memory, None).expect("a ring");
            let id = driver.add(&memory, 1, 2);
            let buffer = ring.pop(&memory).expect("a pop").expect("a buffer");
            assert_eq!(buffer.id, id);
            ring.push(&buffer, 1).expect("a push");
            assert_eq!(driver.used(&memory), Some((id, 1)));
            driver.setup.base = ring.base();
        }
    }
}

#[test]
fn a_ring_goes_on_with_a_new_record() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        for round in 0..50 {
            let record = killed::record();
            let mut ring = driver.ring(&memory, Some(&record)).expect("a ring");
            let id = driver.add(&memory, 1, 1);
            let buffer = ring.pop(&memory).expect("a pop").expect("a buffer");
            assert_eq!(buffer.id, id);
            driver.setup.base = ring.base();
            if round == 49 {
                // This one does not come back: nobody takes it again.
                break;
            }
            ring.push(&buffer, 1).expect("a push");
            driver.setup.base = ring.base();
            assert_eq!(driver.used(&memory), Some((id, 1)));
        }
        let record = killed::record();
        let mut ring = driver.ring(&memory, Some(&record)).expect("a ring");
        assert_eq!(ring.pop(&memory).expect("a pop"), None);
        assert_eq!(ring.base(), driver.setup.base);
        let id = driver.add(&memory, 1, 1);
        let buffer = ring.pop(&memory).expect("a pop").expect("a buffer");
        assert_eq!(buffer.id, id);
        ring.push(&buffer, 2).expect("a push");
        assert_eq!(driver.used(&memory), Some((id, 2)));
    }
}

#[test]
fn a_driver_is_notified_when_it_wants() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        let mut ring = driver.ring(&memory, None).expect("a ring");
        let mut serve = |driver: &mut Driver| {
            driver.add(&memory, 1, 1);
            let buffer = ring.pop(&memory).expect("a pop").expect("a buffer");
            ring.push(&buffer, 1).expect("a push");
            driver.used(&memory).expect("a used buffer");
            ring.wants_call().expect("to know")
        };
        driver.want_calls(&memory, true);
        assert!(serve(&mut driver));
        driver.want_calls(&memory, false);
        assert!(!serve(&mut driver));
        assert!(!serve(&mut driver));
        driver.want_calls(&memory, true);
        assert!(serve(&mut driver));
        assert!(!ring.wants_call().expect("to know"), "nothing is new");
    }
}

#[test]
fn kicks_are_asked_for() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        let mut ring = driver.ring(&memory, None).expect("a ring");
        ring.refuse_kicks().expect("to refuse");
        assert!(!driver.may_kick(&memory) || (form.event_index && !form.packed));
        assert!(!ring.ask_for_kicks().expect("to ask"));
        assert!(driver.may_kick(&memory));
        driver.add(&memory, 1, 1);
        assert!(
            ring.ask_for_kicks().expect("to ask"),
            "there is one already"
        );
    }
}

#[test]
fn lies_are_told_as_they_should_be() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        let mut ring = driver.ring(&memory, None).expect("a ring");
        driver.add(&memory, 1, 0);
        ring.pop(&memory).expect("a pop").expect("a buffer");
        ring.forge(0x7777, 0xffff_fff0, 1).expect("a lie");
        assert_eq!(driver.used(&memory), Some((0x7777, 0xffff_fff0)));
        ring.jump(2).expect("a lie");
        assert!(driver.used(&memory).is_some());
        assert!(driver.used(&memory).is_some());
        assert_eq!(driver.used(&memory), None);
        assert_eq!(ring.out(), 1, "it is still out");
    }
}

#[test]
fn more_than_there_is_cannot_be_out() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 4, form);
        let mut ring = driver.ring(&memory, None).expect("a ring");
        for _ in 0..4 {
            driver.add(&memory, 1, 0);
            ring.pop(&memory).expect("a pop").expect("a buffer");
        }
        // The driver uses descriptors again that it did not get back.
        driver.add(&memory, 1, 0);
        assert!(matches!(ring.pop(&memory), Err(Error::Ring(_))));
    }
}

#[test]
fn what_is_not_in_memory_is_an_error() {
    for form in FORMS {
        let memory = memory(0x10000);
        let driver = Driver::new(&memory, 8, form);
        for change in [
            |setup: &mut Setup| setup.descriptors = 0,
            |setup: &mut Setup| setup.used = USER + 0x10000 - 2,
            |setup: &mut Setup| setup.available = u64::MAX,
            |setup: &mut Setup| setup.size = 0,
            |setup: &mut Setup| setup.size = 0x8001,
        ] {
            let mut setup = driver.setup;
            change(&mut setup);
            assert!(Ring::new(&memory, &setup, form, None).is_err(), "{setup:?}");
        }
    }
}

#[test]
fn rings_move_with_memory() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        let mut ring = driver.ring(&memory, None).expect("a ring");
        driver.add(&memory, 1, 1);
        let buffer = ring.pop(&memory).expect("a pop").expect("a buffer");
        ring.remap(&memory, &driver.setup, form).expect("the same");
        ring.push(&buffer, 3).expect("a push");
        assert_eq!(driver.used(&memory), Some((buffer.id, 3)));
        assert!(
            ring.remap(&crate::memory::Memory::default(), &driver.setup, form)
                .is_err()
        );
    }
}

#[test]
fn a_ring_is_looked_at() {
    for form in FORMS {
        let memory = memory(0x10000);
        let mut driver = Driver::new(&memory, 8, form);
        let mut ring = driver.ring(&memory, None).expect("a ring");
        assert_eq!(ring.look().expect("a look").waiting, 0);
        driver.add(&memory, 1, 2);
        driver.add_indirect(&memory, 1, 1);
        assert_eq!(ring.look().expect("a look").waiting, 2);

        ring.refuse_kicks().expect("to refuse");
        assert!(form.event_index && !form.packed || !ring.look().expect("a look").asked);
        let buffer = ring.pop(&memory).expect("a pop").expect("a buffer");
        assert_eq!(ring.look().expect("a look").waiting, 1);
        assert!(ring.ask_for_kicks().expect("to ask"));
        assert!(ring.look().expect("a look").asked);
        ring.push(&buffer, 0).expect("a push");
        assert_eq!(ring.look().expect("a look").waiting, 1);
    }
}

#[test]
fn buffers_may_be_longer_than_can_be_said() {
    let element = Element {
        address: 0,
        length: u32::MAX,
        access: Access::Write,
    };
    let buffer = Buffer::of(vec![element, element]);
    assert_eq!(buffer.readable_length(), 0);
    assert_eq!(buffer.writable_length(), 2 * u64::from(u32::MAX));
}
