//! The scenes of the demo, each with its verdict on what it saw.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration as WallTime;

use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{FiveTuple, protocol};
use vpclab_dataplane::tables::TargetHealth;
use vpclab_dataplane::time::{Duration, Instant};
use vpclab_dataplane::trace::Probe;

use super::topology::{HEALTH_PORT, SERVICE_PORT, WEB};
use super::{DemoError, Gwlb, OneWay, PrivateLink, ThroughputReport};
use crate::appliance::Appliance;
use crate::lab::{Conn, Host, Lab, RunningAppliance};

/// Connections through the appliances: enough for each appliance to get some.
const FLOWS: usize = 16;
/// Port of the internet host.
const WEB_PORT: u16 = 443;

/// The lab on its way through the scenes.
pub(super) struct Tour<'a> {
    lab: Lab,
    narrate: &'a mut dyn FnMut(&str),
    client: Host,
    server: Host,
    web: Host,
    appliances: Vec<(&'static str, RunningAppliance)>,
    /// The connection through the endpoint, with the server's end of it.
    established: Option<(Conn, Conn)>,
}

impl<'a> Tour<'a> {
    /// Starts the programs on the hosts and waits for the health checks.
    pub(super) fn start(mut lab: Lab, narrate: &'a mut dyn FnMut(&str)) -> Result<Self, DemoError> {
        let host = |name: &str| lab.host(name);
        let (client, server, web) = (host("client"), host("server"), host("web"));
        let appliances = ["a", "b"].map(|name| {
            let running = host(name).run_appliance(Appliance::new(), Some(HEALTH_PORT));
            (name, running)
        });
        let _listening = server.tcp_listen(SERVICE_PORT).echo();
        let _listening = web.tcp_listen(WEB_PORT).echo();
        lab.run_until_health_is_known()?;
        let mut tour = Self {
            lab,
            narrate,
            client,
            server,
            web,
            appliances: appliances.into(),
            established: None,
        };
        let health = tour.lab.target_health();
        let healthy = health
            .iter()
            .filter(|&&h| h == TargetHealth::Healthy)
            .count();
        let targets = health.len();
        if healthy < targets {
            return Err(DemoError::Unhealthy { healthy, targets });
        }
        let took = tour.lab.now().since(Instant::ZERO).as_nanos() / 1_000;
        let probes = tour.probes();
        tour.say(&format!(
            "{healthy} of {targets} targets healthy after {took} us of virtual time; \
             they received {probes} probes from the load balancers' nodes."
        ));
        Ok(tour)
    }

    pub(super) fn into_lab(self) -> Lab {
        self.lab
    }

    fn say(&mut self, line: &str) {
        (self.narrate)(line);
    }

    /// Connections that the load balancers' nodes opened to targets.
    fn probes(&self) -> usize {
        let hosts = ["server", "a", "b"].map(|name| self.lab.host(name));
        let nodes = [self.lab.nlb("web"), self.lab.gwlb("firewalls")].map(|lb| lb.address("a"));
        let frames = hosts.iter().flat_map(Host::frames);
        frames
            .filter(|frame| syn_to(&frame.bytes).is_some())
            .filter(|frame| ipv4_source(&frame.bytes).is_some_and(|from| nodes.contains(&from)))
            .count()
    }

    fn trace(&mut self, from: &Host, to: SocketAddr) {
        let probe = Probe {
            from: from.eni(),
            tuple: FiveTuple {
                src: from.address(),
                dst: to.ip(),
                protocol: protocol::TCP,
                sport: 49_152,
                dport: to.port(),
            },
        };
        let trace = self.lab.trace(&probe);
        let names = crate::trace::names(self.lab.control().model());
        let tables = self.lab.snapshot();
        let report = crate::trace::describe(&tables, &trace, &|id| names.get(id).cloned());
        for line in report.to_string().lines() {
            self.say(&format!("  {line}"));
        }
    }

