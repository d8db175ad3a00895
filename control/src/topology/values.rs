//! The scalars of a topology file: how each is written, and what is said when
//! it is written wrong.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use vpclab_dataplane::addr::Prefix;

use super::located::Scalar;
use crate::faults::{Chance, Rate, Span};
use crate::host::plan::RestartPolicy;
use crate::model::{NameServer, RecordValue};

/// A CIDR block without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(pub Prefix);

impl Scalar for Cidr {
    fn parse(text: &str) -> Result<Self, String> {
        // A file is written by hand: where the API clears host bits, they are
        // most likely a slip here.
        let prefix: Prefix = text.parse().map_err(|_| not_a_block(text))?;
        if prefix.to_string().split('/').next() != canonical_address(text).as_deref() {
            return Err(format!("'{text}' has host bits set; write {prefix}"));
        }
        Ok(Self(prefix))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn canonical_address(text: &str) -> Option<String> {
    let address: IpAddr = text.split('/').next()?.parse().ok()?;
    Some(address.to_string())
}

fn not_a_block(text: &str) -> String {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => format!("'{text}' is an address, not a block; write {text}/32"),
        Ok(IpAddr::V6(_)) => format!("'{text}' is an address, not a block; write {text}/128"),
        Err(_) => format!(
            "'{text}' is not a CIDR block; write ADDRESS/LENGTH, \
             such as 10.0.0.0/16 or 2001:db8::/56"
        ),
    }
}

/// A CIDR block, or the name of something that stands for blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CidrOrName {
    /// A block.
    Cidr(Prefix),
    /// A prefix list or, in rules, a security group.
    Name(String),
}

impl Scalar for CidrOrName {
    fn parse(text: &str) -> Result<Self, String> {
        // A slash after a digit, or a colon, can only mean an address was meant.
        let like_address = text.contains(':')
            || text.parse::<IpAddr>().is_ok()
            || (text.contains('/') && text.starts_with(|c: char| c.is_ascii_digit()));
        if like_address {
            return Cidr::parse(text).map(|cidr| Self::Cidr(cidr.0));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// An IPv6 block, or `true` for one chosen by vpclab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Block {
    /// None.
    None,
    /// The next free one: a /56 for a VPC, a /64 of its VPC for a subnet.
    Next,
    /// This one.
    Block(Prefix),
}

impl Scalar for Ipv6Block {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self::Next),
            "false" => Ok(Self::None),
            _ => match Cidr::parse(text)?.0 {
                block if block.address().is_ipv6() => Ok(Self::Block(block)),
                block => Err(format!(
                    "{block} is IPv4; write an IPv6 block, or true for any"
                )),
            },
        }
    }
}

/// Whether a VPC has an internet gateway, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// None.
    Off,
    /// One without a name of its own.
    On,
    /// One of this name.
    Named(String),
}

impl Scalar for Gateway {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "true" => Self::On,
            "false" => Self::Off,
            name => Self::Named(name.to_owned()),
        })
    }
}

/// An availability zone: `a`, or `us-east-1a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(pub String);

impl Scalar for Zone {
    fn parse(text: &str) -> Result<Self, String> {
        let valid = text.ends_with(|c: char| c.is_ascii_lowercase())
            && (text.len() == 1
                || text
                    .trim_end_matches(char::is_alphabetic)
                    .ends_with(char::is_numeric))
            && text
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        match valid {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "'{text}' is not a zone; write a letter (a) or a zone name (us-east-1a)"
            )),
        }
    }
}

impl Zone {
    /// The full name, in that region.
    pub fn name(&self, region: &str) -> String {
        match self.0.len() {
            1 => format!("{region}{}", self.0),
            _ => self.0.clone(),
        }
    }
}

/// An IP protocol; `None` is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(pub Option<u8>);

impl Protocol {
    /// ICMP and ICMPv6 have types where others have ports.
    pub fn is_icmp(self) -> bool {
        matches!(self.0, Some(1 | 58))
    }

