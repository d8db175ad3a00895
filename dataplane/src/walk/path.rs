//! What a walk found out: every hop visited, what decided there, and the end.

use std::net::IpAddr;

use crate::accounts::Account;
use crate::addr::{
    EndpointId, EniId, LoadBalancerId, NatGatewayId, NetworkAclId, PeeringId, Prefix, RouteTableId,
    SecurityGroupId, TargetGroupId, VpcId,
};
use crate::drop::DropReason;
use crate::flow::{Direction, LbFlow, NATS_MAX, Nats, Reads, Rewrite, SessionId};
use crate::gwlb::NewFlow;
use crate::packet::FiveTuple;
use crate::walk::{Pick, Service};

/// A place that a packet visits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Component {
    /// The interface by which it entered, and its source check.
    Source(EniId),
    /// Security groups of an interface, outbound or inbound.
    SecurityGroups {
        /// Interface.
        eni: EniId,
        /// Outbound rules.
        egress: bool,
    },
    /// A subnet's network ACL.
    NetworkAcl {
        /// ACL.
        acl: NetworkAclId,
        /// Outbound entries.
        egress: bool,
    },
    /// A route table.
    RouteTable(RouteTableId),
    /// The internet gateway of a VPC, outward or inward.
    InternetGateway {
        /// VPC.
        vpc: VpcId,
        /// Leaving the VPC.
        outward: bool,
    },
    /// The virtual private gateway of a VPC, outward or inward.
    VirtualPrivateGateway {
        /// VPC.
        vpc: VpcId,
        /// Leaving the VPC.
        outward: bool,
    },
    /// An on-premises network, by its pseudo-VPC.
    OnPrem(VpcId),
    /// The internet beyond all gateways.
    Internet,
    /// A peering connection, and the VPC that it leads to.
    Peering(PeeringId, VpcId),
    /// A VPC endpoint.
    Endpoint(EndpointId),
    /// A load balancer's node.
    LoadBalancer(LoadBalancerId, EniId),
    /// A NAT gateway.
    NatGateway(NatGatewayId),
    /// The choice of a target.
    TargetGroup(TargetGroupId),
    /// The tunnel to an appliance, into it or out of it.
    Tunnel {
        /// Endpoint.
        endpoint: EndpointId,
        /// Toward the appliance.
        outward: bool,
    },
    /// The VPC router itself.
    Router(VpcId),
    /// A service on the link of the interface by which it entered.
    Service(VpcId, Service),
    /// The interface at which it is delivered, and its destination check.
    Destination(EniId),
}

/// What decided at a hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Nothing to choose.
    None,
    /// The source/destination check, on or off.
    Check(bool),
    /// A rule of a security group, by position.
    Group {
        /// Group.
        group: SecurityGroupId,
        /// Position among its inbound or outbound rules.
        index: usize,
    },
    /// No group is attached, so none filters.
    NoGroups,
    /// Connection tracking.
    Tracked,
    /// A numbered entry of a network ACL; `None` is the final `*`.
    AclEntry(Option<u16>),
    /// A route's destination.
    Route(Prefix),
    /// 1:1 translation of this public address.
    PublicAddress(IpAddr),
    /// A listener's port.
    Listener(u16),
    /// The chosen target.
    Target(IpAddr, u16),
    /// Translation to this source address and port (or echo identifier).
    Source(IpAddr, u16),
    /// A known flow kept its target.
    KnownFlow,
}

/// One hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Where.
    pub component: Component,
    /// What decided.
    pub rule: Rule,
    /// The packet's tuple before this hop.
    pub before: FiveTuple,
    /// And after it.
    pub after: FiveTuple,
    /// Set where the packet ended.
    pub dropped: Option<DropReason>,
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Delivered: this is all that is done to the packet.
    Forward(Rewrite),
    /// Dropped.
    Drop(DropReason),
    /// Dropped, and the sender gets a TCP reset.
    Reset(DropReason),
    /// An echo request to the router, to be answered by it.
    RouterEcho,
    /// For a service on the link, which answers by itself.
    Service(Service),
}

