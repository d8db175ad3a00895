//! `vpclab flows`: live connections.

use serde_json::Value;

use super::{CliError, Exit, Globals, table};
use crate::host::client;
use crate::host::protocol::Request;

/// Arguments of `vpclab flows`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only flows of this host or ENI.
    pub port: Option<String>,
}

/// Lists the flows.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let answer = client::ask(&lab, &Request::Flows { port: args.port })?;
    if globals.json {
        super::print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![["AGE", "AT", "SENDS", "PACKETS", "BYTES"].map(str::to_owned)];
    let flows = answer.get("flows").and_then(Value::as_array);
    for flow in flows.into_iter().flatten() {
        for (end, mark) in [("opener", true), ("answerer", false)] {
            let of = |key: &str| flow.pointer(&format!("/{end}/{key}")).map(text);
            let age = flow.get("age_s").filter(|_| mark).map(text);
            let cells = [
                age.map(|age| age + "s"),
                of("at"),
                of("sends"),
                of("packets"),
                of("bytes"),
            ];
            rows.push(cells.map(Option::unwrap_or_default));
        }
    }
    super::print(&table::lines(&rows))?;
    Ok(Exit::Ok)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
