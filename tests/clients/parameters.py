#!/usr/bin/env python3
"""Writes control/src/aws/parameters/*.txt from botocore's service models (pip install botocore):
each action, and the wire names of its parameters. An unknown parameter is told from one that
vpclab does not honour by them. Actions that have nothing to do with networks come without
parameters."""

import pathlib
import re

import botocore
import botocore.loaders

NETWORK = re.compile(
    r"Vpc|Subnet|Route|InternetGateway|SecurityGroup|NetworkAcl|NetworkInterface|Address|Tags"
    r"|(Run|Describe|Terminate|Start|Stop|Reboot)Instances|InstanceAttribute|InstanceTypes|Images$|PrefixList"
    r"|Regions|AvailabilityZones|AccountAttributes|NetworkInsights|DhcpOptions|NatGateway|CidrBlock|Vpn|CustomerGateway|Vgw"
)
SERVICES = [("ec2", "2016-11-15"), ("elbv2", "2015-12-01"), ("sts", "2011-06-15")]


def names(model, shape_name, ec2, prefix="", above=()):
    shape = model["shapes"][shape_name]
    if shape["type"] == "list":
        yield from names(model, shape["member"]["shape"], ec2, prefix, above)
    elif shape["type"] == "structure" and shape_name not in above:
        for name, member in shape["members"].items():
            wire = member.get("locationName", name)
            if ec2:
                wire = member.get("queryName") or wire[0].upper() + wire[1:]
            yield prefix + wire
            yield from names(model, member["shape"], ec2, f"{prefix}{wire}.", above + (shape_name,))


def main():
    out = pathlib.Path(__file__).parents[2] / "control/src/aws/parameters"
    loader = botocore.loaders.Loader()
    for service, version in SERVICES:
        model = loader.load_service_model(service, "service-2", version)
        lines = [f"# botocore {botocore.__version__}, {service} {version}; written by tests/clients/parameters.py"]
        for action, operation in sorted(model["operations"].items()):
            known = []
            if "input" in operation and (service != "ec2" or NETWORK.search(action)):
                known = names(model, operation["input"]["shape"], service == "ec2")
            lines.append(" ".join([action, *known]))
        (out / f"{service}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
