"""The state file: what was acknowledged is there again, however the daemon ended;
what cannot be kept is refused, and packets flow on."""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import boto3
import botocore.config
import botocore.exceptions

import cloud as clouds
import harness
from harness import check

KILLS = 200
SEED = 11
# Between the start of a round's calls and the end of their daemon, in seconds.
LATEST = 0.05
TOPOLOGY = "name: kept\n"


@contextlib.contextmanager
def lab(name, directory):
    """A lab of an empty topology with a state file in `directory`, not started."""
    file = directory / "kept.yaml"
    file.write_text(TOPOLOGY)
    kept = harness.Lab(name, file)
    try:
        yield kept
    finally:
        kept.down()


def up(kept, state):
    """Starts it, or another daemon for it. Gives its URL."""
    said = kept.up("--json", "--http", "0", "--state", state)
    return json.loads(said)["http"]


def client(url):
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=20)
    session = boto3.Session(aws_access_key_id=clouds.ACCOUNT, aws_secret_access_key="secret",
                            region_name=clouds.REGION)
    return session.client("ec2", endpoint_url=url, config=config)


def consistent(url):
    try:
        with urllib.request.urlopen(f"{url}/_vpclab/consistency", timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


class Acknowledged:
    """What the API has said is so; and one call whose answer did not come."""

    def __init__(self, vpc, subnet, group, table):
        self.vpc, self.subnet, self.group, self.table = vpc, subnet, group, table
        self.interfaces, self.ports, self.routes, self.tags = set(), set(), {}, {}
        self.open = None

    def state(self):
        return (frozenset(self.interfaces), frozenset(self.ports),
                frozenset(self.routes.items()), frozenset(self.tags.items()))

    def one(self, ec2, rng):
        """A random call, noted once it is acknowledged."""
        choices = [self.make, self.allow, self.tag]
        if self.interfaces:
            choices += [self.end, self.route]
        if self.ports:
            choices.append(self.forbid)
        self.open = rng.choice(choices)(ec2, rng)
        done = next(self.open)
        self.open = None
        done()

    # Each is a generator: what it will note if it is done is `self.after`.

    def make(self, ec2, rng):
        self.after = ("made", None)
        made = ec2.create_network_interface(SubnetId=self.subnet)["NetworkInterface"]
        yield lambda: self.interfaces.add(made["NetworkInterfaceId"])

    def end(self, ec2, rng):
        eni = rng.choice(sorted(self.interfaces))
        self.after = ("ended", eni)
        ec2.delete_network_interface(NetworkInterfaceId=eni)
        yield lambda: self.interfaces.discard(eni)

    def allow(self, ec2, rng):
        port = rng.randrange(1, 65536)
        if port in self.ports:
            yield lambda: None
            return
        self.after = ("allowed", port)
        ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=[clouds.tcp(port)])
        yield lambda: self.ports.add(port)

    def forbid(self, ec2, rng):
        port = rng.choice(sorted(self.ports))
        self.after = ("forbidden", port)
        ec2.revoke_security_group_ingress(GroupId=self.group, IpPermissions=[clouds.tcp(port)])
        yield lambda: self.ports.discard(port)

    def tag(self, ec2, rng):
        key, value = f"k{rng.randrange(5)}", str(rng.random())
        self.after = ("tagged", (key, value))
        ec2.create_tags(Resources=[self.vpc], Tags=[{"Key": key, "Value": value}])
        yield lambda: self.tags.__setitem__(key, value)

    def route(self, ec2, rng):
        block, eni = f"172.16.{rng.randrange(256)}.0/24", rng.choice(sorted(self.interfaces))
        call = ec2.replace_route if block in self.routes else ec2.create_route
        self.after = ("routed", (block, eni))
        call(RouteTableId=self.table, DestinationCidrBlock=block, NetworkInterfaceId=eni)
        yield lambda: self.routes.__setitem__(block, eni)

    def settle(self, ec2):
        """What is there must be what was acknowledged, with or without the one
        call that was not answered; from now on it is."""
        interfaces = {eni["NetworkInterfaceId"] for page in
                      ec2.get_paginator("describe_network_interfaces").paginate()
                      for eni in page["NetworkInterfaces"]}
        group = ec2.describe_security_groups(GroupIds=[self.group])["SecurityGroups"][0]
        ports = {rule["FromPort"] for rule in group["IpPermissions"]}
        table = ec2.describe_route_tables(RouteTableIds=[self.table])["RouteTables"][0]
        routes = {route["DestinationCidrBlock"]: route["NetworkInterfaceId"]
                  for route in table["Routes"] if "NetworkInterfaceId" in route}
        tags = {tag["Key"]: tag["Value"] for tag in
                ec2.describe_vpcs(VpcIds=[self.vpc])["Vpcs"][0]["Tags"]}
        before = self.state()
        wanted = [before]
        if self.open is not None:
            what, value = self.after
            if what == "made" and len(interfaces - self.interfaces) == 1:
                self.interfaces |= interfaces
            elif what == "ended":
                self.interfaces.discard(value)
            elif what == "allowed":
                self.ports.add(value)
            elif what == "forbidden":
                self.ports.discard(value)
            elif what == "tagged":
                self.tags[value[0]] = value[1]
            elif what == "routed":
                self.routes[value[0]] = value[1]
            wanted.append(self.state())
        self.interfaces, self.ports, self.routes, self.tags = interfaces, ports, routes, tags
        check(self.state() in wanted,
              f"{self.state()} is there; acknowledged was {before}, {self.after} under way")
        self.open = None


