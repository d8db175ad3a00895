//! A lab with the ids behind its names.

use std::ops::{Deref, DerefMut};

use vpclab::api::{
    Action, AuthorizeSecurityGroup, CreateRoute, Permission, RevokeSecurityGroup, SetTargetHealth,
};
use vpclab::lab::{Host, Lab};
use vpclab::model::{
    Destination, Direction, NetworkAclId, NetworkInterfaceId, RouteTableId, RouteTargetSpec,
    SecurityGroupId, SubnetId, TargetGroupArn, VpcEndpointId, VpcId,
};
use vpclab::topology::{Names, Topology};
use vpclab_dataplane::addr::Mac;
use vpclab_dataplane::tables::TargetHealth;

use crate::packet::{Packet, Seen, received};
use crate::{cidr, seconds};

/// A lab, and what its names stand for. `vpc/name` names what is in a VPC.
#[derive(Debug)]
pub struct World {
    /// The lab.
    pub lab: Lab,
    /// Ids by name.
    pub names: Names,
}

impl Deref for World {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }
}

impl World {
    /// Builds a topology.
    ///
    /// # Panics
    /// If it is refused.
    pub fn new(topology: &str) -> Self {
        let topology = Topology::parse("fixture.yaml", topology).unwrap_or_else(|e| panic!("{e}"));
        let (control, names) = topology.control_plane().unwrap_or_else(|e| panic!("{e}"));
        let lab = Lab::new(control).seed(7);
        Self { lab, names }
    }

    /// A VPC.
    pub fn vpc(&self, name: &str) -> VpcId {
        self.names.vpcs[name].id.clone()
    }

    /// A subnet, `vpc/subnet`.
    pub fn subnet(&self, name: &str) -> SubnetId {
        let (vpc, name) = name.split_once('/').unwrap();
        self.names.vpcs[vpc].subnets[name].clone()
    }

    /// A route table, `vpc/table`; `vpc/main` is the one that came with the VPC.
    pub fn table(&self, name: &str) -> RouteTableId {
        let (vpc, name) = name.split_once('/').unwrap();
        let vpc = &self.names.vpcs[vpc];
        let named = vpc.route_tables.get(name);
        named.unwrap_or(&vpc.main_route_table).clone()
    }

    /// A security group, `vpc/group`; `vpc/default` is the one that came with the VPC.
    pub fn group(&self, name: &str) -> SecurityGroupId {
        let (vpc, name) = name.split_once('/').unwrap();
        let vpc = &self.names.vpcs[vpc];
        let named = vpc.security_groups.get(name);
        named.unwrap_or(&vpc.default_security_group).clone()
    }

    /// A network ACL, `vpc/acl`; `vpc/default` is the one that came with the VPC.
    pub fn acl(&self, name: &str) -> NetworkAclId {
        let (vpc, name) = name.split_once('/').unwrap();
        let vpc = &self.names.vpcs[vpc];
        let named = vpc.network_acls.get(name);
        named.unwrap_or(&vpc.default_network_acl).clone()
    }

    /// A host's interface: `host` is its first, `host/eth1` its second.
    pub fn interface(&self, name: &str) -> NetworkInterfaceId {
        let (host, index) = name.split_once("/eth").unwrap_or((name, "0"));
        let index: usize = index.parse().unwrap();
        self.names.hosts[host].enis[index].clone()
    }

    /// An endpoint's id.
    pub fn vpce(&self, name: &str) -> VpcEndpointId {
        self.names.endpoints[name].clone()
    }

    /// A target group.
    pub fn target_group(&self, name: &str) -> TargetGroupArn {
        self.names.target_groups[name].clone()
    }

    /// Executes an action that must succeed.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn apply<A: Action>(&mut self, action: A) -> A::Output {
        match self.lab.execute(action) {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }

    /// Asserts a refusal: its code, what its message names, and that the tables
    /// stayed as they were.
    ///
    /// # Panics
    /// If the action succeeds or is refused otherwise.
    #[track_caller]
    pub fn refused<A: Action>(&mut self, action: A, code: &str, names: &str) {
        let before = self.lab.snapshot().version;
        let Err(error) = self.lab.execute(action) else {
            panic!("must be refused with {code}");
        };
        assert_eq!(error.code, code, "{error}");
        assert!(
            error.message.contains(names),
            "{error} does not name {names}"
        );
        assert_eq!(self.lab.snapshot().version, before, "the tables changed");
    }

