//! Tests of route actions.

use vpclab_dataplane::tables::RouteTarget;

use super::super::testing::*;
use super::super::*;
use super::*;

struct Fixture {
    control: ControlPlane,
    vpc: VpcId,
    table: RouteTableId,
    eni: NetworkInterfaceId,
    igw: InternetGatewayId,
    vpce: VpcEndpointId,
}

/// VPC 10.0.0.0/16 with subnet 10.0.1.0/24.
fn lab() -> Fixture {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
    let eni = interface(&mut control, &subnet);
    let igw = internet_gateway(&mut control, &vpc);
    let vpce = gateway_endpoint(&mut control, &vpc);
    let request = CreateRouteTable {
        vpc: vpc.clone(),
        name: None,
    };
    let table = control.execute(request).unwrap();
    Fixture {
        control,
        vpc,
        table,
        eni,
        igw,
        vpce,
    }
}

impl Fixture {
    fn create(&self, block: &str, target: RouteTargetSpec) -> CreateRoute {
        CreateRoute {
            route_table: self.table.clone(),
            destination: Destination::Cidr(cidr(block)),
            target,
        }
    }

    fn replace(&self, block: &str, target: RouteTargetSpec) -> ReplaceRoute {
        ReplaceRoute {
            route_table: self.table.clone(),
            destination: Destination::Cidr(cidr(block)),
            target,
        }
    }

    fn to_eni(&self) -> RouteTargetSpec {
        RouteTargetSpec::NetworkInterface(self.eni.clone())
    }

    fn to_igw(&self) -> RouteTargetSpec {
        RouteTargetSpec::InternetGateway(self.igw.clone())
    }

    fn to_vpce(&self) -> RouteTargetSpec {
        RouteTargetSpec::VpcEndpoint(self.vpce.clone())
    }

    #[track_caller]
    fn refused<A: Action>(&mut self, action: A, value: &str)
    where
        A::Output: std::fmt::Debug,
    {
        refused(&mut self.control, action, "InvalidParameterValue", value);
    }

    fn target(&self, address: &str) -> Option<RouteTarget> {
        let tables = self.control.tables().snapshot();
        let row = self.control.model().row(&self.table).unwrap();
        let table = tables.route_tables.row(row).unwrap();
        let hit = table.lookup(address.parse().unwrap());
        hit.map(|hit| hit.route.target.clone())
    }

    fn edge(&mut self) {
        let request = AssociateRouteTable {
            route_table: self.table.clone(),
            subnet: None,
            gateway: Some(self.igw.clone()),
            vpn_gateway: None,
        };
        self.control.execute(request).unwrap();
    }
}

#[test]
fn b015_routes_into_the_host_services_ranges_are_refused() {
    let mut f = lab();
    for bad in [
        "169.254.168.0/24",
        "169.254.168.0/22",
        "fd00:ec2::/32",
        "fd00:ec2::254/128",
    ] {
        let request = f.create(bad, f.to_eni());
        f.refused(request, bad);
    }
    let wider = f.create("169.254.0.0/16", f.to_eni());
    f.control.execute(wider).unwrap();
}

#[test]
fn b025_half_a_subnet_is_refused() {
    let mut f = lab();
    let half = f.create("10.0.1.0/25", f.to_eni());
    f.refused(half, "10.0.1.0/25");
    let no_subnet = f.create("10.0.2.0/24", f.to_vpce());
    f.refused(no_subnet, "10.0.2.0/24");
    let whole = f.create("10.0.1.0/24", f.to_eni());
    f.control.execute(whole).unwrap();
    let eni = f.control.model().row(&f.eni).unwrap().into();
    assert_eq!(f.target("10.0.1.9"), Some(RouteTarget::Eni(eni)));
    assert_eq!(f.target("10.0.2.9"), Some(RouteTarget::Local));
    assert_consistent(&f.control);
}

#[test]
fn b026_a_route_inside_the_vpc_to_the_internet_gateway_is_refused() {
    let mut f = lab();
    let request = f.create("10.0.1.0/24", f.to_igw());
    f.refused(request, "10.0.1.0/24");
}

