//! What must be true of a topology before anything is changed. The mistake
//! that stands first in the file is reported.
//!
//! AWS's own rules are checked by the API actions; here is what needs the
//! file's names and places to be said well.

mod cycles;
mod expect;
mod hosts;
mod network;
mod on_prem;
mod peering;
mod publish;
mod services;

use super::error::{Mistake, suggest};
use super::located::Value;
use super::resolve::addressable;
use super::schema::{Topology, WORKERS_MAX};

/// Checks everything.
pub(super) fn check(topology: &Topology) -> Result<(), Mistake> {
    let mut found = Findings::default();
    found.note(lab_name(&topology.name));
    found.note(workers(topology));
    names(topology, &mut found);
    network::check(topology, &mut found);
    hosts::check(topology, &mut found);
    services::check(topology, &mut found);
    cycles::check(topology, &mut found);
    publish::check(topology, &mut found);
    expect::check(topology, &mut found);
    found.first()
}

/// Mistakes found so far.
#[derive(Default)]
struct Findings(Vec<Mistake>);

impl Findings {
    /// Keeps the mistake of a result, and hands the good value on.
    fn note<T>(&mut self, result: Result<T, Mistake>) -> Option<T> {
        result.map_err(|mistake| self.0.push(mistake)).ok()
    }

    fn add(&mut self, mistake: Mistake) {
        self.0.push(mistake);
    }

    fn first(self) -> Result<(), Mistake> {
        match self.0.into_iter().min_by_key(|mistake| mistake.at) {
            Some(mistake) => Err(mistake),
            None => Ok(()),
        }
    }
}

/// A lab's name becomes part of paths and namespaces.
fn lab_name(name: &Value<String>) -> Result<(), Mistake> {
    host_like("a lab", name)
}

/// Lower-case letters, digits and dashes, as in a DNS label.
fn host_like(what: &str, name: &Value<String>) -> Result<(), Mistake> {
    let valid = !name.is_empty()
        && name.len() <= 63
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if valid {
        return Ok(());
    }
    let message = format!(
        "'{}' cannot name {what}; use lower-case letters, digits and dashes, at most 63",
        name.value
    );
    Err(Mistake::new(name.at, message))
}

/// Anything else has no slash, space or colon in its name.
fn plain(what: &str, name: &Value<String>) -> Result<(), Mistake> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= 128 && name.chars().all(allowed) {
        return Ok(());
    }
    let message = format!(
        "'{}' cannot name {what}; use letters, digits, '-', '_' and '.'",
        name.value
    );
    Err(Mistake::new(name.at, message))
}

fn names(topology: &Topology, found: &mut Findings) {
    for (what, name) in addressable(topology) {
        found.note(host_like(what, name));
        if let reserved @ ("igw" | "vgw" | "local" | "default") = name.as_str() {
            let message = format!("'{reserved}' means something else in routes and rules; rename");
            found.add(Mistake::new(name.at, message));
        }
    }
    // What a command may name must be one thing.
    let mut seen: Vec<(&str, &Value<String>)> = Vec::new();
    for (what, name) in addressable(topology) {
        match seen.iter().find(|(_, other)| other.value == name.value) {
            Some((other, at)) => found.add(Mistake::new(
                name.at,
                format!(
                    "'{}' is already the name of the {other} at line {}; rename one of them",
                    name.value, at.at.line
                ),
            )),
            None => seen.push((what, name)),
        }
    }
    let others = [
        ("a VPC", names_of(&topology.vpcs)),
        ("a prefix list", names_of(&topology.prefix_lists)),
        ("a target group", names_of(&topology.target_groups)),
        ("an endpoint service", names_of(&topology.endpoint_services)),
    ];
    for (what, names) in others {
        for name in names {
            found.note(plain(what, name));
        }
    }
    for (name, _) in topology.prefix_lists.iter() {
        for (_, body) in topology.vpcs.iter() {
            if let Some((group, _)) = body
                .security_groups
                .iter()
                .find(|(g, _)| g.value == name.value)
            {
                let message = format!(
                    "'{}' is also a prefix list (line {}); in rules it could mean either, rename one",
                    group.value, name.at.line
                );
                found.add(Mistake::new(group.at, message));
            }
        }
    }
}

fn workers(topology: &Topology) -> Result<(), Mistake> {
    match &topology.settings.workers {
        Some(count) if !(1..=WORKERS_MAX).contains(&count.value) => {
            let message = format!(
                "{} packet workers are not possible; from 1 to {WORKERS_MAX}, at most one a core makes sense",
                count.value
            );
            Err(Mistake::new(count.at, message))
        }
        _ => Ok(()),
    }
}

fn names_of<T>(named: &super::located::Named<T>) -> Vec<&Value<String>> {
    named.iter().map(|(name, _)| name).collect()
}

/// A reference into a list of names, as a mistake when it is not there.
fn must_be<'a>(
    what: &str,
    reference: &Value<String>,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), Mistake> {
    if names.clone().any(|name| name == reference.value) {
        return Ok(());
    }
    let hint = suggest(reference, names);
    Err(Mistake::new(
        reference.at,
        format!("no {what} is called '{}'{hint}", reference.value),
    ))
}
