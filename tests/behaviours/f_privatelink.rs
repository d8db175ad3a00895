//! F. Interface endpoints, endpoint services, network load balancers.

use vpclab::api::*;
use vpclab::model::VpcEndpointType;
use vpclab_dataplane::packet::tcp_flag;
use vpclab_dataplane::tables::TargetHealth;
use vpclab_tests::{Packet, World, ip, seconds};

use crate::fixtures::PRIVATELINK;

/// A lab whose server answers on 80, its health known.
fn privatelink() -> World {
    world(PRIVATELINK)
}

fn world(topology: &str) -> World {
    let mut w = World::new(topology);
    w.host("server").tcp_listen(80).echo();
    w.healthy();
    w
}

/// Given manual acceptance, when the endpoint is pending, then SYNs get no
/// answer; after accept they work; after reject new ones fail.
#[test]
fn b072_an_endpoint_carries_nothing_until_it_is_accepted() {
    let pending = PRIVATELINK.replace(
        "groups: endpoint\n",
        "groups: endpoint\n    accept: false\n",
    );
    let mut w = world(&pending);
    let conn = w.no_connection("client", "10.0.1.100", 80);
    assert!(!conn.was_reset(), "no answer at all");
    w.expect_counters("drop.endpoint.unavailable +1..");
    let (service, vpce) = (
        w.names.endpoint_services["web"].id.clone(),
        w.vpce("service"),
    );
    w.apply(AcceptVpcEndpointConnections {
        service: service.clone(),
        vpc_endpoints: vec![vpce.clone()],
    });
    let conn = w.echo("client", "10.0.1.100", 80);
    w.apply(RejectVpcEndpointConnections {
        service,
        vpc_endpoints: vec![vpce],
    });
    w.reset_counters();
    // ASSUMPTION: what stood before the rejection stands.
    conn.send(" again");
    w.run_until(|_| conn.received("hello again")).unwrap();
    w.expect_counters("rx +2..");
    w.no_connection("client", "10.0.1.100", 80);
    w.expect_counters("drop.endpoint.unavailable +1..");
}

/// Given a principal that is not allowed, when it creates the endpoint, then
/// refused as if there were no such service; once allowed, it may.
#[test]
fn b073_a_principal_without_permission_finds_no_service() {
    let mut w = privatelink();
    let other = Caller::new("210987654321", DEFAULT_REGION);
    let vpc = CreateVpc {
        cidr_block: Some(vpclab_tests::cidr("10.9.0.0/16")),
        ..CreateVpc::default()
    };
    let control = w.control_mut();
    let vpc = control.execute_as(&other, vpc).unwrap().vpc;
    let subnet = CreateSubnet {
        vpc: vpc.clone(),
        cidr_block: Some(vpclab_tests::cidr("10.9.1.0/24")),
        ..CreateSubnet::default()
    };
    let subnet = control.execute_as(&other, subnet).unwrap();
    let service = w.names.endpoint_services["web"].clone();
    let create = || {
        let name = &service.service_name;
        CreateVpcEndpoint::new(
            VpcEndpointType::Interface,
            vpc.clone(),
            name,
            [subnet.clone()],
        )
    };
    let error = w.control_mut().execute_as(&other, create()).unwrap_err();
    assert_eq!(error.code, "InvalidServiceName", "{error}");
    assert!(error.message.contains(&service.service_name), "{error}");
    w.apply(ModifyVpcEndpointServicePermissions {
        service: service.id,
        add_allowed_principals: vec!["arn:aws:iam::210987654321:root".into()],
        remove_allowed_principals: Vec::new(),
    });
    w.control_mut().execute_as(&other, create()).unwrap();
}

/// When a client connects, then the target sees a node of the load balancer as
/// source and the client sees the endpoint as peer.
#[test]
fn b074_the_target_sees_the_node_and_the_client_sees_the_endpoint() {
    let mut w = privatelink();
    let conn = w.echo("client", "10.0.1.100", 80);
    assert_eq!(w.host("server").peer_of(&conn), w.nlb("web").address("az1"));
    assert_eq!(w.host("server").peer_of(&conn), ip("10.0.2.50"));
    assert_eq!(conn.peer().to_string(), "10.0.1.100:80");
    let port = w.host("server").accepted_from(&conn).unwrap().peer().port();
    assert!(port >= 1024, "{port}");
    let sources = w.take("client");
    assert!(sources.iter().all(|seen| seen.from() == "10.0.1.100:80"));
    w.expect_counters("flow.created +1..");
}

