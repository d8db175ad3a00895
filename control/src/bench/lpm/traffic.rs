//! Which addresses are looked up.

use vpclab_dataplane::flow::Seed;

use super::family::Family;

/// Which addresses are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Any address at all (IPv6: of 2000::/3).
    Uniform,
    /// An address of a prefix, all prefixes alike.
    Prefixes,
    /// A hundred thousand such addresses, the n-th most popular asked for 1/n as
    /// often as the first.
    Zipf,
}

/// Destinations of Zipf traffic.
const DESTINATIONS: u64 = 100_000;

impl Traffic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Uniform, Self::Prefixes, Self::Zipf];

    /// Its name in a case's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Prefixes => "from-prefixes",
            Self::Zipf => "zipf",
        }
    }
}

/// `count` addresses to look up in a table of `routes`; the seed decides them.
pub fn keys<K: Family>(
    routes: &[(K, u8, u32)],
    traffic: Traffic,
    count: usize,
    seed: u64,
) -> Vec<K> {
    let word = |stream: u64, n: u64| Seed(seed).words(&[stream, n]);
    let random = |n: u64| [word(1, n), word(2, n)];
    let inside = |n: u64| {
        let route = routes.get((word(3, n) % routes.len().max(1) as u64) as usize);
        let (address, len, _) = route.copied().unwrap_or((K::MIN, 0, 0));
        address.host(len, random(n))
    };
    let numbers = 0..count as u64;
    match traffic {
        Traffic::Uniform => numbers.map(|n| K::random(random(n))).collect(),
        Traffic::Prefixes => numbers.map(inside).collect(),
        Traffic::Zipf => {
            let destinations: Vec<K> = (0..DESTINATIONS).map(inside).collect();
            let weights = (1..=DESTINATIONS).map(|rank| 1.0 / rank as f64);
            let sums: Vec<f64> = weights
                .scan(0.0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                })
                .collect();
            let total = sums.last().copied().unwrap_or(1.0);
            let drawn = numbers.map(|n| {
                let point = (word(4, n) >> 11) as f64 / (1u64 << 53) as f64 * total;
                let rank = sums.partition_point(|&sum| sum < point);
                destinations.get(rank).copied().unwrap_or(K::MIN)
            });
            drawn.collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn traffic_out_of_prefixes_stays_in_them_and_zipf_has_favourites() {
        let routes = vec![(0x0a00_0000u32, 8, 0), (0xc0a8_0100, 24, 1)];
        let drawn = keys(&routes, Traffic::Prefixes, 4_000, 1);
        let first = drawn.iter().filter(|&&key| key >> 24 == 10).count();
        let second = drawn.iter().filter(|&&key| key >> 8 == 0xc0_a801).count();
        assert_eq!(first + second, 4_000);
        assert!((1_800..2_200).contains(&first), "{first}");

        let mut counts: HashMap<u32, u32> = HashMap::new();
        for key in keys(&routes[..1], Traffic::Zipf, 100_000, 1) {
            *counts.entry(key).or_default() += 1;
        }
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // 1 / (ln 100 000 + 0.577) of all ask for the first, half as many for the second.
        assert!((7_800..8_800).contains(&counts[0]), "{}", counts[0]);
        assert!((3_800..4_500).contains(&counts[1]), "{}", counts[1]);
    }
}
