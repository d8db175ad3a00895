//! What many cached directions share: everything of a pass but its tuple, its
//! tunnel and its link.

use super::deps::DepsId;
use super::session::{Limits, Pass, Rewrite};
use crate::addr::{EniId, Mac};

/// The shared part of a [`Pass`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Action {
    out: EniId,
    local: bool,
    decapsulate: bool,
    dst_mac: Mac,
    src_mac: Mac,
    ttl_set: Option<u8>,
    ttl_less: u8,
    clamp_mss: Option<u16>,
    limits: Limits,
    shifted: bool,
    /// Outer TTL, of those that enter a tunnel.
    tunnel_ttl: Option<u8>,
    port: EniId,
    frame_dst: Mac,
    frame_src: Mac,
    pub(super) deps: DepsId,
}

impl std::hash::Hash for Action {
    /// Of what tells nearly all of them apart: the ports and the dependencies.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.out.0) << 32 | u64::from(self.port.0));
        self.deps.hash(state);
    }
}

/// The part of an [`Action`] that a cached packet needs, in one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hot {
    /// The table version for which the action was last found to stand.
    pub(crate) version: u64,
    /// Destination and source MAC address as the frame must have them.
    pub(crate) expect: [u8; 12],
    /// The same as it leaves.
    pub(crate) macs: [u8; 12],
    pub(crate) out: EniId,
    /// The port by which the frame must have entered.
    pub(crate) port: EniId,
    /// Bytes of the largest IP packet that passes every hop.
    pub(crate) size_max: u32,
    /// New TTL; 0 keeps the packet's.
    pub(crate) ttl_set: u8,
    pub(crate) ttl_less: u8,
    pub(crate) tunnel_ttl: u8,
    pub(crate) takes: Takes,
}

/// Which packets the short way may do an action to; those that may be have the same
/// numbers there.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Takes {
    /// Packets as they came.
    Plain = 4,
    /// Those that came out of a tunnel.
    Opened = 5,
    /// None: it leads to the local stack of a node.
    Nothing = 6,
}

impl Hot {
    /// Whether packets keep their TTL.
    #[inline(always)]
    pub(crate) const fn keeps_ttl(&self) -> bool {
        self.ttl_set | self.ttl_less == 0
    }

    /// TTL or hop limit of a packet that came with this one.
    #[inline(always)]
    pub(crate) const fn ttl_of(&self, came: u8) -> u8 {
        match self.ttl_set {
            0 => came.wrapping_sub(self.ttl_less),
            set => set,
        }
    }
}

impl Action {
    pub(super) fn of(pass: &Pass) -> Self {
        let rewrite = &pass.rewrite;
        Self {
            out: rewrite.out,
            local: rewrite.local,
            decapsulate: rewrite.decapsulate,
            dst_mac: rewrite.dst_mac,
            src_mac: rewrite.src_mac,
            ttl_set: rewrite.ttl_set,
            ttl_less: rewrite.ttl_less,
            clamp_mss: rewrite.clamp_mss,
            limits: rewrite.limits,
            shifted: rewrite.shifted,
            tunnel_ttl: rewrite.tunnel.map(|tunnel| tunnel.ttl),
            port: pass.port,
            frame_dst: pass.dst_mac,
            frame_src: pass.src_mac,
            deps: pass.deps,
        }
    }

    /// Back to a pass, whose tunnel the caller fills in: outer TTL, if it has one.
    pub(super) fn pass(&self, tuple: crate::packet::FiveTuple) -> (Pass, Option<u8>) {
        let rewrite = Rewrite {
            out: self.out,
            local: self.local,
            dst_mac: self.dst_mac,
            src_mac: self.src_mac,
            decapsulate: self.decapsulate,
            tuple,
            ttl_set: self.ttl_set,
            ttl_less: self.ttl_less,
            clamp_mss: self.clamp_mss,
            limits: self.limits,
            shifted: self.shifted,
            tunnel: None,
        };
        let pass = Pass {
            rewrite,
            deps: self.deps,
            port: self.port,
            dst_mac: self.frame_dst,
            src_mac: self.frame_src,
            link: None,
        };
        (pass, self.tunnel_ttl)
    }

    pub(super) fn hot(&self, version: u64) -> Hot {
        let pair = |dst: Mac, src: Mac| {
            let mut both = [0; 12];
            both[..6].copy_from_slice(&dst.0);
            both[6..].copy_from_slice(&src.0);
            both
        };
        let silent = self.limits.silent.map(|(bytes, _)| bytes);
        let too_big = self.limits.too_big.map(|(bytes, _)| bytes);
        Hot {
            version,
            expect: pair(self.frame_dst, self.frame_src),
            macs: pair(self.dst_mac, self.src_mac),
            out: self.out,
            port: self.port,
            size_max: silent.into_iter().chain(too_big).min().unwrap_or(u32::MAX),
            // A TTL of 0 is never set: no hop makes one.
            ttl_set: self.ttl_set.unwrap_or(0),
            ttl_less: self.ttl_less,
            tunnel_ttl: self.tunnel_ttl.unwrap_or(0),
            takes: match (self.local || self.ttl_set == Some(0), self.decapsulate) {
                (true, _) => Takes::Nothing,
                (false, false) => Takes::Plain,
                (false, true) => Takes::Opened,
            },
        }
    }
}

const _: () = assert!(size_of::<Hot>() == 64);
