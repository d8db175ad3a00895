use super::super::testing::*;
use super::super::*;
use super::*;
use vpclab_dataplane::tables::RouteTarget;

const DAY_S: u64 = 24 * 3600;

fn two() -> (ControlPlane, VpcId, VpcId) {
    let mut control = ControlPlane::default();
    let a = vpc(&mut control);
    let b = vpc_with(&mut control, "10.1.0.0/16");
    (control, a, b)
}

fn ask(a: &VpcId, b: &VpcId) -> CreateVpcPeeringConnection {
    CreateVpcPeeringConnection {
        vpc: a.clone(),
        peer_vpc: b.clone(),
        ..CreateVpcPeeringConnection::default()
    }
}

fn state(control: &ControlPlane, id: &VpcPeeringConnectionId) -> PeeringState {
    control.model().get(id).unwrap().state
}

/// Executes as if it were that many seconds after 1970.
fn at<A: Action>(control: &mut ControlPlane, now_s: u64, action: A) -> Result<A::Output, ApiError> {
    control.transact(&Caller::default(), |tx| {
        tx.set_now(now_s);
        action.apply(tx)
    })
}

#[test]
fn a_connection_is_asked_for_accepted_and_ended() {
    let (mut control, a, b) = two();
    let peering = control.execute(ask(&a, &b)).unwrap();
    assert_eq!(state(&control, &peering), PeeringState::PendingAcceptance);
    let again = "VpcPeeringConnectionAlreadyExists";
    refused(&mut control, ask(&b, &a), again, peering.as_str());

    let main = main_association(control.model(), &a).unwrap();
    let table = main.route_table.clone();
    let route = |target: &VpcPeeringConnectionId| CreateRoute {
        route_table: table.clone(),
        destination: Destination::Cidr(cidr("10.1.0.0/16")),
        target: RouteTargetSpec::VpcPeeringConnection(target.clone()),
    };
    control.execute(route(&peering)).unwrap();
    let leads = |control: &ControlPlane| {
        let row = control.model().row(&table).unwrap();
        let tables = control.tables().snapshot();
        let hit = tables
            .route_tables
            .row(row)
            .unwrap()
            .lookup("10.1.2.3".parse().unwrap())
            .unwrap();
        hit.route.target.clone()
    };
    assert_eq!(leads(&control), RouteTarget::Blackhole);
    let accept = AcceptVpcPeeringConnection {
        peering: peering.clone(),
    };
    control.execute(accept.clone()).unwrap();
    assert!(matches!(leads(&control), RouteTarget::Peering(_)));
    refused(&mut control, accept, "InvalidStateTransition", "active");
    refused(
        &mut control,
        DeleteVpc { vpc: b.clone() },
        "DependencyViolation",
        peering.as_str(),
    );
    assert_consistent(&control);

    let delete = DeleteVpcPeeringConnection {
        peering: peering.clone(),
    };
    control.execute(delete.clone()).unwrap();
    assert_eq!(leads(&control), RouteTarget::Blackhole);
    assert_eq!(state(&control, &peering), PeeringState::Deleted);
    refused(&mut control, delete, "InvalidStateTransition", "deleted");
    let gone = "InvalidVpcPeeringConnectionID.NotFound";
    let other = ReplaceRoute {
        route_table: table.clone(),
        destination: Destination::Cidr(cidr("10.1.0.0/16")),
        target: RouteTargetSpec::VpcPeeringConnection(peering.clone()),
    };
    refused(&mut control, other, gone, "deleted");
    control.execute(ask(&b, &a)).unwrap();
    assert_consistent(&control);
}

#[test]
fn blocks_that_overlap_and_vpcs_of_nobody_fail() {
    let (mut control, a, _) = two();
    let twin = vpc(&mut control);
    let failed = control.execute(ask(&a, &twin)).unwrap();
    assert_eq!(state(&control, &failed), PeeringState::Failed);
    let accept = AcceptVpcPeeringConnection { peering: failed };
    refused(&mut control, accept, "InvalidStateTransition", "failed");
    let missing = VpcId::from("vpc-0123456789abcdef0");
    refused(
        &mut control,
        ask(&a, &missing),
        "InvalidVpcID.NotFound",
        missing.as_str(),
    );
    // Of another account's VPCs one learns nothing.
    let foreign = CreateVpcPeeringConnection {
        peer_owner: Some("210987654321".into()),
        ..ask(&a, &missing)
    };
    let failed = control.execute(foreign).unwrap();
    assert_eq!(state(&control, &failed), PeeringState::Failed);
    refused(
        &mut control,
        ask(&a, &a),
        "InvalidParameterValue",
        a.as_str(),
    );
    let malformed = VpcId::from("vpc-x");
    refused(
        &mut control,
        ask(&a, &malformed),
        "InvalidVpcID.Malformed",
        "vpc-x",
    );
}

