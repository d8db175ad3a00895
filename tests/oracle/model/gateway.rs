//! Gateway load balancer endpoints (reference §7 and `gwlb-geneve.md`).

use super::balancer::candidates;
use super::filters::owns;
use super::state::{Effect, Flow, FlowKey};
use super::tracking::Way;
use super::{Outer, Step, Stop, Walk, drop};
use crate::wire::{Packet, Part, TCP, Tuple, UDP, be16, be32};
use crate::world::{EndpointKind, Health, Id, TargetGroup};

const PORT: u32 = 6081;
const MTU: usize = 8500;

/// A GENEVE header, read (gwlb-geneve.md §6).
struct Geneve {
    number: Option<u64>,
    cookie: Option<u32>,
    inner: Vec<u8>,
}

fn geneve(bytes: &[u8]) -> Option<Geneve> {
    if bytes.len() < 8 || bytes[0] >> 6 != 0 {
        return None;
    }
    let end = 8 + usize::from(bytes[0] & 0x3f) * 4;
    let protocol = be16(bytes, 2);
    let inner = bytes.get(end..)?.to_vec();
    let version = match protocol {
        0x0800 => 4,
        0x86dd => 6,
        _ => return None,
    };
    if inner.first()? >> 4 != version {
        return None;
    }
    let (mut number, mut cookie) = (None, None);
    let mut at = 8;
    while at < end {
        if at + 4 > end {
            return None;
        }
        let len = usize::from(bytes[at + 3] & 0x1f) * 4;
        let value = bytes
            .get(at + 4..at + 4 + len)
            .filter(|_| at + 4 + len <= end)?;
        match (be16(bytes, at), bytes[at + 2], len) {
            (0x0108, 1, 8) => {
                number = number.or(Some(
                    u64::from(be32(value, 0)) << 32 | u64::from(be32(value, 4)),
                ))
            }
            (0x0108, 3, 4) => cookie = cookie.or(Some(be32(value, 0))),
            (0x0108, 1..=3, _) => {}
            (_, kind, _) if kind >= 0x80 => return None,
            _ => {}
        }
        at += 4 + len;
    }
    Some(Geneve {
        number,
        cookie,
        inner,
    })
}