    /// TCP and UDP have ports.
    pub fn has_ports(self) -> bool {
        matches!(self.0, Some(6 | 17))
    }
}

impl Scalar for Protocol {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(match text.to_ascii_lowercase().as_str() {
            "all" | "any" | "-1" => None,
            "tcp" => Some(6),
            "udp" => Some(17),
            "icmp" => Some(1),
            "icmpv6" => Some(58),
            other => Some(other.parse().map_err(|_| {
                format!("'{text}' is not a protocol; write tcp, udp, icmp, icmpv6, all or a number 0-255")
            })?),
        }))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("all"),
            Some(1) => f.write_str("icmp"),
            Some(6) => f.write_str("tcp"),
            Some(17) => f.write_str("udp"),
            Some(58) => f.write_str("icmpv6"),
            Some(number) => number.fmt(f),
        }
    }
}

/// Ports: `443`, `8000-8100` or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// First port.
    pub from: u16,
    /// Last port.
    pub to: u16,
}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self {
        from: 0,
        to: u16::MAX,
    };
}

impl Scalar for Ports {
    fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "all" | "any") {
            return Ok(Self::ALL);
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        match (from.trim().parse(), to.trim().parse()) {
            (Ok(from), Ok(to)) if from <= to => Ok(Self { from, to }),
            (Ok(from), Ok(to)) => Err(format!(
                "ports {from}-{to} run backwards; write {to}-{from}"
            )),
            _ => Err(format!(
                "'{text}' is not a port; write 443, 8000-8100 or all (0-65535)"
            )),
        }
    }
}

/// An ICMP type with or without a code: `8`, `3/4`, or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// Type; `None` is all.
    pub kind: Option<u8>,
    /// Code; `None` is all.
    pub code: Option<u8>,
}

impl Scalar for IcmpType {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is not an ICMP type; write a number (8), type/code (3/4) or all");
        if matches!(text, "all" | "any" | "-1") {
            return Ok(Self {
                kind: None,
                code: None,
            });
        }
        let (kind, code) = match text.split_once('/') {
            Some((kind, code)) => (kind, Some(code.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        Ok(Self {
            kind: Some(kind.parse().map_err(|_| wrong())?),
            code,
        })
    }
}

/// An IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl Scalar for Address {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(format!(
                "'{text}' is not an IP address; write one such as 10.0.1.10"
            )),
        }
    }
}

/// A resolver outside: an address, and a port unless it is 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream(pub SocketAddr);

impl Scalar for Upstream {
    fn parse(text: &str) -> Result<Self, String> {
        let alone = text.parse::<IpAddr>().map(|it| SocketAddr::new(it, 53));
        alone.or_else(|_| text.parse()).map(Self).map_err(|_| {
            format!("'{text}' is no resolver; write an IP address, with a port or without")
        })
    }
}

/// What answers for a service of AWS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUpstream(pub crate::upstream::Upstream);

impl Scalar for ServiceUpstream {
    fn parse(text: &str) -> Result<Self, String> {
        crate::upstream::Upstream::parse(text).map(Self)
    }
}

/// What a DNS name has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordText(pub RecordValue);

impl Scalar for RecordText {
    fn parse(text: &str) -> Result<Self, String> {
        let rest = |word: &str| {
            let rest = text.strip_prefix(word)?.strip_prefix(' ')?.trim();
            (!rest.is_empty()).then(|| std::sync::Arc::from(rest))
        };
        let value = match text.parse() {
            Ok(address) => Some(RecordValue::Address(address)),
            Err(_) => rest("cname")
                .map(RecordValue::Alias)
                .or_else(|| rest("txt").map(RecordValue::Text)),
        };
        value.map(Self).ok_or_else(|| {
            format!("'{text}' is no record; write an IP address, `cname NAME` or `txt TEXT`")
        })
    }
}

