//! The packets of an expectation, between simulated hosts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vpclab_dataplane::packet::protocol;
use vpclab_dataplane::time::Duration;

use crate::appliance::Appliance;
use crate::cli::CliError;
use crate::lab::{Host, Lab};
use crate::model::{LbProtocol, TargetId};
use crate::trace::{Query, TraceReport};

/// What every listener answers: good enough for HTTP health checks.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
/// How long an answer may take, in virtual time: some retransmissions.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long is waited for an answer that is expected not to come.
const SILENCE: Duration = Duration::from_secs(3);
/// Pings that are sent, and how long each waits.
const PINGS: u32 = 3;
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// What became of a question.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    /// An answer came back.
    pub(super) answered: bool,
    /// Reasons for which packets were dropped meanwhile, each once.
    pub(super) dropped: Vec<String>,
    /// The sender, as the other end saw it.
    pub(super) seen_as: Option<IpAddr>,
}

/// A lab in which every host answers.
pub(super) struct Packets {
    lab: Lab,
    hosts: BTreeMap<String, Host>,
    /// Those of them that are services of AWS's.
    services: Vec<Host>,
    /// Frames that each host had received before the last question.
    before: BTreeMap<String, usize>,
}

impl Packets {
    /// Lets targets and appliances run, and waits for their health.
    pub(super) fn new(mut lab: Lab) -> Result<Self, CliError> {
        let mut hosts = BTreeMap::new();
        let model = lab.control().model();
        for interface in model.interfaces().iter() {
            let Some(held) = &interface.attachment else {
                continue;
            };
            if let Ok(host) = lab.try_host(interface.id.as_str()) {
                if held.device_index == 0 {
                    hosts.insert(held.host.to_string(), host.clone());
                }
                hosts.insert(format!("{}/eth{}", held.host, held.device_index), host);
            }
        }
        let mut services = Vec::new();
        for (id, _) in model.service_ports() {
            if let Ok(host) = lab.try_host(id.as_str()) {
                hosts.insert(id.to_string(), host.clone());
                services.push(host);
            }
        }
        let mut listens = Vec::new();
        for group in model.target_groups().iter() {
            for target in &group.targets {
                let interface = match &target.id {
                    TargetId::Interface(id) => Some(id.to_string()),
                    TargetId::Address(address) => owner(&lab, *address),
                };
                let Some(host) = interface.and_then(|id| lab.try_host(&id).ok()) else {
                    continue;
                };
                let port = group.health_check.port_for(target.port);
                listens.push((host, port, group.protocol == LbProtocol::Geneve));
            }
        }
        for (host, port, is_appliance) in listens {
            if is_appliance {
                host.run_appliance(Appliance::new(), Some(port));
            } else {
                host.tcp_listen(port).serve(ANSWER);
            }
        }
        lab.run_until_health_is_known()
            .map_err(|error| CliError::fault(format!("health checks: {error}")))?;
        Ok(Self {
            lab,
            hosts,
            services,
            before: BTreeMap::new(),
        })
    }

