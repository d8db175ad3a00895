//! Every structure, at every level of instructions, against the oracle.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn v4(text: &str, value: u32) -> (u32, u8, u32) {
    let prefix: crate::addr::Prefix = text.parse().unwrap();
    let std::net::IpAddr::V4(address) = prefix.address() else {
        panic!("IPv4 only")
    };
    (u32::from(address), prefix.len(), value)
}

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

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The last of equal prefixes, as the oracle wants them.
fn dedup<K: Key>(routes: &[(K, u8, u32)]) -> Vec<(K, u8, u32)> {
    let last: BTreeMap<_, _> = routes
        .iter()
        .map(|&(address, len, value)| ((address.first(len), len), value))
        .collect();
    last.into_iter()
        .map(|((address, len), value)| (address, len, value))
        .collect()
}

/// Both ends of every prefix, and the addresses just outside.
fn edges<K: Key>(routes: &[(K, u8, u32)]) -> Vec<K> {
    let ends = routes.iter().flat_map(|&(address, len, _)| {
        let (first, last) = (address.first(len), address.last(len));
        [first, last, first.prev(), last.next().unwrap_or(K::MIN)]
    });
    ends.chain([K::MIN, K::MAX]).collect()
}

/// Every way to ask agrees with what the oracle says.
fn check<K: Key>(table: &Lpm<K>, expected: impl Fn(K) -> u32, keys: &[K]) {
    let answers: Vec<u32> = keys.iter().map(|&key| expected(key)).collect();
    for (&key, &answer) in keys.iter().zip(&answers) {
        let what = || format!("{key:x?} of a {:?}", table.structure());
        assert_eq!(table.lookup(key), answer, "{}", what());
        let (first, last, value) = table.interval(key);
        assert!(
            first <= key && key <= last,
            "{}: {first:x?} {last:x?}",
            what()
        );
        assert_eq!(value, answer, "interval at {}", what());
        assert_eq!(
            expected(first),
            answer,
            "first {first:x?} around {}",
            what()
        );
        assert_eq!(expected(last), answer, "last {last:x?} around {}", what());
        assert_eq!(table.interval(first), (first, last, value), "{}", what());
        assert_eq!(table.interval(last), (first, last, value), "{}", what());
    }
    for level in Level::available() {
        // A count that no number of lanes divides, and a lone one.
        for keys in [keys, &keys[..keys.len() - keys.len() / 3 - 1], &keys[..1]] {
            let mut out = vec![12_345; keys.len()];
            table.lookup_bulk_at(level, keys, &mut out);
            assert_eq!(
                out,
                answers[..keys.len()],
                "{level:?} {:?}",
                table.structure()
            );
            out.fill(12_345);
            Lpm::lookup_each_at(level, &vec![table; keys.len()], keys, &mut out);
            assert_eq!(out, answers[..keys.len()], "each, {level:?}");
        }
    }
}

fn agrees_with_linear<K: Key>(routes: &[(K, u8, u32)], more: &[K]) -> Lpm<K> {
    let (table, oracle) = (Lpm::build(routes.iter().copied()), dedup(routes));
    let mut keys = edges(routes);
    keys.extend_from_slice(more);
    check(&table, |key| linear::lookup(&oracle, key), &keys);
    table
}

#[test]
fn nested_and_sibling_prefixes() {
    let routes = [
        v4("0.0.0.0/0", 0),
        v4("10.0.0.0/8", 1),
        v4("10.0.0.0/16", 2),
        v4("10.0.255.0/24", 3),
        v4("10.1.0.0/16", 4),
        v4("255.255.255.255/32", 5),
    ];
    let table = agrees_with_linear(&routes, &[]);
    for (address, value) in [
        ("9.255.255.255", 0),
        ("10.0.254.255", 2),
        ("10.0.255.0", 3),
        ("10.2.0.0", 1),
        ("255.255.255.254", 0),
        ("255.255.255.255", 5),
    ] {
        let key = u32::from(address.parse::<std::net::Ipv4Addr>().unwrap());
        assert_eq!(table.lookup(key), value, "{address}");
    }
    assert_eq!(table.interval(0x0b00_0000), (0x0b00_0000, 0xffff_fffe, 0));
}

