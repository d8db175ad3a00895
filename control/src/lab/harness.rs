//! [`Lab`]: hosts on a data plane, run in virtual time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::counters::Counters;
use vpclab_dataplane::nat::GatewayCounts;
use vpclab_dataplane::pipeline::{Config, Pipeline};
use vpclab_dataplane::tables::{EniKind, LoadBalancerKind, Snapshot, TargetHealth};
use vpclab_dataplane::time::{Duration, Instant};
use vpclab_dataplane::trace::{Probe, Trace, trace};

use super::brain::{Brain, Presences};
use super::error::{LabError, Timeout};
use super::expect::{self, Named};
use super::host::Host;
use super::link::Link;
use super::plane::{Dropped, Plane};
use super::record::{Capture, read_pcap};
use super::sim::Simulation;
use super::stack::Wiring;
use crate::api::{Action, ApiError, ControlPlane};
use crate::faults::LinkFaults;
use crate::model::NatGatewayId;
use crate::report::Counted;
use crate::topology::Topology;

/// How long [`Lab::run_until`] waits unless told otherwise.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// Timers that are due within this time keep a lab from being idle: delayed
/// acknowledgements do, retransmissions of what nobody answers do not.
const IDLE_WINDOW: Duration = Duration::from_millis(200);

/// The address from which a service sends that has none of its own: it never does.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 0, 1));

/// Simulated hosts on the real data plane, in virtual time.
///
/// Handles ([`Host`], [`Conn`](super::Conn), [`Link`]…) are cheap and may be used
/// while the lab runs. Same topology, same calls, same seed: same run.
pub struct Lab {
    pub(crate) sim: Simulation,
    pub(crate) plane: Plane<Brain>,
    names: BTreeMap<String, EniId>,
    /// What the topology says is wrong with hosts' links.
    disturbed: BTreeMap<String, LinkFaults>,
    seed: u64,
    limit: Duration,
    counted: Named,
}

impl Lab {
    /// A lab on a control plane: each attached interface of a host gets a
    /// simulated one, now and whenever an action makes another.
    pub fn new(control: ControlPlane) -> Self {
        let tables = control.tables().clone();
        let plane = Plane::new(tables, pipeline(0), Brain::new(control, 0));
        let mut lab = Self {
            sim: Simulation::new(0),
            plane,
            names: BTreeMap::new(),
            disturbed: BTreeMap::new(),
            seed: 0,
            limit: DEFAULT_LIMIT,
            counted: Named::new(),
        };
        lab.sync();
        lab
    }

    /// A lab of what a topology file describes.
    ///
    /// ```
    /// use vpclab::lab::Lab;
    ///
    /// let text = include_str!("../../../examples/privatelink.yaml");
    /// let mut lab = Lab::from_yaml(text)?.seed(7);
    /// let (client, server) = (lab.host("client"), lab.host("server"));
    /// server.tcp_listen(80).echo();
    /// let conn = client.tcp_connect(lab.dns("service")?, 80);
    /// conn.send(b"hello");
    /// lab.link("client").loss(0.01).reorder(0.05);
    /// lab.run_until(|_| conn.received(b"hello"))?;
    /// assert_eq!(server.peer_of(&conn), lab.nlb("web").address("us-east-1a"));
    /// # Ok::<(), vpclab::lab::LabError>(())
    /// ```
    ///
    /// # Errors
    /// The file's first mistake, with its line.
    pub fn from_yaml(text: &str) -> Result<Self, LabError> {
        // The real network is not here.
        let topology = Topology::parse("lab.yaml", text)?.closed();
        let (control, _) = topology.control_plane()?;
        let mut lab = Self::new(control);
        lab.disturbed = topology.link_faults();
        lab.disturb();
        Ok(lab)
    }

