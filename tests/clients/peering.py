"""VPC peering: asked for, accepted, and what packets then do."""

from cloud import ACCOUNT, OTHER_ACCOUNT, check


def two(cloud):
    """Two VPCs with a host each, open to all."""
    ends = []
    for n in (0, 1):
        vpc = cloud.vpc(f"10.{n}.0.0/16")
        group = cloud.group(vpc)
        subnet = cloud.subnet(vpc, f"10.{n}.1.0/24")
        ends.append((vpc, group, cloud.run(subnet, group)))
    return ends


def ask(cloud, a, b, **more):
    made = cloud.ec2.create_vpc_peering_connection(VpcId=a, PeerVpcId=b, **more)
    return made["VpcPeeringConnection"]


def status(cloud, peering):
    found = cloud.ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering])
    return found["VpcPeeringConnections"][0]["Status"]["Code"]


def lead(cloud, vpc, block, peering):
    table = cloud.main_table(vpc)["RouteTableId"]
    cloud.ec2.create_route(RouteTableId=table, DestinationCidrBlock=block,
                           VpcPeeringConnectionId=peering)
    return table


def route_state(cloud, vpc, peering):
    routes = cloud.main_table(vpc)["Routes"]
    (found,) = [r for r in routes if r.get("VpcPeeringConnectionId") == peering]
    return found["State"]


def packets_pass_from_acceptance_to_deletion(cloud):
    (vpc, _, a), (other, _, b) = two(cloud)
    a.cannot_reach(b.ip)
    made = ask(cloud, vpc, other, TagSpecifications=[
        {"ResourceType": "vpc-peering-connection", "Tags": [{"Key": "Name", "Value": "ours"}]}])
    peering = made["VpcPeeringConnectionId"]
    check(made["Status"]["Code"] == "pending-acceptance", made)
    check(made["RequesterVpcInfo"]["CidrBlock"] == "10.0.0.0/16", made)
    check(made["AccepterVpcInfo"]["VpcId"] == other, made)
    cloud.refused("VpcPeeringConnectionAlreadyExists", "create_vpc_peering_connection",
                  VpcId=vpc, PeerVpcId=other)
    lead(cloud, vpc, "10.1.0.0/16", peering)
    check(route_state(cloud, vpc, peering) == "blackhole", "a route to a request")
    a.cannot_reach(b.ip)
    accepted = cloud.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    check(accepted["VpcPeeringConnection"]["Status"]["Code"] == "active", accepted)
    check(route_state(cloud, vpc, peering) == "active", "a route to an active connection")
    # There, but not back.
    a.cannot_reach(b.ip)
    lead(cloud, other, "10.0.0.0/16", peering)
    check(a.reaches(b.ip) == a.ip, "the source is not kept")
    b.reaches(a.ip)
    cloud.refused("InvalidStateTransition", "accept_vpc_peering_connection",
                  VpcPeeringConnectionId=peering)
    for name, value in [("status-code", "active"), ("requester-vpc-info.vpc-id", vpc),
                        ("accepter-vpc-info.cidr-block", "10.1.0.0/16"), ("tag:Name", "ours")]:
        found = cloud.ec2.describe_vpc_peering_connections(Filters=[{"Name": name, "Values": [value]}])
        found = [it["VpcPeeringConnectionId"] for it in found["VpcPeeringConnections"]]
        check(found == [peering], f"{name}: {found}")
    cloud.refused("InvalidVpcPeeringConnectionID.NotFound", "describe_vpc_peering_connections",
                  VpcPeeringConnectionIds=["pcx-0123456789abcdef0"])
    cloud.ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    a.cannot_reach(b.ip)
    check(route_state(cloud, vpc, peering) == "blackhole", "a route to a deleted connection")
    check(status(cloud, peering) == "deleted", "still there")
    cloud.refused("InvalidStateTransition", "delete_vpc_peering_connection",
                  VpcPeeringConnectionId=peering)


