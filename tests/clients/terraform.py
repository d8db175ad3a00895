"""The calls that Terraform's AWS provider makes for the network's resources: each
made, read back as the provider does, and deleted with its waits. Written from the
provider's sources; unverified against Terraform itself, which is not run here."""

from cloud import VISITOR, check, filters


def of(found, key):
    """The one resource of an answer: the provider fails on none or two."""
    check(len(found[key]) == 1, f"{key}: {found[key]}")
    return found[key][0]


def make_vpc(cloud, cidr="10.30.0.0/16"):
    ec2 = cloud.ec2
    made = ec2.create_vpc(
        CidrBlock=cidr, InstanceTenancy="default", AmazonProvidedIpv6CidrBlock=False,
        TagSpecifications=[{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "main"}]}])
    vpc = made["Vpc"]["VpcId"]
    check(of(ec2.describe_vpcs(VpcIds=[vpc]), "Vpcs")["State"] == "available", "never available")
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    for attribute, field, expected in (
            ("enableDnsHostnames", "EnableDnsHostnames", True),
            ("enableDnsSupport", "EnableDnsSupport", True),
            ("enableNetworkAddressUsageMetrics", "EnableNetworkAddressUsageMetrics", False)):
        found = ec2.describe_vpc_attribute(VpcId=vpc, Attribute=attribute)
        check(found[field]["Value"] is expected, found)
    acl = of(ec2.describe_network_acls(Filters=filters(default="true", vpc_id=vpc)), "NetworkAcls")
    table = of(ec2.describe_route_tables(
        Filters=filters(**{"association.main": "true", "vpc-id": vpc})), "RouteTables")
    group = of(ec2.describe_security_groups(
        Filters=filters(group_name="default", vpc_id=vpc)), "SecurityGroups")
    check(all((acl["NetworkAclId"], table["RouteTableId"], group["GroupId"])), "no defaults")
    return vpc


def delete_vpc(cloud, vpc):
    cloud.ec2.delete_vpc(VpcId=vpc)
    cloud.refused("InvalidVpcID.NotFound", "describe_vpcs", VpcIds=[vpc])


def make_subnet(cloud, vpc, cidr="10.30.1.0/24"):
    made = cloud.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone="us-east-1a")
    subnet = made["Subnet"]["SubnetId"]
    of(cloud.ec2.describe_subnets(SubnetIds=[subnet]), "Subnets")
    cloud.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    found = of(cloud.ec2.describe_subnets(SubnetIds=[subnet]), "Subnets")
    check(found["MapPublicIpOnLaunch"] is True and found["SubnetArn"], found)
    return subnet


def delete_subnet(cloud, subnet):
    # Interfaces that something left behind would be deleted first.
    found = cloud.ec2.describe_network_interfaces(Filters=filters(subnet_id=subnet))
    check(found["NetworkInterfaces"] == [], found)
    cloud.ec2.delete_subnet(SubnetId=subnet)
    cloud.refused("InvalidSubnetID.NotFound", "describe_subnets", SubnetIds=[subnet])


def aws_vpc_and_aws_subnet(cloud):
    vpc = make_vpc(cloud)
    subnet = make_subnet(cloud, vpc)
    delete_subnet(cloud, subnet)
    delete_vpc(cloud, vpc)


def aws_route_table_and_association(cloud):
    ec2 = cloud.ec2
    vpc = make_vpc(cloud)
    subnet = make_subnet(cloud, vpc)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    found = of(ec2.describe_internet_gateways(InternetGatewayIds=[gateway]), "InternetGateways")
    check(found["Attachments"] == [{"State": "available", "VpcId": vpc}], found)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    of(ec2.describe_route_tables(RouteTableIds=[table]), "RouteTables")
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    routes = of(ec2.describe_route_tables(RouteTableIds=[table]), "RouteTables")["Routes"]
    routes = {route["DestinationCidrBlock"]: (route["State"], route["Origin"]) for route in routes}
    check(routes == {"10.30.0.0/16": ("active", "CreateRouteTable"),
                     "0.0.0.0/0": ("active", "CreateRoute")}, routes)
    held = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    found = of(ec2.describe_route_tables(
        Filters=filters(**{"association.route_table_association_id": held})), "RouteTables")
    state = [it["AssociationState"]["State"] for it in found["Associations"]
             if it["RouteTableAssociationId"] == held]
    check(state == ["associated"], found)
    # And packets go where it says.
    host = cloud.run(subnet, cloud.group(vpc))
    host.reaches(VISITOR)
    host.stop()
    cloud.hosts.pop(host.name)
    ec2.terminate_instances(InstanceIds=[host.name])
    ec2.disassociate_route_table(AssociationId=held)
    found = ec2.describe_route_tables(
        Filters=filters(**{"association.route_table_association_id": held}))["RouteTables"]
    check(found == [], found)
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    ec2.delete_route_table(RouteTableId=table)
    cloud.refused("InvalidRouteTableID.NotFound", "describe_route_tables", RouteTableIds=[table])
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    found = of(ec2.describe_internet_gateways(InternetGatewayIds=[gateway]), "InternetGateways")
    check(found["Attachments"] == [], found)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    cloud.refused("InvalidInternetGatewayID.NotFound", "describe_internet_gateways",
                  InternetGatewayIds=[gateway])


