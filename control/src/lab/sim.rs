//! Virtual time: hosts, links and a core, stepped from one deadline to the next.
//!
//! Everything that happens at one moment happens in a fixed order: events in
//! the order in which they were put down, then hosts by interface, then the
//! core's batch. So a run depends on the inputs and the seed only.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::io::Rng;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::time::{Duration, Instant};

use super::event::EventQueue;
use super::link::{Link, Wires};
use super::stack::{Stack, Wiring};

/// What stands between the ports: the data plane, or a switch in tests.
pub(crate) trait Core {
    /// Forwards `batch`, leaves it empty, and appends what leaves to `out`.
    fn process(&mut self, now: Instant, batch: &mut Vec<Frame>, out: &mut Vec<(EniId, Frame)>);

    /// Lets local services act: frames that they send into the core are
    /// appended to `batch`, those for the host at their side to `out`.
    fn poll(&mut self, now: Instant, batch: &mut Vec<Frame>, out: &mut Vec<(EniId, Frame)>);

    /// When [`Core::poll`] next has something to do.
    fn next_deadline(&self) -> Option<Instant>;
}

/// Something under way.
enum Event {
    /// A frame enters the core by its port.
    Enter(Frame),
    /// A frame reaches the host behind an interface.
    Arrive(EniId, Frame),
}

struct Port {
    stack: Rc<RefCell<Stack>>,
    wires: Rc<RefCell<Wires>>,
}

/// Hosts and links in virtual time.
pub(crate) struct Simulation {
    pub(crate) now: Instant,
    seed: u64,
    ports: BTreeMap<EniId, Port>,
    events: EventQueue<Event>,
    batch: Vec<Frame>,
    out: Vec<(EniId, Frame)>,
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            seed,
            ports: BTreeMap::new(),
            events: EventQueue::new(),
            batch: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Puts a host behind an interface, or rewires the one that is there.
    pub(crate) fn attach(&mut self, eni: EniId, name: &str, wiring: Wiring) {
        if let Some(port) = self.ports.get(&eni) {
            port.stack.borrow_mut().rewire(wiring);
            return;
        }
        let salt = u64::from(eni.0) * 4;
        let seed = Rng::new(self.seed, salt).word();
        let mut stack = Stack::new(name.to_owned(), eni, wiring, seed);
        stack.set_now(self.now);
        let wires = Wires::new(self.seed, salt + 1);
        let port = Port {
            stack: Rc::new(RefCell::new(stack)),
            wires: Rc::new(RefCell::new(wires)),
        };
        self.ports.insert(eni, port);
    }

    /// Takes a host away; frames on their way to it are lost.
    pub(crate) fn detach(&mut self, eni: EniId) {
        self.ports.remove(&eni);
    }

    pub(crate) fn attached(&self) -> Vec<EniId> {
        self.ports.keys().copied().collect()
    }

    pub(crate) fn stack(&self, eni: EniId) -> Option<Rc<RefCell<Stack>>> {
        self.ports.get(&eni).map(|port| port.stack.clone())
    }

    pub(crate) fn link(&self, eni: EniId) -> Option<Link> {
        let port = self.ports.get(&eni)?;
        Some(Link::new(port.wires.clone()))
    }

    /// Puts a frame down to enter the core by `port` after `delay`, past any link.
    pub(crate) fn inject(&mut self, delay: Duration, port: EniId, bytes: &[u8]) {
        let frame = Frame::from_bytes(port, bytes);
        self.events.push(self.now + delay, Event::Enter(frame));
    }

