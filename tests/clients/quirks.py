"""What clients rely on beyond the actions themselves."""

import urllib.error
import urllib.request

import cloud as clouds
from cloud import ACCOUNT, OTHER_ACCOUNT, check, filters, instances, tcp


def who_am_i(cloud):
    check(cloud.sts.get_caller_identity()["Account"] == ACCOUNT, "not the access key's account")
    other = cloud.client("sts", OTHER_ACCOUNT).get_caller_identity()
    check(other["Account"] == OTHER_ACCOUNT, other)


def accounts_and_regions_are_apart(cloud):
    vpc = cloud.vpc()
    for client in (cloud.client("ec2", OTHER_ACCOUNT), cloud.client("ec2", region="eu-west-1")):
        check(client.describe_vpcs()["Vpcs"] == [], "somebody else's VPC is seen")
        cloud.refused("InvalidVpcID.NotFound", "describe_vpcs", client=client, VpcIds=[vpc])
        cloud.refused("InvalidVpcID.NotFound", "delete_vpc", client=client, VpcId=vpc)
        check(len(client.describe_regions()["Regions"]) > 15, "few regions")
    zones = cloud.client("ec2", region="eu-west-1").describe_availability_zones()
    zones = [zone["ZoneName"] for zone in zones["AvailabilityZones"]]
    check(zones[:2] == ["eu-west-1a", "eu-west-1b"], zones)
    found = cloud.ec2.describe_account_attributes(AttributeNames=["default-vpc"])
    found = found["AccountAttributes"][0]["AttributeValues"]
    check(found == [{"AttributeValue": "none"}], found)


def a_vpc_comes_with_what_aws_gives_it(cloud):
    made = cloud.ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]
    vpc = made["VpcId"]
    check((made["State"], made["IsDefault"]) == ("pending", False)
          or made["State"] == "available", made)
    table = cloud.main_table(vpc)
    routes = [(r["DestinationCidrBlock"], r["GatewayId"], r["Origin"], r["State"])
              for r in table["Routes"]]
    check(routes == [("10.7.0.0/16", "local", "CreateRouteTable", "active")], routes)
    group = cloud.ec2.describe_security_groups(
        Filters=filters(vpc_id=vpc, group_name="default"))["SecurityGroups"][0]
    check(group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == group["GroupId"], group)
    check(group["IpPermissionsEgress"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}], group)
    cloud.refused("CannotDelete", "delete_security_group", GroupId=group["GroupId"])
    acl = cloud.ec2.describe_network_acls(
        Filters=filters(vpc_id=vpc, default="true"))["NetworkAcls"][0]
    numbers = sorted((e["Egress"], e["RuleNumber"], e["RuleAction"]) for e in acl["Entries"])
    check(numbers == [(False, 100, "allow"), (False, 32767, "deny"),
                      (True, 100, "allow"), (True, 32767, "deny")], numbers)
    cloud.refused("InvalidParameterValue", "delete_network_acl", NetworkAclId=acl["NetworkAclId"])
    cloud.refused("DependencyViolation", "delete_route_table", RouteTableId=table["RouteTableId"])
    names = [("enableDnsSupport", "EnableDnsSupport", True),
             ("enableDnsHostnames", "EnableDnsHostnames", False)]
    for attribute, field, default in names:
        for value in (default, not default):
            if value != default:
                cloud.ec2.modify_vpc_attribute(VpcId=vpc, **{field: {"Value": value}})
            found = cloud.ec2.describe_vpc_attribute(VpcId=vpc, Attribute=attribute)
            check(found[field]["Value"] is value, found)


def deletes_wait_for_what_depends(cloud):
    vpc = cloud.vpc()
    subnet = cloud.subnet(vpc)
    eni = cloud.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
    gateway = cloud.gateway(vpc)
    cloud.refused("DependencyViolation", "delete_vpc", VpcId=vpc)
    cloud.refused("DependencyViolation", "delete_subnet", SubnetId=subnet)
    cloud.ec2.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
    cloud.ec2.delete_subnet(SubnetId=subnet)
    cloud.refused("InvalidSubnetID.NotFound", "delete_subnet", SubnetId=subnet)
    cloud.refused("DependencyViolation", "delete_vpc", VpcId=vpc)
    cloud.ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    cloud.ec2.delete_internet_gateway(InternetGatewayId=gateway)
    cloud.refused("InvalidInternetGatewayID.NotFound", "delete_internet_gateway",
                  InternetGatewayId=gateway)
    group = cloud.group(vpc)
    cloud.refused("DependencyViolation", "delete_vpc", VpcId=vpc)
    cloud.ec2.delete_security_group(GroupId=group)
    cloud.ec2.delete_vpc(VpcId=vpc)
    cloud.refused("InvalidVpcID.NotFound", "describe_vpcs", VpcIds=[vpc])


