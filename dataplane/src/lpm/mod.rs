//! Longest-prefix match behind one call, [`Lpm::lookup_bulk`].
//!
//! `interval` turns the prefixes into sorted elementary intervals and searches
//! them; `linear` is the naive oracle that tests compare every structure with.
//! Faster structures come behind the same call.

mod interval;
pub mod linear;

pub use interval::Lpm;

/// The value of a lookup that matched nothing.
pub const NO_MATCH: u32 = u32::MAX;

/// An address as an integer: `u32` for IPv4, `u128` for IPv6.
pub trait Key: Copy + Ord + std::fmt::Debug {
    /// Bits in the family.
    const BITS: u8;
    /// The lowest address.
    const MIN: Self;
    /// The highest address.
    const MAX: Self;
    /// `self` with all bits after the first `len` cleared.
    fn first(self, len: u8) -> Self;
    /// `self` with all bits after the first `len` set.
    fn last(self, len: u8) -> Self;
    /// The next address; `None` after the highest.
    fn next(self) -> Option<Self>;
    /// The address before; the lowest has itself.
    fn prev(self) -> Self;
}

macro_rules! key {
    ($type:ty) => {
        impl Key for $type {
            const BITS: u8 = <$type>::BITS as u8;
            const MIN: Self = 0;
            const MAX: Self = <$type>::MAX;
            fn first(self, len: u8) -> Self {
                if len == 0 {
                    0
                } else {
                    self & (<$type>::MAX << (<$type>::BITS - u32::from(len)))
                }
            }
            fn last(self, len: u8) -> Self {
                if len == 0 {
                    <$type>::MAX
                } else {
                    self | !(<$type>::MAX << (<$type>::BITS - u32::from(len)))
                }
            }
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn prev(self) -> Self {
                self.saturating_sub(1)
            }
        }
    };
}

key!(u32);
key!(u128);
