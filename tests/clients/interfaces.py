"""Network interfaces: attached, moved, with more addresses, deleted."""

from cloud import check, wait


def interface(cloud, subnet, *groups, **more):
    made = cloud.ec2.create_network_interface(SubnetId=subnet, Groups=list(groups), **more)
    return made["NetworkInterface"]


def one_and_another(cloud):
    vpc = cloud.vpc()
    subnet, group = cloud.subnet(vpc), cloud.group(vpc)
    return vpc, subnet, group, cloud.run(subnet, group), cloud.run(subnet, group)


def beside(cloud):
    """Two hosts, and one in the subnet where they may get second interfaces: hosts
    answer by the interface that is nearest, as plain Linux does."""
    vpc, _, group, b, c = one_and_another(cloud)
    subnet = cloud.subnet(vpc, "10.0.2.0/24")
    return vpc, subnet, group, cloud.run(subnet, group), b, c


def an_interface_is_attached_and_detached(cloud):
    _, subnet, group, a, b, c = beside(cloud)
    eni = interface(cloud, subnet, group, Description="second")
    ip, name = eni["PrivateIpAddress"], eni["NetworkInterfaceId"]
    check(eni["Status"] == "available", eni)
    a.cannot_reach(ip)
    held = cloud.ec2.attach_network_interface(
        NetworkInterfaceId=name, InstanceId=b.name, DeviceIndex=1)["AttachmentId"]
    cloud.refused("InvalidNetworkInterface.InUse", "delete_network_interface",
                  NetworkInterfaceId=name)
    a.reaches(ip)
    found = cloud.ec2.describe_instances(InstanceIds=[b.name])["Reservations"][0]["Instances"][0]
    ips = [it["PrivateIpAddress"] for it in found["NetworkInterfaces"]]
    check(ips == [b.ip, ip], ips)
    cloud.ec2.detach_network_interface(AttachmentId=held)
    a.cannot_reach(ip)
    a.reaches(b.ip)
    # To the other host: the address moves with it.
    cloud.ec2.attach_network_interface(NetworkInterfaceId=name, InstanceId=c.name, DeviceIndex=1)
    a.reaches(ip)
    cloud.refused("OperationNotPermitted", "detach_network_interface",
                  AttachmentId=found["NetworkInterfaces"][0]["Attachment"]["AttachmentId"])


def secondary_addresses_come_and_go(cloud):
    _, _, _, a, b = one_and_another(cloud)
    a.cannot_reach("10.0.1.77")
    made = cloud.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=b.eni, PrivateIpAddresses=["10.0.1.77"])
    made = [it["PrivateIpAddress"] for it in made["AssignedPrivateIpAddresses"]]
    check(made == ["10.0.1.77"], made)
    a.reaches("10.0.1.77")
    check(b.reaches(a.ip, source="10.0.1.77") == "10.0.1.77", "not from the second address")
    more = cloud.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=b.eni, SecondaryPrivateIpAddressCount=1)
    a.reaches(more["AssignedPrivateIpAddresses"][0]["PrivateIpAddress"])
    cloud.ec2.unassign_private_ip_addresses(
        NetworkInterfaceId=b.eni, PrivateIpAddresses=["10.0.1.77"])
    a.cannot_reach("10.0.1.77")
    a.reaches(b.ip)
    cloud.refused("InvalidParameterValue", "unassign_private_ip_addresses",
                  NetworkInterfaceId=b.eni, PrivateIpAddresses=[b.ip])


def ipv6_addresses_come_and_go(cloud):
    vpc = cloud.vpc(AmazonProvidedIpv6CidrBlock=True)
    found = cloud.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]
    block = found["Ipv6CidrBlock"].replace("::/56", "::/64")
    subnet, group = cloud.subnet(vpc), cloud.group(vpc)
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}])
    held = cloud.ec2.associate_subnet_cidr_block(SubnetId=subnet, Ipv6CidrBlock=block)
    held = held["Ipv6CidrBlockAssociation"]["AssociationId"]
    cloud.refused("DependencyViolation", "disassociate_vpc_cidr_block",
                  AssociationId=found["AssociationId"])
    a = cloud.run(subnet, group, Ipv6AddressCount=1)
    b = cloud.run(subnet, group)
    made = cloud.ec2.assign_ipv6_addresses(NetworkInterfaceId=b.eni, Ipv6AddressCount=1)
    ip = made["AssignedIpv6Addresses"][0]
    wait("IPv6 works", lambda: "error" not in a.connect(ip, seconds=2))
    a.reaches(ip)
    cloud.ec2.unassign_ipv6_addresses(NetworkInterfaceId=b.eni, Ipv6Addresses=[ip])
    a.cannot_reach(ip)
    for host in (a, b):
        host.stop()
        cloud.hosts.pop(host.name)
        cloud.ec2.terminate_instances(InstanceIds=[host.name])
    cloud.ec2.disassociate_subnet_cidr_block(AssociationId=held)
    cloud.ec2.disassociate_vpc_cidr_block(AssociationId=found["AssociationId"])


def groups_of_an_interface_are_replaced(cloud):
    vpc, _, _, a, b = one_and_another(cloud)
    closed = cloud.group(vpc, "closed", allow=False)
    a.reaches(b.ip)
    cloud.ec2.modify_network_interface_attribute(NetworkInterfaceId=b.eni, Groups=[closed])
    a.cannot_reach(b.ip)
    found = cloud.ec2.describe_network_interface_attribute(
        NetworkInterfaceId=b.eni, Attribute="groupSet")
    check([g["GroupId"] for g in found["Groups"]] == [closed], found)
    cloud.ec2.modify_instance_attribute(
        InstanceId=b.name, Groups=[cloud.group(vpc, "another")])
    a.reaches(b.ip)


def a_deleted_interfaces_address_is_another_ones(cloud):
    _, subnet, group, a, b, _ = beside(cloud)
    eni = interface(cloud, subnet, group, PrivateIpAddress="10.0.2.99")
    held = cloud.ec2.attach_network_interface(
        NetworkInterfaceId=eni["NetworkInterfaceId"], InstanceId=b.name, DeviceIndex=1)
    a.reaches("10.0.2.99")
    cloud.refused("InvalidIPAddress.InUse", "create_network_interface",
                  SubnetId=subnet, PrivateIpAddress="10.0.2.99")
    cloud.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=eni["NetworkInterfaceId"], Description={"Value": "changed"})
    cloud.ec2.detach_network_interface(AttachmentId=held["AttachmentId"])
    cloud.ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    a.cannot_reach("10.0.2.99")
    cloud.refused("InvalidNetworkInterfaceID.NotFound", "describe_network_interfaces",
                  NetworkInterfaceIds=[eni["NetworkInterfaceId"]])
    again = cloud.run(subnet, group, PrivateIpAddress="10.0.2.99")
    # `a` may still hold the old interface's MAC address.
    b.reaches(again.ip)


CHECKS = [an_interface_is_attached_and_detached, secondary_addresses_come_and_go,
          ipv6_addresses_come_and_go, groups_of_an_interface_are_replaced,
          a_deleted_interfaces_address_is_another_ones]