    /// Sets the seed of every random choice. To be called first: hosts start anew.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.sim = Simulation::new(seed);
        self.plane.reset(pipeline(seed));
        self.plane.services.reset(seed);
        self.counted = Named::new();
        self.sync();
        self.disturb();
        self
    }

    /// Makes the topology's faults of links.
    fn disturb(&self) {
        for (host, faults) in &self.disturbed {
            let of_host = |name: &str| name.split('/').next() == Some(host);
            for (_, &eni) in self.names.iter().filter(|(name, _)| of_host(name)) {
                if let Some(link) = self.sim.link(eni) {
                    link.set(faults);
                }
            }
        }
    }

    /// How long [`Lab::run_until`] waits (60 virtual seconds unless set).
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Virtual time since the lab's start.
    pub fn now(&self) -> Instant {
        self.sim.now
    }

    /// Puts hosts behind the interfaces that the tables have now.
    pub(crate) fn sync(&mut self) {
        if !self.plane.services.sync(self.sim.now) {
            return;
        }
        let snapshot = self.plane.tables.snapshot();
        self.names = self.plane.services.interfaces();
        let services = self.plane.services.service_ports();
        let mut wanted = BTreeMap::new();
        for (eni, row) in snapshot.enis.iter() {
            let service = services.contains_key(&EniId(eni));
            if !(row.kind == EniKind::Host || service) || !row.attached {
                continue;
            }
            let Some(subnet) = snapshot.subnets.row(row.subnet) else {
                continue;
            };
            let mut wiring = Wiring::of(row, subnet);
            // A gateway endpoint's has no address, and hears what is for any.
            if service && wiring.addresses.is_empty() {
                wiring.addresses.push((NOBODY, 0));
            }
            wanted.insert(EniId(eni), wiring);
        }
        for eni in self.sim.attached() {
            // A row that another interface took over is another host.
            let mac = self.sim.stack(eni).map(|stack| stack.borrow().wiring.mac);
            if wanted.get(&eni).map(|wiring| wiring.mac) != mac {
                self.sim.detach(eni);
            }
        }
        for (eni, wiring) in wanted {
            let called = self.names.iter().filter(|&(_, named)| *named == eni);
            // The shortest name is the one that people gave.
            let name = called
                .map(|(name, _)| name.as_str())
                .min_by_key(|n| n.len());
            self.sim.attach(eni, name.unwrap_or("?"), wiring);
            let service = services.get(&eni).zip(self.sim.stack(eni));
            if let Some((through, stack)) = service {
                stack.borrow_mut().serve(through.clone());
            }
        }
    }

    /// Executes an API action, as the default account; hosts follow at once.
    ///
    /// # Errors
    /// The action's refusal.
    pub fn execute<A: Action>(&mut self, action: A) -> Result<A::Output, ApiError> {
        let output = self.plane.services.control.execute(action)?;
        self.plane.services.changed = true;
        self.sync();
        Ok(output)
    }

    /// The control plane, to read.
    pub fn control(&self) -> &ControlPlane {
        &self.plane.services.control
    }

    /// The control plane, to change by more than [`Lab::execute`] offers; hosts
    /// follow when the lab runs next.
    pub fn control_mut(&mut self) -> &mut ControlPlane {
        self.plane.services.changed = true;
        &mut self.plane.services.control
    }

    /// The row of an interface by its id, its name or its host's name.
    ///
    /// # Panics
    /// If there is no such interface.
    pub fn eni(&self, name: &str) -> EniId {
        or_panic(self.port(name))
    }

    /// The nodes of a network load balancer.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn nlb(&self, name: &str) -> Presences {
        let found = self
            .plane
            .services
            .load_balancer(LoadBalancerKind::Network, name);
        or_panic(found.ok_or_else(|| self.unknown("network load balancer", name)))
    }

    /// The nodes of a gateway load balancer.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn gwlb(&self, name: &str) -> Presences {
        let found = self
            .plane
            .services
            .load_balancer(LoadBalancerKind::Gateway, name);
        or_panic(found.ok_or_else(|| self.unknown("gateway load balancer", name)))
    }

    /// The interfaces of an endpoint.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn endpoint(&self, name: &str) -> Presences {
        let found = self.plane.services.endpoint(name);
        or_panic(found.ok_or_else(|| self.unknown("endpoint", name)))
    }

    /// The addresses that a name stands for: an endpoint's (one per zone) or a
    /// host's. Without the VPC resolver names are those of the lab.
    ///
    /// # Errors
    /// If nothing has this name.
    pub fn dns_all(&self, name: &str) -> Result<Vec<IpAddr>, LabError> {
        if let Some(presences) = self.plane.services.endpoint(name) {
            let all = presences.all().iter();
            return Ok(all.flat_map(|p| p.addresses.iter().copied()).collect());
        }
        Ok(self.try_host(name)?.addresses())
    }

    /// The first of [`Lab::dns_all`].
    ///
    /// # Errors
    /// If nothing has this name, or it has no address.
    pub fn dns(&self, name: &str) -> Result<IpAddr, LabError> {
        let first = self.dns_all(name)?.into_iter().next();
        first.ok_or_else(|| self.unknown("address", name))
    }

    /// A host by its name, its interface's name or id.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn host(&self, name: &str) -> Host {
        or_panic(self.try_host(name))
    }

    /// A host by its name, its interface's name or id.
    pub fn try_host(&self, name: &str) -> Result<Host, LabError> {
        let stack = self.sim.stack(self.port(name)?);
        stack
            .map(Host::new)
            .ok_or_else(|| self.unknown("host", name))
    }

    /// The link between a host and its interface.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn link(&self, name: &str) -> Link {
        let link = self.port(name).map(|eni| self.sim.link(eni));
        match or_panic(link) {
            Some(link) => link,
            None => or_panic(Err(self.unknown("host", name))),
        }
    }

    fn port(&self, name: &str) -> Result<EniId, LabError> {
        let port = self.names.get(name).copied();
        port.ok_or_else(|| self.unknown("host", name))
    }

    fn unknown(&self, kind: &'static str, name: &str) -> LabError {
        let known: Vec<_> = self.names.keys().map(String::as_str).collect();
        LabError::Unknown {
            kind,
            name: name.to_owned(),
            known: known.join(", "),
        }
    }

    /// Runs until `done` says so, jumping from deadline to deadline.
    ///
    /// # Errors
    /// [`Timeout`] after [`Lab::set_limit`]'s time.
    pub fn run_until(&mut self, mut done: impl FnMut(&Lab) -> bool) -> Result<(), Timeout> {
        let start = self.now();
        let limit = start + self.limit;
        loop {
            self.sync();
            if done(self) {
                return Ok(());
            }
            if !self.sim.step(&mut self.plane, limit) {
                return if done(self) {
                    Ok(())
                } else {
                    Err(self.timeout(start))
                };
            }
        }
    }

    /// Runs for a span of virtual time.
    pub fn run_for(&mut self, span: Duration) {
        let limit = self.now() + span;
        self.sync();
        while self.sim.step(&mut self.plane, limit) {
            self.sync();
        }
    }

    /// Runs until no frame is under way and no host's timer is due within
    /// 200 ms. Health checks do not count.
    ///
    /// # Errors
    /// [`Timeout`] after [`Lab::set_limit`]'s time.
    pub fn run_until_idle(&mut self) -> Result<(), Timeout> {
        self.run_until(|lab| lab.sim.is_idle(IDLE_WINDOW))
    }

    /// Runs until the health checks of every target have come to a result, good
    /// or bad ([`Lab::target_health`]). To be called once hosts listen where the
    /// checks knock.
    ///
    /// # Errors
    /// [`Timeout`] after [`Lab::set_limit`]'s time.
    pub fn run_until_health_is_known(&mut self) -> Result<(), Timeout> {
        self.run_until(|lab| lab.plane.services.is_health_known())
    }

    /// The health of every registered target, group by group.
    pub fn target_health(&self) -> Vec<TargetHealth> {
        self.plane.services.target_health()
    }

    /// The next gateway load balancer flow gets this cookie and outer source
    /// port, if its slot is free.
    pub fn inject_gwlb_flow(&mut self, cookie: u32, source_port: u16) {
        self.plane.pipeline.inject_gwlb_flow(cookie, source_port);
    }

    /// What a NAT gateway has counted; nothing of one that is not there.
    pub fn nat_counts(&self, gateway: &NatGatewayId) -> GatewayCounts {
        let model = self.control().model();
        let gateway = model.get(gateway);
        let interface = gateway.and_then(|gateway| gateway.interface.as_ref());
        let row = interface.and_then(|id| model.row(id));
        let counts = self.plane.pipeline.connections().nat_counts();
        row.and_then(|row| counts.get(&row.into()).copied())
            .unwrap_or_default()
    }

    /// How many flows of gateway load balancers are remembered, live and expired.
    pub fn gwlb_flows(&self) -> usize {
        self.plane.pipeline.connections().gwlb.iter().count()
    }

    /// What load balancers and endpoints have counted.
    pub fn counted(&self) -> Counted {
        let connections = self.plane.pipeline.connections();
        let mut counted = Counted::default();
        counted.add(&connections.accounts(self.now()), &connections.nat_counts());
        counted
    }

    /// Traces a packet that is not sent.
    pub fn trace(&self, probe: &Probe) -> Trace {
        trace(&self.snapshot(), probe, self.seed, self.now())
    }

    fn timeout(&self, start: Instant) -> Timeout {
        let moved = expect::moved(&Named::new(), &expect::named(self.counters()));
        let counters: Vec<_> = moved.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let drops = self.plane.dropped.iter().rev().take(8).map(|drop| {
            format!(
                "{:?} {} from {} ({} bytes)",
                drop.at,
                drop.reason.name(),
                self.label(drop.port),
                drop.bytes.len()
            )
        });
        Timeout {
            waited: self.now().since(start),
            at: self.now(),
            seed: self.seed,
            pending: self.sim.pending(),
            in_flight: self.sim.in_flight(),
            counters: counters.join(" "),
            drops: drops.collect(),
        }
    }

    fn label(&self, eni: EniId) -> String {
        let snapshot = self.snapshot();
        let row = snapshot.enis.row(eni);
        row.map_or_else(|| format!("{eni:?}"), |row| row.label.to_string())
    }

    /// The tables in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.plane.tables.snapshot()
    }

    /// The data plane's counters.
    pub fn counters(&self) -> &Counters {
        self.plane.counters()
    }

    /// Frames that the data plane dropped, the oldest first (of the last few thousand).
    pub fn dropped(&self) -> impl Iterator<Item = &Dropped> {
        self.plane.dropped.iter()
    }

    /// Asserts what moved since the last call (or the start): `rx +3,
    /// flow.created +1, drop.network_acl +1..`, where `+1..` means at least one.
    /// A drop that is not listed fails; other counters may move.
    ///
    /// # Panics
    /// If something else moved.
    #[track_caller]
    pub fn expect_counters(&mut self, expected: &str) {
        self.expect(expected, false);
    }

    /// As [`Lab::expect_counters`], and no other counter may have moved.
    ///
    /// # Panics
    /// If something else moved.
    #[track_caller]
    pub fn expect_exact_counters(&mut self, expected: &str) {
        self.expect(expected, true);
    }

    #[track_caller]
    fn expect(&mut self, expected: &str, strict: bool) {
        let now = expect::named(self.counters());
        let moved = expect::moved(&self.counted, &now);
        self.counted = now;
        if let Err(wrong) = expect::check(expected, &moved, strict) {
            panic!("counters (seed {}):\n  {wrong}", self.seed);
        }
    }

    /// Forgets what moved so far: the next expectation starts here.
    pub fn reset_counters(&mut self) {
        self.counted = expect::named(self.counters());
    }

    /// What passed a host's interface, to look at or to write as pcap.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn capture(&self, name: &str) -> Capture {
        Capture::new(self.host(name).all_frames())
    }

    /// Replays a pcap file's frames into the data plane at a host's interface,
    /// with the file's gaps, from now on.
    ///
    /// # Errors
    /// If there is no such host, or the bytes are no Ethernet pcap.
    pub fn replay(&mut self, pcap: &[u8], at: &str) -> Result<(), LabError> {
        let port = self.port(at)?;
        for (after, bytes) in read_pcap(pcap)? {
            self.sim.inject(after, port, &bytes);
        }
        Ok(())
    }

    /// [`Lab::replay`] of a file.
    ///
    /// # Errors
    /// As [`Lab::replay`].
    pub fn replay_file(&mut self, path: impl AsRef<Path>, at: &str) -> Result<(), LabError> {
        self.replay(&std::fs::read(path)?, at)
    }
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab")
            .field("now", &self.now())
            .field("seed", &self.seed)
            .field("hosts", &self.names)
            .finish_non_exhaustive()
    }
}

