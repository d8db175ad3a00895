//! Network ACL: stateless filter at the subnet boundary.
//!
//! Reads:  the subnet's ACL, the packet's tuple
//! Drops:  NetworkAcl
//! AWS:    VPC User Guide, "Network ACL rules": lowest number first, first
//!         match decides, no match denies. Traffic inside one subnet skips
//!         this stage.

use super::{Component, Rule, Stop, Walk};
use crate::addr::SubnetId;
use crate::drop::DropReason;
use crate::flow::Object;
use crate::tables::NetworkAclRule;

impl Walk<'_> {
    /// Judges a packet that leaves (`egress`) or enters `subnet`.
    pub(super) fn network_acl(&mut self, subnet: SubnetId, egress: bool) -> Result<(), Stop> {
        self.depend(Object::Subnet, subnet);
        let Some(acl) = self
            .tables
            .subnets
            .row(subnet)
            .map(|subnet| subnet.network_acl)
        else {
            return Err(Stop::Drop(DropReason::NetworkAcl));
        };
        self.depend(Object::NetworkAcl, acl);
        let component = Component::NetworkAcl { acl, egress };
        let rules = self
            .tables
            .network_acls
            .row(acl)
            .map(|row| if egress { &row.egress } else { &row.ingress });
        let found =
            rules.and_then(|rules| rules.iter().find(|rule| self.acl_matches(rule, egress)));
        let rule = Rule::AclEntry(found.map(|rule| rule.number));
        if found.is_some_and(|rule| rule.allow) {
            self.hop(component, rule);
            Ok(())
        } else {
            Err(self.end(component, rule, DropReason::NetworkAcl))
        }
    }

    fn acl_matches(&self, rule: &NetworkAclRule, egress: bool) -> bool {
        let (ip_protocol, kind, code) = self.packet.judged_as(self.tuple.protocol);
        let remote = if egress {
            self.tuple.dst
        } else {
            self.source()
        };
        // Ports last: what they are compared with splits the answers of a class.
        rule.protocol.is_none_or(|protocol| protocol == ip_protocol)
            && rule.cidr.contains(remote)
            && self.ports_match(rule.ports, ip_protocol, (kind, code))
    }
}