def lists_come_in_pages(cloud):
    vpc = cloud.vpc()
    made = {cloud.subnet(vpc, f"10.0.{n}.0/24") for n in range(13)}
    for more in ({}, {"Filters": filters(vpc_id=vpc, cidr_block="10.0.1?.0/24")}):
        wanted = made if not more else None
        pages = cloud.ec2.get_paginator("describe_subnets").paginate(
            PaginationConfig={"PageSize": 5}, **more)
        pages = [[s["SubnetId"] for s in page["Subnets"]] for page in pages]
        flat = [name for page in pages for name in page]
        check(len(flat) == len(set(flat)) == (13 if wanted else 3), pages)
        check(wanted is None or set(flat) == wanted, pages)
        check(all(len(page) <= 5 for page in pages), pages)
    cloud.refused("InvalidNextToken", "describe_subnets", NextToken="nonsense")
    cloud.refused("InvalidParameterValue", "describe_subnets", MaxResults=100000)


def filters_are_anded_and_their_values_ored(cloud):
    vpc = cloud.vpc()
    tags = [{"ResourceType": "subnet", "Tags": [{"Key": "tier", "Value": "web"},
                                                {"Key": "Name", "Value": "one*two"}]}]
    one = cloud.subnet(vpc, "10.0.1.0/24", TagSpecifications=tags, AvailabilityZone="us-east-1a")
    two = cloud.subnet(vpc, "10.0.2.0/24", AvailabilityZoneId="use1-az2")

    def found(**wanted):
        answer = cloud.ec2.describe_subnets(Filters=filters(**wanted))["Subnets"]
        return {it["SubnetId"] for it in answer}

    both = {one, two}
    for wanted, expected in [
        ({"vpc_id": vpc}, both), ({"vpc_id": ["vpc-1", vpc]}, both),
        ({"cidr_block": ["10.0.1.0/24", "10.0.2.0/24"], "availability_zone": "*a"}, {one}),
        ({"tag:tier": "w?b"}, {one}), ({"tag-key": "ti*"}, {one}), ({"tag:tier": "WEB"}, set()),
        ({"tag:Name": "one\\*two"}, {one}), ({"tag:Name": "one\\*tw"}, set()),
        ({"availability_zone_id": "use1-az2"}, {two}), ({"state": "pending"}, set()),
    ]:
        check(found(**wanted) == expected, f"{wanted}: {found(**wanted)}")
    cloud.refused("InvalidParameterValue", "describe_subnets", Filters=filters(nope="x"))


def a_dry_run_changes_nothing(cloud):
    cloud.refused("DryRunOperation", "create_vpc", CidrBlock="10.0.0.0/16", DryRun=True)
    check(cloud.ec2.describe_vpcs()["Vpcs"] == [], "a dry run has made a VPC")
    vpc = cloud.vpc()
    cloud.refused("DryRunOperation", "delete_vpc", VpcId=vpc, DryRun=True)
    cloud.refused("DryRunOperation", "describe_vpcs", DryRun=True)
    cloud.refused("InvalidVpcID.NotFound", "delete_vpc", VpcId="vpc-0123456789abcdef0", DryRun=True)
    check(len(cloud.ec2.describe_vpcs()["Vpcs"]) == 1, "a dry run has deleted a VPC")


