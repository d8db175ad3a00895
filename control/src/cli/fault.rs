//! `vpclab fault`: makes faults in a running lab, and ends them.

use super::table::{Cell, Table};
use super::{CliError, Exit, Globals};
use crate::faults::{Chance, FaultRequest, HostFault, LinkDirection, LinkFaults, Rate, Span};
use crate::host::client;
use crate::host::protocol::Request;
use crate::report::FaultsReport;

/// Arguments of `vpclab fault`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// The faults.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Lose, delay, reorder, double or damage the packets of a host's links, or
    /// slow them down. What is not named stays as it is.
    Link(Box<LinkArgs>),
    /// Take an availability zone down, or bring it back: nothing leaves or reaches it.
    #[command(group = clap::ArgGroup::new("state").required(true))]
    Az {
        /// The zone: us-east-1a, or its letter.
        zone: String,
        /// Take it down.
        #[arg(long, group = "state")]
        down: bool,
        /// Bring it back.
        #[arg(long, group = "state")]
        up: bool,
    },
    /// Kill or freeze a host, or bring it back.
    #[command(group = clap::ArgGroup::new("state").required(true))]
    Host {
        /// The host.
        host: String,
        /// Power off: its programs die, its links are down.
        #[arg(long, group = "state")]
        kill: bool,
        /// Freeze: its programs stop where they are, its links are down.
        #[arg(long, group = "state")]
        pause: bool,
        /// Bring it back: what was killed starts anew, what was frozen goes on.
        #[arg(long, group = "state")]
        restore: bool,
    },
    /// Show the faults, with what they have done.
    List,
    /// End all faults, or those of one host.
    Clear {
        /// Host, HOST/eth1 or ENI.
        host: Option<String>,
    },
}

/// Arguments of `vpclab fault link`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("faults").required(true).multiple(true))]
pub struct LinkArgs {
    /// Host, HOST/eth1 or ENI.
    pub host: String,
    /// Share of packets that vanish: 1% or 0.01.
    #[arg(long, value_name = "SHARE", group = "faults")]
    pub loss: Option<Chance>,
    /// Time on the wire, each way: 20ms.
    #[arg(long, value_name = "TIME", group = "faults")]
    pub delay: Option<Span>,
    /// Random addition to the delay, up to this.
    #[arg(long, value_name = "TIME", group = "faults")]
    pub jitter: Option<Span>,
    /// Share of packets that later ones overtake.
    #[arg(long, value_name = "SHARE", group = "faults")]
    pub reorder: Option<Chance>,
    /// Share of packets that arrive twice.
    #[arg(long, value_name = "SHARE", group = "faults")]
    pub duplicate: Option<Chance>,
    /// Share of packets that arrive with one bit flipped.
    #[arg(long, value_name = "SHARE", group = "faults")]
    pub corrupt: Option<Chance>,
    /// Bits per second: 10mbit.
    #[arg(long, value_name = "RATE", group = "faults")]
    pub rate: Option<Rate>,
    /// Longest wait for a slow link's turn [default: 200ms].
    #[arg(long, value_name = "TIME", group = "faults")]
    pub queue: Option<Span>,
    /// Pull the cable: nothing passes.
    #[arg(long, group = "faults", conflicts_with = "up")]
    pub down: bool,
    /// Plug it in again.
    #[arg(long, group = "faults")]
    pub up: bool,
    /// Which packets: both, up (from the host), down (to the host).
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub direction: LinkDirection,
}

/// Asks the lab, and shows what is wrong with it now.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let answer = client::ask(&lab, &Request::Fault(request(args.what)))?;
    if globals.json {
        super::print_json(&answer)?;
        return Ok(Exit::Ok);
    }
    let report: FaultsReport = client::understand(answer)?;
    super::print(&show(&report))?;
    Ok(Exit::Ok)
}

