//! A seeded hash of addresses and tuples: fast, and not to be predicted by
//! someone who does not know the seed.

use std::net::IpAddr;

use super::{Ingress, Key};
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

    /// Hash of a session key.
    pub fn key(self, key: &Key) -> u64 {
        let ingress = match key.ingress {
            Ingress::Eni(eni) => u64::from(eni.0),
            Ingress::Gwlb(serial) => u64::from(serial) | 1 << 40,
        };
        mix(self.tuple(&key.tuple), ingress.wrapping_add(MULTIPLIER))
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
