//! ELBv2's actions, a file for each family of resources.

pub mod attribute;
pub mod limit;
pub mod listener;
pub mod load_balancer;
pub mod shape;
pub mod tag;
pub mod target;
pub mod target_group;

use super::call::Entry;

/// All of ELBv2 that there is.
pub const FAMILIES: &[&[Entry]] = &[
    attribute::CALLS,
    limit::CALLS,
    listener::CALLS,
    load_balancer::CALLS,
    tag::CALLS,
    target::CALLS,
    target_group::CALLS,
];

#[cfg(test)]
pub(crate) mod tests;
