//! Gateway endpoints: a route straight to the addresses of an AWS service, without
//! a gateway, an interface or a translation.
//!
//! subnet → route `pl-… → vpce-…` → endpoint → service, which sees the private
//! source. Back: only within what was started so, from an address that the route
//! covers.
//!
//! Reads:  the endpoint, the route table of the sender's (or receiver's) subnet
//! Writes: nothing
//! Drops:  GatewayEndpoint*, EndpointUnavailable, InternetUnreachable, AddressUnassigned
//! AWS:    PrivateLink guide "Gateway endpoints"; Reachability Analyzer codes
//!         VPCE_GATEWAY_*

use super::{Component, Rule, Step, Stop, Walk};
use crate::addr::{EndpointId, EniId, VpcId};
use crate::drop::DropReason;
use crate::flow::{Direction, Ingress, Key, Object};
use crate::packet::protocol;
use crate::tables::{EndpointKind, RouteTarget};

impl Walk<'_> {
    /// A route leads into a gateway endpoint of `vpc`.
    pub(super) fn gateway_endpoint(&mut self, id: EndpointId, vpc: VpcId) -> Step {
        let component = Component::Endpoint(id);
        let own = self.gateway_endpoint_works(id)?;
        let carried = match self.tuple.protocol {
            protocol::TCP => true,
            protocol::ICMP => self.packet.error.is_some() || self.packet.headers.icmp_type == 8,
            _ => false,
        };
        if !carried || self.tunnel.is_some() {
            return Err(self.end(component, Rule::None, DropReason::GatewayEndpointProtocol));
        }
        // It is for what starts in a subnet with the route: not for peers and
        // others behind a gateway, nor (ASSUMPTION) for what an appliance returned.
        if self.left.is_some() || self.tables.owner(vpc, self.tuple.src).is_none() {
            return Err(self.end(component, Rule::None, DropReason::GatewayEndpointSource));
        }
        let owner = self.tables.public_owner(self.tuple.dst);
        let owner = owner.filter(|&owner| self.is_internet_host(owner));
        // Where the lab has the service, all of the list's addresses are its own but
        // those that somebody else has: and it knows the endpoint by where it takes
        // the packet.
        let through = own.filter(|(public, _)| {
            owner.is_none_or(|owner| owner == *public || self.tables.uplink == Some(owner))
        });
        let Some(service) = through.map(|(_, through)| through).or(owner) else {
            return Err(self.end(component, Rule::None, DropReason::InternetUnreachable));
        };
        // The service tells its clients by their private addresses: two VPCs with
        // the same one cannot both have the same connection there.
        let answer = Key {
            ingress: Ingress::Eni(service),
            tuple: self.tuple.reversed(),
        };
        let other = self.connections.find(answer.ingress, answer.tuple);
        let own = self.own.map(|own| own.session.id());
        let taken = other.is_some_and(|other| {
            Some(other.session.id()) != own
                && other.session.dies_at() >= self.now
                && !other.session.tracking().is_closed()
        });
        if taken {
            return Err(self.end(component, Rule::None, DropReason::GatewayEndpointTaken));
        }
        self.hop(component, Rule::None);
        self.sender = None;
        self.hop(Component::Internet, Rule::None);
        let eni = self.eni(service)?;
        self.deliver(service, eni)
    }

    /// The VPC whose endpoint the packet answers: its session began with the
    /// private address that it is sent to.
    pub(super) fn answers_gateway_endpoint(&self) -> Option<VpcId> {
        let own = self.own.filter(|_| self.is_reply())?;
        let near = own.session.end(Direction::Forward)?;
        let Ingress::Eni(client) = near.ingress else {
            return None;
        };
        let dst = self.tuple.dst;
        let mut nats = own.session.nats().into_iter().flatten();
        let untranslated = near.tuple.src == dst || nats.any(|flow| flow.translated.src == dst);
        let vpc = self.tables.enis.row(client)?.vpc;
        let internet = self.tables.vpcs.row(vpc).is_some_and(|row| row.internet);
        (dst.is_ipv4() && untranslated && !internet).then_some(vpc)
    }

    /// From the service back into `vpc`.
    pub(super) fn gateway_endpoint_back(&mut self, vpc: VpcId) -> Step {
        self.depend(Object::Vpc, vpc);
        let Some(client) = self.tables.owner(vpc, self.tuple.dst) else {
            let router = Component::Router(vpc);
            return Err(self.end(router, Rule::None, DropReason::AddressUnassigned));
        };
        let subnet = self.eni(client)?.subnet;
        self.depend(Object::Subnet, subnet);
        let table = self.tables.subnets.row(subnet).map(|row| row.route_table);
        let route = table.and_then(|table| self.lookup_address(table, self.tuple.src));
        let endpoint = match route.map(|route| &route.target) {
            Some(RouteTarget::ServiceEndpoint(id)) => Some(*id),
            _ => None,
        };
        let Some(id) = endpoint else {
            return Err(self.end(
                Component::Internet,
                Rule::None,
                DropReason::GatewayEndpointAnswer,
            ));
        };
        self.gateway_endpoint_works(id)?;
        self.hop(Component::Endpoint(id), Rule::KnownFlow);
        self.sender = None;
        self.hand_to_owner(vpc, None)
    }

    /// The service behind it, if the lab has that.
    fn gateway_endpoint_works(&mut self, id: EndpointId) -> Result<Option<(EniId, EniId)>, Stop> {
        self.depend(Object::Endpoint, id);
        let row = self.tables.endpoints.row(id).filter(|row| row.available);
        if let Some(EndpointKind::Gateway { service }) = row.map(|row| &row.kind) {
            return Ok(*service);
        }
        let component = Component::Endpoint(id);
        Err(self.end(component, Rule::None, DropReason::EndpointUnavailable))
    }

    fn is_internet_host(&self, id: EniId) -> bool {
        let eni = self.tables.enis.row(id);
        let vpc = eni.and_then(|eni| self.tables.vpcs.row(eni.vpc));
        vpc.is_some_and(|vpc| vpc.internet)
    }
}