#[test]
fn only_the_accepter_accepts_and_in_its_region() {
    let (mut control, a, _) = two();
    let far = Caller::new(DEFAULT_ACCOUNT, "eu-west-1");
    let create = CreateVpc {
        cidr_block: Some(cidr("10.9.0.0/16")),
        ..CreateVpc::default()
    };
    let b = control.execute_as(&far, create).unwrap().vpc;
    let request = CreateVpcPeeringConnection {
        peer_region: Some("eu-west-1".into()),
        ..ask(&a, &b)
    };
    let peering = control.execute(request).unwrap();
    let accept = AcceptVpcPeeringConnection {
        peering: peering.clone(),
    };
    refused(
        &mut control,
        accept.clone(),
        "OperationNotPermitted",
        "eu-west-1",
    );
    let stranger = Caller::new("210987654321", DEFAULT_REGION);
    let error = control.execute_as(&stranger, accept.clone()).unwrap_err();
    assert_eq!(error.code, "InvalidVpcPeeringConnectionID.NotFound");
    control.execute_as(&far, accept).unwrap();
    let row = control.model().row(&peering).unwrap();
    assert!(
        control
            .tables()
            .snapshot()
            .peerings
            .row(row)
            .unwrap()
            .cross_region
    );
    // No groups across regions.
    let group = control.execute(group_in(&a)).unwrap();
    let theirs = control.execute_as(&far, group_in(&b)).unwrap();
    let allow = AuthorizeSecurityGroup {
        group,
        direction: Direction::Ingress,
        permissions: vec![Permission::all(RulePeer::Group(theirs.clone()))],
    };
    refused(
        &mut control,
        allow,
        "InvalidGroup.NotFound",
        theirs.as_str(),
    );
}

fn group_in(vpc: &VpcId) -> CreateSecurityGroup {
    CreateSecurityGroup {
        group_name: "own".into(),
        vpc: vpc.clone(),
        ..CreateSecurityGroup::default()
    }
}

#[test]
fn a_request_expires_after_seven_days() {
    let (mut control, a, b) = two();
    let start = 1_000_000;
    let peering = at(&mut control, start, ask(&a, &b)).unwrap();
    let accept = AcceptVpcPeeringConnection {
        peering: peering.clone(),
    };
    let late = at(&mut control, start + 7 * DAY_S, accept.clone()).unwrap_err();
    assert_eq!(late.code, "InvalidStateTransition");
    assert!(late.message.contains("expired"), "{late}");
    // It is no longer in the way, and forgotten some time later.
    let next = at(&mut control, start + 8 * DAY_S, ask(&a, &b)).unwrap();
    assert!(control.model().get(&peering).is_none());
    let accept = AcceptVpcPeeringConnection { peering: next };
    at(&mut control, start + 8 * DAY_S + 1, accept).unwrap();
}

#[test]
fn groups_of_a_peer_count_while_the_connection_stands() {
    let (mut control, a, b) = two();
    let peering = control.execute(ask(&a, &b)).unwrap();
    let group = control.execute(group_in(&a)).unwrap();
    let theirs = control.execute(group_in(&b)).unwrap();
    let allow = AuthorizeSecurityGroup {
        group: group.clone(),
        direction: Direction::Ingress,
        permissions: vec![Permission::all(RulePeer::Group(theirs.clone()))],
    };
    refused(
        &mut control,
        allow.clone(),
        "InvalidGroup.NotFound",
        theirs.as_str(),
    );
    let accept = AcceptVpcPeeringConnection {
        peering: peering.clone(),
    };
    control.execute(accept).unwrap();
    control.execute(allow).unwrap();
    let rules = |control: &ControlPlane| {
        let row = control.model().row(&group).unwrap();
        let tables = control.tables().snapshot();
        tables.security_groups.row(row).unwrap().ingress.len()
    };
    assert_eq!(rules(&control), 1);
    assert_consistent(&control);
    control
        .execute(DeleteVpcPeeringConnection { peering })
        .unwrap();
    assert_eq!(rules(&control), 0, "the rule is stale");
    assert_consistent(&control);
}

#[test]
fn a_peer_gets_no_block_that_overlaps() {
    let (mut control, a, b) = two();
    control.execute(ask(&a, &b)).unwrap();
    let more = AssociateVpcCidrBlock {
        vpc: b,
        cidr_block: Some(cidr("10.0.128.0/20")),
        ..AssociateVpcCidrBlock::default()
    };
    refused(&mut control, more, "InvalidVpc.Range", a.as_str());
}

#[test]
fn options_need_an_active_connection_and_names() {
    let (mut control, a, b) = two();
    let peering = control.execute(ask(&a, &b)).unwrap();
    let modify = ModifyVpcPeeringConnectionOptions {
        peering: peering.clone(),
        requester_dns_resolution: Some(true),
        ..ModifyVpcPeeringConnectionOptions::default()
    };
    refused(
        &mut control,
        modify.clone(),
        "OperationNotPermitted",
        "pending-acceptance",
    );
    control
        .execute(AcceptVpcPeeringConnection { peering })
        .unwrap();
    let code = "InvalidVpcPeeringConnectionState.DnsHostnamesDisabled";
    refused(&mut control, modify.clone(), code, a.as_str());
    let names = ModifyVpcAttribute {
        vpc: a,
        enable_dns_hostnames: Some(true),
        ..ModifyVpcAttribute::default()
    };
    control.execute(names).unwrap();
    let held = control.execute(modify).unwrap();
    assert!(held.requester.dns_resolution && !held.accepter.dns_resolution);
}
