//! Default VPCs (V:default-vpc).

use std::net::{IpAddr, Ipv4Addr};

use vpclab_dataplane::addr::Prefix;

use super::{
    Action, ApiError, AttachInternetGateway, CreateInternetGateway, CreateRoute, CreateSubnet,
    CreateVpc, Transaction,
};
use crate::model::*;

/// The letters of the zones that a region shows. Any other can be used, too.
pub const ZONES: &[u8] = b"abcdef";

/// `CreateDefaultVpc`: 172.31.0.0/16 with a /20 in each zone, whose instances get
/// public addresses, and a gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct CreateDefaultVpc;

impl Action for CreateDefaultVpc {
    type Output = VpcId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<VpcId, ApiError> {
        if let Some(held) = default_vpc(tx) {
            return Err(ApiError::new(
                "DefaultVpcAlreadyExists",
                format!("A default VPC already exists for this account in this region: {held}"),
            ));
        }
        let block = |third: u8, len: u8| {
            let address = IpAddr::V4(Ipv4Addr::new(172, 31, third, 0));
            Prefix::new(address, len)
        };
        let made = CreateVpc {
            cidr_block: block(0, 16),
            ..CreateVpc::default()
        };
        let made = made.apply(tx)?;
        tx.update(&made.vpc, |vpc| {
            vpc.is_default = true;
            vpc.dns_hostnames = true;
        });
        for (n, letter) in (0u8..).zip(ZONES) {
            let zone = format!("{}{}", tx.caller().region, char::from(*letter));
            let subnet = CreateSubnet {
                vpc: made.vpc.clone(),
                cidr_block: block(n * 16, 20),
                availability_zone: Some(zone),
                ..CreateSubnet::default()
            };
            let subnet = subnet.apply(tx)?;
            tx.update(&subnet, |subnet| {
                subnet.default_for_az = true;
                subnet.map_public_ip_on_launch = true;
            });
        }
        let internet_gateway = CreateInternetGateway::default().apply(tx)?;
        AttachInternetGateway {
            internet_gateway: internet_gateway.clone(),
            vpc: made.vpc.clone(),
        }
        .apply(tx)?;
        CreateRoute {
            route_table: made.main_route_table,
            destination: Destination::Cidr(Prefix::ANY_V4),
            target: RouteTargetSpec::InternetGateway(internet_gateway),
        }
        .apply(tx)?;
        Ok(made.vpc)
    }
}

/// The caller's default VPC in its region.
pub fn default_vpc(tx: &Transaction<'_>) -> Option<VpcId> {
    let scope = tx.scope();
    let own = tx.model().indexes().referrers(&scope, Kind::Vpc);
    let mut own = own.map(|text| VpcId::from_text(text.clone()));
    own.find(|id| tx.model().get(id).is_some_and(|vpc| vpc.is_default))
}

/// Its subnet in a zone; the first one's if none is named.
pub fn default_subnet(tx: &Transaction<'_>, zone: Option<&str>) -> Option<SubnetId> {
    let vpc = default_vpc(tx)?;
    let mut subnets: Vec<_> = tx
        .referrers::<Subnet>(&vpc)
        .into_iter()
        .filter(|subnet| subnet.default_for_az)
        .filter(|subnet| zone.is_none_or(|zone| *subnet.zone == *zone))
        .collect();
    subnets.sort_by(|a, b| a.zone.cmp(&b.zone));
    subnets.first().map(|subnet| subnet.id.clone())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::*;
    use super::*;

    #[test]
    fn a_default_vpc_has_a_public_subnet_in_each_zone_and_is_alone() {
        let mut control = ControlPlane::default();
        let vpc = control.execute(CreateDefaultVpc).unwrap();
        let model = control.model();
        assert_eq!(model.count::<Subnet>(&vpc.resource()), ZONES.len() as u64);
        let caller = Caller::default();
        let found = control.rehearse(&caller, |tx| Ok(default_subnet(tx, Some("us-east-1b"))));
        let subnet = found.unwrap().expect("each zone has one");
        let subnet = model.get(&subnet).unwrap();
        assert_eq!(subnet.cidr, cidr("172.31.16.0/20"));
        assert!(subnet.map_public_ip_on_launch);
        refused(
            &mut control,
            CreateDefaultVpc,
            "DefaultVpcAlreadyExists",
            vpc.as_str(),
        );
        let elsewhere = Caller::new(DEFAULT_ACCOUNT, "eu-west-1");
        control.execute_as(&elsewhere, CreateDefaultVpc).unwrap();
        assert_consistent(&control);
    }
}
