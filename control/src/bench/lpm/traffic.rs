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
    /// The same, but the n-th most popular prefix has 1/n of the first's share.
    Zipf,
}

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
    let host = |route: usize, n: u64| {
        let (address, len, _) = routes.get(route).copied().unwrap_or((K::MIN, 0, 0));
        address.host(len, random(n))
    };
    let numbers = 0..count as u64;
    match traffic {
        Traffic::Uniform => numbers.map(|n| K::random(random(n))).collect(),
        Traffic::Prefixes => {
            let route = |n: u64| (word(3, n) % routes.len().max(1) as u64) as usize;
            numbers.map(|n| host(route(n), n)).collect()
        }
        Traffic::Zipf => {
            // Popularity has nothing to do with where a prefix lies or how long it is.
            let mut ranked: Vec<usize> = (0..routes.len()).collect();
            ranked.sort_by_cached_key(|&route| word(5, route as u64));
            let weights = (1..=routes.len()).map(|rank| 1.0 / rank as f64);
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
                host(ranked.get(rank).copied().unwrap_or(0), n)
            });
            drawn.collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn traffic_out_of_prefixes_stays_in_them_and_zipf_has_favourites() {
        let routes = vec![(0x0a00_0000u32, 8, 0), (0xc0a8_0100, 24, 1)];
        let drawn = keys(&routes, Traffic::Prefixes, 4_000, 1);
        let first = drawn.iter().filter(|&&key| key >> 24 == 10).count();
        let second = drawn.iter().filter(|&&key| key >> 8 == 0xc0_a801).count();
        assert_eq!(first + second, 4_000);
        assert!((1_800..2_200).contains(&first), "{first}");

        let routes: Vec<(u32, u8, u32)> = (0..1_000).map(|n| (n << 20, 12, 0)).collect();
        let mut counts: HashMap<u32, u32> = HashMap::new();
        let drawn = keys(&routes, Traffic::Zipf, 100_000, 1);
        for key in &drawn {
            *counts.entry(key >> 20).or_default() += 1;
        }
        let mut shares: Vec<u32> = counts.values().copied().collect();
        shares.sort_unstable_by(|a, b| b.cmp(a));
        // 1 / (ln 1 000 + 0.577) of all go to the first prefix, half as many to the second.
        assert!((12_900..13_800).contains(&shares[0]), "{}", shares[0]);
        assert!((6_400..6_950).contains(&shares[1]), "{}", shares[1]);
        // Hosts of a prefix are drawn, too.
        let hosts: HashSet<u32> = drawn.into_iter().collect();
        assert!(hosts.len() > 90_000, "{}", hosts.len());
    }
}
