//! Random changes to a random world, as an operator would make them.

use super::random::Topology;
use super::tape::Tape;
use super::*;

impl Topology {
    /// Changes one thing; says what.
    pub fn change(&mut self, tape: &mut Tape<'_>) -> String {
        let net = tape.of(&self.nets);
        let vpc = net.vpc;
        let group = tape.below(3) as u32;
        match tape.below(12) {
            0 => self.routes(net.id, vpc, tape),
            1 => self.edge(vpc, tape),
            2 => self.group(vpc, group, tape),
            3 => self.acl(net.id, tape),
            4 => self.prefix_list(vpc, tape),
            5 => self.change_subnet(net.id, tape),
            6 | 7 => return self.change_host(tape),
            8 => self.change_gateway(vpc, tape),
            9 => self.change_targets(tape),
            10 => self.change_endpoint(tape),
            _ => self
                .world
                .edit(|b| b.set_security_group(SecurityGroupId(vpc * 10 + group), None)),
        }
        format!("something of subnet {net:?}, group {group}")
    }

    /// Another table or ACL for a subnet.
    fn change_subnet(&mut self, id: u32, tape: &mut Tape<'_>) {
        let same_vpc = self.nets.iter().filter(|net| net.vpc == id / 10);
        let other = tape.of(&same_vpc.collect::<Vec<_>>());
        let mut row = self.world.tables.subnets.row(SubnetId(id)).unwrap().clone();
        if tape.chance(50) {
            row.route_table = RouteTableId(other.id);
        } else {
            row.network_acl = NetworkAclId(tape.of(&[row.vpc.0, 100 + other.id]));
        }
        self.world.edit(|b| b.set_subnet(SubnetId(id), Some(row)));
    }

    fn change_host(&mut self, tape: &mut Tape<'_>) -> String {
        let id = tape.of(&self.hosts);
        let other = tape.of(&self.hosts);
        let what = tape.below(8);
        let said = format!("ENI {id}, change {what}, with {other}");
        let Some(mut row) = self.world.tables.enis.row(EniId(id)).cloned() else {
            return said;
        };
        match what {
            0 => row.attached = !row.attached,
            1 => row.source_dest_check = !row.source_dest_check,
            2 => row.groups = vec![SecurityGroupId(row.vpc.0 * 10 + tape.below(3) as u32)],
            3 => row.public.clear(),
            4 => row.groups.clear(),
            // An address moves from one interface of the VPC to another.
            5 => {
                let Some(mut other_row) = self.world.tables.enis.row(EniId(other)).cloned() else {
                    return said;
                };
                if other == id || other_row.vpc != row.vpc || other_row.addresses.len() < 2 {
                    return said;
                }
                let moved = other_row.addresses.remove(0);
                row.addresses.push(moved);
                self.world
                    .edit(|b| b.set_eni(EniId(other), Some(other_row)));
            }
            6 => row.timeouts.udp = Duration::from_secs(tape.of(&[30, 60, 40])),
            _ => {
                self.world.edit(|b| b.set_eni(EniId(id), None));
                return said;
            }
        }
        self.world.edit(|b| b.set_eni(EniId(id), Some(row)));
        said
    }

    fn change_gateway(&mut self, vpc: u32, tape: &mut Tape<'_>) {
        let mut row = self.world.tables.vpcs.row(VpcId(vpc)).unwrap().clone();
        row.igw = match row.igw {
            Some(_) if tape.chance(50) => None,
            Some(IgwRow { edge_table, .. }) => Some(IgwRow {
                label: label("igw"),
                edge_table: edge_table.xor(Some(RouteTableId(vpc * 10 + 9))),
            }),
            None => Some(IgwRow {
                label: label("igw"),
                edge_table: None,
            }),
        };
        self.world.edit(|b| b.set_vpc(VpcId(vpc), Some(row)));
    }

    fn change_targets(&mut self, tape: &mut Tape<'_>) {
        let id = TargetGroupId(tape.below(2) as u32);
        if let Some(row) = self.world.tables.target_groups.row(id) {
            let vpc = row.vpc.0;
            self.targets(id.0, vpc, tape.of(&[8443, 6081]), tape);
        }
    }

    fn change_endpoint(&mut self, tape: &mut Tape<'_>) {
        let id = EndpointId(tape.below(4) as u32);
        if let Some(mut row) = self.world.tables.endpoints.row(id).cloned() {
            row.available = !row.available;
            let row = (!tape.chance(20)).then_some(row);
            self.world.edit(|b| b.set_endpoint(id, row));
        }
    }
}