def tags_of_everything(cloud):
    vpc = cloud.vpc()
    group = cloud.group(vpc, "tagged", allow=False)
    rule = cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(80)])
    rule = rule["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    eni = cloud.ec2.create_network_interface(SubnetId=cloud.subnet(vpc))["NetworkInterface"]
    names = [vpc, group, rule, eni["NetworkInterfaceId"], cloud.main_table(vpc)["RouteTableId"],
             cloud.elastic()[0], cloud.gateway(vpc)]
    cloud.ec2.create_tags(Resources=names, Tags=[{"Key": "Name", "Value": "n"},
                                                 {"Key": "env", "Value": "é<&>"}])
    found = cloud.ec2.describe_tags(Filters=filters(key="env"))["Tags"]
    check({tag["ResourceId"] for tag in found} == set(names), found)
    check({tag["Value"] for tag in found} == {"é<&>"}, found)
    # Only where the value is this one.
    cloud.ec2.delete_tags(Resources=names, Tags=[{"Key": "env", "Value": "other"}])
    check(len(cloud.ec2.describe_tags(Filters=filters(key="env"))["Tags"]) == len(names), "gone")
    cloud.ec2.delete_tags(Resources=names[:3], Tags=[{"Key": "env"}])
    check(len(cloud.ec2.describe_tags(Filters=filters(key="env"))["Tags"]) == 4, "not gone")
    cloud.ec2.delete_tags(Resources=[vpc])
    found = cloud.ec2.describe_tags(Filters=filters(resource_id=vpc))["Tags"]
    check(found == [], found)


def more_blocks_for_a_vpc(cloud):
    """A second block routes as the first does."""
    vpc = cloud.vpc()
    cloud.refused("InvalidSubnet.Range", "create_subnet", VpcId=vpc, CidrBlock="100.64.1.0/24")
    held = cloud.ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="100.64.0.0/16")
    held = held["CidrBlockAssociation"]["AssociationId"]
    group = cloud.group(vpc)
    a = cloud.run(cloud.subnet(vpc), group)
    second = cloud.subnet(vpc, "100.64.1.0/24")
    b = cloud.run(second, group)
    check(a.reaches(b.ip) == a.ip and b.ip.startswith("100.64.1."), "not by the second block")
    for host in (a, b):
        host.stop()
        cloud.hosts.pop(host.name)
        cloud.ec2.terminate_instances(InstanceIds=[host.name])
    cloud.ec2.delete_subnet(SubnetId=second)
    cloud.ec2.disassociate_vpc_cidr_block(AssociationId=held)
    cloud.refused("InvalidSubnet.Range", "create_subnet", VpcId=vpc, CidrBlock="100.64.1.0/24")


def lists_of_prefixes(cloud):
    made = cloud.ec2.create_managed_prefix_list(
        PrefixListName="some", MaxEntries=2, AddressFamily="IPv4")["PrefixList"]
    cloud.refused("PrefixListMaxEntriesExceeded", "modify_managed_prefix_list",
                  PrefixListId=made["PrefixListId"], CurrentVersion=made["Version"],
                  AddEntries=[{"Cidr": f"10.{n}.0.0/16"} for n in range(3)])
    found = cloud.ec2.describe_managed_prefix_lists(Filters=filters(prefix_list_name="so*"))
    check([it["PrefixListId"] for it in found["PrefixLists"]] == [made["PrefixListId"]], found)
    names = {it["PrefixListName"] for it in cloud.ec2.describe_prefix_lists()["PrefixLists"]}
    check(names == {"com.amazonaws.us-east-1.s3", "com.amazonaws.us-east-1.dynamodb"}, names)
    cloud.ec2.delete_managed_prefix_list(PrefixListId=made["PrefixListId"])


def post(url):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def a_reset_is_for_labs_that_allow_it(cloud):
    vpc = cloud.vpc()
    check(post(f"{cloud.url}/_vpclab/reset") == 403, "a reset that nobody allowed")
    check(len(cloud.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]) == 1, "refused, and done")
    with clouds.cloud("reset", "--allow-reset") as other:
        for path in ("/_vpclab/reset", "/moto-api/reset"):
            vpc = other.vpc()
            host = other.run(other.subnet(vpc))
            check(post(other.url + path) == 200, f"{path} is refused")
            check(other.ec2.describe_vpcs()["Vpcs"] == [], f"VPCs after {path}")
            check(instances(other.ec2) == [], f"instances after {path}")
            done = other.lab.exec(host.name, "true")
            check(done.returncode != 0, f"the instance's namespace is still there after {path}")
            host.stop()


CHECKS = [a_reset_is_for_labs_that_allow_it, who_am_i, accounts_and_regions_are_apart, a_vpc_comes_with_what_aws_gives_it,
          deletes_wait_for_what_depends, lists_come_in_pages,
          filters_are_anded_and_their_values_ored, a_dry_run_changes_nothing, tags_of_everything,
          more_blocks_for_a_vpc, lists_of_prefixes]
