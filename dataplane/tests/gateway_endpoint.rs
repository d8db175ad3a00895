//! Gateway endpoints: what is carried, from whom, and what comes back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::worlds::everything;
use common::*;
use vpclab_dataplane::addr::*;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{protocol, tcp_flag};
use vpclab_dataplane::tables::*;

const SYN: u8 = tcp_flag::SYN;
const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
const ACK: u8 = tcp_flag::ACK;

const CLIENT: &str = "10.0.1.10:40000";
const SERVICE: &str = "52.216.1.1:80";

/// VPCs 1 and 2 of one block, each with a host 10.0.1.10 (ENIs 1, 2) and an endpoint
/// to the service that is ENI 4.
fn world() -> World {
    let mut w = World::new();
    w.vpc(0, &[], false, None);
    w.subnet(9, 0, &["0.0.0.0/0"], 9);
    w.group(1, vec![], everything());
    for id in [1, 2] {
        w.vpc(id, &["10.0.0.0/16"], false, None);
        route(&mut w, id, true);
        w.subnet(id, id, &["10.0.1.0/24"], id);
        w.eni(id, id, &["10.0.1.10"], &[1], EniKind::Host);
        w.edit(|b| {
            let row = EndpointRow {
                label: label(&format!("vpce-{id}")),
                vpce: id.into(),
                vpc: VpcId(id),
                available: true,
                kind: EndpointKind::Gateway { service: None },
            };
            b.set_endpoint(EndpointId(id), Some(row));
        });
    }
    w.eni(4, 9, &["52.216.1.1"], &[], EniKind::Host);
    w
}

fn route(w: &mut World, id: u32, endpoint: bool) {
    let mut routes = vec![("10.0.0.0/16", RouteTarget::Local)];
    if endpoint {
        let target = RouteTarget::ServiceEndpoint(EndpointId(id));
        routes.push(("52.216.0.0/15", target));
    }
    w.table(id, &routes);
}

fn dropped(seen: Seen, reason: DropReason) {
    assert!(seen.out.is_empty(), "something left");
    assert_eq!(seen.drops.iter().map(|d| d.1).collect::<Vec<_>>(), [reason]);
}

fn arrives(seen: Seen, host: u32, src: &str, dst: &str) {
    assert_eq!(seen.out.len(), 1, "{:?}", seen.drops);
    let (port, frame) = &seen.out[0];
    assert_eq!(*port, EniId(host));
    assert_eq!(read(frame).tuple, tcp(src, dst));
}

#[test]
fn a_connection_keeps_its_addresses_both_ways() {
    let mut w = world();
    arrives(w.tcp(1, CLIENT, SERVICE, SYN), 4, CLIENT, SERVICE);
    arrives(w.tcp(4, SERVICE, CLIENT, SYN_ACK), 1, SERVICE, CLIENT);
    for _ in 0..3 {
        arrives(w.tcp(1, CLIENT, SERVICE, ACK), 4, CLIENT, SERVICE);
        arrives(w.tcp(4, SERVICE, CLIENT, ACK), 1, SERVICE, CLIENT);
    }
}

#[test]
fn only_tcp_and_echoes_are_carried() {
    let mut w = world();
    let frame = w.frame(1, &tuple(protocol::UDP, CLIENT, SERVICE), 0, b"");
    dropped(w.send(1, frame), DropReason::GatewayEndpointProtocol);
}

#[test]
fn a_source_that_is_not_of_the_vpc_is_not_carried() {
    let mut w = world();
    w.eni_edit(1, |row| row.source_dest_check = false);
    let seen = w.tcp(1, "10.9.9.9:40000", SERVICE, SYN);
    dropped(seen, DropReason::GatewayEndpointSource);
}

#[test]
fn an_answer_needs_the_route_that_the_connection_took() {
    let mut w = world();
    arrives(w.tcp(1, CLIENT, SERVICE, SYN), 4, CLIENT, SERVICE);
    route(&mut w, 1, false);
    let seen = w.tcp(4, SERVICE, CLIENT, SYN_ACK);
    dropped(seen, DropReason::GatewayEndpointAnswer);
    route(&mut w, 1, true);
    arrives(w.tcp(4, SERVICE, CLIENT, SYN_ACK), 1, SERVICE, CLIENT);
}

#[test]
fn one_connection_of_two_vpcs_is_not_mixed_up_at_the_service() {
    let mut w = world();
    arrives(w.tcp(1, CLIENT, SERVICE, SYN), 4, CLIENT, SERVICE);
    let seen = w.tcp(2, CLIENT, SERVICE, SYN);
    dropped(seen, DropReason::GatewayEndpointTaken);
    arrives(w.tcp(4, SERVICE, CLIENT, SYN_ACK), 1, SERVICE, CLIENT);
    let other = "10.0.1.10:40001";
    arrives(w.tcp(2, other, SERVICE, SYN), 4, other, SERVICE);
    arrives(w.tcp(4, SERVICE, other, SYN_ACK), 2, SERVICE, other);
}
