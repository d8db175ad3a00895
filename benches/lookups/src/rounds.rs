//! Rounds: who is measured in one, over which of the keys, and how it is asked for.

use std::io::{BufRead, Write};

use vpclab_dataplane::worker::Clock;

/// What ours is called.
pub(crate) const OWN: &str = "vpclab";
/// Keys that are looked up at once.
pub(crate) const BULK: usize = 32;
/// Keys of a table: so many that what one leads to, in a table larger than the caches, is
/// gone from them when its turn comes again.
pub(crate) const KEYS: usize = 1 << 22;
/// Crates take ten to a hundred times as long with a large table: they are asked for the
/// first of the keys, still more than what any cache holds of their tries.
pub(crate) const CRATE_KEYS: usize = 1 << 20;

/// How many keys a round counts, and how many go before them, uncounted, since the caches
/// hold what another left there. (fib.c has the same.) Rounds are short so that those who
/// are compared take turns within what the machine does by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    counted: usize,
    warm: usize,
}

impl Window {
    pub(crate) const OWN: Self = Self {
        counted: 1 << 20,
        warm: 1 << 19,
    };
    pub(crate) const CRATE: Self = Self {
        counted: 1 << 18,
        warm: 1 << 17,
    };
    /// Of thousands of tables, where ours is compared with the crates.
    pub(crate) const MANY: Self = Self {
        counted: 1 << 19,
        warm: 1 << 18,
    };

    /// What is warmed up with and what is counted in the `nth` round: each begins where the
    /// one before ended, and after the last of `keys` comes the first.
    pub(crate) fn of<K>(self, keys: &[K], nth: usize) -> (&[K], &[K]) {
        let counted = self.counted.min(keys.len());
        let start = nth % (keys.len() / counted.max(1)).max(1) * counted;
        // Before the first come the last.
        let end = if start == 0 { keys.len() } else { start };
        let warm = keys.get(end - self.warm.min(end)..end);
        let counted = keys.get(start..start + counted);
        (warm.unwrap_or_default(), counted.unwrap_or_default())
    }
}

/// A structure that has answered everything once, and can be measured.
pub(crate) struct Entrant<'a> {
    pub(crate) who: &'static str,
    pub(crate) updatable: bool,
    /// Bytes of the structure, where it says that.
    pub(crate) bytes: Option<usize>,
    /// Answers that differ from ours.
    pub(crate) wrong: usize,
    /// Measures the nth round: nanoseconds a lookup.
    pub(crate) round: Box<dyn FnMut(usize) -> f64 + 'a>,
}

/// Those that are compared, ours first, and what is said of all.
pub(crate) struct Contest<'a> {
    pub(crate) entrants: Vec<Entrant<'a>>,
    pub(crate) routes: usize,
}

pub(crate) fn ns_per(clock: Clock, operations: usize, work: impl FnOnce()) -> f64 {
    let start = clock.now();
    work();
    clock.now().since(start).as_nanos() as f64 / operations as f64
}

/// Says one line to whoever asks.
pub(crate) fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").map_err(|error| error.to_string())?;
    out.flush().map_err(|error| error.to_string())
}

/// The next line of the input, if there is one.
pub(crate) fn heard() -> Result<Option<String>, String> {
    let line = std::io::stdin().lock().lines().next();
    line.transpose().map_err(|error| error.to_string())
}

impl Contest<'_> {
    /// Measures a round of ours for each line `own` of the input, of all others, in turn, for
    /// each line `crates`; returns the first other line.
    pub(crate) fn serve(&mut self) -> Result<Option<String>, String> {
        say("ready")?;
        let (mut own, mut crates) = (0, 0);
        loop {
            let line = heard()?;
            let nth = match line.as_deref() {
                Some("own") => &mut own,
                Some("crates") => &mut crates,
                _ => return Ok(line),
            };
            let is_own = line.as_deref() == Some("own");
            say(&self.round(*nth, is_own))?;
            *nth += 1;
        }
    }

    fn round(&mut self, nth: usize, is_own: bool) -> String {
        let routes = self.routes;
        let asked = self.entrants.iter_mut();
        let asked = asked.filter(|entrant| (entrant.who == OWN) == is_own);
        let rows = asked.map(|entrant| {
            let ns = (entrant.round)(nth);
            let Entrant {
                who,
                updatable,
                bytes,
                wrong,
                ..
            } = entrant;
            let bytes = bytes.map_or(String::from("null"), |bytes| bytes.to_string());
            format!(
                "\"{who}\": {{\"ns\": {ns:.4}, \"updatable\": {updatable}, \"wrong\": {wrong}, \
                 \"bytes\": {bytes}, \"routes\": {routes}}}"
            )
        });
        let rows: Vec<String> = rows.collect();
        format!("{{{}}}", rows.join(", "))
    }

    /// One round of all, of which nobody hears.
    pub(crate) fn once(&mut self) {
        for entrant in &mut self.entrants {
            (entrant.round)(0);
        }
    }

    /// How many answers differ.
    pub(crate) fn wrong(&self) -> usize {
        self.entrants.iter().map(|entrant| entrant.wrong).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_each_other_and_begin_anew() {
        let window = Window {
            counted: 4,
            warm: 2,
        };
        let keys: Vec<u32> = (0..12).collect();
        assert_eq!(window.of(&keys, 0), (&[10, 11][..], &[0, 1, 2, 3][..]));
        assert_eq!(window.of(&keys, 2), (&[6, 7][..], &[8, 9, 10, 11][..]));
        assert_eq!(window.of(&keys, 3), window.of(&keys, 0));
        // Fewer keys than a round: all of them.
        assert_eq!(window.of(&keys[..3], 5), (&[1, 2][..], &[0, 1, 2][..]));
        assert_eq!(window.of(&keys[..0], 1), (&[][..], &[][..]));
    }
}
