//! Property: after any sequence of actions, what was compiled change by change
//! equals what a full compile of the model gives.

use proptest::prelude::*;
use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::tables::PortMatch;

use super::agreement_services;
use crate::api::testing::assert_consistent;
use crate::api::*;
use crate::model::*;
use crate::quotas::{Quota, Quotas};

/// Kind of action, and numbers to choose its parameters by.
pub(super) type Step = (u8, u8, u8, u8);

const KINDS: u8 = 36 + agreement_services::KINDS;

fn pick<T: Clone>(all: impl Iterator<Item = T>, n: u8) -> Option<T> {
    let all: Vec<T> = all.collect();
    let index = usize::from(n).checked_rem(all.len())?;
    all.get(index).cloned()
}

/// The n-th id of a kind, or one that names nothing.
pub(super) fn any<R: Resource>(control: &ControlPlane, n: u8) -> R::Id {
    let ids = R::table(control.model()).iter().map(|r| r.id().clone());
    pick(ids, n).unwrap_or_default()
}

fn block(n: u8) -> Prefix {
    let all = [
        "0.0.0.0/0",
        "10.0.0.0/16",
        "10.0.1.0/24",
        "10.0.2.0/24",
        "10.0.1.0/25",
        "203.0.113.0/24",
        "::/0",
        "10.1.0.0/16",
    ];
    pick(all.into_iter(), n).unwrap().parse().unwrap()
}

fn target(control: &ControlPlane, n: u8, m: u8) -> RouteTargetSpec {
    match n % 5 {
        0 => RouteTargetSpec::Local,
        4 => RouteTargetSpec::VpcPeeringConnection(any::<VpcPeeringConnection>(control, m)),
        1 => RouteTargetSpec::InternetGateway(any::<InternetGateway>(control, m)),
        2 => RouteTargetSpec::VpcEndpoint(any::<VpcEndpoint>(control, m)),
        _ => RouteTargetSpec::NetworkInterface(any::<NetworkInterface>(control, m)),
    }
}

fn destination(control: &ControlPlane, n: u8) -> Destination {
    match n % 9 {
        8 => Destination::PrefixList(any::<PrefixList>(control, n)),
        n => Destination::Cidr(block(n)),
    }
}

