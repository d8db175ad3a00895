//! Filters: what a first packet costs by the number of security-group rules and
//! of network-ACL entries, when the last one decides. (An established packet
//! asks none of them.)

use std::fmt::Write;

use super::eastwest::{self, Filters};
use super::{Case, Depth, Kind, Options, Suite, Work};

/// The suite.
#[derive(Debug)]
pub struct Acl;

impl Suite for Acl {
    fn name(&self) -> &'static str {
        "acl"
    }

    fn about(&self) -> &'static str {
        "first packets judged by 1 to 1000 security-group rules and 1 to 40 network-ACL entries, the last decides"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let (groups, acls): (&[u64], &[u64]) = match options.depth {
            Depth::Smoke => (&[1, 100], &[1, 40]),
            Depth::Normal | Depth::Full => (&[1, 10, 100, 1_000], &[1, 10, 40]),
        };
        let flows = match options.depth {
            Depth::Smoke => 100,
            Depth::Normal | Depth::Full => 20_000,
        };
        let case = |name: String, rules: u64, filters: Filters| {
            let options = options.clone();
            let prepare = move || {
                let work = eastwest::opening_with(&options, Kind::Tcp4, flows, &filters)?;
                Ok(Box::new(work) as Box<dyn Work>)
            };
            Case::new(name, prepare).rules(rules).may_allocate()
        };
        let by_group = groups.iter().map(|&rules| {
            let filters = Filters {
                to: group_rules("to", rules - 1),
                from: group_rules("from", rules - 1),
                acl: String::from("[{rule: 100, action: allow, cidr: 0.0.0.0/0}]"),
            };
            case(format!("security-group/rules={rules}"), rules, filters)
        });
        let by_acl = acls.iter().map(|&rules| {
            let filters = Filters {
                to: String::new(),
                from: String::new(),
                acl: acl_entries(rules),
            };
            case(format!("network-acl/rules={rules}"), rules, filters)
        });
        by_group.chain(by_acl).collect()
    }
}

/// Rules that concern nobody here, each with a port and a peer of its own.
fn group_rules(peer: &str, count: u64) -> String {
    let mut out = String::new();
    for n in 0..count {
        let (high, low) = (n / 256, n % 256);
        let port = 1_000 + n;
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "{{proto: tcp, ports: {port}, {peer}: 198.18.{high}.{low}/32}}, "
        );
    }
    out
}

/// Entries that deny others, then one that allows the rest.
fn acl_entries(count: u64) -> String {
    let mut out = String::from("[");
    for n in 1..count {
        let port = 8_000 + n;
        let _ = write!(
            out,
            "{{rule: {n}, action: deny, proto: tcp, ports: {port}, cidr: 198.18.{n}.0/24}}, "
        );
    }
    out.push_str("{rule: 1000, action: allow, cidr: 0.0.0.0/0}]");
    out
}
