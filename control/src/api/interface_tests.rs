//! Tests of interface actions.

use super::super::testing::*;
use super::super::*;
use super::*;

fn lab(block: &str) -> (ControlPlane, SubnetId) {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let subnet = subnet(&mut control, &vpc, block);
    (control, subnet)
}

fn at(subnet: &SubnetId, address: &str) -> CreateNetworkInterface {
    CreateNetworkInterface {
        subnet: subnet.clone(),
        private_ip_address: Some(address.parse().unwrap()),
        ..CreateNetworkInterface::default()
    }
}

fn any(subnet: &SubnetId) -> CreateNetworkInterface {
    CreateNetworkInterface {
        subnet: subnet.clone(),
        ..CreateNetworkInterface::default()
    }
}

#[test]
fn b001_reserved_addresses_are_refused() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    for reserved in ["10.0.1.0", "10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.255"] {
        let request = at(&subnet, reserved);
        refused(&mut control, request, "InvalidParameterValue", reserved);
    }
    let eni = control.execute(at(&subnet, "10.0.1.4")).unwrap();
    assert_eq!(
        control.model().get(&eni).unwrap().primary(),
        Some("10.0.1.4".parse().unwrap())
    );
}

#[test]
fn b002_the_twelfth_interface_of_a_28_fails() {
    let (mut control, subnet) = lab("10.0.1.16/28");
    let mut seen = Vec::new();
    for _ in 0..11 {
        let eni = control.execute(any(&subnet)).unwrap();
        seen.push(control.model().get(&eni).unwrap().primary().unwrap());
    }
    seen.dedup();
    assert_eq!(seen.first().unwrap().to_string(), "10.0.1.20");
    assert_eq!(seen.last().unwrap().to_string(), "10.0.1.30");
    assert_eq!(seen.len(), 11);
    let code = "InsufficientFreeAddressesInSubnet";
    refused(&mut control, any(&subnet), code, subnet.as_str());
    assert_consistent(&control);
}

#[test]
fn a_freed_address_is_chosen_again() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    let first = control.execute(any(&subnet)).unwrap();
    control.execute(any(&subnet)).unwrap();
    let delete = DeleteNetworkInterface {
        network_interface: first,
    };
    control.execute(delete).unwrap();
    let third = control.execute(any(&subnet)).unwrap();
    let primary = control.model().get(&third).unwrap().primary();
    assert_eq!(primary, Some("10.0.1.4".parse().unwrap()));
    assert_consistent(&control);
}

#[test]
fn foreign_and_used_addresses_are_refused() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    let outside = at(&subnet, "10.0.2.9");
    refused(&mut control, outside, "InvalidParameterValue", "10.0.2.9");
    control.execute(at(&subnet, "10.0.1.9")).unwrap();
    let twice = at(&subnet, "10.0.1.9");
    refused(&mut control, twice, "InvalidIPAddress.InUse", "10.0.1.9");
    let no_v6 = CreateNetworkInterface {
        ipv6_address_count: Some(1),
        ..any(&subnet)
    };
    refused(
        &mut control,
        no_v6,
        "InvalidParameterValue",
        subnet.as_str(),
    );
}

#[test]
fn an_interface_without_groups_gets_the_default_one() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    let eni = control.execute(any(&subnet)).unwrap();
    let model = control.model();
    let interface = model.get(&eni).unwrap();
    let vpc = model.get(&interface.vpc).unwrap();
    assert_eq!(interface.groups, vec![vpc.default_security_group.clone()]);
    let row = model.row(&eni).unwrap();
    let tables = control.tables().snapshot();
    let row = tables.enis.row(row).unwrap();
    assert_eq!(row.mtu, 9001);
    assert!(row.source_dest_check && !row.attached);
}

#[test]
fn groups_of_another_vpc_or_too_many_are_refused() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    let other = vpc_with(&mut control, "10.9.0.0/16");
    let foreign = control.model().get(&other).unwrap();
    let foreign = foreign.default_security_group.clone();
    let request = CreateNetworkInterface {
        groups: vec![foreign.clone()],
        ..any(&subnet)
    };
    refused(
        &mut control,
        request,
        "InvalidGroup.NotFound",
        foreign.as_str(),
    );
    let eni = control.execute(any(&subnet)).unwrap();
    let own = control.model().get(&eni).unwrap().groups.clone();
    control
        .quotas_mut()
        .set(Quota::SecurityGroupsPerInterface, 0);
    let request = ModifyNetworkInterfaceAttribute {
        network_interface: eni,
        groups: Some(own),
        ..ModifyNetworkInterfaceAttribute::default()
    };
    let code = "SecurityGroupsPerInterfaceLimitExceeded";
    refused(&mut control, request, code, "Security groups per");
}

