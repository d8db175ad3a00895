//! `vpclab flows`: live connections.

use super::style::{self, Mood};
use super::table::{Cell, Table};
use super::{CliError, Exit, Globals, human};
use crate::host::client;
use crate::host::protocol::Request;
use crate::report::{FlowReport, FlowsReport};

/// Arguments of `vpclab flows`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only flows of this host or ENI.
    #[arg(value_name = "HOST|ENI")]
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
    let report: FlowsReport = client::understand(answer)?;
    super::print(&text(&report))?;
    Ok(Exit::Ok)
}

/// The flows as a table: a second line shows what the other end sees.
pub fn text(report: &FlowsReport) -> String {
    let mut table = Table::new(["AGE", "FROM", "TO", "FLOW", ">SENT", ">BACK", "STATE"]);
    for flow in &report.flows {
        let amount = |packets: u64, bytes: u64| {
            format!("{} / {}", human::count(packets), human::bytes(bytes))
        };
        let (opener, answerer) = (&flow.opener, &flow.answerer);
        table.row([
            human::seconds(flow.age_s).into(),
            place(opener.at.as_deref()).into(),
            place(answerer.at.as_deref()).into(),
            what(flow).into(),
            amount(opener.packets, opener.bytes).into(),
            amount(answerer.packets, answerer.bytes).into(),
            Cell::state(Mood::of(&flow.state), &flow.state.replace('_', "-")),
        ]);
        if let Some(seen) = &flow.translated {
            let seen = format!("  seen as {}", without_protocol(seen));
            let none = || Cell::from("");
            let seen = Cell::styled(seen, style::FAINT);
            table.row([none(), none(), none(), seen, none(), none(), none()]);
        }
    }
    if table.is_empty() {
        return "no flows\n".to_owned();
    }
    table.render()
}

/// The host, without device and ENI.
pub(super) fn place(at: Option<&str>) -> &str {
    let at = at.unwrap_or("–");
    let name = at.split_once(" eni-").map_or(at, |(name, _)| name);
    name.split_once(" eth").map_or(name, |(host, _)| host)
}

/// What the opener sends; where that is not known, what the other end sees.
pub(super) fn what(flow: &FlowReport) -> &str {
    let sends = flow.opener.sends.as_deref();
    sends.or(flow.translated.as_deref()).unwrap_or("–")
}

/// The protocol stands in the line above.
pub(super) fn without_protocol(tuple: &str) -> &str {
    tuple.split_once(' ').map_or(tuple, |(_, rest)| rest)
}
