//! Where kernels read what huge tables have: their chunks, the blocks and fields of these, and
//! bytes of keys as they lie in memory.

// JUSTIFICATION: each of these is a load or two, made for every key, of what the table's builder
// laid down there; what it gains not to look again is at the top of `simd`.

use std::marker::PhantomData;

use super::super::chunk::{GROUPS, INDEX_LINES};
use super::super::six::Field;
use super::*;

/// The lines of a chunk of a huge table, as `Chunk::put_together` laid them down.
#[derive(Clone, Copy)]
pub(super) struct LinesOfChunk<'a> {
    at: *const Line,
    chunk: PhantomData<&'a [Line]>,
}

impl<'a> LinesOfChunk<'a> {
    /// A chunk of an IPv6 table, by its place as below.
    ///
    /// # Safety
    /// It is as `Home::new` left it: its places are those of its own lists.
    #[inline]
    pub(super) unsafe fn of_home(home: &'a Home) -> Self {
        debug_assert!(INDEX_LINES < home.lines.len());
        debug_assert_eq!(home.places.blocks, home.lines.as_ptr().addr());
        Self {
            at: std::ptr::with_exposed_provenance(home.places.blocks),
            chunk: PhantomData,
        }
    }

    /// Chunk `number` of a table: out of a list of places, which is one load, where a slice's
    /// beginning has to be reckoned.
    ///
    /// # Safety
    /// The table is whole: its places are those of its own chunks (`Rank::note`).
    #[inline]
    pub(super) unsafe fn nth(table: &'a Rank, number: u8) -> Self {
        let place = table.places[usize::from(number)];
        debug_assert_eq!(place, table.hot[usize::from(number)].as_ptr().addr());
        Self {
            at: std::ptr::with_exposed_provenance(place),
            chunk: PhantomData,
        }
    }
}

/// A block of a chunk, as `chunk` describes it.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    at: *const u64,
    chunk: PhantomData<&'a [Line]>,
}

impl<'a> Block<'a> {
    /// The block of the group that the highest ten bits of `word` number.
    #[inline]
    pub(super) fn of(chunk: LinesOfChunk<'a>, word: u16) -> Self {
        // SAFETY: ten bits are left of sixteen.
        unsafe { Self::of_group(chunk, word >> (u16::BITS - GROUPS.ilog2())) }
    }

    /// The block of a group: ten bits of an address.
    ///
    /// # Safety
    /// There are no more bits in `group`.
    #[inline]
    pub(super) unsafe fn of_group(chunk: LinesOfChunk<'a>, group: u16) -> Self {
        debug_assert!(usize::from(group) < GROUPS);
        let group = usize::from(group);
        // SAFETY: a chunk begins with an index of 1024 entries (`Chunk::put_together`), each of
        // which is the place of a block in the chunk's lines, in units of eight bytes. The lines
        // are held by the table or chunk that is borrowed.
        let at = unsafe {
            let entry = *chunk.at.cast::<u16>().add(group);
            chunk.at.cast::<u64>().add(usize::from(entry))
        };
        Self {
            at,
            chunk: PhantomData,
        }
    }

    /// See [`in_turn`].
    #[inline]
    pub(super) fn in_turn(self) -> Self {
        let at = in_turn(self.at);
        Self { at, ..self }
    }

    /// Starts to load it.
    #[inline]
    pub(super) fn prefetch(self) {
        // SAFETY: as for `prefetch`; a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(self.at.cast()) }
    }

    /// The code that it has for a slot, of which the lowest six bits count.
    ///
    /// # Safety
    /// The table's codes are `L`'s.
    #[inline]
    pub(super) unsafe fn code<L: Leaf>(self, slot: u8) -> u32 {
        // SAFETY: `of` found it in lines that are borrowed for as long. The highest bit of every
        // block is set, and behind the bits lie as many codes as there are bits, aligned to
        // their size: at least one bit is counted, and none that has no code.
        unsafe {
            let from_here = *self.at >> (slot & 63);
            let place = from_here.count_ones() as usize;
            debug_assert!(place > 0);
            match L::CODE_BITS {
                16 => u32::from(*self.at.cast::<u16>().add(place + 3)),
                _ => *self.at.cast::<u32>().add(place + 1),
            }
        }
    }
}

/// The highest 32 bits of an address, where they lie in memory: a byte of them is one load, where
/// taking it out of a register is up to three instructions.
#[derive(Clone, Copy)]
pub(super) struct Top<'a> {
    at: *const u8,
    key: PhantomData<&'a u8>,
}

impl<'a> Top<'a> {
    #[inline]
    pub(super) fn of<K: Key>(key: &'a K) -> Self {
        const { assert!(size_of::<K>() * 8 == K::BITS as usize && K::BITS >= 32) };
        Self {
            // SAFETY: the last four bytes of an address, which is an integer (see `Key`) and has
            // them at its end: x86 is little-endian.
            at: unsafe { std::ptr::from_ref(key).add(1).cast::<u8>().sub(4) },
            key: PhantomData,
        }
    }