#[test]
fn b027_deleting_the_target_interface_leaves_a_blackhole() {
    let mut f = lab();
    let default = f.create("0.0.0.0/0", f.to_igw());
    f.control.execute(default).unwrap();
    let by_eni = f.create("203.0.113.0/24", f.to_eni());
    f.control.execute(by_eni).unwrap();
    let network_interface = f.eni.clone();
    f.control
        .execute(DetachNetworkInterface { network_interface })
        .unwrap();
    assert_eq!(f.target("203.0.113.1"), Some(RouteTarget::Blackhole));
    let network_interface = f.eni.clone();
    f.control
        .execute(DeleteNetworkInterface { network_interface })
        .unwrap();
    assert_eq!(f.target("203.0.113.1"), Some(RouteTarget::Blackhole));
    assert_eq!(f.target("203.0.114.1"), Some(RouteTarget::InternetGateway));
    // The row that the interface had is free; whoever gets it is not the target.
    let subnet = f.control.model().subnets().iter().find(|s| s.vpc == f.vpc);
    let subnet = subnet.unwrap().id.clone();
    interface(&mut f.control, &subnet);
    assert_eq!(f.target("203.0.113.1"), Some(RouteTarget::Blackhole));
    assert_consistent(&f.control);
}

#[test]
fn a_detached_gateway_leaves_a_blackhole_and_comes_back() {
    let mut f = lab();
    let default = f.create("0.0.0.0/0", f.to_igw());
    f.control.execute(default).unwrap();
    let detach = DetachInternetGateway {
        internet_gateway: f.igw.clone(),
        vpc: f.vpc.clone(),
    };
    f.control.execute(detach).unwrap();
    assert_eq!(f.target("8.8.8.8"), Some(RouteTarget::Blackhole));
    let attach = AttachInternetGateway {
        internet_gateway: f.igw.clone(),
        vpc: f.vpc.clone(),
    };
    f.control.execute(attach).unwrap();
    assert_eq!(f.target("8.8.8.8"), Some(RouteTarget::InternetGateway));
    assert_consistent(&f.control);
}

#[test]
fn b030_a_gateway_table_takes_no_prefix_list_and_leads_to_middleboxes_only() {
    let mut f = lab();
    let list = prefix_list(&mut f.control, &["10.0.1.0/24"], 1);
    f.edge();
    let by_list = CreateRoute {
        destination: Destination::PrefixList(list.clone()),
        ..f.create("10.0.1.0/24", f.to_eni())
    };
    f.refused(by_list, list.as_str());
    let outside = f.create("203.0.113.0/24", f.to_eni());
    f.refused(outside, "203.0.113.0/24");
    let gateway = f.create("0.0.0.0/0", f.to_igw());
    let igw = f.igw.to_string();
    f.refused(gateway, &igw);
    let app = f.create("10.0.1.0/24", f.to_vpce());
    f.control.execute(app).unwrap();
    assert_consistent(&f.control);
}

#[test]
fn b030_a_table_with_other_routes_cannot_become_a_gateways() {
    let mut f = lab();
    let default = f.create("0.0.0.0/0", f.to_igw());
    f.control.execute(default).unwrap();
    let request = AssociateRouteTable {
        route_table: f.table.clone(),
        subnet: None,
        gateway: Some(f.igw.clone()),
        vpn_gateway: None,
    };
    let igw = f.igw.to_string();
    f.refused(request, &igw);
}

#[test]
fn b031_a_prefix_list_route_to_an_endpoint_is_refused() {
    let mut f = lab();
    let list = prefix_list(&mut f.control, &["203.0.113.0/24"], 1);
    let by_list = |target| CreateRoute {
        route_table: f.table.clone(),
        destination: Destination::PrefixList(list.clone()),
        target,
    };
    let (bad, good) = (by_list(f.to_vpce()), by_list(f.to_eni()));
    f.refused(
        bad.clone(),
        "Cannot create or replace a prefix list route targeting a VPC Endpoint",
    );
    f.control.execute(good).unwrap();
    let replace = ReplaceRoute {
        route_table: bad.route_table,
        destination: bad.destination,
        target: bad.target,
    };
    f.refused(replace, list.as_str());
}

#[test]
fn a_changed_prefix_list_changes_the_tables_that_name_it() {
    let mut f = lab();
    let list = prefix_list(&mut f.control, &["203.0.113.0/24"], 2);
    let route = CreateRoute {
        destination: Destination::PrefixList(list.clone()),
        ..f.create("0.0.0.0/0", f.to_eni())
    };
    f.control.execute(route).unwrap();
    assert!(f.target("203.0.113.1").is_some());
    assert!(f.target("198.51.100.1").is_none());
    let change = ModifyManagedPrefixList {
        prefix_list: list,
        add_entries: vec![cidr("198.51.100.0/24").into()],
        remove_entries: vec![cidr("203.0.113.0/24")],
        ..ModifyManagedPrefixList::default()
    };
    f.control.execute(change).unwrap();
    assert!(f.target("203.0.113.1").is_none());
    assert!(f.target("198.51.100.1").is_some());
    assert_consistent(&f.control);
}

