"""Elastic addresses: who is seen with which, and who answers at them."""

from cloud import VISITOR, check


def two_public(cloud):
    vpc = cloud.vpc()
    gateway = cloud.gateway(vpc)
    cloud.ec2.create_route(RouteTableId=cloud.main_table(vpc)["RouteTableId"],
                           DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    subnet, group = cloud.subnet(vpc), cloud.group(vpc)
    return subnet, group, cloud.run(subnet, group), cloud.run(subnet, group)


def an_address_is_associated_moved_and_released(cloud):
    _, _, a, b = two_public(cloud)
    allocation, public = cloud.elastic()
    a.cannot_reach(VISITOR)
    held = cloud.ec2.associate_address(AllocationId=allocation, InstanceId=a.name)
    check(a.reaches(VISITOR) == public, "seen with another address")
    check(cloud.visitor.reaches(public) == VISITOR, "not the visitor")
    cloud.refused("InvalidIPAddress.InUse", "release_address", AllocationId=allocation)
    cloud.refused("Resource.AlreadyAssociated", "associate_address", AllocationId=allocation,
                  NetworkInterfaceId=b.eni, AllowReassociation=False)
    cloud.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=b.eni)
    a.cannot_reach(VISITOR)
    check(b.reaches(VISITOR) == public, "b is seen with another address")
    cloud.refused("InvalidAssociationID.NotFound", "disassociate_address",
                  AssociationId=held["AssociationId"])
    found = cloud.ec2.describe_addresses(PublicIps=[public])["Addresses"][0]
    check((found["InstanceId"], found["PrivateIpAddress"]) == (b.name, b.ip), found)
    cloud.ec2.disassociate_address(AssociationId=found["AssociationId"])
    b.cannot_reach(VISITOR)
    cloud.visitor.cannot_reach(public)
    cloud.ec2.release_address(AllocationId=allocation)
    cloud.refused("InvalidAllocationID.NotFound", "describe_addresses", AllocationIds=[allocation])


def a_secondary_address_has_its_own(cloud):
    _, _, a, _ = two_public(cloud)
    cloud.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=a.eni, PrivateIpAddresses=["10.0.1.200"])
    allocation, public = cloud.elastic()
    cloud.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=a.eni,
                                PrivateIpAddress="10.0.1.200")
    a.cannot_reach(VISITOR)
    check(a.reaches(VISITOR, source="10.0.1.200") == public, "seen with another address")
    found = cloud.ec2.describe_addresses_attribute(AllocationIds=[allocation])["Addresses"]
    check(found[0]["PublicIp"] == public, found)


def subnets_give_public_addresses_on_launch(cloud):
    subnet, group, _, _ = two_public(cloud)
    cloud.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    c = cloud.run(subnet, group)
    found = cloud.ec2.describe_instances(InstanceIds=[c.name])["Reservations"][0]["Instances"][0]
    check(c.reaches(VISITOR) == found["PublicIpAddress"], "seen with another address")


CHECKS = [an_address_is_associated_moved_and_released, a_secondary_address_has_its_own,
          subnets_give_public_addresses_on_launch]
