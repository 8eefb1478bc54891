// SPDX-License-Identifier: GPL-2.0

//! Rings in which anything can be.

use super::{super::*, driver::Driver};
use crate::memory::tests::{GUEST, USER, memory};
use proptest::prelude::*;

/// How much memory there is, laid out as [`Driver`] does it.
const LENGTH: usize = 0x10000;

/// Bytes of which many make sense as descriptors.
fn descriptors() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![
        Just(0_u16),
        Just(0x80),
        0..8_u16,
        (0..8_u16).prop_map(|flags| flags | 0x80),
        any::<u16>()
    ];
    let address = prop_oneof![Just(GUEST + 0x4000), GUEST..GUEST + 0x11000, any::<u64>()];
    let length = prop_oneof![0..64_u32, (0..40_u32).prop_map(|n| n * 16), any::<u32>()];
    let small = || prop_oneof![0..9_u16, any::<u16>()];
    let one = (address, length, flags, small(), any::<bool>());
    prop::collection::vec(one, 8..64).prop_map(|all| {
        let mut bytes = Vec::new();
        for (address, length, flags, other, swap) in all {
            bytes.extend(address.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            // Split and packed descriptors have the last two fields in another order.
            let (a, b) = if swap { (flags, other) } else { (other, flags) };
            bytes.extend(a.to_le_bytes());
            bytes.extend(b.to_le_bytes());
        }
        bytes
    })
}

fn forms() -> impl Strategy<Value = Form> {
    any::<[bool; 3]>().prop_map(|[packed, event_index, indirect]| Form {
        packed,
        event_index,
        indirect,
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever the driver writes, the device ends its walks, takes no more than the queue has, and
    /// writes only where it may.
    #[test]
    fn the_device_stays_where_it_may_be(
        form in forms(),
        table in descriptors(),
        ring in descriptors(),
        events in prop::collection::vec(any::<u8>(), 64),
        index in prop_oneof![0..10_u16, any::<u16>()],
        written in any::<u32>(),
        base in prop_oneof![Just(0_u32), Just(0x8000_8000), any::<u32>()],
    ) {
        let memory = memory(u64::try_from(LENGTH).expect("a length"));
        let mut driver = Driver::new(&memory, 8, form);
        driver.setup.base = base;
        memory.write(GUEST, &ring).expect("a ring");
        memory.write(GUEST + 0x1000, &events).expect("events");
        memory.write(GUEST + 0x1002, &index.to_le_bytes()).expect("an index");
        memory.write(GUEST + 0x4000, &table).expect("a table");
        let mut before = vec![0; LENGTH];
        memory.read(GUEST, &mut before).expect("a read");

        if let Ok(mut rings) = driver.ring(&memory, None) {
            let mut taken = Vec::new();
            while let Ok(Some(buffer)) = rings.pop(&memory) {
                prop_assert!(buffer.elements.len() <= 1024 + 8);
                prop_assert!(buffer.count <= 8);
                taken.push(buffer);
                prop_assert!(taken.len() <= 8);
            }
            for buffer in &taken {
                let _ = rings.push(buffer, written);
                let _ = rings.wants_call();
            }
            let _ = rings.ask_for_kicks();
            let _ = rings.refuse_kicks();
        }

        let mut after = vec![0; LENGTH];
        memory.read(GUEST, &mut after).expect("a read");
        // The used ring, or the device's structure for events; in a packed ring, descriptors, too.
        let (used, own) = if form.packed { (4, 0..8 * 16) } else { (70, 0..0) };
        for (at, (old, new)) in before.iter().zip(&after).enumerate() {
            let mine = (0x2000..0x2000 + used).contains(&at) || own.contains(&at);
            prop_assert!(old == new || mine, "{at:#x} has changed");
        }
    }

    /// Rings can be said to be anywhere.
    #[test]
    fn rings_are_in_memory_or_refused(
        form in forms(),
        size in prop_oneof![1..64_u16, any::<u16>()],
        addresses in prop::array::uniform3(prop_oneof![USER - 8..USER + 0x10010, any::<u64>()]),
        base in any::<u32>(),
    ) {
        let memory = memory(0x10000);
        let [descriptors, available, used] = addresses;
        let setup = Setup { size, descriptors, available, used, base, used_log: Some(base.into()) };
        if let Ok(mut ring) = Ring::new(&memory, &setup, form, None) {
            for _ in 0..4 {
                if let Ok(Some(buffer)) = ring.pop(&memory) {
                    let _ = ring.push(&buffer, 1);
                }
                let _ = ring.wants_call();
                let _ = ring.ask_for_kicks();
            }
        }
    }
}
