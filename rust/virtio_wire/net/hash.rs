// SPDX-License-Identifier: GPL-2.0

//! Hashes of received frames.
//!
//! Virtio 1.3, 5.1.6.4.3 and 5.1.6.4.5.

/// What a hash is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashType {
    /// The addresses of IPv4.
    Ipv4,
    /// The addresses of IPv4, and the ports of TCP.
    Tcpv4,
    /// The addresses of IPv4, and the ports of UDP.
    Udpv4,
    /// The addresses of IPv6.
    Ipv6,
    /// The addresses of IPv6, and the ports of TCP.
    Tcpv6,
    /// The addresses of IPv6, and the ports of UDP.
    Udpv6,
    /// The addresses of IPv6, which can be in extension headers.
    Ipv6Ex,
    /// The addresses of IPv6, which can be in extension headers, and the ports of TCP.
    Tcpv6Ex,
    /// The addresses of IPv6, which can be in extension headers, and the ports of UDP.
    Udpv6Ex,
}

impl HashType {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 9] = [
        Self::Ipv4,
        Self::Tcpv4,
        Self::Udpv4,
        Self::Ipv6,
        Self::Tcpv6,
        Self::Udpv6,
        Self::Ipv6Ex,
        Self::Tcpv6Ex,
        Self::Udpv6Ex,
    ];

    /// Returns the code in a header; 0 says that there is no hash.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT")]
    pub const fn code(self) -> u16 {
        match self {
            Self::Ipv4 => 1,
            Self::Tcpv4 => 2,
            Self::Udpv4 => 3,
            Self::Ipv6 => 4,
            Self::Tcpv6 => 5,
            Self::Udpv6 => 6,
            Self::Ipv6Ex => 7,
            Self::Tcpv6Ex => 8,
            Self::Udpv6Ex => 9,
        }
    }

    /// Finds the type that a code in a header stands for.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Returns the set of this type alone.
    #[doc(alias = "VIRTIO_NET_RSS_HASH_TYPE")]
    pub const fn types(self) -> HashTypes {
        HashTypes(match self {
            Self::Ipv4 => 1,
            Self::Tcpv4 => 2,
            Self::Udpv4 => 4,
            Self::Ipv6 => 8,
            Self::Tcpv6 => 16,
            Self::Udpv6 => 32,
            Self::Ipv6Ex => 64,
            Self::Tcpv6Ex => 128,
            Self::Udpv6Ex => 256,
        })
    }
}

/// A set of hash types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashTypes(u32);

impl HashTypes {
    /// All that are defined.
    pub const ALL: Self = Self(0x1ff);

    /// Takes a number, of which undefined bits are ignored.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Returns the number.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns what is in one of the sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns what is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns whether all of `other` is in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The hash of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashReport {
    /// The hash.
    pub value: u32,
    /// What it is over.
    pub kind: HashType,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_bits_belong_together() {
        for (number, kind) in HashType::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), number + 1);
            assert_eq!(kind.types().bits(), 1 << number);
            assert_eq!(HashType::from_code(kind.code()), Some(kind));
        }
        let all = HashType::ALL
            .iter()
            .fold(HashTypes::default(), |all, one| all.union(one.types()));
        assert_eq!(all, HashTypes::ALL);
    }

    #[test]
    fn what_is_not_defined_is_no_type() {
        assert_eq!(HashType::from_code(0), None);
        assert_eq!(HashType::from_code(10), None);
        assert_eq!(HashTypes::from_bits(u32::MAX), HashTypes::ALL);
    }
}
