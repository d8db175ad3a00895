"""NAT gateways: who is seen with which address, who cannot come in, and states."""

from cloud import VISITOR, check, filters


def behind(cloud, **more):
    """A host of a private subnet behind a new NAT gateway, and that gateway."""
    vpc = cloud.vpc()
    internet = cloud.gateway(vpc)
    private, public = cloud.subnet(vpc), cloud.subnet(vpc, "10.0.0.0/24")
    table = cloud.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    cloud.ec2.associate_route_table(RouteTableId=table, SubnetId=public)
    cloud.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0",
                           GatewayId=internet)
    made = cloud.ec2.create_nat_gateway(SubnetId=public, **more)["NatGateway"]
    main = cloud.main_table(vpc)["RouteTableId"]
    cloud.ec2.create_route(RouteTableId=main, DestinationCidrBlock="0.0.0.0/0",
                           NatGatewayId=made["NatGatewayId"])
    return cloud.run(private, cloud.group(vpc)), made, main


def gateway(cloud, name):
    (found,) = cloud.ec2.describe_nat_gateways(NatGatewayIds=[name])["NatGateways"]
    return found


def default_route(cloud, table):
    (found,) = cloud.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    return next(it for it in found["Routes"] if it["DestinationCidrBlock"] == "0.0.0.0/0")


def a_public_one_carries_what_the_inside_starts(cloud):
    allocation, public = cloud.elastic()
    a, made, main = behind(cloud, AllocationId=allocation)
    name = made["NatGatewayId"]
    check(made["State"] == "pending", made)
    found = gateway(cloud, name)
    (address,) = found["NatGatewayAddresses"]
    check((found["State"], address["PublicIp"], address["IsPrimary"]) ==
          ("available", public, True), found)
    check(a.reaches(VISITOR) == public, "seen with another address")
    check(a.pings(VISITOR), "no echo came back")
    cloud.visitor.cannot_reach(public)
    route = default_route(cloud, main)
    check((route["NatGatewayId"], route["State"]) == (name, "active"), route)
    check("GatewayId" not in route, route)
    cloud.refused("InvalidParameterValue", "create_route", RouteTableId=main,
                  DestinationIpv6CidrBlock="::/0", NatGatewayId=name)
    cloud.refused("InvalidNatGatewayID.NotFound", "replace_route", RouteTableId=main,
                  DestinationCidrBlock="0.0.0.0/0", NatGatewayId="nat-0123456789abcdef0")
    cloud.refused("OperationNotPermitted", "disassociate_address",
                  AssociationId=address["AssociationId"])
    cloud.ec2.delete_nat_gateway(NatGatewayId=name)
    route = default_route(cloud, main)
    check(route["State"] == "blackhole", route)
    a.cannot_reach(VISITOR)
    cloud.refused("NatGatewayNotFound", "describe_nat_gateways", NatGatewayIds=[name])
    cloud.refused("NatGatewayNotFound", "delete_nat_gateway", NatGatewayId=name)
    cloud.ec2.release_address(AllocationId=allocation)


def addresses_of_a_public_one_come_and_go(cloud):
    first, public = cloud.elastic()
    second, other = cloud.elastic()
    a, made, _ = behind(cloud, AllocationId=first)
    name = made["NatGatewayId"]
    more = cloud.ec2.associate_nat_gateway_address(NatGatewayId=name, AllocationIds=[second])
    (more,) = more["NatGatewayAddresses"]
    check((more["PublicIp"], more["Status"]) == (other, "associating"), more)
    seen = {a.reaches(VISITOR) for _ in range(24)}
    check(seen == {public, other}, f"seen with {seen}")
    cloud.refused("AddressLimitExceeded", "associate_nat_gateway_address", NatGatewayId=name,
                  AllocationIds=[cloud.elastic()[0]])
    cloud.ec2.disassociate_nat_gateway_address(
        NatGatewayId=name, AssociationIds=[more["AssociationId"]])
    check({a.reaches(VISITOR) for _ in range(8)} == {public}, "the address is still in use")
    cloud.refused("InvalidAssociationID.NotFound", "disassociate_nat_gateway_address",
                  NatGatewayId=name, AssociationIds=[more["AssociationId"]])
    cloud.refused("InvalidParameter", "assign_private_nat_gateway_address", NatGatewayId=name,
                  PrivateIpAddressCount=1)


def a_private_one_has_no_way_to_the_internet(cloud):
    a, made, _ = behind(cloud, ConnectivityType="private", PrivateIpAddress="10.0.0.77")
    name = made["NatGatewayId"]
    a.cannot_reach(VISITOR)
    given = cloud.ec2.assign_private_nat_gateway_address(NatGatewayId=name, PrivateIpAddressCount=2)
    given = [it["PrivateIp"] for it in given["NatGatewayAddresses"]]
    check(len(given) == 2, given)
    cloud.ec2.unassign_private_nat_gateway_address(
        NatGatewayId=name, PrivateIpAddresses=given[:1])
    left = [it["PrivateIp"] for it in gateway(cloud, name)["NatGatewayAddresses"]]
    check(left == ["10.0.0.77", given[1]], left)
    cloud.refused("InvalidParameterValue", "unassign_private_nat_gateway_address",
                  NatGatewayId=name, PrivateIpAddresses=["10.0.0.77"])
    cloud.refused("PrivateIpAddressLimitExceeded", "assign_private_nat_gateway_address",
                  NatGatewayId=name, PrivateIpAddressCount=9)
    cloud.refused("InvalidParameterCombination", "create_nat_gateway", SubnetId=made["SubnetId"],
                  ConnectivityType="private", AllocationId="eipalloc-0123456789abcdef0")


def what_is_found_out_late_makes_a_failed_one(cloud):
    vpc = cloud.vpc()
    subnet, (allocation, _) = cloud.subnet(vpc), cloud.elastic()
    made = cloud.ec2.create_nat_gateway(
        SubnetId=subnet, AllocationId=allocation, TagSpecifications=[
            {"ResourceType": "natgateway", "Tags": [{"Key": "Name", "Value": "late"}]}])
    check(made["NatGateway"]["State"] == "pending", made)
    (found,) = cloud.ec2.describe_nat_gateways(
        Filters=filters(state="failed", vpc_id=vpc, subnet_id=subnet))["NatGateways"]
    check((found["FailureCode"], found["Tags"][0]["Value"]) ==
          ("Gateway.NotAttached", "late"), found)
    check(vpc in found["FailureMessage"], found)
    cloud.refused("MissingParameter", "create_nat_gateway", SubnetId=subnet)
    cloud.refused("InvalidSubnetID.NotFound", "create_nat_gateway",
                  SubnetId="subnet-0123456789abcdef0", AllocationId=allocation)
    cloud.refused("InvalidAllocationID.NotFound", "create_nat_gateway", SubnetId=subnet,
                  AllocationId="eipalloc-0123456789abcdef0")
    cloud.ec2.delete_nat_gateway(NatGatewayId=found["NatGatewayId"])


CHECKS = [a_public_one_carries_what_the_inside_starts, addresses_of_a_public_one_come_and_go,
          a_private_one_has_no_way_to_the_internet, what_is_found_out_late_makes_a_failed_one]
