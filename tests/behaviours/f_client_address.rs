//! F. What a network load balancer's targets see of clients that call it directly:
//! their own address, if it is kept (client IP preservation).

use vpclab::api::*;
use vpclab::model::{Direction, RulePeer};
use vpclab_dataplane::packet::{Fragment, protocol, tcp_flag};
use vpclab_dataplane::tables::TargetHealth;
use vpclab_tests::{Packet, World, cidr, ip, seconds};

use crate::fixtures::PRIVATELINK;

/// A load balancer in a subnet of its own, clients in four places: another subnet,
/// the target's own one, a peer, and on premises. The target's subnet has no route to
/// the latter two.
const DIRECT: &str = "
name: direct
vpcs:
  main:
    cidr: 10.0.0.0/16
    vgw: true
    subnets:
      clients: {cidr: 10.0.1.0/24}
      balancer: {cidr: 10.0.2.0/24, route_table: peered}
      servers: {cidr: 10.0.3.0/24}
    route_tables:
      peered: {propagate: true, routes: [{to: 10.9.0.0/16, via: to-far}]}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
      nodes: {ingress: [{proto: all, from: 0.0.0.0/0}]}
      server: {ingress: [{proto: all, from: 0.0.0.0/0}]}
  far:
    cidr: 10.9.0.0/16
    subnets: {far: {cidr: 10.9.1.0/24}}
    route_tables:
      far: {main: true, routes: [{to: 10.0.0.0/16, via: to-far}]}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
peerings:
  to-far: {vpcs: [main, far]}
on_prem:
  office: {cidrs: 192.168.0.0/16, vpn: main, hosts: {laptop: {addresses: 192.168.1.10}}}
hosts:
  client: {subnet: clients, address: 10.0.1.10, groups: main/open}
  neighbour: {subnet: servers, address: 10.0.3.11, groups: main/open}
  server: {subnet: servers, address: 10.0.3.10, groups: server}
  far: {subnet: far/far, address: 10.9.1.10, groups: far/open}
load_balancers:
  web:
    subnets: balancer
    addresses: {balancer: 10.0.2.50}
    groups: nodes
    listeners:
      - {proto: tcp, port: 80, target_group: servers}
      - {proto: udp, port: 53, target_group: names}
target_groups:
  servers: {protocol: tcp, port: 8080, targets: server, preserve_client_ip: true}
  names: {protocol: udp, port: 53, targets: server, health_check: {protocol: tcp, port: 8080}}
";

const NODE: &str = "10.0.2.50";

fn world(topology: &str) -> World {
    let mut w = World::new(topology);
    w.host("server").tcp_listen(8080).echo();
    w.healthy();
    w
}

/// [`DIRECT`] with something else in it.
fn changed(from: &str, to: &str) -> String {
    let topology = DIRECT.replace(from, to);
    assert_ne!(topology, DIRECT);
    topology
}

/// Its server's group lets in these sources only.
fn server_takes(from: &str) -> String {
    changed(
        "server: {ingress: [{proto: all, from: 0.0.0.0/0}]}",
        &format!("server: {{ingress: [{{proto: tcp, ports: 8080, from: {from}}}]}}"),
    )
}

/// Given `preserve_client_ip.enabled`, when a client in the VPC, on the target's own
/// link, in a peered VPC or on premises calls the load balancer, then the target sees the client's
/// address and port, and the client hears from the load balancer alone.
#[test]
fn a_target_sees_the_address_of_its_client() {
    let mut w = world(DIRECT);
    for (client, address, port) in [
        ("client", "10.0.1.10", 1),
        ("neighbour", "10.0.3.11", 2),
        ("far", "10.9.1.10", 3),
        ("laptop", "192.168.1.10", 4),
    ] {
        w.take(client);
        let conn = w.echo(client, NODE, 80);
        let served = w.host("server").accepted_from(&conn);
        let served = served.unwrap_or_else(|| panic!("{client} is not served"));
        assert_eq!(served.peer(), conn.local(), "{client}");
        assert_eq!(served.peer().ip(), ip(address));
        // Either end may speak, also when tables have changed in between.
        served.send(" and more");
        w.run_until(|_| conn.received("hello and more")).unwrap();
        let rule = Permission::tcp(port, RulePeer::Cidr(cidr("192.0.2.0/24")));
        w.allow("main/server", Direction::Ingress, rule);
        served.send(" again");
        let all = "hello and more again";
        w.run_until(|_| conn.received(all)).unwrap();
        let met = w.take(client);
        assert!(met.len() >= 3);
        for seen in met {
            assert_eq!(seen.from(), format!("{NODE}:80"), "{client}");
        }
    }
    w.expect_counters("flow.created +4..");
}