/// Prefixes for intervals that begin at `starts`, the first of which is 0; no two with the same
/// value may touch.
fn routes_of(starts: &[u32], value: impl Fn(usize) -> u32) -> Vec<(u32, u8, u32)> {
    let mut routes = Vec::new();
    for (n, &start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).map_or(u32::MAX, |next| next - 1);
        let mut at = Some(start).filter(|_| value(n) != NO_MATCH);
        while let Some(first) = at.filter(|&first| first <= end) {
            let fits = |&len: &u8| first.first(len) == first && first.last(len) <= end;
            let len = (0..=32).find(fits).unwrap();
            routes.push((first, len, value(n)));
            at = first.last(len).next();
        }
    }
    routes
}

/// Addresses at both sides of each start, and the ends of the space.
fn around(starts: &[u32]) -> Vec<u32> {
    let sides = starts.iter().flat_map(|&start| {
        let after = start.checked_add(1);
        [Some(start.prev()), Some(start), after]
    });
    let ends = [Some(0), Some(u32::MAX - 1), Some(u32::MAX)];
    sides.chain(ends).flatten().collect()
}

/// Which interval has `key`.
fn interval_of(starts: &[u32], key: u32) -> usize {
    starts.partition_point(|&start| start <= key) - 1
}

/// Tables of each number of intervals that fits registers, and some more, with the largest values
/// of each form, gaps, and one that begins at the highest address; batches of each size.
#[test]
fn every_number_of_intervals_in_registers_agrees() {
    for (intervals, most, top) in (1..=34)
        .flat_map(|intervals| [254, 65_534].map(|most| (intervals, most)))
        .flat_map(|(intervals, most)| [false, true].map(|top| (intervals, most, top)))
        .filter(|&(intervals, _, top)| intervals > 1 || !top)
    {
        let mut numbers = Numbers(intervals);
        let starts = std::iter::repeat_with(|| numbers.next() as u32);
        let last = top.then_some(u32::MAX);
        let starts = starts.take(intervals as usize - 1 - usize::from(top));
        let starts: std::collections::BTreeSet<u32> = starts.chain([0]).chain(last).collect();
        let starts: Vec<u32> = starts.into_iter().collect();
        assert_eq!(starts.len(), intervals as usize);
        let value = |n: usize| {
            if n % 4 == 2 {
                NO_MATCH
            } else {
                most - n as u32
            }
        };
        let table = Lpm::build(routes_of(&starts, value));
        let is_lone = intervals <= 13 && most == 254;
        let is_tiny = table.structure() == Structure::Tiny;
        assert_eq!(
            is_tiny,
            intervals <= 32 && !is_lone,
            "{intervals} intervals"
        );
        let keys = around(&starts);
        let expected = |key: u32| value(interval_of(&starts, key));
        check(&table, expected, &keys);
        for (level, count) in Level::available().flat_map(|l| (0..=100).map(move |n| (l, n))) {
            let keys: Vec<u32> = keys.iter().copied().cycle().take(count).collect();
            let mut out = [12_345; 101];
            table.lookup_bulk_at(level, &keys, &mut out);
            let answers = keys.iter().map(|&key| expected(key));
            let answers: Vec<u32> = answers.chain([12_345; 101]).take(101).collect();
            assert_eq!(out[..], answers, "{level:?}, {intervals} intervals");
        }
    }
}

