//! `vpclab flows`: live connections.

use std::time::Duration;

use super::follow::{follow, now, time_of_day};
use super::style::{self, Mood};
use super::table::{Cell, Table};
use super::{CliError, Exit, Globals, human};
use crate::host::client;
use crate::host::protocol::{FlowsRequest, Request};
use crate::report::{FlowChange, FlowEvent, FlowsReport, Follower};

/// How often `--follow` looks: a flow that ended is told by its state for ten
/// seconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// Arguments of `vpclab flows`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: vpclab flows client --proto tcp --port 80\n          \
                        vpclab flows --follow --filter 'tcp and not port 22'\n\n\
                        docs/filters.md describes filters."
)]
pub struct Args {
    /// Only flows of this host or ENI.
    #[arg(value_name = "HOST|ENI")]
    pub port: Option<String>,
    /// Print each flow that begins, changes or ends.
    #[arg(short, long)]
    pub follow: bool,
    /// Only flows from or to this port.
    #[arg(long = "port", value_name = "PORT")]
    pub number: Option<u16>,
    /// Only flows of this protocol: tcp, udp, icmp or a number.
    #[arg(long, value_name = "PROTOCOL")]
    pub proto: Option<String>,
    /// Only flows that this filter wants: 'tcp and port 80'.
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
}

/// Lists the flows.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let request = Request::Flows(FlowsRequest {
        filter: filter(&args),
        port: args.port,
    });
    let ask = || client::ask(&lab, &request);
    if args.follow {
        let mut follower = Follower::default();
        return follow(INTERVAL, || {
            let report: FlowsReport = client::understand(ask()?)?;
            let mut out = String::new();
            for event in follower.look(now(), report) {
                if globals.json {
                    out.push_str(&super::json_line(&event, false)?);
                } else {
                    out.push_str(&line(&event));
                }
            }
            Ok(out)
        });
    }
    let answer = ask()?;
    if globals.json {
        super::print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let report: FlowsReport = client::understand(answer)?;
    super::print(&text(&report))?;
    Ok(Exit::Ok)
}

/// The short options, as a filter.
fn filter(args: &Args) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(proto) = &args.proto {
        let number = proto.bytes().all(|digit| digit.is_ascii_digit());
        parts.push(if number {
            format!("proto {proto}")
        } else {
            proto.clone()
        });
    }
    parts.extend(args.number.map(|port| format!("port {port}")));
    parts.extend(args.filter.as_ref().map(|filter| format!("({filter})")));
    (!parts.is_empty()).then(|| parts.join(" and "))
}

/// What happened to a flow, in a line.
fn line(event: &FlowEvent) -> String {
    let flow = &event.flow;
    let (mark, style) = match event.event {
        FlowChange::Open => ('=', style::FAINT),
        FlowChange::New => ('+', style::GOOD),
        FlowChange::Changed => ('~', style::WARN),
        FlowChange::Ended => ('-', style::PLAIN),
    };
    let time = style::paint(style::FAINT, &time_of_day(event.time));
    let mut out = format!(
        "{time} {} {} → {}  {}",
        style::paint(style, &mark.to_string()),
        flow.opener.place(),
        flow.answerer.place(),
        flow.what()
    );
    if let Some(seen) = &flow.translated {
        out.push_str(&format!("  ⇒ {}", without_protocol(seen)));
    }
    let state = flow.state.replace('_', "-");
    if event.event == FlowChange::Ended {
        let how = if flow.state == "closed" {
            "closed"
        } else {
            "timed out"
        };
        let (there, back) = (&flow.opener, &flow.answerer);
        out.push_str(&format!(
            "  {how} after {}: {} / {} there, {} / {} back",
            human::seconds(flow.age_s.saturating_sub(flow.idle_s)),
            human::count(there.packets),
            human::bytes(there.bytes),
            human::count(back.packets),
            human::bytes(back.bytes),
        ));
    } else {
        out.push_str(&format!(
            "  {}",
            style::paint(Mood::of(&flow.state).style(), &state)
        ));
    }
    out + "\n"
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
            opener.place().into(),
            answerer.place().into(),
            flow.what().into(),
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

/// The protocol stands in the line above.
pub(super) fn without_protocol(tuple: &str) -> &str {
    tuple.split_once(' ').map_or(tuple, |(_, rest)| rest)
}
