//! Which instructions the bulk lookups may use, found at run time: one binary
//! serves every machine.

use std::sync::atomic::{AtomicU8, Ordering};

/// A set of instructions, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every machine has.
    Scalar,
    /// AVX2, BMI1, BMI2 and POPCNT: eight lanes.
    Avx2,
    /// AVX-512 (F, BW, VL) besides: sixteen lanes and masks.
    Avx512,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The best that this machine has; looked at once, for small batches notice it.
    pub fn detect() -> Self {
        static FOUND: AtomicU8 = AtomicU8::new(u8::MAX);
        let found = FOUND.load(Ordering::Relaxed);
        if let Some(level) = Self::ALL.get(usize::from(found)) {
            return *level;
        }
        let level = Self::look();
        FOUND.store(level as u8, Ordering::Relaxed);
        level
    }

    fn look() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("popcnt");
            if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") {
                return Self::Avx512;
            }
            if avx2 {
                return Self::Avx2;
            }
        }
        Self::Scalar
    }

    /// What lookups use that are not told: the best of the machine, or less where
    /// [`Self::limit`] says so.
    #[inline]
    pub fn in_use() -> Self {
        match IN_USE.load(Ordering::Relaxed) {
            SCALAR => Self::Scalar,
            AVX2 => Self::Avx2,
            AVX512 => Self::Avx512,
            _ => Self::first_use(),
        }
    }

    #[cold]
    fn first_use() -> Self {
        let best = Self::detect() as u8;
        // Somebody else may have set a limit meanwhile: that holds.
        let _held = IN_USE.compare_exchange(u8::MAX, best, Ordering::Relaxed, Ordering::Relaxed);
        Self::in_use()
    }

    /// From now on everything in this process that is not told its instructions uses
    /// no more than these: for tests and measurements of each of the twins.
    pub fn limit(self) {
        IN_USE.store(self.min(Self::detect()) as u8, Ordering::Relaxed);
    }

    /// The levels that this machine has, the least first.
    pub fn available() -> impl Iterator<Item = Self> {
        let best = Self::detect();
        Self::ALL.into_iter().filter(move |level| *level <= best)
    }
}

/// A level that this machine was found to have: nothing else makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usable(Level);

impl Usable {
    /// [`Level::in_use`], which never is more.
    #[inline]
    pub(super) fn in_use() -> Self {
        Self(Level::in_use())
    }

    /// `level`, or the best that there is.
    #[inline]
    pub(super) fn at_most(level: Level) -> Self {
        Self(level.min(Level::detect()))
    }

    /// Which it is.
    #[inline]
    pub(super) const fn level(self) -> Level {
        self.0
    }
}

const SCALAR: u8 = Level::Scalar as u8;
const AVX2: u8 = Level::Avx2 as u8;
const AVX512: u8 = Level::Avx512 as u8;

/// What is used; another number until it is known.
static IN_USE: AtomicU8 = AtomicU8::new(u8::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_usable_than_the_machine_has() {
        for level in Level::ALL {
            let usable = Usable::at_most(level).level();
            assert_eq!(usable, level.min(Level::detect()));
        }
    }

    #[test]
    fn a_limit_holds_until_it_is_lifted() {
        for level in Level::ALL {
            level.limit();
            assert_eq!(Level::in_use(), level.min(Level::detect()));
            assert_eq!(Usable::in_use().level(), Level::in_use());
        }
        assert_eq!(Level::in_use(), Level::detect());
    }
}
