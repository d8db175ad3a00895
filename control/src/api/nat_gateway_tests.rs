use super::super::testing::*;
use super::super::*;
use super::*;

/// A public subnet's VPC with an internet gateway, and two Elastic IPs.
fn lab() -> (ControlPlane, VpcId, SubnetId, [AllocationId; 2]) {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    internet_gateway(&mut control, &vpc);
    let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
    let allocate = |control: &mut ControlPlane| {
        let made = control.execute(AllocateAddress::default());
        made.unwrap().allocation
    };
    let elastic = [allocate(&mut control), allocate(&mut control)];
    (control, vpc, subnet, elastic)
}

fn public(subnet: &SubnetId, elastic: &AllocationId) -> CreateNatGateway {
    CreateNatGateway {
        subnet: subnet.clone(),
        allocation: Some(elastic.clone()),
        ..CreateNatGateway::default()
    }
}

fn private(subnet: &SubnetId) -> CreateNatGateway {
    CreateNatGateway {
        subnet: subnet.clone(),
        connectivity: Connectivity::Private,
        ..CreateNatGateway::default()
    }
}

fn held(control: &ControlPlane, id: &NatGatewayId) -> Arc<NetworkInterface> {
    let gateway = control.model().get(id).unwrap();
    let interface = gateway.interface.as_ref().unwrap();
    control.model().get(interface).unwrap().clone()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn a_gateway_has_an_interface_and_an_elastic_ip_until_it_is_deleted() {
    let (mut control, vpc, subnet, [elastic, _]) = lab();
    let id = control.execute(public(&subnet, &elastic)).unwrap();
    let interface = held(&control, &id);
    assert!(interface.requester_managed && interface.groups.is_empty());
    assert!(!interface.source_dest_check);
    assert_eq!(interface.private_addresses, [ip("10.0.1.4")]);
    let association = control.model().get(&elastic).unwrap().association.clone();
    let association = association.unwrap();
    assert_eq!(association.interface, interface.id);
    // Neither the interface nor its address is for others.
    for error in [
        control
            .execute(DeleteNetworkInterface {
                network_interface: interface.id.clone(),
            })
            .unwrap_err(),
        control
            .execute(DisassociateAddress {
                association: association.id.to_string(),
            })
            .unwrap_err(),
        control
            .execute(AssociateAddress {
                allocation: elastic.clone(),
                network_interface: interface.id.clone(),
                ..AssociateAddress::default()
            })
            .unwrap_err(),
    ] {
        assert_eq!(error.code, "OperationNotPermitted", "{error}");
    }
    let table = control
        .execute(CreateRouteTable {
            vpc: vpc.clone(),
            name: None,
        })
        .unwrap();
    let route = CreateRoute {
        route_table: table.clone(),
        destination: Destination::Cidr(cidr("0.0.0.0/0")),
        target: RouteTargetSpec::NatGateway(id.clone()),
    };
    control.execute(route.clone()).unwrap();
    let v6 = CreateRoute {
        destination: Destination::Cidr(cidr("::/0")),
        ..route
    };
    refused(&mut control, v6, "InvalidParameterValue", id.as_str());
    assert_consistent(&control);
    let resolve = |control: &ControlPlane| {
        let target = RouteTargetSpec::NatGateway(id.clone());
        crate::compile::route::resolve(control.model(), &vpc, &target)
    };
    use vpclab_dataplane::tables::RouteTarget;
    assert!(matches!(resolve(&control), RouteTarget::Eni(_)));
    let delete = DeleteNatGateway {
        nat_gateway: id.clone(),
    };
    control.execute(delete.clone()).unwrap();
    assert_eq!(resolve(&control), RouteTarget::Blackhole);
    assert!(control.model().get(&elastic).unwrap().association.is_none());
    assert_consistent(&control);
    refused(&mut control, delete, "NatGatewayNotFound", id.as_str());
}

#[test]
fn addresses_of_a_public_gateway_come_and_go_but_for_the_first() {
    let (mut control, _, subnet, [first, second]) = lab();
    let id = control.execute(public(&subnet, &first)).unwrap();
    let associate = AssociateNatGatewayAddress {
        nat_gateway: id.clone(),
        allocations: vec![second.clone()],
        private_ips: vec![ip("10.0.1.77")],
    };
    let private = control.execute(associate.clone()).unwrap();
    assert_eq!(private, [ip("10.0.1.77")]);
    let code = "AddressLimitExceeded";
    refused(&mut control, associate.clone(), code, "Elastic IP");
    control.quotas_mut().set(Quota::ElasticIpsPerNatGateway, 8);
    let code = "Resource.AlreadyAssociated";
    refused(&mut control, associate, code, second.as_str());
    assert_consistent(&control);
    let association = |control: &ControlPlane, id: &AllocationId| {
        let held = control.model().get(id).unwrap().association.clone();
        held.unwrap().id.to_string()
    };
    let end = |association: String| DisassociateNatGatewayAddress {
        nat_gateway: id.clone(),
        associations: vec![association],
    };
    let primary = end(association(&control, &first));
    refused(&mut control, primary, "InvalidParameterValue", "10.0.1.4");
    let more = end(association(&control, &second));
    control.execute(more.clone()).unwrap();
    assert_eq!(held(&control, &id).private_addresses, [ip("10.0.1.4")]);
    refused(
        &mut control,
        more,
        "InvalidAssociationID.NotFound",
        id.as_str(),
    );
    let assign = AssignPrivateNatGatewayAddress {
        nat_gateway: id.clone(),
        count: 1,
        ..AssignPrivateNatGatewayAddress::default()
    };
    refused(&mut control, assign, "InvalidParameter", id.as_str());
    assert_consistent(&control);
}

#[test]
fn a_private_gateway_has_up_to_eight_addresses() {
    let (mut control, _, subnet, [elastic, _]) = lab();
    let wrong = CreateNatGateway {
        allocation: Some(elastic.clone()),
        ..private(&subnet)
    };
    let code = "InvalidParameterCombination";
    refused(&mut control, wrong, code, "AllocationId");
    let id = control.execute(private(&subnet)).unwrap();
    let assign = |count| AssignPrivateNatGatewayAddress {
        nat_gateway: id.clone(),
        private_ips: Vec::new(),
        count,
    };
    let code = "PrivateIpAddressLimitExceeded";
    refused(&mut control, assign(8), code, "NAT gateway");
    let given = control.execute(assign(7)).unwrap();
    assert_eq!(given.len(), 7);
    let end = UnassignPrivateNatGatewayAddress {
        nat_gateway: id.clone(),
        private_ips: vec![given[0]],
    };
    control.execute(end.clone()).unwrap();
    let address = given[0].to_string();
    refused(&mut control, end, "InvalidParameterValue", &address);
    assert_eq!(held(&control, &id).private_addresses.len(), 7);
    let associate = AssociateNatGatewayAddress {
        nat_gateway: id.clone(),
        allocations: vec![elastic],
        private_ips: Vec::new(),
    };
    refused(&mut control, associate, "InvalidParameter", id.as_str());
    assert_consistent(&control);
}

#[test]
fn what_aws_finds_out_late_is_refused_or_makes_a_failed_gateway() {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let subnet = subnet(&mut control, &vpc, "10.0.1.0/24");
    let elastic = control.execute(AllocateAddress::default()).unwrap();
    let create = public(&subnet, &elastic.allocation);
    refused(
        &mut control,
        create.clone(),
        "Gateway.NotAttached",
        vpc.as_str(),
    );
    let keep = CreateNatGateway {
        keep_failed: true,
        ..create
    };
    let id = control.execute(keep).unwrap();
    let gateway = control.model().get(&id).unwrap().clone();
    assert_eq!(gateway.state(), "failed");
    assert!(
        gateway
            .failure
            .as_ref()
            .unwrap()
            .message
            .contains(vpc.as_str())
    );
    let elastic = control.model().get(&elastic.allocation).unwrap();
    assert!(elastic.association.is_none());
    let code = "IncorrectState";
    let assign = AssignPrivateNatGatewayAddress {
        nat_gateway: id.clone(),
        count: 1,
        ..AssignPrivateNatGatewayAddress::default()
    };
    refused(&mut control, assign, code, "failed");
    // It keeps nothing from being deleted.
    control.execute(DeleteSubnet { subnet }).unwrap();
    control
        .execute(DeleteNatGateway { nat_gateway: id })
        .unwrap();
    assert_consistent(&control);
}

#[test]
fn a_subnet_with_a_gateway_stays_and_a_zone_holds_five() {
    let (mut control, _, subnet, _) = lab();
    for _ in 0..5 {
        control.execute(private(&subnet)).unwrap();
    }
    refused(
        &mut control,
        private(&subnet),
        "NatGatewayLimitExceeded",
        "NAT gateways",
    );
    let delete = DeleteSubnet {
        subnet: subnet.clone(),
    };
    refused(&mut control, delete, "DependencyViolation", subnet.as_str());
    assert_consistent(&control);
}