/// Tables that are rows, of each number of intervals around the ends of rows and lines, and what
/// is one too many; alone, and each key in another one of them.
#[test]
fn every_number_of_intervals_of_a_vpc_agrees() {
    let tables: Vec<_> = (33..=105)
        .map(|intervals| {
            let mut numbers = Numbers(intervals);
            let starts: std::collections::BTreeSet<u32> =
                std::iter::repeat_with(|| numbers.next() as u32 >> (intervals % 3 * 4))
                    .filter(|&start| start != 0 && start < u32::MAX)
                    .take(intervals as usize - 1)
                    .collect();
            let starts: Vec<u32> = [0].into_iter().chain(starts).collect();
            let value = |n: usize| n as u32 * 7 % 255;
            let table = Lpm::build(routes_of(&starts, value));
            let is_rows = matches!(table.inner.view(), table::View::Rows(_));
            assert_eq!(is_rows, starts.len() <= 104, "{} intervals", starts.len());
            let keys = around(&starts);
            let expected = |key: u32| value(interval_of(&starts, key));
            check(&table, expected, &keys);
            let values: Vec<u32> = keys.iter().map(|&key| expected(key)).collect();
            (table, keys, values)
        })
        .collect();
    for level in Level::available() {
        for n in 0..105 {
            // Each table of rows once, none twice in a row.
            let asked = tables.iter().filter(|(_, keys, _)| n < keys.len());
            let (which, (keys, values)): (Vec<_>, (Vec<u32>, Vec<u32>)) =
                asked.map(|(t, k, v)| (t, (k[n], v[n]))).unzip();
            let mut out = vec![0; keys.len()];
            Lpm::lookup_each_at(level, &which, &keys, &mut out);
            assert_eq!(out, values, "{level:?}, key {n} of each");
        }
    }
}

#[test]
fn an_empty_table_matches_nothing() {
    assert_eq!(Lpm::<u32>::default().lookup(7), NO_MATCH);
    assert_eq!(Lpm::<u128>::default().interval(7), (0, u128::MAX, NO_MATCH));
    let one = Lpm::build([(0u32, 0, VALUE_MAX)]);
    assert_eq!(one.interval(9), (0, u32::MAX, VALUE_MAX));
}

/// Routes like those of a VPC or of the internet, around a few blocks.
fn spread(count: usize, seed: u64, values: u64) -> Vec<(u32, u8, u32)> {
    let mut numbers = Numbers(seed);
    let mut routes = vec![(0, 0, 0), (u32::MAX, 32, 1)];
    while routes.len() < count {
        let len = [8, 16, 20, 22, 24, 24, 24, 25, 28, 32][numbers.below(10) as usize];
        let base = match numbers.below(3) {
            0 => 0x0a00_0000 | numbers.next() as u32 >> 8,
            1 => 0xac10_0000 | numbers.next() as u32 >> 12,
            _ => numbers.next() as u32,
        };
        routes.push((base, len, numbers.below(values) as u32));
    }
    routes
}

#[test]
fn every_size_has_its_structure_and_agrees() {
    let mut seen = Vec::new();
    for (count, values) in [
        (2, 3),
        (6, 9),
        (12, 100),
        (16, 70_000),
        (50, 40),
        (90, 3_000),
        (100, 1 << 20),
        (400, 200),
        (1_000, 900),
        (1_500, 100_000),
    ] {
        let routes = spread(count, count as u64, values);
        let oracle = Intervals::build(routes.iter().copied());
        let mut keys = edges(&routes);
        let mut numbers = Numbers(7);
        keys.extend((0..500).map(|_| numbers.next() as u32));
        let table = Lpm::build(routes.iter().copied());
        check(&table, |key| oracle.around(key).2, &keys);
        for &key in &keys {
            assert_eq!(table.interval(key), oracle.around(key), "{count} routes");
        }
        // The intervals themselves against the oracle of the oracle.
        let routes = dedup(&routes);
        for &key in keys.iter().step_by(keys.len() / 200 + 1) {
            assert_eq!(oracle.around(key).2, linear::lookup(&routes, key));
        }
        seen.push(table.structure());
    }
    for structure in [Structure::Tiny, Structure::Tree, Structure::Direct] {
        assert!(seen.contains(&structure), "no table was {structure:?}");
    }
}

/// Enough routes for a huge table, some longer than /24, in some corners of
/// the space; other corners stay empty.
fn huge<K: Key>(count: usize, seed: u64, values: u64) -> BTreeMap<(K, u8), u32> {
    let mut numbers = Numbers(seed);
    let mut routes = BTreeMap::from([((K::MIN, 0), 0), ((K::MAX, K::BITS), 1)]);
    while routes.len() < count {
        let len = [
            8, 12, 16, 20, 23, 24, 24, 24, 26, 32, 48, 56, 60, 64, 100, 128,
        ];
        let len = len[numbers.below(16) as usize];
        let top = [0x0a00_0000, 0x2600_0000, 0x2a00_0000][numbers.below(3) as usize];
        let mut key = K::MIN.with_window(0, top | (numbers.next() as u32) >> 8);
        for offset in [24, 56, 88] {
            // Long prefixes gather under few short ones.
            key = key.with_window(offset, (numbers.next() as u32) << 24);
        }
        let len = len.min(K::BITS);
        routes.insert((key.first(len), len), numbers.below(values) as u32);
    }
    routes
}