fn request(what: What) -> FaultRequest {
    match what {
        What::Link(link) => FaultRequest::Link {
            port: link.host,
            direction: link.direction,
            faults: LinkFaults {
                down: (link.down || link.up).then_some(link.down),
                loss: link.loss,
                delay: link.delay,
                jitter: link.jitter,
                reorder: link.reorder,
                duplicate: link.duplicate,
                corrupt: link.corrupt,
                rate: link.rate,
                queue: link.queue,
            },
        },
        What::Az { zone, down, .. } => FaultRequest::Zone { zone, down },
        What::Host {
            host, kill, pause, ..
        } => FaultRequest::Host {
            host,
            fault: match (kill, pause) {
                (true, _) => Some(HostFault::Killed),
                (_, true) => Some(HostFault::Paused),
                _ => None,
            },
        },
        What::List => FaultRequest::List,
        What::Clear { host } => FaultRequest::Clear { port: host },
    }
}

fn show(report: &FaultsReport) -> String {
    let mut table = Table::new(["FAULT", "WHERE", "WHAT", ">SENT", ">LOST"]);
    let mut row = |kind: &str, place: String, what: String, counters: [String; 2]| {
        let [sent, lost] = counters;
        table.row([kind.to_owned(), place, what, sent, lost].map(Cell::from));
    };
    for zone in &report.zones_down {
        row("zone", zone.clone(), "down".to_owned(), Default::default());
    }
    for (host, fault) in &report.hosts {
        let what = match fault {
            HostFault::Killed => "killed",
            HostFault::Paused => "paused",
        };
        row("host", host.clone(), what.to_owned(), Default::default());
    }
    for link in &report.links {
        for (way, arrow) in [(&link.up, "from"), (&link.down, "to")] {
            if way.faults.is_empty() {
                continue;
            }
            let place = format!("{arrow} {} {}", link.host, link.device);
            let lost = way.counters.lost + way.counters.overflowed;
            let counters = [way.counters.sent.to_string(), lost.to_string()];
            row("link", place, way.faults.to_string(), counters);
        }
    }
    match table.is_empty() {
        true => "no faults\n".to_owned(),
        false => table.render(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::report::faults::WayCounters;
    use crate::report::{LinkReport, WayReport};

    fn parse(args: &[&str]) -> Result<FaultRequest, String> {
        let all = ["vpclab", "fault"].iter().chain(args);
        match Cli::try_parse_from(all).map(|cli| cli.command) {
            Ok(Command::Fault(args)) => Ok(request(args.what)),
            Ok(_) => Err("another command".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_is_written_is_what_is_asked() {
        let asked = parse(&[
            "link",
            "web",
            "--loss",
            "1%",
            "--delay",
            "20ms",
            "--direction",
            "up",
        ]);
        let Ok(FaultRequest::Link {
            port,
            direction,
            faults,
        }) = asked
        else {
            panic!("{asked:?}");
        };
        assert_eq!((port.as_str(), direction), ("web", LinkDirection::Up));
        assert_eq!(faults.to_string(), "loss 1%, delay 20ms");
        assert_eq!(
            parse(&["az", "a", "--up"]),
            Ok(FaultRequest::Zone {
                zone: "a".to_owned(),
                down: false
            })
        );
    }

    #[test]
    fn half_a_command_is_refused() {
        for args in [
            &["link", "web"][..],
            &["az", "a"],
            &["host", "web", "--kill", "--pause"],
            &["link", "web", "--loss", "5"],
            &["link", "web", "--up", "--down"],
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn a_table_names_each_fault() {
        let way = |faults: &str, sent, lost| WayReport {
            faults: serde_json::from_str(faults).expect("faults"),
            counters: WayCounters {
                sent,
                lost,
                ..WayCounters::default()
            },
        };
        let report = FaultsReport {
            zones_down: vec!["us-east-1a".to_owned()],
            hosts: [("web".to_owned(), HostFault::Killed)].into(),
            links: vec![LinkReport {
                host: "db".to_owned(),
                device: "eth0".to_owned(),
                eni: "eni-0".to_owned(),
                up: way(r#"{"loss": "1%"}"#, 100, 2),
                down: way("{}", 0, 0),
            }],
        };
        let shown = show(&report);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 4, "{shown}");
        let last = anstream::adapter::strip_str(lines[3]).to_string();
        assert_eq!(last, "link   from db eth0  loss 1%   100     2", "{shown}");
        assert_eq!(show(&FaultsReport::default()), "no faults\n");
    }
}
