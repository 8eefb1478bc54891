// SPDX-License-Identifier: GPL-2.0

//! What the kernel, and `ethtool`, tell in tables of text. What cannot be read is left out.

use crate::snapshot::{Counters, Sockets};
use std::collections::BTreeMap;

/// Counters of protocols, by the names of these.
pub type Protocols = BTreeMap<String, Counters>;

/// Reads `/proc/net/snmp` and `/proc/net/netstat`: of each protocol a line of names, and one of numbers.
pub fn protocols(text: &str, all: &mut Protocols) {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((same, numbers))) =
            (names.split_once(':'), numbers.split_once(':'))
        else {
            continue;
        };
        if protocol != same {
            continue;
        }
        let pairs = names.split_whitespace().zip(numbers.split_whitespace());
        let counters = pairs.filter_map(|(name, number)| {
            // Some are negative, which stands for no limit: they count nothing.
            Some((name.to_owned(), number.parse().ok()?))
        });
        all.entry(protocol.to_owned())
            .or_default()
            .0
            .extend(counters);
    }
}

/// Reads `/proc/net/snmp6`: a line of a name and a number for each. The name begins with the protocol.
pub fn protocols6(text: &str, all: &mut Protocols) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) else {
            continue;
        };
        // Such as Ip6InReceives.
        let Some((protocol, name)) = name.split_once('6') else {
            continue;
        };
        all.entry(format!("{protocol}6"))
            .or_default()
            .0
            .insert(name.to_owned(), number);
    }
}

/// Reads `/proc/net/udp`, `/proc/net/tcp` and the like: a line for each socket.
pub fn sockets(text: &str) -> Sockets {
    let mut all = Sockets::default();
    let mut lines = text.lines();
    let heads: Vec<_> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let has_drops = heads.last() == Some(&"drops");
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let Some((to_send, to_take)) = words.get(4).and_then(|queues| queues.split_once(':'))
        else {
            continue;
        };
        let bytes = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
        all.sockets += 1;
        all.tx_bytes += bytes(to_send);
        all.rx_bytes += bytes(to_take);
        if let (true, Some(Ok(drops))) = (has_drops, words.last().map(|word| word.parse::<u64>())) {
            all.drops = Some(all.drops.unwrap_or(0) + drops);
        }
    }
    all
}

/// Reads `/proc/interrupts`: those of a device, such as `virtio0`, summed over all CPUs.
pub fn interrupts(text: &str, device: &str) -> Counters {
    let mut lines = text.lines();
    let cpus = lines.next().unwrap_or_default().split_whitespace().count();
    let mut all = Counters::default();
    for line in lines {
        let mut words = line.split_whitespace().skip(1);
        let counts: Vec<u64> = words
            .by_ref()
            .take(cpus)
            .filter_map(|word| word.parse().ok())
            .collect();
        // Several that share a line are listed with commas.
        let names = words.map(|word| word.trim_end_matches(','));
        for name in names.filter(|name| is_of(name, device)) {
            *all.0.entry(name.to_owned()).or_default() += counts.iter().sum::<u64>();
        }
    }
    all
}