/// A resolver for hosts: an address, or the VPC's own.
impl Scalar for NameServer {
    fn parse(text: &str) -> Result<Self, String> {
        if text == Self::AMAZON {
            return Ok(Self::Amazon);
        }
        text.parse().map(Self::At).map_err(|_| {
            format!(
                "'{text}' is not a name server; write an IP address or {}",
                Self::AMAZON
            )
        })
    }
}

/// A public address: `true` for any, or one of your choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElasticIp {
    /// None.
    None,
    /// Allocated from vpclab's pool.
    Any,
    /// This one.
    Address(Ipv4Addr),
}

impl Scalar for ElasticIp {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self::Any),
            "false" => Ok(Self::None),
            _ => text.parse().map(Self::Address).map_err(|_| {
                format!("'{text}' is not an IPv4 address; write true for any, or one such as 198.51.100.10")
            }),
        }
    }
}

/// A target: a host, an ENI of a host (`web/eth1`) or an address, each with a
/// port or without (`web:8080`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetText {
    /// The host or address.
    pub to: String,
    /// Port; the target group's own if absent.
    pub port: Option<u16>,
}

impl Scalar for TargetText {
    fn parse(text: &str) -> Result<Self, String> {
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self {
                to: text.to_owned(),
                port: None,
            });
        }
        let Some((to, port)) = text.rsplit_once(':') else {
            return Ok(Self {
                to: text.to_owned(),
                port: None,
            });
        };
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self {
                to: to.trim_matches(['[', ']']).to_owned(),
                port: Some(port),
            }),
            _ => Err(format!(
                "'{port}' is not a port; write HOST or HOST:PORT (1-65535)"
            )),
        }
    }
}

/// A published port: `[ADDRESS:]PORT:HOST[/ethN]:PORT[/udp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where this machine listens.
    pub listen: std::net::SocketAddr,
    /// Host that it leads to.
    pub host: String,
    /// Which of its ENIs, from 0.
    pub device: u16,
    /// Port of the host.
    pub port: u16,
    /// Whether it is UDP.
    pub udp: bool,
}

impl Scalar for Publish {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' is no published port; write 127.0.0.1:8080:web:80, or …/udp");
        let (body, protocol) = match text.strip_suffix("/udp") {
            Some(body) => (body, true),
            None => (text.strip_suffix("/tcp").unwrap_or(text), false),
        };
        let (rest, port) = body.rsplit_once(':').ok_or_else(wrong)?;
        let (listen, host) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let number = |text: &str| {
            text.parse()
                .ok()
                .filter(|&port: &u16| port != 0)
                .ok_or_else(wrong)
        };
        let listen = match listen.rsplit_once(':') {
            None => std::net::SocketAddr::new([127, 0, 0, 1].into(), number(listen)?),
            Some(_) => listen.parse().map_err(|_| wrong())?,
        };
        let (host, device) = match host.split_once("/eth") {
            Some((host, device)) => (host, device.parse().map_err(|_| wrong())?),
            None => (host, 0),
        };
        if host.is_empty() || listen.port() == 0 {
            return Err(wrong());
        }
        Ok(Self {
            listen,
            host: host.to_owned(),
            device,
            port: number(port)?,
            udp: protocol,
        })
    }
}

impl Publish {
    /// Where this machine listens: `127.0.0.1:8080/tcp`.
    pub fn place(&self) -> String {
        format!("{}/{}", self.listen, if self.udp { "udp" } else { "tcp" })
    }

    /// Where it leads: `web:80`.
    pub fn target(&self) -> String {
        match self.device {
            0 => format!("{}:{}", self.host, self.port),
            device => format!("{}/eth{device}:{}", self.host, self.port),
        }
    }
}

impl std::fmt::Display for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.place(), self.target())
    }
}

/// Whether the provider accepts an endpoint at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept(pub bool);

impl Scalar for Accept {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" | "true" => Ok(Self(true)),
            "false" => Ok(Self(false)),
            _ => Err(format!("'{text}' is not allowed here; write auto or false")),
        }
    }
}

macro_rules! numbers {
    ($($type:ty: $what:literal;)*) => {$(
        impl Scalar for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("'{text}' is not {}; write a number {}-{}", $what, <$type>::MIN, <$type>::MAX))
            }
        }
    )*};
}

