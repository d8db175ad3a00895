//! Allocations of the whole process, counted by the binary's allocator.
//!
//! The library installs no allocator: who embeds it has their own, and then
//! there is no count. The `vpclab` binary installs `stats_alloc`, which costs an
//! atomic addition a call.

/// What the allocator has done since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap {
    /// Calls that allocated or grew.
    pub allocations: u64,
    /// Bytes in use.
    pub bytes: u64,
}

impl Heap {
    /// The counts now; `None` if this process does not count.
    pub fn now() -> Option<Self> {
        let stats = stats_alloc::INSTRUMENTED_SYSTEM.stats();
        let bytes = stats
            .bytes_allocated
            .saturating_sub(stats.bytes_deallocated) as u64;
        // Any process that counts has allocated before it came here.
        (stats.allocations > 0).then_some(Self {
            allocations: (stats.allocations + stats.reallocations) as u64,
            bytes,
        })
    }
}
