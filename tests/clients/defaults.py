"""A default VPC: where instances go that name no subnet."""

from cloud import VISITOR, check, filters, tcp


def an_instance_needs_no_subnet(cloud):
    ec2 = cloud.ec2
    for action, parameters in (
            ("run_instances", {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1}),
            ("create_security_group", {"GroupName": "g", "Description": "g"})):
        cloud.refused("VPCIdNotSpecified", action, **parameters)
    vpc = ec2.create_default_vpc()["Vpc"]
    check(vpc["IsDefault"] and vpc["CidrBlock"] == "172.31.0.0/16", f"{vpc}")
    cloud.refused("DefaultVpcAlreadyExists", "create_default_vpc")
    found = ec2.describe_vpcs(Filters=filters(is_default="true"))["Vpcs"]
    check([it["VpcId"] for it in found] == [vpc["VpcId"]], f"{found}")
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    subnets = ec2.describe_subnets(Filters=filters(default_for_az="true"))["Subnets"]
    check({it["AvailabilityZone"] for it in subnets} == {it["ZoneName"] for it in zones}, f"{subnets}")
    group = ec2.create_security_group(GroupName="g", Description="g")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(80)])
    made = ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, SecurityGroupIds=[group],
                             Placement={"AvailabilityZone": "us-east-1c"})["Instances"][0]
    check(made["PrivateIpAddress"].startswith("172.31.32."), f"{made}")
    host = cloud.host(made)
    # It is public from the start, both ways.
    check(host.reaches(VISITOR) == made["PublicIpAddress"], f"{made}")
    cloud.visitor.reaches(made["PublicIpAddress"])


CHECKS = [an_instance_needs_no_subnet]
