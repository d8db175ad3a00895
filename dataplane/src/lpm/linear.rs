//! The oracle: tries every prefix. Correct at a glance, never used to forward.

use super::{Key, NO_MATCH};

/// The value of the longest of `routes` (address, length, value) that covers `key`.
pub fn lookup<K: Key>(routes: &[(K, u8, u32)], key: K) -> u32 {
    routes
        .iter()
        .filter(|&&(address, len, _)| key.first(len) == address.first(len))
        .max_by_key(|&&(_, len, _)| len)
        .map_or(NO_MATCH, |&(_, _, value)| value)
}
