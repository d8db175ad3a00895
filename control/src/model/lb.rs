//! Network and gateway load balancers, listeners and target groups.

use super::{
    ListenerArn, LoadBalancerArn, Meta, References, Resource, TargetGroupArn, VpcId,
    resource_fields,
};

/// A network or gateway load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// ARN.
    pub id: LoadBalancerArn,
    /// Owner, region, name tag.
    pub meta: Meta,
    /// Its VPC.
    pub vpc: VpcId,
}

impl Resource for LoadBalancer {
    resource_fields!(LoadBalancerArn);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
    }
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// ARN.
    pub id: TargetGroupArn,
    /// Owner, region, name tag.
    pub meta: Meta,
    /// Its targets' VPC.
    pub vpc: VpcId,
}

impl Resource for TargetGroup {
    resource_fields!(TargetGroupArn);

    fn references(&self, to: &mut References) {
        to.add(&self.vpc);
    }
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// ARN.
    pub id: ListenerArn,
    /// Owner, region, name tag.
    pub meta: Meta,
    /// Its load balancer.
    pub load_balancer: LoadBalancerArn,
}

impl Resource for Listener {
    resource_fields!(ListenerArn);

    fn references(&self, to: &mut References) {
        to.add(&self.load_balancer);
    }
}
