//! Names in the file: those it had, else `Name` tags, else what AWS calls a thing.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Id, InterfaceKind, Meta, Model, NetworkInterface, Plug, Resource, ResourceId, RouteTable,
    SecurityGroupId,
};
use crate::topology::Names;
use crate::topology::resolve::DEFAULT;
use crate::topology::schema::Internet;

/// Names by what they name; hosts by what their attachments say.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    of: BTreeMap<ResourceId, String>,
    hosts: BTreeMap<String, String>,
    /// Names that several VPCs have, which must be written `vpc/name`.
    shared: BTreeSet<String>,
    /// What the file named.
    given: BTreeMap<String, String>,
}

/// Names that are taken, and what a name may look like.
struct Space {
    taken: BTreeSet<String>,
    allows: fn(&str) -> bool,
}

impl Space {
    fn new(allows: fn(&str) -> bool) -> Self {
        Self {
            taken: BTreeSet::new(),
            allows,
        }
    }

    /// The first that can be had; the last one is an id, which always can.
    fn choose(&mut self, wishes: &[Option<&str>], id: &str) -> String {
        let wishes = wishes.iter().copied().flatten();
        let found = wishes
            .filter(|wish| (self.allows)(wish) && !self.taken.contains(*wish))
            .map(str::to_owned)
            .next();
        let label = found.unwrap_or_else(|| id.to_owned());
        self.taken.insert(label.clone());
        label
    }
}

/// What may name a host, load balancer or endpoint (as in a DNS label).
fn is_host_like(name: &str) -> bool {
    let letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(letter)
        && !matches!(name, "igw" | "local" | DEFAULT)
}

/// What may name anything else.
fn is_plain(name: &str) -> bool {
    let like_id = name.starts_with(SecurityGroupId::PREFIX);
    let letter = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    // What looks like an address would be read as one.
    let address = name.parse::<std::net::IpAddr>().is_ok();
    (1..=128).contains(&name.len())
        && name.bytes().all(letter)
        && !address
        && !like_id
        && name != DEFAULT
}

/// The names that the file gave, by id.
fn given(names: &Names) -> BTreeMap<String, String> {
    let mut given = BTreeMap::new();
    let mut add = |id: String, name: &str| {
        given.insert(id, name.to_owned());
    };
    for (name, vpc) in &names.vpcs {
        add(vpc.id.to_string(), name);
        vpc.subnets
            .iter()
            .for_each(|(n, id)| add(id.to_string(), n));
        vpc.route_tables
            .iter()
            .for_each(|(n, id)| add(id.to_string(), n));
        vpc.security_groups
            .iter()
            .for_each(|(n, id)| add(id.to_string(), n));
        vpc.network_acls
            .iter()
            .for_each(|(n, id)| add(id.to_string(), n));
    }
    names
        .prefix_lists
        .iter()
        .for_each(|(n, id)| add(id.to_string(), n));
    names
        .peerings
        .iter()
        .for_each(|(n, id)| add(id.to_string(), n));
    names
        .load_balancers
        .iter()
        .for_each(|(n, id)| add(id.to_string(), n));
    names
        .target_groups
        .iter()
        .for_each(|(n, id)| add(id.to_string(), n));
    names
        .endpoint_services
        .iter()
        .for_each(|(n, service)| add(service.id.to_string(), n));
    names
        .nat_gateways
        .iter()
        .for_each(|(n, gateway)| add(gateway.id.to_string(), n));
    names
        .endpoints
        .iter()
        .for_each(|(n, id)| add(id.to_string(), n));
    given
}

struct Naming<'a> {
    labels: Labels,
    given: BTreeMap<String, String>,
    own: &'a dyn Fn(&Meta) -> bool,
}

impl Naming<'_> {
    /// Names everything of these, what the file named first.
    fn name<'r, R: Resource>(
        &mut self,
        space: &mut Space,
        all: impl Iterator<Item = &'r R>,
        own_name: impl Fn(&R) -> Option<&str>,
    ) {
        let own = self.own;
        let mut all: Vec<&R> = all.filter(|resource| own(resource.meta())).collect();
        all.sort_by_key(|resource| !self.given.contains_key(&**resource.id().text()));
        for resource in all {
            let id = resource.id();
            let given = self.given.get(&**id.text()).map(String::as_str);
            let tag = resource.meta().name.as_deref();
            // Of an ARN the last part names one thing in its region.
            let short = id.text().rsplit('/').next().unwrap_or_default();
            // No group may be named like an id.
            let short = match short.strip_prefix(SecurityGroupId::PREFIX) {
                Some(digits) => format!("group-{digits}"),
                None => short.to_owned(),
            };
            let label = space.choose(&[given, own_name(resource), tag], &short);
            self.labels.of.insert(id.resource(), label);
        }
    }
}