    /// Adds a route.
    #[track_caller]
    pub fn route(&mut self, table: &str, to: &str, target: RouteTargetSpec) {
        let route_table = self.table(table);
        self.apply(CreateRoute {
            route_table,
            destination: Destination::Cidr(cidr(to)),
            target,
        });
    }

    /// Adds rules to a group.
    #[track_caller]
    pub fn allow(&mut self, group: &str, direction: Direction, permission: Permission) {
        let group = self.group(group);
        self.apply(AuthorizeSecurityGroup {
            group,
            direction,
            permissions: vec![permission],
        });
    }

    /// Takes every rule of one direction from a group.
    #[track_caller]
    pub fn revoke_all(&mut self, group: &str, direction: Direction) {
        let group = self.group(group);
        let model = self.lab.control().model();
        let rules = &model.get(&group).unwrap().rules;
        let rules = rules.iter().filter(|rule| rule.direction == direction);
        let rule_ids = rules.map(|rule| rule.id.clone()).collect();
        self.apply(RevokeSecurityGroup {
            group,
            direction,
            rule_ids,
            ..RevokeSecurityGroup::default()
        });
    }

    /// Gives every target of a group this health, until a health check finds otherwise.
    #[track_caller]
    pub fn set_health(&mut self, group: &str, health: TargetHealth) {
        let target_group_arn = self.target_group(group);
        let model = self.lab.control().model();
        let targets = model.get(&target_group_arn).unwrap().targets.clone();
        for target in targets {
            self.apply(SetTargetHealth {
                target_group_arn: target_group_arn.clone(),
                target: target.id,
                port: target.port,
                health,
                failure: None,
            });
        }
    }

    /// The MAC address of the router in a host's subnet.
    pub fn router_mac(&self, host: &str) -> Mac {
        let tables = self.lab.snapshot();
        let eni = tables.enis.row(self.lab.eni(host)).unwrap();
        tables.subnets.row(eni.subnet).unwrap().router_mac
    }

    /// Sends a hand-made packet from a host to its router, and lets it arrive.
    pub fn send(&mut self, host: &str, packet: &Packet) {
        let router = self.router_mac(host);
        self.send_to_mac(host, router, packet);
    }

    /// Sends a hand-made packet from a host to a MAC address of its subnet.
    pub fn send_to_mac(&mut self, host: &str, to: Mac, packet: &Packet) {
        let host: Host = self.lab.host(host);
        host.send_raw(&packet.frame(host.mac(), to));
        self.settle();
    }

    /// Lets what is under way arrive.
    pub fn settle(&mut self) {
        self.lab
            .run_for(vpclab_dataplane::time::Duration::from_millis(20));
    }

    /// Switches a host's TCP/IP off, so that it receives and says nothing.
    pub fn mute(&self, hosts: &[&str]) {
        for host in hosts {
            self.lab.host(host).set_raw(true);
        }
    }

    /// The IP packets that a host received since the last call.
    pub fn take(&self, host: &str) -> Vec<Seen> {
        let host = self.lab.host(host);
        let seen = received(&host);
        host.clear_frames();
        seen
    }

    /// Runs until health checks have judged every target, then forgets what
    /// they moved.
    ///
    /// # Panics
    /// If they come to no result in time.
    #[track_caller]
    pub fn healthy(&mut self) {
        self.lab.run_until_health_is_known().unwrap();
        self.lab.run_for(seconds(1));
        self.lab.reset_counters();
    }

    /// Opens a connection from one host to an address where an echo listens, and
    /// asserts that bytes come back.
    ///
    /// # Panics
    /// If they do not.
    #[track_caller]
    pub fn echo(&mut self, from: &str, to: &str, port: u16) -> vpclab::lab::Conn {
        let conn = self.lab.host(from).tcp_connect(to, port);
        conn.send("hello");
        let came = self.lab.run_until(|_| conn.received("hello"));
        came.unwrap_or_else(|timeout| panic!("no echo: {timeout}"));
        conn
    }

    /// Opens a connection that must not come to stand within a few seconds.
    ///
    /// # Panics
    /// If it does.
    #[track_caller]
    pub fn no_connection(&mut self, from: &str, to: &str, port: u16) -> vpclab::lab::Conn {
        let conn = self.lab.host(from).tcp_connect(to, port);
        self.lab.run_for(seconds(3));
        assert!(!conn.was_established(), "{from} reached {to}:{port}");
        conn.abort();
        self.settle();
        conn
    }
}
