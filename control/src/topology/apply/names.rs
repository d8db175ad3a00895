//! What a name of the file became.

use std::collections::BTreeMap;

use vpclab_dataplane::addr::Prefix;

use crate::model::{
    AllocationId, EndpointServiceId, InternetGatewayId, ListenerArn, LoadBalancerArn, NatGatewayId,
    NetworkAclId, NetworkInterfaceId, PrefixListId, RouteTableId, SecurityGroupId, SubnetId,
    TargetGroupArn, VpcEndpointId, VpcId, VpcPeeringConnectionId, VpnGatewayId,
};

/// AWS ids by the names of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// VPCs, with what is in them.
    pub vpcs: BTreeMap<String, VpcNames>,
    /// Peering connections.
    pub peerings: BTreeMap<String, VpcPeeringConnectionId>,
    /// Prefix lists.
    pub prefix_lists: BTreeMap<String, PrefixListId>,
    /// Hosts in VPCs.
    pub hosts: BTreeMap<String, HostNames>,
    /// The interfaces of hosts on the internet and on premises.
    pub internet_hosts: BTreeMap<String, NetworkInterfaceId>,
    /// NAT gateways.
    pub nat_gateways: BTreeMap<String, NatGatewayNames>,
    /// Load balancers.
    pub load_balancers: BTreeMap<String, LoadBalancerArn>,
    /// Listeners, by load balancer, in the order of the file.
    pub listeners: BTreeMap<String, Vec<ListenerArn>>,
    /// Target groups.
    pub target_groups: BTreeMap<String, TargetGroupArn>,
    /// Endpoint services.
    pub endpoint_services: BTreeMap<String, ServiceNames>,
    /// VPC endpoints.
    pub endpoints: BTreeMap<String, VpcEndpointId>,
}

/// A VPC and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcNames {
    /// The VPC.
    pub id: VpcId,
    /// Its main route table, before the file's `main: true`.
    pub main_route_table: RouteTableId,
    /// The group called `default`.
    pub default_security_group: SecurityGroupId,
    /// The ACL called `default`.
    pub default_network_acl: NetworkAclId,
    /// Its IPv6 block.
    pub ipv6: Option<Prefix>,
    /// Its internet gateway.
    pub internet_gateway: Option<InternetGatewayId>,
    /// Its virtual private gateway.
    pub vpn_gateway: Option<VpnGatewayId>,
    /// Subnets.
    pub subnets: BTreeMap<String, SubnetId>,
    /// Route tables.
    pub route_tables: BTreeMap<String, RouteTableId>,
    /// Security groups.
    pub security_groups: BTreeMap<String, SecurityGroupId>,
    /// Network ACLs.
    pub network_acls: BTreeMap<String, NetworkAclId>,
}

/// A host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    /// Its interfaces: `eth0`, `eth1`, …
    pub enis: Vec<NetworkInterfaceId>,
    /// The Elastic IP of each interface.
    pub elastic_ips: Vec<Option<AllocationId>>,
}

/// A NAT gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatGatewayNames {
    /// Its id.
    pub id: NatGatewayId,
    /// Its Elastic IPs, the primary one first.
    pub elastic_ips: Vec<AllocationId>,
}

/// An endpoint service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNames {
    /// Its id.
    pub id: EndpointServiceId,
    /// `com.amazonaws.vpce.<region>.vpce-svc-…`
    pub service_name: String,
}

impl Names {
    /// The id of anything by its name in the file, as text: hosts are their
    /// first interface; what is in a VPC is `vpc/name`.
    pub fn id(&self, name: &str) -> Option<String> {
        let (vpc, inner) = name.split_once('/').unwrap_or((name, ""));
        if !inner.is_empty() {
            if let Some(host) = self.hosts.get(vpc) {
                let index: usize = inner.strip_prefix("eth")?.parse().ok()?;
                return host.enis.get(index).map(ToString::to_string);
            }
            return self.vpcs.get(vpc)?.id_within(inner);
        }
        let host = || {
            self.hosts
                .get(name)
                .and_then(|host| Some(host.enis.first()?.to_string()))
        };
        let internet = || self.internet_hosts.get(name).map(ToString::to_string);
        let endpoint = || self.endpoints.get(name).map(ToString::to_string);
        let balancer = || self.load_balancers.get(name).map(ToString::to_string);
        let gateway = || {
            self.nat_gateways
                .get(name)
                .map(|names| names.id.to_string())
        };
        let others = || {
            let group = || self.target_groups.get(name).map(ToString::to_string);
            let service = || self.endpoint_services.get(name).map(|s| s.id.to_string());
            let list = || self.prefix_lists.get(name).map(ToString::to_string);
            let vpc = || self.vpcs.get(name).map(|vpc| vpc.id.to_string());
            let peering = || self.peerings.get(name).map(ToString::to_string);
            group()
                .or_else(service)
                .or_else(list)
                .or_else(vpc)
                .or_else(peering)
        };
        host()
            .or_else(internet)
            .or_else(endpoint)
            .or_else(balancer)
            .or_else(gateway)
            .or_else(others)
    }
}

impl VpcNames {
    fn id_within(&self, name: &str) -> Option<String> {
        let subnet = || self.subnets.get(name).map(ToString::to_string);
        let table = || self.route_tables.get(name).map(ToString::to_string);
        let group = || self.security_groups.get(name).map(ToString::to_string);
        let acl = || self.network_acls.get(name).map(ToString::to_string);
        subnet().or_else(table).or_else(group).or_else(acl)
    }
}