def kill_at_random_moments(_cloud):
    rng = random.Random(SEED)
    unanswered = 0
    with harness.temporary() as directory, lab("kept", directory) as kept:
        state = directory / "state.db"
        url = up(kept, state)
        ec2 = client(url)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/18")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        known = Acknowledged(vpc, subnet, group, table)
        for _ in range(KILLS):
            daemon = kept.daemon()
            killer = threading.Timer(rng.uniform(0.0, LATEST), os.kill, (daemon, signal.SIGKILL))
            killer.start()
            with contextlib.suppress(botocore.exceptions.BotoCoreError):
                while True:
                    known.one(ec2, rng)
            killer.join()
            unanswered += known.open is not None
            url = up(kept, state)
            ec2 = client(url)
            known.settle(ec2)
            found = consistent(url)
            check(found == {"consistent": True}, f"the packet tables: {found}")
        check(unanswered > KILLS // 2, f"only {unanswered} calls were cut short")


def a_token_outlives_the_daemon(_cloud):
    with harness.temporary() as directory, lab("tokens", directory) as kept:
        state = directory / "state.db"
        ec2 = client(up(kept, state))
        one, _ = pair(ec2)
        again = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1, "SubnetId": one["SubnetId"],
                 "ClientToken": "once"}
        made = ec2.run_instances(**again)["Instances"][0]["InstanceId"]
        os.kill(kept.daemon(), signal.SIGKILL)
        ec2 = client(up(kept, state))
        check(ec2.run_instances(**again)["Instances"][0]["InstanceId"] == made, "made twice")
        check(len(clouds.instances(ec2)) == 3, clouds.instances(ec2))
        try:
            ec2.run_instances(**again | {"MaxCount": 2})
        except botocore.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            check(code == "IdempotentParameterMismatch", code)
        else:
            raise harness.Failed("other parameters with the same token went well")


def full_disk(_cloud):
    with harness.temporary() as directory, lab("fulldisk", directory) as kept:
        disk = directory / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=True)
        try:
            ec2 = client(up(kept, disk / "state.db"))
            one, two = pair(ec2)
            made = 0
            try:
                while made < 5000:
                    ec2.create_network_interface(SubnetId=one["SubnetId"])
                    made += 1
            except botocore.exceptions.ClientError as error:
                found = error.response["Error"]
                check(found["Code"] == "ServiceUnavailable" and "the disk is full" in found["Message"],
                      f"{found}")
            check(0 < made < 5000, f"{made} interfaces were made on a full disk")
            check(pings(kept, one, two), "packets do not flow while the disk is full")
            there = len(ec2.describe_network_interfaces(
                Filters=[{"Name": "status", "Values": ["available"]}])["NetworkInterfaces"])
            check(there == made, f"{there} are there, {made} were acknowledged")
            subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
            ec2.create_network_interface(SubnetId=one["SubnetId"])
        finally:
            kept.down()
            subprocess.run(["umount", disk], check=True)


def read_only(_cloud):
    with harness.temporary() as directory, lab("readonly", directory) as kept:
        disk = directory / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
        try:
            ec2 = client(up(kept, disk / "state.db"))
            one, two = pair(ec2)
            kept.down()
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            ec2 = client(up(kept, disk / "state.db"))
            check(pings(kept, one, two), "packets do not flow")
            try:
                ec2.create_network_interface(SubnetId=one["SubnetId"])
                check(False, "an interface was made that cannot be kept")
            except botocore.exceptions.ClientError as error:
                found = error.response["Error"]
                check(found["Code"] == "ServiceUnavailable" and "read-only" in found["Message"],
                      f"{found}")
        finally:
            kept.down()
            subprocess.run(["umount", disk], check=True)


def pair(ec2):
    """Two instances that may ping each other."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/18")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[clouds.ANYTHING])
    made = ec2.run_instances(ImageId="ami-1", MinCount=2, MaxCount=2, SubnetId=subnet,
                             SecurityGroupIds=[group])
    return made["Instances"]


def pings(kept, one, two):
    ping = ["ping", "-c", "1", "-W", "2", two["PrivateIpAddress"]]
    return kept.exec(one["InstanceId"], *ping).returncode == 0


CHECKS = [kill_at_random_moments, a_token_outlives_the_daemon, full_disk, read_only]
