//! A running lab as a topology file: what its model holds, whoever made it, and
//! what only its file says (commands, links, assertions).
//!
//! What a topology file cannot say is left out, and said so: nothing is lost in
//! silence. Read again, the text makes the same tables; exported again, the same
//! text.

mod file;
mod hosts;
mod labels;
mod nat_gateways;
mod network;
mod node;
mod services;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::labels::Labels;
use self::node::Map;
use super::{Names, Topology};
use crate::model::{AWS_OWNER, AWS_SERVICE_OWNER, INTERNET_OWNER, Id, Kind, Meta, Model, Resource};

/// A lab as a topology file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exported {
    /// The file.
    pub topology: String,
    /// What it cannot say, and so does not.
    pub left_out: Vec<String>,
}

/// What an account has in the lab of this model, which began as `file`, with its
/// names. The file's own things are the default account's.
pub fn export(model: &Model, file: &Topology, names: &Names, account: &str) -> Exported {
    let labels = Labels::of(model, names, &file.internet, |meta| {
        is_of(meta, account, file.region())
    });
    let mut exporter = Exporter {
        model,
        file,
        account,
        labels,
        left_out: BTreeSet::new(),
    };
    let map = exporter.everything();
    let topology = serde_saphyr::to_string(&map)
        .unwrap_or_else(|error| unreachable!("plain data is YAML: {error}"));
    Exported {
        topology,
        left_out: exporter.left_out.into_iter().collect(),
    }
}

fn is_of(meta: &Meta, account: &str, region: &str) -> bool {
    &*meta.owner == account && &*meta.region == region
}

struct Exporter<'a> {
    model: &'a Model,
    file: &'a Topology,
    account: &'a str,
    labels: Labels,
    left_out: BTreeSet<String>,
}

impl<'a> Exporter<'a> {
    fn everything(&mut self) -> Map {
        let mut map = Map::default();
        self.heading(&mut map);
        map.filled("vpcs", self.vpcs().into());
        map.filled("peerings", self.peerings().into());
        map.filled("prefix_lists", self.prefix_lists().into());
        map.filled("hosts", self.hosts().into());
        map.filled("internet", self.internet().into());
        map.filled("nat_gateways", self.nat_gateways().into());
        map.filled("on_prem", self.on_prem().into());
        map.filled("load_balancers", self.load_balancers().into());
        map.filled("target_groups", self.target_groups().into());
        map.filled("endpoint_services", self.endpoint_services().into());
        map.filled("services", self.services().into());
        map.filled("endpoints", self.endpoints().into());
        map.filled("dns", self.dns().into());
        map.filled("zones", self.zones().into());
        self.ending(&mut map);
        self.others();
        map
    }

    /// Everything of one kind that belongs to the lab's own account and region.
    fn own<R: Resource>(&self) -> impl Iterator<Item = &'a R> + use<'a, R> {
        let (account, region) = (self.account, self.file.region());
        R::table(self.model)
            .iter()
            .map(|resource| &**resource)
            .filter(move |resource| {
                !resource.is_hidden() && is_of(resource.meta(), account, region)
            })
    }

    fn leave_out(&mut self, what: impl Into<String>) {
        self.left_out.insert(what.into());
    }

    /// The label of something that another names; if it has none, the naming is
    /// left out.
    fn label<I: Id>(&mut self, id: &I, user: &str) -> Option<String> {
        let found = self.labels.get(id).cloned();
        if found.is_none() {
            self.leave_out(format!("{user}: leads to {id}, which the file cannot name"));
        }
        found
    }

    /// What belongs to other accounts and regions, and what has no place in the file.
    fn others(&mut self) {
        let mut scopes: BTreeMap<String, u32> = BTreeMap::new();
        let mut tagged = 0;
        for id in self.model.ids() {
            let Some(meta) = self.model.meta_of(&id) else {
                continue;
            };
            if [INTERNET_OWNER, AWS_OWNER, AWS_SERVICE_OWNER].contains(&&*meta.owner)
                || id.kind == Kind::ClientToken
            {
                continue;
            }
            if !is_of(meta, self.account, self.file.region()) {
                *scopes
                    .entry(format!("account {}, {}", meta.owner, meta.region))
                    .or_default() += 1;
            } else if !meta.tags.is_empty() {
                tagged += 1;
            }
        }
        for (scope, count) in scopes {
            self.leave_out(format!("{scope}: {count} resources"));
        }
        if tagged > 0 {
            self.leave_out(format!("tags other than Name: of {tagged} resources"));
        }
    }
}