fn pipeline(seed: u64) -> Pipeline {
    Pipeline::new(Config {
        seed,
        ..Config::default()
    })
}

/// Names in a test are right or the test is wrong.
#[track_caller]
pub(crate) fn or_panic<T>(result: Result<T, LabError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CreateInternetHost, DeleteInternetHost};
    use crate::model::NetworkInterfaceId;

    fn lab() -> (Lab, NetworkInterfaceId) {
        let mut lab = Lab::new(ControlPlane::default()).seed(7);
        let host = |name: &str, address: &str| CreateInternetHost {
            name: name.to_owned(),
            addresses: vec![address.parse().unwrap()],
        };
        lab.execute(host("web", "203.0.113.80")).unwrap();
        let id = lab.execute(host("user", "198.51.100.7")).unwrap();
        (lab, id)
    }

    #[test]
    fn hosts_come_and_go_with_the_actions() {
        let (mut lab, id) = lab();
        assert_eq!(lab.dns("web").unwrap().to_string(), "203.0.113.80");
        assert_eq!(lab.host("user").eni(), lab.eni(id.as_str()));
        assert_eq!(lab.host("user/eth0").name(), "user");
        lab.execute(DeleteInternetHost {
            network_interface: id,
        })
        .unwrap();
        let error = lab.try_host("user").unwrap_err().to_string();
        assert!(error.contains("no host is named 'user'"), "{error}");
        assert!(error.contains("web"), "{error}");
    }

    #[test]
    fn a_timeout_says_what_was_awaited_and_how_to_repeat_it() {
        let (mut lab, _) = lab();
        lab.set_limit(Duration::from_secs(5));
        let conn = lab.host("user").tcp_connect("203.0.113.99", 80);
        let timeout = lab.run_until(|_| conn.is_established()).unwrap_err();
        let text = timeout.to_string();
        for part in ["5000 ms", "seed 7", "user: tcp", "SynSent"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        assert_eq!(lab.now(), Instant::from_secs(5));
    }

    #[test]
    fn internet_hosts_talk_through_the_data_plane() {
        let (mut lab, _) = lab();
        let (web, user) = (lab.host("web"), lab.host("user"));
        web.tcp_listen(80).echo();
        lab.reset_counters();
        let conn = user.tcp_connect(lab.dns("web").unwrap(), 80);
        conn.send("hello");
        lab.run_until(|_| conn.received("hello")).unwrap();
        assert_eq!(web.peer_of(&conn), user.address());
        let ping = web.ping(user.address());
        lab.run_until(|_| ping.is_answered()).unwrap();
        lab.expect_counters("consumed +1.., flow.created +1..");
        let nobody = user.tcp_connect("203.0.113.99", 80);
        // smoltcp asks for one neighbour a second.
        lab.run_for(Duration::from_millis(1500));
        assert!(!nobody.is_established());
        assert_eq!(lab.dropped().count() as u64, lab.counters().drops_total());
        assert!(lab.counters().drops_total() > 0);
    }
}
