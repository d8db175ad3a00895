//! Names to things: what a reference in the file means.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;

use super::error::{Mistake, suggest};
use super::located::{At, Many, Named, Value};
use super::schema::{Host, Peering, Subnet, TargetGroup, Topology, Vpc};
use super::values::{Address, Cidr, CidrOrName, ElasticIp};
use crate::api::aws_service_name;
use crate::model::AwsList;

/// A VPC's own security group or network ACL.
pub(super) const DEFAULT: &str = "default";

/// A subnet with the VPC that it is in.
#[derive(Clone, Copy)]
pub(super) struct SubnetRef<'a> {
    pub(super) vpc: &'a str,
    pub(super) name: &'a str,
    pub(super) subnet: &'a Subnet,
}

/// An interface of a host, however it is written.
#[derive(Clone, Copy)]
pub(super) struct Interface<'a> {
    pub(super) subnet: &'a Value<String>,
    pub(super) address: Option<&'a Value<Address>>,
    pub(super) ipv6: Option<&'a Many<Address>>,
    pub(super) secondary: &'a [Value<Address>],
    pub(super) prefixes: &'a [Value<Cidr>],
    pub(super) groups: &'a [Value<String>],
    pub(super) source_dest_check: Option<bool>,
    pub(super) eip: Option<&'a Value<ElasticIp>>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Via<'a> {
    Local,
    InternetGateway,
    VirtualPrivateGateway,
    /// A host's interface, by index.
    Host(&'a str, usize),
    Endpoint(&'a str),
    Peering(&'a str),
    NatGateway(&'a str),
}

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TargetRef<'a> {
    /// A host's interface, by index: its primary address.
    Host(&'a str, usize),
    Address(IpAddr),
}

/// The entry that a reference names, or what is wrong with the reference.
pub(super) fn known<'a, T>(
    kind: &str,
    all: &'a Named<T>,
    reference: &Value<String>,
) -> Result<(&'a str, &'a T), Mistake> {
    let found = all.iter().find(|(key, _)| key.value == reference.value);
    found
        .map(|(key, value)| (key.value.as_str(), value))
        .ok_or_else(|| {
            let hint = suggest(reference, all.names());
            Mistake::new(
                reference.at,
                format!("no {kind} is called '{}'{hint}", reference.value),
            )
        })
}

impl Topology {
    pub(super) fn vpc(&self, reference: &Value<String>) -> Result<(&str, &Vpc), Mistake> {
        known("VPC", &self.vpcs, reference)
    }

    /// `vpc/subnet`, or `subnet` where only one VPC has it.
    pub(super) fn subnet(&self, reference: &Value<String>) -> Result<SubnetRef<'_>, Mistake> {
        if let Some((vpc, name)) = reference.split_once('/') {
            let part = |text: &str| Value {
                value: text.to_owned(),
                at: reference.at,
            };
            let (vpc, body) = self.vpc(&part(vpc))?;
            let what = format!("subnet of VPC {vpc}");
            let (name, subnet) = known(&what, &body.subnets, &part(name))?;
            return Ok(SubnetRef { vpc, name, subnet });
        }
        let mut found = self.subnets().filter(|found| found.name == reference.value);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (Some(one), Some(other)) => Err(Mistake::new(
                reference.at,
                format!(
                    "several VPCs have a subnet '{}'; write {}/{} or {}/{}",
                    reference.value, one.vpc, one.name, other.vpc, other.name
                ),
            )),
            (None, _) => {
                let hint = suggest(reference, self.subnets().map(|subnet| subnet.name));
                let message = format!("no subnet is called '{}'{hint}", reference.value);
                Err(Mistake::new(reference.at, message))
            }
        }
    }

    /// `vpc/table`, or `table` where only one VPC has it: VPC and table.
    pub(super) fn table(&self, reference: &Value<String>) -> Result<(&str, &str), Mistake> {
        let (vpc, name) = match reference.split_once('/') {
            Some((vpc, name)) => (Some(vpc), name),
            None => (None, reference.as_str()),
        };
        let all = || {
            self.vpcs.iter().flat_map(|(vpc, body)| {
                let tables = body.route_tables.iter();
                tables.map(move |(table, _)| (vpc.value.as_str(), table.value.as_str()))
            })
        };
        let mut found =
            all().filter(|(of, table)| *table == name && vpc.is_none_or(|vpc| vpc == *of));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (Some((one, _)), Some((other, _))) => Err(Mistake::new(
                reference.at,
                format!(
                    "several VPCs have a route table '{name}'; write {one}/{name} or {other}/{name}"
                ),
            )),
            (None, _) => {
                let hint = suggest(name, all().map(|(_, table)| table));
                let message = format!("no route table is called '{}'{hint}", reference.value);
                Err(Mistake::new(reference.at, message))
            }
        }
    }

    /// The service of AWS's that a built-in prefix list is for: `pl-s3`.
    pub(super) fn aws_list(&self, name: &str) -> Option<&'static AwsList> {
        AwsList::of(self.region(), name.strip_prefix("pl-")?)
    }

    /// The service of AWS's that the lab has by this name, in its short form.
    pub(super) fn aws_service<'a>(&self, name: &'a str) -> Option<&'a str> {
        let wanted = aws_service_name(self.region(), name).ok()?;
        let mut all = self.services.iter();
        let is_it = |own: &str| aws_service_name(self.region(), own).is_ok_and(|own| own == wanted);
        all.any(|(own, _)| is_it(&own.value)).then_some(wanted)
    }

    /// Every subnet of every VPC.
    pub(super) fn subnets(&self) -> impl Iterator<Item = SubnetRef<'_>> {
        self.vpcs.iter().flat_map(|(vpc, body)| {
            body.subnets.iter().map(move |(name, subnet)| SubnetRef {
                vpc: vpc.value.as_str(),
                name: name.value.as_str(),
                subnet,
            })
        })
    }

    /// A host's interface: `host` is its first one, `host/eth1` its second.
    pub(super) fn host_interface(
        &self,
        reference: &Value<String>,
    ) -> Result<(&str, usize), Mistake> {
        let (host, interface) = match reference.split_once('/') {
            Some((host, interface)) => (host, Some(interface)),
            None => (reference.as_str(), None),
        };
        let host = Value {
            value: host.to_owned(),
            at: reference.at,
        };
        let (name, body) = known("host", &self.hosts, &host)?;
        let Some(interface) = interface else {
            return Ok((name, 0));
        };
        let count = body.enis.as_ref().map_or(1, Vec::len);
        let index = interface
            .strip_prefix("eth")
            .and_then(|index| index.parse().ok());
        match index {
            Some(index) if index < count => Ok((name, index)),
            _ => Err(Mistake::new(
                reference.at,
                format!(
                    "host {name} has no ENI '{interface}'; it has eth0 to eth{}",
                    count - 1
                ),
            )),
        }
    }

    /// The target of a route in that VPC.
    pub(super) fn via(&self, reference: &Value<String>) -> Result<Via<'_>, Mistake> {
        match reference.as_str() {
            "local" => return Ok(Via::Local),
            "igw" => return Ok(Via::InternetGateway),
            "vgw" => return Ok(Via::VirtualPrivateGateway),
            _ => {}
        }
        if let Some((key, _)) = self
            .endpoints
            .iter()
            .find(|(key, _)| key.value == reference.value)
        {
            return Ok(Via::Endpoint(key));
        }
        if let Ok((name, _)) = known("peering connection", &self.peerings, reference) {
            return Ok(Via::Peering(name));
        }
        if let Some((key, _)) = self
            .nat_gateways
            .iter()
            .find(|(key, _)| key.value == reference.value)
        {
            return Ok(Via::NatGateway(key));
        }
        let host = reference.split('/').next().unwrap_or_default();
        if self.hosts.has(host) {
            let (host, index) = self.host_interface(reference)?;
            return Ok(Via::Host(host, index));
        }
        let names = self
            .endpoints
            .names()
            .chain(self.nat_gateways.names())
            .chain(self.hosts.names())
            .chain(self.peerings.names())
            .chain(["igw", "vgw", "local"]);
        let hint = suggest(reference, names);
        Err(Mistake::new(
            reference.at,
            format!("no route target is called '{}'{hint}", reference.value),
        ))
    }

    /// What a target names.
    pub(super) fn target(&self, at: At, text: &str) -> Result<TargetRef<'_>, Mistake> {
        if let Ok(address) = text.parse() {
            return Ok(TargetRef::Address(address));
        }
        let others = [
            ("a load balancer", self.load_balancers.has(text)),
            ("an endpoint", self.endpoints.has(text)),
            ("an internet host", self.internet.hosts.has(text)),
        ];
        if let Some((what, _)) = others.iter().find(|(_, is)| *is) {
            let message = format!("'{text}' is {what}; a target is a host or an address in a VPC");
            return Err(Mistake::new(at, message));
        }
        let reference = Value {
            value: text.to_owned(),
            at,
        };
        let (host, index) = self.host_interface(&reference)?;
        Ok(TargetRef::Host(host, index))
    }

    /// The VPC of a target group: its own word, else a load balancer that uses
    /// it, else its first host.
    pub(super) fn target_group_vpc(
        &self,
        name: &Value<String>,
        group: &TargetGroup,
    ) -> Result<&str, Mistake> {
        if let Some(vpc) = &group.vpc {
            return Ok(self.vpc(vpc)?.0);
        }
        let users = self.load_balancers.iter().filter(|(_, balancer)| {
            balancer
                .listeners
                .iter()
                .any(|listener| listener.target_group.value == name.value)
        });
        for (_, balancer) in users {
            if let Some(subnet) = balancer.subnets.first() {
                return Ok(self.subnet(subnet)?.vpc);
            }
        }
        for target in group.targets.iter() {
            if let TargetRef::Host(host, index) = self.target(target.at, &target.to)? {
                return self.interface_vpc(host, index, target.at);
            }
        }
        let message = format!("target group {} is in no VPC; add `vpc: NAME`", name.value);
        Err(Mistake::new(name.at, message))
    }

    /// The blocks of a prefix list and of the lists that it names, each once.
    pub(super) fn prefix_list_blocks(&self, name: &str) -> Vec<Prefix> {
        let mut blocks = Vec::new();
        let mut open = vec![name];
        let mut seen = Vec::new();
        while let Some(name) = open.pop() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let entries = self
                .prefix_lists
                .find(name)
                .into_iter()
                .flat_map(|many| many.iter());
            for entry in entries {
                match &entry.value {
                    CidrOrName::Cidr(block) if !blocks.contains(block) => blocks.push(*block),
                    CidrOrName::Cidr(_) => {}
                    CidrOrName::Name(other) => open.push(other),
                }
            }
        }
        blocks
    }

    /// The VPC of a host's interface.
    pub(super) fn interface_vpc(&self, host: &str, index: usize, at: At) -> Result<&str, Mistake> {
        let interfaces = self
            .hosts
            .find(host)
            .map(Host::interfaces)
            .unwrap_or_default();
        match interfaces.get(index) {
            Some(interface) => Ok(self.subnet(interface.subnet)?.vpc),
            None => Err(Mistake::new(
                at,
                format!("host {host} has no ENI; give it a `subnet:`"),
            )),
        }
    }
}

