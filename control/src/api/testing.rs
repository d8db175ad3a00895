//! Short forms for the unit tests of actions.

use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use super::*;
use crate::compile;
use crate::model::*;

/// A block.
pub(crate) fn cidr(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Asserts a refusal's code, that its message names `value`, and that nothing
/// changed.
#[track_caller]
pub(crate) fn refused<A: Action>(control: &mut ControlPlane, action: A, code: &str, value: &str)
where
    A::Output: std::fmt::Debug,
{
    let before = control.tables().load().version;
    let error = control.execute(action).expect_err("must be refused");
    assert_eq!(error.code, code, "{error}");
    assert!(
        error.message.contains(value),
        "{error} does not name {value}"
    );
    assert_eq!(control.tables().load().version, before);
}

/// Asserts that the published tables are what a full compile gives.
#[track_caller]
pub(crate) fn assert_consistent(control: &ControlPlane) {
    let published = control.tables().snapshot();
    let full = compile::full(control.model(), published.settings);
    if let Some(difference) = published.row_difference(&full) {
        panic!("incremental and full compile differ: {difference}");
    }
}

/// A VPC 10.0.0.0/16 and its id.
pub(crate) fn vpc(control: &mut ControlPlane) -> VpcId {
    vpc_with(control, "10.0.0.0/16")
}

/// A VPC with this block.
pub(crate) fn vpc_with(control: &mut ControlPlane, block: &str) -> VpcId {
    let request = CreateVpc {
        cidr_block: Some(cidr(block)),
        ..CreateVpc::default()
    };
    control.execute(request).unwrap().vpc
}

/// A subnet in zone a.
pub(crate) fn subnet(control: &mut ControlPlane, vpc: &VpcId, block: &str) -> SubnetId {
    let request = CreateSubnet {
        vpc: vpc.clone(),
        cidr_block: Some(cidr(block)),
        ..CreateSubnet::default()
    };
    control.execute(request).unwrap()
}

/// A host's interface with a chosen address, attached.
pub(crate) fn interface(control: &mut ControlPlane, subnet: &SubnetId) -> NetworkInterfaceId {
    let request = CreateNetworkInterface {
        subnet: subnet.clone(),
        ..CreateNetworkInterface::default()
    };
    let id = control.execute(request).unwrap();
    let request = AttachNetworkInterface {
        network_interface: id.clone(),
        host: format!("host-{id}"),
        ..AttachNetworkInterface::default()
    };
    control.execute(request).unwrap();
    id
}

/// An internet gateway, attached.
pub(crate) fn internet_gateway(control: &mut ControlPlane, vpc: &VpcId) -> InternetGatewayId {
    let id = control.execute(CreateInternetGateway::default()).unwrap();
    let request = AttachInternetGateway {
        internet_gateway: id.clone(),
        vpc: vpc.clone(),
    };
    control.execute(request).unwrap();
    id
}

/// A security group without inbound rules.
pub(crate) fn security_group(
    control: &mut ControlPlane,
    vpc: &VpcId,
    group_name: &str,
) -> SecurityGroupId {
    let request = CreateSecurityGroup {
        group_name: group_name.into(),
        vpc: vpc.clone(),
        ..CreateSecurityGroup::default()
    };
    control.execute(request).unwrap()
}

/// An IPv4 prefix list.
pub(crate) fn prefix_list(control: &mut ControlPlane, blocks: &[&str], max: u32) -> PrefixListId {
    let request = CreateManagedPrefixList {
        prefix_list_name: "list".into(),
        entries: blocks.iter().map(|block| cidr(block).into()).collect(),
        max_entries: max,
        ..CreateManagedPrefixList::default()
    };
    control.execute(request).unwrap()
}

/// A gateway load balancer endpoint, put there without its action.
pub(crate) fn gateway_endpoint(control: &mut ControlPlane, vpc: &VpcId) -> VpcEndpointId {
    control
        .transact(&Caller::default(), |tx| {
            let id: VpcEndpointId = tx.mint();
            tx.put(VpcEndpoint {
                id: id.clone(),
                meta: tx.meta(None),
                vpc: vpc.clone(),
                endpoint_type: VpcEndpointType::GatewayLoadBalancer,
                service_name: Arc::default(),
                service: EndpointServiceId::default(),
                interfaces: Vec::new(),
                groups: Vec::new(),
                dualstack: false,
                state: VpcEndpointState::Available,
                policy: None,
                route_tables: Vec::new(),
                private_dns: false,
                service_region: None,
                service_port: None,
            });
            Ok(id)
        })
        .unwrap()
}

/// A subnet in this zone.
pub(crate) fn subnet_in(
    control: &mut ControlPlane,
    vpc: &VpcId,
    block: &str,
    zone: &str,
) -> SubnetId {
    let request = CreateSubnet {
        vpc: vpc.clone(),
        cidr_block: Some(cidr(block)),
        availability_zone: Some(zone.to_owned()),
        ..CreateSubnet::default()
    };
    control.execute(request).unwrap()
}

/// A VPC's default security group.
pub(crate) fn default_group(control: &ControlPlane, vpc: &VpcId) -> SecurityGroupId {
    let vpc = control.model().get(vpc).unwrap();
    vpc.default_security_group.clone()
}
