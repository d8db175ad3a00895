//! A seeded hash of addresses and tuples: fast, and not to be predicted by
//! someone who does not know the seed.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use crate::packet::FiveTuple;

/// The seed of every hash in one pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64);

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// One round: folded 64×64→128-bit multiplication.
const fn mix(state: u64, word: u64) -> u64 {
    let wide = (state ^ word) as u128 * (MULTIPLIER ^ state.rotate_left(23)) as u128;
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl Seed {
    /// Hash of any few words.
    pub fn words(self, words: &[u64]) -> u64 {
        let mut state = mix(self.0, MULTIPLIER);
        for &word in words {
            state = mix(state, word.wrapping_add(MULTIPLIER));
        }
        mix(state, self.0 | 1)
    }

    /// Hash of a five-tuple; the two directions differ.
    pub fn tuple(self, tuple: &FiveTuple) -> u64 {
        let ports =
            u64::from(tuple.protocol) << 32 | u64::from(tuple.sport) << 16 | u64::from(tuple.dport);
        match (tuple.src, tuple.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.words(&[
                u64::from(u32::from(src)) << 32 | u64::from(u32::from(dst)),
                ports,
            ]),
            (src, dst) => {
                let (src, dst) = (wide(src), wide(dst));
                self.words(&[
                    (src >> 64) as u64,
                    src as u64,
                    (dst >> 64) as u64,
                    dst as u64,
                    ports,
                ])
            }
        }
    }

    /// How much an address and port is to be preferred for something with the
    /// hash `what`: two multiplications.
    #[inline]
    pub fn score(self, address: IpAddr, port: u16, what: u64) -> u64 {
        let place = match address {
            IpAddr::V4(address) => u64::from(address.to_bits()) << 16 | u64::from(port),
            IpAddr::V6(_) => self.address(address) ^ u64::from(port),
        };
        let state = multiply(place ^ self.0, what ^ MULTIPLIER);
        multiply(state ^ what, place ^ MULTIPLIER.rotate_left(31))
    }

    /// Hash of an address.
    pub fn address(self, address: IpAddr) -> u64 {
        let bits = wide(address);
        self.words(&[
            (bits >> 64) as u64,
            bits as u64,
            u64::from(address.is_ipv4()),
        ])
    }
}

/// Secrets for the hashes of session keys, all from one seed: who does not know
/// them cannot aim at a bucket of the flow table.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeySeed {
    first: u64,
    second: u64,
    third: u64,
}

impl KeySeed {
    /// Derived from the seed of the pipeline.
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            first: seed.words(&[1]),
            second: seed.words(&[2]),
            third: seed.words(&[3]) | 1,
        }
    }

    /// Hash of an IPv4 key: two multiplications.
    #[inline(always)]
    pub(super) fn v4(&self, addresses: u64, ports: u32, ingress: u32, kind: u16) -> u64 {
        let rest = u64::from(ports) << 32 | u64::from(ingress);
        let state = multiply(addresses ^ self.first, rest ^ self.second);
        multiply(state ^ u64::from(kind), self.third)
    }

    /// Hash of an IPv6 key.
    #[inline(always)]
    pub(super) fn v6(&self, src: u128, dst: u128, ports: u32, ingress: u32, kind: u16) -> u64 {
        let state = multiply((src >> 64) as u64 ^ self.first, src as u64 ^ self.second);
        let state = multiply(
            state ^ (dst >> 64) as u64 ^ self.second,
            dst as u64 ^ self.first,
        );
        self.v4(state, ports, ingress, kind)
    }
}

/// Secrets for hashes of `N` words, an even number: the words are multiplied by pairs,
/// which do not wait for each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairSeed<const N: usize> {
    words: [u64; N],
    last: u64,
}

