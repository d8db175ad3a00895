//! What the fuzz targets `lpm` and `arena` call, so that `cargo test` can replay their corpora.

use super::arena::Lines;
use super::line::Line;
use super::{Intervals, Key, Level, Lpm, NO_MATCH, Structure};

/// SplitMix64: a fixed stream of numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Bytes as a key of the family.
trait Bytes: Key {
    /// Bytes that a key takes.
    const LEN: usize;
    fn of(bytes: &[u8]) -> Self;
    fn random(numbers: &mut Numbers) -> Self;
}

impl Bytes for u32 {
    const LEN: usize = 4;
    fn of(bytes: &[u8]) -> Self {
        bytes.first_chunk().map_or(0, |b| Self::from_be_bytes(*b))
    }
    fn random(numbers: &mut Numbers) -> Self {
        numbers.next() as Self
    }
}

impl Bytes for u128 {
    const LEN: usize = 16;
    fn of(bytes: &[u8]) -> Self {
        bytes.first_chunk().map_or(0, |b| Self::from_be_bytes(*b))
    }
    fn random(numbers: &mut Numbers) -> Self {
        // Few first words, so that trees get subtrees.
        let word = u128::from(numbers.next());
        (0x2001_0db8 + (word >> 61)) << 96 | (word & 0xffff_ffff) << 64 | word >> 32
    }
}

/// A table of the routes in `data`, asked in every way and with every set of
/// instructions of this machine, compared with a list.
///
/// The first byte says the family (bit 0), how many routes are added from a
/// stream of numbers (bits 1 to 3: none to 30 000) and how many different values
/// there are (bits 4 and 5); the second seeds the stream. Then follow routes:
/// length, value, address. Returns which structure was made; `None` for bytes
/// that are too few.
pub fn fuzz_lpm(data: &[u8]) -> Option<Structure> {
    let (&[kind, seed], rest) = data.split_first_chunk::<2>()?;
    match kind & 1 {
        0 => run::<u32>(kind, seed, rest),
        _ => run::<u128>(kind, seed, rest),
    }
}

/// Routes that are added, by the three bits of the first byte.
const ADDED: [usize; 8] = [0, 0, 8, 30, 120, 700, 4_000, 30_000];
/// Values end here, by two bits.
const VALUES: [u32; 4] = [2, 200, 20_000, 2_000_000];
/// Most routes that are taken from the bytes.
const GIVEN_MAX: usize = 64;

