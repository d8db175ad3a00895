//! `vpclab demo`: real TCP connections through PrivateLink and through a gateway
//! load balancer's appliances, in this process, without root.
//!
//! Everything in the [`Report`] was observed in the run: the addresses are those
//! of sockets, the reasons those of dropped frames, the counts the appliances'.

mod scenes;
mod topology;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use vpclab_dataplane::tables::Settings;

use crate::api::ApiError;
use crate::lab::{Lab, Timeout};

/// How to run the demo.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of every random choice.
    pub seed: u64,
    /// Process-wide choices; tests break promises here.
    pub settings: Settings,
    /// How long the throughput run takes at least.
    pub throughput: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            settings: Settings::default(),
            throughput: Duration::from_secs(1),
        }
    }
}

/// What the demo saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// A connection through an interface endpoint.
    pub privatelink: PrivateLink,
    /// The provider's attempt to connect the other way.
    pub one_way: OneWay,
    /// Connections through the appliances.
    pub gwlb: Gwlb,
    /// Established PrivateLink packets on one worker.
    pub throughput: ThroughputReport,
}

impl Report {
    /// Whether everything was as it must be.
    pub fn is_ok(&self) -> bool {
        self.privatelink.ok && self.one_way.ok && self.gwlb.ok && self.throughput.packets > 0
    }
}

/// A connection through an interface endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PrivateLink {
    /// Bytes came back, and each side saw what PrivateLink shows it.
    pub ok: bool,
    /// The client's socket's peer: must be the endpoint.
    pub client_saw: Option<IpAddr>,
    /// The server's socket's peer: must be the load balancer's node.
    pub server_saw: Option<IpAddr>,
}

/// The provider's attempt to connect the other way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OneWay {
    /// Nothing reached the client, for the right reason.
    pub ok: bool,
    /// Why the provider's SYN was dropped.
    pub reason: Option<String>,
}

/// Connections through the appliances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gwlb {
    /// Every connection crossed one appliance both ways, each appliance had
    /// some, and a return with a wrong cookie was dropped.
    pub ok: bool,
    /// Connections whose bytes came back.
    pub flows: u64,
    /// Connections that each appliance saw.
    pub appliances: BTreeMap<String, u64>,
}

/// A throughput run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ThroughputReport {
    /// Packets delivered.
    pub packets: u64,
    /// Millions per second.
    pub mpps: f64,
}

/// Why the demo could not even start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Its topology was refused.
    #[error("the demo's topology was refused: {0}")]
    Topology(#[from] ApiError),
    /// The health checks came to no result.
    #[error("the demo's health checks came to no result: {0}")]
    Start(#[from] Timeout),
    /// The health checks failed.
    #[error("{healthy} of the demo's {targets} targets are healthy")]
    Unhealthy {
        /// Healthy targets.
        healthy: usize,
        /// All targets.
        targets: usize,
    },
}

/// Runs the demo. `narrate` is told what happens, a line at a time; `clock` tells
/// the time since any fixed moment, for the throughput run.
///
/// # Errors
/// If the lab could not be built. What fails in it is in the report.
pub fn run(
    options: &Options,
    mut narrate: impl FnMut(&str),
    clock: impl FnMut() -> Duration,
) -> Result<(Report, Lab), DemoError> {
    let control = topology::build(options.seed, options.settings)?;
    let lab = Lab::new(control).seed(options.seed);
    let mut tour = scenes::Tour::start(lab, &mut narrate)?;
    let privatelink = tour.privatelink();
    let one_way = tour.one_way();
    let gwlb = tour.gwlb();
    let throughput = tour.throughput(options.throughput, clock);
    let report = Report {
        privatelink,
        one_way,
        gwlb,
        throughput,
    };
    Ok((report, tour.into_lab()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vpclab_dataplane::tables::Sabotage;

    fn demo(sabotage: Sabotage) -> (Report, String) {
        let options = Options {
            settings: Settings {
                sabotage,
                ..Settings::default()
            },
            throughput: Duration::from_millis(2),
            ..Options::default()
        };
        let mut told = String::new();
        let mut ticks = 0;
        let clock = || {
            ticks += 1;
            Duration::from_millis(ticks)
        };
        let narrate = |line: &str| {
            told.push_str(line);
            told.push('\n');
        };
        let (report, _) = run(&options, narrate, clock).unwrap();
        (report, told)
    }

    #[test]
    fn everything_is_as_it_must_be() {
        let (report, told) = demo(Sabotage::default());
        assert!(report.is_ok(), "{report:#?}\n{told}");
        assert_eq!(
            report.one_way.reason.as_deref(),
            Some("privatelink.one_way")
        );
        assert_eq!(
            report.gwlb.appliances.values().sum::<u64>(),
            report.gwlb.flows
        );
        let json = serde_json::to_value(&report).unwrap();
        for (part, keys) in [
            ("privatelink", vec!["client_saw", "ok", "server_saw"]),
            ("one_way", vec!["ok", "reason"]),
            ("gwlb", vec!["appliances", "flows", "ok"]),
            ("throughput", vec!["mpps", "packets"]),
        ] {
            let mut found: Vec<_> = json[part].as_object().unwrap().keys().collect();
            found.sort();
            assert_eq!(found, keys, "{part}");
        }
    }

    #[test]
    fn a_seed_repeats_the_run() {
        let (first, second) = (demo(Sabotage::default()), demo(Sabotage::default()));
        assert_eq!(first.0.gwlb, second.0.gwlb);
        assert_eq!(first.1, second.1);
    }

    #[test]
    fn without_source_nat_privatelink_is_not_ok() {
        let (report, told) = demo(Sabotage {
            no_source_nat: true,
            ..Sabotage::default()
        });
        assert!(!report.privatelink.ok, "{report:#?}\n{told}");
        assert!(report.gwlb.ok, "{report:#?}\n{told}");
    }

    #[test]
    fn with_the_provider_let_in_one_way_is_not_ok() {
        let (report, told) = demo(Sabotage {
            two_way: true,
            ..Sabotage::default()
        });
        assert!(!report.one_way.ok, "{report:#?}\n{told}");
        assert!(
            report.privatelink.ok && report.gwlb.ok,
            "{report:#?}\n{told}"
        );
    }

    #[test]
    fn with_geneve_unchecked_gwlb_is_not_ok() {
        let (report, told) = demo(Sabotage {
            no_geneve_checks: true,
            ..Sabotage::default()
        });
        assert!(!report.gwlb.ok, "{report:#?}\n{told}");
        assert!(
            report.privatelink.ok && report.one_way.ok,
            "{report:#?}\n{told}"
        );
    }
}
