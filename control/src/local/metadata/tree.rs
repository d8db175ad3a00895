//! What there is to read: a tree of names, made for whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use vpclab_dataplane::addr::Prefix;

use crate::local::asker::Asker;
use crate::model::{Instance, NetworkInterface, SecurityGroup, private_name, public_name};

/// Leaves by path, without slashes at the ends.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<String, String>);

impl Tree {
    fn put(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.insert(path.into(), text.into());
    }

    /// A list, if there is anything in it.
    fn list(&mut self, path: impl Into<String>, all: impl IntoIterator<Item = String>) {
        let all: Vec<String> = all.into_iter().collect();
        if !all.is_empty() {
            self.put(path, all.join("\n"));
        }
    }

    /// A leaf's text, or the names in a branch, a slash after those of branches.
    pub(super) fn find(&self, path: &str) -> Option<String> {
        if let Some(text) = self.0.get(path) {
            return Some(text.clone());
        }
        let branch = match path {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let below = self.0.keys().filter_map(|leaf| leaf.strip_prefix(&branch));
        let mut names: Vec<String> = below
            .map(|rest| match rest.split_once('/') {
                Some((name, _)) => format!("{name}/"),
                None => rest.to_owned(),
            })
            .collect();
        names.dedup();
        (!names.is_empty()).then(|| names.join("\n"))
    }
}

/// The tree of `meta-data` or `dynamic`.
pub(super) fn of(asker: &Asker<'_>, top: &str) -> Tree {
    match top {
        "dynamic" => dynamic(asker),
        _ => meta_data(asker),
    }
}

fn meta_data(asker: &Asker<'_>) -> Tree {
    let mut tree = Tree::default();
    let interfaces = asker.interfaces();
    let instance = asker.instance();
    let Some(first) = interfaces.first() else {
        return tree;
    };
    tree.put("ami-id", image(instance));
    tree.put(
        "ami-launch-index",
        instance.map_or(0, |it| it.launch_index).to_string(),
    );
    tree.put("instance-action", "none");
    tree.put("instance-id", asker.instance_id());
    tree.put("instance-life-cycle", "on-demand");
    tree.put("instance-type", kind(instance));
    tree.put("mac", first.mac.to_string());
    tree.put("profile", "default-hvm");
    tree.put("services/domain", "amazonaws.com");
    tree.put("services/partition", "aws");
    let region = &asker.vpc.meta.region;
    tree.put("placement/region", &**region);
    if let Some(subnet) = asker.model.get(&first.subnet) {
        tree.put("placement/availability-zone", &*subnet.zone);
    }
    if let Some(ip) = first.primary() {
        let name = private_name(ip, region);
        tree.put("hostname", &*name);
        tree.put("local-hostname", name);
        tree.put("local-ipv4", ip.to_string());
    }
    if let Some(key) = instance.and_then(|it| it.key_name.as_ref()) {
        tree.put(format!("public-keys/0={key}"), "");
    }
    if let Some(instance) = instance {
        tree.put("reservation-id", &*instance.reservation);
    }
    let public = asker.public(first);
    if let Some(&(public, _)) = public.first() {
        tree.put("public-ipv4", public.to_string());
        if asker.vpc.dns_hostnames {
            tree.put("public-hostname", public_name(public, region));
        }
    }
    if let Some(ip) = first.ipv6_addresses.first() {
        tree.put("ipv6", ip.to_string());
    }
    tree.list("security-groups", group_names(asker, first));
    for interface in &interfaces {
        card(asker, &mut tree, interface);
    }
    tree
}

/// `network/interfaces/macs/MAC/…`
fn card(asker: &Asker<'_>, tree: &mut Tree, interface: &NetworkInterface) {
    let at = |name: &str| format!("network/interfaces/macs/{}/{name}", interface.mac);
    let region = &interface.meta.region;
    let device = interface
        .attachment
        .as_ref()
        .map_or(0, |it| it.device_index);
    tree.put(at("device-number"), device.to_string());
    tree.put(at("interface-id"), interface.id.as_str());
    tree.put(at("mac"), interface.mac.to_string());
    tree.put(at("owner-id"), &*interface.meta.owner);
    tree.put(at("subnet-id"), interface.subnet.as_str());
    tree.put(at("vpc-id"), interface.vpc.as_str());
    let locals = interface.private_addresses.iter();
    tree.list(at("local-ipv4s"), locals.map(ToString::to_string));
    let sixes = interface.ipv6_addresses.iter();
    tree.list(at("ipv6s"), sixes.map(ToString::to_string));
    if let Some(ip) = interface.primary() {
        tree.put(at("local-hostname"), private_name(ip, region));
    }
    let groups = interface.groups.iter().map(|id| id.as_str().to_owned());
    tree.list(at("security-group-ids"), groups);
    tree.list(at("security-groups"), group_names(asker, interface));
    let public = asker.public(interface);
    tree.list(
        at("public-ipv4s"),
        public.iter().map(|(public, _)| public.to_string()),
    );
    for (public, private) in &public {
        let path = format!("ipv4-associations/{public}");
        tree.put(at(&path), private.to_string());
    }
    if let Some((public, _)) = public.first()
        && asker.vpc.dns_hostnames
    {
        tree.put(at("public-hostname"), public_name(*public, region));
    }
    if let Some(subnet) = asker.model.get(&interface.subnet) {
        tree.put(at("subnet-ipv4-cidr-block"), subnet.cidr.to_string());
        let sixes = subnet.ipv6_cidr.iter().map(ToString::to_string);
        tree.list(at("subnet-ipv6-cidr-blocks"), sixes);
    }
    if let Some(vpc) = asker.model.get(&interface.vpc) {
        let text = |block: Prefix| block.to_string();
        let fours: Vec<_> = vpc.cidrs.iter().map(|it| text(it.block)).collect();
        if let Some(primary) = fours.first() {
            tree.put(at("vpc-ipv4-cidr-block"), primary);
        }
        tree.list(at("vpc-ipv4-cidr-blocks"), fours);
        let sixes = vpc.ipv6_cidrs.iter().map(|it| text(it.block));
        tree.list(at("vpc-ipv6-cidr-blocks"), sixes);
    }
}

fn group_names(asker: &Asker<'_>, interface: &NetworkInterface) -> Vec<String> {
    let groups = interface.groups.iter();
    let groups = groups.filter_map(|id| asker.model.get(id));
    groups
        .map(|group: &Arc<SecurityGroup>| group.group_name.to_string())
        .collect()
}

/// `instance-identity/document`. It is not signed: nobody could check it.
fn dynamic(asker: &Asker<'_>) -> Tree {
    let mut tree = Tree::default();
    let interfaces = asker.interfaces();
    let Some(first) = interfaces.first() else {
        return tree;
    };
    let zone = asker.model.get(&first.subnet).map(|it| it.zone.to_string());
    let document = serde_json::json!({
        "accountId": &*first.meta.owner,
        "architecture": std::env::consts::ARCH,
        "availabilityZone": zone,
        "imageId": image(asker.instance()),
        "instanceId": asker.instance_id(),
        "instanceType": kind(asker.instance()),
        "pendingTime": null,
        "privateIp": first.primary(),
        "region": &*asker.vpc.meta.region,
        "version": "2017-09-30",
    });
    tree.put("instance-identity/document", format!("{document:#}"));
    tree
}

/// ASSUMPTION: a host that a file makes is of no image and a small type.
fn image(instance: Option<&Instance>) -> String {
    instance
        .map_or("ami-00000000000000000", |it| &it.image)
        .to_owned()
}

fn kind(instance: Option<&Instance>) -> String {
    instance
        .map_or("t3.micro", |it| &it.instance_type)
        .to_owned()
}