/// Given consumer and provider with one CIDR, when connecting, then it works,
/// and the provider's host with the client's address hears nothing.
#[test]
fn b075_consumer_and_provider_may_have_the_same_addresses() {
    let mut w = privatelink();
    w.mute(&["twin"]);
    let conn = w.echo("client", "10.0.1.100", 80);
    conn.close();
    w.run_for(seconds(1));
    assert_eq!(w.host("twin").addresses(), w.host("client").addresses());
    assert!(w.host("twin").frames().is_empty());
    w.expect_counters("flow.created +1..");
}

/// When the provider's host sends a SYN to the endpoint's address, to the
/// consumer's host or into the node's NAT ports, then nothing reaches the
/// consumer.
#[test]
fn b076_nothing_of_the_provider_starts_toward_the_consumer() {
    let mut w = privatelink();
    let conn = w.echo("client", "10.0.1.100", 80);
    let nat = w.host("server").accepted_from(&conn).unwrap().peer();
    w.run_for(seconds(1));
    w.mute(&["server", "twin"]);
    w.take("client");
    w.take("twin");
    w.reset_counters();
    w.send("server", &Packet::syn("10.0.3.10:1000", "10.0.1.100:80"));
    w.expect_counters("rx +1, drop.route.address_unassigned +1, tx +0");
    // The consumer's own address is a host of the provider's here.
    w.send("server", &Packet::syn("10.0.3.10:1000", "10.0.1.10:80"));
    assert_eq!(w.take("twin").len(), 1);
    w.expect_counters("rx +1, tx +1");
    // With the very addresses and ports of the live connection, and without.
    for from in ["10.0.3.10:80", "10.0.3.10:1000"] {
        w.send("server", &Packet::syn(from, nat));
        w.expect_counters("rx +1, drop.privatelink.one_way +1, tx +0");
    }
    w.send("server", &Packet::udp("10.0.3.10:80", nat));
    w.expect_counters("rx +1, drop.privatelink.one_way +1, tx +0");
    assert!(w.take("client").is_empty());
}

/// Given an endpoint group without 443, when a client connects to 443, then
/// dropped, though the service listens there.
#[test]
fn b077_the_endpoints_groups_judge_clients() {
    let mut w = privatelink();
    w.mute(&["client"]);
    w.send("client", &Packet::syn("10.0.1.10:1000", "10.0.1.100:443"));
    w.expect_counters("rx +1, drop.security_group +1, tx +0");
    let peer = vpclab::model::RulePeer::Cidr(vpclab_tests::cidr("10.0.1.0/24"));
    let ingress = vpclab::model::Direction::Ingress;
    w.allow("consumer/endpoint", ingress, Permission::tcp(443, peer));
    w.send("client", &Packet::syn("10.0.1.10:1001", "10.0.1.100:443"));
    assert!(w.take("client")[0].has(tcp_flag::SYN));
    w.expect_counters("tx +2..");
}

/// When the endpoint's address is pinged, then no reply, though its groups allow
/// ICMP.
#[test]
fn b078_an_endpoint_answers_no_ping() {
    let mut w = privatelink();
    let ping = w.host("client").ping("10.0.1.100");
    w.run_for(seconds(2));
    assert!(!ping.is_answered());
    assert!(w.host("client").icmp_errors().is_empty());
    w.expect_counters("drop.endpoint.protocol +1");
}

/// When a packet of 8501 bytes goes to the endpoint, then dropped with no ICMP;
/// 8500 passes.
#[test]
fn b079_an_endpoint_takes_8500_bytes_and_says_nothing_beyond() {
    let mut w = privatelink();
    w.mute(&["client", "server"]);
    w.take("server");
    let packet = Packet::udp("10.0.1.10:1000", "10.0.1.100:53");
    w.send("client", &packet.clone().ip_len(8500));
    assert_eq!(w.take("server")[0].headers.ip_len, 8500);
    w.expect_counters("rx +1, tx +1");
    w.send("client", &packet.ip_len(8501));
    assert!(w.take("server").is_empty());
    assert!(w.host("client").frames().is_empty(), "no ICMP");
    w.expect_counters("rx +1, drop.endpoint.mtu +1, tx +0");
}

