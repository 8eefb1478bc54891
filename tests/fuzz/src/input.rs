// SPDX-License-Identifier: GPL-2.0

//! Taking numbers from the bytes of an input.

use virtio_wire::feature::{Accepted, Class, FeatureSet, Offered};

/// What is left of an input. Where there are no more bytes, they are zero.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Begins with all of the bytes.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Takes some bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let length = N.min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        array[..length].copy_from_slice(taken);
        self.0 = rest;
        array
    }

    /// Takes a number of 8 bits.
    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// Takes a number of 16 bits.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Takes a number of 32 bits.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Takes a number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Takes a set of features, in 16 bytes.
    pub fn features<C: Class>(&mut self) -> FeatureSet<C> {
        FeatureSet::from_bits(u128::from_le_bytes(self.array()))
    }

    /// Takes a set of features that is offered, in 16 bytes, and accepts all that can be.
    pub fn accepted<C: Class>(&mut self) -> Accepted<C> {
        Offered::new(self.features())
            .negotiate(FeatureSet::from_bits(u128::MAX))
            .expect("a driver that supports everything supports version 1")
    }

    /// Returns what is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