/// The whole way of one packet.
#[derive(Clone, Debug)]
pub struct Path {
    /// Every hop, in order; none of a quiet path.
    pub hops: Vec<Hop>,
    /// Whether nobody will look at the hops: they are what a reader needs, not
    /// the packet.
    pub quiet: bool,
    /// What the decision was made from.
    pub reads: Reads,
    /// The end.
    pub verdict: Verdict,
    /// Interfaces whose groups start tracking this connection.
    pub tracks: Vec<EniId>,
    /// Interfaces that tracked it once, long ago, and now let it pass untracked.
    pub forgets: Vec<EniId>,
    /// A load balancer flow that this packet opens.
    pub opens_lb: Option<LbFlow>,
    /// The mappings of the NAT gateways that it passes on its way out.
    pub nats: Nats,
    /// Whether any of them is new.
    pub opens_nat: bool,
    /// The last NAT gateway that it came to, by its interface.
    pub nat_gateway: Option<EniId>,
    /// The load balancer's node or the endpoint that it came to last.
    pub account: Account,
    /// A gateway load balancer flow that this packet opens. Its slot, cookie
    /// and port are filled into the rewrite's tunnel when it is created.
    pub opens_gwlb: Option<NewFlow>,
    /// A known flow moves to this target (failover with rebalance).
    pub retargets: Option<(u32, IpAddr)>,
    /// The gateway load balancer flow that the packet came out of.
    pub from_flow: Option<u32>,
    /// Tuple of the packet as it enters the tunnel that it leaves by.
    pub tunnelled: Option<FiveTuple>,
    /// How a load balancer chose, and which target of the group.
    pub pick: Option<(Pick, u32)>,
    /// How many load balancers chose.
    pub picks: u8,
    /// Whether the rules of a group judged the packet, or a session other than
    /// its own was looked for.
    pub judged: bool,
    /// First and last destination port for which every rule that was asked, by
    /// groups and ACLs, says the same: before a load balancer's reply is
    /// translated back, and behind that.
    pub ports: [(u16, u16); 2],
    /// Whether a load balancer translated it back.
    pub answered: bool,
    /// The session that the packet belongs to, found where it entered by a port
    /// or left a tunnel.
    pub own: Option<(SessionId, Direction)>,
    /// Another session that tracks this packet where it leaves.
    pub link: Option<(SessionId, Direction)>,
}

impl Path {
    /// Holds no memory yet, so that a path can be swapped out for free.
    const fn new() -> Self {
        Self {
            hops: Vec::new(),
            quiet: false,
            reads: Reads::new(),
            tracks: Vec::new(),
            forgets: Vec::new(),
            verdict: Verdict::Drop(DropReason::NotRoutable),
            opens_lb: None,
            nats: [None; NATS_MAX],
            opens_nat: false,
            nat_gateway: None,
            account: Account {
                node: None,
                endpoint: None,
            },
            opens_gwlb: None,
            retargets: None,
            from_flow: None,
            tunnelled: None,
            pick: None,
            picks: 0,
            judged: false,
            ports: [(0, u16::MAX); 2],
            answered: false,
            own: None,
            link: None,
        }
    }

    /// One that keeps no hops.
    pub(crate) fn quiet() -> Self {
        Self {
            quiet: true,
            ..Self::new()
        }
    }

    pub(super) fn clear(&mut self) {
        self.hops.clear();
        self.reads.clear();
        self.tracks.clear();
        self.forgets.clear();
        self.verdict = Verdict::Drop(DropReason::NotRoutable);
        self.opens_lb = None;
        self.nats = Nats::default();
        self.opens_nat = false;
        self.nat_gateway = None;
        self.account = Account::default();
        self.opens_gwlb = None;
        self.retargets = None;
        self.from_flow = None;
        self.tunnelled = None;
        self.pick = None;
        self.picks = 0;
        self.judged = false;
        self.ports = [(0, u16::MAX); 2];
        self.answered = false;
        self.own = None;
        self.link = None;
    }

    /// Why the packet ended, if it did.
    pub fn drop_reason(&self) -> Option<DropReason> {
        match self.verdict {
            Verdict::Drop(reason) | Verdict::Reset(reason) => Some(reason),
            Verdict::Forward(_) | Verdict::RouterEcho | Verdict::Service(_) => None,
        }
    }

    /// Everything the packet was decided to undergo, if it was delivered.
    pub fn rewrite(&self) -> Option<&Rewrite> {
        match &self.verdict {
            Verdict::Forward(rewrite) => Some(rewrite),
            _ => None,
        }
    }
}

impl Default for Path {
    fn default() -> Self {
        Self::new()
    }
}
