"""Sets of DHCP options, and which of them a VPC has."""

import harness
from cloud import check, filters

OWN = [
    {"Key": "domain-name", "Values": ["corp.example"]},
    {"Key": "domain-name-servers", "Values": ["10.0.0.53", "AmazonProvidedDNS"]},
    {"Key": "ntp-servers", "Values": ["169.254.169.123"]},
    {"Key": "netbios-name-servers", "Values": ["10.0.0.53"]},
    {"Key": "netbios-node-type", "Values": ["2"]},
]


def said(options):
    return [(it["Key"], [value["Value"] for value in it["Values"]])
            for it in options["DhcpConfigurations"]]


def a_vpc_is_given_others(cloud):
    ec2 = cloud.ec2
    vpc = cloud.vpc()
    begun = of(ec2, vpc)
    default = ec2.describe_dhcp_options(DhcpOptionsIds=[begun])["DhcpOptions"][0]
    check(said(default) == [("domain-name", ["ec2.internal"]),
                            ("domain-name-servers", ["AmazonProvidedDNS"])], default)
    own = ec2.create_dhcp_options(DhcpConfigurations=OWN, TagSpecifications=[
        {"ResourceType": "dhcp-options", "Tags": [{"Key": "Name", "Value": "corp"}]}])["DhcpOptions"]
    check(said(own) == [(it["Key"], it["Values"]) for it in OWN], own)
    own = own["DhcpOptionsId"]
    for wanted in ({"key": "ntp-servers"}, {"value": "corp.*"}, {"tag:Name": "corp"},
                   {"dhcp-options-id": own}):
        found = ec2.describe_dhcp_options(Filters=filters(**wanted))["DhcpOptions"]
        check([it["DhcpOptionsId"] for it in found] == [own], f"{wanted}: {found}")
    ec2.associate_dhcp_options(DhcpOptionsId=own, VpcId=vpc)
    check(of(ec2, vpc) == own, "the VPC has others")
    found = ec2.describe_vpcs(Filters=filters(dhcp_options_id=own))["Vpcs"]
    check([it["VpcId"] for it in found] == [vpc], found)
    cloud.refused("DependencyViolation", "delete_dhcp_options", DhcpOptionsId=own)
    # AWS's word for none.
    ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=vpc)
    check(of(ec2, vpc) == "default", "the VPC has some")
    ec2.delete_dhcp_options(DhcpOptionsId=own)
    cloud.refused("InvalidDhcpOptionID.NotFound", "describe_dhcp_options", DhcpOptionsIds=[own])
    cloud.refused("InvalidDhcpOptionID.NotFound", "associate_dhcp_options",
                  DhcpOptionsId=own, VpcId=vpc)
    ec2.associate_dhcp_options(DhcpOptionsId=begun, VpcId=vpc)
    check(of(ec2, vpc) == begun, "the VPC has others")


def of(ec2, vpc):
    return ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["DhcpOptionsId"]


def what_dhcp_cannot_say_is_refused(cloud):
    for key, *values in (("domain-name", "a", "b"), ("domain-name-servers", "nobody"),
                         ("ntp-servers", "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5"),
                         ("netbios-name-servers", "::1"), ("netbios-node-type", "3"),
                         ("ntp-servers",), ("router", "10.0.0.1")):
        cloud.refused("InvalidParameterValue", "create_dhcp_options",
                      DhcpConfigurations=[{"Key": key, "Values": values}])
    cloud.refused("MissingParameter", "create_dhcp_options", DhcpConfigurations=[])
    cloud.refused("InvalidDhcpOptionsId.Malformed", "delete_dhcp_options", DhcpOptionsId="dopt-x")


# udhcpc runs this with what it was told; nothing is changed by it.
HEARD = """#!/bin/sh
[ "$1" = bound ] || exit 0
for name in dns domain ntpsrv wins; do
    eval "echo $name=\\$$name"
done > "$HEARD"
"""


def hears(cloud, host):
    """What DHCP tells an instance."""
    with harness.temporary() as directory:
        script, file = directory / "script", directory / "heard"
        script.write_text(HEARD)
        script.chmod(0o755)
        done = cloud.lab.exec(host, "env", f"HEARD={file}", "busybox", "udhcpc", "-n", "-q", "-f",
                              "-t", 3, "-T", 2, "-i", "eth0", "-s", script, "-O", "ntpsrv", "-O", "wins")
        check(done.returncode == 0, f"udhcpc: {done}")
        heard = dict(line.split("=", 1) for line in file.read_text().splitlines())
        return {name: value for name, value in heard.items() if value}


def hosts_hear_of_it(cloud):
    ec2 = cloud.ec2
    vpc = cloud.vpc()
    host = cloud.run(cloud.subnet(vpc)).name
    heard = hears(cloud, host)
    check(heard == {"dns": "10.0.0.2", "domain": "ec2.internal"}, heard)
    own = ec2.create_dhcp_options(DhcpConfigurations=OWN)["DhcpOptions"]["DhcpOptionsId"]
    ec2.associate_dhcp_options(DhcpOptionsId=own, VpcId=vpc)
    heard = hears(cloud, host)
    check(heard == {"dns": "10.0.0.53 10.0.0.2", "domain": "corp.example",
                    "ntpsrv": "169.254.169.123", "wins": "10.0.0.53"}, heard)


CHECKS = [hosts_hear_of_it, a_vpc_is_given_others, what_dhcp_cannot_say_is_refused]