/// Executes one action; says whether it was accepted.
fn execute(c: &mut ControlPlane, (kind, a, b, d): Step) -> bool {
    let eni = any::<NetworkInterface>(c, a);
    let group = any::<SecurityGroup>(c, a);
    let table = any::<RouteTable>(c, a);
    let vpc = any::<Vpc>(c, a);
    let subnet = any::<Subnet>(c, b);
    match kind % KINDS {
        36.. => agreement_services::execute(c, (kind % KINDS - 36, a, b, d)),
        0 => c
            .execute(CreateVpc {
                cidr_block: Some(block(if b.is_multiple_of(2) { 1 } else { 7 })),
                ipv6_cidr_block: match a % 2 {
                    0 => Ipv6Block::None,
                    _ => Ipv6Block::AmazonProvided,
                },
                name: None,
            })
            .is_ok(),
        1 => c.execute(DeleteVpc { vpc }).is_ok(),
        2 | 3 => c
            .execute(CreateSubnet {
                vpc,
                cidr_block: Some(block(2 + b % 2)),
                ..CreateSubnet::default()
            })
            .is_ok(),
        4 => c.execute(DeleteSubnet { subnet }).is_ok(),
        5 => c.execute(CreateRouteTable { vpc, name: None }).is_ok(),
        6 => c.execute(DeleteRouteTable { route_table: table }).is_ok(),
        7 => c
            .execute(AssociateRouteTable {
                route_table: table,
                subnet: (d % 3 != 0).then_some(subnet),
                gateway: (d % 3 == 0).then(|| any::<InternetGateway>(c, b)),
                vpn_gateway: None,
            })
            .is_ok(),
        8 => c
            .execute(DisassociateRouteTable {
                association: any::<RouteTableAssociation>(c, a),
            })
            .is_ok(),
        9 => c
            .execute(ReplaceRouteTableAssociation {
                association: any::<RouteTableAssociation>(c, b),
                route_table: table,
            })
            .is_ok(),
        10..=12 => c
            .execute(CreateRoute {
                route_table: table,
                destination: destination(c, b),
                target: target(c, d, d / 4),
            })
            .is_ok(),
        13 => c
            .execute(ReplaceRoute {
                route_table: table,
                destination: destination(c, b),
                target: target(c, d, d / 4),
            })
            .is_ok(),
        14 => c
            .execute(DeleteRoute {
                route_table: table,
                destination: destination(c, b),
            })
            .is_ok(),
        15 => c.execute(CreateInternetGateway::default()).is_ok(),
        16 => c
            .execute(AttachInternetGateway {
                internet_gateway: any::<InternetGateway>(c, b),
                vpc,
            })
            .is_ok(),
        17 => c
            .execute(DetachInternetGateway {
                internet_gateway: any::<InternetGateway>(c, b),
                vpc,
            })
            .is_ok(),
        18..=20 => c
            .execute(CreateNetworkInterface {
                subnet,
                secondary_private_ip_address_count: u32::from(d % 3),
                ..CreateNetworkInterface::default()
            })
            .is_ok(),
        21 => c
            .execute(DeleteNetworkInterface {
                network_interface: eni,
            })
            .is_ok(),
        22 => c
            .execute(AttachNetworkInterface {
                network_interface: eni,
                host: format!("host-{}", b % 4),
                device_index: None,
                associate_public_ip_address: Some(d % 2 == 0),
            })
            .is_ok(),
        23 => c
            .execute(DetachNetworkInterface {
                network_interface: eni,
            })
            .is_ok(),
        24 => {
            let from = any::<NetworkInterface>(c, b);
            let from = c.model().get(&from).cloned();
            let moved = from.and_then(|from| from.private_addresses.last().copied());
            c.execute(AssignPrivateIpAddresses {
                network_interface: eni,
                private_ip_addresses: moved.into_iter().collect(),
                allow_reassignment: true,
                ipv4_prefix_count: u32::from(d % 2),
                ..AssignPrivateIpAddresses::default()
            })
            .is_ok()
        }
        25 => c
            .execute(ModifyNetworkInterfaceAttribute {
                network_interface: eni,
                groups: Some(vec![any::<SecurityGroup>(c, b)]),
                source_dest_check: Some(d % 2 == 0),
                ..ModifyNetworkInterfaceAttribute::default()
            })
            .is_ok(),
        26 => c.execute(AllocateAddress::default()).is_ok(),
        27 => c
            .execute(AssociateAddress {
                allocation: any::<ElasticIp>(c, b),
                network_interface: eni,
                ..AssociateAddress::default()
            })
            .is_ok(),
        28 => c
            .execute(ReleaseAddress {
                allocation: any::<ElasticIp>(c, b),
            })
            .is_ok(),
        29 => c
            .execute(CreateSecurityGroup {
                group_name: format!("group-{b}"),
                vpc,
                ..CreateSecurityGroup::default()
            })
            .is_ok(),
        30 => c.execute(DeleteSecurityGroup { group }).is_ok(),
        31 => c
            .execute(AuthorizeSecurityGroup {
                group,
                direction: Direction::Ingress,
                permissions: vec![Permission::tcp(
                    u16::from(d),
                    match d % 3 {
                        0 => RulePeer::Cidr(block(b)),
                        1 => RulePeer::Group(any::<SecurityGroup>(c, b)),
                        _ => RulePeer::PrefixList(any::<PrefixList>(c, b)),
                    },
                )],
            })
            .is_ok(),
        32 => match d % 3 {
            0 => c.execute(CreateNetworkAcl { vpc, name: None }).is_ok(),
            1 => c
                .execute(CreateNetworkAclEntry(AclEntry {
                    network_acl: any::<NetworkAcl>(c, a),
                    direction: Direction::Egress,
                    rule_number: u16::from(b) + 1,
                    allow: true,
                    protocol: None,
                    ports: PortMatch::Any,
                    cidr: block(b),
                }))
                .is_ok(),
            _ => c
                .execute(ReplaceNetworkAclAssociation {
                    association: any::<NetworkAclAssociation>(c, b),
                    network_acl: any::<NetworkAcl>(c, a),
                })
                .is_ok(),
        },
        33 => match d % 2 {
            0 => c
                .execute(CreateManagedPrefixList {
                    prefix_list_name: "list".into(),
                    entries: vec![block(5).into()],
                    max_entries: 3,
                    ..CreateManagedPrefixList::default()
                })
                .is_ok(),
            _ => c
                .execute(ModifyManagedPrefixList {
                    prefix_list: any::<PrefixList>(c, a),
                    add_entries: vec![block(b).into()],
                    ..ModifyManagedPrefixList::default()
                })
                .is_ok(),
        },
        34 => c
            .execute(DeleteManagedPrefixList {
                prefix_list: any::<PrefixList>(c, a),
            })
            .is_ok(),
        _ => match d % 3 {
            0 => c
                .execute(AssociateVpcCidrBlock {
                    vpc,
                    cidr_block: Some(block(7)),
                    ..AssociateVpcCidrBlock::default()
                })
                .is_ok(),
            1 => c
                .execute(CreateInternetHost {
                    name: "server".into(),
                    addresses: vec![[203, 0, 113, b].into()],
                })
                .is_ok(),
            _ => c
                .execute(DeleteInternetHost {
                    network_interface: eni,
                })
                .is_ok(),
        },
    }
}