    pub(super) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Asks what `query` says, from the port that it says.
    pub(super) fn send(
        &mut self,
        query: &Query,
        trace: &TraceReport,
        wanted: bool,
    ) -> Result<Sent, CliError> {
        let from = self
            .host(query.from.0)
            .ok_or_else(|| CliError::fault("the sender of an expectation is not simulated"))?;
        self.listen(query, trace);
        let count = |(name, host): (&String, &Host)| (name.clone(), host.frames().len());
        self.before = self.hosts.iter().map(count).collect();
        let since = self.lab.now();
        self.lab.set_limit(if wanted { PATIENCE } else { SILENCE });
        let to = query.to;
        let mut sent = Sent::default();
        match query.protocol {
            protocol::UDP => {
                let socket = from.udp_bind(query.source_port);
                socket.send(to, query.port, QUESTION);
                sent.answered = self.until(|_| !socket.received().is_empty());
            }
            protocol::ICMP | protocol::ICMPV6 => {
                // Once a second, as ping does: a host that has yet to ask for its
                // neighbour's MAC address may lose its first answer.
                self.lab.set_limit(PING_INTERVAL);
                sent.answered = (0..PINGS).any(|_| {
                    let ping = from.ping(to);
                    self.until(|_| ping.is_answered())
                });
            }
            _ => {
                let conn = from.tcp_connect_from(query.source_port, to, query.port);
                conn.send(QUESTION);
                sent.answered = self.until(|_| conn.received(ANSWER) || conn.was_reset())
                    && conn.received(ANSWER);
                let mut others = self.hosts.values();
                sent.seen_as = others.find_map(|host| Some(host.accepted_from(&conn)?.peer().ip()));
                if !conn.is_closed() {
                    conn.abort();
                }
            }
        }
        let recent = self.lab.dropped().filter(|drop| drop.at >= since);
        let mut reasons: Vec<_> = recent.map(|drop| drop.reason.name().to_owned()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        sent.dropped = reasons;
        Ok(sent)
    }

    fn until(&mut self, done: impl Fn(&Lab) -> bool) -> bool {
        self.lab.run_until(|lab| done(lab)).is_ok()
    }

    /// Listens where the packet may arrive: where the trace delivers it, and at
    /// whoever has the address.
    fn listen(&mut self, query: &Query, trace: &TraceReport) {
        let owner = owner(&self.lab, query.to).and_then(|id| self.lab.try_host(&id).ok());
        let mut places: Vec<_> = owner.into_iter().map(|host| (host, query.port)).collect();
        if let Some((address, port)) = trace.forward.last().and_then(|hop| destination(&hop.after))
        {
            let reached = self
                .hosts
                .values()
                .find(|host| host.addresses().contains(&address));
            places.extend(reached.map(|host| (host.clone(), port)));
        }
        // Whoever of them it is; what they say is not the question here.
        places.extend(self.services.iter().map(|host| (host.clone(), query.port)));
        for (host, port) in places.into_iter().filter(|(_, port)| *port != 0) {
            match query.protocol {
                protocol::TCP => {
                    host.tcp_listen(port).serve(ANSWER);
                }
                protocol::UDP => {
                    host.udp_bind(port).echo();
                }
                _ => {}
            }
        }
    }

    fn host(&self, row: u32) -> Option<Host> {
        self.hosts
            .values()
            .find(|host| host.eni().0 == row)
            .cloned()
    }

    /// Which hosts of `via` no packet has reached since the last question.
    pub(super) fn not_crossed(&self, via: &[&str]) -> Vec<String> {
        let silent = via.iter().filter(|name| {
            let host = self.hosts.get(**name);
            host.is_some_and(|host| {
                host.frames().len() <= self.before.get(**name).copied().unwrap_or(0)
            })
        });
        silent
            .map(|name| format!("expected to cross {name}; by packets nothing reached it"))
            .collect()
    }
}

/// The id of the host's interface that has this address, private or public.
fn owner(lab: &Lab, address: IpAddr) -> Option<String> {
    let tables = lab.snapshot();
    let has = |row: &vpclab_dataplane::tables::EniRow| {
        row.is_host()
            && (row.addresses.contains(&address)
                || row.public.iter().any(|pair| pair.public == address))
    };
    let found = tables.enis.iter().find(|(_, row)| has(row));
    found.map(|(_, row)| row.label.to_string())
}

/// The destination in a hop's text: `tcp 10.0.0.1:1 > 10.0.0.2:2`.
fn destination(text: &str) -> Option<(IpAddr, u16)> {
    let (_, to) = text.rsplit_once("> ")?;
    match to.parse::<std::net::SocketAddr>() {
        Ok(socket) => Some((socket.ip(), socket.port())),
        Err(_) => Some((to.parse().ok()?, 0)),
    }
}
