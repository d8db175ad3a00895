//! What joins VPCs with each other and with networks on premises.

use super::{ResourceReport, View, joined};
use crate::compile::vpn;
use crate::model::{
    CustomerGateway, NetworkInterface, PeeringEnd, RouteTable, Vpc, VpcPeeringConnection,
    VpnConnection, VpnGateway,
};

impl View<'_> {
    pub(super) fn peering(&self, peering: &VpcPeeringConnection) -> ResourceReport {
        let mut report = self.start("peering connection", &peering.id, &peering.meta);
        report.fact("state", peering.state.name().to_owned());
        let between = if peering.is_cross_region() {
            "two regions (8500 bytes)"
        } else {
            "one region"
        };
        report.fact("within", between.to_owned());
        let rows = [
            ("requester", &peering.requester),
            ("accepter", &peering.accepter),
        ];
        let rows = rows.map(|(word, end): (&str, &PeeringEnd)| {
            let vpc = self.model.get(&end.vpc);
            [
                word.to_owned(),
                self.name(&end.vpc),
                vpc.map_or(String::new(), |vpc| joined(vpc.blocks())),
                end.owner.to_string(),
                end.region.to_string(),
                if end.dns_resolution { "yes" } else { "no" }.to_owned(),
            ]
        });
        let columns = ["END", "VPC", "BLOCKS", "OWNER", "REGION", "DNS FOR PEER"];
        report.list("ends", columns, rows.to_vec());
        let tables = self.model.referrers::<RouteTable>(&peering.id);
        report.fact("routed to by", joined(tables.map(|it| self.name(&it.id))));
        report
    }

    pub(super) fn vpn_gateway(&self, gateway: &VpnGateway) -> ResourceReport {
        let mut report = self.start("virtual private gateway", &gateway.id, &gateway.meta);
        let vpc = gateway.vpc.as_ref();
        report.fact("vpc", vpc.map_or(String::new(), |vpc| self.name(vpc)));
        report.fact("Amazon side ASN", gateway.asn.to_string());
        let tables = self.model.referrers::<RouteTable>(&gateway.id);
        let (propagating, routed): (Vec<_>, Vec<_>) =
            tables.partition(|it| it.propagating.contains(&gateway.id));
        let names = |tables: Vec<&std::sync::Arc<RouteTable>>| {
            joined(tables.into_iter().map(|it| self.name(&it.id)))
        };
        report.fact("propagates into", names(propagating));
        report.fact("static routes of", names(routed));
        let held = self.model.referrers::<VpnConnection>(&gateway.id);
        let rows = held.map(|it| {
            let prefixes = vpn::prefixes(self.model, it);
            [self.name(&it.id), state(self, it), joined(prefixes.iter())]
        });
        report.list(
            "connections",
            ["VPN CONNECTION", "STATE", "PREFIXES"],
            rows.collect(),
        );
        report
    }

    pub(super) fn customer_gateway(&self, gateway: &CustomerGateway) -> ResourceReport {
        let mut report = self.start("customer gateway", &gateway.id, &gateway.meta);
        report.fact("address", gateway.address.to_string());
        report.fact("ASN", gateway.asn.to_string());
        let held = self.model.referrers::<VpnConnection>(&gateway.id);
        report.fact("VPN connections", joined(held.map(|it| self.name(&it.id))));
        report
    }

    pub(super) fn vpn_connection(&self, held: &VpnConnection) -> ResourceReport {
        let mut report = self.start("VPN connection", &held.id, &held.meta);
        report.fact("state", state(self, held));
        report.fact("virtual private gateway", self.name(&held.vpn_gateway));
        report.fact("customer gateway", self.name(&held.customer_gateway));
        let network = vpn::network(self.model, held);
        let none = "none: no network under `on_prem:` has the customer gateway's address";
        report.fact(
            "network on premises",
            network.map_or(none.to_owned(), |network| self.name(&network.id)),
        );
        let routes = if held.static_routes_only {
            "static"
        } else {
            "learnt by BGP"
        };
        report.fact("routes", routes.to_owned());
        report.fact("prefixes", joined(vpn::prefixes(self.model, held).iter()));
        report.fact("largest packet", "1446 bytes, TCP segments 1406".to_owned());
        report
    }
}

impl View<'_> {
    /// A network on premises.
    pub(super) fn on_prem(&self, network: &Vpc) -> ResourceReport {
        let mut report = self.start("network on premises", &network.id, &network.meta);
        report.fact("blocks", joined(network.blocks()));
        report.fact("router", joined(network.on_prem.iter()));
        let hosts = self.model.referrers::<NetworkInterface>(&network.id);
        let rows = hosts.map(|it| {
            let prefixes = joined(it.prefixes.iter());
            [self.short(&it.id), joined(it.addresses()), prefixes]
        });
        report.list("hosts", ["HOST", "ADDRESS", "STANDS FOR"], rows.collect());
        let all = self.model.vpn_connections().iter();
        let own = all.filter(|held| {
            vpn::network(self.model, held).is_some_and(|found| found.id == network.id)
        });
        let rows = own.map(|held| {
            let gateway = self.model.get(&held.vpn_gateway);
            let vpc = gateway.and_then(|gateway| gateway.vpc.as_ref());
            [
                self.name(&held.id),
                vpc.map_or("none".to_owned(), |vpc| self.name(vpc)),
            ]
        });
        report.list("connections", ["VPN CONNECTION", "VPC"], rows.collect());
        report
    }
}

fn state(view: &View<'_>, held: &VpnConnection) -> String {
    let up = vpn::is_up(view.model, held);
    if up { "up" } else { "down" }.to_owned()
}
