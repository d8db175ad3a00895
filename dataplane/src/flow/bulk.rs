//! Many keys looked up together, in the three steps of the packet path: buckets,
//! then lines, then comparisons, each step fetched for all before the next.

use super::entry::{Address, ports};
use super::short::Key4;
use super::table::{SessionId, Table};
use super::{Direction, Ingress, Key};

/// Keys that are looked up together: as many as the packet path looks ahead.
const TOGETHER: usize = 32;

impl Key4 {
    /// As a key; `None` if that is none of IPv4.
    pub(super) fn of(key: &Key) -> Option<Self> {
        let (src, dst) = (u32::of(key.tuple.src)?, u32::of(key.tuple.dst)?);
        let (ingress, gwlb) = match key.ingress {
            Ingress::Eni(eni) => (eni.0, Self::ENI),
            Ingress::Gwlb(serial) => (serial, Self::GWLB),
        };
        Some(Self {
            ends: Self::both_ends(src, dst),
            ports: ports(&key.tuple),
            ingress,
            kind: gwlb | u16::from(key.tuple.protocol),
        })
    }
}

impl Table {
    /// Finds the session of each key, as [`Self::find`] does of one; `out[i]` is
    /// the answer for `keys[i]`, surplus places on either side are left alone.
    /// IPv6 keys are looked up one by one.
    pub fn find_bulk(&self, keys: &[Key], out: &mut [Option<(SessionId, Direction)>]) {
        for (keys, out) in keys.chunks(TOGETHER).zip(out.chunks_mut(TOGETHER)) {
            let mut lanes = [(Key4::default(), 0, 0, false); TOGETHER];
            for (key, (short, hash, _, is_v4)) in keys.iter().zip(&mut lanes) {
                if let Some(key) = Key4::of(key) {
                    (*short, *hash, *is_v4) = (key, self.hash4(&key), true);
                    self.prefetch(*hash);
                }
            }
            for (_, hash, guess, is_v4) in lanes.iter_mut().take(keys.len()) {
                if *is_v4 {
                    *guess = self.prefetch_entry(*hash, false);
                }
            }
            let lanes = lanes.iter().zip(keys).zip(out);
            for (((short, hash, guess, is_v4), key), out) in lanes {
                *out = match is_v4 {
                    true => {
                        let found = self.find4(short, *hash, *guess);
                        found.and_then(|(slot, direction)| {
                            Some((self.state(slot)?.id(slot), direction))
                        })
                    }
                    false => self.find(key),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::short::Key6;
    use super::super::table::reference;
    use super::super::{Seed, Session, Tracking};
    use super::*;
    use crate::addr::EniId;
    use crate::packet::{FiveTuple, Headers};
    use crate::time::Instant;

    fn session(n: u32, v6: bool) -> Session {
        let src: IpAddr = match v6 {
            true => std::net::Ipv6Addr::from(u128::from(n) + 1).into(),
            false => std::net::Ipv4Addr::from(n).into(),
        };
        let dst = if v6 { "2001:db8::1" } else { "10.0.0.2" };
        let tuple = FiveTuple {
            src,
            dst: dst.parse().unwrap(),
            protocol: 6,
            sport: 1000,
            dport: 80,
        };
        let key = |eni, tuple| {
            let ingress = Ingress::Eni(EniId(eni));
            Some(Key { ingress, tuple })
        };
        let keys = [key(1, tuple), key(2, tuple.reversed())];
        let tracking = Tracking::open(&Headers::synthetic(tuple), Instant::ZERO);
        Session::new(keys, tracking, Instant::ZERO)
    }

    /// Both families, both ends, keys that are there and keys that are not, and a
    /// number of them that no bulk divides.
    #[test]
    fn a_bulk_finds_what_one_by_one_finds() {
        let mut table = Table::new(500, Seed(5));
        let mut keys = Vec::new();
        for n in 0..301 {
            let session = session(n, n % 5 == 0);
            if n % 3 > 0 {
                table.insert(&session).unwrap();
            }
            keys.extend(session.keys.into_iter().flatten());
        }
        let mut out = vec![None; keys.len()];
        table.find_bulk(&keys, &mut out);
        let expected: Vec<_> = keys.iter().map(|key| table.find(key)).collect();
        assert_eq!(out, expected);
        assert_eq!(out.iter().flatten().count(), 2 * 200);
    }

    /// Where a packet's session was thought to be may be another's, or nobody's.
    #[test]
    fn a_guess_is_taken_for_no_more_than_that() {
        let mut table = Table::new(20, Seed(5));
        let mut ends = Vec::new();
        for n in 0..20 {
            let session = session(n, n % 2 == 0);
            let id = table.insert(&session).unwrap();
            let places = [Direction::Forward, Direction::Reply].map(|way| (id.slot(), way));
            ends.extend(session.keys.into_iter().flatten().zip(places));
        }
        let guesses = (0..200).chain([u32::MAX, u32::MAX - 1]);
        for (guess, (key, place)) in guesses.flat_map(|g| ends.iter().map(move |end| (g, end))) {
            if let Some(key) = Key4::of(key) {
                assert_eq!(table.find4(&key, table.hash4(&key), guess), Some(*place));
                let is_it = guess == reference(*place);
                assert!(!table.is_guessed4(&key, guess), "it has no action");
                assert!(is_it || table.guessed4_mut(&key, guess).is_none());
            } else if let (Some(src), Some(dst), Ingress::Eni(eni)) = (
                u128::of(key.tuple.src),
                u128::of(key.tuple.dst),
                key.ingress,
            ) {
                let key = Key6 {
                    src,
                    dst,
                    ports: ports(&key.tuple),
                    ingress: eni.0,
                    protocol: key.tuple.protocol,
                };
                assert_eq!(table.find6(&key, table.hash6(&key), guess), Some(*place));
            }
        }
    }
}
