//! What differs between the families where sessions are begun and answered by plan.

use super::Direction;
use super::entry::Address;
use super::short::{Key4, Key6};
use super::store::Store;
use super::table::Table;

/// A family of addresses, and how its sessions are found.
pub(crate) trait Family: Address {
    /// Whether it is IPv4.
    const IS_V4: bool;
    /// Last bit of its sessions' slots.
    const PARITY: u32;
    /// What finds a session by what an interface sends.
    type Key: Copy + std::fmt::Debug;

    /// The key of an end.
    fn key(end: &End<Self>) -> Self::Key;
    /// Back again.
    fn end(key: &Self::Key) -> End<Self>;
    /// Whether both are the same end's.
    fn is_same(a: &Self::Key, b: &Self::Key) -> bool;
    /// The family's own store.
    fn store<'a>(v4: &'a Store<u32>, v6: &'a Store<u128>) -> &'a Store<Self>;
    /// The same, to change.
    fn store_mut<'a>(v4: &'a mut Store<u32>, v6: &'a mut Store<u128>) -> &'a mut Store<Self>;
    /// Hash of a key.
    fn hash(table: &Table, key: &Self::Key) -> u64;
    /// The slot and direction that answer for a key.
    fn find(table: &Table, key: &Self::Key, hash: u64) -> Option<(u32, Direction)>;
}

/// An interface, and what it sends: addresses and ports as they are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<A> {
    pub(crate) src: A,
    pub(crate) dst: A,
    pub(crate) ports: u32,
    pub(crate) ingress: u32,
    pub(crate) protocol: u8,
}

impl Family for u32 {
    const IS_V4: bool = true;
    const PARITY: u32 = 0;
    type Key = Key4;

    #[inline(always)]
    fn key(end: &End<Self>) -> Key4 {
        Key4 {
            ends: Key4::both_ends(end.src, end.dst),
            ports: end.ports,
            ingress: end.ingress,
            kind: Key4::ENI | u16::from(end.protocol),
        }
    }

    #[inline(always)]
    fn end(key: &Key4) -> End<Self> {
        let (src, dst) = key.addresses();
        End {
            src,
            dst,
            ports: key.ports,
            ingress: key.ingress,
            protocol: key.protocol(),
        }
    }

    #[inline(always)]
    fn is_same(a: &Key4, b: &Key4) -> bool {
        a.is_same(b)
    }

    #[inline(always)]
    fn store<'a>(v4: &'a Store<u32>, _: &'a Store<u128>) -> &'a Store<Self> {
        v4
    }

    #[inline(always)]
    fn store_mut<'a>(v4: &'a mut Store<u32>, _: &'a mut Store<u128>) -> &'a mut Store<Self> {
        v4
    }

    #[inline(always)]
    fn hash(table: &Table, key: &Key4) -> u64 {
        table.hash4(key)
    }

    #[inline(always)]
    fn find(table: &Table, key: &Key4, hash: u64) -> Option<(u32, Direction)> {
        table.find4(key, hash, u32::MAX)
    }
}

impl Family for u128 {
    const IS_V4: bool = false;
    const PARITY: u32 = 1;
    type Key = Key6;

    #[inline(always)]
    fn key(end: &End<Self>) -> Key6 {
        Key6 {
            src: end.src,
            dst: end.dst,
            ports: end.ports,
            ingress: end.ingress,
            protocol: end.protocol,
        }
    }

    #[inline(always)]
    fn end(key: &Key6) -> End<Self> {
        End {
            src: key.src,
            dst: key.dst,
            ports: key.ports,
            ingress: key.ingress,
            protocol: key.protocol,
        }
    }

    #[inline(always)]
    fn is_same(a: &Key6, b: &Key6) -> bool {
        (a.src, a.dst, a.ports) == (b.src, b.dst, b.ports)
            && (a.ingress, a.protocol) == (b.ingress, b.protocol)
    }

    #[inline(always)]
    fn store<'a>(_: &'a Store<u32>, v6: &'a Store<u128>) -> &'a Store<Self> {
        v6
    }

    #[inline(always)]
    fn store_mut<'a>(_: &'a mut Store<u32>, v6: &'a mut Store<u128>) -> &'a mut Store<Self> {
        v6
    }

    #[inline(always)]
    fn hash(table: &Table, key: &Key6) -> u64 {
        table.hash6(key)
    }

    #[inline(always)]
    fn find(table: &Table, key: &Key6, hash: u64) -> Option<(u32, Direction)> {
        table.find6(key, hash, u32::MAX)
    }
}
