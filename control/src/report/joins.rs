//! Peering and VPN connections, for `vpclab ps`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Names;
use crate::compile::vpn;
use crate::model::{Id, Model, PeeringEnd, VpcId};

/// A peering or VPN connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JoinReport {
    /// AWS id.
    pub id: String,
    /// Its name in the topology.
    pub name: Option<String>,
    /// `peering` or `vpn`.
    pub kind: String,
    /// What it joins: two VPCs, or a network on premises and a VPC. What is not
    /// there is named by its id, or by the customer gateway's address.
    pub joins: [String; 2],
    /// `active`, `pending-acceptance`, …; of a VPN connection `up` or `down`.
    pub state: String,
}

/// Those that stand or may come to stand.
pub(super) fn all(model: &Model, names: &Names) -> Vec<JoinReport> {
    let name = |id: &VpcId| names.short(id.text()).to_owned();
    let peerings = model.vpc_peering_connections().iter();
    let peerings = peerings.filter(|it| it.state.is_open()).map(|it| {
        let end = |end: &PeeringEnd| name(&end.vpc);
        JoinReport {
            id: it.id.to_string(),
            name: it.meta.name.as_deref().map(str::to_owned),
            kind: "peering".to_owned(),
            joins: it.ends().map(end),
            state: it.state.name().to_owned(),
        }
    });
    let vpns = model.vpn_connections().iter().map(|it| {
        let network = vpn::network(model, it).map(|network| name(&network.id));
        let customer = model.get(&it.customer_gateway);
        let outside = network.or_else(|| Some(customer?.address.to_string()));
        let gateway = model.get(&it.vpn_gateway);
        let vpc = gateway.and_then(|gateway| Some(name(gateway.vpc.as_ref()?)));
        let up = vpn::is_up(model, it) && vpc.is_some();
        JoinReport {
            id: it.id.to_string(),
            name: it.meta.name.as_deref().map(str::to_owned),
            kind: "vpn".to_owned(),
            joins: [
                outside.unwrap_or_else(|| it.customer_gateway.to_string()),
                vpc.unwrap_or_else(|| it.vpn_gateway.to_string()),
            ],
            state: if up { "up" } else { "down" }.to_owned(),
        }
    });
    peerings.chain(vpns).collect()
}
