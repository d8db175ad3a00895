//! What a user can change so that a dropped packet passes.

use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::protocol;
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::walk::{Component, Hop, Rule};

use super::Names;
use super::words::{eni, group, named, protocol_name};

/// One sentence, or `None` where nothing sensible can be changed.
pub(super) fn fix(
    tables: &Snapshot,
    reason: DropReason,
    hop: &Hop,
    names: Names<'_>,
) -> Option<String> {
    let packet = match hop.before.protocol {
        protocol::TCP | protocol::UDP => {
            format!(
                "{} {}",
                protocol_name(hop.before.protocol),
                hop.before.dport
            )
        }
        other => protocol_name(other),
    };
    let dst = hop.before.dst;
    Some(match (reason, hop.component) {
        (DropReason::SecurityGroup, Component::SecurityGroups { eni: id, egress }) => {
            let row = tables.enis.row(id)?;
            let groups: Vec<_> = row
                .groups
                .iter()
                .map(|&g| group(tables, g, names))
                .collect();
            let (way, peer) = side(egress, hop);
            format!("add an {way} {peer} to {}: {packet}", groups.join(" or "))
        }
        (DropReason::NetworkAcl, Component::NetworkAcl { acl, egress }) => {
            let acl = named(
                tables
                    .network_acls
                    .row(acl)
                    .map_or("the ACL", |row| &row.label),
                names,
            );
            let (way, peer) = side(egress, hop);
            let before = match hop.rule {
                Rule::AclEntry(Some(number)) => format!(" with a number below {number}"),
                _ => String::new(),
            };
            format!("add an {way} {peer} to {acl}{before}: allow {packet}")
        }
        (DropReason::ResolverOff, Component::Service(vpc, _)) => {
            let vpc = named(&tables.vpcs.row(vpc)?.label, names);
            format!("set enableDnsSupport of {vpc} (ModifyVpcAttribute)")
        }
        (DropReason::ServiceRate, _) => {
            "cache answers on the host, or spread the questions over several interfaces".to_owned()
        }
        (DropReason::ZoneDown, _) => {
            "bring the zone back: vpclab fault az ZONE --up; see: vpclab fault list".to_owned()
        }
        (DropReason::NoRoute, Component::RouteTable(table)) => {
            let table = tables.route_tables.row(table)?.label();
            format!("add a route that covers {dst} to {}", named(table, names))
        }
        (DropReason::Blackhole, Component::RouteTable(table)) => {
            let table = tables.route_tables.row(table)?.label();
            let Rule::Route(prefix) = hop.rule else {
                return None;
            };
            format!(
                "replace or delete the route {prefix} in {}",
                named(table, names)
            )
        }
        (DropReason::SourceDestCheck, Component::Source(id) | Component::Destination(id)) => {
            format!(
                "switch off the source/destination check of {}",
                eni(tables, id, names)
            )
        }
        (DropReason::Detached, Component::Destination(id)) => {
            format!(
                "start the host behind {}, or attach one",
                eni(tables, id, names)
            )
        }
        (DropReason::AddressUnassigned, _) => {
            format!("give {dst} to an interface, or send to an address that one has")
        }
        (DropReason::IgwNoPublicAddress, _) => {
            format!("associate an Elastic IP address with {}", hop.before.src)
        }
        (DropReason::IgwNoPrivateAddress, _) => {
            format!("associate {dst} with an interface of a VPC that has an internet gateway")
        }
        (DropReason::InternetUnreachable, _) => {
            format!(
                "add {dst} to the lab's internet hosts, or let it out to the real network: \
                 `internet: {{uplink: true}}`"
            )
        }
        (DropReason::PeeringNotInVpc, _) => {
            format!("route {dst} another way: of a peer only its own addresses are reached")
        }
        (DropReason::VgwNotForVpc, _) => {
            format!(
                "reach what {dst} offers by an interface endpoint or a proxy in the VPC: from \
                 on premises only its private addresses are reached"
            )
        }
        (DropReason::VgwNotFromVpc, _) => {
            format!(
                "send from an interface of the VPC: {} is no private address of it",
                hop.before.src
            )
        }
        (DropReason::VgwNoRoute, _) => {
            format!("add {dst} to the static routes of a VPN connection, or to what it learns")
        }
        (DropReason::VgwIpv6, _) => "use IPv4: a virtual private gateway has no IPv6".to_owned(),
        (DropReason::OnPremUnreachable, _) => {
            format!(
                "give {dst} to a host under `on_prem:`, whose `router:` is the customer gateway"
            )
        }
        (DropReason::PrivateLinkOneWay, _) => {
            "let the consumer start the connection: an endpoint is one-way".to_owned()
        }
        (DropReason::EndpointUnavailable, _) => {
            "accept the endpoint's connection on the service's side".to_owned()
        }
        (DropReason::EndpointNotInAz, _) => {
            "enable the endpoint's zone on the service's load balancer".to_owned()
        }
        (DropReason::GatewayEndpointProtocol, _) => {
            "use TCP or ping: a gateway endpoint takes nothing else".to_owned()
        }
        (DropReason::GatewayEndpointSource, _) => {
            "send from a host of the endpoint's VPC, in a subnet whose route table has the \
             endpoint's route; from elsewhere use an interface endpoint"
                .to_owned()
        }
        (DropReason::GatewayEndpointAnswer, _) => {
            "associate the endpoint with the route table of the subnet again".to_owned()
        }
        (DropReason::EndpointProtocol, _) => {
            "use TCP or UDP: an endpoint takes nothing else, not even ping".to_owned()
        }
        (DropReason::NatProtocol, _) => {
            "use TCP, UDP or ping over IPv4: a NAT gateway translates nothing else".to_owned()
        }
        (DropReason::NatFragment, _) => {
            "send packets that fit, or UDP: a NAT gateway drops fragments of TCP and ICMP"
                .to_owned()
        }
        (DropReason::NatSource, _) => {
            format!(
                "send from an address of the NAT gateway's VPC: {} is none",
                hop.before.src
            )
        }
        (DropReason::NatUnsolicited, _) => {
            "let the inside start the connection; what must be reached from outside needs an \
             Elastic IP address or a load balancer of its own"
                .to_owned()
        }
        (DropReason::PortAllocation, _) => {
            "add targets, or give the load balancer's nodes further addresses \
             (secondary_ips.auto_assigned.per_subnet): each carries 55 000 connections to a target"
                .to_owned()
        }
        (DropReason::LbHairpin, _) => {
            "switch client IP preservation off (preserve_client_ip.enabled; TCP only), or call a \
             target that is not the client itself"
                .to_owned()
        }
        (DropReason::NatPortAllocation, _) => {
            "give the NAT gateway another address, or use another gateway for part of the hosts"
                .to_owned()
        }
        (DropReason::NatNoConnection, _) => {
            "open the connection anew, or keep it alive: a NAT gateway forgets it after 350 s of \
             silence"
                .to_owned()
        }
        (DropReason::NoListener, Component::LoadBalancer(id, _)) => {
            let balancer = &tables.load_balancers.row(id)?.label;
            format!("add a listener for {packet} to {}", named(balancer, names))
        }
        (DropReason::NoTarget | DropReason::GwlbNoTarget, _) => {
            "register a target in that zone, or turn on cross-zone load balancing".to_owned()
        }
        (DropReason::ListenerNoTargetGroup, _) => "give the listener a target group".to_owned(),
        (DropReason::Loop, _) => {
            "change the route of the endpoint's subnet: it leads back into the endpoint".to_owned()
        }
        (DropReason::IngressRedirection, _) => {
            "route the subnet's outbound traffic through the same middlebox as its inbound"
                .to_owned()
        }
        _ => return None,
    })
}

/// Which kind of rule is missing, and for whom.
fn side(egress: bool, hop: &Hop) -> (&'static str, String) {
    let host = |address: IpAddr| Prefix::host(address);
    if egress {
        ("outbound rule", format!("to {}", host(hop.before.dst)))
    } else {
        ("inbound rule", format!("from {}", host(hop.before.src)))
    }
}