impl<const N: usize> PairSeed<N> {
    /// Derived from the seed of the pipeline.
    pub(crate) fn new(seed: Seed) -> Self {
        let mut words = [0; N];
        for (place, word) in words.iter_mut().enumerate() {
            *word = seed.words(&[4, place as u64]);
        }
        Self {
            words,
            last: seed.words(&[5]) | 1,
        }
    }

    /// Hash of a key: a multiplication for two words, and one more.
    #[inline(always)]
    pub(crate) fn hash(&self, key: &[u64; N]) -> u64 {
        let mut all = 0u64;
        let pairs = key.as_chunks::<2>().0.iter();
        for ([a, b], [c, d]) in pairs.zip(self.words.as_chunks::<2>().0) {
            all = all.rotate_left(13) ^ multiply(a ^ c, b ^ d);
        }
        multiply(all, self.last)
    }
}

/// Folded 64×64→128-bit multiplication.
#[inline(always)]
const fn multiply(a: u64, b: u64) -> u64 {
    let wide = a as u128 * b as u128;
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// Makes seeded hashers for the standard maps: faster than the default, and as
/// little to be predicted.
#[derive(Clone, Copy, Debug)]
pub struct Seeded(pub Seed);

impl BuildHasher for Seeded {
    type Hasher = SeededHasher;
    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(self.0.0 ^ MULTIPLIER)
    }
}

/// The same for maps of tables, which outlive pipelines and have no seed of theirs.
#[derive(Clone, Copy, Debug)]
pub struct RowHash(Seeded);

impl Default for RowHash {
    /// With a seed from the operating system. (What is in such a map never
    /// depends on it, and neither does anything that is done with it.)
    fn default() -> Self {
        let seed = std::collections::hash_map::RandomState::new().hash_one(MULTIPLIER);
        Self(Seeded(Seed(seed)))
    }
}

impl BuildHasher for RowHash {
    type Hasher = SeededHasher;
    #[inline]
    fn build_hasher(&self) -> SeededHasher {
        self.0.build_hasher()
    }
}

/// A hash under way.
#[derive(Clone, Copy, Debug)]
pub struct SeededHasher(u64);

impl Hasher for SeededHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        if !tail.is_empty() {
            let mut last = [0; 8];
            for (to, from) in last.iter_mut().zip(tail) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(last));
        }
    }
    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }
    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0, word.wrapping_add(MULTIPLIER));
    }
    fn write_u128(&mut self, word: u128) {
        self.write_u64((word >> 64) as u64);
        self.write_u64(word as u64);
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
    #[inline]
    fn finish(&self) -> u64 {
        mix(self.0, MULTIPLIER)
    }
}

fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_directions_give_other_hashes() {
        let tuple = FiveTuple {
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol: 6,
            sport: 1,
            dport: 2,
        };
        assert_ne!(Seed(1).tuple(&tuple), Seed(2).tuple(&tuple));
        assert_ne!(Seed(1).tuple(&tuple), Seed(1).tuple(&tuple.reversed()));
        assert_eq!(Seed(1).tuple(&tuple), Seed(1).tuple(&tuple));
    }

    #[test]
    fn each_word_of_a_pair_counts() {
        let seed = PairSeed::<4>::new(Seed(9));
        let key = [1, 2, 3, 4];
        let mut seen = std::collections::HashSet::from([seed.hash(&key)]);
        for place in 0..4 {
            for bit in 0..64 {
                let mut other = key;
                other[place] ^= 1 << bit;
                assert!(seen.insert(seed.hash(&other)), "word {place}, bit {bit}");
            }
        }
        assert!(seen.insert(PairSeed::<4>::new(Seed(8)).hash(&key)));
    }

    #[test]
    fn low_bits_spread() {
        let mut buckets = [0u32; 64];
        for port in 0..6400u64 {
            buckets[(Seed(7).words(&[port]) & 63) as usize] += 1;
        }
        assert!(
            buckets.iter().all(|&n| (50..200).contains(&n)),
            "{buckets:?}"
        );
    }
}