/// What goes before an inner packet on the way to an appliance.
pub(super) fn encapsulate(outer: &super::Outer, inner: &[u8]) -> Vec<u8> {
    let mut header = vec![8, 0];
    header.extend(if inner[0] >> 4 == 4 {
        [8, 0]
    } else {
        [0x86, 0xdd]
    });
    header.extend([0; 4]);
    header.extend([1, 8, 1, 2]);
    header.extend(outer.number.to_be_bytes());
    header.extend([1, 8, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    header.extend([1, 8, 3, 1]);
    header.extend(outer.cookie.to_be_bytes());
    header.extend(inner);
    let tuple = Tuple {
        src: outer.node,
        dst: outer.target,
        proto: UDP,
        sport: u32::from(outer.sport),
        dport: PORT,
    };
    let mut draft = crate::draft::Draft::new(tuple);
    draft.payload = header;
    draft.no_checksum = true;
    draft.ttl = outer.ttl;
    draft.ip()
}

impl Walk<'_> {
    /// A route leads into an endpoint, from a subnet or from a gateway.
    pub(super) fn enter_endpoint(&mut self, id: Id, from: Option<Id>) -> Step {
        const GONE: &[&str] = &["endpoint.unavailable"];
        let Some(endpoint) = self.world.endpoints.get(&id).cloned() else {
            return drop(GONE);
        };
        let EndpointKind::Gateway { balancers, eni } = endpoint.kind else {
            return drop(GONE);
        };
        let subnet = self.eni(eni)?.subnet;
        if from != Some(subnet) {
            self.acl(subnet, Way::In)?;
        }
        if !endpoint.available {
            return drop(GONE);
        }
        let crossed = self.crossed();
        // Which way an error goes in the flow whose tunnel it left is plain only if it is
        // about that flow: of endpoints before that one, nobody says.
        let certain = self.quoted.is_none() || crossed.last() == Some(&id);
        let crossed_it = crossed.contains(&id) && (certain || self.tape.pick(2) == 0);
        if self.outer.is_some() || crossed_it {
            return drop(&["route.loop"]);
        }
        self.limit(MTU, Some("gwlb.mtu"), self.tuple.dst);
        let zone = self.subnet(subnet).map(|subnet| subnet.az);
        let found = balancers.iter().find_map(|id| {
            let row = self.world.balancers.get(id)?;
            let (_, node) = row.nodes.iter().find(|(az, _)| Some(*az) == zone)?;
            Some((row.clone(), *node))
        });
        let Some((balancer, node)) = found else {
            return drop(&["endpoint.not_in_az"]);
        };
        let listener = balancer.listeners.first().cloned();
        let group = listener
            .as_ref()
            .and_then(|l| l.group)
            .and_then(|g| self.world.target_groups.get(&g))
            .cloned();
        let (Some(listener), Some(group)) = (listener, group) else {
            return drop(&["lb.no_target_group"]);
        };
        let node_eni = self.eni(node)?.clone();
        let Some(&source) = node_eni.addresses.iter().find(|a| a.is_ipv4()) else {
            return drop(&["gwlb.no_target"]);
        };
        let fragment = self.packet.part != Part::Whole;
        let (tuple, key, at) = self.flow_of(id, &group, fragment)?;
        let candidates = candidates(&group, zone, balancer.cross_zone);
        let flags = if self.quoted.is_some() {
            0
        } else {
            self.packet.flags
        };
        let opens = self.packet.opens() && self.quoted.is_none();
        let lives = |flow: &Flow| flow.is_alive(self.now) && !(opens && flow.is_over());
        let known = at.filter(|at| lives(&self.oracle.flows[*at]));
        let outer = match known {
            Some(at) => {
                let flow = self.oracle.flows[at].clone();
                let mut target = flow.target;
                if must_move(&group, target) && !candidates.is_empty() {
                    target = candidates[self.tape.pick(candidates.len())].address;
                    self.effects.push(Effect::Retarget { at, target });
                }
                self.effects.push(Effect::Enter {
                    at,
                    tuple,
                    flags,
                    before: crossed,
                });
                Outer {
                    number: endpoint.number,
                    cookie: flow.cookie,
                    sport: flow.sport,
                    node: source,
                    target,
                    ttl: 64,
                }
            }
            None => {
                self.may_open(at, &group)?;
                if candidates.is_empty() {
                    return drop(&["gwlb.no_target"]);
                }
                let target = candidates[self.tape.pick(candidates.len())].address;
                if !target.is_ipv4() {
                    return drop(&["gwlb.no_target"]);
                }
                let (cookie, sport) = self.seen_tunnel().unwrap_or((0, 0));
                let flow = Flow {
                    key,
                    first: tuple,
                    number: endpoint.number,
                    target,
                    node_address: source,
                    // Opaque, but no other flow may ever have had it.
                    cookie: if self.oracle.cookies.contains(&cookie) {
                        !cookie
                    } else {
                        cookie
                    },
                    sport: if sport == 0 || sport >= 49152 {
                        sport
                    } else {
                        1
                    },
                    tcp_idle: listener.tcp_idle,
                    last: self.now,
                    unanswered: Some(self.now),
                    fins: [false; 2],
                    reset: false,
                    before: [Vec::new(), Vec::new()],
                };
                let outer = Outer {
                    number: endpoint.number,
                    cookie: flow.cookie,
                    sport: flow.sport,
                    node: source,
                    target,
                    ttl: 64,
                };
                let place = at.unwrap_or(self.oracle.flows.len());
                self.effects.push(Effect::Open(flow));
                self.effects.push(Effect::Enter {
                    at: place,
                    tuple,
                    flags,
                    before: crossed,
                });
                outer
            }
        };
        self.inside = self.tuple;
        self.tuple = Tuple {
            src: outer.node,
            dst: outer.target,
            proto: UDP,
            sport: u32::from(outer.sport),
            dport: PORT,
        };
        self.outer = Some(outer);
        self.sender = Some(node);
        self.groups(node, Way::Out)?;
        self.route_from(node_eni.subnet)
    }

    /// The tuple that says which flow a packet belongs to, its key, and the flow
    /// with that key. ICMP errors belong to the flow that they quote, if there is
    /// one, else to one of their own (§4.3; which of the two is E).
    fn flow_of(
        &mut self,
        id: Id,
        group: &TargetGroup,
        fragment: bool,
    ) -> Result<(Tuple, FlowKey, Option<usize>), Stop> {
        let find = |key: &FlowKey| self.oracle.flows.iter().position(|flow| flow.key == *key);
        let own = (
            self.tuple,
            FlowKey::new(id, &self.tuple, group.sticky, fragment),
        );
        let Some(about) = self.reversed_quote() else {
            let at = find(&own.1);
            return Ok((own.0, own.1, at));
        };
        let quoted = FlowKey::new(id, &about, group.sticky, fragment);
        let at = find(&quoted);
        let alive = at.is_some_and(|at| self.oracle.flows[at].is_alive(self.now));
        let own_at = find(&own.1);
        match self.tape.pick(if alive { 2 } else { 3 }) {
            0 if alive => Ok((about, quoted, at)),
            2 => Err(Stop::Drop(&["icmp.unrelated", "gwlb.no_flow"])),
            _ => Ok((own.0, own.1, own_at)),
        }
    }

    /// Endpoints that this direction of the packet has crossed.
    fn crossed(&self) -> Vec<Id> {
        let Some(at) = self.left else {
            return Vec::new();
        };
        let flow = &self.oracle.flows[at];
        let tuple = self.reversed_quote().unwrap_or(self.tuple);
        let mut crossed = flow.before[flow.way(&tuple)].clone();
        crossed.push(flow.key.endpoint);
        crossed
    }

    /// Only a SYN opens a TCP flow.
    fn may_open(&mut self, expired: Option<usize>, group: &TargetGroup) -> Step {
        const NO_FLOW: &[&str] = &["gwlb.no_flow"];
        let whole = self.packet.part == Part::Whole;
        if self.packet.tuple.proto != TCP || !whole || self.packet.opens() {
            return Ok(());
        }
        match expired.map(|at| &self.oracle.flows[at]) {
            Some(flow) if group.reset_on_idle => {
                let sure = !flow.may_be_forgotten(self.now) && !flow.reset && self.left.is_none();
                if sure || self.tape.pick(2) == 0 {
                    Err(Stop::Reset(NO_FLOW))
                } else {
                    drop(NO_FLOW)
                }
            }
            _ => drop(NO_FLOW),
        }
    }

    /// Cookie and source port that the data plane chose.
    fn seen_tunnel(&self) -> Option<(u32, u16)> {
        let (_, frame) = self.seen.out.first()?;
        let packet = Packet::read(frame.get(14..)?, false)?;
        let geneve = geneve(packet.bytes.get(packet.l4 + 8..)?)?;
        Some((geneve.cookie?, packet.tuple.sport as u16))
    }

    /// A packet at a gateway load balancer's node: the checks of §4.2.
    pub(super) fn leave_tunnel(&mut self, node: Id) -> Step {
        const MALFORMED: &[&str] = &["malformed.geneve", "malformed.ip", "malformed.transport"];
        if self.left.is_some() {
            // A tunnel's packet inside another is not looked into (E).
            return drop(&[
                "lb.not_for_node",
                "gwlb.invalid_tunnel",
                "malformed.geneve",
                "icmp.unrelated",
            ]);
        }
        if self.packet.tuple.proto != UDP || self.quoted.is_some() {
            return drop(&[
                "lb.not_for_node",
                "gwlb.invalid_tunnel",
                "malformed.geneve",
                "icmp.unrelated",
            ]);
        }
        if self.tuple.dport != PORT {
            return drop(&["gwlb.invalid_tunnel"]);
        }
        if self.packet.part != Part::Whole {
            return drop(MALFORMED);
        }
        let length = usize::from(be16(&self.packet.bytes, self.packet.l4 + 4));
        let payload = &self.packet.bytes[self.packet.l4 + 8..self.packet.l4 + length];
        let Some(geneve) = geneve(payload) else {
            return drop(MALFORMED);
        };
        let Some(inner) = Packet::read(&geneve.inner, false) else {
            return drop(MALFORMED);
        };
        // A checksum that is there must be right (§3, E).
        if !self.packet.is_sound() {
            return drop(MALFORMED);
        }
        let eni = self.eni(node)?.clone();
        let flow = geneve.cookie.and_then(|cookie| {
            self.oracle
                .flows
                .iter()
                .position(|flow| flow.cookie == cookie)
        });
        let held = flow.map(|at| &self.oracle.flows[at]);
        let wrong_cookie = held.is_none_or(|flow| !flow.takes_returns(self.now));
        let wrong_id =
            geneve.number.is_none() || held.is_some_and(|flow| Some(flow.number) != geneve.number);
        let wrong_tunnel = held
            .is_some_and(|flow| flow.target != self.tuple.src || !owns(&eni, flow.node_address));
        match (wrong_cookie, wrong_id, wrong_tunnel) {
            (false, false, false) => {}
            (true, false, false) => return drop(&["gwlb.invalid_flow_cookie"]),
            (false, true, false) => return drop(&["gwlb.invalid_endpoint_id"]),
            (false, false, true) => return drop(&["gwlb.invalid_tunnel"]),
            _ => {
                return drop(&[
                    "gwlb.invalid_flow_cookie",
                    "gwlb.invalid_endpoint_id",
                    "gwlb.invalid_tunnel",
                ]);
            }
        }
        let Some(at) = flow else {
            return drop(MALFORMED);
        };
        let (endpoint, cookie) = (
            self.oracle.flows[at].key.endpoint,
            self.oracle.flows[at].cookie,
        );
        let Some(row) = self.world.endpoints.get(&endpoint) else {
            return drop(&["gwlb.invalid_endpoint_id"]);
        };
        let EndpointKind::Gateway { eni: exit, .. } = row.kind else {
            return drop(&["gwlb.invalid_endpoint_id"]);
        };
        let subnet = self.eni(exit)?.subnet;
        // Whatever becomes of it then, the target has answered.
        self.came_back = Some(at);
        self.left = Some(at);
        self.begin(inner, Some(cookie));
        self.route_from(subnet)
    }
}

/// Whether failover moves a flow away from this target.
fn must_move(group: &TargetGroup, target: std::net::IpAddr) -> bool {
    let held = group.targets.iter().find(|held| held.address == target);
    group.rebalance && held.is_none_or(|held| held.health == Health::Unhealthy)
}
