//! The structures that are compared: ours and those of the crates, behind one call.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use ip_network::{Ipv4Network, Ipv6Network};
use ip_network_table::IpNetworkTable;
use iptrie::map::{LCTrieMap, RTrieMap};
use iptrie::{Ipv4Prefix, Ipv6Prefix};
use poptrie::Poptrie;
use prefix_trie::PrefixMap;
use vpclab_dataplane::lpm::{Key, Lpm, NO_MATCH};

/// A route: address, length, next hop.
pub(crate) type Route<K> = (K, u8, u32);

/// A structure that finds the longest prefix.
pub(crate) trait Structure<K> {
    /// What it is called.
    const NAME: &'static str;
    /// Whether a route can be added to it later.
    const UPDATABLE: bool;

    /// Builds it, by the fastest way that it offers.
    fn build(routes: &[Route<K>]) -> Self;

    /// Its bytes, if it knows them.
    fn memory(&self) -> Option<usize> {
        None
    }

    /// The next hop for one address.
    fn lookup(&self, key: K) -> u32;

    /// The next hops for several: one after the other, where there is no bulk call.
    fn lookup_bulk(&self, keys: &[K], out: &mut [u32])
    where
        K: Copy,
    {
        for (key, out) in keys.iter().zip(out) {
            *out = self.lookup(black_box(*key));
        }
    }
}

impl<K: Key> Structure<K> for Lpm<K> {
    const NAME: &'static str = "vpclab";
    /// By building it anew, or what differs of a huge one.
    const UPDATABLE: bool = true;

    fn build(routes: &[Route<K>]) -> Self {
        Self::build(routes.iter().copied())
    }

    fn memory(&self) -> Option<usize> {
        Some(Self::memory(self))
    }

    fn lookup(&self, key: K) -> u32 {
        Self::lookup(self, key)
    }

    fn lookup_bulk(&self, keys: &[K], out: &mut [u32]) {
        Self::lookup_bulk(self, black_box(keys), out);
    }
}

impl<K> Structure<K> for PrefixMap<(K, u8), u32>
where
    (K, u8): prefix_trie::Prefix,
    K: Key,
{
    const NAME: &'static str = "prefix-trie";
    const UPDATABLE: bool = true;

    fn build(routes: &[Route<K>]) -> Self {
        let mut map = Self::new();
        for &(address, len, hop) in routes {
            map.insert((address, len), hop);
        }
        map
    }

    fn lookup(&self, key: K) -> u32 {
        self.get_lpm(&(key, K::BITS))
            .map_or(NO_MATCH, |(_, hop)| *hop)
    }
}

impl<K> Structure<K> for Poptrie<(K, u8), u32>
where
    (K, u8): poptrie::Prefix<ADDRESS = K>,
    K: Key,
{
    const NAME: &'static str = "poptrie";
    const UPDATABLE: bool = true;

    fn build(routes: &[Route<K>]) -> Self {
        let routes = routes.iter();
        routes
            .map(|&(address, len, hop)| ((address, len), hop))
            .collect()
    }

    fn lookup(&self, key: K) -> u32 {
        Self::lookup(self, key).copied().unwrap_or(NO_MATCH)
    }
}

impl Structure<u32> for IpNetworkTable<u32> {
    const NAME: &'static str = "ip_network_table";
    const UPDATABLE: bool = true;

    fn build(routes: &[Route<u32>]) -> Self {
        let mut table = Self::with_capacity(routes.len(), 0);
        for &(address, len, hop) in routes {
            let network = Ipv4Network::new(Ipv4Addr::from(address), len);
            table.insert(network.expect("addresses are those of prefixes"), hop);
        }
        table
    }

    fn lookup(&self, key: u32) -> u32 {
        self.longest_match_ipv4(key.into())
            .map_or(NO_MATCH, |(_, hop)| *hop)
    }
}

impl Structure<u128> for IpNetworkTable<u32> {
    const NAME: &'static str = "ip_network_table";
    const UPDATABLE: bool = true;

    fn build(routes: &[Route<u128>]) -> Self {
        let mut table = Self::with_capacity(0, routes.len());
        for &(address, len, hop) in routes {
            let network = Ipv6Network::new(Ipv6Addr::from(address), len);
            table.insert(network.expect("addresses are those of prefixes"), hop);
        }
        table
    }

    fn lookup(&self, key: u128) -> u32 {
        self.longest_match_ipv6(key.into())
            .map_or(NO_MATCH, |(_, hop)| *hop)
    }
}

/// Both tries of iptrie, for both families.
macro_rules! iptrie {
    ($key:ty, $address:ty, $prefix:ty) => {
        impl Structure<$key> for RTrieMap<$prefix, u32> {
            const NAME: &'static str = "iptrie (Patricia)";
            const UPDATABLE: bool = true;

            fn build(routes: &[Route<$key>]) -> Self {
                let mut map = Self::with_root_and_capacity(NO_MATCH, routes.len());
                for &(address, len, hop) in routes {
                    let prefix = <$prefix>::new(<$address>::from(address), len);
                    map.insert(prefix.expect("lengths are those of the family"), hop);
                }
                map
            }

            fn lookup(&self, key: $key) -> u32 {
                *Self::lookup(self, &<$address>::from(key)).1
            }
        }

        impl Structure<$key> for LCTrieMap<$prefix, u32> {
            const NAME: &'static str = "iptrie (LC)";
            const UPDATABLE: bool = false;

            fn build(routes: &[Route<$key>]) -> Self {
                <RTrieMap<$prefix, u32> as Structure<$key>>::build(routes).compress()
            }

            fn lookup(&self, key: $key) -> u32 {
                *Self::lookup(self, &<$address>::from(key)).1
            }
        }
    };
}

iptrie!(u32, Ipv4Addr, Ipv4Prefix);
iptrie!(u128, Ipv6Addr, Ipv6Prefix);