fn flat<K: Key>(routes: &BTreeMap<(K, u8), u32>) -> Vec<(K, u8, u32)> {
    let routes = routes.iter();
    routes
        .map(|(&(address, len), &value)| (address, len, value))
        .collect()
}

/// Huge tables agree with the intervals, and go on to after every kind of change.
fn huge_tables_agree<K: Key>(count: usize, values: u64) {
    let mut routes = huge::<K>(count, 5, values);
    let mut table = Lpm::build(flat(&routes));
    assert_eq!(table.structure(), Structure::Rank);
    let mut numbers = Numbers(11);
    for round in 0..30 {
        if round > 0 {
            let all = flat(&routes);
            let (address, len, _) = all[numbers.below(all.len() as u64) as usize];
            let change = match round % 5 {
                0 => ((K::MIN, 0), Some(round)),
                1 => ((address, len), None),
                2 => ((address, len), Some(round + 7)),
                3 => ((address.first(len / 2 + 4), len / 2 + 4), Some(round)),
                _ => ((address.last(K::BITS).first(K::BITS), K::BITS), Some(round)),
            };
            match change.1 {
                Some(value) => routes.insert(change.0, value),
                None => routes.remove(&change.0),
            };
            let span = Lpm::stretch_of(change.0.0, change.0.1);
            let stretch = stretch(&routes, span, change.0.1.min(24));
            table = table.replaced(span, &stretch).expect("a huge table");
        }
        let all = flat(&routes);
        let oracle = Intervals::build(all.iter().copied());
        let step = if round % 10 == 0 { 1 } else { 97 };
        let keys: Vec<K> = edges(&all).into_iter().step_by(step).collect();
        check(&table, |key| oracle.around(key).2, &keys);
        for &key in keys.iter().step_by(1 + keys.len() / 2_000) {
            if let Some(widest) = widest(&table, &oracle, key) {
                assert_eq!(table.interval(key), widest, "{key:x?}");
            }
        }
    }
}

/// The interval around a key as wide as a huge table knows it: whole blocks of its chunk, /24s
/// of a /8, or /32s of a /16. `None` where the block is cut further.
fn widest<K: Key>(table: &Lpm<K>, oracle: &Intervals<K>, key: K) -> Option<(K, K, u32)> {
    let (chunk, bits) = match table.inner.view() {
        table::View::Six(_) => (16, 32),
        _ => (8, 24),
    };
    let (block, end) = (key.first(bits), key.last(bits));
    let (first, last, value) = oracle.around(key);
    let whole = first <= block && end <= last;
    let (mut from, mut to) = (first.max(key.first(chunk)), last.min(key.last(chunk)));
    if from != from.first(bits) {
        from = from.last(bits).next()?;
    }
    if to != to.last(bits) {
        to = to.first(bits).prev();
    }
    whole.then_some((from, to, value))
}

/// 30 720 even groups of 64 slots, of two answers: each block is there once a chunk.
#[test]
fn groups_of_one_and_the_same_answer_share_a_block() {
    let groups = (10..40u32).flat_map(|top| (0..1024).map(move |group| top << 24 | group << 14));
    let routes = groups.clone().map(|first| (first, 18, first >> 14 & 1));
    let table = Lpm::build(routes);
    assert_eq!(table.structure(), Structure::Rank);
    for first in groups {
        let expected = (first, first | 0x3fff, first >> 14 & 1);
        assert_eq!(table.interval(first), expected);
    }
    let each = table.memory() / 30;
    assert!(each < 4 << 10, "{each} bytes a chunk");
}

