//! `vpclab flows`: live connections, with what each end sends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::flow::{Ingress, Key, Session, TcpState};
use vpclab_dataplane::packet::{FiveTuple, protocol};
use vpclab_dataplane::pipeline::Pipeline;
use vpclab_dataplane::time::Instant;

use crate::filter::{Filter, Packet};

/// The answer of `vpclab flows`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowsReport {
    /// Live flows, the oldest first.
    pub flows: Vec<FlowReport>,
}

/// One flow between two ends. A connection that crosses an appliance consists of
/// two: one up to the appliance, one from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowReport {
    /// Names the flow as long as it lives.
    pub id: String,
    /// Seconds since its first packet.
    pub age_s: u64,
    /// Seconds since its last packet.
    pub idle_s: u64,
    /// `tcp`, `udp`, `icmp` or `proto-N`.
    pub protocol: String,
    /// `half_open`, `established`, `unassured` or `closed` for TCP; `one_way` or
    /// `two_way` for others.
    pub state: String,
    /// The end that sent the first packet.
    pub opener: FlowEnd,
    /// The other end.
    pub answerer: FlowEnd,
    /// What the answerer sees of the opener's packets, where that is not what
    /// the opener sends.
    pub translated: Option<String>,
}

/// One end of a flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowEnd {
    /// Where its packets enter: host, device and ENI.
    pub at: Option<String>,
    /// The five-tuple that it sends.
    pub sends: Option<String>,
    /// Packets it sent.
    pub packets: u64,
    /// Bytes it sent (IP packets).
    pub bytes: u64,
}

impl FlowReport {
    /// What the opener sends; where that is not known, what the other end sees.
    pub fn what(&self) -> &str {
        let sends = self.opener.sends.as_deref();
        sends.or(self.translated.as_deref()).unwrap_or("–")
    }

    /// Packets of both ends.
    pub fn packets(&self) -> u64 {
        self.opener.packets + self.answerer.packets
    }

    /// Bytes of both ends.
    pub fn bytes(&self) -> u64 {
        self.opener.bytes + self.answerer.bytes
    }
}

impl FlowEnd {
    /// The host or service, without device and ENI.
    pub fn place(&self) -> &str {
        let at = self.at.as_deref().unwrap_or("–");
        let name = at.split_once(" eni-").map_or(at, |(name, _)| name);
        name.split_once(" eth").map_or(name, |(host, _)| host)
    }
}

/// A flow as it is read between two batches: little, and without words.
#[derive(Clone, Copy, Debug)]
pub struct FlowSample {
    keys: [Option<Key>; 2],
    packets: [u64; 2],
    bytes: [u64; 2],
    created: Instant,
    age_s: u64,
    idle_s: u64,
    state: &'static str,
}

impl FlowSample {
    /// Every live flow.
    pub fn all(pipeline: &Pipeline, now: Instant) -> Vec<Self> {
        let table = &pipeline.connections().sessions;
        let lives = |id| table.held(id).is_some_and(|held| held.dies_at() > now);
        table
            .iter()
            .filter(|(id, _)| lives(*id))
            .map(|(_, session)| Self::of(&session, now))
            .collect()
    }

    fn of(session: &Session, now: Instant) -> Self {
        let tracking = &session.tracking;
        let state = match (tracking.protocol(), tracking.tcp()) {
            (protocol::TCP, TcpState::HalfOpen) => "half_open",
            (protocol::TCP, TcpState::Established) => "established",
            (protocol::TCP, TcpState::Unassured) => "unassured",
            (protocol::TCP, TcpState::Closed) => "closed",
            _ if tracking.is_answered() => "two_way",
            _ => "one_way",
        };
        Self {
            keys: session.keys,
            packets: session.packets,
            bytes: session.bytes,
            created: session.created,
            age_s: now.since(session.created).as_secs(),
            idle_s: now.since(tracking.last_seen()).as_secs(),
            state,
        }
    }

    /// Where its packets enter, the opener's first.
    pub fn ingresses(&self) -> impl Iterator<Item = Ingress> + '_ {
        self.keys.iter().flatten().map(|key| key.ingress)
    }

    /// Whether a filter wants what one of the ends sends.
    pub fn fits(&self, filter: &Filter) -> bool {
        let mut ends = self.keys.iter().flatten();
        ends.any(|key| {
            let eni = match key.ingress {
                Ingress::Eni(eni) => eni,
                Ingress::Gwlb(_) => EniId::default(),
            };
            filter.wants(&Packet::of_tuple(eni, key.tuple))
        })
    }

    /// Bytes of both ends.
    pub fn bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// In words; `name` says where an end is.
    pub fn report(&self, name: impl Fn(Ingress) -> String) -> FlowReport {
        let [opener, answerer] = self.keys;
        let end = |key: Option<Key>, way: usize| FlowEnd {
            at: key.map(|key| name(key.ingress)),
            sends: key.map(|key| key.tuple.to_string()),
            packets: self.packets.get(way).copied().unwrap_or(0),
            bytes: self.bytes.get(way).copied().unwrap_or(0),
        };
        let seen = answerer.map(|key| key.tuple.reversed());
        let sent = opener.map(|key| key.tuple);
        let protocol = sent.or(seen).map_or(0, |tuple| tuple.protocol);
        let at = match opener.or(answerer).map(|key| key.ingress) {
            Some(Ingress::Eni(eni)) => eni.0,
            Some(Ingress::Gwlb(serial)) => serial,
            None => 0,
        };
        FlowReport {
            id: format!("{:x}-{at:x}-{:x}", self.created.as_nanos(), port(sent)),
            age_s: self.age_s,
            idle_s: self.idle_s,
            protocol: protocol_name(protocol),
            state: self.state.to_owned(),
            opener: end(opener, 0),
            answerer: end(answerer, 1),
            translated: seen
                .filter(|seen| sent != Some(*seen))
                .map(|seen| seen.to_string()),
        }
    }
}

fn port(tuple: Option<FiveTuple>) -> u32 {
    tuple.map_or(0, |tuple| {
        u32::from(tuple.sport) << 16 | u32::from(tuple.dport)
    })
}

/// Name of an IP protocol, as tuples are written.
pub fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMP | protocol::ICMPV6 => "icmp".to_owned(),
        other => format!("proto-{other}"),
    }
}