/// Given the default of addresses as targets, then TCP comes from the node and UDP from
/// the client; switched off, new connections come from the node and old ones stay.
#[test]
fn tcp_may_be_without_and_udp_may_not() {
    let mut w = world(&changed(", preserve_client_ip: true", ""));
    let conn = w.echo("client", NODE, 80);
    assert_eq!(w.host("server").peer_of(&conn), ip(NODE));
    let _names = w.host("server").udp_bind(53).echo();
    let query = w.host("client").udp_bind(5000);
    query.send(NODE, 53, b"query");
    w.run_until(|_| !query.received().is_empty()).unwrap();
    assert_eq!(query.received()[0].0.to_string(), format!("{NODE}:53"));
    let asked = w.host("server").udp_received();
    assert_eq!(asked[0].0.to_string(), "10.0.1.10:5000");

    let group = w.target_group("servers");
    let set = |w: &mut World, on: bool| {
        w.apply(ModifyTargetGroupAttributes {
            target_group_arn: group.clone(),
            preserve_client_ip: Some(on),
            ..Default::default()
        });
    };
    set(&mut w, true);
    let kept = w.echo("client", NODE, 80);
    assert_eq!(w.host("server").peer_of(&kept), ip("10.0.1.10"));
    set(&mut w, false);
    kept.send(" still");
    w.run_until(|_| kept.received("hello still")).unwrap();
    let next = w.echo("client", NODE, 80);
    assert_eq!(w.host("server").peer_of(&next), ip(NODE));
    w.refused(
        ModifyTargetGroupAttributes {
            target_group_arn: w.target_group("names"),
            preserve_client_ip: Some(false),
            ..Default::default()
        },
        "ValidationError",
        "UDP",
    );
}

/// Given a target's group, when the client's address is kept, then it judges that
/// address, not the node's; naming the node's group lets in what the node sends, and
/// nobody who calls the target itself (N:load-balancer-security-groups).
#[test]
fn the_targets_groups_judge_the_client_and_may_name_the_nodes_group() {
    for (from, works) in [
        ("10.0.1.0/24", true),
        ("10.0.2.0/24", false),
        ("nodes", true),
        // A group of the client's does not count behind the load balancer.
        ("main/open", false),
    ] {
        let mut w = World::new(&server_takes(from));
        w.host("server").tcp_listen(8080).echo();
        w.settle();
        w.reset_counters();
        if works {
            let conn = w.echo("client", NODE, 80);
            assert_eq!(w.host("server").peer_of(&conn), ip("10.0.1.10"));
        } else {
            w.no_connection("client", NODE, 80);
            // The last is the client's own reset when it gives up.
            w.expect_counters("drop.security_group +1.., drop.lb.no_connection +1");
        }
        if from == "nodes" {
            w.reset_counters();
            w.no_connection("client", "10.0.3.10", 8080);
            w.expect_counters("drop.security_group +1..");
        }
    }
}

/// When a target calls its own load balancer, then the connection times out.
#[test]
fn a_client_that_is_its_own_target_times_out() {
    let mut w = world(DIRECT);
    let conn = w.no_connection("server", NODE, 80);
    assert!(!conn.was_reset(), "no answer at all");
    w.expect_counters("drop.lb.hairpin +1.., drop.lb.no_connection +1");
    // Without its address it works.
    let mut w = world(&changed(", preserve_client_ip: true", ""));
    let conn = w.echo("server", NODE, 80);
    assert_eq!(w.host("server").peer_of(&conn), ip(NODE));
}

/// Whatever the group says, a client behind an endpoint is the node to the target.
#[test]
fn b074_privatelink_never_keeps_the_clients_address() {
    let keeping = PRIVATELINK.replace(
        "servers: {protocol: tcp, port: 80, ",
        "servers: {protocol: tcp, port: 80, preserve_client_ip: true, ",
    );
    assert_ne!(keeping, PRIVATELINK);
    let mut w = World::new(&keeping);
    w.host("server").tcp_listen(80).echo();
    w.healthy();
    let conn = w.echo("client", "10.0.1.100", 80);
    assert_eq!(w.host("server").peer_of(&conn), ip("10.0.2.50"));
    // Nor of UDP, which always is kept for others.
    let _names = w.host("server").udp_bind(53).echo();
    let query = w.host("client").udp_bind(5000);
    query.send("10.0.1.100", 53, b"query");
    w.run_until(|_| !query.received().is_empty()).unwrap();
    let asked = w.host("server").udp_received();
    assert_eq!(asked[0].0.ip(), ip("10.0.2.50"));
}