/// A long prefix that comes and goes for ever leaves nothing behind.
#[test]
fn trees_of_before_are_left_behind() {
    let mut routes = huge::<u32>(20_000, 3, 500);
    let mut table = Lpm::build(flat(&routes));
    let before = table.memory();
    let (address, block) = (0x5000_0107, 0x5000_0100);
    let held = table.lookup(address);
    for round in 0..2_200 {
        match round % 2 {
            0 => routes.insert((address, 32), round),
            _ => routes.remove(&(address, 32)),
        };
        let span = Lpm::stretch_of(address, 32);
        let around = routes.range(..=(block, 24)).rev();
        let mut around = around.filter(|((first, len), _)| first.last(*len) >= span.1);
        let background = around.next().map_or(NO_MATCH, |(_, value)| *value);
        let inside = routes.range((block, 25)..=(span.1, 32));
        let inside = inside.map(|(&(first, len), &value)| (first, len, value));
        let new = Intervals::stretch(span, background, inside);
        table = table.replaced(span, &new).expect("a huge table");
        let expected = if round % 2 == 0 { round } else { held };
        assert_eq!(table.lookup(address), expected);
    }
    let grown = table.memory().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} bytes more");
}

/// The intervals of a stretch, by the oracle of all routes.
fn stretch<K: Key>(routes: &BTreeMap<(K, u8), u32>, span: (K, K), len: u8) -> Intervals<K> {
    let covering: Vec<_> = routes
        .iter()
        .filter(|((address, short), _)| {
            *short < len && address.last(*short) >= span.1 && *address <= span.0
        })
        .map(|(&(address, len), &value)| (address, len, value))
        .collect();
    let background = linear::lookup(&covering, span.0);
    let inside = routes.range((span.0, len)..=(span.1, K::BITS));
    let inside = inside.map(|(&(address, len), &value)| (address, len, value));
    Intervals::stretch(span, background, inside)
}

#[test]
fn huge_ipv4_tables_agree_and_change_in_place() {
    huge_tables_agree::<u32>(30_000, 500);
}

#[test]
fn huge_ipv4_tables_of_many_values_agree_and_change_in_place() {
    huge_tables_agree::<u32>(20_000, 1 << 24);
}

#[test]
fn huge_ipv6_tables_agree_and_change_in_place() {
    huge_tables_agree::<u128>(3_000, 500);
    huge_tables_agree::<u128>(3_000, 1 << 24);
}

/// Blocks with so many longer ones that their nodes are three deep, and so many changes of
/// them that a chunk is made anew.
#[test]
fn crowded_ipv6_blocks_agree_and_change_in_place() {
    let mut numbers = Numbers(17);
    let mut routes = BTreeMap::from([((0u128, 0), 0)]);
    let block = |n: u64| 0x2001_0db8u128 + u128::from(n);
    for n in 0..3_000 {
        // One block is crowded, the others are not.
        let block = block(if n < 2_000 { 1 } else { 2 + numbers.below(300) });
        let len = [40, 44, 48, 48, 48, 48, 56, 64, 128][numbers.below(9) as usize];
        let key = block << 96 | u128::from(numbers.next()) << 32;
        routes.insert((key.first(len), len), numbers.below(500) as u32);
    }
    let mut table = Lpm::build(flat(&routes));
    assert_eq!(table.structure(), Structure::Rank);
    let before = table.memory();
    for round in 0..200 {
        if round > 0 {
            let key = block(numbers.below(4)) << 96 | u128::from(numbers.next()) << 32;
            let len = [32, 33, 40, 48, 49, 64][numbers.below(6) as usize];
            let key = key.first(len);
            if routes.remove(&(key, len)).is_none() {
                routes.insert((key, len), round);
            }
            let span = Lpm::stretch_of(key, len);
            let stretch = stretch(&routes, span, len.min(24));
            table = table.replaced(span, &stretch).expect("a huge table");
        }
        if round % 20 == 0 {
            let all = flat(&routes);
            let oracle = Intervals::build(all.iter().copied());
            let keys: Vec<u128> = edges(&all).into_iter().step_by(7).collect();
            check(&table, |key| oracle.around(key).2, &keys);
        }
    }
    let after = table.memory();
    assert!(after < 4 * before, "{before} bytes grew to {after}");
}

