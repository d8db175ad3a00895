//! NAT gateway: many private sources behind few addresses. It carries what the
//! inside starts, and the replies.
//!
//! inside → route → NAT gateway → route of its own subnet → internet gateway (which
//! maps its private address to its Elastic IP), or a private destination.
//!
//! Reads:  the gateway's interface and subnet, its mappings, the VPC's blocks
//! Writes: source address and port (outward), destination (back), TTL, MSS
//! Drops:  Nat*, Fragment, IcmpUnrelated, Loop
//! AWS:    VPC User Guide "NAT gateway basics", "Compare NAT gateways and NAT
//!         instances", "NAT gateway troubleshooting"; codes NGW_*

use std::net::IpAddr;

use super::{Component, Rule, Step, Stop, Walk};
use crate::addr::{EniId, NatGatewayId};
use crate::drop::DropReason;
use crate::flow::{NatFlow, Object, Outcome, SizeLimit};
use crate::packet::{FiveTuple, Fragment, protocol};
use crate::tables::EniRow;

/// Largest packet through a NAT gateway (VPC guide "NAT gateway basics").
const NAT_MTU: u32 = 8500;
/// Largest MSS. ASSUMPTION: as an interface endpoint's, MTU − 40.
const NAT_MSS: u16 = (NAT_MTU - 40) as u16;