/// A target that turns unhealthy resets these connections too, the idle timeout
/// does, and a packet of no connection is reset at the node: nothing goes past it.
#[test]
fn b081_a_connection_whose_address_is_kept_ends_at_the_node() {
    let mut w = world(DIRECT);
    let (one, two) = (w.echo("client", NODE, 80), w.echo("far", NODE, 80));
    let served = w.host("server").accepted_from(&two).unwrap();
    w.set_health("servers", TargetHealth::Unhealthy);
    w.reset_counters();
    one.send("late");
    served.send("late");
    w.run_for(seconds(1));
    assert!(one.was_reset() && served.was_reset());
    assert_eq!(two.data(), b"hello");
    w.expect_counters("drop.lb.no_connection +2.., generated +2..");

    let mut w = world(DIRECT);
    let conn = w.echo("client", NODE, 80);
    let served = w.host("server").accepted_from(&conn).unwrap();
    w.run_for(seconds(351));
    w.mute(&["client"]);
    w.take("client");
    w.reset_counters();
    served.send("late");
    w.run_for(seconds(1));
    assert!(w.take("client").is_empty(), "nothing goes past the node");
    assert!(served.was_reset());
    w.expect_counters("drop.lb.no_connection +1..");
    w.mute(&["server"]);
    w.send("client", &Packet::ack("10.0.1.10:999", "10.0.2.50:80"));
    assert!(w.take("client")[0].has(tcp_flag::RST));
    assert!(
        w.take("server")
            .iter()
            .all(|seen| seen.from() != "10.0.1.10:999")
    );
}

/// Fragments of UDP pass, whether the address is kept (a client of the load balancer)
/// or not (one of an endpoint), and those of TCP do not.
#[test]
fn fragments_of_udp_pass_a_load_balancer_and_those_of_tcp_do_not() {
    // Later fragments, whose first was dropped, have no ports: no listener of a node
    // and no rule of an endpoint's group is for them.
    let drops = "drop.lb.fragment +1, drop.lb.no_listener +2";
    let direct = (DIRECT, NODE, "10.0.1.10", drops);
    let behind = (
        PRIVATELINK,
        "10.0.1.100",
        "10.0.2.50",
        "drop.lb.fragment +1, drop.security_group +2",
    );
    for (topology, called, seen_as, drops) in [direct, behind] {
        let mut w = World::new(topology);
        let server = w.host("server").address();
        w.mute(&["client", "server"]);
        let (host, router) = (w.host("client"), w.router_mac("client"));
        let long = |packet: Packet| packet.ip_len(1400).fragments(host.mac(), router, 600);
        let pieces = long(Packet::udp("10.0.1.10:5000", format!("{called}:53")));
        assert_eq!(pieces.len(), 3);
        w.take("server");
        w.reset_counters();
        for piece in &pieces {
            host.send_raw(piece);
        }
        w.settle();
        let mut met = w.take("server");
        // Health checks come as well.
        met.retain(|seen| seen.headers.tuple.protocol == protocol::UDP);
        assert_eq!(met.len(), 3, "{called}");
        for (seen, kind) in met
            .iter()
            .zip([Fragment::First, Fragment::Later, Fragment::Later])
        {
            assert_eq!(seen.headers.fragment, kind);
            let tuple = seen.headers.tuple;
            assert_eq!((tuple.src, tuple.dst), (ip(seen_as), server));
        }
        w.expect_counters("rx +3..");
        for piece in long(Packet::syn("10.0.1.10:5001", format!("{called}:80"))) {
            host.send_raw(&piece);
        }
        w.settle();
        w.expect_counters(&format!("rx +3.., {drops}"));
    }
}

/// Given two further addresses a node, then each has them, they are sources of
/// connections, and nobody is served there.
#[test]
fn nodes_have_further_addresses_as_sources() {
    let mut w = world(&changed(
        "    groups: nodes\n",
        "    groups: nodes\n    secondary_ips: 2\n",
    ));
    let balancer = w.names.load_balancers["web"].clone();
    let node = w.control().model().get(&balancer).unwrap().nodes[0].clone();
    let held = w.control().model().get(&node.interface).unwrap();
    let addresses: Vec<String> = held
        .addresses()
        .map(|address| address.to_string())
        .collect();
    assert_eq!(addresses, ["10.0.2.50", "10.0.2.4", "10.0.2.5"]);
    w.echo("client", NODE, 80);
    w.reset_counters();
    w.no_connection("client", "10.0.2.4", 80);
    w.expect_counters("drop.lb.no_listener +1..");
    let more = |n| ModifyLoadBalancerAttributes {
        load_balancer_arn: balancer.clone(),
        secondary_ips: Some(n),
        ..Default::default()
    };
    w.refused(more(1), "InvalidConfigurationRequest", "decreased");
    w.refused(more(8), "ValidationError", "between 0 and 7");
    w.apply(more(7));
    let held = w.control().model().get(&node.interface).unwrap();
    assert_eq!(held.private_addresses.len(), 8);
}
