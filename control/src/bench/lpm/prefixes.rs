//! The routes of the tables: made here with the prefix lengths of a real table,
//! or read from a file.

use std::collections::HashSet;
use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::flow::Seed;

use super::family::{Family, Routes};

/// Prefixes of both families, as a file lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// IPv4: address and length.
    pub v4: Vec<(u32, u8)>,
    /// IPv6.
    pub v6: Vec<(u128, u8)>,
}

impl Prefixes {
    /// Reads one prefix a line; empty lines and what follows `#` do not count.
    ///
    /// # Errors
    /// The first line that is no prefix, by number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut prefixes = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let prefix: Prefix = line.parse().map_err(|_| {
                format!(
                    "line {}: '{line}' is no prefix such as 10.0.0.0/8 or 2001:db8::/32",
                    number + 1
                )
            })?;
            match prefix.address() {
                IpAddr::V4(address) => prefixes.v4.push((address.into(), prefix.len())),
                IpAddr::V6(address) => prefixes.v6.push((address.into(), prefix.len())),
            }
        }
        prefixes.v4.sort_unstable();
        prefixes.v4.dedup();
        prefixes.v6.sort_unstable();
        prefixes.v6.dedup();
        if prefixes == Self::default() {
            return Err(String::from("there is no prefix in it"));
        }
        Ok(prefixes)
    }
}

/// Next hops of a whole table: what a router has neighbours.
const NEIGHBOURS: u64 = 256;

/// Tables up to this many routes are VPC route tables: each route has a next hop of its own.
const SMALL: u64 = 10_000;

/// Next hops for prefixes.
pub fn with_hops<K: Copy>(prefixes: &[(K, u8)], seed: u64) -> Routes<K> {
    let hop = |n: u64| match prefixes.len() as u64 {
        0..=SMALL => n,
        _ => Seed(seed).words(&[9, n]) % NEIGHBOURS,
    };
    let numbered = (0u64..).zip(prefixes);
    numbered
        .map(|(n, &(address, len))| (address, len, hop(n) as u32))
        .collect()
}

/// Prefixes of each length in the table of January 2024.
const LENGTHS_V4: [(u8, u32); 25] = [
    (8, 16),
    (9, 13),
    (10, 38),
    (11, 103),
    (12, 299),
    (13, 581),
    (14, 1_203),
    (15, 2_100),
    (16, 13_490),
    (17, 8_235),
    (18, 13_798),
    (19, 24_870),
    (20, 42_611),
    (21, 50_750),
    (22, 108_623),
    (23, 96_510),
    (24, 537_698),
    (25, 20),
    (26, 3),
    (27, 11),
    (28, 18),
    (29, 17),
    (30, 3),
    (31, 3),
    (32, 886),
];

/// The same, IPv6, without lengths that fewer than a thousandth have.
const LENGTHS_V6: [(u8, u32); 21] = [
    (28, 193),
    (29, 4_371),
    (30, 650),
    (31, 284),
    (32, 22_548),
    (33, 2_926),
    (34, 2_603),
    (35, 1_043),
    (36, 5_996),
    (37, 880),
    (38, 1_617),
    (39, 1_377),
    (40, 13_418),
    (41, 903),
    (42, 2_301),
    (43, 1_001),
    (44, 14_365),
    (45, 1_553),
    (46, 3_039),
    (47, 3_153),
    (48, 75_488),
];

/// Up to so many routes are an ordinary VPC's: a default route, and blocks of other
/// VPCs and networks on premises.
const VPC: u64 = 100;

/// How long these are, in percent. Most VPCs have a /16.
const LENGTHS_VPC: [(u8, u32); 6] = [(16, 50), (18, 5), (20, 15), (22, 10), (24, 15), (28, 5)];

/// An IPv4 table of `count` routes; the seed decides it.
pub fn made_v4(count: u64, seed: u64) -> Routes<u32> {
    if count <= VPC {
        // Of 10.0.0.0/8, 172.16.0.0/12 and 100.64.0.0/10.
        let private = |[word, _]: [u64; 2]| match word as u32 % 8 {
            0 => 0xac10_0000 | (word >> 32) as u32 & 0xf_ffff,
            1 => 0x6440_0000 | (word >> 32) as u32 & 0x3f_ffff,
            _ => 0x0a00_0000 | (word >> 32) as u32 & 0xff_ffff,
        };
        let blocks = made(count.saturating_sub(1), seed, &LENGTHS_VPC, private);
        let all: Vec<_> = std::iter::once((0, 0)).chain(blocks).collect();
        return with_hops(&all, seed);
    }
    // As in the real one, 1.0.0.0 to 223.255.255.255.
    let anywhere = |[word, _]: [u64; 2]| ((1 + (word >> 32) % 223) << 24 | word & 0xff_ffff) as u32;
    with_hops(&made(count, seed, &LENGTHS_V4, anywhere), seed)
}