impl Topology {
    /// The VPCs at the ends of a peering connection, if two are named.
    pub(super) fn peered(&self, peering: &Peering) -> Option<[(&str, &Vpc); 2]> {
        match &peering.vpcs[..] {
            [one, other] => Some([self.vpc(one).ok()?, self.vpc(other).ok()?]),
            _ => None,
        }
    }

    /// Whether a peering connection of the file joins two VPCs.
    pub(super) fn are_peered(&self, one: &str, other: &str) -> bool {
        let mut all = self.peerings.iter();
        all.any(|(_, peering)| {
            let ends = self.peered(peering).map(|ends| ends.map(|(name, _)| name));
            ends == Some([one, other]) || ends == Some([other, one])
        })
    }

    /// The VPC and the name of a group that a rule of `vpc` names: `group`, or
    /// `other/group` of a VPC that is peered.
    pub(super) fn rule_group(
        &self,
        vpc: &str,
        reference: &Value<String>,
    ) -> Result<(String, Value<String>), Mistake> {
        if let Some((other, name)) = reference.split_once('/')
            && self.are_peered(vpc, other)
        {
            let at = reference.at;
            let value = name.to_owned();
            return Ok((other.to_owned(), Value { value, at }));
        }
        Ok((vpc.to_owned(), within(vpc, reference)?))
    }
}

