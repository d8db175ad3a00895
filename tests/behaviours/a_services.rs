//! A. Services on the link: resolver, metadata, time, DHCP.

use vpclab::api::ModifyVpcAttribute;
use vpclab_dataplane::addr::Mac;
use vpclab_tests::{Packet, World};

use crate::fixtures::{FIREWALLS, INSPECTION};

/// Nothing is allowed, in or out: no group has a rule, the ACL is empty.
const CLOSED: &str = "
name: closed
vpcs:
  main:
    cidr: 10.0.0.0/16
    ipv6: 2001:db8:1::/56
    subnets:
      left: {cidr: 10.0.1.0/24, ipv6: '2001:db8:1:1::/64', network_acl: closed}
    network_acls:
      closed: {}
    security_groups:
      closed: {egress: []}
hosts:
  a: {subnet: left, address: 10.0.1.10, ipv6: '2001:db8:1:1::a', groups: closed}
  b: {subnet: left, address: 10.0.1.11, groups: closed}
";

/// A query for A records of a name, made by hand (RFC 1035 §4.1).
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// Asks by UDP; the answers' senders and bytes.
pub(crate) fn ask(w: &mut World, host: &str, server: &str, name: &str) -> Vec<(String, Vec<u8>)> {
    let socket = w.lab.host(host).udp_bind(5353);
    let before = socket.received().len();
    socket.send(server, 53, &query(77, name));
    // A host looks for its router first.
    w.lab.run_for(vpclab_tests::seconds(2));
    let all = socket.received();
    let new = all.iter().skip(before);
    new.map(|(from, bytes)| (from.to_string(), bytes.clone()))
        .collect()
}

/// Given a group and an ACL that allow nothing, when the host asks VPC+2,
/// 169.254.169.253 or fd00:ec2::253, then it is answered.
#[test]
fn b011_the_resolver_answers_past_groups_and_acls() {
    let mut w = World::new(CLOSED);
    for (server, from) in [
        ("10.0.0.2", "10.0.0.2:53"),
        ("169.254.169.253", "169.254.169.253:53"),
        ("fd00:ec2::253", "[fd00:ec2::253]:53"),
    ] {
        let answers = ask(&mut w, "a", server, "ip-10-0-1-11.ec2.internal");
        let [(sender, bytes)] = &answers[..] else {
            panic!("{server}: {answers:?}");
        };
        assert_eq!(sender, from);
        assert_eq!(bytes[..2], 77u16.to_be_bytes());
        assert_eq!(bytes[2..4], [0x81, 0x80], "an answer without error");
        assert_eq!(bytes[bytes.len() - 4..], [10, 0, 1, 11]);
    }
    // By TCP, too.
    let conn = w.lab.host("a").tcp_connect("10.0.0.2", 53);
    let asked = query(78, "ip-10-0-1-10.ec2.internal");
    let len = (asked.len() as u16).to_be_bytes();
    conn.send([&len[..], &asked].concat());
    w.lab
        .run_until(|_| conn.data().ends_with(&[10, 0, 1, 10]))
        .unwrap();
    // Nothing else gets out.
    w.lab.reset_counters();
    assert!(ask(&mut w, "a", "10.0.1.11", "ip-10-0-1-11.ec2.internal").is_empty());
    w.expect_counters("drop.security_group +1");
}

/// When one interface sends 1500 packets in a second to DNS, metadata and time
/// together, then 1024 are served.
#[test]
fn b012_an_interface_is_served_1024_packets_a_second() {
    let mut w = World::new(CLOSED);
    w.mute(&["a"]);
    let (a, router) = (w.lab.host("a"), w.router_mac("a"));
    let asked = query(1, "ip-10-0-1-11.ec2.internal");
    let mut ntp = vec![0; 48];
    ntp[0] = 0x23;
    let kinds = [
        Packet::udp("10.0.1.10:4000", "10.0.0.2:53").payload(&asked),
        Packet::udp("10.0.1.10:4000", "169.254.169.123:123").payload(&ntp),
        Packet::syn("10.0.1.10:4000", "169.254.169.254:80"),
    ];
    for n in 0..1500 {
        a.send_raw(&kinds[n % 3].frame(a.mac(), router));
    }
    w.settle();
    w.expect_counters("rx +1500, local +1024, drop.local.rate +476");
    // Others have a second of their own, and so does the next one.
    let [(_, bytes)] = &ask(&mut w, "b", "10.0.0.2", "ip-10-0-1-11.ec2.internal")[..] else {
        panic!("b is not answered");
    };
    assert_eq!(bytes[3] & 15, 0);
    w.lab.run_for(vpclab_tests::seconds(1));
    w.lab.reset_counters();
    a.send_raw(&kinds[0].frame(a.mac(), router));
    w.settle();
    w.expect_exact_counters("rx +1, flow.misses +1, local +1, generated +1, tx +1");
}

