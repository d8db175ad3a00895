//! Tables of either family, and addresses to ask them for. (This file, `prefixes` and
//! `traffic` are what `benches/lookups` is built from, too.)

/// A table's routes: address, length, next hop.
pub type Routes<K> = Vec<(K, u8, u32)>;

/// A family of addresses of which tables are made.
pub trait Family: vpclab_dataplane::lpm::Key + std::hash::Hash {
    /// Any address: what uniform traffic asks for.
    fn random(word: [u64; 2]) -> Self;
    /// `word`'s low bits below the first `len`.
    fn host(self, len: u8, word: [u64; 2]) -> Self;
}

impl Family for u32 {
    fn random([word, _]: [u64; 2]) -> Self {
        word as u32
    }

    fn host(self, len: u8, word: [u64; 2]) -> Self {
        let free = u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        self | word[0] as u32 & free
    }
}

impl Family for u128 {
    /// Of the addresses in use, 2000::/3: elsewhere are no routes at all.
    fn random([high, low]: [u64; 2]) -> Self {
        let any = u128::from(high) << 64 | u128::from(low);
        any >> 3 | 1 << 125
    }

    fn host(self, len: u8, [high, low]: [u64; 2]) -> Self {
        let free = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        self | (u128::from(high) << 64 | u128::from(low)) & free
    }
}
