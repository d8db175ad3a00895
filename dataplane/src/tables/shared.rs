//! Equal search structures are kept once: thousands of VPCs with the same plan of
//! addresses need the memory of one.

use super::HashMap;
use crate::lpm::{Key, Lpm};

/// Search structures in use, by fingerprint, with the number of their users.
#[derive(Clone, Debug)]
pub(crate) struct Shared<K> {
    held: HashMap<u64, (Lpm<K>, u32)>,
}

impl<K> Default for Shared<K> {
    fn default() -> Self {
        Self {
            held: HashMap::default(),
        }
    }
}

impl<K: Key> Shared<K> {
    /// Notes one more user of `table`, which gets the memory of its equal if
    /// there is one.
    pub(super) fn adopt(&mut self, table: &mut Lpm<K>) {
        let print = table.fingerprint();
        match self.held.get_mut(&print) {
            // Of two that look alike but differ, the second is left alone.
            Some((held, users)) => *users += u32::from(table.share(held)),
            None => drop(self.held.insert(print, (table.clone(), 1))),
        }
    }

    /// Notes one user less.
    pub(super) fn release(&mut self, table: &Lpm<K>) {
        let print = table.fingerprint();
        let Some((held, users)) = self.held.get_mut(&print) else {
            return;
        };
        if !table.shares(held) {
            return;
        }
        *users -= 1;
        if *users == 0 {
            self.held.remove(&print);
        }
    }

    /// Different structures that are shared, or could be.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}
