//! Zones of the lab's owner, and private names of endpoints.
//!
//! AWS: Route 53 "Working with private hosted zones" (the most specific zone
//! that a VPC sees has the say; both DNS attributes are needed); PrivateLink
//! "Manage DNS names" (private DNS is a hidden private zone).

use std::sync::Arc;

use hickory_proto::rr::rdata::{CNAME, TXT};
use hickory_proto::rr::{Name, RData};

use super::{Found, endpoints, instances};
use crate::local::asker::Asker;
use crate::model::{HostedZone, RecordValue, VpcEndpoint, VpcEndpointState};

/// Private zones and private names of endpoints in the asker's VPC.
pub(super) fn private(asker: &Asker<'_>, name: &str) -> Found {
    if !(asker.vpc.dns_support && asker.vpc.dns_hostnames) {
        return Found::Elsewhere;
    }
    let zones = asker.model.referrers::<HostedZone>(&asker.vpc.id);
    let zone = most_specific(zones, name);
    let endpoints = asker.model.referrers::<VpcEndpoint>(&asker.vpc.id);
    let named = endpoints
        .filter(|it| it.private_dns && it.state == VpcEndpointState::Available)
        .filter_map(|it| Some((it, asker.model.get(&it.service)?)))
        .flat_map(|(it, service)| service.private_names().map(move |own| (it, own)));
    let mut named = named.filter(|(_, own)| covers(own, name));
    if let Some((endpoint, own)) = named.next() {
        let longer = zone.is_some_and(|zone| zone.domain.len() > own.len());
        if !longer {
            let all = endpoints::addresses(asker.model, endpoint, None);
            return Found::Here(all.into_iter().map(instances::address).collect());
        }
    }
    zone.map_or(Found::Elsewhere, |zone| in_zone(zone, name))
}

/// Public zones.
pub(super) fn public(asker: &Asker<'_>, name: &str) -> Found {
    let zones = asker.model.hosted_zones().iter();
    let zone = most_specific(zones.filter(|zone| zone.vpcs.is_empty()), name);
    zone.map_or(Found::Elsewhere, |zone| in_zone(zone, name))
}

/// Public names of AWS's services that the lab has.
pub(super) fn services(asker: &Asker<'_>, name: &str) -> Found {
    let mut services = asker.model.endpoint_services().iter();
    let named = services.find_map(|service| {
        let aws = service.aws.as_ref()?;
        aws.names.iter().any(|own| covers(own, name)).then_some(aws)
    });
    let interface = named.and_then(|aws| asker.model.get(&aws.interface));
    interface.map_or(Found::Elsewhere, |interface| {
        Found::Here(interface.addresses().map(instances::address).collect())
    })
}

fn most_specific<'a>(
    zones: impl Iterator<Item = &'a Arc<HostedZone>>,
    name: &str,
) -> Option<&'a Arc<HostedZone>> {
    let holding = zones.filter(|zone| zone.holds(name));
    holding.max_by_key(|zone| zone.domain.len())
}

fn in_zone(zone: &HostedZone, name: &str) -> Found {
    match zone.find(name) {
        Some(values) => Found::Here(values.iter().filter_map(data).collect()),
        None => Found::Missing,
    }
}

/// Whether a service's name, `*.` perhaps before it, stands for a name.
fn covers(own: &str, name: &str) -> bool {
    match own.strip_prefix('*') {
        Some(rest) => name
            .strip_suffix(rest)
            .is_some_and(|label| !label.is_empty()),
        None => own == name,
    }
}

fn data(value: &RecordValue) -> Option<RData> {
    Some(match value {
        RecordValue::Address(ip) => instances::address(*ip),
        RecordValue::Alias(to) => RData::CNAME(CNAME(Name::from_ascii(format!("{to}.")).ok()?)),
        RecordValue::Text(text) => {
            // A string of a TXT record has 255 bytes at most.
            let parts = text.as_bytes().chunks(255);
            RData::TXT(TXT::from_bytes(parts.collect()))
        }
    })
}