    /// Frames on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.events.len()
    }

    /// When a host or a link next has something to do.
    fn next_at(&self) -> Option<Instant> {
        let stacks = self.ports.values();
        let deadlines = stacks.filter_map(|port| port.stack.borrow().next_deadline());
        deadlines.chain(self.events.next_at()).min()
    }

    /// Whether no frame is under way and no host's timer is due within `window`.
    pub(crate) fn is_idle(&self, window: Duration) -> bool {
        let soon = self.now + window;
        self.events.len() == 0 && self.next_at().is_none_or(|at| at > soon)
    }

    /// Jumps to the next moment at which something happens, at most `limit`,
    /// and lets it happen. False when the limit came first.
    pub(crate) fn step(&mut self, core: &mut impl Core, limit: Instant) -> bool {
        let next = self.next_at().into_iter().chain(core.next_deadline()).min();
        let Some(at) = next.filter(|&at| at <= limit) else {
            self.set_now(limit);
            return false;
        };
        self.set_now(at);
        let now = self.now;
        while let Some(event) = self.events.pop_due(now) {
            match event {
                Event::Enter(frame) => self.batch.push(frame),
                Event::Arrive(port, frame) => {
                    if let Some(port) = self.ports.get(&port) {
                        port.stack.borrow_mut().receive(now, frame);
                    }
                }
            }
        }
        let due = core.next_deadline().is_some_and(|at| at <= now);
        core.poll(now, &mut self.batch, &mut self.out);
        if due || !self.batch.is_empty() {
            core.process(now, &mut self.batch, &mut self.out);
        }
        let events = &mut self.events;
        for (port, frame) in self.out.drain(..) {
            let Some(wires) = self.ports.get(&port).map(|port| &port.wires) else {
                continue;
            };
            // What is lost is counted on the wire.
            let _ = wires.borrow_mut().down.send(now, frame, |at, frame| {
                events.push(at, Event::Arrive(port, frame));
            });
        }
        let mut sent = Vec::new();
        for port in self.ports.values() {
            let mut stack = port.stack.borrow_mut();
            if stack.next_deadline().is_none_or(|at| at > now) {
                continue;
            }
            stack.poll(now, &mut sent);
            let mut wires = port.wires.borrow_mut();
            for frame in sent.drain(..) {
                let _ = wires.up.send(now, frame, |at, frame| {
                    events.push(at, Event::Enter(frame));
                });
            }
        }
        true
    }

    fn set_now(&mut self, to: Instant) {
        if to > self.now {
            self.now = to;
            for port in self.ports.values() {
                port.stack.borrow_mut().set_now(to);
            }
        }
    }

    /// What hosts are waiting for, a line each.
    pub(crate) fn pending(&self) -> Vec<String> {
        let stacks = self.ports.values();
        stacks
            .flat_map(|port| port.stack.borrow().pending())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Host;
    use super::*;
    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv6Addr};
    use vpclab_dataplane::addr::Mac;

    /// A learning switch, so that hosts and links are tested by themselves.
    #[derive(Default)]
    struct Switch {
        ports: Vec<EniId>,
        learnt: HashMap<[u8; 6], EniId>,
    }

    impl Core for Switch {
        fn process(&mut self, _: Instant, batch: &mut Vec<Frame>, out: &mut Vec<(EniId, Frame)>) {
            for frame in batch.drain(..) {
                let to: [u8; 6] = frame.bytes()[..6].try_into().unwrap();
                let from: [u8; 6] = frame.bytes()[6..12].try_into().unwrap();
                self.learnt.insert(from, frame.port);
                match self.learnt.get(&to) {
                    Some(&port) => out.push((port, frame)),
                    None => {
                        let others = self.ports.iter().filter(|&&port| port != frame.port);
                        out.extend(others.map(|&port| (port, frame.clone())));
                    }
                }
            }
        }

        fn poll(&mut self, _: Instant, _: &mut Vec<Frame>, _: &mut Vec<(EniId, Frame)>) {}

        fn next_deadline(&self) -> Option<Instant> {
            None
        }
    }

    struct Bench {
        sim: Simulation,
        switch: Switch,
        a: Host,
        b: Host,
    }

    fn bench(seed: u64) -> Bench {
        let mut sim = Simulation::new(seed);
        let mut switch = Switch::default();
        for n in 1..=2u8 {
            let eni = EniId(u32::from(n));
            let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n));
            let wiring = Wiring {
                mac: Mac([2, 0, 0, 0, 0, n]),
                addresses: vec![(IpAddr::from([10, 0, 0, 10 + n]), 24), (IpAddr::V6(v6), 64)],
                gateway_v4: Some([10, 0, 0, 1].into()),
                gateway_v6: None,
                mtu: 9001,
            };
            sim.attach(eni, if n == 1 { "a" } else { "b" }, wiring);
            switch.ports.push(eni);
        }
        let host = |n| Host::new(sim.stack(EniId(n)).unwrap());
        let (a, b) = (host(1), host(2));
        Bench { sim, switch, a, b }
    }

    impl Bench {
        fn run_until(&mut self, done: impl Fn() -> bool) {
            let limit = self.sim.now + Duration::from_secs(60);
            while !done() {
                assert!(
                    self.sim.step(&mut self.switch, limit),
                    "timed out: {:?}",
                    self.sim.pending()
                );
            }
        }

        fn run_for(&mut self, span: Duration) {
            let limit = self.sim.now + span;
            while self.sim.step(&mut self.switch, limit) {}
        }
    }

    #[test]
    fn a_connection_carries_bytes_both_ways_and_ends() {
        let mut bench = bench(1);
        let (a, b) = (bench.a.clone(), bench.b.clone());
        b.tcp_listen(80).echo();
        let conn = a.tcp_connect("10.0.0.12", 80);
        conn.send("hello");
        bench.run_until(|| conn.received("hello"));
        assert_eq!(b.peer_of(&conn), a.address());
        assert_eq!(b.accepted()[0].data(), b"hello");
        conn.close();
        bench.run_until(|| b.accepted()[0].is_closed());
        assert!(!conn.was_reset());
        assert!(
            bench.sim.now.as_nanos() < 1_000_000_000,
            "{:?}",
            bench.sim.now
        );
    }

    #[test]
    fn a_listener_takes_connections_of_the_same_moment() {
        let mut bench = bench(1);
        let b = bench.b.clone();
        b.tcp_listen(80).echo();
        let conns: Vec<_> = (0..20)
            .map(|_| bench.a.tcp_connect("2001:db8::2", 80))
            .collect();
        bench.run_until(|| conns.iter().all(super::super::host::Conn::is_established));
        let mut peers: Vec<_> = conns
            .iter()
            .map(|conn| b.accepted_from(conn).unwrap().peer())
            .collect();
        let locals: Vec<_> = conns.iter().map(|conn| conn.local()).collect();
        assert_eq!(peers, locals);
        peers.dedup();
        assert_eq!(peers.len(), 20);
    }

    #[test]
    fn a_closed_port_refuses_and_a_reset_shows() {
        let mut bench = bench(1);
        let refused = bench.a.tcp_connect("10.0.0.12", 81);
        bench.run_until(|| refused.is_closed());
        assert!(refused.was_reset() && !refused.was_established());

        let listener = bench.b.tcp_listen(80).serve("answer");
        let conn = bench.a.tcp_connect("10.0.0.12", 80);
        conn.send("?");
        bench.run_until(|| conn.received("answer") && conn.peer_closed());

        let broken = bench.a.tcp_connect("10.0.0.12", 80);
        let b = bench.b.clone();
        bench.run_until(|| broken.is_established() && b.accepted_from(&broken).is_some());
        broken.abort();
        bench.run_until(|| b.accepted_from(&broken).unwrap().is_closed());
        assert!(b.accepted_from(&broken).unwrap().was_reset());

        listener.close();
        let late = bench.a.tcp_connect("10.0.0.12", 80);
        bench.run_until(|| late.was_reset());
    }

    #[test]
    fn datagrams_and_pings_arrive() {
        let mut bench = bench(1);
        let (a, b) = (bench.a.clone(), bench.b.clone());
        b.udp_bind(53).echo();
        let socket = a.udp_bind(5353);
        socket.send("10.0.0.12", 53, b"question");
        let (v4, v6) = (a.ping("10.0.0.12"), a.ping("2001:db8::2"));
        let nobody = a.ping("10.0.0.99");
        bench.run_until(|| v4.is_answered() && v6.is_answered() && !socket.received().is_empty());
        assert_eq!(
            socket.received(),
            [("10.0.0.12:53".parse().unwrap(), b"question".to_vec())]
        );
        assert_eq!(
            b.udp_received(),
            [("10.0.0.11:5353".parse().unwrap(), b"question".to_vec())]
        );
        assert_eq!(v6.reply_from(), b.address_v6());
        assert!(v4.rtt().unwrap() >= Duration::from_micros(400));
        bench.run_for(Duration::from_secs(5));
        assert!(!nobody.is_answered());
        a.udp_send(9, "10.0.0.12", 9, b"nobody listens");
        bench.run_for(Duration::from_secs(1));
        assert_eq!(a.icmp_errors()[0].icmp_type, 3);
        assert_eq!(a.icmp_errors()[0].code, 3);
    }

    /// A transfer over a bad link, and everything about it that could differ.
    fn bad_transfer(seed: u64) -> (Vec<u8>, Instant, usize) {
        let mut bench = bench(seed);
        let link = bench.sim.link(EniId(1)).unwrap();
        link.loss(0.05)
            .reorder(0.05)
            .duplicate(0.05)
            .corrupt(0.02)
            .jitter(Duration::from_micros(300));
        let b = bench.b.clone();
        b.tcp_listen(80);
        let conn = bench.a.tcp_connect("10.0.0.12", 80);
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n * 7 / 3) as u8).collect();
        conn.send(&bytes);
        bench.run_until(|| {
            b.accepted()
                .first()
                .is_some_and(|c| c.received_len() == 200_000)
        });
        assert!(b.accepted()[0].data() == bytes);
        (b.accepted()[0].data(), bench.sim.now, b.frames().len())
    }

    #[test]
    fn tcp_survives_a_bad_link_and_a_seed_repeats_it() {
        let first = bad_transfer(7);
        assert!(first == bad_transfer(7), "same seed, other run");
        let other = bad_transfer(8);
        assert!(
            (first.1, first.2) != (other.1, other.2),
            "the seed changes nothing"
        );
    }

    #[test]
    fn raw_hosts_only_record_and_send_what_they_are_given() {
        let mut bench = bench(1);
        bench.b.set_raw(true);
        let ping = bench.a.ping("10.0.0.12");
        bench.run_for(Duration::from_secs(3));
        assert!(!ping.is_answered());
        let asked = bench.b.frames();
        assert_eq!(asked[0].bytes[12..14], [8, 6], "ARP request");
        assert!(bench.b.sent_frames().is_empty());
        bench
            .b
            .send_raw(&[&[0xff; 6][..], &[2, 0, 0, 0, 0, 2], &[0x88, 0xb5], b"any"].concat());
        bench.run_for(Duration::from_millis(1));
        assert!(bench.a.frames().last().unwrap().bytes.ends_with(b"any"));
    }
}
