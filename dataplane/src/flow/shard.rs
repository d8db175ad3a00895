//! Which worker a flow belongs to.
//!
//! Both directions of a flow hash alike, so that they meet at one worker. Where
//! the data plane itself gives a flow another tuple (a load balancer's source
//! port) or a name (a tunnel's cookie), it chooses one that leads back.

use std::net::IpAddr;

use super::Seed;
use crate::packet::FiveTuple;

/// One worker among those that share the flows.
#[derive(Clone, Copy, Debug)]
pub struct Shard {
    index: u32,
    count: u32,
    seed: Seed,
    /// So that nobody outside can aim at a worker.
    secret: (u64, u64),
}

impl Default for Shard {
    /// The only worker.
    fn default() -> Self {
        Self::new(0, 1, Seed(0))
    }
}

impl Shard {
    /// Worker `index` of `count` (at least 1, at most 256), which share `seed`.
    pub fn new(index: u32, count: u32, seed: Seed) -> Self {
        let count = count.clamp(1, 1 << 8);
        Self {
            index: index.min(count - 1),
            count,
            seed,
            secret: (seed.words(&[4]), seed.words(&[5])),
        }
    }

    /// Its place among the workers.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// How many workers there are.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The worker of packets with this tuple, in either direction.
    #[inline]
    pub fn owner(&self, tuple: &FiveTuple) -> u32 {
        if self.count == 1 {
            return 0;
        }
        match (tuple.src, tuple.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.owner4(
                (src.to_bits(), tuple.sport),
                (dst.to_bits(), tuple.dport),
                tuple.protocol,
            ),
            (src, dst) => self.owner6((src, tuple.sport), (dst, tuple.dport), tuple.protocol),
        }
    }

    /// The same for IPv4, address and port of both ends in any order: two
    /// multiplications.
    #[inline(always)]
    pub fn owner4(&self, a: (u32, u16), b: (u32, u16), protocol: u8) -> u32 {
        let end = |(address, port)| u64::from(address) << 16 | u64::from(port);
        let (a, b) = (end(a), end(b));
        // The ends are put in order, so that both directions are alike.
        let low = a.min(b) | u64::from(protocol) << 48;
        let state = fold(low ^ self.secret.0, a.max(b) ^ self.secret.1);
        let hash = fold(state ^ self.secret.1, self.secret.0 | 1);
        (((hash >> 32) * u64::from(self.count)) >> 32) as u32
    }

    #[cold]
    fn owner6(&self, a: (IpAddr, u16), b: (IpAddr, u16), protocol: u8) -> u32 {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let short = |address| self.seed.address(address) as u32;
        self.owner4((short(low.0), low.1), (short(high.0), high.1), protocol)
    }

    /// The worker of a datagram whose ports may be unknown: the same for all
    /// its fragments.
    pub fn owner_of_fragments(&self, tuple: &FiveTuple) -> u32 {
        self.owner(&FiveTuple {
            sport: 0,
            dport: 0,
            ..*tuple
        })
    }

    /// The worker of what an interface asks of the services on its link.
    pub const fn of_interface(&self, row: u32) -> u32 {
        row % self.count
    }

    /// Whether packets with this tuple come to this worker.
    #[inline]
    pub fn owns(&self, tuple: &FiveTuple) -> bool {
        self.owner(tuple) == self.index
    }

    /// `nonce` with this worker's number in its first bits.
    pub const fn cookie(&self, nonce: u32) -> u32 {
        match self.cookie_bits() {
            0 => nonce,
            bits => self.index << (32 - bits) | (nonce & (u32::MAX >> bits)),
        }
    }

    /// The worker that made a cookie; `None` if none of them did.
    pub fn of_cookie(&self, cookie: u32) -> Option<u32> {
        let bits = self.cookie_bits();
        let index = cookie.checked_shr(32 - bits).unwrap_or(0);
        (index < self.count).then_some(index)
    }

    const fn cookie_bits(&self) -> u32 {
        self.count.next_power_of_two().trailing_zeros()
    }
}

/// Folded 64×64→128-bit multiplication.
#[inline(always)]
const fn fold(a: u64, b: u64) -> u64 {
    let wide = a as u128 * b as u128;
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(n: u16, v6: bool) -> FiveTuple {
        let (src, dst) = if v6 {
            ("fd00::1", "fd00::2")
        } else {
            ("10.0.0.9", "10.0.0.2")
        };
        FiveTuple {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            protocol: 6,
            sport: n,
            dport: 443,
        }
    }

    #[test]
    fn both_directions_meet_and_flows_spread() {
        for v6 in [false, true] {
            let shard = Shard::new(0, 3, Seed(5));
            let mut flows = [0u32; 3];
            for n in 0..3000 {
                let tuple = tuple(n, v6);
                let owner = shard.owner(&tuple);
                assert_eq!(owner, shard.owner(&tuple.reversed()));
                flows[owner as usize] += 1;
            }
            assert!(flows.iter().all(|n| (900..1100).contains(n)), "{flows:?}");
        }
    }

    #[test]
    fn a_cookie_names_its_worker() {
        for count in [1, 2, 3, 5, 256] {
            for index in 0..count {
                let shard = Shard::new(index, count, Seed(5));
                for nonce in [0, 0x1234_5678, u32::MAX] {
                    assert_eq!(shard.of_cookie(shard.cookie(nonce)), Some(index));
                }
            }
        }
        let shard = Shard::new(0, 3, Seed(5));
        assert_eq!(shard.of_cookie(u32::MAX), None, "no fourth worker");
        assert_eq!(Shard::default().cookie(0xdead_beef), 0xdead_beef);
    }
}