fn run<K: Bytes>(kind: u8, seed: u8, data: &[u8]) -> Option<Structure> {
    let values = VALUES.get(usize::from(kind >> 4 & 3)).copied()?;
    let mut numbers = Numbers(u64::from(seed));
    let mut routes: Vec<(K, u8, u32)> = Vec::new();
    let mut add = |address: K, len: u8, value: u32| {
        let route = (address.first(len), len, value);
        let same = |held: &&mut (K, u8, u32)| (held.0, held.1) == (route.0, len);
        // Of equal prefixes the last counts. (Added ones are too many to compare.)
        match routes.iter_mut().take(GIVEN_MAX).find(same) {
            Some(held) => *held = route,
            None => routes.push(route),
        }
    };
    let mut given = Vec::new();
    for record in data.chunks_exact(2 + K::LEN).take(GIVEN_MAX) {
        let (&[len, value], address) = record.split_first_chunk::<2>()?;
        let (len, address) = (len % (K::BITS + 1), K::of(address));
        given.push((address, len));
        add(address, len, u32::from(value).wrapping_mul(7_919) % values);
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..ADDED.get(usize::from(kind >> 1 & 7)).copied()? {
        let len = 12 + (numbers.next() % (u64::from(K::BITS.min(64)) - 12)) as u8;
        let address = K::random(&mut numbers).first(len);
        let value = numbers.next() as u32 % values;
        let is_given = given
            .iter()
            .any(|&(a, l)| (a.first(l), l) == (address, len));
        if !is_given && seen.insert((address, len)) {
            add(address, len, value);
        }
    }

    let mut keys = vec![K::MIN, K::MAX];
    for (address, len) in &given {
        let (first, last) = (address.first(*len), address.last(*len));
        keys.extend([
            first,
            last,
            first.prev(),
            last.next().unwrap_or(K::MIN),
            *address,
        ]);
    }
    keys.extend((0..20).map(|_| K::random(&mut numbers)));
    let table = Lpm::build(routes.iter().copied());
    check(&table, &routes, &keys);
    for (address, len) in given.iter().take(4) {
        one_route_less(&table, &mut routes, address.first(*len), *len, &keys);
    }
    Some(table.structure())
}

/// Takes a prefix away and looks at the table that was changed in place.
fn one_route_less<K: Key>(
    table: &Lpm<K>,
    routes: &mut Vec<(K, u8, u32)>,
    address: K,
    len: u8,
    keys: &[K],
) {
    let span = Lpm::stretch_of(address, len);
    let all = routes.clone();
    routes.retain(|route| (route.0, route.1) != (address, len));
    // Of what covers the stretch, the longest; and what lies in it.
    let is_inside = |route: &&(K, u8, u32)| span.0 <= route.0 && route.0.last(route.1) <= span.1;
    let covers = |route: &&(K, u8, u32)| route.0 <= span.0 && span.1 <= route.0.last(route.1);
    let background = routes
        .iter()
        .filter(covers)
        .filter(|route| !is_inside(route));
    let background = background.max_by_key(|route| route.1);
    let background = background.map_or(NO_MATCH, |route| route.2);
    let mut inside: Vec<_> = routes.iter().filter(is_inside).copied().collect();
    inside.sort_by_key(|route| (route.0, route.1));
    let stretch = Intervals::stretch(span, background, inside);
    if let Some(changed) = table.replaced(span, &stretch) {
        check(&changed, routes, keys);
    }
    *routes = all;
}

/// Every way to ask says what the list says.
fn check<K: Key>(table: &Lpm<K>, routes: &[(K, u8, u32)], keys: &[K]) {
    let naive = |key: K| {
        let covers = |route: &&(K, u8, u32)| key.first(route.1) == route.0;
        let longest = routes.iter().filter(covers).max_by_key(|route| route.1);
        longest.map_or(NO_MATCH, |route| route.2)
    };
    let expected: Vec<u32> = keys.iter().map(|&key| naive(key)).collect();
    for (&key, &value) in keys.iter().zip(&expected) {
        assert_eq!(table.lookup(key), value, "{key:x?}");
        let (first, last, held) = table.interval(key);
        assert!(
            first <= key && key <= last,
            "{key:x?} of {first:x?}–{last:x?}"
        );
        assert_eq!(held, value, "interval of {key:x?}");
        assert_eq!((table.lookup(first), table.lookup(last)), (value, value));
    }
    let tables = vec![table; keys.len()];
    for level in Level::available() {
        let mut out = vec![12_345; keys.len()];
        table.lookup_bulk_at(level, keys, &mut out);
        assert_eq!(out, expected, "{level:?} {:?}", table.structure());
        out.fill(12_345);
        Lpm::lookup_each_at(level, &tables, keys, &mut out);
        assert_eq!(out, expected, "each, {level:?} {:?}", table.structure());
    }
}

/// Runs of lines that are made, shared and dropped as `data` says, beside lists of their own:
/// two bytes a step, what is done and with which run, or how long one. Returns how many were
/// made, shared and dropped.
pub fn fuzz_arena(data: &[u8]) -> [usize; 3] {
    /// Runs that are there at once: blocks of huge ones are 2 MiB.
    const HELD_MAX: usize = 64;
    let mut done = [0; 3];
    let mut held: Vec<(Lines, Vec<Line>)> = Vec::new();
    let mut number = 0;
    for &[step, what] in data.as_chunks().0 {
        let chosen = usize::from(what) % held.len().max(1);
        match (step % 4, held.get(chosen)) {
            (2, Some((lines, twin))) if held.len() < HELD_MAX => {
                let same = lines.clone();
                assert!(same.is(lines));
                let twin = twin.clone();
                held.push((same, twin));
                done[1] += 1;
            }
            (3, Some(_)) => {
                let (lines, twin) = held.swap_remove(chosen);
                assert_eq!(*lines, *twin);
                done[2] += 1;
            }
            (0 | 1, _) if held.len() < HELD_MAX => {
                // A part of a block, most of one, and more than one.
                let len = match what {
                    255 => 40_000,
                    252.. => 10_000,
                    len => usize::from(len),
                };
                let twin: Vec<Line> = (0..len)
                    .map(|n| {
                        number += 1;
                        Line([number; 16].map(|number| number ^ n as i32))
                    })
                    .collect();
                held.push((Lines::new(&twin), twin));
                done[0] += 1;
            }
            _ => {}
        }
    }
    for (lines, twin) in held {
        assert_eq!(*lines, *twin);
    }
    done
}
