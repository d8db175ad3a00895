//! `vpclab ps`: what runs.

use serde_json::Value;

use super::{CliError, Exit, Globals, table};
use crate::host::client;
use crate::host::protocol::Request;

/// Arguments of `vpclab ps`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Lists hosts, endpoints, load balancers and targets.
pub fn run(_args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let answer = client::ask(&lab, &Request::Ps)?;
    if globals.json {
        super::print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![["KIND", "NAME", "ADDRESS", "STATE"].map(str::to_owned)];
    for host in items(&answer, "hosts") {
        let commands: Vec<_> = items(host, "commands").collect();
        let ended = commands
            .iter()
            .find_map(|command| command.get("ended").and_then(Value::as_str));
        let state = match (ended, commands.len()) {
            (Some(how), _) => format!("command ended: {how}"),
            (None, 0) => "up".to_owned(),
            (None, n) => format!("up, {n} running"),
        };
        rows.push([
            "host".to_owned(),
            field(host, "name"),
            addresses(host),
            state,
        ]);
    }
    for endpoint in items(&answer, "endpoints") {
        let name = match field(endpoint, "name") {
            name if name.is_empty() => field(endpoint, "id"),
            name => name,
        };
        rows.push([
            "endpoint".to_owned(),
            name,
            addresses(endpoint),
            field(endpoint, "state"),
        ]);
    }
    for balancer in items(&answer, "load_balancers") {
        let name = field(balancer, "name");
        rows.push([
            "load balancer".to_owned(),
            name,
            addresses(balancer),
            "active".to_owned(),
        ]);
    }
    for group in items(&answer, "target_groups") {
        for target in items(group, "targets") {
            let address = format!("{}:{}", field(target, "address"), field(target, "port"));
            let state = match field(target, "reason") {
                reason if reason.is_empty() => field(target, "health"),
                reason => format!("{} ({reason})", field(target, "health")),
            };
            rows.push(["target".to_owned(), field(group, "name"), address, state]);
        }
    }
    super::print(&table::lines(&rows))?;
    Ok(Exit::Ok)
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn addresses(value: &Value) -> String {
    items(value, "addresses")
        .map(text)
        .collect::<Vec<_>>()
        .join(" ")
}

fn field(value: &Value, key: &str) -> String {
    value.get(key).map(text).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