    /// Bits 8 * `N` to 8 * `N` + 7, the lowest being 0.
    #[inline]
    pub(super) fn byte<const N: usize>(self) -> u8 {
        const { assert!(N < 4) };
        // SAFETY: one of the four bytes that `of` has a borrow of.
        unsafe { *self.at.add(N) }
    }

    /// The 16 bits behind these 32, of an IPv6 address.
    ///
    /// # Safety
    /// The address has them: it is one of more than 32 bits.
    #[inline]
    pub(super) unsafe fn below(self) -> u16 {
        // SAFETY: by the caller's word the two bytes before are the address's, too.
        unsafe { self.at.sub(2).cast::<u16>().read_unaligned() }
    }

    /// Bits 8 * `N` to 8 * `N` + 15.
    #[inline]
    pub(super) fn word<const N: usize>(self) -> u16 {
        const { assert!(N < 3) };
        // SAFETY: two of these four bytes.
        unsafe { self.at.add(N).cast::<u16>().read_unaligned() }
    }
}

/// Two IPv4 keys in one register.
#[derive(Clone, Copy)]
pub(super) struct Two(u64);

impl Two {
    #[inline]
    pub(super) fn of(keys: &[u32; 2]) -> Self {
        // SAFETY: reads the eight bytes of two keys, wherever they lie.
        Self(unsafe { keys.as_ptr().cast::<u64>().read_unaligned() })
    }

    /// `BITS` bits from bit `FROM` of the key with number `N` on: one instruction.
    #[target_feature(enable = "bmi1")]
    #[inline]
    pub(super) fn bits<const N: u32, const FROM: u32, const BITS: u32>(self) -> u16 {
        const { assert!(N < 2 && FROM + BITS <= 32 && BITS <= 16) };
        _bextr2_u64(self.0, ((N * 32 + FROM) | (BITS << 8)).into()) as u16
    }
}

/// The chunk of an IPv6 table that has the addresses beginning with these 16 bits.
///
/// # Safety
/// The table is as `Six::build` or `Six::replaced` left it: its map has a chunk of its own for
/// each 16 bits.
#[inline]
pub(super) unsafe fn home_at(table: &Six, top: u16) -> &Home {
    let top = usize::from(top);
    debug_assert!(top < table.map.len());
    // SAFETY: by the caller's word: `Six::build` maps each 16 bits to a chunk that it has made,
    // and `Six::replaced` changes one of these to a chunk that it adds; none is ever taken away.
    unsafe {
        let number = usize::from(*table.map.get_unchecked(top));
        debug_assert!(number < table.homes.len());
        table.homes.get_unchecked(number)
    }
}

/// What a chunk of an IPv6 table has below its slots. Its builder names nothing that it has not
/// laid down (`Below::code_of`), and lays down one of each kind before all others. Found by
/// their places, which are one load each.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Home);

impl<'a> Fields<'a> {
    /// Those of a chunk.
    ///
    /// # Safety
    /// It is as `Home::new` left it: its places are those of its own lists.
    #[inline]
    pub(super) const unsafe fn of(home: &'a Home) -> Self {
        Self(home)
    }

    /// The entry for a unit in a field.
    ///
    /// # Safety
    /// `number` is 0, or a code of this chunk's names that field, and `unit` has 16 bits.
    #[inline]
    pub(super) unsafe fn entry(self, number: u32, unit: u32) -> &'a u16 {
        let (number, below) = (number as usize, &*self.0.below);
        debug_assert!(number < below.fields.len());
        debug_assert_eq!(self.0.places.fields, below.fields.as_ptr().addr());
        debug_assert_eq!(self.0.places.entries, below.entries.as_ptr().addr());
        // SAFETY: see above; a field has an entry for each bucket, the first one a single entry
        // for all units (`Below::lay`, `Below::default`). The chunk holds both lists, which are
        // never changed, at these places (`Home::new`).
        unsafe {
            let fields: *const Field = std::ptr::with_exposed_provenance(self.0.places.fields);
            let entry = (*fields.add(number)).entry(unit) as usize;
            debug_assert!(entry < below.entries.len());
            let entries: *const u16 = std::ptr::with_exposed_provenance(self.0.places.entries);
            &*entries.add(entry)
        }
    }

    /// The line that an entry names.
    ///
    /// # Safety
    /// The entry is this chunk's.
    #[inline]
    pub(super) unsafe fn line(self, entry: u16) -> &'a Narrow {
        debug_assert!(usize::from(entry) < self.0.below.lines.len());
        debug_assert_eq!(self.0.places.lines, self.0.below.lines.as_ptr().addr());
        // SAFETY: as above.
        unsafe {
            let lines: *const Narrow = std::ptr::with_exposed_provenance(self.0.places.lines);
            &*lines.add(usize::from(entry))
        }
    }
}
