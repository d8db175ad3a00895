//! The reference appliance behind a simulated host.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddrV4};
use std::rc::Rc;

use vpclab_dataplane::time::Instant;

use super::host::{Host, Listener};
use super::node::Node;
use crate::appliance::{Appliance, FlowReport, GENEVE_PORT, Stats, wire};

/// What [`Host::run_appliance`]'s health port answers.
const HEALTHY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

struct Shared {
    appliance: Appliance,
    running: bool,
    /// UDP payloads and the packets' addresses, as received.
    received: Vec<Encapsulated>,
}

/// A GENEVE packet as an appliance received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encapsulated {
    /// The load balancer's address and the source port it chose.
    pub from: SocketAddrV4,
    /// The appliance's address and port 6081.
    pub to: SocketAddrV4,
    /// GENEVE header, options, inner packet.
    pub payload: Vec<u8>,
}

impl Encapsulated {
    /// The flow cookie: option 3 of class 0x0108, 4 bytes.
    pub fn cookie(&self) -> Option<u32> {
        let at = self.option(3)?;
        let bytes = self.payload.get(at + 4..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// The same packet with another flow cookie.
    #[must_use]
    pub fn with_cookie(mut self, cookie: u32) -> Self {
        if let Some(at) = self.option(3)
            && let Some(field) = self.payload.get_mut(at + 4..at + 8)
        {
            field.copy_from_slice(&cookie.to_be_bytes());
        }
        self
    }

    /// Offset of AWS's option of this type.
    fn option(&self, kind: u8) -> Option<usize> {
        let options_end = 8 + usize::from(self.payload.first()? & 0x3f) * 4;
        let mut at = 8;
        while at + 4 <= options_end {
            let head = self.payload.get(at..)?.first_chunk::<4>()?;
            if head[..3] == [0x01, 0x08, kind] {
                return Some(at);
            }
            at += 4 + usize::from(head[3] & 0x1f) * 4;
        }
        None
    }

    /// The packet with which an appliance returns this one: addresses swapped,
    /// ports as they are. From the IP header on.
    pub fn reply_packet(&self) -> Vec<u8> {
        let from = SocketAddrV4::new(*self.to.ip(), self.from.port());
        let to = SocketAddrV4::new(*self.from.ip(), GENEVE_PORT);
        wire::udp_packet(from, to, &self.payload)
    }
}

struct ApplianceNode {
    shared: Rc<RefCell<Shared>>,
    own: Vec<IpAddr>,
}

impl Node for ApplianceNode {
    fn receive(&mut self, now: Instant, frame: &[u8], out: &mut Vec<Vec<u8>>) -> bool {
        let Some(packet) = encapsulated(frame) else {
            return false;
        };
        if !self.own.contains(&IpAddr::V4(*packet.to.ip())) {
            return false;
        }
        let mut shared = self.shared.borrow_mut();
        if !shared.running {
            // The host answers "port unreachable", as Linux does.
            return false;
        }
        if let Some(payload) = shared.appliance.handle(now, &packet.payload) {
            let reply = Encapsulated {
                payload,
                ..packet.clone()
            };
            out.push(answer_frame(frame, &reply.reply_packet()));
        }
        if shared.received.len() < RECEIVED_MAX {
            shared.received.push(packet);
        }
        true
    }
}

/// How many received packets a simulated appliance keeps to look at.
const RECEIVED_MAX: usize = 4_096;

/// The GENEVE packet in a frame: unfragmented IPv4 UDP to port 6081.
fn encapsulated(frame: &[u8]) -> Option<Encapsulated> {
    let packet = frame
        .get(14..)
        .filter(|_| frame.get(12..14) == Some(&[8, 0]))?;
    let header = packet.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let udp = packet.get(header_len..)?;
    let ports = udp.first_chunk::<8>()?;
    let word = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    if header[9] != 17 || is_fragment || word(2) != GENEVE_PORT {
        return None;
    }
    let address = |at: usize| -> Option<[u8; 4]> { header.get(at..at + 4)?.try_into().ok() };
    Some(Encapsulated {
        from: SocketAddrV4::new(address(12)?.into(), word(0)),
        to: SocketAddrV4::new(address(16)?.into(), word(2)),
        payload: udp.get(8..usize::from(word(4)))?.to_vec(),
    })
}

/// An IPv4 packet in a frame back to whoever brought `frame`.
fn answer_frame(frame: &[u8], packet: &[u8]) -> Vec<u8> {
    let mut answer = Vec::with_capacity(14 + packet.len());
    answer.extend_from_slice(frame.get(6..12).unwrap_or(&[0; 6]));
    answer.extend_from_slice(frame.get(..6).unwrap_or(&[0; 6]));
    answer.extend_from_slice(&[8, 0]);
    answer.extend_from_slice(packet);
    answer
}

/// An appliance that runs on a simulated host.
#[derive(Clone)]
pub struct RunningAppliance {
    host: Host,
    health: Option<u16>,
    shared: Rc<RefCell<Shared>>,
}

impl Host {
    /// Runs an appliance on this host: it takes UDP 6081 and listens on
    /// `health_port` for TCP and HTTP health checks.
    pub fn run_appliance(
        &self,
        appliance: Appliance,
        health_port: Option<u16>,
    ) -> RunningAppliance {
        let shared = Rc::new(RefCell::new(Shared {
            appliance,
            running: false,
            received: Vec::new(),
        }));
        self.install(ApplianceNode {
            shared: shared.clone(),
            own: self.addresses(),
        });
        let running = RunningAppliance {
            host: self.clone(),
            health: health_port,
            shared,
        };
        running.start();
        running
    }
}

impl RunningAppliance {
    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.borrow().appliance.stats()
    }

    /// The flows it has seen.
    pub fn flows(&self) -> Vec<FlowReport> {
        self.shared.borrow().appliance.flows()
    }

    /// The packets it received, oldest first (the first few thousand).
    pub fn received(&self) -> Vec<Encapsulated> {
        self.shared.borrow().received.clone()
    }

    /// Stops the process: the health port refuses, packets are not returned.
    pub fn stop(&self) {
        self.shared.borrow_mut().running = false;
        if let Some(listener) = self.listener() {
            listener.close();
        }
    }

    /// Starts it again.
    pub fn start(&self) {
        self.shared.borrow_mut().running = true;
        if let Some(listener) = self.listener() {
            let _listening = listener.serve(HEALTHY);
        }
    }

    fn listener(&self) -> Option<Listener> {
        Some(self.host.tcp_listen(self.health?))
    }

    /// Sends a hand-made return to the load balancer: a test's way to be a
    /// broken or hostile appliance.
    pub fn send(&self, packet: &Encapsulated) {
        let like = self
            .host
            .frames()
            .into_iter()
            .rev()
            .find(|frame| encapsulated(&frame.bytes).is_some());
        if let Some(like) = like {
            let frame = answer_frame(&like.bytes, &packet.reply_packet());
            self.host.send_raw(&frame);
        }
    }
}

impl std::fmt::Debug for RunningAppliance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningAppliance")
            .field("host", &self.host.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::GENEVE_PORT;

    const OPTIONS: [u8; 40] = [
        0x08, 0, 0x08, 0, 0, 0, 0, 0, 1, 8, 1, 2, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 7, 0x18, 1,
        8, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 8, 3, 1, 0x5e, 0xed, 0, 1,
    ];

    #[test]
    fn the_node_returns_what_it_passes_and_leaves_the_rest_to_the_host() {
        let inner = wire::udp_packet(
            "10.0.1.10:5".parse().unwrap(),
            "10.9.9.9:7".parse().unwrap(),
            b"x",
        );
        let payload = [&OPTIONS[..], &inner].concat();
        let outer = wire::udp_packet(
            "10.100.0.10:60033".parse().unwrap(),
            SocketAddrV4::new([10, 100, 0, 20].into(), GENEVE_PORT),
            &payload,
        );
        let (ours, theirs) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let frame = [&ours[..], &theirs, &[8, 0], &outer].concat();
        let shared = Rc::new(RefCell::new(Shared {
            appliance: Appliance::new(),
            running: true,
            received: Vec::new(),
        }));
        let mut node = ApplianceNode {
            shared: shared.clone(),
            own: vec!["10.100.0.20".parse().unwrap()],
        };
        let mut out = Vec::new();
        assert!(node.receive(Instant::ZERO, &frame, &mut out));
        let reply = wire::udp_packet(
            "10.100.0.20:60033".parse().unwrap(),
            "10.100.0.10:6081".parse().unwrap(),
            &payload,
        );
        assert_eq!(out[0], [&theirs[..], &ours, &[8, 0], &reply].concat());

        let received = shared.borrow().received[0].clone();
        assert_eq!(received.cookie(), Some(0x5eed_0001));
        let wrong = received.with_cookie(7);
        assert_eq!(wrong.cookie(), Some(7));

        shared.borrow_mut().running = false;
        assert!(!node.receive(Instant::ZERO, &frame, &mut out));
        let mut other = frame;
        other[23] = 6;
        shared.borrow_mut().running = true;
        assert!(!node.receive(Instant::ZERO, &other, &mut out));
        assert_eq!(out.len(), 1);
    }
}
