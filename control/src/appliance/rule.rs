//! Rules of an appliance, as its command line writes them.

use std::fmt;
use std::str::FromStr;

use vpclab_dataplane::addr::Prefix;

use super::inner::{ICMP, ICMPV6, Inner, TCP, UDP};
use super::wire;

/// Which inner packets to drop: `tcp`, `tcp:443`, `udp:53`, `icmp`,
/// `10.0.2.0/24` (either end), `src=10.0.2.0/24`, `dst=203.0.113.0/24`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A protocol and, unless `None`, a port: the destination's of a request,
    /// the source's of its answer.
    Protocol(u8, Option<u16>),
    /// Either end lies in the block.
    Either(Prefix),
    /// The source lies in the block.
    Source(Prefix),
    /// The destination lies in the block.
    Destination(Prefix),
}

/// What to change in inner packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// `ttl=N`: sets TTL or hop limit.
    Ttl(u8),
    /// `tcp:80=8080`: a destination port, and back in the answers.
    Port {
        /// TCP or UDP.
        protocol: u8,
        /// The port that clients use.
        from: u16,
        /// The port that servers see.
        to: u16,
    },
}

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a rule such as {examples}")]
pub struct RuleError {
    text: String,
    examples: &'static str,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let parse = || {
            if let Some(block) = text.strip_prefix("src=") {
                return Some(Self::Source(prefix(block)?));
            }
            if let Some(block) = text.strip_prefix("dst=") {
                return Some(Self::Destination(prefix(block)?));
            }
            if text == "icmp" {
                return Some(Self::Protocol(ICMP, None));
            }
            if let Some((name, port)) = text.split_once(':')
                && let Some(protocol) = protocol(name)
            {
                return Some(Self::Protocol(protocol, Some(port.parse().ok()?)));
            }
            match protocol(text) {
                Some(protocol) => Some(Self::Protocol(protocol, None)),
                None => Some(Self::Either(prefix(text)?)),
            }
        };
        parse().ok_or_else(|| RuleError {
            text: text.to_owned(),
            examples: "tcp:443, udp, icmp, 10.0.2.0/24, src=10.0.2.0/24 or dst=203.0.113.80",
        })
    }
}

impl FromStr for Rewrite {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let parse = || {
            let (what, value) = text.split_once('=')?;
            if what == "ttl" {
                return Some(Self::Ttl(value.parse().ok()?));
            }
            let (name, from) = what.split_once(':')?;
            Some(Self::Port {
                protocol: protocol(name)?,
                from: from.parse().ok()?,
                to: value.parse().ok()?,
            })
        };
        parse().ok_or_else(|| RuleError {
            text: text.to_owned(),
            examples: "ttl=7 or tcp:80=8080",
        })
    }
}

fn protocol(name: &str) -> Option<u8> {
    match name {
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        _ => None,
    }
}

/// A block, or an address alone.
fn prefix(text: &str) -> Option<Prefix> {
    text.parse()
        .ok()
        .or_else(|| Some(Prefix::host(text.parse().ok()?)))
}

impl Rule {
    pub(crate) fn matches(&self, inner: &Inner) -> bool {
        match *self {
            Self::Protocol(ICMP, _) => matches!(inner.protocol, ICMP | ICMPV6),
            Self::Protocol(protocol, port) => {
                inner.protocol == protocol
                    && port.is_none_or(|port| port == inner.dport || port == inner.sport)
            }
            Self::Either(block) => block.contains(inner.src) || block.contains(inner.dst),
            Self::Source(block) => block.contains(inner.src),
            Self::Destination(block) => block.contains(inner.dst),
        }
    }
}

impl Rewrite {
    /// Changes `packet`; says whether it did.
    pub(crate) fn apply(&self, inner: &Inner, packet: &mut [u8]) -> bool {
        match *self {
            Self::Ttl(ttl) => set_ttl(inner, packet, ttl),
            Self::Port { protocol, from, to } => {
                if inner.protocol != protocol || inner.l4.is_none() {
                    return false;
                }
                if inner.dport == from {
                    inner.set_port(packet, 2, to);
                } else if inner.sport == to {
                    inner.set_port(packet, 0, from);
                } else {
                    return false;
                }
                true
            }
        }
    }
}

fn set_ttl(inner: &Inner, packet: &mut [u8], ttl: u8) -> bool {
    let v4 = inner.src.is_ipv4();
    let Some(field) = packet.get_mut(if v4 { 8 } else { 7 }) else {
        return false;
    };
    let changed = *field != ttl;
    *field = ttl;
    if v4 {
        let header_len = packet.first().map_or(20, |b| usize::from(b & 0xf) * 4);
        if let Some(header) = packet.get_mut(..header_len) {
            wire::fill_ipv4_checksum(header);
        }
    }
    changed
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(protocol, port) => {
                f.write_str(&super::inner::protocol_name(*protocol))?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Self::Either(block) => write!(f, "{block}"),
            Self::Source(block) => write!(f, "src={block}"),
            Self::Destination(block) => write!(f, "dst={block}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_they_are_written() {
        for text in [
            "tcp",
            "tcp:443",
            "udp:53",
            "icmp",
            "10.0.2.0/24",
            "dst=2001:db8::/32",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        assert_eq!(
            "src=10.0.0.1".parse::<Rule>().unwrap().to_string(),
            "src=10.0.0.1/32"
        );
        for bad in ["", "tcp:", "tcp:70000", "sctp:1", "10.0.0.0/33", "src="] {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
        assert_eq!("ttl=7".parse(), Ok(Rewrite::Ttl(7)));
        assert!("tcp:80".parse::<Rewrite>().is_err());
        assert!("ttl=300".parse::<Rewrite>().is_err());
    }
}
