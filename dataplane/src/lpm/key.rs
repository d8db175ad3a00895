//! An address as an integer, and the 32-bit windows through which trees see it.

/// Nobody else's types are keys: kernels read a key's bytes.
mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u128 {}
}

/// An address as an integer: `u32` for IPv4, `u128` for IPv6, and nothing else.
pub trait Key: sealed::Sealed + Copy + Ord + std::fmt::Debug + Send + Sync + 'static {
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
    /// The 32 bits from bit `offset` on (bit 0 is the highest); bits that the
    /// family does not have are 0.
    fn window(self, offset: u8) -> u32;
    /// The first `offset` bits of `self`, then `window`, then zeros.
    fn with_window(self, offset: u8, window: u32) -> Self;
    /// `keys` if these are IPv4 addresses.
    fn as_v4(keys: &[Self]) -> Option<&[u32]>;
}

macro_rules! key {
    ($type:ty, $as_v4:expr) => {
        impl Key for $type {
            const BITS: u8 = <$type>::BITS as u8;
            const MIN: Self = 0;
            const MAX: Self = <$type>::MAX;
            fn first(self, len: u8) -> Self {
                if len == 0 {
                    0
                } else {
                    self & (<$type>::MAX
                        << (<$type>::BITS - u32::from(len.min(<Self as Key>::BITS))))
                }
            }
            fn last(self, len: u8) -> Self {
                if len == 0 {
                    <$type>::MAX
                } else {
                    self | !<$type>::MAX.first(len)
                }
            }
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn prev(self) -> Self {
                self.saturating_sub(1)
            }
            fn window(self, offset: u8) -> u32 {
                let moved = self.unbounded_shl(u32::from(offset));
                (moved >> (<$type>::BITS - 32)) as u32
            }
            fn with_window(self, offset: u8, window: u32) -> Self {
                let high = <$type>::from(window) << (<$type>::BITS - 32);
                self.first(offset) | high.unbounded_shr(u32::from(offset))
            }
            fn as_v4(keys: &[Self]) -> Option<&[u32]> {
                $as_v4(keys)
            }
        }
    };
}

key!(u32, Some);
key!(u128, |_| None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cut_an_address_and_put_it_together() {
        let v6: u128 = 0x2001_0db8_1111_2222_3333_4444_5555_6666;
        assert_eq!(v6.window(0), 0x2001_0db8);
        assert_eq!(v6.window(24), 0xb811_1122);
        assert_eq!(v6.window(120), 0x6600_0000);
        assert_eq!(
            v6.with_window(24, 0xffff_ffff),
            0x2001_0dff_ffff_ff00_0000_0000_0000_0000
        );
        let v4: u32 = 0x0a01_0203;
        assert_eq!((v4.window(0), v4.window(24)), (v4, 0x0300_0000));
        assert_eq!(v4.with_window(24, 0x0900_0000), 0x0a01_0209);
        assert_eq!(v4.window(56), 0);
    }
}