#[test]
fn attributes_change_the_row_and_timeouts_have_bounds() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    let eni = control.execute(any(&subnet)).unwrap();
    let request = ModifyNetworkInterfaceAttribute {
        network_interface: eni.clone(),
        source_dest_check: Some(false),
        tcp_established_timeout: Some(60),
        ..ModifyNetworkInterfaceAttribute::default()
    };
    control.execute(request).unwrap();
    let tables = control.tables().snapshot();
    let row = tables.enis.row(control.model().row(&eni).unwrap()).unwrap();
    assert!(!row.source_dest_check);
    assert_eq!(row.timeouts.tcp_established, Duration::from_secs(60));
    let request = ModifyNetworkInterfaceAttribute {
        network_interface: eni,
        udp_timeout: Some(61),
        ..ModifyNetworkInterfaceAttribute::default()
    };
    refused(&mut control, request, "InvalidParameterValue", "61");
}

#[test]
fn a_host_attaches_once_and_holds_its_interface() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    let eni = control.execute(any(&subnet)).unwrap();
    let attach = AttachNetworkInterface {
        network_interface: eni.clone(),
        host: "web".into(),
        ..AttachNetworkInterface::default()
    };
    control.execute(attach.clone()).unwrap();
    refused(
        &mut control,
        attach.clone(),
        "InvalidNetworkInterface.InUse",
        "web",
    );
    let delete = DeleteNetworkInterface {
        network_interface: eni.clone(),
    };
    refused(
        &mut control,
        delete.clone(),
        "InvalidNetworkInterface.InUse",
        "web",
    );
    let second = control.execute(any(&subnet)).unwrap();
    let clash = AttachNetworkInterface {
        network_interface: second.clone(),
        device_index: Some(0),
        ..attach.clone()
    };
    refused(&mut control, clash, "InvalidParameterValue", eni.as_str());
    let next = AttachNetworkInterface {
        network_interface: second.clone(),
        ..attach
    };
    control.execute(next).unwrap();
    let held = control.model().get(&second).unwrap().attachment.clone();
    assert_eq!(held.unwrap().device_index, 1);
    let detach = DetachNetworkInterface {
        network_interface: eni,
    };
    control.execute(detach.clone()).unwrap();
    refused(&mut control, detach, "IncorrectState", "not attached");
    control.execute(delete).unwrap();
    assert_consistent(&control);
}

#[test]
fn a_service_interface_cannot_be_changed_by_users() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    let kind = InterfaceKind::Endpoint("vpce-0123456789abcdef0".into());
    let eni = control
        .execute(RequesterManagedInterface::new(kind, subnet))
        .unwrap();
    let delete = DeleteNetworkInterface {
        network_interface: eni.clone(),
    };
    refused(&mut control, delete, "OperationNotPermitted", eni.as_str());
}

#[test]
fn used_addresses_are_counted_with_prefixes_and_freed() {
    let (mut control, subnet) = lab("10.0.1.0/24");
    let used = |control: &ControlPlane| control.model().indexes().used_ipv4(&subnet);
    let request = CreateNetworkInterface {
        secondary_private_ip_address_count: 2,
        prefixes: vec![cidr("10.0.1.64/28")],
        ..at(&subnet, "10.0.1.9")
    };
    let eni = control.execute(request).unwrap();
    let other = control.execute(any(&subnet)).unwrap();
    assert_eq!(used(&control), 1 + 2 + 16 + 1);
    // What stays the same is not counted again.
    let modify = ModifyNetworkInterfaceAttribute {
        network_interface: eni.clone(),
        source_dest_check: Some(false),
        ..ModifyNetworkInterfaceAttribute::default()
    };
    control.execute(modify).unwrap();
    assert_eq!(used(&control), 20);
    for network_interface in [eni, other] {
        control
            .execute(DeleteNetworkInterface { network_interface })
            .unwrap();
    }
    assert_eq!(used(&control), 0);
}