/// Long prefixes among many short ones, a crowd of them, and routes at the ends of the space
/// and of what a line can tell apart.
#[test]
fn a_direct_index_knows_what_its_lines_cannot_tell_apart() {
    for values in [200, 20_000, 1 << 30] {
        let mut numbers = Numbers(values);
        let mut value = || numbers.below(values) as u32;
        let mut routes: Vec<(u32, u8, u32)> = (0..1_500u32)
            .map(|n| (n.wrapping_mul(0x9e37_79b9), 24, value()))
            .collect();
        routes.extend((0..20u32).map(|n| (n.wrapping_mul(0x1234_5679), 32, n)));
        routes.extend((0..90u32).map(|n| (0x0a01_0200 + n * 3, 32, n)));
        routes.extend([(0, 32, 5), (u32::MAX, 32, 6), (0x7fff_ffff, 32, 7)]);
        routes.extend([(0x00ff_ff00, 24, 8), (0x0100_0000, 24, 9)]);
        let routes: Vec<_> = dedup(&routes);
        let oracle = Intervals::build(routes.iter().copied());
        let table = Lpm::build(routes.iter().copied());
        assert_eq!(table.structure(), Structure::Direct);
        let keys = edges(&routes);
        check(&table, |key| oracle.around(key).2, &keys);
        for &key in &keys {
            assert_eq!(table.interval(key), oracle.around(key), "{key:x}");
        }
    }
}

/// The last boundary lies within a unit, in whose bucket more units follow.
#[test]
fn a_direct_index_ends_with_a_route_that_a_line_cannot_tell_apart() {
    let short = (1..600u32).map(|n| (n << 16, 24, n));
    let routes: Vec<_> = short.chain([(0x0300_0017, 32, 7)]).collect();
    let oracle = Intervals::build(routes.iter().copied());
    let table = Lpm::build(routes.iter().copied());
    assert_eq!(table.structure(), Structure::Direct);
    for key in [0x0300_0016, 0x0300_0017, 0x0300_0018, 0x0300_0100, u32::MAX] {
        assert_eq!(table.interval(key), oracle.around(key), "{key:x}");
    }
}

/// 10 000 routes with hops of their own, as spread as those of the suite `lpm`.
#[test]
fn ten_thousand_routes_take_a_250th_of_a_table_of_24_bits() {
    let mut numbers = Numbers(4);
    let mut routes = BTreeMap::new();
    while routes.len() < 10_000 {
        let len = [24, 24, 24, 24, 24, 24, 23, 22, 22, 20][numbers.below(10) as usize];
        let address = 0x0100_0000 + (numbers.below(0xdf00_0000) as u32);
        routes.insert((address.first(len), len), routes.len() as u32);
    }
    let bytes = Lpm::build(flat(&routes)).memory();
    assert!(bytes <= (1 << 25) / 250, "{bytes} bytes");
}

/// More long blocks in one /8 than a 16-bit code can name, and the values of the
/// table grow beyond 16 bits later.
#[test]
fn long_prefixes_and_values_do_not_overflow() {
    let routes: Vec<(u32, u8, u32)> = (0..40_000u32)
        .map(|n| (10 << 24 | n << 8 | 7, 32, n % 90))
        .collect();
    let table = Lpm::build(routes.iter().copied());
    assert_eq!(table.structure(), Structure::Rank);
    let keys = edges(&routes);
    let expected = |key: u32| match key >> 8 & 0xffff {
        n if key >> 24 == 10 && n < 40_000 && key & 0xff == 7 => n % 90,
        _ => NO_MATCH,
    };
    check(&table, expected, &keys);
    let small: Vec<_> = (0..30_000u32)
        .map(|n| (10 << 24 | n << 8 | 7, 32, n % 90))
        .collect();
    let table = Lpm::build(small);
    let span = Lpm::stretch_of(0x0a00_0000u32, 24);
    let new = Intervals::stretch(span, 70_000, []);
    assert!(table.replaced(span, &new).is_none(), "takes wider codes");
}

