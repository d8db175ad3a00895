//! The packet path: `pipeline/ACTION/FAMILY-SIZE`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vpclab_benches::{BATCH, Established};

fn privatelink(criterion: &mut Criterion) {
    let mut path = Established::privatelink().expect("the example lab connects");
    let walked = path.misses();
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("privatelink_hit/tcp4-1flow", |bencher| {
        bencher.iter(|| assert_eq!(path.run_batch(), BATCH as u64, "every packet is delivered"));
    });
    group.finish();
    assert_eq!(path.misses(), walked, "every packet of the run is a hit");
}

criterion_group!(benches, privatelink);
criterion_main!(benches);
