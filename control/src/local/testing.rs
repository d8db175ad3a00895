//! A small lab for tests of the services.

use std::sync::Arc;

use vpclab_dataplane::addr::EniId;

use super::asker::Asker;
use crate::api::ControlPlane;
use crate::model::NetworkInterface;
use crate::topology::Topology;

/// A topology text.
pub(super) struct Text(pub(super) &'static str);

/// Two VPCs; `a` has a public address, `b` is in the other VPC.
pub(super) const LAB: Text = Text(
    "
name: names
vpcs:
  main:
    cidr: 10.0.0.0/16
    igw: true
    enable_dns_hostnames: true
    subnets:
      left: {cidr: 10.0.1.0/24, route_table: left}
    route_tables:
      left: {routes: [{to: 0.0.0.0/0, via: igw}]}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
  other:
    cidr: 10.9.0.0/16
    subnets:
      one: {cidr: 10.9.1.0/24}
    security_groups:
      open: {ingress: [{proto: all, from: 0.0.0.0/0}]}
hosts:
  a: {subnet: left, address: 10.0.1.10, groups: main/open, eip: 203.0.113.10}
  b: {subnet: other/one, address: 10.9.1.10, groups: other/open}
",
);

impl Text {
    pub(super) fn control(&self) -> ControlPlane {
        Topology::parse("lab.yaml", self.0)
            .and_then(|topology| topology.control_plane())
            .unwrap()
            .0
    }
}

/// The first interface of a host.
pub(super) fn interface(control: &ControlPlane, host: &str) -> Arc<NetworkInterface> {
    let mut all = control.model().interfaces().iter();
    let held = |it: &&Arc<NetworkInterface>| {
        let at = it.attachment.as_ref();
        at.is_some_and(|at| &*at.host == host && at.device_index == 0)
    };
    all.find(held).unwrap().clone()
}

/// Asks as a host does.
pub(super) fn ask<R>(
    control: &ControlPlane,
    host: &str,
    question: impl FnOnce(&Asker<'_>) -> R,
) -> R {
    let model = control.model();
    let row = model.row(&interface(control, host).id).unwrap();
    let tables = control.tables().snapshot();
    question(&Asker::new(model, &tables, EniId(row)).unwrap())
}
