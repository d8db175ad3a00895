//! What only the file says: its heading, commands, links, assertions, settings.

use std::collections::{BTreeMap, BTreeSet};

use super::Exporter;
use super::node::{Map, Node};
use crate::host::plan::RestartPolicy;
use crate::model::VpnConnection;
use crate::topology::located::{Item, Value};
use crate::topology::schema::{Expectation, InternetHost, Link, Waiting};
use crate::topology::values::{Restart, Zone};

impl Exporter<'_> {
    pub(super) fn heading(&self, map: &mut Map) {
        let file = self.file;
        map.put("name", Node::Text(file.name.value.clone()));
        map.text("description", file.description.clone());
        map.some("seed", file.seed);
        map.some("region", file.region.as_deref());
        map.some("http", file.http);
        map.some("time_scale", file.time_scale.as_ref().map(|scale| scale.0));
    }

    pub(super) fn dns(&self) -> Map {
        let mut map = Map::default();
        let upstream = self.file.dns.upstream.as_ref();
        // An IPv6 address with a port begins with a bracket.
        map.text("upstream", upstream.map(|it| it.value.0.to_string()));
        map
    }

    pub(super) fn services(&self) -> Map {
        let mut map = Map::default();
        for (name, upstream) in self.file.services.iter() {
            map.put(name.value.clone(), Node::Text(upstream.value.0.to_string()));
        }
        map
    }

    pub(super) fn internet(&mut self) -> Map {
        let internet = &self.file.internet;
        let hosts: Map = internet
            .hosts
            .iter()
            .map(|(name, host)| (name.value.clone(), self.internet_host(host)))
            .collect();
        let mut map = Map::default();
        map.filled("hosts", hosts.into());
        map.flag("uplink", internet.uplink, false);
        let gateway = internet.gateway.iter().map(|address| address.0);
        map.filled("gateway", Node::list(gateway));
        map
    }

    /// The file's networks on premises, with the VPN connections that they have now.
    pub(super) fn on_prem(&mut self) -> Map {
        let mut networks = Map::default();
        let mut written = BTreeSet::new();
        for (name, network) in self.file.on_prem.iter() {
            let id = crate::model::VpcId::from(format!("vpc-on-prem-{}", name.value));
            let router = self.model.get(&id).and_then(|vpc| vpc.on_prem);
            let mut map = Map::default();
            let cidrs = network.cidrs.iter().map(|cidr| cidr.value.0);
            map.put("cidrs", Node::one_or_list(cidrs));
            map.some("router", router);
            let all: Vec<&VpnConnection> = self.own().collect();
            let mut vpcs = Vec::new();
            let mut routes = BTreeSet::new();
            for held in all {
                let customer = self.model.get(&held.customer_gateway);
                if customer.map(|it| it.address) != router {
                    continue;
                }
                let gateway = self.model.get(&held.vpn_gateway);
                let vpc = gateway.and_then(|gateway| gateway.vpc.clone());
                let user = format!("VPN connection {}", held.id);
                if let Some(vpc) = vpc.and_then(|vpc| self.label(&vpc, &user)) {
                    written.insert(held.id.clone());
                    if held.static_routes_only && held.routes.is_empty() {
                        self.leave_out(format!("{user}: that it has static routes only"));
                    }
                    vpcs.push(vpc);
                    routes.extend(held.routes.iter().copied());
                }
            }
            map.filled("vpn", Node::one_or_list(vpcs));
            map.filled("static_routes", Node::list(routes));
            let hosts = network.hosts.iter();
            let hosts: Map = hosts
                .map(|(name, host)| (name.value.clone(), self.internet_host(host)))
                .collect();
            map.filled("hosts", hosts.into());
            networks.put(&name.value, map.into());
        }
        let all: Vec<&VpnConnection> = self.own().collect();
        for held in all.into_iter().filter(|held| !written.contains(&held.id)) {
            self.leave_out(format!(
                "{}: a VPN connection to no network of the file",
                held.id
            ));
        }
        networks
    }

    fn internet_host(&self, host: &InternetHost) -> Map {
        let mut map = Map::default();
        let addresses = host.addresses.iter().map(|address| address.0);
        map.put("addresses", Node::one_or_list(addresses));
        let prefixes = host.prefixes.iter().map(|prefix| prefix.value.0);
        map.filled("prefixes", Node::list(prefixes));
        map.flag("attach", host.attach, false);
        self.programs(&mut map, &host.run, &host.env, host.restart.as_ref());
        self.link(&mut map, host.link.as_ref());
        map
    }

    pub(super) fn programs(
        &self,
        map: &mut Map,
        run: &[Value<String>],
        env: &BTreeMap<String, String>,
        restart: Option<&Value<Restart>>,
    ) {
        let run = run.iter().map(|line| Node::Text(line.value.clone()));
        map.filled("run", Node::List(run.collect()));
        let mut set = Map::default();
        for (name, value) in env {
            set.put(name, Node::Text(value.clone()));
        }
        map.filled("env", set.into());
        let restart = restart.map(|restart| match restart.value.0 {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Always => "always",
        });
        map.some("restart", restart);
    }

    pub(super) fn link(&self, map: &mut Map, link: Option<&Link>) {
        let Some(link) = link else { return };
        let mut of = Map::default();
        of.some("loss", link.loss.as_ref().map(|chance| chance.value));
        of.some("delay", link.delay.as_ref().map(|span| span.value));
        of.some("jitter", link.jitter.as_ref().map(|span| span.value));
        of.some("reorder", link.reorder.as_ref().map(|chance| chance.value));
        of.some(
            "duplicate",
            link.duplicate.as_ref().map(|chance| chance.value),
        );
        of.some("corrupt", link.corrupt.as_ref().map(|chance| chance.value));
        of.some("rate", link.rate.as_ref().map(|rate| rate.value));
        of.some("queue", link.queue.as_ref().map(|span| span.value));
        map.filled("link", of.into());
    }

    pub(super) fn ending(&mut self, map: &mut Map) {
        let file = self.file;
        let zones = file.faults.zones_down.iter();
        let zones: Vec<_> = zones
            .map(
                |Value {
                     value: Zone(zone), ..
                 }| zone,
            )
            .collect();
        let mut faults = Map::default();
        faults.filled("zones_down", Node::list(zones));
        map.filled("faults", faults.into());
        map.filled(
            "publish",
            Node::list(file.publish.iter().map(|publish| &publish.value)),
        );
        let expect = file.expect.iter().map(|it| expectation(it).into());
        map.filled("expect", Node::List(expect.collect()));
        let mut quotas = Map::default();
        for (name, value) in file.quotas.iter() {
            quotas.put(name.value.clone(), Node::shown(value.value));
        }
        map.filled("quotas", quotas.into());
        let mut settings = Map::default();
        let own = &file.settings;
        settings.some("workers", own.workers.as_ref().map(|workers| workers.value));
        settings.some("first_core", own.first_core.as_ref().map(|core| core.value));
        let waiting = match own.waiting {
            Waiting::Adaptive => None,
            Waiting::Event => Some("event"),
            Waiting::Busy => Some("busy"),
        };
        settings.some("waiting", waiting);
        settings.given("io_uring", own.io_uring);
        map.filled("settings", settings.into());
        self.unused();
    }
}

fn expectation(it: &Item<Expectation>) -> Map {
    let mut map = Map::default();
    map.some("name", it.name.as_deref());
    map.put("from", Node::Text(it.from.value.clone()));
    map.put("to", Node::Text(it.to.value.clone()));
    map.some("proto", it.proto.as_ref().map(|proto| &proto.value));
    map.given("reachable", it.reachable);
    map.filled("via", Node::list(it.via.iter().map(|hop| &hop.value)));
    map.some("code", it.code.as_ref().map(|code| &code.value));
    map.some("seen_as", it.seen_as.as_ref().map(|address| &address.value));
    map
}