/// Returns whether an interrupt is that of a device: `virtio1` has `virtio1-input.0`, and `virtio10` has
/// not.
fn is_of(name: &str, device: &str) -> bool {
    let rest = name.strip_prefix(device);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Reads `/proc/net/softnet_stat`: a line of hexadecimal numbers for each CPU.
pub fn softnet(text: &str) -> Counters {
    const NAMES: [&str; 3] = ["processed", "dropped", "squeezed"];
    let mut all = Counters::default();
    for line in text.lines() {
        for (name, word) in NAMES.iter().zip(line.split_whitespace()) {
            let number = u64::from_str_radix(word, 16).unwrap_or(0);
            *all.0.entry((*name).to_owned()).or_default() += number;
        }
    }
    all
}

/// Reads what `ethtool -S` prints, or a file in debugfs: lines of a name, a colon, and a value.
pub fn values(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_read() {
        let mut all = Protocols::new();
        protocols(
            "Ip: Forwarding InReceives\nIp: 2 31\nTcp: MaxConn InSegs\nTcp: -1 12\nUdp: a\n",
            &mut all,
        );
        protocols(
            "IpExt: InNoRoutes\nIpExt: 4\nbroken\nline\nA: x\nB: 1\n",
            &mut all,
        );
        protocols6(
            "Ip6InReceives    9\nUdp6InCsumErrors 2\nodd\nIcmp6 x\n",
            &mut all,
        );

        assert_eq!(all["Ip"].get("InReceives"), Some(31));
        assert_eq!(all["Tcp"].get("InSegs"), Some(12));
        assert_eq!(all["Tcp"].get("MaxConn"), None, "it is no counter");
        assert_eq!(all["IpExt"].get("InNoRoutes"), Some(4));
        assert_eq!(all["Ip6"].get("InReceives"), Some(9));
        assert_eq!(all["Udp6"].get("InCsumErrors"), Some(2));
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn what_waits_in_sockets_is_summed() {
        let udp = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
                   timeout inode ref pointer drops\n  \
                   12: 00000000:1B58 00000000:0000 07 00000000:00000A00 00:00000000 00000000     0        \
                   0 17 2 0000000000000000 5\n  \
                   13: 00000000:1B59 00000000:0000 07 00000010:00000001 00:00000000 00000000     0        \
                   0 18 2 0000000000000000 1\n";
        let wanted = Sockets {
            sockets: 2,
            tx_bytes: 16,
            rx_bytes: 0xa01,
            drops: Some(6),
        };
        assert_eq!(sockets(udp), wanted);

        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n   \
                   0: 00000000:1B58 00000000:0000 0A 00000003:00000000 00:00000000 00000000\n\n";
        let read = sockets(tcp);
        assert_eq!((read.sockets, read.tx_bytes, read.drops), (1, 3, None));
        assert_eq!(sockets(""), Sockets::default());
    }

    #[test]
    fn interrupts_of_a_device_are_summed() {
        let text = "            CPU0       CPU1       \n   \
             1:          9          0   IO-APIC   1-edge      i8042\n  \
             24:          0          0  PCI-MSIX-0000:00:03.0   0-edge      virtio1-config\n  \
             25:        10          7  PCI-MSIX-0000:00:03.0   1-edge      virtio1-input.0\n  \
             26:         3          0  PCI-MSIX-0000:00:03.0   2-edge      virtio1-output.0\n  \
             27:       100        100  PCI-MSIX-0000:00:04.0   1-edge      virtio10-input.0\n\
             NMI:          0          0   Non-maskable interrupts\n";
        let all = interrupts(text, "virtio1");

        assert_eq!(all.get("virtio1-input.0"), Some(17));
        assert_eq!(all.get("virtio1-output.0"), Some(3));
        assert_eq!(all.0.len(), 3, "{all:?}");
        // Of a device on the platform bus, all interrupts are one; that of PCI may be shared.
        let shared = "   CPU0\n 5:  42  GIC-0  37 Edge  virtio0\n 6: 3 IO-APIC 11-fasteoi virtio2, virtio0\n";
        assert_eq!(interrupts(shared, "virtio0").get("virtio0"), Some(45));
        assert!(interrupts("", "virtio0").0.is_empty());
    }

    #[test]
    fn what_cpus_have_taken_is_summed() {
        let all = softnet("0000000a 00000001 00000000 0\n00000010 00000000 00000002 0\n");

        assert_eq!(all.get("processed"), Some(26));
        assert_eq!(all.get("dropped"), Some(1));
        assert_eq!(all.get("squeezed"), Some(2));
        assert!(softnet("").0.is_empty());
    }

    #[test]
    fn values_are_read() {
        let text = "NIC statistics:\n     rx_packets: 5\n     tx0_kicks: 2\nphase: live\n";
        let all: Vec<_> = values(text).collect();

        let wanted = [("rx_packets", "5"), ("tx0_kicks", "2"), ("phase", "live")];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(all, wanted);
    }
}
