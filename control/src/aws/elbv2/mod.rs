//! ELBv2's actions, a file for each family of resources.

use super::call::Entry;

/// All of ELBv2 that there is.
pub const FAMILIES: &[&[Entry]] = &[];
