//! Longest-prefix match: `lpm/STRUCTURE/ROUTES`, keys in batches of 32, drawn
//! uniformly. The oracle is the baseline.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::lpm::{Lpm, linear};

const KEYS: usize = 32;

/// Prefixes of /8 to /28, from a seed.
fn routes(count: u32) -> Vec<(u32, u8, u32)> {
    (0..count)
        .map(|n| {
            let random = Seed(1).words(&[u64::from(n)]);
            let len = 8 + (random >> 40) as u8 % 21;
            (random as u32 & (u32::MAX << (32 - len)), len, n)
        })
        .collect()
}

fn lookup(criterion: &mut Criterion) {
    let keys: Vec<u32> = (0..1 << 16).map(|n| Seed(2).words(&[n]) as u32).collect();
    let mut group = criterion.benchmark_group("lpm");
    group.throughput(Throughput::Elements(KEYS as u64));
    for count in [50, 1_000, 10_000] {
        let routes = routes(count);
        let table = Lpm::build(routes.iter().copied());
        let mut chunks = keys.chunks_exact(KEYS).cycle();
        let mut out = [0; KEYS];
        group.bench_function(BenchmarkId::new("interval", count), |bencher| {
            bencher.iter(|| {
                table.lookup_bulk(chunks.next().unwrap_or_default(), &mut out);
                black_box(&out);
            });
        });
        if count <= 1_000 {
            group.bench_function(BenchmarkId::new("linear", count), |bencher| {
                bencher.iter(|| {
                    for key in chunks.next().unwrap_or_default() {
                        black_box(linear::lookup(&routes, *key));
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
