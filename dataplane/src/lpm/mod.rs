//! Longest-prefix match behind one type, [`Lpm`]: single and bulk lookups, and
//! the interval of addresses with the same answer, which flow dependencies rest on.
//!
//! Prefixes become sorted elementary intervals (`intervals`); what searches them
//! is chosen by their number:
//!
//! | Intervals | Structure | Dependent loads |
//! |---|---|---|
//! | ≤ 13, IPv4, values to 254 | one leaf of `tree`; many at once all in registers | – or 1 |
//! | ≤ 32, IPv4 | `Form::Tiny`; many at once all in registers | – or 2 |
//! | ≤ 104, IPv4 | `rows`: keys beside the table, then a line; many at once in registers | 1 |
//! | ≤ 208, IPv4; ≤ 512, IPv6 | `tree`: search tree, a cache line a node | 2 and more |
//! | ≤ 24 576, IPv4 | `direct`: index over the leading bits, then a line of `narrow` keys | 2 |
//! | more, IPv4 | `rank`: index, bitmap of changes and codes, trees from /24 on | 2 and more |
//! | > 512, IPv6 | `six`: the same by /32, `narrow` lines to /48, then trees (values of 31 bits: `rank`) | 3 and more |
//!
//! `simd` holds the bulk lookups for AVX-512 and AVX2, and the crate's `unsafe`
//! of this module; everything else is safe and serves every machine. `linear` is
//! the naive oracle that tests compare every structure with.

mod arena;
mod chunk;
mod direct;
mod each;
pub mod fuzzing;
mod intervals;
mod key;
mod level;
mod line;
pub mod linear;
mod narrow;
mod rank;
mod rows;
#[cfg(target_arch = "x86_64")]
mod simd;
mod six;
mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use intervals::Intervals;
pub use key::Key;
pub use level::Level;
pub use table::{Lpm, Structure};

/// The value of a lookup that matched nothing.
pub const NO_MATCH: u32 = u32::MAX;

/// The largest value that a table can hold; what is larger matches nothing.
pub const VALUE_MAX: u32 = 0x7fff_fffe;
