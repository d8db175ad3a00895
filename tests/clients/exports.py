"""A lab as a topology file, made a second time from it."""

import json
import pathlib
import tempfile

import harness
from cloud import ACCOUNT, check, filters, tcp

# How the lab itself runs cannot change: the clock of the other.
EMPTY = "name: again\ntime_scale: 20\n"


def what_clients_made_is_made_again(cloud):
    ec2, elb = cloud.ec2, cloud.client("elbv2")
    vpc = cloud.vpc("10.0.0.0/16")
    one, two = cloud.subnet(vpc, "10.0.1.0/24"), cloud.subnet(vpc, "10.0.2.0/24")
    cloud.gateway(vpc)
    group = cloud.group(vpc)
    shut = ec2.create_security_group(GroupName="shut", Description="web only", VpcId=vpc)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=shut, IpPermissions=[tcp(80)])
    for name, subnet, own in (("client", one, group), ("open", two, group), ("web", two, shut)):
        ec2.run_instances(
            ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=subnet, SecurityGroupIds=[own],
            TagSpecifications=[{"ResourceType": "instance",
                                "Tags": [{"Key": "Name", "Value": name}, {"Key": "team", "Value": "x"}]}])
    target = elb.create_target_group(Name="servers", Protocol="TCP", Port=80, VpcId=vpc)
    arn = target["TargetGroups"][0]["TargetGroupArn"]
    elb.create_load_balancer(Name="front", Type="network", Scheme="internal", Subnets=[one])
    running = ec2.describe_instances(Filters=filters(**{"tag:Name": "web"}))["Reservations"]
    elb.register_targets(TargetGroupArn=arn, Targets=[
        {"Id": running[0]["Instances"][0]["InstanceId"]}])
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "lab.yaml"
        done = harness.vpclab("export", "--account", ACCOUNT, "-o", file, "--lab", cloud.lab.name)
        check(done.returncode == 0 and "tags other than Name" in done.stderr, f"{done}")
        made_again(file)


def made_again(file):
    with harness.topology(EMPTY) as empty:
        again = harness.Lab("again", empty)
        try:
            again.up("--http", "0")
            # Wrong input changes nothing.
            bad = file.with_suffix(".bad")
            bad.write_text(file.read_text().replace("10.0.2.0/24", "10.9.2.0/24"))
            done = harness.vpclab("import", bad, "--lab", again.name)
            check(done.returncode == 2 and "10.9.2.0/24" in done.stderr, f"{done}")
            planned = harness.vpclab("import", file, "--dry-run", "--lab", again.name)
            check(planned.returncode == 0 and "+ host client" in planned.stdout, f"{planned}")
            check(again.json("ps")["hosts"] == [], "something was made")
            done = harness.vpclab("import", file, "--lab", again.name)
            check(done.returncode == 0 and "+ host client" in done.stdout, f"{done}")
            said = json.loads(harness.vpclab("export", "--json", "--lab", again.name).stdout)
            check(said["left_out"] == [], f"{said}")
            check(networks(said["topology"]) == networks(file.read_text()), said["topology"])
            addresses = {host["name"]: host["interfaces"][0]["addresses"][0].split("/")[0]
                         for host in again.json("ps")["hosts"] if host["interfaces"]}
            ping = lambda ip: again.exec("client", "ping", "-c", 1, "-W", 1, ip).returncode
            check(ping(addresses["open"]) == 0, f"{addresses}")
            check(ping(addresses["web"]) == 1, "the group lets pings in")
        finally:
            again.down()


def networks(text):
    """From the VPCs on."""
    return text[text.index("vpcs:"):]


CHECKS = [what_clients_made_is_made_again]

