//! The suites of `vpclab bench` under criterion (see the crate).

use criterion::{criterion_group, criterion_main};
use vpclab_benches::suites;

criterion_group!(benches, suites);
criterion_main!(benches);