impl Vpc {
    /// A security group of this VPC; `None` is its default group.
    pub(super) fn group(&self, vpc: &str, reference: &Value<String>) -> Result<(), Mistake> {
        let name = within(vpc, reference)?;
        if name.value == DEFAULT || self.security_groups.has(&name) {
            return Ok(());
        }
        let names = self.security_groups.names().chain([DEFAULT]);
        let hint = suggest(&name, names);
        let message = format!("VPC {vpc} has no security group '{}'{hint}", name.value);
        Err(Mistake::new(reference.at, message))
    }
}

/// Takes `vpc/` off a reference that must lead into that VPC.
pub(super) fn within(vpc: &str, reference: &Value<String>) -> Result<Value<String>, Mistake> {
    match reference.split_once('/') {
        None => Ok(reference.clone()),
        Some((own, name)) if own == vpc => Ok(Value {
            value: name.to_owned(),
            at: reference.at,
        }),
        Some((other, name)) => Err(Mistake::new(
            reference.at,
            format!("'{name}' of VPC {other} cannot be used in VPC {vpc}; name one of {vpc}"),
        )),
    }
}

impl Host {
    /// Its interfaces, the primary first; none when `subnet` is missing.
    pub(super) fn interfaces(&self) -> Vec<Interface<'_>> {
        if let Some(enis) = &self.enis {
            return enis
                .iter()
                .map(|eni| Interface {
                    subnet: &eni.value.subnet,
                    address: eni.value.address.as_ref(),
                    ipv6: eni.value.ipv6.as_ref(),
                    secondary: &eni.value.secondary,
                    prefixes: &eni.value.prefixes,
                    groups: &eni.value.groups,
                    source_dest_check: eni.value.source_dest_check,
                    eip: eni.value.eip.as_ref(),
                })
                .collect();
        }
        let only = self.subnet.as_ref().map(|subnet| Interface {
            subnet,
            address: self.address.as_ref(),
            ipv6: self.ipv6.as_ref(),
            secondary: &self.secondary,
            prefixes: &self.prefixes,
            groups: &self.groups,
            source_dest_check: self.source_dest_check,
            eip: self.eip.as_ref(),
        });
        only.into_iter().collect()
    }
}