def a_request_is_rejected(cloud):
    (vpc, _, _), (other, _, _) = two(cloud)
    peering = ask(cloud, vpc, other)["VpcPeeringConnectionId"]
    cloud.ec2.reject_vpc_peering_connection(VpcPeeringConnectionId=peering)
    check(status(cloud, peering) == "rejected", "not rejected")
    cloud.refused("InvalidStateTransition", "reject_vpc_peering_connection",
                  VpcPeeringConnectionId=peering)
    table = cloud.main_table(vpc)["RouteTableId"]
    cloud.refused("InvalidVpcPeeringConnectionID.NotFound", "create_route", RouteTableId=table,
                  DestinationCidrBlock="10.1.0.0/16", VpcPeeringConnectionId=peering)


def what_overlaps_fails(cloud):
    vpc, twin = cloud.vpc("10.0.0.0/16"), cloud.vpc("10.0.0.0/16")
    made = ask(cloud, vpc, twin)
    check(made["Status"]["Code"] in ("failed", "initiating-request"), made)
    check(status(cloud, made["VpcPeeringConnectionId"]) == "failed", "not failed")
    cloud.refused("InvalidVpcID.NotFound", "create_vpc_peering_connection", VpcId=vpc,
                  PeerVpcId="vpc-0123456789abcdef0")


def options_are_each_owners(cloud):
    (vpc, _, a), (other, _, b) = two(cloud)
    peering = ask(cloud, vpc, other)["VpcPeeringConnectionId"]
    wanted = {"VpcPeeringConnectionId": peering,
              "RequesterPeeringConnectionOptions": {"AllowDnsResolutionFromRemoteVpc": True}}
    cloud.refused("OperationNotPermitted", "modify_vpc_peering_connection_options", **wanted)
    cloud.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    cloud.refused("InvalidVpcPeeringConnectionState.DnsHostnamesDisabled",
                  "modify_vpc_peering_connection_options", **wanted)
    cloud.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    cloud.gateway(vpc)
    _, public = cloud.elastic(a.eni)
    name = f"ec2-{public.replace('.', '-')}.compute-1.amazonaws.com"
    seen = lambda: cloud.lab.exec(b.name, "dig", "+short", "+tries=1", name).stdout.strip()
    check(seen() == public, f"{name} is {seen()}")
    now = cloud.ec2.modify_vpc_peering_connection_options(**wanted)
    check(seen() == a.ip, f"{name} is {seen()} still")
    options = now["RequesterPeeringConnectionOptions"]
    check(options["AllowDnsResolutionFromRemoteVpc"] is True, now)


def another_account_accepts(cloud):
    there = cloud.client("ec2", OTHER_ACCOUNT)
    vpc = cloud.vpc("10.0.0.0/16")
    other = there.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    peering = ask(cloud, vpc, other, PeerOwnerId=OTHER_ACCOUNT)["VpcPeeringConnectionId"]
    cloud.refused("OperationNotPermitted", "accept_vpc_peering_connection",
                  VpcPeeringConnectionId=peering)
    there.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    check(status(cloud, peering) == "active", "not active")
    # Their group, in a rule of ours.
    group, theirs = cloud.group(vpc), there.create_security_group(
        GroupName="theirs", Description="theirs", VpcId=other)["GroupId"]
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81,
         "UserIdGroupPairs": [{"GroupId": theirs, "UserId": OTHER_ACCOUNT}]}])
    cloud.refused("InvalidGroup.NotFound", "authorize_security_group_ingress", GroupId=group,
                  IpPermissions=[{"IpProtocol": "tcp", "FromPort": 82, "ToPort": 82,
                                  "UserIdGroupPairs": [{"GroupId": theirs, "UserId": ACCOUNT}]}])
    there.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    there.delete_security_group(GroupId=theirs)
    there.delete_vpc(VpcId=other)


CHECKS = [
    packets_pass_from_acceptance_to_deletion,
    a_request_is_rejected,
    what_overlaps_fails,
    options_are_each_owners,
    another_account_accepts,
]