impl Labels {
    pub(super) fn of(
        model: &Model,
        names: &Names,
        internet: &Internet,
        own: impl Fn(&Meta) -> bool,
    ) -> Self {
        let mut naming = Naming {
            labels: Self::default(),
            given: given(names),
            own: &own,
        };
        let mut lists = Space::new(is_plain);
        naming.name(
            &mut lists,
            model.prefix_lists().iter().map(|r| &**r),
            |list| Some(&list.list_name),
        );
        naming.networks(model, &lists);
        let mut hosts = Space::new(is_host_like);
        hosts
            .taken
            .extend(internet.hosts.names().map(str::to_owned));
        naming.hosts(model, names, &mut hosts);
        naming.name(
            &mut hosts,
            model.load_balancers().iter().map(|r| &**r),
            |lb| Some(&lb.name),
        );
        naming.name(
            &mut hosts,
            model.nat_gateways().iter().map(|r| &**r),
            |_| None,
        );
        naming.name(
            &mut hosts,
            model.vpc_endpoints().iter().map(|r| &**r),
            |_| None,
        );
        // Routes name peering connections, endpoints and hosts alike.
        naming.name(
            &mut hosts,
            model.vpc_peering_connections().iter().map(|r| &**r),
            |_| None,
        );
        let mut plain = Space::new(is_plain);
        naming.name(
            &mut plain,
            model.target_groups().iter().map(|r| &**r),
            |group| Some(&group.name),
        );
        let mut plain = Space::new(is_plain);
        naming.name(
            &mut plain,
            model.endpoint_services().iter().map(|r| &**r),
            |_| None,
        );
        Self {
            given: naming.given,
            ..naming.labels
        }
    }

    /// Whether the file named it.
    pub(super) fn is_given(&self, id: &impl Id) -> bool {
        self.given.contains_key(&**id.text())
    }

    pub(super) fn get(&self, id: &impl Id) -> Option<&String> {
        self.of.get(&id.resource())
    }

    /// A name inside a VPC, as another part of the file must write it.
    pub(super) fn within(&self, vpc: &impl Id, id: &impl Id) -> Option<String> {
        let name = self.get(id)?;
        match self.shared.contains(name) {
            true => Some(format!("{}/{name}", self.get(vpc)?)),
            false => Some(name.clone()),
        }
    }

    /// The name of the host that an attachment means.
    pub(super) fn host(&self, attached: &str) -> Option<&String> {
        self.hosts.get(attached)
    }
}

impl Naming<'_> {
    fn networks(&mut self, model: &Model, lists: &Space) {
        let mut plain = Space::new(is_plain);
        let vpcs = model.vpcs().iter().map(|vpc| &**vpc);
        self.name(&mut plain, vpcs.filter(|vpc| !vpc.is_outside()), |_| None);
        let mut seen = BTreeSet::new();
        for vpc in model.vpcs().iter().filter(|vpc| !vpc.is_outside()) {
            let id = &vpc.id;
            let mut subnets = Space::new(is_plain);
            self.name(
                &mut subnets,
                model.referrers(id).map(|r| &**r),
                |_: &crate::model::Subnet| None,
            );
            for name in subnets.taken {
                if !seen.insert(name.clone()) {
                    self.labels.shared.insert(name);
                }
            }
            let mut tables = Space::new(is_plain);
            self.name(
                &mut tables,
                model.referrers(id).map(|r| &**r),
                |_: &RouteTable| None,
            );
            // Rules name groups and prefix lists alike.
            let mut groups = Space::new(is_plain);
            groups.taken.clone_from(&lists.taken);
            let all = model.referrers(id).map(|r| &**r);
            self.name(&mut groups, all, |group: &crate::model::SecurityGroup| {
                Some(&group.group_name)
            });
            let mut acls = Space::new(is_plain);
            let all = model.referrers(id).map(|r| &**r);
            self.name(&mut acls, all, |_: &crate::model::NetworkAcl| None);
        }
    }

    /// Hosts, and interfaces that no host has.
    fn hosts(&mut self, model: &Model, names: &Names, space: &mut Space) {
        let is_host = |eni: &&NetworkInterface| {
            eni.kind == InterfaceKind::Host && !eni.is_outside() && (self.own)(&eni.meta)
        };
        let all = model.interfaces().iter().map(|eni| &**eni).filter(is_host);
        let (attached, loose): (Vec<_>, Vec<_>) = all.partition(|eni| eni.attachment.is_some());
        let attached = attached.iter().filter_map(|eni| eni.attachment.as_ref());
        let mut hosts: Vec<&str> = attached
            .filter(|at| !matches!(at.plug, Plug::Gateway | Plug::Service))
            .map(|at| &*at.host)
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.sort_by_key(|host| !names.hosts.contains_key(*host));
        for host in hosts {
            let instance = model.instances().iter().find(|i| i.id.as_str() == host);
            let tag = instance.and_then(|instance| instance.meta.name.as_deref());
            let given = names.hosts.contains_key(host).then_some(host);
            let label = space.choose(&[given, tag], host);
            self.labels.hosts.insert(host.to_owned(), label);
        }
        for eni in loose {
            let label = space.choose(&[eni.meta.name.as_deref()], eni.id.as_str());
            self.labels.of.insert(eni.id.resource(), label);
        }
    }
}
