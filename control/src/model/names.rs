//! DNS names that AWS gives to what it has: interfaces and endpoints.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{Model, VpcEndpoint, VpcEndpointType, hash};

/// Domain of private names in a region, without dots at its ends (V:vpc-dns).
pub fn private_domain(region: &str) -> String {
    match region {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    }
}

/// Domain of public names in a region (V:vpc-dns).
pub fn public_domain(region: &str) -> String {
    match region {
        "us-east-1" => "compute-1.amazonaws.com".to_owned(),
        region => format!("{region}.compute.amazonaws.com"),
    }
}

/// `ip-10-0-1-5.ec2.internal`
pub fn private_name(address: Ipv4Addr, region: &str) -> String {
    format!("ip-{}.{}", dashed(address), private_domain(region))
}

/// `ec2-203-0-113-25.compute-1.amazonaws.com`
pub fn public_name(address: Ipv4Addr, region: &str) -> String {
    format!("ec2-{}.{}", dashed(address), public_domain(region))
}

fn dashed(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "-")
}

/// A name of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointName {
    /// The name, without a dot at its end.
    pub name: String,
    /// The zone that it is for; `None` is all of them.
    pub zone: Option<Arc<str>>,
}

impl VpcEndpoint {
    /// The regional name of an interface endpoint, then one for each zone
    /// (P:privatelink-access-aws-services); no names of other endpoints.
    pub fn dns_names(&self, model: &Model) -> Vec<EndpointName> {
        if self.endpoint_type != VpcEndpointType::Interface {
            return Vec::new();
        }
        let random: String = (0..8)
            .scan(hash(0, self.id.as_str()), |rest, _| {
                let digit = (*rest % 36) as u32;
                *rest /= 36;
                char::from_digit(digit, 36)
            })
            .collect();
        let service = model.get(&self.service).and_then(|it| it.aws.as_ref());
        let service = service.map_or(self.service.as_str(), |aws| &*aws.label);
        let name = |zone: Option<Arc<str>>| {
            let of_zone = zone.as_ref().map(|zone| format!("-{zone}"));
            let of_zone = of_zone.unwrap_or_default();
            EndpointName {
                name: format!(
                    "{}-{random}{of_zone}.{service}.{}.vpce.amazonaws.com",
                    self.id, self.meta.region
                ),
                zone,
            }
        };
        let subnets = self.interfaces.iter().map(|place| &place.subnet);
        let zones = subnets.filter_map(|subnet| model.get(subnet));
        let zonal = zones.map(|subnet| name(Some(subnet.zone.clone())));
        std::iter::once(name(None)).chain(zonal).collect()
    }
}