/// Given enableDnsSupport off, when VPC+2 is asked, then no answer.
#[test]
fn b013_without_dns_support_the_resolver_is_silent() {
    let mut w = World::new(CLOSED);
    let set = |w: &mut World, on| {
        let request = ModifyVpcAttribute {
            vpc: w.vpc("main"),
            enable_dns_support: Some(on),
            ..ModifyVpcAttribute::default()
        };
        w.apply(request);
        w.lab.reset_counters();
    };
    set(&mut w, false);
    for server in ["10.0.0.2", "169.254.169.253", "fd00:ec2::253"] {
        let answers = ask(&mut w, "a", server, "ip-10-0-1-11.ec2.internal");
        assert!(answers.is_empty(), "{server}: {answers:?}");
    }
    w.expect_counters("drop.local.resolver_off +3");
    set(&mut w, true);
    let answers = ask(&mut w, "a", "10.0.0.2", "ip-10-0-1-11.ec2.internal");
    assert_eq!(answers.len(), 1);
}

/// Given 0.0.0.0/0 → GWLBE, when the host contacts 169.254.169.254, then no
/// packet reaches the gateway load balancer, and the host is answered.
#[test]
fn b014_metadata_never_goes_by_a_route() {
    let mut w = World::new(INSPECTION);
    w.mute(&FIREWALLS);
    let conn = w.lab.host("app").tcp_connect("169.254.169.254", 80);
    conn.send("GET /latest/meta-data/local-ipv4 HTTP/1.1\r\nHost: metadata\r\n\r\n");
    w.lab
        .run_until(|_| conn.data().ends_with(b"10.1.1.10"))
        .unwrap();
    assert!(conn.received("HTTP/1.1 200 OK\r\n"));
    w.settle();
    for fw in FIREWALLS {
        let seen = w.take(fw);
        assert!(
            seen.iter().all(|seen| !seen.to().ends_with(":6081")),
            "{fw}: {seen:?}"
        );
    }

    // What is no service's is dropped there, and not routed either.
    w.lab.reset_counters();
    w.send("app", &Packet::udp("10.1.1.10:9", "169.254.169.254:9"));
    w.send("app", &Packet::udp("10.1.1.10:9", "169.254.168.1:9"));
    w.expect_counters("drop.local.not_answered +2");
}

/// A DHCP client without an address is offered its interface's, by the router,
/// whatever the groups say; a neighbour hears nothing of it.
#[test]
fn dhcp_gives_an_interface_its_own_address() {
    let mut w = World::new(CLOSED);
    w.mute(&["a", "b"]);
    let a = w.lab.host("a");
    let mut asked = vec![0; 240];
    asked[..8].copy_from_slice(b"\x01\x01\x06\x00xid!");
    asked[28..34].copy_from_slice(&a.mac().0);
    asked[236..].copy_from_slice(&[99, 130, 83, 99]);
    asked.extend([53, 1, 1, 255]);
    let packet = Packet::udp("0.0.0.0:68", "255.255.255.255:67").payload(&asked);
    w.send_to_mac("a", Mac::BROADCAST, &packet);
    let seen = w.take("a");
    let [offer] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (offer.from(), offer.to()),
        ("10.0.1.1:67".into(), "10.0.1.10:68".into())
    );
    assert_eq!(offer.payload()[16..20], [10, 0, 1, 10]);
    assert!(w.take("b").is_empty());
    w.expect_exact_counters("rx +1, flow.misses +1, local +1, generated +1, tx +1");
}