    /// Bytes to the service and back; who saw whom.
    pub(super) fn privatelink(&mut self) -> PrivateLink {
        let endpoint = self.lab.endpoint("service").address("a");
        let node = self.lab.nlb("web").address("a");
        let (client, server) = (self.client.clone(), self.server.clone());
        self.say("");
        self.say(&format!(
            "1. PrivateLink: client {} (10.0.0.0/16) -> endpoint {endpoint} -> server {} (10.0.0.0/16)",
            client.address(),
            server.address()
        ));
        self.trace(&client, SocketAddr::new(endpoint, SERVICE_PORT));
        let conn = client.tcp_connect(endpoint, SERVICE_PORT);
        conn.send(b"hello, provider");
        let echoed = self.lab.run_until(|_| conn.received(b"hello, provider"));
        let accepted = server.accepted_from(&conn);
        let client_saw = conn.was_established().then(|| conn.peer().ip());
        let server_saw = accepted.as_ref().map(|conn| conn.peer().ip());
        if let Some(accepted) = accepted {
            self.established = Some((conn, accepted));
        }
        let saw = |who: Option<IpAddr>| who.map_or("nobody".to_owned(), |ip| ip.to_string());
        self.say(&format!(
            "  client saw {}, server saw {}",
            saw(client_saw),
            saw(server_saw)
        ));
        PrivateLink {
            ok: echoed.is_ok() && client_saw == Some(endpoint) && server_saw == Some(node),
            client_saw,
            server_saw,
        }
    }

    /// The provider tries to open connections: at the very port that leads its
    /// replies to the client, at the endpoint and at the client.
    pub(super) fn one_way(&mut self) -> OneWay {
        let node = self.lab.nlb("web").address("a");
        let mapped = match &self.established {
            Some((_, accepted)) => accepted.peer(),
            None => SocketAddr::new(node, 40_000),
        };
        let (client, server) = (self.client.clone(), self.server.clone());
        self.say("");
        self.say(&format!(
            "2. One way: server {} -> {mapped}, the port that its replies to the client take",
            server.address()
        ));
        self.trace(&server, mapped);
        let since = self.lab.now();
        let endpoint = self.lab.endpoint("service").address("a");
        let tries = [
            server.tcp_connect(mapped.ip(), mapped.port()),
            server.tcp_connect(endpoint, SERVICE_PORT),
            server.tcp_connect(client.address(), SERVICE_PORT),
        ];
        self.lab.run_for(Duration::from_secs(4));
        let refused = self.lab.dropped().find(|drop| {
            drop.at >= since
                && drop.port == server.eni()
                && syn_to(&drop.bytes).is_some_and(|to| to == mapped)
        });
        let reason = refused.map(|drop| drop.reason);
        let arrived = client
            .frames()
            .iter()
            .filter(|frame| frame.at >= since && syn_to(&frame.bytes).is_some())
            .count();
        let connected = tries.iter().any(Conn::was_established);
        for attempt in tries {
            attempt.abort();
        }
        self.say(&format!(
            "  refused: {}; {arrived} SYNs reached the client",
            reason.map_or("no", DropReason::name)
        ));
        OneWay {
            ok: reason == Some(DropReason::PrivateLinkOneWay) && arrived == 0 && !connected,
            reason: reason.map(|reason| reason.name().to_owned()),
        }
    }

    /// Connections to the internet through the appliances, then one return
    /// with a wrong cookie.
    pub(super) fn gwlb(&mut self) -> Gwlb {
        let client = self.client.clone();
        self.say("");
        self.say(&format!(
            "3. Inspection: client {} -> GWLB -> appliance -> internet {WEB}",
            client.address()
        ));
        self.trace(&client, SocketAddr::new(WEB.into(), WEB_PORT));
        let conns: Vec<Conn> = (0..FLOWS)
            .map(|_| client.tcp_connect(WEB, WEB_PORT))
            .collect();
        for conn in &conns {
            conn.send(b"hello, internet");
        }
        let echoed = |conn: &Conn| conn.received(b"hello, internet");
        let _all = self.lab.run_until(|_| conns.iter().all(echoed));
        let flows = conns.iter().filter(|conn| echoed(conn)).count() as u64;
        let mut appliances = BTreeMap::new();
        let mut symmetric = true;
        for (name, appliance) in &self.appliances {
            let seen = appliance.flows();
            symmetric &= seen
                .iter()
                .all(|flow| flow.forward > 0 && flow.backward > 0);
            appliances.insert((*name).to_owned(), seen.len() as u64);
        }
        let cookie_checked = self.wrong_cookie();
        let shared = appliances.values().all(|&flows| flows > 0);
        let each_once = appliances.values().sum::<u64>() == flows;
        self.say(&format!(
            "  {flows} connections; appliances saw {appliances:?}, both directions on one: {symmetric}"
        ));
        self.say(&format!("  the web host saw {}", self.web_saw()));
        let refused = if cookie_checked {
            "dropped"
        } else {
            "accepted"
        };
        self.say(&format!("  a return with a wrong cookie: {refused}"));
        let complete = flows == FLOWS as u64;
        Gwlb {
            ok: complete && symmetric && shared && each_once && cookie_checked,
            flows,
            appliances,
        }
    }

