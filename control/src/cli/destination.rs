//! `TO[:PORT]` on the command line: an address or a host's name, with a port
//! or without.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Where `vpclab trace` aims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// An IP address, or the name of a host, endpoint or load balancer.
    pub host: String,
    /// Destination port, when one was written.
    pub port: Option<u16>,
}

impl Destination {
    /// The address, when `host` is one and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err(format!("`{text}` is not a port (1-65535)")),
            Ok(port) => Ok(Some(port)),
        };
        // `[2001:db8::1]:443`, and `2001:db8::1` alone: its colons are no port.
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| format!("`{text}`: missing `]`"))?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| format!("`{host}` is not an IPv6 address"))?;
            return match rest.strip_prefix(':') {
                Some(rest) => Ok(Self {
                    host: host.into(),
                    port: port(rest)?,
                }),
                None if rest.is_empty() => Ok(Self {
                    host: host.into(),
                    port: None,
                }),
                None => Err(format!("`{text}`: expected `:PORT` after `]`")),
            };
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(Self {
                host: text.into(),
                port: None,
            });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, rest)) => (host, port(rest)?),
            None => (text, None),
        };
        if host.is_empty() {
            return Err("expected HOST, ADDRESS or ADDRESS:PORT".into());
        }
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address(), self.port) {
            (Some(IpAddr::V6(host)), Some(port)) => write!(f, "[{host}]:{port}"),
            (_, Some(port)) => write!(f, "{}:{port}", self.host),
            (_, None) => write!(f, "{}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_parses_and_prints_back() {
        for (text, host, port) in [
            ("203.0.113.80:443", "203.0.113.80", Some(443)),
            ("203.0.113.80", "203.0.113.80", None),
            ("web:80", "web", Some(80)),
            ("web", "web", None),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]:443", "2001:db8::1", Some(443)),
        ] {
            let destination: Destination = text.parse().expect(text);
            assert_eq!(
                (destination.host.as_str(), destination.port),
                (host, port),
                "{text}"
            );
            assert_eq!(destination.to_string(), text);
        }
    }

    #[test]
    fn wrong_forms_are_refused() {
        for text in [
            "",
            ":80",
            "web:",
            "web:0",
            "web:65536",
            "[::1",
            "[::1]80",
            "[web]:80",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