#[test]
fn b034_a_route_beyond_the_quota_is_refused_and_a_prefix_list_counts_by_its_maximum() {
    let mut f = lab();
    let list = prefix_list(&mut f.control, &["203.0.113.0/24"], 498);
    let by_list = CreateRoute {
        destination: Destination::PrefixList(list.clone()),
        ..f.create("0.0.0.0/0", f.to_eni())
    };
    f.control.execute(by_list).unwrap();
    for block in ["100.1.0.0/24", "100.1.1.0/24"] {
        let request = f.create(block, f.to_eni());
        f.control.execute(request).unwrap();
    }
    let more = f.create("100.1.2.0/24", f.to_eni());
    let code = "RouteLimitExceeded";
    refused(&mut f.control, more.clone(), code, "Routes per route table");
    let v6 = f.create("2001:db8:1::/48", f.to_eni());
    f.control.execute(v6).expect("families count apart");
    let grow = ModifyManagedPrefixList {
        prefix_list: list,
        max_entries: Some(499),
        ..ModifyManagedPrefixList::default()
    };
    refused(&mut f.control, grow, code, "Routes per route table");
    f.control
        .quotas_mut()
        .set(Quota::RoutesPerRouteTable, 1_000);
    f.control.execute(more).unwrap();
}

#[test]
fn a_local_route_cannot_go_but_can_lead_to_a_middlebox_and_back() {
    let mut f = lab();
    let delete = DeleteRoute {
        route_table: f.table.clone(),
        destination: Destination::Cidr(cidr("10.0.0.0/16")),
    };
    f.refused(delete, "10.0.0.0/16");
    let igw = f.replace("10.0.0.0/16", f.to_igw());
    let named = f.igw.to_string();
    f.refused(igw, &named);
    let away = f.replace("10.0.0.0/16", f.to_eni());
    f.control.execute(away).unwrap();
    let eni = f.control.model().row(&f.eni).unwrap().into();
    assert_eq!(f.target("10.0.9.9"), Some(RouteTarget::Eni(eni)));
    let back = f.replace("10.0.0.0/16", RouteTargetSpec::Local);
    f.control.execute(back).unwrap();
    assert_eq!(f.target("10.0.9.9"), Some(RouteTarget::Local));
    let other = f.create("192.0.2.0/24", RouteTargetSpec::Local);
    f.refused(other, "192.0.2.0/24");
    assert_consistent(&f.control);
}

#[test]
fn routes_exist_once_and_are_found_by_destination() {
    let mut f = lab();
    let request = f.create("0.0.0.0/0", f.to_igw());
    f.control.execute(request.clone()).unwrap();
    refused(&mut f.control, request, "RouteAlreadyExists", "0.0.0.0/0");
    let local = f.create("10.0.0.0/16", f.to_eni());
    refused(&mut f.control, local, "RouteAlreadyExists", "10.0.0.0/16");
    let absent = f.replace("192.0.2.0/24", f.to_eni());
    f.refused(absent, "192.0.2.0/24");
    let delete = DeleteRoute {
        route_table: f.table.clone(),
        destination: Destination::Cidr(cidr("0.0.0.0/0")),
    };
    f.control.execute(delete.clone()).unwrap();
    refused(&mut f.control, delete, "InvalidRoute.NotFound", "0.0.0.0/0");
}

#[test]
fn targets_of_another_vpc_and_service_interfaces_are_refused() {
    let mut f = lab();
    let other = vpc_with(&mut f.control, "10.1.0.0/16");
    let foreign = internet_gateway(&mut f.control, &other);
    let to_foreign = RouteTargetSpec::InternetGateway(foreign.clone());
    let request = f.create("0.0.0.0/0", to_foreign);
    f.refused(request, foreign.as_str());
    let subnet = f.control.model().get(&f.eni).unwrap().subnet.clone();
    let kind = InterfaceKind::GatewayEndpoint(f.vpce.clone());
    let service = f
        .control
        .execute(RequesterManagedInterface::new(kind, subnet))
        .unwrap();
    let to_service = RouteTargetSpec::NetworkInterface(service.clone());
    let request = f.create("0.0.0.0/0", to_service);
    f.refused(request, service.as_str());
    let nobody = RouteTargetSpec::VpcEndpoint("vpce-00000000".into());
    let request = f.create("0.0.0.0/0", nobody);
    let code = "InvalidVpcEndpointId.NotFound";
    refused(&mut f.control, request, code, "vpce-00000000");
}