/// All hosts that may be named on a command line, with their places.
pub(super) fn addressable(
    topology: &Topology,
) -> impl Iterator<Item = (&'static str, &Value<String>)> {
    let hosts = topology.hosts.iter().map(|(name, _)| ("host", name));
    let internet = topology
        .internet
        .hosts
        .iter()
        .map(|(name, _)| ("internet host", name));
    let on_prem = topology.on_prem.iter();
    let on_prem = on_prem.flat_map(|(_, network)| network.hosts.iter());
    let on_prem = on_prem.map(|(name, _)| ("on-premises host", name));
    let internet = internet.chain(on_prem);
    let endpoints = topology
        .endpoints
        .iter()
        .map(|(name, _)| ("endpoint", name));
    let balancers = topology
        .load_balancers
        .iter()
        .map(|(name, _)| ("load balancer", name));
    let gateways = topology
        .nat_gateways
        .iter()
        .map(|(name, _)| ("NAT gateway", name));
    hosts
        .chain(internet)
        .chain(endpoints)
        .chain(balancers)
        .chain(gateways)
}

/// The VPCs of a list of subnets.
pub(super) fn vpcs_of<'a>(subnets: &[SubnetRef<'a>]) -> BTreeSet<&'a str> {
    subnets.iter().map(|subnet| subnet.vpc).collect()
}
