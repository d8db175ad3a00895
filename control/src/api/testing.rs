//! Short forms for the unit tests of actions.

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