#[test]
fn a_batch_may_ask_another_table_for_each_key() {
    let tables: Vec<Lpm<u32>> = [2, 9, 14, 50, 70, 90, 300]
        .into_iter()
        .flat_map(|count| {
            let routes = |values| spread(count, count as u64, values);
            // Without the route for the highest address, which rows cannot have.
            let may_be_rows = routes(200).into_iter().filter(|route| route.1 < 32);
            let others = [30, 20_000, 1 << 20].map(|values| Lpm::build(routes(values)));
            [Lpm::build(may_be_rows)].into_iter().chain(others)
        })
        .collect();
    let is_rows = |table: &Lpm<u32>| matches!(table.inner.view(), table::View::Rows(_));
    assert!(tables.iter().any(is_rows) && !tables.iter().all(is_rows));
    let mut numbers = Numbers(3);
    let (which, keys): (Vec<&Lpm<u32>>, Vec<u32>) = (0..1_000)
        .map(|_| {
            let table = &tables[numbers.below(tables.len() as u64) as usize];
            (table, numbers.next() as u32 >> (numbers.below(3) * 4))
        })
        .unzip();
    let expected: Vec<u32> = which.iter().zip(&keys).map(|(t, k)| t.lookup(*k)).collect();
    for level in Level::available() {
        let mut out = vec![0; keys.len()];
        Lpm::lookup_each_at(level, &which, &keys, &mut out);
        assert_eq!(out, expected, "{level:?}");
    }
}

/// Where all are rows but one, whichever it is and wherever it stands.
#[test]
fn one_of_a_batch_may_be_no_rows() {
    const BATCH: usize = 32;
    // Without the route for the highest address, which rows cannot have.
    let routes = |seed| {
        spread(50, seed, 200)
            .into_iter()
            .filter(|route| route.1 < 32)
    };
    let rows: Vec<Lpm<u32>> = (0..BATCH as u64)
        .map(|seed| Lpm::build(routes(seed)))
        .collect();
    let is_rows = |table: &Lpm<u32>| matches!(table.inner.view(), table::View::Rows(_));
    assert!(rows.iter().all(is_rows));
    let none = Lpm::default();
    let others = [2, 9, 14, 60, 300, 30_000].map(|count| Lpm::build(spread(count, 7, 20_000)));
    let is_tree = |table: &Lpm<u32>| matches!(table.inner.view(), table::View::Small(small) if small.root.depth() > 1);
    assert!(
        others.iter().any(is_tree),
        "whose own lines are where a row's would be"
    );
    for (other, place) in others
        .iter()
        .chain([&none])
        .flat_map(|other| (0..BATCH).map(move |n| (other, n)))
    {
        assert!(!is_rows(other));
        let mut which: Vec<&Lpm<u32>> = rows.iter().collect();
        which[place] = other;
        for key in [0, 0x0a00_0001, u32::MAX] {
            let keys = [key; BATCH];
            let expected = which.iter().map(|table| table.lookup(key));
            for level in Level::available() {
                let mut out = [0; BATCH];
                Lpm::lookup_each_at(level, &which, &keys, &mut out);
                assert!(expected.clone().eq(out), "{level:?}, {key:x} at {place}");
            }
        }
    }
}

fn equal_ones_share_memory<K: Key>(make: impl Fn(u64) -> Lpm<K>) {
    let (one, mut two, mut other) = (make(1), make(1), make(2));
    assert_eq!(one.fingerprint(), two.fingerprint());
    assert!(!two.shares(&one) && two.share(&one) && two.shares(&one));
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert!(!other.share(&one) && !other.shares(&one));
}

#[test]
fn equal_tables_share_memory() {
    for (count, structure) in [
        (10, Structure::Tiny),
        (50, Structure::Tree),
        (1_000, Structure::Direct),
    ] {
        assert_eq!(Lpm::build(spread(count, 1, 30)).structure(), structure);
        equal_ones_share_memory(|seed| Lpm::build(spread(count, seed, 30)));
    }
    let six = |seed| {
        let routes = spread(150, seed, 30).into_iter();
        Lpm::build(routes.map(|(address, len, value)| (u128::from(address) << 96, len, value)))
    };
    assert_eq!(six(1).structure(), Structure::Tree);
    equal_ones_share_memory(six);
}