/// An IPv6 table.
pub fn made_v6(count: u64, seed: u64) -> Routes<u128> {
    // Where registries give out: a few /16 hold nearly all there is.
    const BLOCKS: [u128; 8] = [
        0x2001, 0x2001, 0x2804, 0x2804, 0x2409, 0x2a02, 0x2402, 0x2600,
    ];
    let anywhere = |[high, low]: [u64; 2]| {
        let block = BLOCKS.get((high & 7) as usize).copied().unwrap_or(0x2001);
        let rest = u128::from(high) << 64 | u128::from(low);
        block << 112 | rest & u128::MAX >> 16
    };
    with_hops(&made(count, seed, &LENGTHS_V6, anywhere), seed)
}

/// Prefixes of these lengths, none twice. In a large table most lie right behind
/// another one, as in the real one (72 %).
fn made<K: Family>(
    count: u64,
    seed: u64,
    lengths: &[(u8, u32)],
    anywhere: impl Fn([u64; 2]) -> K,
) -> Vec<(K, u8)> {
    let total: u32 = lengths.iter().map(|(_, weight)| weight).sum();
    let length = |word: u64| {
        let mut left = (word % u64::from(total)) as u32;
        let found = lengths.iter().find(|(_, weight)| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        });
        found.map_or(24, |found| found.0)
    };
    let neighbours = if count > SMALL { 70 } else { 0 };
    let mut seen = HashSet::with_capacity(count as usize);
    let mut out: Vec<(K, u8)> = Vec::with_capacity(count as usize);
    let mut n = 0;
    while (out.len() as u64) < count {
        n += 1;
        let word = |stream: u64| Seed(seed).words(&[8, stream, n]);
        let behind = out.last().filter(|_| word(0) % 100 < neighbours);
        let next = behind.and_then(|&(address, len)| Some((address.last(len).next()?, len)));
        let prefix = next.unwrap_or_else(|| {
            let len = length(word(1));
            (anywhere([word(2), word(3)]).first(len), len)
        });
        if seen.insert(prefix) {
            out.push(prefix);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use vpclab_dataplane::lpm::Key;

    use super::*;

    #[test]
    fn a_made_table_has_the_lengths_of_the_real_one_and_no_prefix_twice() {
        let routes = made_v4(50_000, 1);
        let share = |len: u8| {
            let count = routes.iter().filter(|route| route.1 == len).count();
            count * 1_000 / routes.len()
        };
        assert!((560..640).contains(&share(24)), "{}", share(24));
        assert!((100..140).contains(&share(22)), "{}", share(22));
        let distinct: HashSet<_> = routes.iter().map(|route| (route.0, route.1)).collect();
        assert_eq!(distinct.len(), 50_000);
        assert!(routes.iter().all(|route| route.0.first(route.1) == route.0));
        assert_eq!(made_v4(50_000, 1), routes, "the seed decides");
        assert_ne!(made_v4(50_000, 2), routes);
        let vpc = made_v4(50, 1);
        assert_eq!((vpc.len(), vpc[0]), (50, (0, 0, 0)));
        let inside = |route: &(u32, u8, u32)| matches!(route.0 >> 24, 10 | 100 | 172);
        assert!(vpc[1..].iter().all(inside), "{vpc:x?}");
        let v6 = made_v6(20_000, 1);
        let half = v6.iter().filter(|route| route.1 == 48).count();
        assert!((8_500..10_500).contains(&half), "{half}");
    }

    #[test]
    fn files_are_read_and_wrong_lines_named() {
        let read = Prefixes::parse("# a table\n10.0.0.0/8\n\n2001:db8::/32 # one\n10.0.0.0/8\n");
        let expected = Prefixes {
            v4: vec![(0x0a00_0000, 8)],
            v6: vec![(0x2001_0db8 << 96, 32)],
        };
        assert_eq!(read, Ok(expected));
        for (wrong, line) in [("10.0.0.0/8\nten\n", "line 2"), ("10.0.0.0/33", "line 1")] {
            let error = Prefixes::parse(wrong).unwrap_err();
            assert!(error.contains(line), "{error}");
        }
        assert!(Prefixes::parse("# nothing\n").is_err());
    }
}
