//! How a target group's targets are checked: settings, and what a probe found.

use serde::{Deserialize, Serialize};
use std::fmt;

use vpclab_dataplane::time::Duration;

/// What a probe speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckProtocol {
    /// A TCP connection that opens is a pass.
    Tcp,
    /// `GET path`; the status decides.
    Http {
        /// Absolute path, with query.
        path: String,
        /// Which status codes pass.
        matcher: Matcher,
    },
}

/// Where a probe connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckPort {
    /// The port at which the target is registered (`traffic-port`).
    Traffic,
    /// This port on every target.
    Fixed(u16),
}

/// Status codes that pass, as ELB writes them: `200-399`, `200,202`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher(Vec<(u16, u16)>);

impl Matcher {
    /// Parses a list of codes and ranges within 200–599.
    pub fn parse(text: &str) -> Option<Self> {
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.map(Self)
    }

    /// Whether `status` passes.
    pub fn accepts(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|&(low, high)| (low..=high).contains(&status))
    }
}

impl Default for Matcher {
    /// 200–399, the default of network and gateway load balancers.
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (low, high)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}-{high}")?;
            }
        }
        Ok(())
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let code = |t: &str| t.trim().parse().ok().filter(|c| (200..=599).contains(c));
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (code(low)?, code(high)?),
        None => (code(text)?, code(text)?),
    };
    (low <= high).then_some((low, high))
}

/// Health-check settings of a target group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What a probe speaks.
    pub protocol: CheckProtocol,
    /// Where it connects to.
    pub port: CheckPort,
    /// From the start of one probe to the start of the next, in seconds.
    pub interval_s: u32,
    /// How long a probe waits, in seconds.
    pub timeout_s: u32,
    /// Passes in a row that make an unhealthy target healthy.
    pub healthy_threshold: u32,
    /// Failures in a row that make a target unhealthy.
    pub unhealthy_threshold: u32,
}

impl HealthCheck {
    /// The interval as a span.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.interval_s))
    }

    /// The timeout as a span.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_s))
    }

    /// The port to connect to on a target registered at `traffic_port`.
    pub fn port_for(&self, traffic_port: u16) -> u16 {
        match self.port {
            CheckPort::Traffic => traffic_port,
            CheckPort::Fixed(port) => port,
        }
    }
}

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeFailure {
    /// No connection, or no answer, within the timeout.
    Timeout,
    /// The target reset the connection or closed it without an answer.
    Refused,
    /// The status is outside the matcher.
    Status(u16),
    /// The answer is not HTTP.
    Malformed,
}

impl ProbeFailure {
    /// The reason code that `DescribeTargetHealth` gives.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "Target.Timeout",
            Self::Status(_) => "Target.ResponseCodeMismatch",
            Self::Refused | Self::Malformed => "Target.FailedHealthChecks",
        }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("Request timed out"),
            Self::Status(code) => {
                write!(f, "Health checks failed with these codes: [{code}]")
            }
            Self::Refused | Self::Malformed => f.write_str("Health checks failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matcher_reads_what_elb_accepts_and_nothing_else() {
        let matcher = Matcher::parse("200,202-204,301").unwrap();
        assert_eq!(matcher.to_string(), "200,202-204,301");
        for (status, passes) in [(200, true), (201, false), (204, true), (302, false)] {
            assert_eq!(matcher.accepts(status), passes, "{status}");
        }
        for bad in ["", "200-", "299-200", "100", "600", "2xx", "200,,201"] {
            assert_eq!(Matcher::parse(bad), None, "{bad}");
        }
    }
}