impl Walk<'_> {
    /// A packet reaches a NAT gateway: by a route, from the inside; or by its
    /// address, back.
    pub(super) fn at_nat_gateway(&mut self, id: NatGatewayId, nat: EniId, eni: &EniRow) -> Step {
        self.depend(Object::NatGateway, id);
        self.path.nat_gateway = Some(nat);
        let component = Component::NatGateway(id);
        self.passes_nat(component)?;
        match eni.owns(self.tuple.dst) {
            true => self.nat_back(component, nat, eni),
            false => self.nat_out(component, nat, eni),
        }
    }

    /// What a NAT gateway passes at all, of a known connection too.
    fn passes_nat(&mut self, component: Component) -> Result<(), Stop> {
        let headers = &self.packet.headers;
        let ip_protocol = self.tuple.protocol;
        let carried = matches!(ip_protocol, protocol::TCP | protocol::UDP | protocol::ICMP);
        let reason = if !carried || !self.tuple.src.is_ipv4() || self.tunnel.is_some() {
            DropReason::NatProtocol
        } else if headers.fragment != Fragment::Whole && ip_protocol != protocol::UDP {
            DropReason::NatFragment
        } else if self.packet.portless {
            DropReason::Fragment
        } else if self.packet.is_stateless() {
            DropReason::IcmpUnrelated
        } else {
            return Ok(());
        };
        Err(self.end(component, Rule::None, reason))
    }

    fn nat_out(&mut self, component: Component, nat: EniId, eni: &EniRow) -> Step {
        self.depend(Object::Vpc, eni.vpc);
        let vpc = self.tables.vpcs.row(eni.vpc);
        if !vpc.is_some_and(|vpc| vpc.cidrs.iter().any(|cidr| cidr.contains(self.tuple.src))) {
            return Err(self.end(component, Rule::None, DropReason::NatSource));
        }
        let passed = self.path.nats.iter().flatten();
        if passed.clone().any(|flow| flow.gateway == nat) {
            return Err(self.end(component, Rule::None, DropReason::Loop));
        }
        let place = passed.count();
        self.track_always();
        let known = self.known_mapping(nat, eni);
        let flow = match known {
            Some(flow) => flow,
            None => {
                let flow = self.open_mapping(component, nat, eni)?;
                // What tracked an earlier mapping's legs says nothing of these.
                self.own = None;
                self.path.opens_nat = true;
                flow
            }
        };
        let Some(kept) = self.path.nats.get_mut(place) else {
            // ASSUMPTION: no way has more of them.
            return Err(self.end(component, Rule::None, DropReason::Loop));
        };
        *kept = Some(flow);
        let before = self.tuple;
        self.tuple = flow.translated;
        let rule = match known {
            Some(_) => Rule::KnownFlow,
            None => Rule::Source(flow.translated.src, flow.translated.sport),
        };
        self.hop_from(component, rule, before);
        self.nat_limits(flow.translated.src);
        self.sender = Some(nat);
        self.route_from_subnet(eni.subnet)
    }

    /// The mapping that this packet of the inside belongs to, if still known.
    fn known_mapping(&self, nat: EniId, eni: &EniRow) -> Option<NatFlow> {
        let own = self.own?;
        if self.is_reply() || own.session.dies_at() < self.now {
            return None;
        }
        let flow = own.session.nat(nat)?;
        (flow.client == self.tuple && eni.owns(flow.translated.src)).then_some(flow)
    }

    fn open_mapping(
        &mut self,
        component: Component,
        nat: EniId,
        eni: &EniRow,
    ) -> Result<NatFlow, Stop> {
        let headers = self.packet.headers;
        // An answer to somebody who did not come this way belongs to nothing here.
        let opens = self.packet.error.is_none()
            && !self.is_reply()
            && match self.tuple.protocol {
                protocol::TCP => headers.is_tcp_open(),
                protocol::ICMP => headers.icmp_type == 8,
                _ => true,
            };
        if !opens {
            let stop = self.end(component, Rule::None, DropReason::NatNoConnection);
            // VPC guide "NAT gateway troubleshooting": after the idle timeout the
            // inside gets a reset.
            let reset = self.is_tcp() && self.packet.error.is_none();
            return Err(match reset {
                true => Stop::Reset(DropReason::NatNoConnection),
                false => stop,
            });
        }
        let client = self.tuple;
        let wanted = match client.protocol {
            // What stands for an identifier of zero is none that could be sent.
            protocol::ICMP if client.dport != 0 => 0,
            _ => client.sport,
        };
        let mut translated = FiveTuple {
            sport: wanted,
            dport: match client.protocol {
                protocol::ICMP => 0,
                _ => client.dport,
            },
            ..client
        };
        let addresses = eni.addresses.iter().filter(|address| address.is_ipv4());
        let count = addresses.clone().count();
        let hash = self.connections.seed.tuple(&client);
        // ASSUMPTION: which address is by hash; where one is used up, the next.
        let first = (hash % count.max(1) as u64) as usize;
        for &source in addresses.clone().cycle().skip(first).take(count) {
            translated.src = source;
            if let Some(sport) = self.nat_port(nat, &translated) {
                return Ok(NatFlow {
                    gateway: nat,
                    client,
                    translated: FiveTuple {
                        sport,
                        ..translated
                    },
                });
            }
        }
        Err(self.end(component, Rule::None, DropReason::NatPortAllocation))
    }

    /// A free source port, whose replies come to this worker.
    fn nat_port(&self, nat: EniId, translated: &FiveTuple) -> Option<u16> {
        let shard = self.connections.shard;
        let owns = |sport| {
            let sent = FiveTuple {
                sport,
                ..*translated
            };
            self.tables.leads_to(&shard, &sent)
        };
        let ports = &self.connections.ports;
        ports.free_port_near(nat, translated, shard.count(), owns)
    }

    /// A reply, or somebody who tries.
    fn nat_back(&mut self, component: Component, nat: EniId, eni: &EniRow) -> Step {
        let known = self
            .own
            .filter(|own| self.is_reply() && own.session.dies_at() >= self.now);
        let flow = known.and_then(|own| own.session.nat(nat));
        let Some(flow) = flow.filter(|flow| flow.translated.reversed() == self.tuple) else {
            return Err(self.end(component, Rule::None, DropReason::NatUnsolicited));
        };
        // A second translation is not for the plans, and what was asked of ports
        // before this one was about others.
        self.path.judged = true;
        let before = self.tuple;
        self.tuple = flow.client.reversed();
        self.hop_from(component, Rule::KnownFlow, before);
        // Nobody outside sees what is behind: to them it is the gateway.
        self.front = Some(self.packet.headers.tuple.dst);
        self.track_always();
        self.nat_limits(flow.translated.src);
        self.sender = Some(nat);
        self.route_from_subnet(eni.subnet)
    }

    fn nat_limits(&mut self, address: IpAddr) {
        self.limit(SizeLimit {
            bytes: NAT_MTU,
            outcome: Outcome::TooBig(address),
        });
        self.clamp_mss = Some(self.clamp_mss.unwrap_or(NAT_MSS).min(NAT_MSS));
        self.age(self.tables.settings.ttl_nat_gateway);
    }
}
