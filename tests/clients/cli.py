"""The AWS CLI, pointed here by AWS_ENDPOINT_URL alone."""

import json

from cloud import ACCOUNT, check


def aws(cloud, *words):
    done = cloud.cli(*words)
    check(done.returncode == 0, f"aws {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout) if done.stdout.strip() else {}


def a_script_makes_a_network_and_packets_flow(cloud):
    check(aws(cloud, "sts", "get-caller-identity")["Account"] == ACCOUNT, "another account")
    vpc = aws(cloud, "ec2", "create-vpc", "--cidr-block", "10.5.0.0/16", "--tag-specifications",
              "ResourceType=vpc,Tags=[{Key=Name,Value=by-cli}]")["Vpc"]["VpcId"]
    subnet = aws(cloud, "ec2", "create-subnet", "--vpc-id", vpc, "--cidr-block", "10.5.1.0/24")
    subnet = subnet["Subnet"]["SubnetId"]
    group = aws(cloud, "ec2", "create-security-group", "--group-name", "web", "--description",
                "web", "--vpc-id", vpc)["GroupId"]
    made = aws(cloud, "ec2", "run-instances", "--image-id", "ami-12345678", "--count", "2",
               "--subnet-id", subnet, "--security-group-ids", group)["Instances"]
    a, b = [cloud.host(one) for one in made]
    a.cannot_reach(b.ip)
    rule = ("--group-id", group, "--protocol", "tcp", "--port", "80", "--cidr", "10.5.0.0/16")
    made = aws(cloud, "ec2", "authorize-security-group-ingress", *rule)
    check(made["Return"] is True and made["SecurityGroupRules"], made)
    a.reaches(b.ip)
    aws(cloud, "ec2", "revoke-security-group-ingress", *rule)
    a.cannot_reach(b.ip)
    found = aws(cloud, "ec2", "describe-vpcs", "--filters", "Name=tag:Name,Values=by-*",
                "--query", "Vpcs[].VpcId")
    check(found == [vpc], found)


def errors_are_shown_as_awss(cloud):
    for words, code in [
        (("describe-vpcs", "--vpc-ids", "vpc-0123456789abcdef0"), "InvalidVpcID.NotFound"),
        (("delete-subnet", "--subnet-id", "subnet-x"), "InvalidSubnetID.Malformed"),
        (("create-vpc", "--cidr-block", "10.0.0.0/8"), "InvalidVpc.Range"),
        (("create-vpc", "--cidr-block", "10.0.0.0/16", "--dry-run"), "DryRunOperation"),
        (("describe-spot-price-history",), "UnsupportedOperation"),
    ]:
        done = cloud.cli("ec2", *words)
        check(done.returncode in (252, 254, 255) and f"({code})" in done.stderr,
              f"{words}: {done.returncode} {done.stderr}")


CHECKS = [a_script_makes_a_network_and_packets_flow, errors_are_shown_as_awss]