    fn web_saw(&self) -> String {
        let accepted = self.web.accepted();
        let first = accepted.first().map(|conn| conn.peer().ip().to_string());
        first.unwrap_or_else(|| "nobody".to_owned())
    }

    /// An appliance returns a packet that it received, under another flow's
    /// cookie. True if it was dropped for that.
    fn wrong_cookie(&mut self) -> bool {
        let sent = self.appliances.iter().find_map(|(name, appliance)| {
            let packet = appliance.received().pop()?;
            let wrong = packet.cookie()? ^ 0x5a5a_5a5a;
            appliance.send(&packet.with_cookie(wrong));
            Some(*name)
        });
        let Some(name) = sent else {
            return false;
        };
        let (since, port) = (self.lab.now(), self.lab.eni(name));
        self.lab.run_for(Duration::from_millis(50));
        self.lab.dropped().any(|drop| {
            drop.at >= since && drop.port == port && drop.reason == DropReason::GwlbCookie
        })
    }

    /// The client's last packet through the endpoint, over and over.
    pub(super) fn throughput(
        &mut self,
        span: WallTime,
        clock: impl FnMut() -> WallTime,
    ) -> ThroughputReport {
        self.say("");
        self.say("4. Throughput: established PrivateLink packets, one worker");
        let endpoint = self.lab.endpoint("service").address("a");
        let sent = self.client.sent_frames();
        let template = sent.iter().rev().find(|frame| {
            segment(&frame.bytes).is_some_and(|(to, flags)| {
                to == SocketAddr::new(endpoint, SERVICE_PORT) && flags & 0x07 == 0
            })
        });
        let Some(template) = template else {
            return ThroughputReport::default();
        };
        let run = self.lab.measure("client", &template.bytes, span, clock);
        self.say(&format!(
            "  {} packets, {:.2} million a second",
            run.packets,
            run.mpps()
        ));
        ThroughputReport {
            packets: run.packets,
            mpps: run.mpps(),
        }
    }
}

/// Destination and flags of the IPv4 TCP segment in a frame.
fn segment(frame: &[u8]) -> Option<(SocketAddr, u8)> {
    if frame.get(12..14)? != [8, 0] || *frame.get(23)? != protocol::TCP {
        return None;
    }
    let l4 = 14 + usize::from(frame.get(14)? & 0xf) * 4;
    let to = <[u8; 4]>::try_from(frame.get(30..34)?).ok()?;
    let tcp = frame.get(l4..)?.first_chunk::<14>()?;
    let port = u16::from_be_bytes([tcp[2], tcp[3]]);
    Some((SocketAddr::new(to.into(), port), tcp[13]))
}

/// Source of the IPv4 packet in a frame.
fn ipv4_source(frame: &[u8]) -> Option<IpAddr> {
    let source = <[u8; 4]>::try_from(frame.get(26..30)?).ok()?;
    Some(source.into())
}

/// Destination of a frame that opens a TCP connection.
fn syn_to(frame: &[u8]) -> Option<SocketAddr> {
    let (to, flags) = segment(frame)?;
    (flags & 0x12 == 0x02).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::super::topology;
    use super::*;
    use vpclab_dataplane::tables::Settings;

    #[test]
    fn targets_are_healthy_only_because_probes_were_answered() {
        let lab = || {
            let control = topology::build(1, Settings::default()).unwrap();
            Lab::new(control).seed(1)
        };
        // Nobody listens: the same probes find every target unhealthy.
        let mut idle = lab();
        idle.run_until_health_is_known().unwrap();
        assert_eq!(idle.target_health(), [TargetHealth::Unhealthy; 3]);

        let mut ignore = |_: &str| {};
        let tour = Tour::start(lab(), &mut ignore).unwrap();
        assert_eq!(tour.lab.target_health(), [TargetHealth::Healthy; 3]);
        assert!(tour.probes() >= 3, "{}", tour.probes());
        assert!(tour.lab.now() > Instant::ZERO);
    }
}
