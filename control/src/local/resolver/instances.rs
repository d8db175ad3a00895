//! Names of interfaces: private and public ones, and back from addresses.
//!
//! AWS: VPC "DNS attributes for your VPC" (private names with DNS support,
//! public ones with DNS hostnames; a public name is the private address inside
//! its VPC and the public one outside) and VPC peering "Enable DNS resolution".

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData};
use vpclab_dataplane::addr::{EniId, VpcId};

use super::Found;
use crate::local::asker::Asker;
use crate::model::{
    Id, NetworkInterfaceId, PeeringEnd, PeeringState, Vpc, VpcPeeringConnection, private_domain,
    private_name, public_domain, public_name,
};

pub(super) fn find(asker: &Asker<'_>, name: &str) -> Found {
    let region = &asker.vpc.meta.region;
    if let Some(label) = within(name, &private_domain(region)) {
        return private(asker, label);
    }
    if let Some(label) = within(name, &public_domain(region)) {
        return public(asker, label);
    }
    match name.strip_suffix(".in-addr.arpa") {
        Some(reversed) => reverse(asker, reversed),
        None => Found::Elsewhere,
    }
}

/// The rest of a name before a domain; the domain itself has an empty rest.
pub(super) fn within<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    let rest = name.strip_suffix(domain)?;
    match rest.strip_suffix('.') {
        None if rest.is_empty() => Some(""),
        label => label,
    }
}

/// An address as a record.
pub(super) fn address(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// `ip-10-0-1-5`. ASSUMPTION: an address that no interface has no name.
fn private(asker: &Asker<'_>, label: &str) -> Found {
    if label.is_empty() {
        return Found::Here(Vec::new());
    }
    let named = dashed(label, "ip-").filter(|&ip| owner(asker, ip.into()).is_some());
    match named {
        Some(ip) => Found::Here(vec![address(ip.into())]),
        None => Found::Missing,
    }
}

/// `ec2-203-0-113-25`
fn public(asker: &Asker<'_>, label: &str) -> Found {
    if label.is_empty() {
        return Found::Here(Vec::new());
    }
    let Some((ip, private, vpc)) = dashed(label, "ec2-").and_then(|ip| mapped(asker, ip)) else {
        return Found::Missing;
    };
    let inside = vpc.id == asker.vpc.id || shows_private(asker, vpc);
    Found::Here(vec![address(if inside { private } else { ip.into() })])
}

/// Whether another VPC lets the asker's, which is its peer, see private addresses
/// (`AllowDnsResolutionFromRemoteVpc`).
fn shows_private(asker: &Asker<'_>, vpc: &Vpc) -> bool {
    let mut all = asker.model.referrers::<VpcPeeringConnection>(&vpc.id);
    all.any(|held| {
        let allowed = |end: &&PeeringEnd| end.vpc == vpc.id && end.dns_resolution;
        held.state == PeeringState::Active
            && held.joins(&asker.vpc.id, &vpc.id)
            && held.ends().iter().any(allowed)
    })
}

/// A public address that is translated to an interface of a VPC with public
/// names, the private one behind it, and the VPC.
fn mapped<'a>(asker: &Asker<'a>, ip: Ipv4Addr) -> Option<(Ipv4Addr, IpAddr, &'a Vpc)> {
    let row = asker
        .tables
        .enis
        .row(asker.tables.public_owner(ip.into())?)?;
    let pair = row.public.iter().find(|pair| pair.public == ip)?;
    let interface = NetworkInterfaceId::from_text(row.label.clone());
    let vpc = asker.model.get(&asker.model.get(&interface)?.vpc)?;
    vpc.dns_hostnames.then_some((ip, pair.private, &**vpc))
}

fn reverse(asker: &Asker<'_>, reversed: &str) -> Found {
    let mut octets: Vec<&str> = reversed.split('.').collect();
    octets.reverse();
    let Ok(ip) = octets.join(".").parse::<Ipv4Addr>() else {
        return Found::Elsewhere;
    };
    let region = &asker.vpc.meta.region;
    let inside = asker.vpc.blocks().any(|block| block.contains(ip.into()));
    let name = if owner(asker, ip.into()).is_some() {
        private_name(ip, region)
    } else if inside {
        return Found::Missing;
    } else if mapped(asker, ip).is_some() {
        public_name(ip, region)
    } else {
        return Found::Elsewhere;
    };
    match Name::from_ascii(format!("{name}.")) {
        Ok(name) => Found::Here(vec![RData::PTR(PTR(name))]),
        Err(_) => Found::Missing,
    }
}

/// The interface of the asker's VPC with an address.
fn owner(asker: &Asker<'_>, ip: IpAddr) -> Option<EniId> {
    let vpc = VpcId(asker.model.row(&asker.vpc.id)?);
    asker.tables.owner(vpc, ip)
}

/// The address in `ip-10-0-1-5`.
fn dashed(label: &str, prefix: &str) -> Option<Ipv4Addr> {
    let digits = label.strip_prefix(prefix)?;
    let ip: Ipv4Addr = digits.replace('-', ".").parse().ok()?;
    (!digits.contains('.')).then_some(ip)
}
