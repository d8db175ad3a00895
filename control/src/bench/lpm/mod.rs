//! Longest-prefix match: routes looked up in bulks of 32, by size of the table
//! and by what is asked: any address, addresses out of the prefixes, or a few
//! popular destinations. Every answer is compared with a naive table's.

mod family;
mod many;
mod oracle;
mod prefixes;
mod table;
mod traffic;

use std::sync::Arc;

pub use family::{Family, Routes};
pub use many::Many;
pub use prefixes::{Prefixes, made_v4, made_v6, with_hops};
pub use table::Lookups;
pub use traffic::{Traffic, keys};

use super::{BenchError, Case, Depth, Options, Suite, Unit, Work};

/// The suite.
#[derive(Debug)]
pub struct Longest;

/// Keys that are looked up at once.
pub const BULK: usize = 32;

/// Prefixes of the real tables of January 2024: the size of those made here.
pub const WHOLE_V4: u64 = 901_899;
/// The same, IPv6.
pub const WHOLE_V6: u64 = 160_147;

impl Suite for Longest {
    fn name(&self) -> &'static str {
        "lpm"
    }

    fn about(&self) -> &'static str {
        "route lookups in bulks of 32: ten routes to whole BGP tables, three kinds of traffic, and thousands of tables"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let (v4, v6): (&[u64], &[u64]) = match options.depth {
            Depth::Smoke => (&[10, 50, 1_000], &[50, 1_000]),
            Depth::Normal | Depth::Full => (
                &[10, 50, 1_000, 10_000, 100_000, WHOLE_V4],
                &[50, 1_000, 10_000, WHOLE_V6],
            ),
        };
        let mut cases = Vec::new();
        for traffic in Traffic::ALL {
            for &routes in v4 {
                let made = move |seed| prefixes::made_v4(routes, seed);
                cases.push(case(options, "v4", traffic, routes, made));
            }
        }
        for traffic in Traffic::ALL {
            for &routes in v6 {
                let made = move |seed| prefixes::made_v6(routes, seed);
                cases.push(case(options, "v6", traffic, routes, made));
            }
        }
        if let Some(read) = &options.prefixes {
            for traffic in Traffic::ALL {
                cases.extend(from_file(options, traffic, read));
            }
        }
        let sets: &[(usize, usize)] = match options.depth {
            Depth::Smoke => &[(16, 50)],
            Depth::Normal | Depth::Full => &[(4_096, 50), (1_024, 1_000)],
        };
        for &(tables, routes) in sets {
            for traffic in [Traffic::Uniform, Traffic::Prefixes] {
                let options = options.clone();
                let prepare = move || {
                    let work = Many::new(&options, tables, routes, traffic)?;
                    Ok(Box::new(work) as Box<dyn Work>)
                };
                let name = format!("{tables}-tables/{}/routes={routes}", traffic.name());
                let case = Case::new(name, prepare).unit(Unit::Lookup);
                cases.push(case.routes(routes as u64));
            }
        }
        cases
    }
}

fn case<K: Family>(
    options: &Options,
    what: &str,
    traffic: Traffic,
    count: u64,
    routes: impl FnOnce(u64) -> Routes<K> + 'static,
) -> Case {
    let options = options.clone();
    let name = format!("{what}/{}/routes={count}", traffic.name());
    let prepare = move || {
        let work = Lookups::new(&options, &routes(options.seed), traffic)?;
        Ok(Box::new(work) as Box<dyn Work>)
    };
    Case::new(name, prepare).unit(Unit::Lookup).routes(count)
}

/// The tables of a file, by family.
fn from_file(options: &Options, traffic: Traffic, read: &Arc<Prefixes>) -> Vec<Case> {
    let mut cases = Vec::new();
    if !read.v4.is_empty() {
        let held = read.clone();
        let count = read.v4.len() as u64;
        let routes = move |seed| prefixes::with_hops(&held.v4, seed);
        cases.push(case(options, "v4-file", traffic, count, routes));
    }
    if !read.v6.is_empty() {
        let held = read.clone();
        let count = read.v6.len() as u64;
        let routes = move |seed| prefixes::with_hops(&held.v6, seed);
        cases.push(case(options, "v6-file", traffic, count, routes));
    }
    cases
}

/// Wrong answers are an error: the speed of such a table means nothing.
fn compare<K: std::fmt::Debug>(
    keys: &[K],
    out: &[u32],
    expected: &[u32],
) -> Result<(), BenchError> {
    let pairs = out.iter().zip(expected);
    match pairs.zip(keys).find(|((got, want), _)| got != want) {
        None => Ok(()),
        Some(((got, want), key)) => Err(BenchError::wrong(format!(
            "the lookup of {key:x?} gave {got} instead of {want}"
        ))),
    }
}
