//! Tests of security-group actions.

use vpclab_dataplane::addr::Prefix;

use super::super::testing::*;
use super::super::*;
use super::*;

fn lab() -> (ControlPlane, VpcId, SecurityGroupId) {
    let mut control = ControlPlane::default();
    let vpc = vpc(&mut control);
    let group = security_group(&mut control, &vpc, "web");
    (control, vpc, group)
}

fn allow(group: &SecurityGroupId, permission: Permission) -> AuthorizeSecurityGroup {
    AuthorizeSecurityGroup {
        group: group.clone(),
        direction: Direction::Ingress,
        permissions: vec![permission],
    }
}

fn https() -> Permission {
    Permission::tcp(443, RulePeer::Cidr(Prefix::ANY_V4))
}

fn rules(control: &ControlPlane, group: &SecurityGroupId) -> (usize, usize) {
    let tables = control.tables().snapshot();
    let row = tables
        .security_groups
        .row(control.model().row(group).unwrap())
        .unwrap();
    (row.ingress.len(), row.egress.len())
}

#[test]
fn rules_come_and_go_by_id_and_by_content() {
    let (mut control, _, group) = lab();
    assert_eq!(rules(&control, &group), (0, 1), "a new group lets all out");
    let ids = control.execute(allow(&group, https())).unwrap();
    let peer = Permission::tcp(80, RulePeer::Group(group.clone()));
    control.execute(allow(&group, peer.clone())).unwrap();
    assert_eq!(rules(&control, &group), (2, 1));
    let twice = allow(&group, https());
    refused(&mut control, twice, "InvalidPermission.Duplicate", &ids[0]);
    let by_id = RevokeSecurityGroup {
        group: group.clone(),
        rule_ids: ids.clone(),
        ..RevokeSecurityGroup::default()
    };
    control.execute(by_id.clone()).unwrap();
    let code = "InvalidSecurityGroupRuleId.NotFound";
    refused(&mut control, by_id, code, &ids[0]);
    let by_content = RevokeSecurityGroup {
        group: group.clone(),
        permissions: vec![peer],
        ..RevokeSecurityGroup::default()
    };
    control.execute(by_content.clone()).unwrap();
    refused(
        &mut control,
        by_content,
        "InvalidPermission.NotFound",
        group.as_str(),
    );
    assert_eq!(rules(&control, &group), (0, 1));
    assert_consistent(&control);
}

#[test]
fn ports_must_fit_the_protocol() {
    let (mut control, _, group) = lab();
    let backwards = Permission {
        ports: PortMatch::Range(443, 80),
        ..https()
    };
    refused(
        &mut control,
        allow(&group, backwards),
        "InvalidParameterValue",
        "443-80",
    );
    for (protocol, ports) in [
        (None, PortMatch::Range(1, 2)),
        (Some(50), PortMatch::Range(1, 2)),
        (Some(6), PortMatch::Icmp(8, None)),
    ] {
        let permission = Permission {
            protocol,
            ports,
            ..https()
        };
        let request = allow(&group, permission);
        refused(
            &mut control,
            request,
            "InvalidParameterCombination",
            "protocol",
        );
    }
}

#[test]
fn a_rule_names_groups_of_its_own_vpc() {
    let (mut control, _, group) = lab();
    let other = vpc_with(&mut control, "10.1.0.0/16");
    let foreign = security_group(&mut control, &other, "web");
    let request = allow(&group, Permission::all(RulePeer::Group(foreign.clone())));
    refused(
        &mut control,
        request,
        "InvalidGroup.NotFound",
        foreign.as_str(),
    );
    let nobody = SecurityGroupId::from("sg-00000000");
    let request = allow(&group, Permission::all(RulePeer::Group(nobody)));
    refused(
        &mut control,
        request,
        "InvalidGroup.NotFound",
        "sg-00000000",
    );
}

#[test]
fn names_are_unique_in_a_vpc_and_some_reserved() {
    let (mut control, vpc, _) = lab();
    for (name, code) in [
        ("web", "InvalidGroup.Duplicate"),
        ("default", "InvalidParameterValue"),
        ("sg-web", "InvalidParameterValue"),
    ] {
        let request = CreateSecurityGroup {
            group_name: name.into(),
            vpc: vpc.clone(),
            ..CreateSecurityGroup::default()
        };
        refused(&mut control, request, code, name);
    }
    control.quotas_mut().set(Quota::SecurityGroupsPerRegion, 0);
    let request = CreateSecurityGroup {
        group_name: "db".into(),
        vpc,
        ..CreateSecurityGroup::default()
    };
    refused(
        &mut control,
        request,
        "SecurityGroupLimitExceeded",
        "security groups per",
    );
}

#[test]
fn a_group_in_use_and_the_default_group_stay() {
    let (mut control, vpc, group) = lab();
    let db = security_group(&mut control, &vpc, "db");
    let from_web = allow(&db, Permission::tcp(5432, RulePeer::Group(group.clone())));
    control.execute(from_web).unwrap();
    let delete = DeleteSecurityGroup { group };
    refused(
        &mut control,
        delete.clone(),
        "DependencyViolation",
        db.as_str(),
    );
    control.execute(DeleteSecurityGroup { group: db }).unwrap();
    control.execute(delete).unwrap();
    let default = control.model().get(&vpc).unwrap();
    let default = default.default_security_group.clone();
    let delete = DeleteSecurityGroup {
        group: default.clone(),
    };
    refused(&mut control, delete, "CannotDelete", default.as_str());
    assert_consistent(&control);
}

#[test]
fn a_prefix_list_counts_by_its_maximum() {
    let (mut control, _, group) = lab();
    let list = prefix_list(&mut control, &["203.0.113.0/24"], 60);
    let by_list = Permission::tcp(443, RulePeer::PrefixList(list.clone()));
    control.execute(allow(&group, by_list)).unwrap();
    let request = allow(&group, https());
    let code = "RulesPerSecurityGroupLimitExceeded";
    refused(&mut control, request, code, "rules per security group");
    let grow = ModifyManagedPrefixList {
        prefix_list: list.clone(),
        max_entries: Some(61),
        ..ModifyManagedPrefixList::default()
    };
    refused(&mut control, grow, code, "rules per security group");
    let delete = DeleteManagedPrefixList { prefix_list: list };
    refused(&mut control, delete, "DependencyViolation", group.as_str());
    assert_consistent(&control);
}