/// Huge ones too, of which a change makes only a part anew: as built, and when both have
/// changed alike.
fn equal_huge_ones_share_memory<K: Key>(wide: impl Fn(u32) -> K, longer: u8) {
    let make = |seed| {
        let routes = spread(30_000, seed, 500).into_iter();
        Lpm::build(routes.map(|(address, len, value)| (wide(address), len + longer, value)))
    };
    let (one, _) = (make(1), equal_ones_share_memory(make));
    assert_eq!(one.structure(), Structure::Rank);
    let span = Lpm::stretch_of(wide(0x0a01_0200), 24 + longer);
    let changed = |table: &Lpm<K>, value| {
        let new = Intervals::stretch(span, value, [(wide(0x0a01_0280), 26 + longer, 9)]);
        table.replaced(span, &new).expect("a huge table")
    };
    let (first, mut second, mut other) = (
        changed(&one, 77),
        changed(&make(1), 77),
        changed(&make(1), 78),
    );
    assert_ne!(first.fingerprint(), one.fingerprint());
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert!(!second.shares(&first) && second.share(&first) && second.shares(&first));
    assert_ne!(first.fingerprint(), other.fingerprint());
    assert!(!other.share(&first) && !other.shares(&first));
}

#[test]
fn equal_huge_tables_share_memory() {
    equal_huge_ones_share_memory(|address| address, 0);
    equal_huge_ones_share_memory(|address| 0x26 << 120 | u128::from(address) << 88, 8);
}

#[test]
fn a_vpc_table_takes_thirteen_bytes_a_route() {
    let tables: Vec<_> = (0..100)
        .map(|seed| Lpm::build(vpc_like(50, seed)))
        .collect();
    let bytes: usize = tables.iter().map(Lpm::memory).sum();
    let each = bytes as f64 / (tables.len() * 50) as f64;
    assert!(each <= 13.0, "{each:.1} bytes a route");
}

/// 50 routes as a VPC has them: default, local, peers and on-premises blocks.
fn vpc_like(count: usize, seed: u64) -> Vec<(u32, u8, u32)> {
    let mut numbers = Numbers(seed);
    let local = 0x0a00_0000 | (numbers.below(256) as u32) << 16;
    let mut routes = BTreeMap::from([((0, 0), 1), ((local, 16), 2)]);
    while routes.len() < count {
        let (block, bits) = [(0x0a00_0000, 8), (0x0a00_0000, 8), (0x0a00_0000, 8)]
            .into_iter()
            .chain([(0xac10_0000u32, 12u8), (0xc0a8_0000, 16)])
            .nth(numbers.below(5) as usize)
            .unwrap();
        let len = match numbers.below(100) {
            0..15 => 16,
            15..25 => 20,
            25..40 => 22,
            40..85 => 24,
            85..92 => 26,
            92..97 => 28,
            _ => 32,
        };
        let len = bits.max(len - 1) + 1;
        let address = (block | (numbers.next() as u32 >> bits)).first(len);
        routes.insert((address, len), 3 + numbers.below(32) as u32);
    }
    let flat = routes.into_iter();
    flat.map(|((address, len), value)| (address, len, value))
        .collect()
}

/// Prefixes that nest, touch and repeat, in small corners of the space.
fn routes<K: Key>(values: u32) -> impl Strategy<Value = Vec<(K, u8, u32)>> {
    let one = (any::<u8>(), 0..=8u8, 0..values, 0..4u8);
    prop::collection::vec(one, 1..60).prop_map(|raw| {
        raw.into_iter()
            .map(|(top, len, value, corner)| {
                // Eight bits at one of four depths.
                let at = (K::BITS - 8) / 3 * corner;
                let key = K::MIN.with_window(at, u32::from(top) << 24);
                (key, at + len, value)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn agrees_with_linear_v4(routes in routes::<u32>(100), more in prop::collection::vec(any::<u32>(), 20)) {
        agrees_with_linear(&routes, &more);
    }

    #[test]
    fn agrees_with_linear_v6(routes in routes::<u128>(40_000), more in prop::collection::vec(any::<u128>(), 20)) {
        agrees_with_linear(&routes, &more);
    }
}
