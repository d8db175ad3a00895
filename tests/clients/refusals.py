"""What each action refuses, by AWS's codes: ids that name nothing or are none,
what collides, what is out of range."""

import harness
from cloud import ANYTHING, filters, tcp

# Well formed, and nobody's.
NOBODY = "0123456789abcdef0"
VPC, SUBNET, ENI = f"vpc-{NOBODY}", f"subnet-{NOBODY}", f"eni-{NOBODY}"
GROUP, RULE, TABLE = f"sg-{NOBODY}", f"sgr-{NOBODY}", f"rtb-{NOBODY}"
ACL, GATEWAY, ADDRESS = f"acl-{NOBODY}", f"igw-{NOBODY}", f"eipalloc-{NOBODY}"
LIST, INSTANCE = f"pl-{NOBODY}", f"i-{NOBODY}"
ENTRY = {"RuleNumber": 1, "Protocol": "-1", "RuleAction": "allow", "Egress": False,
         "CidrBlock": "0.0.0.0/0"}
UNKNOWN_FILTER = [{"Name": "nope", "Values": ["x"]}]

NOT_THERE = [
    ("describe_vpcs", {"VpcIds": [VPC]}, "InvalidVpcID.NotFound"),
    ("describe_vpcs", {"VpcIds": ["vpc-x"]}, "InvalidVpcID.Malformed"),
    ("delete_vpc", {"VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("describe_vpc_attribute", {"VpcId": VPC, "Attribute": "enableDnsSupport"},
     "InvalidVpcID.NotFound"),
    ("modify_vpc_attribute", {"VpcId": VPC, "EnableDnsSupport": {"Value": True}},
     "InvalidVpcID.NotFound"),
    ("associate_vpc_cidr_block", {"VpcId": VPC, "CidrBlock": "10.1.0.0/16"},
     "InvalidVpcID.NotFound"),
    ("disassociate_vpc_cidr_block", {"AssociationId": f"vpc-cidr-assoc-{NOBODY}"},
     "InvalidVpcCidrBlockAssociationID.NotFound"),
    ("associate_subnet_cidr_block", {"SubnetId": SUBNET, "Ipv6CidrBlock": "2001:db8::/64"},
     "InvalidSubnetID.NotFound"),
    ("disassociate_subnet_cidr_block", {"AssociationId": f"subnet-cidr-assoc-{NOBODY}"},
     "InvalidSubnetCidrBlockAssociationID.NotFound"),
    ("create_subnet", {"VpcId": VPC, "CidrBlock": "10.0.0.0/24"}, "InvalidVpcID.NotFound"),
    ("delete_subnet", {"SubnetId": SUBNET}, "InvalidSubnetID.NotFound"),
    ("describe_subnets", {"SubnetIds": [SUBNET]}, "InvalidSubnetID.NotFound"),
    ("describe_subnets", {"SubnetIds": ["nonsense"]}, "InvalidSubnetID.Malformed"),
    ("modify_subnet_attribute", {"SubnetId": SUBNET, "MapPublicIpOnLaunch": {"Value": True}},
     "InvalidSubnetID.NotFound"),
    ("create_route_table", {"VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("delete_route_table", {"RouteTableId": TABLE}, "InvalidRouteTableID.NotFound"),
    ("describe_route_tables", {"RouteTableIds": [TABLE]}, "InvalidRouteTableID.NotFound"),
    ("associate_route_table", {"RouteTableId": TABLE, "SubnetId": SUBNET},
     "InvalidRouteTableID.NotFound"),
    ("disassociate_route_table", {"AssociationId": f"rtbassoc-{NOBODY}"},
     "InvalidAssociationID.NotFound"),
    ("replace_route_table_association",
     {"AssociationId": f"rtbassoc-{NOBODY}", "RouteTableId": TABLE},
     "InvalidAssociationID.NotFound"),
    ("create_route", {"RouteTableId": TABLE, "DestinationCidrBlock": "0.0.0.0/0",
                      "GatewayId": GATEWAY}, "InvalidRouteTableID.NotFound"),
    ("create_route", {"RouteTableId": TABLE, "GatewayId": GATEWAY}, "MissingParameter"),
    ("replace_route", {"RouteTableId": TABLE, "DestinationCidrBlock": "0.0.0.0/0",
                       "GatewayId": GATEWAY}, "InvalidRouteTableID.NotFound"),
    ("delete_route", {"RouteTableId": TABLE, "DestinationCidrBlock": "0.0.0.0/0"},
     "InvalidRouteTableID.NotFound"),
    ("attach_internet_gateway", {"InternetGatewayId": GATEWAY, "VpcId": VPC},
     "InvalidInternetGatewayID.NotFound"),
    ("detach_internet_gateway", {"InternetGatewayId": GATEWAY, "VpcId": VPC},
     "InvalidInternetGatewayID.NotFound"),
    ("delete_internet_gateway", {"InternetGatewayId": GATEWAY},
     "InvalidInternetGatewayID.NotFound"),
    ("describe_internet_gateways", {"InternetGatewayIds": [GATEWAY]},
     "InvalidInternetGatewayID.NotFound"),
    ("create_internet_gateway",
     {"TagSpecifications": [{"ResourceType": "vpc", "Tags": [{"Key": "a", "Value": "b"}]}]},
     "InvalidParameterValue"),
    ("create_security_group", {"GroupName": "g", "Description": "d", "VpcId": VPC},
     "InvalidVpcID.NotFound"),
    ("delete_security_group", {"GroupId": GROUP}, "InvalidGroup.NotFound"),
    ("describe_security_groups", {"GroupIds": [GROUP]}, "InvalidGroup.NotFound"),
    ("describe_security_groups", {"GroupIds": ["sg-"]}, "InvalidGroupId.Malformed"),
    ("describe_security_group_rules", {"Filters": UNKNOWN_FILTER}, "InvalidParameterValue"),
    ("modify_security_group_rules",
     {"GroupId": GROUP, "SecurityGroupRules": [{
         "SecurityGroupRuleId": RULE,
         "SecurityGroupRule": {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1,
                               "CidrIpv4": "10.0.0.0/8"}}]}, "InvalidGroup.NotFound"),
    *[(f"{verb}_security_group_{way}", {"GroupId": GROUP, "IpPermissions": [ANYTHING]},
       "InvalidGroup.NotFound")
      for verb in ("authorize", "revoke") for way in ("ingress", "egress")],
    *[(f"update_security_group_rule_descriptions_{way}",
       {"GroupId": GROUP, "IpPermissions": [ANYTHING]}, "InvalidGroup.NotFound")
      for way in ("ingress", "egress")],
    ("create_network_acl", {"VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("delete_network_acl", {"NetworkAclId": ACL}, "InvalidNetworkAclID.NotFound"),
    ("describe_network_acls", {"NetworkAclIds": [ACL]}, "InvalidNetworkAclID.NotFound"),
    ("create_network_acl_entry", {"NetworkAclId": ACL, **ENTRY}, "InvalidNetworkAclID.NotFound"),
    ("replace_network_acl_entry", {"NetworkAclId": ACL, **ENTRY}, "InvalidNetworkAclID.NotFound"),
    ("delete_network_acl_entry", {"NetworkAclId": ACL, "RuleNumber": 1, "Egress": False},
     "InvalidNetworkAclID.NotFound"),
    ("replace_network_acl_association",
     {"AssociationId": f"aclassoc-{NOBODY}", "NetworkAclId": ACL},
     "InvalidAssociationID.NotFound"),
    ("create_network_interface", {"SubnetId": SUBNET}, "InvalidSubnetID.NotFound"),
    ("delete_network_interface", {"NetworkInterfaceId": ENI},
     "InvalidNetworkInterfaceID.NotFound"),
    ("delete_network_interface", {"NetworkInterfaceId": "eni-x"},
     "InvalidNetworkInterfaceId.Malformed"),
    ("describe_network_interfaces", {"NetworkInterfaceIds": [ENI]},
     "InvalidNetworkInterfaceID.NotFound"),
    ("describe_network_interface_attribute",
     {"NetworkInterfaceId": ENI, "Attribute": "description"}, "InvalidNetworkInterfaceID.NotFound"),
    ("modify_network_interface_attribute",
     {"NetworkInterfaceId": ENI, "SourceDestCheck": {"Value": False}},
     "InvalidNetworkInterfaceID.NotFound"),
    ("reset_network_interface_attribute", {"NetworkInterfaceId": ENI, "SourceDestCheck": "true"},
     "InvalidNetworkInterfaceID.NotFound"),
    ("attach_network_interface",
     {"NetworkInterfaceId": ENI, "InstanceId": INSTANCE, "DeviceIndex": 1},
     "InvalidInstanceID.NotFound"),
    ("detach_network_interface", {"AttachmentId": f"eni-attach-{NOBODY}"},
     "InvalidAttachmentID.NotFound"),
    ("assign_private_ip_addresses",
     {"NetworkInterfaceId": ENI, "SecondaryPrivateIpAddressCount": 1},
     "InvalidNetworkInterfaceID.NotFound"),
    ("unassign_private_ip_addresses",
     {"NetworkInterfaceId": ENI, "PrivateIpAddresses": ["10.0.0.4"]},
     "InvalidNetworkInterfaceID.NotFound"),
    ("assign_ipv6_addresses", {"NetworkInterfaceId": ENI, "Ipv6AddressCount": 1},
     "InvalidNetworkInterfaceID.NotFound"),
    ("unassign_ipv6_addresses", {"NetworkInterfaceId": ENI, "Ipv6Addresses": ["2001:db8::1"]},
     "InvalidNetworkInterfaceID.NotFound"),
    ("allocate_address", {"Domain": "standard"}, "InvalidParameterValue"),
    ("release_address", {"AllocationId": ADDRESS}, "InvalidAllocationID.NotFound"),
    ("associate_address", {"AllocationId": ADDRESS, "NetworkInterfaceId": ENI},
     "InvalidAllocationID.NotFound"),
    ("disassociate_address", {"AssociationId": f"eipassoc-{NOBODY}"},
     "InvalidAssociationID.NotFound"),
    ("describe_addresses", {"AllocationIds": [ADDRESS]}, "InvalidAllocationID.NotFound"),
    ("describe_addresses", {"PublicIps": ["198.51.100.99"]}, "InvalidAddress.NotFound"),
    ("describe_addresses_attribute", {"AllocationIds": [ADDRESS]}, "InvalidAllocationID.NotFound"),
    ("create_tags", {"Resources": [VPC], "Tags": [{"Key": "a", "Value": "b"}]},
     "InvalidVpcID.NotFound"),
    ("create_tags", {"Resources": ["nonsense"], "Tags": [{"Key": "a", "Value": "b"}]},
     "InvalidID"),
    ("delete_tags", {"Resources": ["nonsense"], "Tags": [{"Key": "a"}]}, "InvalidID"),
    ("describe_tags", {"Filters": UNKNOWN_FILTER}, "InvalidParameterValue"),
    ("create_managed_prefix_list",
     {"PrefixListName": "l", "MaxEntries": 0, "AddressFamily": "IPv4"}, "InvalidParameterValue"),
    ("create_managed_prefix_list",
     {"PrefixListName": "l", "MaxEntries": 1, "AddressFamily": "IPv4",
      "Entries": [{"Cidr": "2001:db8::/32"}]}, "InvalidParameterValue"),
    ("modify_managed_prefix_list", {"PrefixListId": LIST, "PrefixListName": "m"},
     "InvalidPrefixListID.NotFound"),
    ("delete_managed_prefix_list", {"PrefixListId": LIST}, "InvalidPrefixListID.NotFound"),
    ("describe_managed_prefix_lists", {"PrefixListIds": [LIST]}, "InvalidPrefixListID.NotFound"),
    ("get_managed_prefix_list_entries", {"PrefixListId": LIST}, "InvalidPrefixListID.NotFound"),
    ("get_managed_prefix_list_associations", {"PrefixListId": LIST},
     "InvalidPrefixListID.NotFound"),
    ("describe_prefix_lists", {"PrefixListIds": [LIST]}, "InvalidPrefixListId.NotFound"),
    ("describe_regions", {"RegionNames": ["mars-1"]}, "InvalidParameterValue"),
    ("describe_availability_zones", {"ZoneNames": ["us-east-1z"]}, "InvalidParameterValue"),
    ("describe_account_attributes", {"AttributeNames": ["nope"]}, "InvalidParameterValue"),
    ("run_instances", {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "SubnetId": SUBNET},
     "InvalidSubnetID.NotFound"),
    ("run_instances", {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1}, "VPCIdNotSpecified"),
    ("run_instances", {"ImageId": "x", "MinCount": 1, "MaxCount": 1, "SubnetId": SUBNET},
     "InvalidAMIID.Malformed"),
    ("describe_instances", {"InstanceIds": [INSTANCE]}, "InvalidInstanceID.NotFound"),
    ("describe_instances", {"InstanceIds": ["i-x"]}, "InvalidInstanceID.Malformed"),
    ("describe_instance_status", {"InstanceIds": [INSTANCE]}, "InvalidInstanceID.NotFound"),
    ("describe_instance_attribute", {"InstanceId": INSTANCE, "Attribute": "userData"},
     "InvalidInstanceID.NotFound"),
    ("modify_instance_attribute", {"InstanceId": INSTANCE, "SourceDestCheck": {"Value": True}},
     "InvalidInstanceID.NotFound"),
    *[(f"{verb}_instances", {"InstanceIds": [INSTANCE]}, "InvalidInstanceID.NotFound")
      for verb in ("start", "stop", "terminate")],
]

OUT_OF_RANGE = [
    ("create_vpc", {"CidrBlock": "10.0.0.0/15"}, "InvalidVpc.Range"),
    ("create_vpc", {"CidrBlock": "10.0.0.0/29"}, "InvalidVpc.Range"),
    ("create_vpc", {"CidrBlock": "nonsense"}, "InvalidParameterValue"),
    ("create_vpc", {}, "MissingParameter"),
    ("create_subnet", {"CidrBlock": "10.0.0.0/29"}, "InvalidSubnet.Range"),
    ("create_subnet", {"CidrBlock": "10.1.0.0/24"}, "InvalidSubnet.Range"),
    ("create_subnet", {"CidrBlock": "10.0.1.128/25"}, "InvalidSubnet.Conflict"),
    ("create_subnet", {"CidrBlock": "10.0.9.0/24", "AvailabilityZone": "mars-1a"},
     "InvalidParameterValue"),
    ("create_security_group", {"GroupName": "open", "Description": "again"},
     "InvalidGroup.Duplicate"),
    ("create_security_group", {"GroupName": "default", "Description": "reserved"},
     "InvalidParameterValue"),
    ("create_security_group", {"GroupName": "sg-name", "Description": "looks like an id"},
     "InvalidParameterValue"),
    ("associate_vpc_cidr_block", {"CidrBlock": "10.0.0.0/24"}, "InvalidVpc.Range"),
]


def what_is_not_there(cloud):
    refuse(cloud, NOT_THERE, {})


def what_is_out_of_range(cloud):
    vpc = cloud.vpc()
    cloud.subnet(vpc)
    group = cloud.group(vpc)
    refuse(cloud, OUT_OF_RANGE, {"VpcId": vpc})
    refuse(cloud, [
        ("authorize_security_group_ingress", {"IpPermissions": [permission]}, code)
        for permission, code in [
            (tcp(80, "10.0.0.0"), "InvalidParameterValue"),
            (tcp(80, "10.0.0.0/40"), "InvalidParameterValue"),
            (tcp(80, to=70), "InvalidParameterValue"),
            (tcp(70000), "InvalidParameterValue"),
            (tcp(80) | {"IpProtocol": "nonsense"}, "InvalidParameterValue"),
            (tcp(80) | {"IpRanges": []}, "InvalidParameterValue"),
            ({"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1,
              "UserIdGroupPairs": [{"GroupId": GROUP}]}, "InvalidGroup.NotFound"),
        ]], {"GroupId": group})


def refuse(cloud, table, more):
    wrong = []
    for action, parameters, code in table:
        own = more if action != "create_vpc" else {}
        try:
            cloud.refused(code, action, **(own | parameters))
        except harness.Failed as failed:
            wrong.append(str(failed))
    harness.check(not wrong, "\n  ".join(["", *wrong]))


def too_many_filters(cloud):
    many = filters(vpc_id=[f"vpc-{n}" for n in range(201)])
    cloud.refused("FilterLimitExceeded", "describe_vpcs", Filters=many)


def messages_name_what_is_wrong(cloud):
    for action, parameters, code, named in [
        ("describe_vpcs", {"VpcIds": [VPC]}, "InvalidVpcID.NotFound", VPC),
        ("create_vpc", {"CidrBlock": "10.0.0.0/15"}, "InvalidVpc.Range", "10.0.0.0/15"),
        ("describe_vpcs", {"Filters": UNKNOWN_FILTER}, "InvalidParameterValue", "nope"),
        ("create_vpc", {"CidrBlock": "10.0.0.0/16", "InstanceTenancy": "dedicated"},
         "UnsupportedOperation", "dedicated"),
        ("create_vpc", {"CidrBlock": "10.0.0.0/16", "Ipv4IpamPoolId": "ipam-pool-1"},
         "UnsupportedOperation", "Ipv4IpamPoolId"),
        ("create_carrier_gateway", {"VpcId": VPC}, "UnsupportedOperation", "CreateCarrierGateway"),
    ]:
        message = cloud.refused(code, action, **parameters)
        harness.check(named in message, f"{action}: {message!r} does not name {named}")


CHECKS = [what_is_not_there, what_is_out_of_range, too_many_filters, messages_name_what_is_wrong]