/// Given cross-zone off and no target in the ENI's zone, then the connection
/// fails though another zone has targets; with cross-zone on it works.
#[test]
fn b082_without_cross_zone_a_node_uses_targets_of_its_zone() {
    let mut w = privatelink();
    let open = w.group("consumer/default");
    let peer = vpclab::model::RulePeer::Cidr(vpclab_tests::cidr("0.0.0.0/0"));
    w.apply(AuthorizeSecurityGroup {
        group: open,
        direction: vpclab::model::Direction::Ingress,
        permissions: vec![Permission::all(peer)],
    });
    w.mute(&["client"]);
    w.send("client", &Packet::syn("10.0.1.10:1000", "10.0.11.100:80"));
    w.expect_counters("rx +1, drop.lb.no_target +1, tx +0");
    let load_balancer_arn = w.names.load_balancers["web"].clone();
    w.apply(ModifyLoadBalancerAttributes {
        load_balancer_arn,
        cross_zone: Some(true),
        ..Default::default()
    });
    w.send("client", &Packet::syn("10.0.1.10:1001", "10.0.11.100:80"));
    let answer = w.take("client");
    assert_eq!(answer[0].from(), "10.0.11.100:80");
    assert!(answer[0].has(tcp_flag::SYN) && answer[0].has(tcp_flag::ACK));
    w.expect_counters("flow.created +1..");
}

/// Given all targets unhealthy, found so by real health checks, then
/// connections are still sent on.
#[test]
fn b083_with_all_targets_unhealthy_connections_still_go_on() {
    let unheard = "targets: server, health_check: {protocol: tcp, port: 9999}}";
    let topology = PRIVATELINK.replace(
        "port: 80, targets: server}",
        &format!("port: 80, {unheard}"),
    );
    assert_ne!(topology, PRIVATELINK);
    let mut w = world(&topology);
    let group = w.target_group("servers");
    let model = w.control().model();
    let targets = model.get(&group).unwrap().targets.clone();
    assert_eq!(targets[0].health, TargetHealth::Unhealthy);
    let conn = w.echo("client", "10.0.1.100", 80);
    assert_eq!(w.host("server").peer_of(&conn), ip("10.0.2.50"));
    w.expect_counters("flow.created +1..");
}

/// Given a TCP connection idle for 351 s, when the client sends data, then it is
/// reset; after 349 s it is carried.
#[test]
fn b081_a_connection_idle_for_350_s_is_reset_when_data_comes() {
    let mut w = privatelink();
    let conn = w.echo("client", "10.0.1.100", 80);
    w.run_for(seconds(349));
    conn.send(" again");
    w.run_until(|_| conn.received("hello again")).unwrap();
    w.run_for(seconds(351));
    w.reset_counters();
    conn.send(" late");
    w.run_for(seconds(1));
    assert!(conn.was_reset());
    assert_eq!(conn.data(), b"hello again");
    w.expect_counters("drop.lb.no_connection +1, generated +1..");
}

/// Given a load balancer's group without a rule for the client's address, when
/// rules are enforced on PrivateLink traffic (the default), then dropped; not
/// enforced, accepted.
#[test]
fn b087_the_load_balancers_groups_judge_privatelink_clients_if_enforced() {
    let topology = PRIVATELINK
        .replace(
            "      open:\n",
            "      nodes: {ingress: [{proto: tcp, ports: 80, from: 192.0.2.0/24}]}\n      open:\n",
        )
        .replace(
            "    type: network\n",
            "    type: network\n    groups: nodes\n",
        );
    let mut w = world(&topology);
    w.mute(&["client"]);
    w.send("client", &Packet::syn("10.0.1.10:1000", "10.0.1.100:80"));
    w.expect_counters("rx +1, drop.security_group +1, tx +0");
    let request = SetSecurityGroups {
        load_balancer_arn: w.names.load_balancers["web"].clone(),
        security_groups: vec![w.group("provider/nodes")],
        enforce_on_privatelink: Some(false),
    };
    w.apply(request);
    w.send("client", &Packet::syn("10.0.1.10:1001", "10.0.1.100:80"));
    assert!(w.take("client")[0].has(tcp_flag::SYN));
    w.expect_counters("tx +2..");
}
