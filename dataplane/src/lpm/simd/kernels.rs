//! The kernels, once for each set of instructions.

use super::*;

/// The same code for both sets of instructions; they differ in how a line is
/// compared with a key.
macro_rules! kernels {
    ($module:ident, $features:literal, $isa:ident, { $($special:item)* }) => {
        pub(super) mod $module {
            use super::*;
            use super::$isa::{code_below, narrow_rank, narrow_rank_of, rank};
            $($special)*

            #[target_feature(enable = $features)]
            pub(in crate::lpm::simd) fn bulk<K: Key>(inner: &Inner, keys: &[K], out: &mut [u32]) {
                match (inner.view(), K::as_v4(keys)) {
                    (View::Small(small), Some(keys)) => small_v4(&small, keys, out),
                    (View::Rows(table), Some(keys)) => in_rows(&table, keys, out),
                    (View::Direct(index), Some(keys)) => direct(index, keys, out),
                    (View::Rank(table), _) => {
                        // SAFETY: so `L` is the table's form.
                        by_form!(table.form, L => unsafe { ranked::<K, L>(&table.rank, keys, out) });
                    }
                    (View::Six(table), _) => six(table, keys, out),
                    _ => in_grove(inner, keys, out),
                }
            }

            #[target_feature(enable = $features)]
            #[inline(never)]
            fn small_v4(small: &Small, keys: &[u32], out: &mut [u32]) {
                if !special(small, keys, out) {
                    // SAFETY: its own lines.
                    by_form!(small.form, L => unsafe { tree::<L>(small.lines, small.root, keys, out) });
                }
            }

            /// Trees that are no table of IPv4's.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn in_grove<K: Key>(inner: &Inner, keys: &[K], out: &mut [u32]) {
                let (trees, root, form) = match inner.view() {
                    View::Small(small) => (small.trees(), small.root, small.form),
                    View::Grove(table) => (table.trees(), table.root, table.form),
                    _ => return debug_assert!(false, "bulk() has these"),
                };
                by_form!(form, L => grove::<K, L>(trees, root, keys, out));
            }

            /// Runs `search` over `N` keys at a time, and `again` over what is left, filled up:
            /// it begins anew.
            #[target_feature(enable = $features)]
            #[inline]
            pub(in crate::lpm::simd) fn by_whole_groups<K: Key, const N: usize>(
                keys: &[K],
                out: &mut [u32],
                mut search: impl FnMut(&[K; N], &mut [u32; N]),
                again: impl FnOnce(&[K], &mut [u32]),
            ) {
                let (groups, rest) = keys.as_chunks::<N>();
                let (out, last) = out.as_chunks_mut::<N>();
                for (keys, out) in groups.iter().zip(out) {
                    search(keys, out);
                }
                if !rest.is_empty() {
                    filled_up::<K, N>(rest, last, again);
                }
            }

            #[target_feature(enable = $features)]
            #[cold]
            #[inline(never)]
            fn filled_up<K: Key, const N: usize>(
                rest: &[K],
                last: &mut [u32],
                again: impl FnOnce(&[K], &mut [u32]),
            ) {
                let (mut keys, mut out) = ([K::MIN; N], [0; N]);
                keys[..rest.len()].copy_from_slice(rest);
                again(&keys, &mut out);
                last.copy_from_slice(&out[..last.len()]);
            }

            /// Runs `search` over `N` keys at a time, the last ones filled up: loops
            /// of a fixed length need no checks. It is called at one place, so it is
            /// part of the loop.
            #[target_feature(enable = $features)]
            #[inline]
            pub(in crate::lpm::simd) fn by_groups<K: Key, const N: usize>(
                keys: &[K],
                out: &mut [u32],
                mut search: impl FnMut(&[K; N], &mut [u32; N]),
            ) {
                let (groups, rest) = keys.as_chunks::<N>();
                let (out, last) = out.as_chunks_mut::<N>();
                // Not filled with anything where nothing is left over, which costs a small
                // batch more than some of its keys.
                let mut spare = MaybeUninit::<([K; N], [u32; N])>::uninit();
                let mut spare = (!rest.is_empty()).then(|| {
                    let spare = spare.write(([K::MIN; N], [0; N]));
                    spare.0[..rest.len()].copy_from_slice(rest);
                    spare
                });
                let mut whole = groups.iter().zip(out);
                let mut is_left = spare.is_some();
                loop {
                    let (keys, out) = match whole.next() {
                        Some(both) => both,
                        None => match &mut spare {
                            Some(spare) if is_left => {
                                is_left = false;
                                (&spare.0, &mut spare.1)
                            }
                            _ => break,
                        },
                    };
                    search(keys, out);
                }
                if let Some(spare) = spare {
                    last.copy_from_slice(&spare.1[..last.len()]);
                }
            }

            /// (Not `map`: what has no wide registers cannot become part of what has.)
            #[target_feature(enable = $features)]
            #[inline]
            fn all_turned<const N: usize>(keys: &[u32; N]) -> [i32; N] {
                let mut out = [0; N];
                for lane in 0..N {
                    out[lane] = turned(keys[lane]);
                }
                out
            }

            /// The answers for keys whose leaves are known. The loads do not wait for
            /// each other.
            ///
            /// # Safety
            /// The structure whose lines these are names each `at`.
            #[target_feature(enable = $features)]
            #[inline]
            pub(in crate::lpm::simd) unsafe fn leaves<L: Leaf, const N: usize>(
                lines: &[Line],
                at: &[u32; N],
                keys: &[i32; N],
                out: &mut [u32; N],
            ) {
                for n in 0..N {
                    // SAFETY: by the caller's word the line is there; no more keys are counted
                    // than a leaf has.
                    let code = unsafe {
                        let line = line_at(lines, at[n]);
                        code_at::<L>(line, rank(line, mask(L::KEYS), keys[n]))
                    };
                    out[n] = lane(value(code));
                }
            }

            /// One code; 1 dependent load a level.
            #[target_feature(enable = $features)]
            #[inline]
            fn descend<L: Leaf>(lines: &[Line], root: Root, key: u32) -> u32 {
                let key = turned(key);
                let mut at = root.line();
                for _ in 1..root.depth() {
                    let line = &lines[at];
                    at = line.child(rank(line, mask(INNER_KEYS), key.min(PAD - 1)) as usize);
                }
                let line = &lines[at];
                // SAFETY: no more keys are counted than a leaf has.
                unsafe { code_at::<L>(line, rank(line, mask(L::KEYS), key)) }
            }

            /// One tree, IPv4, level by level.
            ///
            /// # Safety
            /// The root is of these lines.
            #[target_feature(enable = $features)]
            #[inline(never)]
            unsafe fn tree<L: Leaf>(lines: &[Line], root: Root, keys: &[u32], out: &mut [u32]) {
                by_groups(keys, out, |keys: &[u32; LANES], out| {
                    let keys = all_turned(keys);
                    let mut at = [root.line() as u32; LANES];
                    for _ in 1..root.depth() {
                        for (key, at) in keys.iter().zip(&mut at) {
                            // SAFETY: the root's line, or a child's of a node of this tree.
                            let line = unsafe { line_at(lines, *at) };
                            *at = line.child(rank(line, mask(INNER_KEYS), (*key).min(PAD - 1)) as usize) as u32;
                        }
                    }
                    // SAFETY: as above, of the last level.
                    unsafe { leaves::<L, _>(lines, &at, &keys, out) };
                });
            }

            /// Trees with subtrees.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn grove<K: Key, L: Leaf>(trees: Trees<'_>, root: Root, keys: &[K], out: &mut [u32]) {
                for (key, out) in keys.iter().zip(out) {
                    let (mut root, mut offset) = (root, 0);
                    let mut code = descend::<L>(trees.lines, root, key.window(offset));
                    while code & L::SUBTREE != 0 {
                        root = trees.subtree::<L>(code);
                        offset += 32;
                        code = descend::<L>(trees.lines, root, key.window(offset));
                    }
                    *out = value(code);
                }
            }

            /// A direct index: bucket, line, code.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn direct(index: &Direct, keys: &[u32], out: &mut [u32]) {
                let again = |keys: &[u32], out: &mut [u32]| direct(index, keys, out);
                let search = |keys: &[u32; PAIR], out: &mut [u32; PAIR]| {
                    let (mut bucket, mut pair) = places(index, keys);
                    laid_down(&mut bucket);
                    laid_down(&mut pair);
                    let code = |n: usize| {
                        // SAFETY: `places` holds keys between `low` and `high`; a count of the
                        // line's own keys.
                        unsafe {
                            let line = narrow_at(index, bucket[n]);
                            narrow_code(line, narrow_rank(line, pair[n])) as u16
                        }
                    };
                    if values_of(code, out) || !index.values.is_empty() {
                        finish(index, keys, out);
                    }
                };
                by_whole_groups(keys, out, search, again);
            }

            /// What the codes in `out`, less one, stand for: most often a value each, but for
            /// a few that have trees.
            #[target_feature(enable = $features)]
            #[cold]
            fn finish(index: &Direct, keys: &[u32; PAIR], out: &mut [u32; PAIR]) {
                let mut deep = 0;
                for n in 0..PAIR {
                    deep |= u32::from(out[n].wrapping_add(1) & Short::SUBTREE != 0) << n;
                }
                while deep != 0 {
                    let n = take_lowest(&mut deep);
                    out[n] = value(index.below(out[n].wrapping_add(1), keys[n]));
                }
                if !index.values.is_empty() {
                    for n in 0..PAIR {
                        out[n] = index.value(out[n].wrapping_add(1));
                    }
                }
            }

            /// Codes become values; says whether there may be subtrees among them.
            #[target_feature(enable = $features)]
            #[inline]
            fn codes_become_values<L: Leaf>(
                code: impl Fn(usize) -> u32,
                out: &mut [u32; RANKED],
            ) -> bool {
                if L::CODE_BITS == 16 {
                    return values_of(|n| code(n) as u16, out);
                }
                let mut any = 0;
                for first in (0..RANKED).step_by(8) {
                    for n in first..first + 8 {
                        let code = lane(code(n));
                        any |= code;
                        out[n] = lane(value(code));
                    }
                    any = lane(any);
                }
                any & L::SUBTREE != 0
            }

            /// Takes a step for all keys.
            #[target_feature(enable = $features)]
            #[inline]
            fn step<T: Copy>(found: &mut Found<T>, mut take: impl FnMut(usize) -> T) -> &mut [T; PAIR] {
                // Two at a time: of so few instructions those of the loop are a good part.
                for n in (0..PAIR).step_by(2) {
                    found[n].write(take(n));
                    found[n + 1].write(take(n + 1));
                }
                // JUSTIFICATION: here and below: places that are written first and taken as
                // values then; to make them zero before is a store for each key and step.
                // SAFETY: so each place has been written.
                unsafe { all_of(found) }
            }

            /// A huge table: blocks, codes, and what goes on in trees.
            ///
            /// # Safety
            /// Its codes are `L`'s.
            #[target_feature(enable = $features)]
            #[inline(never)]
            unsafe fn ranked<K: Key, L: Leaf>(table: &Rank, keys: &[K], out: &mut [u32]) {
                // SAFETY: the same table.
                let again = |keys: &[K], out: &mut [u32]| unsafe { ranked::<K, L>(table, keys, out) };
                let search = |keys: &[K; RANKED], out: &mut [u32; RANKED]| {
                    let mut blocks = nothing();
                    let v4 = K::as_v4(keys).and_then(|keys| keys.as_array());
                    let blocks = match v4 {
                        Some(keys) => blocks_of_v4(table, keys, &mut blocks),
                        None => step(&mut blocks, |n| {
                            let top = Top::of(&keys[n]);
                            // SAFETY: the table is whole.
                            let chunk = unsafe { LinesOfChunk::nth(table, top.byte::<3>()) };
                            let block = Block::of(chunk, top.word::<1>()).in_turn();
                            block.prefetch();
                            block
                        }),
                    };
                    let slot = |n: usize| Top::of(&keys[n]).byte::<1>();
                    // SAFETY: by the caller's word its codes are `L`'s.
                    let code = |n: usize| unsafe { blocks[n].code::<L>(slot(n)) };
                    if codes_become_values::<L>(code, out) {
                        deeper::<K, L>(table, keys, out);
                    }
                };
                by_whole_groups(keys, out, search, again);
            }

            /// The blocks of IPv4 keys, two at a time.
            #[target_feature(enable = $features)]
            #[inline]
            fn blocks_of_v4<'a, 'b>(
                table: &'a Rank,
                keys: &[u32; RANKED],
                blocks: &'b mut Found<Block<'a>>,
            ) -> &'b mut [Block<'a>; RANKED] {
                let both = keys.as_chunks::<2>().0.iter();
                for (keys, blocks) in both.zip(blocks.as_chunks_mut::<2>().0) {
                    let two = Two::of(keys);
                    // SAFETY: the table is whole, and groups are numbered by ten bits.
                    let (first, second) = unsafe {
                        let chunk = LinesOfChunk::nth(table, two.bits::<0, 24, 8>() as u8);
                        let first = Block::of_group(chunk, two.bits::<0, 14, 10>()).in_turn();
                        let chunk = LinesOfChunk::nth(table, two.bits::<1, 24, 8>() as u8);
                        (first, Block::of_group(chunk, two.bits::<1, 14, 10>()).in_turn())
                    };
                    first.prefetch();
                    second.prefetch();
                    blocks[0].write(first);
                    blocks[1].write(second);
                }
                // SAFETY: all pairs have been written.
                unsafe { all_of(blocks) }
            }

            /// The keys whose answers in `out` are subtrees still: a level of all of them at a
            /// time.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn deeper<K: Key, L: Leaf>(table: &Rank, keys: &[K; RANKED], out: &mut [u32; RANKED]) {
                let mut deep = 0;
                for n in 0..RANKED {
                    deep |= u32::from(out[n].wrapping_add(1) & L::SUBTREE != 0) << n;
                }
                let mut lines: [&[Line]; RANKED] = [&[]; RANKED];
                let (mut at, mut left, mut windows) = ([0; RANKED], [0; RANKED], [0; RANKED]);
                let mut levels = 0;
                let mut bits = deep;
                while bits != 0 {
                    let n = take_lowest(&mut bits);
                    let trees = table.trees((keys[n].window(0) >> 24) as usize);
                    let root = trees.subtree::<L>(out[n].wrapping_add(1));
                    lines[n] = trees.lines;
                    at[n] = root.line() as u32;
                    left[n] = root.depth() as u32 - 1;
                    windows[n] = turned(keys[n].window(BELOW));
                    levels |= 1 << left[n];
                    // SAFETY: the root's line.
                    prefetch(unsafe { line_at(lines[n], at[n]) });
                }
                for level in 0..u32::ilog2(levels | 1) {
                    let mut bits = 0;
                    for n in 0..RANKED {
                        bits |= u32::from(left[n] > level) << n;
                    }
                    while bits != 0 {
                        let n = take_lowest(&mut bits);
                        // SAFETY: the root's line, or a child's of a node of this tree.
                        let line = unsafe { line_at(lines[n], at[n]) };
                        let rank = rank(line, mask(INNER_KEYS), windows[n].min(PAD - 1));
                        at[n] = line.child(rank as usize) as u32;
                        // SAFETY: as above.
                        prefetch(unsafe { line_at(lines[n], at[n]) });
                    }
                }
                let mut bits = deep;
                while bits != 0 {
                    let n = take_lowest(&mut bits);
                    // SAFETY: as above, of the last level; no more keys are counted than a
                    // leaf has.
                    let code = unsafe {
                        let line = line_at(lines[n], at[n]);
                        code_at::<L>(line, rank(line, mask(L::KEYS), windows[n]))
                    };
                    out[n] = value(code);
                    if code & L::SUBTREE != 0 {
                        // Longer than /56: few are.
                        let trees = table.trees((keys[n].window(0) >> 24) as usize);
                        out[n] = trees.lookup::<K, L>(trees.subtree::<L>(code), keys[n], BELOW + 32);
                    }
                }
            }

            /// A huge IPv6 table: blocks as above, then the steps through a field for all keys,
            /// be it one that leads nowhere: no list of who takes them is needed.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn six<K: Key>(table: &Six, keys: &[K], out: &mut [u32]) {
                let again = |keys: &[K], out: &mut [u32]| six(table, keys, out);
                let search = |keys: &[K; RANKED], out: &mut [u32; RANKED]| {
                    let (mut homes, mut blocks) = (nothing(), nothing());
                    let blocks = step(&mut blocks, |n| {
                        let top = Top::of(&keys[n]);
                        // SAFETY: the table is whole, and so are its chunks.
                        let (home, chunk) = unsafe {
                            let home = home_at(table, top.word::<2>());
                            (home, LinesOfChunk::of_home(home))
                        };
                        homes[n].write(home);
                        let block = Block::of(chunk, top.word::<0>()).in_turn();
                        block.prefetch();
                        block
                    });
                    let slot = |n: usize| Top::of(&keys[n]).byte::<0>();
                    // SAFETY: codes of such tables are `Short`'s.
                    let code = |n: usize| unsafe { blocks[n].code::<Short>(slot(n)) };
                    if codes_become_values::<Short>(code, out) {
                        // SAFETY: the step has written each, too: the chunks where `out` has
                        // its codes from.
                        unsafe { in_fields(table, all_of(&mut homes), keys, out) };
                    }
                };
                by_whole_groups(keys, out, search, again);
            }

            /// The keys whose answers in `out` are fields still; the others stay as they are.
            ///
            /// # Safety
            /// Each of `out` has, less one, a code of the chunk in `homes` for its key.
            #[target_feature(enable = $features)]
            #[inline(never)]
            unsafe fn in_fields<K: Key>(
                table: &Six,
                homes: &[&Home; RANKED],
                keys: &[K; RANKED],
                out: &mut [u32; RANKED],
            ) {
                let mut fields = [0; RANKED];
                fields_of(out, &mut fields);
                let mut entries = nothing();
                let entries = step(&mut entries, |n| {
                    // SAFETY: the chunk is whole; by the caller's word `fields_of` found there
                    // what names one of its fields, or 0; a unit has 16 bits.
                    let entry = unsafe { Fields::of(homes[n]).entry(fields[n], six::unit(keys[n])) };
                    let entry = in_turn_ref(entry);
                    prefetch(entry);
                    entry
                });
                let mut lines = nothing();
                let lines = step(&mut lines, |n| {
                    // SAFETY: the entry is of this chunk.
                    let line = in_turn_ref(unsafe { Fields::of(homes[n]).line(*entries[n]) });
                    prefetch(line);
                    line
                });
                let rank = |n: usize| narrow_rank_of(lines[n], units(&keys[n]));
                // SAFETY: a count of the line's own keys.
                let code = |n: usize| unsafe { narrow_code(lines[n], rank(n)) as u16 };
                if !values_of_fields(code, out) {
                    return;
                }
                let mut deep = 0;
                for n in 0..RANKED {
                    deep |= u32::from(out[n].wrapping_add(1) & Short::SUBTREE != 0) << n;
                }
                while deep != 0 {
                    let n = take_lowest(&mut deep);
                    out[n] = table.in_tree(out[n].wrapping_add(1), keys[n]);
                }
            }

            /// Another table for each key.
            #[target_feature(enable = $features)]
            pub(in crate::lpm::simd) fn each<K: Key>(tables: &[&Lpm<K>], keys: &[K], out: &mut [u32]) -> bool {
                let Some(keys) = K::as_v4(keys) else {
                    return false;
                };
                let batches = tables.chunks(PAIR).zip(keys.chunks(PAIR));
                for ((tables, keys), out) in batches.zip(out.chunks_mut(PAIR)) {
                    let whole = match (tables.as_array(), keys.as_array(), out.as_mut_array()) {
                        (Some(tables), Some(keys), Some(out)) => each_in_rows(tables, keys, out),
                        _ => false,
                    };
                    if !whole {
                        each_by_steps(tables, keys, out);
                    }
                }
                true
            }

            /// Tables that all are rows: what a machine full of VPCs has.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn each_in_rows<K: Key>(
                tables: &[&Lpm<K>; PAIR],
                keys: &[u32; PAIR],
                out: &mut [u32; PAIR],
            ) -> bool {
                for table in tables {
                    prefetch(*table);
                }
                // Else those that have other tables, and only such, would do all this in vain.
                if !matches!(tables[0].inner.view(), View::Rows(_)) {
                    return false;
                }
                let mut bounds = [0; PAIR];
                bounds_of(keys, &mut bounds);
                // How far on any is: a table that is no rows is further on than others can be.
                let mut furthest = 0;
                let mut lines = nothing();
                let lines = step(&mut lines, |n| {
                    let table = &tables[n].inner;
                    let further = line_below(&table.firsts, bounds[n]);
                    furthest |= further;
                    let line = in_turn(table.start().wrapping_byte_add(further));
                    prefetch_at(line);
                    line
                });
                const NO_ROWS: usize = rows::LINES * size_of::<Line>();
                const { assert!(NO_ROWS.is_power_of_two()) };
                if furthest >= NO_ROWS {
                    return false;
                }
                let code = |n: usize| {
                    debug_assert!(tables[n].inner.lines().as_ptr_range().contains(&lines[n]));
                    // SAFETY: so each is a table of rows, which has a line for each of its first
                    // keys and one before (`rows::build`). Checked in debug builds.
                    code_below(unsafe { &*lines[n] }, bounds[n])
                };
                row_values(code, out);
                true
            }

            /// Tables of any kind: each step is taken for all of them before the next, so that
            /// the lines of one step are fetched together.
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn each_by_steps<K: Key>(tables: &[&Lpm<K>], keys: &[u32], out: &mut [u32]) {
                let mut at: [At<'_>; PAIR] = [At::Elsewhere; PAIR];
                for ((table, key), at) in tables.iter().zip(keys).zip(&mut at) {
                    match table.inner.view() {
                        View::Rows(table) => {
                            let number = line_below(table.firsts, bound(*key)) / size_of::<Line>();
                            // SAFETY: it counts the table's first keys.
                            let line = unsafe { line_at(table.lines, number as u32) };
                            prefetch(line);
                            *at = At::Rows(line);
                        }
                        View::Small(small) => {
                            // SAFETY: the root's line.
                            let first = unsafe { line_at(small.lines, small.root.line() as u32) };
                            prefetch(first);
                            if let Some(line) = small.lines.get(2).filter(|_| small.form == Form::Tiny) {
                                prefetch(line);
                            }
                            *at = At::Tree(first);
                        }
                        View::Direct(index) => {
                            prefetch(index);
                            *at = At::Index(index);
                        }
                        _ => {}
                    }
                }
                for ((table, key), at) in tables.iter().zip(keys).zip(&mut at) {
                    let key = turned(*key);
                    match (table.inner.view(), *at) {
                        (View::Small(small), At::Tree(first)) => {
                            let mut line = first;
                            for _ in 1..small.root.depth() {
                                let rank = rank(line, mask(INNER_KEYS), key.min(PAD - 1));
                                let child = line.child(rank as usize) as u32;
                                // SAFETY: a child of a node of this tree.
                                line = unsafe { line_at(small.lines, child) };
                            }
                            prefetch(line);
                            *at = At::Tree(line);
                        }
                        (_, At::Index(index)) => {
                            let key = upright(key).min(index.high).max(index.low);
                            let bucket = (key - index.low) >> (index.shift & 31);
                            if let Some(entry) = index.top.get(bucket as usize) {
                                prefetch(entry);
                            }
                            *at = At::Bucket(index, bucket);
                        }
                        _ => {}
                    }
                }
                for at in &mut at {
                    if let At::Bucket(index, bucket) = *at {
                        // SAFETY: of a key held between `low` and `high`, above.
                        let line = unsafe { narrow_at(index, bucket) };
                        prefetch(line);
                        *at = At::Narrow(index, line);
                    }
                }
                for (((table, key), at), out) in tables.iter().zip(keys).zip(at).zip(out) {
                    let turned = turned(*key);
                    let (leaf, form) = match (table.inner.view(), at) {
                        (_, At::Rows(line)) => {
                            *out = value(u32::from(code_below(line, bound(*key))));
                            continue;
                        }
                        (_, At::Narrow(index, line)) => {
                            let held = (*key).min(index.high).max(index.low);
                            let rank = narrow_rank(line, unit_pair(held >> (index.unit & 31)));
                            // SAFETY: a count of the line's own keys.
                            let code = unsafe { narrow_code(line, rank) };
                            *out = if code & Short::SUBTREE == 0 {
                                index.value(code)
                            } else {
                                index.value(index.below(code, *key))
                            };
                            continue;
                        }
                        (View::Small(small), At::Tree(leaf)) if small.form != Form::Tiny => (leaf, small.form),
                        (View::Small(small), _) => {
                            *out = small.lookup(*key);
                            continue;
                        }
                        _ => {
                            *out = table.lookup(K::MIN.with_window(0, *key));
                            continue;
                        }
                    };
                    let code = by_form!(form, L => {
                        // SAFETY: no more keys are counted than a leaf has.
                        unsafe { code_at::<L>(leaf, rank(leaf, mask(L::KEYS), turned)) }
                    });
                    *out = value(code);
                }
            }
        }
    };
}

/// How far one of many lookups is.
#[derive(Clone, Copy)]
enum At<'a> {
    /// In a structure that is searched at once.
    Elsewhere,
    /// A line of a small table.
    Tree(&'a Line),
    /// A line of rows.
    Rows(&'a Line),
    /// A table with a direct index, the bucket of it, and the line.
    Index(&'a Direct),
    Bucket(&'a Direct, u32),
    Narrow(&'a Direct, &'a Narrow),
}

kernels!(avx2, "avx2,bmi1,bmi2,popcnt", isa256, {
    use crate::lpm::simd::eights::in_rows;
    use crate::lpm::simd::registers::special;
});

kernels!(
    avx512,
    "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt",
    isa512,
    {
        use crate::lpm::simd::wide::{in_rows, special};
    }
);
