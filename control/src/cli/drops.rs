//! `vpclab drops`: packets that were dropped, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use super::follow::{follow, time_of_day};
use super::style::{self, paint};
use super::{CliError, Exit, Globals};
use crate::host::client;
use crate::host::protocol::{DropsRequest, Request};
use crate::report::{DropReport, DropsReport};

/// Lines a second that `--follow` prints; the rest is counted.
const RATE: usize = 20;
/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(500);
const LOOKS_PER_SECOND: usize = 2;

/// Arguments of `vpclab drops`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: vpclab drops web\n          \
                        vpclab drops --follow --filter 'tcp port 5432'\n\n\
                        docs/filters.md describes filters. Multicast and ARP for nobody, which \
                        hosts send unasked, are shown with --all only.")]
pub struct Args {
    /// Only those at this host or ENI.
    #[arg(value_name = "HOST|ENI")]
    pub port: Option<String>,
    /// Go on with those to come.
    #[arg(short, long)]
    pub follow: bool,
    /// Only what this filter wants: 'tcp and port 80'.
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Show this many of the latest.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub last: usize,
    /// Show multicast and ARP for nobody, too.
    #[arg(long)]
    pub all: bool,
}

/// Shows the drops.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let mut request = DropsRequest {
        port: args.port,
        filter: args.filter,
        since: None,
        limit: args.last,
        all: args.all,
    };
    let ask = |request: &DropsRequest| -> Result<DropsReport, CliError> {
        client::understand(client::ask(&lab, &Request::Drops(request.clone()))?)
    };
    if !args.follow {
        let report = ask(&request)?;
        if globals.json {
            super::print_json(&report)?;
        } else if report.drops.is_empty() {
            super::print("nothing was dropped\n")?;
        } else {
            super::print(&text(&report))?;
        }
        return Ok(Exit::Ok);
    }
    follow(INTERVAL, || {
        let report = ask(&request)?;
        request.since = Some(report.next.clone());
        request.limit = RATE / LOOKS_PER_SECOND;
        if globals.json {
            return super::json_line(
                &report,
                report.drops.is_empty() && report.left_out.is_empty(),
            );
        }
        Ok(text(&report))
    })
}

/// Each packet in two to four lines; the same packet again and again, once.
pub fn text(report: &DropsReport) -> String {
    let mut out = String::new();
    let mut groups: Vec<(&DropReport, u64)> = Vec::new();
    for drop in &report.drops {
        let same = |other: &DropReport| {
            (&other.at, &other.packet, &other.reason, &other.rule)
                == (&drop.at, &drop.packet, &drop.reason, &drop.rule)
        };
        match groups.iter_mut().find(|(other, _)| same(other)) {
            Some((_, times)) => *times += 1,
            None => groups.push((drop, 1)),
        }
    }
    for (drop, times) in groups {
        out.push_str(&one(drop, times));
    }
    if !report.left_out.is_empty() {
        out.push_str(&paint(style::WARN, &left_out(&report.left_out)));
        out.push('\n');
    }
    out
}

fn one(drop: &DropReport, times: u64) -> String {
    let at = drop.at.split_once(" eni-").map_or(&*drop.at, |(at, _)| at);
    let again = if times > 1 {
        format!("  ×{times}")
    } else {
        String::new()
    };
    let time = paint(style::FAINT, &time_of_day(drop.time));
    let mut out = format!("{time}  {at}  {}  {} B{again}\n", drop.packet, drop.len);
    let reason = match &drop.code {
        Some(code) => format!("{} ({code})", drop.reason),
        None => drop.reason.clone(),
    };
    out.push_str(&format!(
        "    {}",
        paint(style::BAD, &format!("✗ {reason}"))
    ));
    match (&drop.component, &drop.rule) {
        (Some(component), Some(rule)) => {
            let component = crate::trace::short(component);
            out.push_str(&format!("  {component}\n      {rule}\n"));
        }
        _ => out.push_str(&format!("  {}\n", drop.explanation)),
    }
    if let Some(fix) = &drop.fix {
        out.push_str(&format!("    to change that: {fix}\n"));
    } else if drop.would_pass_now {
        out.push_str("    the lab has changed since: it would pass now\n");
    }
    out
}

fn left_out(reasons: &BTreeMap<String, u64>) -> String {
    let all: u64 = reasons.values().sum();
    let parts: Vec<_> = reasons
        .iter()
        .map(|(reason, count)| match reason.as_str() {
            "missed" => format!("{count} no longer kept"),
            _ => format!("{count} {reason}"),
        })
        .collect();
    format!("    … {all} more left out: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_says_who_why_and_what_to_change() {
        let drop = DropReport {
            time: 61_201.5,
            at: "web eth0 eni-1".to_owned(),
            packet: "tcp 10.3.1.10:49152 > 10.3.21.10:5432".to_owned(),
            len: 74,
            reason: "network_acl".to_owned(),
            code: Some("SUBNET_ACL_RESTRICTION".to_owned()),
            explanation: "The network ACL denies the packet.".to_owned(),
            component: Some("network ACL acl-00c43407dc177b6f7 (database) (in)".to_owned()),
            rule: Some("entry *: deny".to_owned()),
            fix: Some("add an inbound rule".to_owned()),
            would_pass_now: false,
        };
        let bare = DropReport {
            reason: "malformed.ip".to_owned(),
            explanation: "The IP header is not valid.".to_owned(),
            at: "app eth0 eni-2".to_owned(),
            packet: "malformed IPv4".to_owned(),
            ..DropReport::default()
        };
        let report = DropsReport {
            next: vec![9],
            drops: vec![drop.clone(), bare, drop],
            left_out: [("missed".to_owned(), 3), ("route.none".to_owned(), 4)].into(),
        };
        let text = anstream::adapter::strip_str(&text(&report)).to_string();
        assert_eq!(
            text,
            "17:00:01.500  web eth0  tcp 10.3.1.10:49152 > 10.3.21.10:5432  74 B  ×2\n    \
             ✗ network_acl (SUBNET_ACL_RESTRICTION)  network ACL database (in)\n      \
             entry *: deny\n    \
             to change that: add an inbound rule\n\
             00:00:00.000  app eth0  malformed IPv4  0 B\n    \
             ✗ malformed.ip  The IP header is not valid.\n    \
             … 7 more left out: 3 no longer kept, 4 route.none\n"
        );
    }
}
