//! What a worker counts. Plain integers: one writer, summed by readers.

use crate::drop::DropReason;

/// The frame accounts of one worker (ARCHITECTURE §3) and a counter per drop reason.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Frames taken from ports.
    pub received: u64,
    /// Frames that the data plane made itself: replies, resets, ICMP errors,
    /// and each segment or fragment beyond the first.
    pub generated: u64,
    /// Frames handed in by other workers.
    pub handed_in: u64,
    /// Frames given to ports.
    pub transmitted: u64,
    /// Frames given to local services (health checks' stacks, resolver…).
    pub local: u64,
    /// Frames whose whole purpose was served here: ARP, ND, pings of the router.
    pub consumed: u64,
    /// Frames handed to other workers.
    pub handed_out: u64,
    /// Frames kept for later (none at rest).
    pub queued: u64,
    /// Flow-cache hits.
    pub flow_hits: u64,
    /// Packets that took the walk, or opened a connection by plan.
    pub flow_misses: u64,
    /// Connections created.
    pub flows_created: u64,
    /// Of these, by the plan of another of their class, without a walk.
    pub flows_planned: u64,
    /// First answers sent by the plan of another of their class.
    pub answers_planned: u64,
    /// Connections that ended or timed out.
    pub flows_ended: u64,
    /// Half-open connections evicted to make room.
    pub flows_evicted: u64,
    /// Gateway load balancer flows created (`NewFlowCount`).
    pub gwlb_flows_created: u64,
    /// Proxy protocol headers sent to targets, those sent again included.
    pub proxy_headers: u64,
    drops: [u64; DropReason::COUNT],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            received: 0,
            generated: 0,
            handed_in: 0,
            transmitted: 0,
            local: 0,
            consumed: 0,
            handed_out: 0,
            queued: 0,
            flow_hits: 0,
            flow_misses: 0,
            flows_created: 0,
            flows_planned: 0,
            answers_planned: 0,
            flows_ended: 0,
            flows_evicted: 0,
            gwlb_flows_created: 0,
            proxy_headers: 0,
            drops: [0; DropReason::COUNT],
        }
    }
}

impl Counters {
    /// Counts one drop.
    pub fn drop(&mut self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    /// Counts `count` drops.
    pub fn drop_many(&mut self, reason: DropReason, count: u64) {
        if let Some(counter) = self.drops.get_mut(reason as usize) {
            *counter += count;
        }
    }

    /// Packets dropped for `reason`.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// Packets dropped for any reason.
    pub fn drops_total(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Every counter by its stable name; zero drops are left out.
    pub fn named(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let plain = [
            ("rx", self.received),
            ("generated", self.generated),
            ("handed_in", self.handed_in),
            ("tx", self.transmitted),
            ("local", self.local),
            ("consumed", self.consumed),
            ("handed_out", self.handed_out),
            ("queued", self.queued),
            ("flow.hits", self.flow_hits),
            ("flow.misses", self.flow_misses),
            ("flow.created", self.flows_created),
            ("flow.planned", self.flows_planned),
            ("flow.answers_planned", self.answers_planned),
            ("flow.ended", self.flows_ended),
            ("flow.evicted", self.flows_evicted),
            ("gwlb.flow_created", self.gwlb_flows_created),
            ("lb.proxy_headers", self.proxy_headers),
        ];
        let drops = DropReason::ALL
            .iter()
            .map(|&reason| (format!("drop.{}", reason.name()), self.drops(reason)))
            .filter(|&(_, count)| count > 0);
        plain
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .chain(drops)
    }

    /// Both sides of the frame account; equal whenever no batch is under way.
    pub fn balance(&self) -> (u64, u64) {
        (
            self.received + self.generated + self.handed_in,
            self.transmitted
                + self.local
                + self.consumed
                + self.handed_out
                + self.queued
                + self.drops_total(),
        )
    }

    /// Adds another worker's counts.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.generated += other.generated;
        self.handed_in += other.handed_in;
        self.transmitted += other.transmitted;
        self.local += other.local;
        self.consumed += other.consumed;
        self.handed_out += other.handed_out;
        self.queued += other.queued;
        self.flow_hits += other.flow_hits;
        self.flow_misses += other.flow_misses;
        self.flows_created += other.flows_created;
        self.flows_planned += other.flows_planned;
        self.answers_planned += other.answers_planned;
        self.flows_ended += other.flows_ended;
        self.flows_evicted += other.flows_evicted;
        self.gwlb_flows_created += other.gwlb_flows_created;
        self.proxy_headers += other.proxy_headers;
        for (mine, theirs) in self.drops.iter_mut().zip(&other.drops) {
            *mine += theirs;
        }
    }
}