def aws_security_group_and_rules(cloud):
    ec2 = cloud.ec2
    vpc = make_vpc(cloud)
    group = ec2.create_security_group(
        GroupName="terraform-20261125", Description="Managed by Terraform", VpcId=vpc)["GroupId"]
    found = of(ec2.describe_security_groups(GroupIds=[group]), "SecurityGroups")
    # The provider takes the rule away that AWS gives every group.
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    found = of(ec2.describe_security_groups(GroupIds=[group]), "SecurityGroups")
    check(found["IpPermissionsEgress"] == [] and found["OwnerId"], found)
    # aws_vpc_security_group_ingress_rule
    made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
         "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "inside"}]}])
    rule = of(made, "SecurityGroupRules")["SecurityGroupRuleId"]
    found = of(ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule]),
               "SecurityGroupRules")
    check((found["FromPort"], found["CidrIpv4"], found["Description"])
          == (443, "10.0.0.0/8", "inside"), found)
    ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[{
        "SecurityGroupRuleId": rule, "SecurityGroupRule": {
            "IpProtocol": "tcp", "FromPort": 444, "ToPort": 444, "CidrIpv4": "10.0.0.0/8",
            "Description": ""}}])
    found = of(ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule]),
               "SecurityGroupRules")
    check(found["FromPort"] == 444, found)
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[rule])
    cloud.refused("InvalidSecurityGroupRuleId.NotFound", "describe_security_group_rules",
                  SecurityGroupRuleIds=[rule])
    # aws_security_group_rule
    allowed = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
                "UserIdGroupPairs": [{"GroupId": group}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=allowed)
    found = of(ec2.describe_security_groups(GroupIds=[group]), "SecurityGroups")
    pair = found["IpPermissions"][0]["UserIdGroupPairs"]
    check(pair == [{"GroupId": group, "UserId": found["OwnerId"]}], found)
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=allowed)
    left = ec2.describe_network_interfaces(Filters=filters(group_id=group))
    check(left["NetworkInterfaces"] == [], left)
    ec2.delete_security_group(GroupId=group)
    cloud.refused("InvalidGroup.NotFound", "describe_security_groups", GroupIds=[group])


def aws_network_acl(cloud):
    ec2 = cloud.ec2
    vpc = make_vpc(cloud)
    subnet = make_subnet(cloud, vpc)
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    of(ec2.describe_network_acls(NetworkAclIds=[acl]), "NetworkAcls")
    ec2.create_network_acl_entry(
        NetworkAclId=acl, RuleNumber=100, Protocol="6", RuleAction="allow", Egress=False,
        CidrBlock="10.0.0.0/8", PortRange={"From": 80, "To": 80})
    of_subnet = filters(**{"association.subnet_id": subnet})
    held = of(ec2.describe_network_acls(Filters=of_subnet), "NetworkAcls")["Associations"]
    held = next(it for it in held if it["SubnetId"] == subnet)["NetworkAclAssociationId"]
    ec2.replace_network_acl_association(AssociationId=held, NetworkAclId=acl)
    found = of(ec2.describe_network_acls(Filters=of_subnet), "NetworkAcls")
    check(found["NetworkAclId"] == acl, found)
    held = found["Associations"][0]["NetworkAclAssociationId"]
    default = of(ec2.describe_network_acls(Filters=filters(default="true", vpc_id=vpc)),
                 "NetworkAcls")["NetworkAclId"]
    ec2.replace_network_acl_association(AssociationId=held, NetworkAclId=default)
    ec2.delete_network_acl(NetworkAclId=acl)
    cloud.refused("InvalidNetworkAclID.NotFound", "describe_network_acls", NetworkAclIds=[acl])


CHECKS = [aws_vpc_and_aws_subnet, aws_route_table_and_association, aws_security_group_and_rules,
          aws_network_acl]