fn start() -> ControlPlane {
    let mut control = ControlPlane::new(ControlPlaneOptions {
        seed: 7,
        quotas: Quotas::default(),
        ..ControlPlaneOptions::default()
    });
    for step in [(0, 0, 0, 0), (2, 0, 0, 0), (2, 1, 1, 0), (15, 0, 0, 0)] {
        execute(&mut control, step);
    }
    control
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn incremental_and_full_compile_agree(steps in prop::collection::vec(any_step(), 1..160)) {
        let mut control = start();
        for step in steps {
            let before = control.tables().load().version;
            let accepted = execute(&mut control, step);
            prop_assert!(accepted || control.tables().load().version == before);
            assert_consistent(&control);
        }
    }
}

/// A table so large that it changes in place: actions on single routes leave it
/// as a full compile would make it, and what they refuse changes nothing.
#[test]
fn routes_of_a_huge_table_change_one_by_one() {
    let mut control = start();
    control
        .quotas_mut()
        .set(Quota::RoutesPerRouteTable, 100_000);
    let subnet = any::<Subnet>(&control, 0);
    let eni = crate::api::testing::interface(&mut control, &subnet);
    let vpc = control.model().get(&subnet).unwrap().vpc.clone();
    let route_table = control
        .execute(CreateRouteTable { vpc, name: None })
        .unwrap();
    let target = RouteTargetSpec::NetworkInterface(eni);
    let block =
        |n: u32| Destination::Cidr(format!("11.{}.{}.4/30", n >> 8, n & 255).parse().unwrap());
    let create = |n: u32| CreateRoute {
        route_table: route_table.clone(),
        destination: block(n),
        target: target.clone(),
    };
    let filled = control.transact(&Caller::default(), |tx| {
        (0..14_000).try_for_each(|n| create(n).apply(tx))
    });
    filled.unwrap();
    assert_consistent(&control);
    control.execute(create(14_000)).unwrap();
    assert!(control.execute(create(14_000)).is_err());
    let delete = |n: u32| DeleteRoute {
        route_table: route_table.clone(),
        destination: block(n),
    };
    control.execute(delete(3)).unwrap();
    assert!(control.execute(delete(3)).is_err());
    let destination = Destination::Cidr(block_of("11.0.0.0/10"));
    let wide = CreateRoute {
        destination: destination.clone(),
        ..create(0)
    };
    control.execute(wide).unwrap();
    let gateway = any::<InternetGateway>(&control, 0);
    let attach = AttachInternetGateway {
        internet_gateway: gateway.clone(),
        vpc: control.model().get(&route_table).unwrap().vpc.clone(),
    };
    control.execute(attach).unwrap();
    let replace = ReplaceRoute {
        route_table: route_table.clone(),
        destination,
        target: RouteTargetSpec::InternetGateway(gateway),
    };
    control.execute(replace).unwrap();
    assert_consistent(&control);
}

fn block_of(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn any_step() -> impl Strategy<Value = Step> {
    (
        0..KINDS,
        proptest::num::u8::ANY,
        proptest::num::u8::ANY,
        proptest::num::u8::ANY,
    )
}

/// The property above says nothing unless most kinds of action are accepted at
/// some point.
#[test]
fn the_random_actions_reach_every_kind() {
    let mut accepted = std::collections::BTreeSet::new();
    let mut numbers = crate::model::Minter::new(11);
    for _ in 0..60 {
        let mut control = start();
        for _ in 0..160 {
            let [kind, a, b, d, ..] = numbers.next_number().to_be_bytes();
            if execute(&mut control, (kind % KINDS, a, b, d)) {
                accepted.insert(kind % KINDS);
            }
        }
        assert_consistent(&control);
    }
    let never: Vec<u8> = (0..KINDS).filter(|kind| !accepted.contains(kind)).collect();
    assert_eq!(never, Vec::<u8>::new());
}
