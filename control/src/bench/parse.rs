//! Parsing and checksums: from a frame's bytes to its headers, and the sum over
//! a transport segment, by kind of packet and by size.

use std::hint::black_box;
use std::net::IpAddr;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::packet::{
    ETHERNET_LEN, FiveTuple, Frame, GeneveOuter, GeneveView, Headers, checksum, parse_ethernet,
    parse_ip, protocol, put_ethernet, udp_payload,
};

use super::frames::Segment;
use super::{BenchError, Case, Done, Options, Size, Suite, Work};

/// The suite.
#[derive(Debug)]
pub struct Parse;

impl Suite for Parse {
    fn name(&self) -> &'static str {
        "parse"
    }

    fn about(&self) -> &'static str {
        "headers of TCP, UDP, IPv6 and GENEVE packets, and transport checksums by size"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let kinds = [
            ("tcp4", Kind::Tcp4),
            ("udp4", Kind::Udp4),
            ("tcp6", Kind::Tcp6),
            ("geneve", Kind::Geneve),
        ];
        let mut cases = Vec::new();
        for (name, kind) in kinds {
            cases.push(case(options, format!("{name}-64B"), kind, Size::Bytes(64)));
        }
        let sizes: &[Size] = match options.sizes.as_slice() {
            [] => &Size::ALL,
            asked => asked,
        };
        for &size in sizes {
            cases.push(case(
                options,
                format!("checksum-tcp4-{size}"),
                Kind::Checksum,
                size,
            ));
        }
        cases
    }
}

fn case(options: &Options, name: String, kind: Kind, size: Size) -> Case {
    let options = options.clone();
    Case::new(name, move || {
        Ok(Box::new(Parsing::new(&options, kind, size)?) as Box<dyn Work>)
    })
}

/// What is done to each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Parse TCP over IPv4.
    Tcp4,
    /// Parse UDP over IPv4.
    Udp4,
    /// Parse TCP over IPv6.
    Tcp6,
    /// Parse GENEVE with its options, and the IPv4 packet in it.
    Geneve,
    /// Verify the transport checksum of TCP over IPv4, headers parsed before.
    Checksum,
}

/// Frames that lie side by side.
const FRAMES: u64 = 256;

/// Frames to be parsed.
#[derive(Debug)]
pub struct Parsing {
    kind: Kind,
    frames: Vec<Frame>,
    parsed: Vec<Headers>,
    expected: Vec<FiveTuple>,
    passes: u64,
    failed: u64,
}

impl Parsing {
    /// Makes the frames.
    ///
    /// # Errors
    /// When a frame that was made cannot be parsed.
    pub fn new(options: &Options, kind: Kind, size: Size) -> Result<Self, BenchError> {
        let mut this = Self {
            kind,
            frames: Vec::new(),
            parsed: Vec::new(),
            expected: Vec::new(),
            passes: options.operations().div_ceil(FRAMES),
            failed: 0,
        };
        for n in 0..FRAMES {
            let random = Seed(options.seed).words(&[n]);
            let address = |low: u64| match kind {
                Kind::Tcp6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, low as u16, random as u16]),
                _ => IpAddr::from([10, low as u8, (random >> 8) as u8, random as u8]),
            };
            let tuple = FiveTuple {
                src: address(1),
                dst: address(2),
                protocol: match kind {
                    Kind::Udp4 => protocol::UDP,
                    _ => protocol::TCP,
                },
                sport: (random >> 16) as u16,
                dport: 443,
            };
            let segment = Segment {
                src_mac: Mac([2, 0, 0, 0, 0, 1]),
                dst_mac: Mac([2, 0, 0, 0, 0, 2]),
                tuple,
                flags: 0x10,
                id: n as u32,
            };
            let mut frame = Frame::with_capacity(size.longest() + 128);
            segment.write(&mut frame, size.of(n));
            if kind == Kind::Geneve {
                frame = tunnelled(&frame);
            }
            let parsed = parse_ip(frame.bytes(), ETHERNET_LEN);
            this.parsed
                .push(parsed.map_err(|reason| BenchError::wrong(reason.name()))?);
            this.expected.push(tuple);
            this.frames.push(frame);
        }
        Ok(this)
    }

    fn once(kind: Kind, frame: &Frame, parsed: &Headers) -> Option<Headers> {
        let bytes = frame.bytes();
        if kind == Kind::Checksum {
            return checksum::verify_transport(bytes, parsed).then_some(*parsed);
        }
        black_box(parse_ethernet(bytes).ok()?);
        let outer = parse_ip(bytes, ETHERNET_LEN).ok()?;
        if kind != Kind::Geneve {
            return Some(outer);
        }
        let tunnel = GeneveView::parse(udp_payload(bytes, &outer)?).ok()?;
        black_box(tunnel.cookie);
        parse_ip(bytes, usize::from(outer.l4) + 8 + tunnel.header_len()).ok()
    }
}

/// The packet of `frame` in a gateway load balancer's tunnel.
fn tunnelled(frame: &Frame) -> Frame {
    let inner = frame.bytes().get(ETHERNET_LEN..).unwrap_or_default();
    let outer = GeneveOuter {
        src: [10, 9, 0, 1].into(),
        dst: [10, 9, 0, 2].into(),
        source_port: 50_000,
        endpoint_id: 0x0123_4567_89ab_cdef,
        cookie: 7,
        ttl: 64,
    };
    let mut header = [0; vpclab_dataplane::packet::GENEVE_OUTER_LEN];
    outer.encode(&mut header, inner.len() as u16, false);
    let mut out = Frame::with_capacity(frame.len() + header.len());
    out.port = EniId(0);
    put_ethernet(&mut out, Mac([2; 6]), Mac([4; 6]), 0x0800);
    out.extend(&header);
    out.extend(inner);
    out
}

impl Work for Parsing {
    fn round(&mut self) -> Done {
        let mut hits = 0;
        for _ in 0..self.passes {
            for (frame, parsed) in self.frames.iter().zip(&self.parsed) {
                let headers = Self::once(self.kind, black_box(frame), parsed);
                hits += u64::from(black_box(headers).is_some());
            }
        }
        let operations = self.passes * self.frames.len() as u64;
        self.failed = operations - hits;
        Done {
            operations,
            ..Done::default()
        }
    }

    fn verify(&mut self, _done: &Done) -> Result<(), BenchError> {
        if self.failed > 0 {
            return Err(BenchError::wrong(format!("{} frames failed", self.failed)));
        }
        let frames = self.frames.iter().zip(&self.parsed);
        for ((frame, parsed), expected) in frames.zip(&self.expected) {
            let found = Self::once(self.kind, frame, parsed).map(|headers| headers.tuple);
            if found != Some(*expected) {
                return Err(BenchError::wrong(format!(
                    "{found:?} instead of {expected}"
                )));
            }
        }
        Ok(())
    }
}