numbers! {
    u8: "a number in range";
    u16: "a number in range";
    u32: "a number in range";
}

/// Whether commands that have ended start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart(pub RestartPolicy);

impl Scalar for Restart {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            // YAML's older readers take a bare `no` for false.
            "no" | "false" => Ok(Self(RestartPolicy::No)),
            "on-failure" => Ok(Self(RestartPolicy::OnFailure)),
            "always" => Ok(Self(RestartPolicy::Always)),
            _ => Err(format!(
                "'{text}' is no restart policy; write no, on-failure or always"
            )),
        }
    }
}

/// How many times as fast as ours a lab's clock runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeScale(pub u32);

impl Scalar for TimeScale {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(scale @ 1..=1000) => Ok(Self(scale)),
            _ => Err(format!(
                "'{text}' is no time scale; write a whole number from 1 to 1000"
            )),
        }
    }
}

/// Schemas: each scalar is a string (or number, or boolean) with a pattern.
macro_rules! schemas {
    ($($type:ident: $schema:tt;)*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                false
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

schemas! {
    Cidr: { "type": "string", "pattern": "^[0-9A-Fa-f.:]+/[0-9]{1,3}$", "description": "A CIDR block, IPv4 or IPv6: 10.0.0.0/16." };
    CidrOrName: { "type": "string", "description": "A CIDR block, or the name of a prefix list or (in rules) of a security group." };
    Ipv6Block: { "type": ["string", "boolean"], "description": "An IPv6 CIDR block, or true for one chosen by vpclab." };
    Gateway: { "type": ["string", "boolean"], "description": "true, or a name." };
    Zone: { "type": "string", "pattern": "^([a-z]|[a-z-]+-[0-9]+[a-z])$", "description": "A zone's letter (a) or name (us-east-1a)." };
    Protocol: { "type": ["string", "integer"], "description": "tcp, udp, icmp, icmpv6, all, or an IP protocol number." };
    Ports: { "type": ["string", "integer"], "description": "443, 8000-8100 or all." };
    IcmpType: { "type": ["string", "integer"], "description": "An ICMP type (8), type/code (3/4) or all." };
    NameServer: { "type": "string", "pattern": "^([0-9A-Fa-f.:]+|AmazonProvidedDNS)$", "description": "An IP address, or AmazonProvidedDNS: the VPC's own resolver." };
    Upstream: { "type": "string", "pattern": "^[0-9A-Fa-f.:\\[\\]]+$", "description": "An IP address, with a port or without." };
    ServiceUpstream: { "type": "string", "pattern": "^(echo|http://.+)$", "description": "echo, or an HTTP server: http://HOST:PORT." };
    RecordText: { "type": "string", "description": "An IP address, `cname NAME` or `txt TEXT`." };
    Address: { "type": "string", "pattern": "^[0-9A-Fa-f.:]+$", "description": "An IP address." };
    ElasticIp: { "type": ["string", "boolean"], "description": "true for any public IPv4 address, or the address." };
    TargetText: { "type": "string", "description": "A host, an ENI of a host (web/eth1) or an address; with a port (web:8080) or without." };
    Restart: { "enum": ["no", "on-failure", "always"], "description": "Whether commands that have ended start again." };
    Chance: { "type": ["string", "number"], "description": "A probability: 1% or 0.01." };
    Span: { "type": "string", "pattern": "^(0|[0-9.]+(ns|us|ms|s))$", "description": "A span of time: 20ms." };
    Rate: { "type": "string", "pattern": "^(0|[0-9.]+([kmgKMG])?[bB][iI][tT])$", "description": "Bits per second: 10mbit." };
    TimeScale: { "type": "integer", "minimum": 1, "maximum": 1000, "description": "How many times as fast as ours a clock runs." };
    Publish: { "type": "string", "description": "[ADDRESS:]PORT:HOST[/ethN]:PORT, with /udp for UDP: 127.0.0.1:8080:web:80. Without an address: 127.0.0.1." };
    Accept: { "enum": ["auto", true, false], "description": "auto: the provider accepts the endpoint at once. false: it stays pendingAcceptance if the service requires acceptance." };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: Scalar>(text: &str) -> String {
        T::parse(text)
            .err()
            .unwrap_or_else(|| panic!("'{text}' was accepted"))
    }

    #[test]
    fn wrong_scalars_say_how_to_write_them() {
        for (message, expected) in [
            (
                error::<Cidr>("10.0.0.5/16"),
                "'10.0.0.5/16' has host bits set; write 10.0.0.0/16",
            ),
            (
                error::<Cidr>("10.0.0.5"),
                "'10.0.0.5' is an address, not a block; write 10.0.0.5/32",
            ),
            (
                error::<CidrOrName>("::1"),
                "'::1' is an address, not a block; write ::1/128",
            ),
            (
                error::<Ports>("90-80"),
                "ports 90-80 run backwards; write 80-90",
            ),
            (
                error::<Ports>("65536"),
                "'65536' is not a port; write 443, 8000-8100 or all (0-65535)",
            ),
            (
                error::<TargetText>("web:0"),
                "'0' is not a port; write HOST or HOST:PORT (1-65535)",
            ),
            (
                error::<Ipv6Block>("10.0.0.0/16"),
                "10.0.0.0/16 is IPv4; write an IPv6 block, or true for any",
            ),
        ] {
            assert_eq!(message, expected);
        }
        error::<Cidr>("10.0.0.0/33");
        for wrong in [
            "8080",
            "8080:web",
            "0:web:80",
            "localhost:80:web:80",
            "8080::80",
            "8080:web:0",
        ] {
            error::<Publish>(wrong);
        }
        error::<Protocol>("tpc");
        error::<IcmpType>("256");
        error::<Zone>("A");
        error::<Zone>("east");
        error::<ElasticIp>("yes");
    }

    #[test]
    fn scalars_parse() {
        let publish = |text| Publish::parse(text).map(|publish| publish.to_string());
        assert_eq!(
            publish("8080:web:80"),
            Ok("127.0.0.1:8080/tcp to web:80".to_owned())
        );
        assert_eq!(
            publish("[::1]:53:dns/eth1:5353/udp"),
            Ok("[::1]:53/udp to dns/eth1:5353".to_owned())
        );
        assert_eq!(Ports::parse("443"), Ok(Ports { from: 443, to: 443 }));
        assert_eq!(
            Ports::parse("8000-8100"),
            Ok(Ports {
                from: 8000,
                to: 8100
            })
        );
        assert_eq!(
            IcmpType::parse("3/4"),
            Ok(IcmpType {
                kind: Some(3),
                code: Some(4)
            })
        );
        assert_eq!(Protocol::parse("all"), Ok(Protocol(None)));
        assert_eq!(
            Zone::parse("b").map(|zone| zone.name("eu-west-1")),
            Ok("eu-west-1b".into())
        );
        assert_eq!(
            Zone::parse("us-east-1a").map(|zone| zone.name("x")),
            Ok("us-east-1a".into())
        );
        let target = |to: &str, port| {
            Ok(TargetText {
                to: to.into(),
                port,
            })
        };
        assert_eq!(TargetText::parse("web"), target("web", None));
        assert_eq!(
            TargetText::parse("web/eth1:80"),
            target("web/eth1", Some(80))
        );
        assert_eq!(
            TargetText::parse("[2001:db8::1]:80"),
            target("2001:db8::1", Some(80))
        );
        assert_eq!(
            TargetText::parse("2001:db8::1"),
            target("2001:db8::1", None)
        );
        assert_eq!(
            Cidr::parse("2001:DB8::/32").map(|cidr| cidr.to_string()),
            Ok("2001:db8::/32".into())
        );
        assert_eq!(
            CidrOrName::parse("consumer/web"),
            Ok(CidrOrName::Name("consumer/web".into()))
        );
    }
}
